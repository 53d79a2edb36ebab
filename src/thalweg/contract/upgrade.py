"""OpenAPI 3.0 to 3.1: the same contract in the dialect that newer tools read.

The walk follows the grammar, so a property named `nullable` or an example that holds `exclusiveMinimum` stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.contract import grammar

DIALECT = "https://spec.openapis.org/oas/3.1/dialect/base"

_MULTIPART = "multipart/form-data"


def upgrade(document: Mapping[str, Any], *, keep_bytes: bool = False) -> dict[str, Any]:
    """A 3.1.0 copy of a bundled 3.0.x document. The original is not changed.

    A body that is nothing but bytes has no schema to speak of in 3.1 (Specification 3.1.0, 4.8.14.2) and loses it. With
    `keep_bytes` it stays, and every pointer of the original leads somewhere in the copy.
    """
    out: dict[str, Any] = {"openapi": "3.1.0"}
    for key, value in document.items():
        if key == "openapi":
            continue
        out[key] = _child("openapi", key, value)
        if key == "info":
            out["jsonSchemaDialect"] = DIALECT
    if not keep_bytes:
        _drop_bytes("openapi", out)
    return out


def upgrade_schema(schema: Any) -> Any:
    """One 3.0 schema object as JSON Schema 2020-12. References stay as they are."""
    return _schema(schema)


def _convert(kind: str, node: Any) -> Any:
    if kind == "schema":
        return _schema(node)
    if not isinstance(node, Mapping):
        return node
    return {key: _child(kind, key, value) for key, value in node.items()}


def _drop_bytes(kind: str, node: dict[str, Any]) -> None:
    schema = node.get("schema")
    if kind == "mediaType" and isinstance(schema, dict) and "contentMediaType" in schema:
        kept = {key: value for key, value in schema.items() if key in ("description", "maxLength")}
        del node["schema"]
        if kept:
            node["schema"] = kept
    for _, below, child in grammar.children(kind, node):
        if below != "schema" and isinstance(child, dict):
            _drop_bytes(below, child)


def _child(kind: str, key: str, value: Any) -> Any:
    found = grammar.child_of(kind, key)
    if found is None:
        return value
    below, shape = found
    if shape == "one":
        return _convert(below, value)
    if shape == "list":
        return [_convert(below, item) for item in value] if isinstance(value, list) else value
    if isinstance(value, Mapping):
        return {name: _convert(below, item) for name, item in value.items()}
    return value


def _schema(node: Any) -> Any:
    if not isinstance(node, Mapping):
        return node
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("nullable", "exclusiveMinimum", "exclusiveMaximum"):
            continue
        if key == "example":
            out["examples"] = [value]
        elif key == "format" and value == "binary":
            out["contentMediaType"] = "application/octet-stream"
        elif key == "format" and value == "byte":
            out["contentEncoding"] = "base64"
        else:
            out[key] = _child("schema", key, value)
    _exclusive(node, out, "minimum", "exclusiveMinimum")
    _exclusive(node, out, "maximum", "exclusiveMaximum")
    # `nullable` says something only beside `type` (Specification 3.0.3, 4.7.24.1), and `enum` still binds null.
    if node.get("nullable") is True and isinstance(node.get("type"), str):
        out["type"] = [node["type"], "null"]
    return out


def _exclusive(node: Mapping[str, Any], out: dict[str, Any], bound: str, word: str) -> None:
    """3.0 has a number and a flag, 3.1 one of two numbers."""
    if node.get(word) is True and bound in node:
        out[word] = out.pop(bound)
