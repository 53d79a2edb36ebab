"""One key, one invocation: whoever repeats it, however many at once, and whatever dies in between."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import text

from domain.kernel.context import SystemActor

QUESTION = {"session_id": "s", "input": {"type": "text", "content": "Which supplier must be audited?"}}


def counted(platform: Any, one: Any) -> dict[str, int]:
    """What an invocation leaves, in numbers."""
    queries = {
        "invocations": "SELECT count(*) FROM invocation WHERE organisation_id = :id",
        "jobs": "SELECT count(*) FROM job WHERE organisation_id = :id AND name = 'brains.run'",
        "audited": "SELECT count(*) FROM audit_entry WHERE organisation_id = :id AND action = 'brain.invoke'",
        "used": "SELECT coalesce(sum(used), 0) FROM usage_counter WHERE organisation_id = :id",
    }
    with platform.database.context(SystemActor("tests"), None, platform=True) as ctx:
        return {
            name: int(ctx.session.scalar(text(query), {"id": one.organisation_id}) or 0)
            for name, query in queries.items()
        }


ONE = {"invocations": 1, "jobs": 1, "audited": 1, "used": 1}


def post(platform: Any, one: Any, key: str, **more: Any) -> httpx.Response:
    """The reply as soon as its head is there; a refusal with its body."""
    url = f"{platform.url}/thalium/v1/brain/{one.brain_id}/invoke"
    headers = {**one.headers(), "Idempotency-Key": key}
    with httpx.stream("POST", url, json={**QUESTION, **more}, headers=headers, timeout=30) as reply:
        if reply.status_code != 200:
            reply.read()
        return reply


@contextmanager
def held(platform: Any, one: Any) -> Any:
    """Invocations of this organisation hang in their transactions meanwhile."""
    with platform.database.context(SystemActor("tests"), None, platform=True) as ctx:
        ctx.session.execute(
            text("SELECT 1 FROM audit_head WHERE organisation_id = :id FOR UPDATE"), {"id": one.organisation_id}
        )
        yield


def hanging(platform: Any, seconds: float = 15.0) -> None:
    """Until a transaction waits for a lock."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with platform.database.context(SystemActor("tests"), None, platform=True) as ctx:
            if ctx.session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                return
        time.sleep(0.05)
    raise AssertionError("no request hangs")


def test_twenty_at_once_invoke_once(running: Any, tenants: Any) -> None:
    one, key = tenants(), str(uuid4())
    with ThreadPoolExecutor(20) as threads:
        replies = list(threads.map(lambda _: post(running, one, key), range(20)))
    statuses = Counter(reply.status_code for reply in replies)
    assert set(statuses) <= {200, 409}
    assert statuses[200] >= 1
    assert len({reply.headers["x-trace-id"] for reply in replies if reply.status_code == 200}) == 1
    for refused in (reply for reply in replies if reply.status_code == 409):
        assert refused.json()["code"] == "idempotency_in_flight"
        assert int(refused.headers["retry-after"]) >= 1
    assert counted(running, one) == ONE


def test_twenty_at_once_of_whom_each_tries_until_it_is_told_hear_the_same_stream(running: Any, tenants: Any) -> None:
    one, key = tenants(), str(uuid4())

    def insist(_: int) -> tuple[str, ...]:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            told = running.invoke(one, headers={"Idempotency-Key": key})
            if told.status == 200:
                return tuple(event["id"] for event in told.events)
            time.sleep(0.05)
        raise AssertionError("never told")

    with ThreadPoolExecutor(20) as threads:
        heard = set(threads.map(insist, range(20)))
    assert len(heard) == 1
    assert counted(running, one) == ONE


def test_a_key_belongs_to_its_request(running: Any, tenants: Any) -> None:
    one, key = tenants(), str(uuid4())
    assert post(running, one, key).status_code == 200
    other = post(running, one, key, session_id="another")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert counted(running, one) == ONE


def test_a_refused_request_does_not_use_its_key_up(running: Any, tenants: Any) -> None:
    """What was refused has done nothing, so the corrected request may carry the same key."""
    one, key = tenants(), str(uuid4())
    image = {"type": "image", "content": "AAAA"}
    assert post(running, one, key, input=image).status_code == 422
    assert post(running, one, key).status_code == 200
    assert counted(running, one) == ONE


def test_a_request_that_died_with_its_server_is_done_once_by_the_next(frail: Any) -> None:
    """`kill -9` in the middle of the transaction: nothing is left of it, and the key is free."""
    one, key = frail.tenant(rate=100_000), str(uuid4())
    lost: list[Exception] = []

    def first() -> None:
        try:
            post(frail, one, key)
        except httpx.TransportError as error:
            lost.append(error)

    with held(frail, one):
        caller = threading.Thread(target=first)
        caller.start()
        hanging(frail)
        frail.kill("api")
        caller.join(10)
        assert len(lost) == 1
        frail.start("api")
        frail.wait()
    again = until_taken(frail, one, key)
    assert again.status_code == 200
    assert counted(frail, one) == ONE


def test_a_stream_that_died_with_its_server_is_told_again_by_the_next(frail: Any) -> None:
    """`kill -9` after the commit: the repetition finds the record and tails the same invocation."""
    one, key = frail.tenant(rate=100_000), {"Idempotency-Key": str(uuid4())}
    first = frail.invoke(one, headers=key, until=lambda told: bool(told.events))
    frail.kill("api")
    frail.start("api")
    frail.wait()
    again = frail.invoke(one, headers=key)
    assert again.headers["x-trace-id"] == first.headers["x-trace-id"]
    assert again.events[: len(first.events)] == first.events
    assert [event["id"].rpartition(":")[2] for event in again.events] == [
        str(number) for number in range(1, len(again.events) + 1)
    ]
    assert again.events[-1]["event"] == "full.artifact"
    assert counted(frail, one) == ONE


def test_a_replay_needs_nothing_of_what_valkey_held(frail: Any, frail_valkey: Any) -> None:
    import redis

    one, key = frail.tenant(rate=100_000), {"Idempotency-Key": str(uuid4())}
    first = frail.invoke(one, headers=key)
    redis.Redis.from_url(frail_valkey.url).flushall()
    again = frail.invoke(one, headers=key)
    assert again.events == first.events
    assert counted(frail, one) == ONE


def until_taken(platform: Any, one: Any, key: str, seconds: float = 15.0) -> httpx.Response:
    """Repeat while the database still holds the dead server's transaction (409)."""
    end = time.monotonic() + seconds
    while True:
        reply = post(platform, one, key)
        if reply.status_code == 200 or time.monotonic() > end:
            return reply
        time.sleep(0.2)
