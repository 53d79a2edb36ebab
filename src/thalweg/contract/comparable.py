"""A document as a comparison of properties can read it: unions, maps and null become plain properties and flags.

specshift compares properties, items and bounds. It counts the members of a union without looking into them, does not
look at the values of maps, and takes `allOf: [Thing]` or `oneOf: [Thing, Null]` for another thing than `Thing`. Here

    {allOf: [Thing], description: ...}   becomes  Thing
    {oneOf: [Thing, Null]}               becomes  Thing, with `nullable: true`
    {oneOf: [Cat, Dog]}                  becomes  an object with the properties `(Cat)` and `(Dog)`
    {additionalProperties: Thing}        becomes  an open object with the property `(any name)`

so that a change inside of any of them is seen where it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.contract import grammar
from thalweg.contract.manifest import follow

JSON = dict[str, Any]

MEMBER = r"\([^)]+\)"
"""How the properties that stand for members of unions and values of maps are named, as a pattern."""

ANY_NAME = "(any name)"

_SCHEMAS = "#/components/schemas/"


OR_NULL = " or null"
"""Ends the names of components that stand for `oneOf: [Thing, Null]`."""


def comparable(document: Mapping[str, Any]) -> JSON:
    """A copy of a bundled document in which every schema has the plain form."""
    plain: JSON = copy.deepcopy(dict(document))
    schemas = plain.get("components", {}).get("schemas", {})
    for name in list(schemas):
        schemas[name + OR_NULL] = {**schemas[name], "nullable": True}
    _descend("openapi", plain, document)
    return plain


def _descend(kind: str, node: JSON, document: Mapping[str, Any]) -> None:
    for pointer, below, value in list(grammar.children(kind, node)):
        holder: Any = node
        for part in pointer[:-1]:
            holder = holder[part]
        if below == "schema" and isinstance(value, dict):
            holder[pointer[-1]] = _plain(value, document, ())
        elif isinstance(value, dict):
            _descend(below, value, document)


def _plain(schema: Any, document: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    """`schema` in its plain form. `inside` are the components that are being written out: they stay references."""
    if not isinstance(schema, Mapping):
        return schema
    null, rest = _without_null(schema, document)
    for word in ("allOf", "oneOf", "anyOf"):
        members = rest.get(word)
        if isinstance(members, Sequence) and len(members) == 1 and (null or word == "allOf"):
            own = {key: value for key, value in rest.items() if key not in (word, "discriminator")}
            return _alone(members[0], own, null, document, inside)
    if "$ref" in rest:
        return dict(rest)
    out: JSON = {**rest, **({"nullable": True} if null else {})}
    for word in ("oneOf", "anyOf"):
        if word in out:
            members = out.pop(word)
            out.pop("discriminator", None)
            out.update({"type": "object", "properties": _members(members)})
    if isinstance(out.get("additionalProperties"), Mapping):
        values = out["additionalProperties"]
        out["additionalProperties"] = True
        out["properties"] = {**out.get("properties", {}), ANY_NAME: values}
    for pointer, below, value in list(grammar.children("schema", out)):
        if below != "schema":
            continue
        if len(pointer) == 1:
            out[str(pointer[0])] = _plain(value, document, inside)
        else:
            # The container is this copy's own from here on.
            container = copy.copy(out[str(pointer[0])])
            container[pointer[1]] = _plain(value, document, inside)
            out[str(pointer[0])] = container
    return out


def _alone(member: Any, own: JSON, null: bool, document: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    """The only member of a composition, with what stands beside it."""
    said = {"description", "title", "example", "default", "deprecated", "type", "nullable"}
    nullable = null or own.get("nullable") is True
    if isinstance(member, Mapping) and "$ref" in member:
        name = str(member["$ref"])
        if own.keys() <= said or name in inside:
            return {"$ref": name + OR_NULL if nullable and name.startswith(_SCHEMAS) else name}
        inside = (*inside, name)
    found = follow(document, member)[0]
    merged = {**found, **{key: value for key, value in own.items() if key not in ("description", "title")}}
    return _plain({**merged, **({"nullable": True} if nullable else {})}, document, inside)


def _without_null(schema: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[bool, JSON]:
    """Whether one member of a union is the value null, and the schema without that member."""
    out = dict(schema)
    for word in ("oneOf", "anyOf"):
        members = out.get(word) or ()
        kept = [one for one in members if follow(document, one)[0].get("enum") != [None]]
        if len(kept) < len(members):
            out[word] = kept
            return True, out
    return False, out


def _members(members: Sequence[Any]) -> JSON:
    """Members by the name of their component, or their type and number."""
    found: JSON = {}
    for one in members:
        name = str(one["$ref"]).rpartition("/")[2] if "$ref" in one else str(one.get("type", "composed"))
        number = sum(key.rstrip("0123456789 )") == f"({name}" for key in found) + 1
        found[f"({name})" if number == 1 else f"({name} {number})"] = one
    return found
