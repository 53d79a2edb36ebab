"""The bundle as the edge reads it: without what is there for people."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from thalweg.contract.grammar import METHODS


def without_prose(document: dict[str, Any]) -> dict[str, Any]:
    """A copy rid of what people read: descriptions and examples are more than half of what a bundle weighs."""
    bundle = deepcopy(document)
    for item in bundle["paths"].values():
        for method, operation in item.items():
            if method in METHODS:
                for name in ("summary", "description", "externalDocs"):
                    operation.pop(name, None)
                _bare(operation.get("parameters", ()))
                _bare([*operation["responses"].values(), operation.get("requestBody", {})])
        _bare(item.get("parameters", ()))
    components = bundle.get("components", {})
    for kind in ("parameters", "responses", "requestBodies", "headers"):
        _bare(components.get(kind, {}).values())
    for schema in components.get("schemas", {}).values():
        _plain(schema)
    components.pop("examples", None)
    for tag in bundle.get("tags", ()):
        tag.pop("description", None)
    return bundle


def _bare(parts: Iterable[dict[str, Any]]) -> None:
    """Parameters, headers, bodies, responses and media types: all of them carry prose under the same names."""
    for part in parts:
        for name in ("description", "example", "examples", "links"):
            part.pop(name, None)
        _bare(part.get("headers", {}).values())
        _bare(part.get("content", {}).values())
        if "schema" in part:
            _plain(part["schema"])


def _plain(schema: Any) -> None:
    """A schema. What is under `properties` are names, what is under `enum` and `default` is data: they stay."""
    if not isinstance(schema, dict):
        return
    for name in ("description", "example", "title", "externalDocs"):
        schema.pop(name, None)
    for name in ("items", "not", "additionalProperties"):
        _plain(schema.get(name))
    for name in ("allOf", "anyOf", "oneOf"):
        for member in schema.get(name, ()):
            _plain(member)
    for property_ in schema.get("properties", {}).values():
        _plain(property_)
