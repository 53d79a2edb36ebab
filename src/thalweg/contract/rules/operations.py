"""Operations: names, words, paths, and errors that can happen."""

from __future__ import annotations

import re
from collections.abc import Iterator

from thalweg.contract.rules import rule
from thalweg.contract.rules.view import Breach, Operation, View, text
from thalweg.naming import snake_case

_CAMEL = re.compile(r"[a-z][a-zA-Z0-9]*\Z")
_VARIABLE = re.compile(r"\{([^{}]*)\}")


@rule("operation-id", "Every operation has an `operationId` in camelCase, unique also as a Python name.")
def operation_id(view: View) -> Iterator[Breach]:
    seen: dict[str, str] = {}
    for operation in view.operations:
        name = operation.node.get("operationId")
        if not isinstance(name, str):
            yield Breach(operation.site, f"{operation.label} has no operationId", "name it like `listThings`")
            continue
        if not _CAMEL.match(name):
            yield Breach(operation.site, f"operationId {name!r} is not camelCase", "write verbThing", "operationId")
        elif snake_case(name).endswith("_"):
            yield Breach(operation.site, f"operationId {name!r} is a Python keyword", "add a noun", "operationId")
        first = seen.setdefault(snake_case(name), operation.label)
        if first != operation.label:
            yield Breach(operation.site, f"operationId {name!r} already names {first}", "rename one", "operationId")


@rule("operation-tag", "Every operation has exactly one tag, and the document declares it.")
def operation_tag(view: View) -> Iterator[Breach]:
    declared = {text(site.node, "name") for site in view.all("tag")}
    for operation in view.operations:
        tags = operation.node.get("tags") or []
        if len(tags) != 1:
            yield Breach(
                operation.site, f"{operation.id} has {len(tags)} tags", "give it one: the tag names its handler module"
            )
        for tag in tags:
            if tag not in declared:
                yield Breach(operation.site, f"tag {tag!r} is not declared", "declare it under `tags`", "tags")


