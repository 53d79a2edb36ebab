"""The published document, made fit for a generator that cannot read all of it.

A client that is generated from a document it half understands fails at run time: a CSV file is parsed as JSON, a stream
is waited for until it ends. So each generator gets a document that says what its clients can really do, and `notes`
tells the reader what was changed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from thalweg.contract import grammar
from thalweg.contract.bundle import Bundle
from thalweg.contract.publish import type_streams

JSON = dict[str, Any]

STREAM = "text/event-stream"

_TEXT = ("text/", "application/xml", "application/yaml")


def for_typescript(made: Bundle) -> tuple[JSON, list[str]]:
    """OpenAPI 3.0 as it is published, with streams typed by their events and answers of several media types as unions.

    Not 3.1, where openapi-ts takes a body of bytes for `unknown`.
    """
    document = json.loads(made.json())
    type_streams(document)
    unite_media_types(document)
    return document, []


def for_python(made: Bundle) -> tuple[JSON, list[str]]:
    """OpenAPI 3.0 with streams as text, one media type a success, and nullable objects as unions.

    Not 3.1, where openapi-python-client takes files for strings: it does not know `contentMediaType`.
    """
    document = json.loads(made.json())
    notes = one_media_type(document)
    name_nullable_objects(document)
    return document, notes


def for_java(made: Bundle) -> tuple[JSON, list[str]]:
    """OpenAPI 3.0 with streams as text, one media type a success, null beside types; no loose unions, no links."""
    document = json.loads(made.json())
    notes = one_media_type(document)
    drop_links(document)
    nullable_references(document)
    notes += any_for_loose_unions(document)
    lists_for_sets(document)
    return document, notes


def media_types(document: JSON) -> set[str]:
    """Every media type that a body or an answer of the document has."""
    found: set[str] = set()
    for kind, node in _walk("openapi", document):
        if kind in ("requestBody", "response"):
            found |= set(node.get("content") or ())
    return found


def readable(media_type: str) -> str | None:
    """What to take `media_type` for where a client knows JSON, text and bytes only; None when it is one of these."""
    name = media_type.partition(";")[0].strip().lower()
    if name in ("application/json", "multipart/form-data", "application/x-www-form-urlencoded"):
        return None
    if name.endswith("+json"):
        return "application/json"
    if name.startswith("text/") or name == "application/octet-stream":
        return None
    return "text/plain" if name.startswith(_TEXT) or name.endswith("+xml") else "application/octet-stream"


def one_media_type(document: JSON) -> list[str]:
    """Answers of several media types become bytes, in place: such a client believes the first one, whatever comes."""
    notes = []
    for operation, status, response in _answers(document):
        content = response["content"]
        if len(content) > 1:
            names = ", ".join(content)
            told = {"type": "string", "format": "binary", "description": f"One of {names}."}
            response["content"] = {"application/octet-stream": {"schema": told}}
            notes.append(f"{operation} {status} is handed out as bytes: {names}")
    return notes


def unite_media_types(document: JSON) -> None:
    """Answers of several media types get the type of any of them, in place: openapi-ts looks at the JSON one only.

    Its clients read an answer by its Content-Type, so the value is right; this makes the type right too.
    """
    for _, _, response in _answers(document):
        content = response["content"]
        if len(content) < 2 or "application/json" not in content or STREAM in content:
            continue
        schemas = [media.get("schema", {}) for media in content.values()]
        unique = [schema for number, schema in enumerate(schemas) if schema not in schemas[:number]]
        response["content"] = {"application/json": {"schema": {"oneOf": unique}}}


def _answers(document: JSON) -> Iterator[tuple[str, str, JSON]]:
    """operationId, status and response object of every answer that has a body and stands in its operation."""
    for item in document["paths"].values():
        for method, operation in item.items():
            if method in grammar.METHODS:
                for status, response in operation["responses"].items():
                    if response.get("content"):
                        yield operation["operationId"], status, response


def name_nullable_objects(document: JSON) -> None:
    """`Thing: {type: object, nullable: true}` becomes `Thing: {type: object}`, and `Thing | null` where it is used.

    openapi-python-client takes the nullable form for a union of anonymous models, whose names then clash.
    """
    schemas = document.get("components", {}).get("schemas", {})
    nullable = {
        f"#/components/schemas/{name}"
        for name, schema in schemas.items()
        if schema.get("type") == "object" and schema.get("nullable") is True
    }
    for reference in nullable:
        del schemas[reference.rpartition("/")[2]]["nullable"]

    def replaced(node: JSON) -> JSON:
        if node.get("$ref") not in nullable:
            return node
        return {"oneOf": [{"$ref": node["$ref"]}, {"type": "string", "nullable": True, "enum": [None]}]}

    if nullable:
        _replace("openapi", document, replaced)


def drop_links(document: JSON) -> None:
    """Remove links, in place: swagger-parser refuses those whose `requestBody` is an object. Clients have no use."""
    for kind, node in _walk("openapi", document):
        if kind == "response":
            node.pop("links", None)
    document.get("components", {}).pop("links", None)


def nullable_references(document: JSON) -> None:
    """`oneOf: [Thing, Null]` becomes `Thing` with `nullable` beside it, in place.

    openapi-generator makes an enum without values of `Null`, which does not compile.
    """
    schemas = document.get("components", {}).get("schemas", {})
    nulls = [name for name, schema in schemas.items() if schema.get("enum") == [None]]
    references = [f"#/components/schemas/{name}" for name in nulls]

    def is_null(schema: JSON) -> bool:
        return schema.get("$ref") in references or schema.get("enum") == [None]

    for kind, node in _walk("openapi", document):
        for word in ("oneOf", "anyOf") if kind == "schema" else ():
            kept = [one for one in node.get(word, ()) if not is_null(one)]
            if len(kept) < len(node.get(word, ())):
                del node[word]
                node["allOf" if len(kept) == 1 else word] = kept
                node["nullable"] = True
    for name in nulls:
        del schemas[name]
    # What is left stands alone: a property that is always null.
    _replace("openapi", document, lambda one: {"nullable": True} if is_null(one) else one)


def any_for_loose_unions(document: JSON) -> list[str]:
    """Unions that hold more than named objects with properties become any value, in place: `Object` in Java.

    For a member that is a list or a map openapi-generator writes `List<X>.class`, which does not compile.
    """
    schemas = document.get("components", {}).get("schemas", {})
    notes = []
    sites = [
        (name, node) for name, schema in schemas.items() for kind, node in _walk("schema", schema) if kind == "schema"
    ]
    sites += [("a body", node) for kind, node in _walk("openapi", document) if kind == "schema"]
    for place, node in sites:
        if not {"oneOf", "anyOf"} & node.keys():
            continue
        members = [one for word in ("oneOf", "anyOf") for one in node.get(word, ())]
        names = [one.get("$ref", "").rpartition("/")[2] for one in members]
        if all("properties" in schemas.get(name, {}) for name in names):
            continue
        for word in ("oneOf", "anyOf", "discriminator"):
            node.pop(word, None)
        kinds = ", ".join(name or one.get("type", "any value") for name, one in zip(names, members, strict=True))
        notes.append(f"{place}: what may be {kinds} is an Object")
    return list(dict.fromkeys(notes))


def lists_for_sets(document: JSON) -> None:
    """Forget `uniqueItems`, in place: openapi-generator makes a `Set` and asks it for its n-th member in forms."""
    for kind, node in _walk("openapi", document):
        if kind == "schema":
            node.pop("uniqueItems", None)


def _walk(kind: str, node: Any) -> Iterator[tuple[str, JSON]]:
    yield kind, node
    for _, below, value in list(grammar.children(kind, node)):
        if isinstance(value, dict):
            yield from _walk(below, value)


def _replace(kind: str, node: JSON, replaced: Callable[[JSON], JSON]) -> None:
    for pointer, below, value in list(grammar.children(kind, node)):
        if not isinstance(value, dict):
            continue
        holder: Any = node
        for part in pointer[:-1]:
            holder = holder[part]
        if below == "schema":
            # A discriminated union needs plain references.
            new = value if kind == "schema" and "discriminator" in node else replaced(value)
            if new is not value:
                holder[pointer[-1]] = copy.deepcopy(new)
                continue
        _replace(below, value, replaced)
