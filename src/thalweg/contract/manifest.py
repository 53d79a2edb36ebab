"""What a surface's operations are, in one small file: `operations.json`.

The edge, coverage and the contract tests read it instead of walking a document of several megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from thalweg.contract import grammar
from thalweg.contract.shapes import Shapes, pascal_case
from thalweg.naming import snake_case

PAGING = {"offset": ("limit", "offset"), "cursor": ("limit", "cursor")}
"""Query parameters that reach a handler as its `page`, by `x-pagination`."""


@dataclass(slots=True)
class Roots:
    """Shapes of both directions, and the bodies that need a wrapper because they are no objects."""

    requests: Shapes
    responses: Shapes
    wrappers: dict[str, list[str]] = field(default_factory=dict)
    """Name of the wrapper to the names of the models it may hold."""
    shared: dict[tuple[str, str, str], str | None] = field(default_factory=dict)
    """Models of inline schemas in shared components, by section, component and media type."""

    def once(
        self, shapes: Shapes, section: str, component: str | None, media_type: str, schema: Any, name: str
    ) -> str | None:
        """The model of a body; an inline schema of a shared component gets one model however often it is used."""
        if component is None:
            return shapes.add(schema, name)
        key = (section, component, media_type)
        if key not in self.shared:
            self.shared[key] = shapes.add(schema, name)
        return self.shared[key]


def follow(document: Mapping[str, Any], node: Any) -> tuple[Any, str | None]:
    """`node`, or what it refers to, with the component's name. A dangling reference gives an empty mapping."""
    name = None
    seen = set()
    while isinstance(node, Mapping) and isinstance(node.get("$ref"), str) and node["$ref"] not in seen:
        seen.add(node["$ref"])
        parts = node["$ref"].removeprefix("#/").split("/")
        node = document
        for part in parts:
            node = node.get(part.replace("~1", "/").replace("~0", "~"), {})
        name = parts[-1]
    return node, name


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]:
    """Path, method, path item and operation."""
    for path, item in document.get("paths", {}).items():
        for method, operation in item.items():
            if method in grammar.METHODS:
                yield path, method, item, operation


def parameters_of(document: Mapping[str, Any], item: Mapping[str, Any], operation: Mapping[str, Any]) -> list[Any]:
    """The operation's parameters with those of its path item; its own win."""
    merged: dict[tuple[str, str], Any] = {}
    for parameter in (*item.get("parameters", ()), *operation.get("parameters", ())):
        resolved, _ = follow(document, parameter)
        merged[(str(resolved.get("in")), str(resolved.get("name")))] = resolved
    return list(merged.values())


def build(surface: str, base_path: str, handlers: str, document: Mapping[str, Any]) -> tuple[dict[str, Any], Roots]:
    """The manifest, and the shapes that its model names refer to."""
    roots = Roots(Shapes(document, "request"), Shapes(document, "response"))
    entries = [
        _entry(f"{handlers}.{surface}", document, roots, path, method, item, operation)
        for path, method, item, operation in operations(document)
    ]
    info = document.get("info", {})
    manifest = {
        "surface": surface,
        "base_path": base_path,
        "title": info.get("title"),
        "version": info.get("version"),
        "operations": entries,
    }
    return manifest, roots


def _entry(
    package: str,
    document: Mapping[str, Any],
    roots: Roots,
    path: str,
    method: str,
    item: Mapping[str, Any],
    operation: Mapping[str, Any],
) -> dict[str, Any]:
    operation_id = str(operation.get("operationId", f"{method}{pascal_case(path)}"))
    tag = next(iter(operation.get("tags", ())), "default")
    style = operation.get("x-pagination")
    responses = _responses(document, roots, operation_id, operation)
    return {
        "operation_id": operation_id,
        "method": method.upper(),
        "path": path,
        "tag": tag,
        "handler": f"{package}.{snake_case(tag)}:{snake_case(operation_id)}",
        "summary": operation.get("summary"),
        "deprecated": bool(operation.get("deprecated", False)),
        "request": _request(document, roots, operation_id, operation),
        "parameters": [
            _parameter(document, parameter, style) for parameter in parameters_of(document, item, operation)
        ],
        "responses": responses,
        "statuses": list(responses),
        "events": _events(roots, operation_id, operation),
        "security": operation.get("security", document.get("security", [])),
        "extensions": {key: value for key, value in operation.items() if key.startswith("x-") and key != "x-stream"},
        "stream": {key: value for key, value in operation["x-stream"].items() if key != "events"}
        if isinstance(operation.get("x-stream"), Mapping)
        else None,
    }


