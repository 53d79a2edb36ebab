"""Connexion's view of a bundled contract: the same classes, without paying again for what the build has checked.

`OpenAPISpecification` validates the document and expands every `$ref` at each start (0.4 s and 60 MB for 404
operations). A bundle was validated when it was made and holds internal references only, so here the references that an
operation is read through (parameters, bodies, responses, headers) are followed, and schemas keep theirs for
`thalweg.edge.schema`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from connexion.resolver import Resolution, Resolver
from connexion.spec import OpenAPISpecification

from thalweg.naming import snake_case

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class BundledSpecification(OpenAPISpecification):  # type: ignore[misc]
    """A bundle as `thalweg contract bundle` writes it."""

    def __init__(self, bundle: dict[str, Any]) -> None:
        self._raw_spec = bundle
        self._base_uri = ""
        self._responses: dict[str, dict[str, Any]] = {}
        bundle.setdefault("components", {})
        self._spec = {**bundle, "paths": {path: self._path(item) for path, item in bundle["paths"].items()}}

    def clone(self) -> BundledSpecification:
        return self

    def _follow(self, node: Mapping[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            target: Any = self._raw_spec
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return cast(dict[str, Any], node)

    def _path(self, item: Mapping[str, Any]) -> dict[str, Any]:
        common = [self._follow(parameter) for parameter in item.get("parameters", ())]
        return {method: self._operation(item[method], common) for method in METHODS if method in item}

    def _operation(self, operation: Mapping[str, Any], common: list[dict[str, Any]]) -> dict[str, Any]:
        own = [self._follow(parameter) for parameter in operation.get("parameters", ())]
        named = {(parameter["name"], parameter["in"]) for parameter in own}
        read = dict(operation)
        read["parameters"] = own + [p for p in common if (p["name"], p["in"]) not in named]
        if "requestBody" in operation:
            read["requestBody"] = self._follow(operation["requestBody"])
        read["responses"] = {status: self._response(r) for status, r in operation["responses"].items()}
        return read

    def _response(self, response: Mapping[str, Any]) -> dict[str, Any]:
        """One object for each component, however many operations refer to it: what is made of it is made once."""
        pointer = response.get("$ref")
        if pointer is None:
            return self._read(response)
        if pointer not in self._responses:
            self._responses[pointer] = self._read(self._follow(response))
        return self._responses[pointer]

    def _read(self, response: Mapping[str, Any]) -> dict[str, Any]:
        read = dict(response)
        if "headers" in read:
            read["headers"] = {name: self._follow(header) for name, header in read["headers"].items()}
        return read

    def get_path_params(self, path: str) -> list[dict[str, Any]]:
        """None: they are already merged into the operations (Connexion would add them to a shared list)."""
        return []


def without_prose(bundle: dict[str, Any]) -> dict[str, Any]:
    """The bundle itself, rid of what people read: descriptions and examples are more than half of what it weighs."""
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


class HandlerResolver(Resolver):  # type: ignore[misc]
    """`operationId: createThing` on tag `things` of surface `s` is `<package>.s.things.create_thing`."""

    def __init__(self, package: str, surface: str) -> None:
        super().__init__()
        self.package = f"{package}.{surface}"

    def resolve(self, operation: Any) -> Resolution:
        operation_id: str = operation.operation_id
        tag: str = operation._operation["tags"][0]
        module = importlib.import_module(f"{self.package}.{snake_case(tag)}")
        return Resolution(cast(Callable[..., Any], getattr(module, snake_case(operation_id))), operation_id)
