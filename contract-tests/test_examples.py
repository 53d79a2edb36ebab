"""Every example that the contracts print is valid, and those of requests are accepted by the running server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from thalweg.contract import grammar, project

PROJECT = project.find(Path(__file__).resolve().parent.parent)

EXEMPT = {
    "Last-Event-ID": "names an event of an invocation that this database does not have",
    "cursor": "is signed by the server that gave it",
}


def parameters(operation: Any) -> dict[str, dict[str, str]]:
    """Examples of query and header parameters."""
    found: dict[str, dict[str, str]] = {"query": {}, "header": {}}
    for parameter in operation.parameters():
        example = parameter.get("example", parameter["schema"].get("example"))
        if parameter["in"] in found and example is not None and parameter["name"] not in EXEMPT:
            found[parameter["in"]][parameter["name"]] = str(example)
    return found


def call(running: Any, one: Any, operation: Any, body: Any, query: dict[str, str], headers: dict[str, str]) -> int:
    """The status of the reply, as soon as it is there."""
    with httpx.stream(
        operation.entry["method"],
        running.url + operation.path(one),
        json=body,
        params=query,
        headers={**one.headers(), **headers},
        timeout=20,
    ) as reply:
        return reply.status_code


def test_each_example_of_a_body_is_accepted(keyed_operation: Any, running: Any, tenant: Any) -> None:
    if keyed_operation.entry["request"] is None:
        return
    bodies = keyed_operation.bodies()
    assert bodies, "a body without an example"
    for name, body in bodies.items():
        assert call(running, tenant, keyed_operation, body, {}, {}) < 300, name


def test_each_example_of_a_parameter_is_accepted(keyed_operation: Any, running: Any, tenants: Any) -> None:
    one, given = tenants(), parameters(keyed_operation)
    for name, value in given["query"].items():
        assert call(running, one, keyed_operation, keyed_operation.body(), {name: value}, {}) < 400, name
    for name, value in given["header"].items():
        assert call(running, one, keyed_operation, keyed_operation.body(), {}, {name: value}) < 400, name
    assert call(running, one, keyed_operation, keyed_operation.body(), given["query"], given["header"]) < 400


@pytest.mark.parametrize("name", EXEMPT)
def test_an_exempted_example_is_really_refused(name: str, running: Any, tenant: Any) -> None:
    """An exemption that is not needed any more has to go."""
    path, method = ("memory", "GET") if name == "cursor" else ("invoke", "POST")
    example = "eyJhZnRlciI6IjAxOTMxYzNlIn0" if name == "cursor" else "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21:2"
    reply = httpx.request(
        method,
        f"{running.url}/thalium/v1/brain/{tenant.brain_id}/{path}",
        params={name: example} if name == "cursor" else None,
        headers={**tenant.headers(), **({} if name == "cursor" else {name: example})},
        json=None if method == "GET" else {"session_id": "s", "input": {"type": "text", "content": "Why?"}},
        timeout=20,
    )
    assert reply.status_code in (400, 404)


# --- by a second opinion ---------------------------------------------------------------------------------


def examples(kind: str, node: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Place, schema and value of every example below an object of `kind`."""
    if kind in ("mediaType", "parameter", "header", "schema"):
        schema = node if kind == "schema" else node.get("schema")
        if "example" in node:
            yield f"{place}/example", schema, node["example"]
        if kind != "schema":
            for name, one in (node.get("examples") or {}).items():
                yield f"{place}/examples/{name}", schema, one["value"]
    for pointer, below, value in grammar.children(kind, node):
        if isinstance(value, dict) and "$ref" not in value:
            yield from examples(below, value, f"{place}/{'/'.join(map(str, pointer))}")


@pytest.mark.parametrize("surface", list(PROJECT.surfaces))
def test_every_example_of_a_document_is_valid_by_a_second_opinion(surface: str) -> None:
    """`thalweg contract lint` has said so already, with another validator."""
    document = json.loads((PROJECT.generated / surface / "bundle.json").read_bytes())
    judged, wrong = 0, []
    for place, schema, value in examples("openapi", document):
        judged += 1
        # References lead into the components of the schema's own document.
        whole = {**schema, "components": {"schemas": document["components"]["schemas"]}}
        validator = OAS30Validator(whole, format_checker=oas30_format_checker)
        wrong += [f"{place}: {error.message[:200]}" for error in validator.iter_errors(value)]
    assert wrong == []
    assert judged > len(document["paths"]), "a document shows by example what it means"


@pytest.mark.parametrize("surface", list(PROJECT.surfaces))
def test_every_event_in_an_example_of_a_stream_is_valid(surface: str) -> None:
    document = json.loads((PROJECT.generated / surface / "bundle.json").read_bytes())
    for path, item in document["paths"].items():
        for operation in item.values():
            if not isinstance(operation, dict) or "x-stream" not in operation:
                continue
            events = operation["x-stream"]["events"]
            media = operation["responses"]["200"]["content"]["text/event-stream"]
            shown = [one["value"] for one in (media.get("examples") or {}).values()]
            shown += [media["example"]] if "example" in media else []
            assert shown, f"{path} shows no frames"
            for frames in shown:
                told = 0
                for block in frames.strip().split("\n\n"):
                    lines = [line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":")]
                    fields = {name: value for name, value in lines if name != "data"}
                    data = "\n".join(value for name, value in lines if name == "data")
                    if not data:
                        continue
                    told += 1
                    named = operation["x-stream"].get("named", True)
                    assert ("event" in fields) is named, block
                    schemas = [events[fields["event"]]] if named else list(events.values())
                    value = json.loads(data)
                    fitting = [
                        schema
                        for schema in schemas
                        if OAS30Validator(
                            {**schema, "components": {"schemas": document["components"]["schemas"]}},
                            format_checker=oas30_format_checker,
                        ).is_valid(value)
                    ]
                    assert fitting, f"{path}: {block}"
                assert told, f"{path} shows no event"
