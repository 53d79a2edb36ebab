"""Limits as a partner meets them, on a platform with narrow ones: told in headers, kept for each key, and what becomes
of them while Valkey is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

QUESTION = {"session_id": "s", "input": {"type": "text", "content": "Which supplier must be audited?"}}
READS, INVOCATIONS = 5, 3
"""What the fixture `frail` sets, a minute."""


def read(frail: Any, one: Any, scope: str | None = None) -> httpx.Response:
    url = f"{frail.url}/thalium/v1/brain/{one.brain_id}/memory"
    return httpx.get(url, params={"limit": "1"}, headers=one.headers(scope), timeout=20)


def start(frail: Any, one: Any) -> httpx.Response:
    """Invoke, and go once there is a status."""
    url = f"{frail.url}/thalium/v1/brain/{one.brain_id}/invoke"
    with httpx.stream("POST", url, json=QUESTION, headers=one.headers(), timeout=20) as reply:
        if reply.status_code != 200:
            reply.read()
        return reply


@pytest.fixture
def without_valkey(frail: Any, frail_valkey: Any) -> Iterator[None]:
    """Valkey is killed for the time of a test, and everything has recovered when it ends."""
    frail_valkey.process.kill()
    frail_valkey.process.wait()
    frail_valkey.stop()
    yield
    frail_valkey.start()
    recovered(frail)


def recovered(frail: Any, seconds: float = 20.0) -> None:
    """Until writes are taken again."""
    one, end = frail.tenant(rate=100_000), time.monotonic() + seconds
    while start(frail, one).status_code != 200:
        assert time.monotonic() < end, "limits did not come back"
        time.sleep(0.1)


def test_reads_are_counted_down_and_then_refused_with_the_time_to_wait(frail: Any) -> None:
    one = frail.tenant()
    replies = [read(frail, one) for _ in range(READS + 1)]
    assert [reply.status_code for reply in replies] == [200] * READS + [429]
    for number, reply in enumerate(replies[:READS], start=1):
        assert reply.headers["ratelimit-limit"] == str(READS)
        assert reply.headers["ratelimit-remaining"] == str(READS - number)
        assert 1 <= int(reply.headers["ratelimit-reset"]) <= 60
    last = replies[-1]
    assert last.json() == {"error": "Too many requests.", "code": "rate_limited"}
    assert 1 <= int(last.headers["retry-after"]) <= 120
    assert last.headers["ratelimit-remaining"] == "0"


def test_invocations_have_a_limit_of_their_own(frail: Any) -> None:
    one = frail.tenant()
    assert [start(frail, one).status_code for _ in range(INVOCATIONS + 1)] == [200] * INVOCATIONS + [429]
    assert read(frail, one).status_code == 200


def test_a_refused_invocation_costs_nothing_of_the_plan(frail: Any) -> None:
    from domain import billing
    from domain.kernel.context import SystemActor

    one = frail.tenant()
    statuses = [start(frail, one).status_code for _ in range(INVOCATIONS + 2)]
    with frail.database.context(SystemActor("tests"), one.organisation_id) as ctx:
        used = {usage.metric: usage.used for usage in billing.usage(ctx)}
    assert used["thalium.invocations"] == statuses.count(200) == INVOCATIONS


def test_a_key_that_is_past_its_limit_takes_nothing_from_another(frail: Any) -> None:
    one, other = frail.tenant(), frail.tenant()
    while read(frail, one).status_code == 200:
        continue
    assert read(frail, one, "memory:read").status_code == 200  # another key of the same organisation
    assert read(frail, other).status_code == 200


def test_a_key_may_have_a_limit_of_its_own(frail: Any) -> None:
    one = frail.tenant(rate=8)
    replies = [read(frail, one) for _ in range(9)]
    assert [reply.status_code for reply in replies] == [200] * 8 + [429]
    assert replies[0].headers["ratelimit-limit"] == "8"


def test_a_limit_holds_when_everybody_comes_at_once(frail: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    one = frail.tenant()
    with ThreadPoolExecutor(20) as threads:
        statuses = [reply.status_code for reply in threads.map(lambda _: read(frail, one), range(40))]
    assert statuses.count(200) == READS
    assert set(statuses) == {200, 429}


def test_requests_that_are_refused_for_another_reason_do_not_open_the_limit(frail: Any) -> None:
    """Bad requests count, or whoever guesses would have no limit."""
    one = frail.tenant()
    url = f"{frail.url}/thalium/v1/brain/{one.brain_id}/memory?limit=0"
    statuses = [httpx.get(url, headers=one.headers(), timeout=20).status_code for _ in range(READS + 1)]
    assert statuses == [400] * READS + [429]


@pytest.mark.usefixtures("without_valkey")
def test_without_valkey_reads_pass_and_invocations_are_put_off(frail: Any) -> None:
    one = frail.tenant()
    began = time.monotonic()
    assert {read(frail, one).status_code for _ in range(READS * 2)} == {200}
    refused = start(frail, one)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert time.monotonic() - began < 10, "whoever asks waits for a server that is away"


@pytest.mark.usefixtures("without_valkey")
def test_without_valkey_the_health_check_says_degraded_and_the_brain_too(frail: Any) -> None:
    one, end = frail.tenant(), time.monotonic() + 10
    while True:
        health = httpx.get(f"{frail.url}/health", timeout=10)
        if health.json()["status"] == "degraded" or time.monotonic() > end:
            break
        time.sleep(0.2)
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert health.json()["services"]["limits"]["status"] == "degraded"
    assert health.json()["services"]["database"]["status"] == "ok"
    url = f"{frail.url}/thalium/v1/brain/{one.brain_id}/status"
    status = httpx.get(url, headers=one.headers(), timeout=20)
    assert status.status_code == 200
    assert status.json()["operational_state"] in ("degraded", "unavailable")


def test_when_valkey_is_back_limits_are_kept_again(frail: Any, frail_valkey: Any) -> None:
    frail_valkey.process.kill()
    frail_valkey.process.wait()
    frail_valkey.stop()
    read(frail, frail.tenant())
    frail_valkey.start()
    recovered(frail)
    one = frail.tenant()
    assert [read(frail, one).status_code for _ in range(READS + 1)] == [200] * READS + [429]
