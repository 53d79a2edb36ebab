"""No operation gives one organisation what is another's: every operation with an own id, from `x-resource`."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx


def ask(running: Any, operation: Any, owner: Any, caller: Any, path: str | None = None) -> httpx.Response:
    method = operation.entry["method"]
    return httpx.request(
        method,
        running.url + (path or operation.path(owner)),
        json=operation.body() if method in ("POST", "PUT", "PATCH") else None,
        headers=caller.headers(),
        timeout=20,
    )


def test_what_another_organisation_owns_is_not_found(
    own_operation: Any, running: Any, tenant: Any, stranger: Any
) -> None:
    """404, never 403: that it exists is nobody else's business."""
    reply = ask(running, own_operation, tenant, stranger)
    assert reply.status_code == 404, reply.text


def test_what_is_another_organisations_and_what_never_was_are_told_the_same(
    own_operation: Any, running: Any, tenant: Any, stranger: Any
) -> None:
    path = own_operation.path(tenant)
    never = path.replace(str(tenant.owned[own_operation.entry["extensions"]["x-resource"]["type"]]), str(uuid4()))
    theirs, nobodys = (
        ask(running, own_operation, tenant, stranger),
        ask(running, own_operation, tenant, stranger, never),
    )
    assert (theirs.status_code, theirs.json()) == (nobodys.status_code, nobodys.json())


def test_a_refused_stranger_changes_nothing(own_operation: Any, running: Any, tenant: Any, stranger: Any) -> None:
    before = [counted(running, one) for one in (tenant, stranger)]
    ask(running, own_operation, tenant, stranger)
    assert [counted(running, one) for one in (tenant, stranger)] == before


def test_listings_never_show_another_organisations(running: Any, tenants: Any) -> None:
    """Two organisations with the same names for sessions and entities, each with a secret of its own."""
    pair, secrets = [tenants(), tenants()], ["Kestrel delivers on Mondays.", "Osprey delivers on Fridays."]
    for one, secret in zip(pair, secrets, strict=True):
        told = running.invoke(one, session_id="same", entity_id="same", input={"type": "text", "content": secret})
        assert told.events[-1]["event"] == "full.artifact"
    for one, own, others in zip(pair, secrets, reversed(secrets), strict=True):
        shown = []
        for params in ({}, {"session_id": "same"}, {"entity_id": "same"}, {"address_key": "*"}):
            page = httpx.get(
                f"{running.url}/thalium/v1/brain/{one.brain_id}/memory",
                params={"limit": "100", **params},
                headers=one.headers(),
                timeout=20,
            )
            shown.append(page.text)
        assert own.split()[0] in "".join(shown)
        assert others.split()[0] not in "".join(shown)


def test_an_answer_never_draws_on_another_organisations_memory(running: Any, tenants: Any) -> None:
    teacher, asker = tenants(), tenants()
    fact = "The code word of the Zeisig warehouse is marmalade."
    running.invoke(teacher, session_id="same", entity_id="same", input={"type": "text", "content": fact})
    told = running.invoke(
        asker,
        session_id="same",
        entity_id="same",
        input={"type": "text", "content": "What is the code word of the Zeisig warehouse?"},
    )
    assert "marmalade" not in told.text
    assert "Zeisig" in json.dumps([event["data"] for event in told.events])  # its own input, so the probe would show


def test_a_cursor_of_one_organisation_opens_nothing_for_another(running: Any, tenant: Any, stranger: Any) -> None:
    def page(one: Any, **params: str) -> httpx.Response:
        url = f"{running.url}/thalium/v1/brain/{one.brain_id}/memory"
        return httpx.get(url, params={"limit": "5", **params}, headers=one.headers(), timeout=20)

    cursor = page(tenant).json()["next_cursor"]
    first = {entry["id"] for entry in page(tenant).json()["results"]}
    reply = page(stranger, cursor=cursor)
    assert reply.status_code == 400 or not first & {entry["id"] for entry in reply.json()["results"]}


def test_one_organisations_idempotency_key_is_free_for_another(running: Any, tenant: Any, stranger: Any) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    mine, theirs = running.invoke(tenant, headers=key), running.invoke(stranger, headers=key)
    assert mine.headers["x-trace-id"] != theirs.headers["x-trace-id"]


def counted(running: Any, one: Any) -> tuple[int, ...]:
    """Rows of an organisation that a write would add to."""
    from sqlalchemy import text

    from domain.kernel.context import SystemActor

    with running.database.context(SystemActor("tests"), None, platform=True) as ctx:
        return tuple(
            ctx.session.scalar(
                text(f"SELECT count(*) FROM {table} WHERE organisation_id = :id"), {"id": one.organisation_id}
            )
            for table in ("invocation", "job", "audit_entry", "ring_entry", "idempotency_record")
        )
