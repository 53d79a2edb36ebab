"""Thalium as a partner meets it: over HTTP, against the whole platform."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import Person, World

QUESTION = {"type": "text", "content": "Which supplier must be audited before March, and why?"}


def events(text: str) -> list[dict[str, Any]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in lines:
            found.append({"id": lines["id"], "event": lines["event"], "data": json.loads(lines["data"])})
    return found


def invoke(running: Any, tenant: Any, *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    payload = {"session_id": "s1", "input": QUESTION, **body}
    url = f"{running.url}/thalium/v1/brain/{tenant.brain_id}/invoke"
    end = time.monotonic() + 40
    with httpx.stream("POST", url, json=payload, headers={**tenant.headers(), **(headers or {})}, timeout=20) as reply:
        read: list[str] = []
        for piece in reply.iter_text():  # heartbeats would keep a plain read waiting for ever
            read.append(piece)
            assert time.monotonic() < end, f"the stream did not end: {''.join(read)}\n{running.log('worker')[-2000:]}"
        return httpx.Response(reply.status_code, headers=dict(reply.headers), text="".join(read))


def read(running: Any, tenant: Any, what: str, **given: Any) -> httpx.Response:
    headers = given.pop("headers", tenant.headers())
    return httpx.get(f"{running.url}/thalium/v1/brain/{tenant.brain_id}/{what}", headers=headers, timeout=30, **given)


def test_an_invocation_streams_its_events_in_order_and_ends_with_the_full_artifact(running: Any, tenant: Any) -> None:
    reply = invoke(running, tenant)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    told = events(reply.text)
    names = [event["event"] for event in told]
    assert names[0] == "fast.triage"
    assert names[-1] == "full.artifact"
    assert "fast.artifact" in names
    trace = reply.headers["x-trace-id"]
    assert [event["id"] for event in told] == [f"{trace}:{number}" for number in range(1, len(told) + 1)]
    assert all(event["data"]["trace_id"] == trace and event["data"]["type"] == event["event"] for event in told)


def test_what_was_learnt_stands_in_memory(running: Any, tenant: Any) -> None:
    session = f"learn-{uuid4()}"
    fact = "The certificate of Ostertag GmbH ends on 28 February."
    full = events(invoke(running, tenant, session_id=session, input={"type": "text", "content": fact}).text)[-1]["data"]
    page = read(running, tenant, "memory", params={"ring": "session", "session_id": session}).json()
    assert {entry["id"] for entry in page["results"]} <= set(full["memory"]["written"])
    assert any("Ostertag" in entry["text"] for entry in page["results"])
    assert page["total"] == len(page["results"]) > 0


def test_what_was_learnt_is_recalled_and_cited(running: Any, tenant: Any) -> None:
    entity = f"supplier:{uuid4()}"
    fact = "Ostertag GmbH delivers gaskets from Passau and needs nine days for an order."
    invoke(running, tenant, session_id="teach", entity_id=entity, input={"type": "text", "content": fact})
    asked = invoke(
        running,
        tenant,
        session_id=f"ask-{uuid4()}",
        entity_id=entity,
        input={"type": "text", "content": "How many days does Ostertag need for an order of gaskets?"},
    )
    full = events(asked.text)[-1]["data"]
    assert any(c["kind"] == "memory" and "nine days" in c["quote"] for c in full["citations"]), full["citations"]


HANDBOOK = b"""# Supplier handbook

## Audits

