"""A success leaves exactly the audit entry that its contract names (`x-audit`), whole and without secrets."""

from __future__ import annotations

from typing import Any

import httpx
import orjson

from domain import audit
from domain.audit import reading
from domain.kernel.context import SystemActor
from domain.kernel.pages import CursorPage

SECRET = "correct horse battery staple"
"""What a partner confides."""


def trail(running: Any, one: Any) -> list[dict[str, Any]]:
    """The organisation's entries, oldest first."""
    with running.database.context(SystemActor("tests"), one.organisation_id) as ctx:
        found = audit.find(ctx, page=CursorPage(100))
        return [orjson.loads(reading.as_json(entry)) for entry in reversed(found.items)]


def succeed(running: Any, operation: Any, one: Any, **more: Any) -> int:
    """Do the operation with its own example; streams are heard to their end."""
    method = operation.entry["method"]
    if operation.entry["stream"] is not None:
        return int(running.invoke(one, **{**operation.body(), **more}).status)
    reply = httpx.request(
        method,
        running.url + operation.path(one),
        json=operation.body() if method != "GET" else None,
        headers=one.headers(),
        timeout=20,
    )
    return reply.status_code


def test_a_success_leaves_exactly_its_entry(audited_operation: Any, running: Any, tenants: Any) -> None:
    one = tenants()
    before = trail(running, one)
    assert succeed(running, audited_operation, one) < 300
    added = trail(running, one)[len(before) :]
    assert [(entry["action"], entry["outcome"]) for entry in added] == [
        (audited_operation.entry["extensions"]["x-audit"], "success")
    ]
    resource = audited_operation.entry["extensions"].get("x-resource")
    if resource is not None:
        assert (added[0]["resource_type"], added[0]["resource_id"]) == (
            resource["type"],
            str(one.owned[resource["type"]]),
        )
    assert added[0]["surface"] == audited_operation.surface


def test_a_refusal_leaves_no_entry_of_success(
    audited_operation: Any, running: Any, tenants: Any, stranger: Any
) -> None:
    one = tenants()
    before = trail(running, one), trail(running, stranger)
    reply = httpx.request(
        audited_operation.entry["method"],
        running.url + audited_operation.path(one),
        json=audited_operation.body(),
        headers=stranger.headers(),
        timeout=20,
    )
    assert reply.status_code == 404
    assert (trail(running, one), trail(running, stranger)) == before


def test_an_operation_without_an_audit_action_leaves_none(operation: Any, running: Any, tenants: Any) -> None:
    if "x-audit" in operation.entry["extensions"]:
        return  # the test above
    one = tenants()
    before = trail(running, one)
    assert succeed(running, operation, one) < 300
    assert trail(running, one) == before


def test_entries_hold_neither_credentials_nor_what_was_confided(
    audited_operation: Any, running: Any, tenants: Any
) -> None:
    one = tenants()
    confided = {"input": {"type": "text", "content": f"My password is {SECRET}."}}
    more = confided if audited_operation.surface == "thalium" else {}
    assert succeed(running, audited_operation, one, **more) < 300
    written = orjson.dumps(trail(running, one)).decode()
    assert SECRET not in written
    assert all(key not in written for key in (one.key, *one.keys.values()))


def test_the_chain_of_a_busy_organisation_is_whole(running: Any, tenants: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    one = tenants()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: running.invoke(one, until=lambda told: bool(told.events)), range(16)))
    with running.database.context(SystemActor("tests"), one.organisation_id) as ctx:
        checked = audit.verify(ctx)
    assert checked.intact, checked
    assert sum(entry["action"] == "brain.invoke" for entry in trail(running, one)) == 16