@rule(
    "operation-text",
    "Every operation has a summary (5 to 120 characters, no full stop) and a description that adds to it.",
)
def operation_text(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        summary, description = text(operation.node, "summary"), text(operation.node, "description")
        if not 5 <= len(summary) <= 120:
            yield Breach(operation.site, f"{operation.id}: the summary has {len(summary)} characters", "write 5 to 120")
        elif summary.endswith("."):
            yield Breach(operation.site, f"{operation.id}: the summary ends in a full stop", "remove it", "summary")
        if len(description) < 20:
            yield Breach(
                operation.site, f"{operation.id} is hardly described", "say what happens, 20 characters or more"
            )
        elif description.rstrip(".").lower() == summary.lower():
            yield Breach(
                operation.site, f"{operation.id}: the description repeats the summary", "say more", "description"
            )


@rule("path-form", "Paths begin with a slash, end without one, and have no empty or half-variable segment.")
def path_form(view: View) -> Iterator[Breach]:
    for site in view.all("pathItem"):
        path = site.name
        if site.pointer[0] != "paths":
            continue
        segments = path.split("/")[1:]
        if not path.startswith("/") or (path != "/" and path.endswith("/")) or "?" in path or "#" in path:
            yield Breach(site, f"path {path!r} is malformed", "begin with /, do not end with it, keep the query out")
        elif path != "/" and "" in segments:
            yield Breach(site, f"path {path!r} has an empty segment", "write single slashes")
        for segment in segments:
            if "{" in segment and not re.fullmatch(r"\{[A-Za-z_][A-Za-z0-9_]*\}", segment):
                yield Breach(
                    site, f"segment {segment!r} mixes text and variable", "make the variable the whole segment"
                )


@rule(
    "path-ambiguous",
    "No two path templates match the same path, unless a literal beats a variable at the first difference.",
)
def path_ambiguous(view: View) -> Iterator[Breach]:
    by_length: dict[int, list[tuple[list[str], str]]] = {}
    for site in view.all("pathItem"):
        if site.pointer[0] != "paths":
            continue
        segments = site.name.split("/")[1:]
        for other, name in by_length.setdefault(len(segments), []):
            verdict = _overlap(segments, other)
            if verdict:
                yield Breach(site, f"{site.name} and {name} {verdict}", "rename a variable or move one of the paths")
        by_length[len(segments)].append((segments, site.name))


def _overlap(one: list[str], other: list[str]) -> str | None:
    better: set[bool] = set()
    for left, right in zip(one, other, strict=True):
        if left.startswith("{") and right.startswith("{"):
            continue
        if left.startswith("{") or right.startswith("{"):
            better.add(left.startswith("{"))
        elif left != right:
            return None
    if not better:
        return "are the same template with other names"
    if len(better) == 2:
        return "both match some paths, and neither is more literal throughout"
    return None


@rule("path-variables", "Variables of a path are its declared path parameters, and the other way round.")
def path_variables(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        used = _VARIABLE.findall(operation.path)
        declared = [str(one.get("name")) for one in operation.parameters if one.get("in") == "path"]
        for name in used:
            if name not in declared:
                yield Breach(operation.site, f"{{{name}}} of {operation.path} is not declared", "add a path parameter")
            if used.count(name) > 1:
                yield Breach(operation.site, f"{{{name}}} stands twice in {operation.path}", "rename one")
        for name in declared:
            if name not in used:
                yield Breach(
                    operation.site, f"path parameter {name!r} is not in {operation.path}", "remove it, or correct it"
                )


@rule(
    "request-body",
    "A request body is described, says whether it is required, and does not stand on GET, HEAD or DELETE.",
)
def request_body(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        if operation.method in ("get", "head", "delete") and "requestBody" in operation.node:
            yield Breach(
                operation.site,
                f"{operation.method.upper()} with a body has no meaning",
                "use parameters",
                "requestBody",
            )
    for site in view.all("requestBody"):
        if not isinstance(site.node.get("required"), bool):
            yield Breach(site, "the body does not say whether it is required", "add `required: true` or `false`")
        if len(text(site.node, "description")) < 5:
            yield Breach(site, "the body is not described", "say in a few words what is sent")
        if not site.node.get("content"):
            yield Breach(site, "the body has no content", "name the media type and its schema")


@rule(
    "errors-declared",
    "Every error that the edge can answer with is declared: 400 or 422, 401, 402/403, 404, 409, 413, 415, 422, 429, "
    "503.",
)
def errors_declared(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        for status, why in _expected(operation):
            if not any(one in operation.statuses for one in status.split("|")):
                yield Breach(
                    operation.site,
                    f"{operation.id} declares no {status.replace('|', ' or ')}, which it answers {why}",
                    "add the response",
                    "responses",
                )


def _expected(operation: Operation) -> Iterator[tuple[str, str]]:
    node = operation.node
    body = "requestBody" in node
    kinds = {one.get("in") for one in operation.parameters}
    if body or operation.parameters:
        yield "400|422", "when the request breaks the contract"
    if any(operation.security):
        yield "401", "when the credential is not valid"
    if operation.security and all(operation.security):  # where anybody is let in, the database may not be asked
        yield "503", "while nobody can say whose the credential is"
    if "x-permission" in node:
        yield "403", "when the permission is missing"
    if "x-plan" in node:
        yield "402|403", "when the plan does not cover it"
    if "path" in kinds:
        yield "404", "when the path names nothing of the caller's"
    if "x-idempotency" in node:
        yield "409", "when the same key is in flight"
        yield "422", "when the key was used for another request"
    if body:
        yield "413", "when the body is too large"
        yield "415", "when the media type is another"
    if "x-limit" in node:
        yield "429", "when the limit is reached"
        if operation.method not in ("get", "head", "options"):
            yield "503", "while the limit cannot be counted"