_TYPES = {"integer": "int", "number": "float", "boolean": "bool", "string": "str"}
_FORMATS = {"uuid": "UUID", "date": "date", "date-time": "datetime"}


def _parameter(document: Mapping[str, Any], parameter: Mapping[str, Any], style: Any) -> dict[str, Any]:
    schema, _ = follow(document, parameter.get("schema") or {})
    return {
        "name": parameter.get("name"),
        "in": parameter.get("in"),
        "python": snake_case(str(parameter.get("name"))),
        "type": _python_type(document, schema),
        "required": bool(parameter.get("required", False)),
        "default": "default" in schema,
        "paging": parameter.get("in") == "query" and parameter.get("name") in PAGING.get(str(style), ()),
    }


def _python_type(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "array":
        return f"list[{_python_type(document, follow(document, schema.get('items') or {})[0])}]"
    if kind == "string" and schema.get("format") in _FORMATS and "enum" not in schema:
        return _FORMATS[schema["format"]]
    return _TYPES.get(str(kind), "Any")


def _request(
    document: Mapping[str, Any], roots: Roots, operation_id: str, operation: Mapping[str, Any]
) -> dict[str, Any] | None:
    if "requestBody" not in operation:
        return None
    body, component = follow(document, operation["requestBody"])
    own = pascal_case(component) if component else f"{pascal_case(operation_id)}Request"
    content: dict[str, str | None] = {}
    for media_type, media in body.get("content", {}).items():
        schema = media.get("schema", {})
        known = next((content[one] for one in content if body["content"][one].get("schema") == schema), None)
        content[media_type] = known or roots.once(roots.requests, "requestBodies", component, media_type, schema, own)
    return {
        "required": bool(body.get("required", False)),
        "content": content,
        "model": _model(roots, operation_id, list(dict.fromkeys(content.values()))),
    }


def _model(roots: Roots, operation_id: str, names: list[str | None]) -> str | None:
    """One class for the whole body: the model itself, or a wrapper where it is no object or one of several."""
    if not names or None in names:
        return None
    known = [name for name in names if name is not None]
    if len(known) == 1 and _is_object(roots.requests, known[0]):
        return known[0]
    wrapper = f"{pascal_case(operation_id)}Body"
    roots.wrappers[wrapper] = known
    return wrapper


def _is_object(shapes: Shapes, name: str) -> bool:
    shape = shapes.definitions[name]
    return (shape.get("type") == "object" and "properties" in shape) or shape.get("additionalProperties") is False


def _responses(
    document: Mapping[str, Any], roots: Roots, operation_id: str, operation: Mapping[str, Any]
) -> dict[str, dict[str, str | None]]:
    out: dict[str, dict[str, str | None]] = {}
    plain = f"{pascal_case(operation_id)}Response"
    for status, response in operation.get("responses", {}).items():
        resolved, component = follow(document, response)
        out[status] = {}
        for media_type, media in resolved.get("content", {}).items():
            first_success = status.startswith("2") and not any(one.startswith("2") and out[one] for one in out)
            name = f"{pascal_case(component)}Response" if component else plain if first_success else f"{plain}{status}"
            out[status][media_type] = roots.once(
                roots.responses, "responses", component, media_type, media.get("schema", {}), name
            )
    return out


def _events(roots: Roots, operation_id: str, operation: Mapping[str, Any]) -> dict[str, str | None]:
    stream = operation.get("x-stream")
    if not isinstance(stream, Mapping):
        return {}
    return {
        event: roots.responses.add(schema, f"{pascal_case(operation_id)}{pascal_case(event)}Event")
        for event, schema in stream.get("events", {}).items()
    }
