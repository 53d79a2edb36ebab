"""Connexion's view of a bundled contract: the same classes, without paying again for what the build has checked.

`OpenAPISpecification` validates the document and expands every `$ref` at each start (0.4 s and 60 MB for 404
operations). A bundle was validated when it was made and holds internal references only, so here the references that an
operation is read through (parameters, bodies, responses, headers) are followed, and schemas keep theirs for
`thalweg.edge.schema`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
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
        self._spec = bundle

    def clone(self) -> BundledSpecification:
        return self

    def _follow(self, node: Mapping[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            target: Any = self._raw_spec
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return cast(dict[str, Any], node)

    def get_operation(self, path: str, method: str) -> dict[str, Any]:
        """An operation with its path's parameters and what its references lead to, schemas aside."""
        item = self._raw_spec["paths"][path]
        operation = item[method]
        common = [self._follow(parameter) for parameter in item.get("parameters", ())]
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