The suppliers of the Aurora plant are audited by Ms Kettunen, in the first week of March.
"""
AUDITS = {"type": "text", "content": "Who audits the suppliers of the Aurora plant?"}


def upload_to_the_organisation(world: World, who: Person, content: bytes) -> str:
    """Into Bee Flow's knowledge, into a base that the whole organisation reads; the document's id."""
    base = f"{world.url}/beeflow/api/knowledge"
    made = httpx.post(base, json={"name": "Manuals", "visibility": "organisation"}, headers=who.headers(), timeout=30)
    assert made.status_code == 201, made.text
    files = {"file": ("handbook.md", content, "application/octet-stream")}
    documents = f"{base}/{made.json()['id']}/documents"
    sent = httpx.post(documents, files=files, data={"title": "Supplier handbook"}, headers=who.headers(), timeout=60)
    assert sent.status_code == 202, sent.text
    end = time.monotonic() + 60
    while time.monotonic() < end:
        (document,) = httpx.get(documents, headers=who.headers(), timeout=30).json()["items"]
        if document["status"] == "completed":
            return str(document["id"])
        assert document["status"] != "failed", document
        time.sleep(0.2)
    raise AssertionError("the document was not read")


def test_a_document_of_the_organisation_is_cited_and_gone_when_it_is_deleted(
    reading: Any, world: World, running: Any, tenants: Any, stranger: Any
) -> None:
    tenant = tenants()
    who = world.person("beeflow", organisation_id=tenant.organisation_id, role="owner", plan="full")
    document = upload_to_the_organisation(world, who, HANDBOOK)
    told = events(invoke(running, tenant, session_id=f"audit-{uuid4()}", input=AUDITS).text)
    full = told[-1]["data"]
    cited = [each for each in full["citations"] if each["kind"] == "document"]
    assert [each["document"]["id"] for each in cited] == [document], full
    assert cited[0]["document"]["title"] == "Supplier handbook"
    assert cited[0]["document"]["heading"] == "Audits"
    assert "Ms Kettunen" in cited[0]["quote"]
    assert f"[{cited[0]['id']}]" in full["answer"]
    assert "without" not in full["anchor_trace"]["architect"]
    draft = next(event["data"] for event in told if event["event"] == "fast.artifact")
    assert draft["citations"] == full["citations"]
    theirs = events(invoke(running, stranger, session_id=f"audit-{uuid4()}", input=AUDITS).text)
    assert "Kettunen" not in str(theirs)
    bases = httpx.get(f"{world.url}/beeflow/api/knowledge", headers=who.headers(), timeout=30).json()["items"]
    for each in bases:
        url = f"{world.url}/beeflow/api/knowledge/{each['id']}"
        assert httpx.delete(url, headers=who.headers(), timeout=30).status_code == 204
    again = events(invoke(running, tenant, session_id=f"audit-{uuid4()}", input=AUDITS).text)[-1]["data"]
    assert not [each for each in again["citations"] if each["kind"] == "document"]


def test_a_resumed_stream_goes_on_without_gap_and_without_repetition(running: Any, tenant: Any) -> None:
    first = invoke(running, tenant)
    told = events(first.text)
    again = invoke(running, tenant, headers={"Last-Event-ID": told[0]["id"]})
    assert events(again.text) == told[1:]


def test_resuming_invokes_nothing_a_second_time(running: Any, tenant: Any) -> None:
    session = f"resume-{uuid4()}"
    told = events(invoke(running, tenant, session_id=session).text)
    before = read(running, tenant, "memory", params={"session_id": session}).json()["total"]
    invoke(running, tenant, session_id=session, headers={"Last-Event-ID": told[0]["id"]})
    assert read(running, tenant, "memory", params={"session_id": session}).json()["total"] == before


def test_another_organisations_invocation_cannot_be_resumed(running: Any, tenant: Any, stranger: Any) -> None:
    told = events(invoke(running, tenant).text)
    assert invoke(running, stranger, headers={"Last-Event-ID": told[0]["id"]}).status_code == 404


def test_the_same_idempotency_key_replays_the_same_stream(running: Any, tenant: Any) -> None:
    session, key = f"idem-{uuid4()}", {"Idempotency-Key": str(uuid4())}
    first = invoke(running, tenant, session_id=session, headers=key)
    again = invoke(running, tenant, session_id=session, headers=key)
    assert events(first.text) == events(again.text)
    assert first.headers["x-trace-id"] == again.headers["x-trace-id"]
    other = invoke(running, tenant, session_id="another", headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_a_client_that_goes_away_does_not_stop_the_chain(running: Any, tenant: Any) -> None:
    session = f"gone-{uuid4()}"
    with httpx.stream(
        "POST",
        f"{running.url}/thalium/v1/brain/{tenant.brain_id}/invoke",
        json={"session_id": session, "input": QUESTION},
        headers=tenant.headers(),
    ) as reply:
        assert reply.status_code == 200
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if read(running, tenant, "memory", params={"session_id": session}).json()["total"]:
            return
        time.sleep(0.2)
    raise AssertionError("the chain left nothing in memory")


def test_role_config_narrows_the_chain(running: Any, tenant: Any) -> None:
    full = events(invoke(running, tenant, role_config={"roles": ["architect"]}).text)[-1]["data"]
    assert set(full["anchor_trace"]) == {"triage", "architect", "librarian"}
    assert full["confidence_score"] is None
    assert full["gate_decision"] is None
    assert full["guardrails"] is None


def test_a_role_that_runs_out_of_time_makes_a_partial_answer_told_before_the_full(running: Any, tenant: Any) -> None:
    reply = invoke(
        running,
        tenant,
        input={"type": "text", "content": "A long tale of many words, never heard before. " * 400},
        role_config={"timeouts": {"listener": 0.001}},
    )
    told = events(reply.text)
    names = [event["event"] for event in told]
    assert names[-2:] == ["chain.partial", "full.artifact"], names
    partial, full = told[-2]["data"], told[-1]["data"]
    assert partial["status"] == full["status"] == "partial"
    failed = {role["role"] for role in partial["failed_roles"]}
    assert failed
    assert failed.isdisjoint(partial["completed_roles"])
    assert all(partial["anchor_trace"][role]["status"] == "failed" for role in failed)


@pytest.mark.parametrize("what", ["status", "memory"])
def test_an_unknown_key_is_401(running: Any, tenant: Any, what: str) -> None:
    for headers in ({}, {"X-API-Key": "thm_unknown"}, {"X-API-Key": ""}, {"Authorization": f"Bearer {tenant.key}"}):
        reply = read(running, tenant, what, headers=headers)
        assert reply.status_code == 401
        assert reply.json()["code"] == "unauthorized"
        assert reply.headers["www-authenticate"] == "ApiKey"


def test_a_missing_scope_is_403_and_names_it(running: Any, tenant: Any) -> None:
    reply = read(running, tenant, "memory", headers=tenant.headers("invoke"))
    assert reply.status_code == 403
    assert reply.json() == {
        "error": "The caller lacks the permission memory:read.",
        "code": "insufficient_scope",
        "required_scope": "memory:read",
    }
    assert read(running, tenant, "status", headers=tenant.headers("memory:read")).status_code == 403


def test_a_brain_of_another_organisation_is_404(running: Any, tenant: Any, stranger: Any) -> None:
    for what in ("status", "memory"):
        reply = read(running, tenant, what, headers=stranger.headers())
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    url = f"{running.url}/thalium/v1/brain/{tenant.brain_id}/invoke"
    reply = httpx.post(url, json={"session_id": "s", "input": QUESTION}, headers=stranger.headers())
    assert reply.status_code == 404


def test_a_plan_that_is_used_up_is_402(running: Any, tenants: Any) -> None:
    from domain import billing
    from domain.kernel.context import SystemActor

    small = tenants(plan="spark")
    with running.database.context(SystemActor("tests"), small.organisation_id) as ctx:
        billing.consume(ctx, "thalium.invocations", 500)
    reply = invoke(running, small)
    assert (reply.status_code, reply.json()["code"]) == (402, "payment_required")


def test_a_body_past_ten_mebibytes_is_413(running: Any, tenant: Any) -> None:
    reply = invoke(running, tenant, input={"type": "text", "content": "x" * 10_600_000})
    assert (reply.status_code, reply.json()["code"]) == (413, "payload_too_large")


def test_input_that_this_server_cannot_read_is_422_and_says_what_to_do(running: Any, tenant: Any) -> None:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    reply = invoke(running, tenant, input={"type": "image", "content": pixel})
    assert reply.status_code == 422
    assert len(reply.json()["error"]) > 20


def test_a_broken_request_says_where(running: Any, tenant: Any) -> None:
    reply = invoke(running, tenant, input={"type": "smell", "content": "x"}, surplus=1)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_input")
    assert "body.input.type" in reply.json()["error"]
    assert "body" in reply.json()["error"]


def test_memory_is_paged_without_loss_or_repetition(running: Any, tenant: Any) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        params = {"ring": "institutional", "limit": "7", **({"cursor": cursor} if cursor else {})}
        page = read(running, tenant, "memory", params=params).json()
        seen += [entry["id"] for entry in page["results"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert len(page["results"]) == 7
    assert len(seen) == len(set(seen)) == page["total"] >= 33


def test_memory_is_filtered_by_a_path_pattern(running: Any, tenant: Any) -> None:
    everything = read(running, tenant, "memory", params={"ring": "institutional", "limit": "100"}).json()["results"]
    intent = everything[0]["address_key"].split(".")[0]
    some = read(running, tenant, "memory", params={"ring": "institutional", "address_key": f"{intent}.*"}).json()
    assert some["total"] == sum(entry["address_key"].startswith(f"{intent}.") for entry in everything)
    wrong = read(running, tenant, "memory", params={"address_key": "a..b"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_input")


def test_an_unchanged_page_of_memory_is_304(running: Any, stranger: Any) -> None:
    first = read(running, stranger, "memory")
    again = read(running, stranger, "memory", headers={**stranger.headers(), "If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_the_status_is_what_is_really_running(running: Any, tenant: Any) -> None:
    end = time.monotonic() + 20
    while True:
        status = read(running, tenant, "status").json()
        if status["operational_state"] == "operational" or time.monotonic() > end:
            break
        time.sleep(0.5)
    assert status["operational_state"] == "operational"
    assert status["workers"] == 1
    assert status["rings"]["institutional"] >= 33


def test_an_invocation_leaves_an_audit_entry(running: Any, tenant: Any) -> None:
    from domain import audit
    from domain.kernel.context import SystemActor

    trace = invoke(running, tenant).headers["x-trace-id"]
    with running.database.context(SystemActor("tests"), tenant.organisation_id) as ctx:
        entries = audit.find(ctx, actions=["brain.invoke"], resource_id=tenant.brain_id)
        assert trace in {(entry.details or {}).get("trace_id") for entry in entries.items}
        assert audit.verify(ctx).intact
