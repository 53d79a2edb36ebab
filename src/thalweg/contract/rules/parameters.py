"""Parameters and headers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from thalweg.contract.rules import rule
from thalweg.contract.rules.view import Breach, View, text
from thalweg.naming import snake_case

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*\Z")
_IGNORED = {"accept", "content-type", "authorization"}
_TAKEN = {"ctx", "body", "page"}


@rule("parameter-described", "Parameters and headers are described.")
def parameter_described(view: View) -> Iterator[Breach]:
    for site in view.all("parameter", "header"):
        if len(text(site.node, "description")) < 5:
            name = site.node.get("name", site.name)
            yield Breach(site, f"{site.kind} {name!r} is not described", "say in a few words what it does")


@rule(
    "parameter-example",
    "A parameter has an example, its own or its schema's; an enumeration, boolean or default is one.",
)
def parameter_example(view: View) -> Iterator[Breach]:
    for site in view.all("parameter"):
        if "example" in site.node or site.node.get("examples"):
            continue
        schema = view.follow(site.node.get("schema") or {})
        items = view.follow(schema.get("items") or {})
        known = any(key in one for one in (schema, items) for key in ("example", "enum", "default"))
        if not known and schema.get("type") != "boolean" and "content" not in site.node:
            yield Breach(site, f"parameter {site.node.get('name')!r} has no example", "add `example`")


@rule("parameter-schema", "A parameter has a schema with a `type` (Connexion fails without), or a single content.")
def parameter_schema(view: View) -> Iterator[Breach]:
    for site in view.all("parameter", "header"):
        content, schema = site.node.get("content"), site.node.get("schema")
        if (content is None) == (schema is None) or (content is not None and len(content) != 1):
            yield Breach(site, f"{site.kind} needs one of schema and content", "write a schema")
        elif schema is not None and "type" not in view.follow(schema) and site.kind == "parameter":
            composed = {"oneOf", "anyOf", "allOf"} & view.follow(schema).keys()
            if not (composed and site.node.get("in") == "query"):
                yield Breach(site, f"parameter {site.node.get('name')!r} has no type", "add `type` to its schema")


@rule("parameter-required", "Path parameters are required, as the Specification wants.")
def parameter_required(view: View) -> Iterator[Breach]:
    for site in view.all("parameter"):
        if site.node.get("in") == "path" and site.node.get("required") is not True:
            yield Breach(site, f"path parameter {site.node.get('name')!r} is not required", "add `required: true`")


@rule(
    "parameter-name",
    "Parameters of an operation differ in Python too, and none is `ctx`, `body` or `page`; headers look like headers.",
)
def parameter_name(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        seen: dict[str, str] = {}
        for parameter in operation.parameters:
            name, where = str(parameter.get("name")), str(parameter.get("in"))
            python = snake_case(name)
            if python in seen or (python in _TAKEN and where != "header"):
                taken = seen.get(python, "an argument of every handler")
                yield Breach(
                    operation.site, f"{where} parameter {name!r} is {python!r} in Python, like {taken}", "rename"
                )
            seen[python] = f"{where} parameter {name!r}"
    for site in view.all("parameter"):
        name = str(site.node.get("name"))
        if site.node.get("in") == "header" and not _HEADER.match(name):
            yield Breach(site, f"header {name!r} is no header name", "write it as Words-With-Dashes", "name")
        if site.node.get("in") == "header" and name.lower() in _IGNORED:
            yield Breach(site, f"a parameter named {name} is ignored (Specification 3.0.3)", "remove it", "name")


@rule(
    "parameter-style", "Parameters are serialised in ways that the edge reads: simple, form, or deepObject in a query."
)
def parameter_style(view: View) -> Iterator[Breach]:
    legal = {"path": {"simple"}, "header": {"simple"}, "query": {"form", "deepObject"}, "cookie": {"form"}}
    for site in view.all("parameter"):
        style, where = site.node.get("style"), site.node.get("in")
        if style is not None and style not in legal.get(str(where), set()):
            yield Breach(site, f"style {style!r} in {where} is not supported", "leave `style` out", "style")
        if site.node.get("allowReserved") or site.node.get("allowEmptyValue"):
            yield Breach(site, "allowReserved and allowEmptyValue are not supported", "remove them")
