"""Examples and defaults are what their schemas say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from thalweg.contract.rules import rule
from thalweg.contract.rules.view import Breach, Site, View
from thalweg.contract.sources import escape
from thalweg.contract.upgrade import upgrade

_URI = "urn:contract"


class Judge:
    """Validates values against any schema of one document, by pointer. Leans on `upgrade`, not on the edge's compiler:
    the two check each other."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        import jsonschema_rs

        self._validators: dict[str, Any] = {}
        self._make = jsonschema_rs.Draft202012Validator
        contents = _plain(upgrade(document, keep_bytes=True))
        self._registry = jsonschema_rs.Registry([(_URI, contents)], draft=jsonschema_rs.Draft202012)

    def verdict(self, pointer: str, value: Any) -> str | None:
        """None: the value fits. Else what is wrong, in one line."""
        if pointer not in self._validators:
            from urllib.parse import quote

            reference = {"$ref": f"{_URI}#{quote(pointer, safe='/~')}"}
            self._validators[pointer] = self._make(reference, registry=self._registry, validate_formats=True)
        for error in self._validators[pointer].iter_errors(value):
            where = "/".join(str(part) for part in error.instance_path)
            message = error.message if len(error.message) < 300 else error.message[:300] + " ..."
            return f"{where}: {message}" if where else str(message)
        return None


def _plain(node: Any) -> Any:
    """References point into the registered document."""
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/") and len(node) == 1:
            return {"$ref": _URI + reference}
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(item) for item in node]
    return node


def judge(view: View) -> Judge:
    """The view's judge, made once."""
    if view.judge is None:
        view.judge = Judge(view.document)
    made: Judge = view.judge
    return made


def _values(view: View, site: Site) -> Iterator[tuple[str, Any]]:
    if "example" in site.node:
        yield "example", site.node["example"]
    examples = site.node.get("examples")
    for name, example in examples.items() if isinstance(examples, dict) else ():
        resolved = view.follow(example)
        if isinstance(resolved, dict) and "value" in resolved:
            yield f"example {name!r}", resolved["value"]


@rule("example-valid", "Every example (of parameters, headers, bodies, schemas) is valid by its schema.")
def example_valid(view: View) -> Iterator[Breach]:
    for site in view.all("parameter", "header", "mediaType"):
        schema = site.node.get("schema")
        if not isinstance(schema, dict):
            continue
        for name, value in _values(view, site):
            said = judge(view).verdict(escape((*site.pointer, "schema")), value)
            if said:
                title = site.node.get("name", site.name)
                yield Breach(site, f"{name} of {title} is not valid: {said}", "correct the example, or the schema")
    for site in view.all("schema"):
        if "example" in site.node:
            said = judge(view).verdict(escape(site.pointer), site.node["example"])
            if said:
                yield Breach(site, f"example of {site.name!r} is not valid: {said}", "correct it", "example")


@rule("default-valid", "A `default` is valid by its own schema, and does not stand on a required property.")
def default_valid(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        if "default" not in site.node:
            continue
        said = judge(view).verdict(escape(site.pointer), site.node["default"])
        if said:
            yield Breach(site, f"default of {site.name!r} is not valid: {said}", "correct it", "default")
        parent = site.within
        of_object = parent is not None and parent.kind == "schema" and site.pointer[-2] == "properties"
        if parent is not None and of_object and site.name in (parent.node.get("required") or ()):
            yield Breach(site, f"required property {site.name!r} has a default", "make it optional", "default")


@rule("example-single", "`example` and `examples` do not stand together, and a named example has a value.")
def example_single(view: View) -> Iterator[Breach]:
    for site in view.all("parameter", "header", "mediaType"):
        if "example" in site.node and "examples" in site.node:
            yield Breach(site, "example and examples exclude each other", "keep one", "example")
    for site in view.all("example"):
        if "value" not in site.node:
            yield Breach(site, f"example {site.name!r} has no value", "write the value here")
