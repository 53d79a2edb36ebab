"""The shape of an OpenAPI 3.0 document: which kind of object stands under which key.

Bundling, lint and conversion walk a document by this table, so that a property *named* `example`, an example that
*contains* `$ref`, or an extension is never mistaken for a part of the contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

Shape = Literal["one", "list", "map"]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

GRAMMAR: dict[str, dict[str, tuple[str, Shape]]] = {
    "openapi": {
        "info": ("info", "one"),
        "servers": ("server", "list"),
        "tags": ("tag", "list"),
        "paths": ("pathItem", "map"),
        "components": ("components", "one"),
    },
    "info": {"contact": ("contact", "one"), "license": ("license", "one")},
    "components": {
        "schemas": ("schema", "map"),
        "responses": ("response", "map"),
        "parameters": ("parameter", "map"),
        "examples": ("example", "map"),
        "requestBodies": ("requestBody", "map"),
        "headers": ("header", "map"),
        "securitySchemes": ("securityScheme", "map"),
        "links": ("link", "map"),
        "callbacks": ("callback", "map"),
    },
    "pathItem": {
        **dict.fromkeys(METHODS, ("operation", "one")),
        "parameters": ("parameter", "list"),
        "servers": ("server", "list"),
    },
    "operation": {
        "parameters": ("parameter", "list"),
        "requestBody": ("requestBody", "one"),
        "responses": ("response", "map"),
        "callbacks": ("callback", "map"),
        "servers": ("server", "list"),
        "x-stream": ("stream", "one"),
    },
    "stream": {"events": ("schema", "map")},
    "parameter": {
        "schema": ("schema", "one"),
        "examples": ("example", "map"),
        "content": ("mediaType", "map"),
    },
    "header": {
        "schema": ("schema", "one"),
        "examples": ("example", "map"),
        "content": ("mediaType", "map"),
    },
    "requestBody": {"content": ("mediaType", "map")},
    "mediaType": {
        "schema": ("schema", "one"),
        "examples": ("example", "map"),
        "encoding": ("encoding", "map"),
    },
    "encoding": {"headers": ("header", "map")},
    "response": {
        "headers": ("header", "map"),
        "content": ("mediaType", "map"),
        "links": ("link", "map"),
    },
    "schema": {
        "properties": ("schema", "map"),
        "items": ("schema", "one"),
        "allOf": ("schema", "list"),
        "oneOf": ("schema", "list"),
        "anyOf": ("schema", "list"),
        "not": ("schema", "one"),
        "additionalProperties": ("schema", "one"),
        "discriminator": ("discriminator", "one"),
    },
    "link": {"server": ("server", "one")},
}

SECTIONS: dict[str, str] = {kind: section for section, (kind, _) in GRAMMAR["components"].items()}
"""Kind of object to its section of `components`; a kind that is not here cannot be a named component."""


def child_of(kind: str, key: str) -> tuple[str, Shape] | None:
    """What stands under `key` of an object of `kind`; None for plain values and extensions."""
    if kind == "callback":
        return None if key.startswith("x-") else ("pathItem", "one")
    return GRAMMAR.get(kind, {}).get(key)


def children(kind: str, node: Any) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
    """The objects directly below `node`: relative pointer, kind, value. References are not followed."""
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        found = child_of(kind, key)
        if found is None:
            continue
        below, shape = found
        if shape == "one":
            if isinstance(value, dict):
                yield (key,), below, value
        elif shape == "list":
            if isinstance(value, list):
                for index, item in enumerate(value):
                    yield (key, index), below, item
        elif isinstance(value, dict):
            for name, item in value.items():
                if below == "schema" or not name.startswith("x-") or kind not in ("openapi", "operation"):
                    yield (key, name), below, item
