"""From a bundled document to the schemas that models are generated from.

What is sent and what is answered differ (`readOnly`, `writeOnly`), bounds are checked by the edge and not again by a
model, nested objects get names of their own that stay when something else changes, and plain scalars lose theirs: a
handler wants `body.session_id` to be a `str`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

Direction = Literal["request", "response"]

UPLOAD = "thalweg.edge.body.Upload"
"""What a binary field of a multipart body is at run time."""

_SCALARS = ("string", "integer", "number", "boolean")
_FORMATS = {"uuid", "date", "date-time"}
"""Formats that become Python types in requests; all others stay `str`, checked by the edge."""
_REF = "#/components/schemas/"
_WORD = re.compile(r"[A-Za-z0-9]+")


def pascal_case(name: str) -> str:
    """`listBrainMemory` -> `ListBrainMemory`, `fast.triage` -> `FastTriage`."""
    return "".join(word[:1].upper() + word[1:] for word in _WORD.findall(name))


class Shapes:
    """Collects the schemas that models of one direction need.

    `add` answers the name of a model (or None where the value has no shape of its own: a string, a file);
    `definitions` then holds every schema to generate, by name.
    """

    def __init__(self, document: Mapping[str, Any], direction: Direction) -> None:
        self.schemas: Mapping[str, Any] = document.get("components", {}).get("schemas", {})
        self.direction = direction
        self.definitions: dict[str, dict[str, Any]] = {}

    def add(self, schema: Mapping[str, Any], name: str) -> str | None:
        """Take a root schema in. `name` is used unless the schema is a reference to a component."""
        if "$ref" in schema:
            shaped = self._reference(schema["$ref"])
            return str(shaped["$ref"]).removeprefix(_REF) if "$ref" in shaped else None
        if self._plain(schema):
            return None
        name = self._free(name)
        self.definitions[name] = {}
        self.definitions[name] = self._shape(schema, name, top=True)
        return name

    def document(self) -> dict[str, Any]:
        """The definitions as an OpenAPI document without paths."""
        return {
            "openapi": "3.0.3",
            "info": {"title": self.direction, "version": "1"},
            "paths": {},
            "components": {"schemas": {name: self.definitions[name] for name in sorted(self.definitions)}},
        }

    # --- one schema -------------------------------------------------------------------------------

    def _shape(self, schema: Any, name: str, *, top: bool = False) -> dict[str, Any]:
        """`schema` as the generator should see it. A nested object becomes a definition named `name`."""
        if not isinstance(schema, Mapping):
            return {}
        if "$ref" in schema:
            return self._reference(schema["$ref"])
        if "allOf" in schema:
            return self._all_of(schema, name, top=top)
        if "oneOf" in schema or "anyOf" in schema:
            return self._union(schema, name)
        kind = schema.get("type")
        if kind == "array":
            out: dict[str, Any] = {"type": "array", "items": self._shape(schema.get("items"), f"{name}Item")}
            return self._with(out, schema)
        if kind == "object" or "properties" in schema:
            return self._object(schema, name, top=top)
        return self._scalar(schema)

    def _with(self, out: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        """Carry over what a model needs beside the shape itself."""
        if schema.get("nullable"):
            out["nullable"] = True
        if self.direction == "request" and "default" in schema:
            out["default"] = schema["default"]
        return out

    def _scalar(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        kind = schema.get("type")
        out: dict[str, Any] = {"type": kind} if kind else {}
        if "enum" in schema:
            out["enum"] = list(schema["enum"])
        elif kind == "string" and self.direction == "request":
            if schema.get("format") == "binary":
                out = {"customTypePath": UPLOAD}
            elif schema.get("format") in _FORMATS:
                out["format"] = schema["format"]
        return self._with(out, schema)

    def _object(self, schema: Mapping[str, Any], name: str, *, top: bool) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties", True)
        if not properties:
            if extra is False:
                out: dict[str, Any] = {"type": "object", "additionalProperties": False}
            else:
                values = self._shape(extra, f"{name}Value") if isinstance(extra, Mapping) else True
                return self._with({"type": "object", "additionalProperties": values}, schema)
        else:
            hidden = "readOnly" if self.direction == "request" else "writeOnly"
            kept = {key: value for key, value in properties.items() if not self._flagged(value, hidden)}
            out = {
                "type": "object",
                "properties": {key: self._shape(value, name + pascal_case(key)) for key, value in kept.items()},
            }
            required = [key for key in schema.get("required", ()) if key in kept]
            if required:
                out["required"] = required
            typed = isinstance(extra, Mapping) and self.direction == "request"
            # mypy knows no `extra_items` yet (PEP 728): an answer with typed extras is an open TypedDict.
            out["additionalProperties"] = self._shape(extra, f"{name}Value") if typed else extra is not False
        if schema.get("description"):
            out["description"] = _first_sentence(schema["description"])
        if top:
            return out
        return self._define(out, name, schema)

    def _define(self, out: dict[str, Any], name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Name a nested object, and refer to it."""
        name = self._free(name)
        self.definitions[name] = out
        return self._refer(name, schema)

    def _refer(self, name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        beside = self._with({}, schema)
        reference = {"$ref": _REF + name}
        return {"allOf": [reference], **beside} if beside else reference

    def _reference(self, reference: str) -> dict[str, Any]:
        name = reference.removeprefix(_REF)
        target = self.schemas.get(name)
        if not isinstance(target, Mapping):
            return {}
        if "$ref" in target:
            return self._reference(target["$ref"])
        if self._plain(target):
            return self._scalar(target)
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self._shape(target, name, top=True)
        return {"$ref": _REF + name}

    def _union(self, schema: Mapping[str, Any], name: str) -> dict[str, Any]:
        word = "oneOf" if "oneOf" in schema else "anyOf"
        members = [member for member in schema[word] if not self._null_only(member)]
        nullable = len(members) < len(schema[word]) or bool(schema.get("nullable"))
        shaped = [self._shape(member, f"{name}Option{index}") for index, member in enumerate(members, 1)]
        beside = self._with({}, {**schema, "nullable": nullable})
        if len(shaped) == 1:
            if "$ref" in shaped[0]:
                return {"allOf": shaped, **beside} if beside else shaped[0]
            return {**shaped[0], **beside}
        out: dict[str, Any] = {word: shaped, **beside}
        if "discriminator" in schema and all("$ref" in one for one in shaped):
            out["discriminator"] = dict(schema["discriminator"])
        return out

    def _all_of(self, schema: Mapping[str, Any], name: str, *, top: bool) -> dict[str, Any]:
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        shaping = {"properties", "items", "oneOf", "anyOf", "additionalProperties", "required", "enum"}
        if len(schema["allOf"]) == 1 and not shaping & rest.keys():
            only = schema["allOf"][0]
            shaped = self._shape(only, name, top=top and "$ref" not in only)
            beside = self._with({}, rest)
            if "$ref" in shaped:
                return {"allOf": [shaped], **beside} if beside else shaped
            return {**shaped, **beside}
        return self._shape(self._merged([*schema["allOf"], rest]), name, top=top)

    def _merged(self, members: list[Any]) -> dict[str, Any]:
        """All members as one schema: properties and `required` add up, later words win."""
        out: dict[str, Any] = {}
        for member in members:
            flat = self._resolved(member)
            if "allOf" in flat:
                rest = {key: value for key, value in flat.items() if key != "allOf"}
                flat = self._merged([*flat["allOf"], rest])
            for key, value in flat.items():
                if key == "properties":
                    properties = dict(out.get("properties", {}))
                    for field, one in value.items():
                        known = properties.get(field)
                        properties[field] = {"allOf": [known, one]} if known not in (None, one) else one
                    out["properties"] = properties
                elif key == "required":
                    out["required"] = list(dict.fromkeys([*out.get("required", ()), *value]))
                elif key == "additionalProperties" and out.get(key) is False:
                    continue
                else:
                    out[key] = value
        return out

    # --- questions --------------------------------------------------------------------------------

    def _resolved(self, schema: Any) -> Mapping[str, Any]:
        seen: set[str] = set()
        while isinstance(schema, Mapping) and "$ref" in schema and schema["$ref"] not in seen:
            seen.add(schema["$ref"])
            schema = self.schemas.get(str(schema["$ref"]).removeprefix(_REF), {})
        return schema if isinstance(schema, Mapping) else {}

    def _plain(self, schema: Mapping[str, Any]) -> bool:
        """A scalar that needs no name: no enumeration, nothing composed."""
        return (
            schema.get("type") in _SCALARS
            and "enum" not in schema
            and not any(word in schema for word in ("allOf", "oneOf", "anyOf"))
        )

    def _null_only(self, schema: Any) -> bool:
        return list(self._resolved(schema).get("enum", ())) == [None]

    def _flagged(self, schema: Any, flag: str) -> bool:
        resolved = self._resolved(schema)
        return bool(resolved.get(flag)) or any(self._flagged(one, flag) for one in resolved.get("allOf", ()))

    def _free(self, name: str) -> str:
        """`name`, or the next that neither a component nor another nested object has."""
        candidate, number = name, 1
        while candidate in self.definitions or candidate in self.schemas:
            number += 1
            candidate = f"{name}{number}"
        return candidate


def _first_sentence(text: str) -> str:
    line = " ".join(text.split())
    return re.split(r"(?<=[.!?])\s", line, maxsplit=1)[0].replace("\\", "/").replace('"""', "'''")
