"""From text to the JSON value that a schema means, and from there to Python: what parameters and form fields share.

Text that cannot be read as the schema's type stays text, so that the schema itself refuses it and says why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from thalweg.edge.dialect import Schema, resolve
from thalweg.edge.schema import Compiler

Coerce = Callable[[str], Any]
Finish = Callable[[Any], Any]


@dataclass(slots=True)
class Shape:
    """What a schema says about the form of a value, gathered through `$ref` and the combining keywords."""

    kinds: set[str] = field(default_factory=set)
    formats: set[str | None] = field(default_factory=set)
    """Formats of its string alternatives; None for one without."""
    items: Schema | None = None
    properties: dict[str, Schema] = field(default_factory=dict)
    others: Schema | bool | None = None
    """`additionalProperties` where it is written."""
    default: Any = None
    has_default: bool = False
    wide: bool = False
    """Made of alternatives (`oneOf`, `anyOf`)."""


def shape_of(bundle: Mapping[str, Any], schema: Schema) -> Shape:
    shape = Shape()
    _gather(bundle, schema, shape, set())
    if not shape.kinds:
        shape.kinds.add("object" if shape.properties else "array" if shape.items is not None else "string")
    return shape


def _gather(bundle: Mapping[str, Any], schema: Schema, shape: Shape, seen: set[int]) -> None:
    while isinstance(pointer := schema.get("$ref"), str):
        schema = resolve(bundle, pointer)
    if id(schema) in seen:
        return
    seen.add(id(schema))
    kind = schema.get("type")
    if kind is not None:
        shape.kinds.add(kind)
        if kind == "string":
            shape.formats.add(schema.get("format"))
        if schema.get("nullable") is True:
            shape.kinds.add("null")
    else:
        shape.kinds.update(_kind(value) for value in schema.get("enum", ()))
    if shape.items is None and "items" in schema:
        shape.items = schema["items"]
    for name, definition in schema.get("properties", {}).items():
        shape.properties.setdefault(name, definition)
    if "additionalProperties" in schema and shape.others is None:
        shape.others = schema["additionalProperties"]
    if "default" in schema and not shape.has_default:
        shape.default, shape.has_default = schema["default"], True
    for keyword in ("allOf", "anyOf", "oneOf"):
        for member in schema.get(keyword, ()):
            _gather(bundle, member, shape, seen)
        shape.wide |= keyword != "allOf" and bool(schema.get(keyword))


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


# --- text to JSON ---------------------------------------------------------------------------------

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})").fullmatch
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,308})(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?").fullmatch


def as_text(text: str) -> Any:
    return text


def as_integer(text: str) -> Any:
    """A JSON integer of at most 64 bits: what a database can hold, and no 5,000-digit work for `int`."""
    if _INTEGER(text) is None:
        return text
    value = int(text)
    return value if -(2**63) <= value < 2**63 else text


def as_number(text: str) -> Any:
    """A JSON number; one without a fraction stays an integer."""
    match = _NUMBER(text)
    if match is None:
        return text
    if match.lastindex is None and len(text) < 20:
        return int(text)
    value = float(text)
    return value if math.isfinite(value) else text


def as_boolean(text: str) -> Any:
    return True if text == "true" else False if text == "false" else text


def as_null(text: str) -> Any:
    return None if text in ("", "null") else text


_ORDER: tuple[tuple[str, Coerce], ...] = (
    ("integer", as_integer),
    ("number", as_number),
    ("boolean", as_boolean),
    ("string", as_text),
    ("null", as_null),
)


def scalar(compiler: Compiler, schema: Schema) -> Coerce:
    """Reads one text. Where several types are possible, the first reading that the schema accepts."""
    kinds = shape_of(compiler.bundle, schema).kinds
    readers = [read for kind, read in _ORDER if kind in kinds]
    if len(readers) < 2:
        return readers[0] if readers else as_text
    valid = compiler.compile(schema, "request")

    def read(text: str) -> Any:
        for reader in readers:
            value = reader(text)
            if (value is not text or reader is as_text) and valid.is_valid(value):
                return value
        return text

    return read


def sequence(compiler: Compiler, schema: Schema) -> Callable[[Sequence[str]], Any]:
    """Reads the texts of an array's items."""
    items = shape_of(compiler.bundle, schema).items
    item = scalar(compiler, items) if items is not None else as_text
    if item is as_text:
        return list
    return lambda texts: [item(text) for text in texts]


def is_array(compiler: Compiler, schema: Schema) -> bool:
    return "array" in shape_of(compiler.bundle, schema).kinds


def is_object(compiler: Compiler, schema: Schema) -> bool:
    return "object" in shape_of(compiler.bundle, schema).kinds


def record(compiler: Compiler, schema: Schema) -> Callable[[Mapping[str, Sequence[str]]], dict[str, Any]]:
    """Reads named texts into an object by the schemas of its properties; a repeated name is an array."""
    shape = shape_of(compiler.bundle, schema)
    readers = {name: _member(compiler, definition) for name, definition in shape.properties.items()}
    other = _member(compiler, shape.others) if isinstance(shape.others, Mapping) else _plain

    def read(fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        return {name: readers.get(name, other)(texts) for name, texts in fields.items()}

    return read


def _member(compiler: Compiler, schema: Schema) -> Callable[[Sequence[str]], Any]:
    if is_array(compiler, schema):
        return sequence(compiler, schema)
    one = scalar(compiler, schema)
    return lambda texts: one(texts[0]) if len(texts) == 1 else list(texts)


def _plain(texts: Sequence[str]) -> Any:
    return texts[0] if len(texts) == 1 else list(texts)


# --- JSON to Python --------------------------------------------------------------------------------


def instant(text: str) -> datetime:
    """An RFC 3339 date-time (already checked) as an aware datetime in UTC; digits beyond the microsecond are cut."""
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


_FINISH: Mapping[str, Finish] = {"uuid": UUID, "date-time": instant, "date": date.fromisoformat}


def finisher(bundle: Mapping[str, Any], schema: Schema) -> Finish | None:
    """What makes `UUID`, `datetime` and `date` of a valid JSON value; None when it is already what Python wants."""
    shape = shape_of(bundle, schema)
    if "array" in shape.kinds and shape.items is not None:
        item = finisher(bundle, shape.items)
        if item is not None:
            return lambda value: [item(entry) for entry in value] if isinstance(value, list) else value
    if "object" in shape.kinds:
        members = {name: f for name, schema in shape.properties.items() if (f := finisher(bundle, schema)) is not None}
        if members:
            return lambda value: _finish_members(value, members)
    if len(shape.formats) == 1 and (make := _FINISH.get(next(iter(shape.formats)) or "")) is not None:
        if shape.kinds == {"string"}:
            return make
        return lambda value: make(value) if isinstance(value, str) else value
    return None


def _finish_members(value: Any, members: Mapping[str, Finish]) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: members[name](entry) if name in members else entry for name, entry in value.items()}
