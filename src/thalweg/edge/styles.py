"""The parameter styles of OpenAPI 3.0.3 ("Style Values"): how arrays and objects are written into a parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thalweg.edge import coercion
from thalweg.edge.dialect import ContractError, Schema
from thalweg.edge.schema import Compiler
from thalweg.edge.wiretext import query_text

Read = Callable[[Any], Any]
Serialisation = tuple[Read, bool, bool, str | None]

_ALLOWED = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
_DELIMITERS = {"form": ",", "simple": ",", "spaceDelimited": " ", "pipeDelimited": "|"}


def reader(name: str, where: str, style: str, explode: bool, schema: Schema, compiler: Compiler) -> Serialisation:
    """How to read a parameter: the reader, whether it takes several occurrences, whether it wants undecoded text, and
    for objects that are spread over several query names, by which style. Raises `ContractError`."""
    if style not in _ALLOWED.get(where, ()):
        raise ContractError(f"Parameter {name}: style {style} does not exist in {where}.")
    array, object_ = coercion.is_array(compiler, schema), coercion.is_object(compiler, schema)
    if object_:
        make = coercion.record(compiler, schema)
        if where == "query" and (style == "deepObject" or (style == "form" and explode)):
            return make, True, False, style
        return _object(name, style, explode, make), where == "header", False, None
    if style == "deepObject":
        raise ContractError(f"Parameter {name}: style deepObject is for objects.")
    if array:
        items = coercion.sequence(compiler, schema)
        if where == "query" and style == "form" and explode:
            return lambda texts: items(texts if type(texts) is list else [texts]), True, False, None
        valid = compiler.compile(schema, "request")
        return _array(name, where, style, explode, items, valid.is_valid), where == "header", where == "query", None
    one = coercion.scalar(compiler, schema)
    if style in ("label", "matrix"):
        start = "." if style == "label" else f";{name}="
        return lambda text: one(text.removeprefix(start) if text.startswith(start) else text), False, False, None
    return one, False, False, None


def _array(
    name: str,
    where: str,
    style: str,
    explode: bool,
    items: Callable[[Sequence[str]], Any],
    valid: Callable[[Any], bool],
) -> Read:
    delimiter = _DELIMITERS.get(style, ",")

    def read(text: Any) -> Any:
        if type(text) is list:
            text = delimiter.join(text)
        if style == "label":
            parts = text.removeprefix(".").split("." if explode else ",")
        elif style == "matrix":
            bare = text.removeprefix(f";{name}=")
            parts = bare.split(f";{name}=" if explode else ",")
        elif where == "query":
            parts = _delimited(text, delimiter)
        else:
            parts = [part.strip(" \t") for part in text.split(delimiter)]
        if parts == [""] and valid([]):
            return []
        return items(parts)

    return read


def _delimited(text: str, delimiter: str) -> list[str]:
    """Items of an undecoded query value. A client that follows RFC 6570 encodes a comma inside an item and leaves those
    between items bare; many encode both, so without a bare one the encoded ones count."""
    if delimiter == "," and "," in text:
        return [query_text(part) for part in text.split(",")]
    return query_text(text).split(delimiter)


def _object(name: str, style: str, explode: bool, make: Callable[[Mapping[str, Sequence[str]]], Any]) -> Read:
    delimiter = _DELIMITERS.get(style, ",")

    def read(text: Any) -> Any:
        if type(text) is list:
            text = delimiter.join(text)
        between = delimiter
        if style == "label":
            text, between = text.removeprefix("."), "." if explode else ","
        elif style == "matrix":
            text, between = (text.removeprefix(";"), ";") if explode else (text.removeprefix(f";{name}="), ",")
        parts = [part.strip(" \t") for part in text.split(between)] if text else []
        if explode:
            pairs = [part.partition("=")[::2] for part in parts]
        elif len(parts) % 2:
            return text  # not an object: the schema says so
        else:
            pairs = list(zip(parts[::2], parts[1::2], strict=True))
        fields: dict[str, list[str]] = {}
        for key, value in pairs:
            fields.setdefault(key, []).append(value)
        return make(fields)

    return read
