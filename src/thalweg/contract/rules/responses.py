"""Responses, their media types, streams and links."""

from __future__ import annotations

import re
from collections.abc import Iterator

from thalweg.contract.rules import rule
from thalweg.contract.rules.view import Breach, Site, View, text
from thalweg.contract.sources import Pointer

_MEDIA = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]*(; ?[a-z-]+=[A-Za-z0-9-]+)*\Z")
_EMPTY = {"204", "205", "304"}


def _status_sites(view: View) -> Iterator[tuple[str, Site, Site]]:
    """Status, operation and the place of the response, for every response of every operation."""
    shared = {site.name: site for site in view.all("response") if site.pointer[0] == "components"}
    inline = {site.pointer: site for site in view.all("response")}
    for operation in view.operations:
        for status, node in operation.node.get("responses", {}).items():
            if isinstance(node, dict) and "$ref" in node:
                site = shared.get(node["$ref"].rpartition("/")[2])
            else:
                site = inline.get((*operation.site.pointer, "responses", status))
            if site is not None:
                yield status, operation.site, site


@rule(
    "responses-named", "Every status is named (no `default`, no ranges), and at least one is a success or a redirect."
)
def responses_named(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        for status in operation.statuses:
            if not re.fullmatch(r"[1-5][0-9][0-9]", status):
                yield Breach(
                    operation.site, f"{operation.id}: {status!r} names no status", "name each status", "responses"
                )
        if not any(status[0] in "123" for status in operation.statuses):
            yield Breach(operation.site, f"{operation.id} never succeeds", "declare its success", "responses")


@rule(
    "response-body", "A response has a body with a schema; 204, 205 and 304 have none, and a redirect has `Location`."
)
def response_body(view: View) -> Iterator[Breach]:
    for status, operation, site in _status_sites(view):
        content = site.node.get("content") or {}
        if status in _EMPTY or operation.name == "head":
            if content:
                yield Breach(site, f"a {status} has no body", "remove the content", "content")
        elif status.startswith("3"):
            headers = {name.lower() for name in site.node.get("headers") or {}}
            if "location" not in headers:
                yield Breach(site, f"a {status} needs the header Location", "declare it")
        elif not content:
            yield Breach(site, f"response {status} has no body", "declare its content, or answer 204")
    for site in view.all("mediaType"):
        if not isinstance(site.node.get("schema"), dict):
            yield Breach(site, f"{site.name} has no schema", "add one")


@rule("response-described", "Responses say when they are sent, in five characters or more.")
def response_described(view: View) -> Iterator[Breach]:
    for site in view.all("response"):
        if len(text(site.node, "description")) < 5:
            yield Breach(site, f"response {site.name} is not described", "say when it is sent")


@rule(
    "waiting-told",
    "A 429 and a 503 declare the header `Retry-After`, whole seconds; a 429 always has it (`required: true`).",
)
def waiting_told(view: View) -> Iterator[Breach]:
    seen: set[tuple[str, Pointer]] = set()
    for status, operation, site in _status_sites(view):
        if status not in ("429", "503") or (status, site.pointer) in seen:
            continue
        seen.add((status, site.pointer))
        headers = {name.lower(): view.follow(node) for name, node in (site.node.get("headers") or {}).items()}
        told = headers.get("retry-after")
        by = operation.node.get("operationId", operation.name)
        if told is None:
            yield Breach(site, f"{status} of {by} declares no Retry-After, which the edge sends", "declare the header")
        elif text(told.get("schema"), "type") != "integer":
            yield Breach(
                site, f"Retry-After of {status} of {by} is no whole number", "give it `type: integer`", "headers"
            )
        elif status == "429" and told.get("required") is not True:
            yield Breach(site, f"Retry-After of {status} of {by} may be missing", "add `required: true`", "headers")


@rule("media-type", "Media types are concrete, lower case, and a success has at most one JSON among them.")
def media_type(view: View) -> Iterator[Breach]:
    for site in view.all("mediaType"):
        if not _MEDIA.match(site.name):
            yield Breach(site, f"media type {site.name!r} is not concrete", "name the one that is sent")
    for status, operation, site in _status_sites(view):
        json = [name for name in site.node.get("content") or {} if "json" in name]
        if status.startswith("2") and len(json) > 1:
            yield Breach(site, f"{status} of {operation.name} has several JSON types: {', '.join(json)}", "keep one")


@rule(
    "stream-declared", "`x-stream` and a 2xx of `text/event-stream` come together; terminal events are declared events."
)
def stream_declared(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        stream = operation.node.get("x-stream")
        streamed = any(
            "text/event-stream" in (view.follow(operation.node["responses"][status]).get("content") or {})
            for status in operation.successes
        )
        if stream is not None and not streamed:
            yield Breach(operation.site, f"{operation.id} streams without text/event-stream", "declare it in the 2xx")
        if stream is None and streamed:
            yield Breach(operation.site, f"{operation.id} answers text/event-stream", "declare its events in x-stream")
        if isinstance(stream, dict):
            for name in stream.get("terminal") or ():
                if name not in (stream.get("events") or {}):
                    yield Breach(operation.site, f"terminal event {name!r} is not declared", "add it", "x-stream")


@rule("links-lead", "Links name an existing operation by `operationId`, and parameters that it has.")
def links_lead(view: View) -> Iterator[Breach]:
    known = {operation.node.get("operationId"): operation for operation in view.operations}
    for site in view.all("link"):
        target = known.get(site.node.get("operationId"))
        if target is None:
            yield Breach(site, f"link {site.name!r} leads nowhere", "give the operationId of an operation")
            continue
        names = {str(one.get("name")) for one in target.parameters}
        for name in site.node.get("parameters") or {}:
            if name.rpartition(".")[2] not in names:
                yield Breach(site, f"{target.id} has no parameter {name!r}", "correct the link", "parameters")
