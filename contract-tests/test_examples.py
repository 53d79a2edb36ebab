"""Every example of a request that the contracts print is accepted by the running server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

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


def test_each_example_of_a_body_is_accepted(operation: Any, running: Any, tenant: Any) -> None:
    if operation.entry["request"] is None:
        return
    bodies = operation.bodies()
    assert bodies, "a body without an example"
    for name, body in bodies.items():
        assert call(running, tenant, operation, body, {}, {}) < 300, name


def test_each_example_of_a_parameter_is_accepted(operation: Any, running: Any, tenants: Any) -> None:
    one, given = tenants(), parameters(operation)
    for name, value in given["query"].items():
        assert call(running, one, operation, operation.body(), {name: value}, {}) < 400, name
    for name, value in given["header"].items():
        assert call(running, one, operation, operation.body(), {}, {name: value}) < 400, name
    assert call(running, one, operation, operation.body(), given["query"], given["header"]) < 400


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
