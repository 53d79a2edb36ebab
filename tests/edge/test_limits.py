"""Limits: what is let through, what a refusal says, and what happens without Valkey."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis

from thalweg.edge.application import Facts
from thalweg.edge.limit_rules import parse_rate, read
from thalweg.edge.limits import Granted, Limits, RuleError
from thalweg.edge.problem import Problem
from thalweg.embedded.valkey import Valkey


@dataclass
class Someone:
    key: str = "key:1"
    user_key: str = "user:1"
    organisation_id: UUID | None = None
    permissions: frozenset[str] = frozenset()
    rate_override: str | Mapping[str, str] | None = None


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def facts(address: str | None = "192.0.2.1") -> Facts:
    return Facts("s", "o", "POST", "/", "r", address=address)


class Desk:
    """Limits on a clock, asked in one line."""

    def __init__(self, url: str, **rules: Any) -> None:
        self.clock = Clock()
        self.limits = Limits(url, rules, clock=self.clock)

    async def ask(self, *names: str, caller: Someone | None = None, address: str | None = "192.0.2.1") -> Granted:
        return await self.limits.check(names, caller or Someone(), facts(address), False)

    async def count(self, number: int, *names: str, **given: Any) -> int:
        """How many of `number` requests are let through."""
        through = 0
        for _ in range(number):
            try:
                await self.ask(*names, **given)
                through += 1
            except Problem as problem:
                if problem.code != "rate_limited":
                    raise
        return through

    async def refusal(self, *names: str, **given: Any) -> Problem:
        with pytest.raises(Problem) as caught:
            await self.ask(*names, **given)
        return caught.value


@pytest.fixture
async def desk(valkey: redis.Redis, valkey_url: str) -> AsyncIterator[Callable[..., Any]]:
    opened: list[Desk] = []

    async def make(**rules: Any) -> Desk:
        made = Desk(valkey_url, **rules)
        await made.limits.start()
        opened.append(made)
        return made

    yield make
    for made in opened:
        await made.limits.stop()


def headers(granted: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in granted}


# --- rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "quota", "span"),
    [
        ("60/minute", 60, 60_000),
        ("5/second", 5, 1000),
        ("10/30s", 10, 30_000),
        ("1000/2hours", 1000, 7_200_000),
        ("0/day", 0, 86_400_000),
    ],
)
def test_a_rate_is_read(text: str, quota: int, span: int) -> None:
    assert parse_rate(text) == (quota, span)


@pytest.mark.parametrize(
    "text", ["", "60", "60/fortnight", "-1/minute", "1.5/minute", "10/0s", 60, None, "9" * 10 + "/s"]
)
def test_a_rate_that_makes_no_sense_is_refused(text: object) -> None:
    with pytest.raises(ValueError):
        parse_rate(text)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({}, "either"),
        ({"rate": "1/s", "concurrent": 2}, "either"),
        ({"rate": "quick"}, "limits.x.rate"),
        ({"rate": "1/s", "per": "planet"}, "limits.x.per"),
        ({"rate": "1/s", "burst": 3}, "burst"),
        ({"rate": "1/s", "lease": "3s"}, "lease"),
        ({"concurrent": 0}, "concurrent"),
        ({"concurrent": True}, "concurrent"),
        ({"concurrent": 1, "lease": "soon"}, "lease"),
        ({"concurrent": 1, "lease": "0s"}, "lease"),
        ("60/minute", "table"),
    ],
)
def test_a_wrong_rule_names_itself(rule: Any, says: str) -> None:
    with pytest.raises(RuleError, match=says):
        read("x", rule)


def test_a_limit_without_numbers_is_an_error_that_names_it() -> None:
    with pytest.raises(RuleError, match=r"'chat\.send'"):
        Limits("redis://127.0.0.1:1/0", {}).rules_of(("chat.send",))


# --- rates ----------------------------------------------------------------------------------------


async def test_the_quota_is_let_through_and_not_one_more(desk: Any) -> None:
    made = await desk(a={"rate": "60/minute"})
    assert await made.count(100, "a") == 60


async def test_the_headers_count_down_and_a_refusal_says_when(desk: Any) -> None:
    made = await desk(a={"rate": "3/minute"})
    made.clock.now = 1_000_000.0  # 20 s before the minute is over
    assert headers(await made.ask("a")) == {
        "ratelimit-limit": "3",
        "ratelimit-remaining": "2",
        "ratelimit-reset": "20",
    }
    assert headers(await made.ask("a"))["ratelimit-remaining"] == "1"
    assert headers(await made.ask("a"))["ratelimit-remaining"] == "0"
    problem = await made.refusal("a")
    assert problem.status == 429
    assert problem.facts == {"retry_after": 40, "limit": "a"}
    assert problem.headers["ratelimit-remaining"] == "0"


@pytest.mark.parametrize("seed", range(20))
async def test_who_waits_as_long_as_told_is_let_through_and_no_earlier(desk: Any, seed: int) -> None:
    chance = random.Random(seed)
    made = await desk(a={"rate": f"{chance.randint(1, 20)}/{chance.randint(1, 90)}s"})
    for _ in range(30):
        made.clock.now += chance.uniform(0, 10)
        await made.count(chance.randint(1, 5), "a")
    await made.count(40, "a")
    for _ in range(5):
        problem = await made.refusal("a")
        wait = problem.facts["retry_after"]
        made.clock.now += wait
        assert await made.count(1, "a") == 1
        await made.count(40, "a")
        if wait > 1:
            problem = await made.refusal("a")
            made.clock.now += problem.facts["retry_after"] - 1.01
            if problem.facts["retry_after"] > 1:
                assert await made.count(1, "a") == 0
            made.clock.now += 1.01
            await made.count(40, "a")


async def test_a_steady_caller_gets_the_rate_over_ten_thousand_requests(desk: Any) -> None:
    """Twice the rate is asked for, evenly, for 50 minutes: what passes is the rate, within one per cent."""
    made = await desk(a={"rate": "100/minute"})
    times: list[float] = []
    for _ in range(10_000):
        made.clock.now += 0.3
        if await made.count(1, "a"):
            times.append(made.clock.now)
    assert abs(len(times) / 5000 - 1) < 0.01
    # Two counters know nothing finer than a window: a burst out of rest may be followed by up to a quota's worth of
    # refill within the same period. It can never be more than one quota over the rate, however long one looks.
    for minutes in (1, 2, 5, 10):
        first = 0
        for last, moment in enumerate(times):
            while moment - times[first] > minutes * 60:
                first += 1
            assert last - first + 1 <= (minutes + 0.5) * 100


async def test_bursts_at_a_window_border_do_not_double_the_quota(desk: Any) -> None:
    made = await desk(a={"rate": "60/minute"})
    made.clock.now = 1_000_020.0 + 19.0  # one second before the border
    assert await made.count(100, "a") == 60
    made.clock.now += 2.0
    assert await made.count(100, "a") <= 2


async def test_refused_requests_do_not_count(desk: Any) -> None:
    made = await desk(a={"rate": "5/minute"})
    assert await made.count(1000, "a") == 5
    made.clock.now += 120
    assert await made.count(10, "a") == 5


async def test_callers_have_windows_of_their_own(desk: Any) -> None:
    org, other = uuid4(), uuid4()
    made = await desk(
        key={"rate": "1/minute", "per": "key"},
        user={"rate": "1/minute", "per": "user"},
        organisation={"rate": "1/minute", "per": "organisation"},
        address={"rate": "1/minute", "per": "address"},
    )
    first = Someone("key:1", "user:1", org)
    assert await made.count(2, "key", caller=first) == 1
    assert await made.count(2, "key", caller=Someone("key:2", "user:1", org)) == 1
    assert await made.count(2, "user", caller=first) == 1
    assert await made.count(2, "user", caller=Someone("key:2", "user:1", org)) == 0
    assert await made.count(2, "organisation", caller=first) == 1
    assert await made.count(2, "organisation", caller=Someone("key:9", "user:9", org)) == 0
    assert await made.count(2, "organisation", caller=Someone("key:9", "user:9", other)) == 1
    assert await made.count(2, "organisation", caller=Someone("address:1", "address:1", None)) == 1
    assert await made.count(2, "address", address="192.0.2.7") == 1
    assert await made.count(2, "address", address="::ffff:192.0.2.7") == 0
    assert await made.count(2, "address", address="2001:db8:1:1::1") == 1
    assert await made.count(2, "address", address="2001:db8:1:1:ffff::2") == 0, "the same /64"
    assert await made.count(2, "address", address="2001:db8:1:2::1") == 1
    assert await made.count(2, "address", address="unix-socket:x") == 1
    assert await made.count(2, "address", address=None) == 1


async def test_several_limits_are_one_decision_and_a_refusal_counts_in_none(desk: Any, valkey: redis.Redis) -> None:
    made = await desk(narrow={"rate": "2/minute"}, wide={"rate": "100/hour", "per": "user"})
    calls = valkey.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
    assert await made.count(10, "wide", "narrow") == 2
    assert valkey.info("commandstats")["cmdstat_evalsha"]["calls"] == calls + 10
    answer = headers(await made.ask("wide"))
    assert answer["ratelimit-remaining"] == "97"
    made.clock.now += 120
    answer = headers(await made.ask("wide", "narrow"))
    assert (answer["ratelimit-limit"], answer["ratelimit-remaining"]) == ("2", "1"), "the nearest to its end"


async def test_a_rate_of_nothing_lets_nothing_through(desk: Any) -> None:
    made = await desk(a={"rate": "0/minute"})
    problem = await made.refusal("a")
    assert problem.facts["retry_after"] >= 1


async def test_a_key_with_a_rate_of_its_own_has_that(desk: Any) -> None:
    made = await desk(a={"rate": "5/minute"}, b={"rate": "5/minute", "per": "organisation"})
    assert await made.count(20, "a", caller=Someone(rate_override="10/minute")) == 10
    assert await made.count(20, "a", caller=Someone("key:2", rate_override={"a": "2/minute", "b": "3/minute"})) == 2
    assert await made.count(20, "a", caller=Someone("key:3", rate_override="nonsense")) == 5
    assert await made.count(20, "b", caller=Someone("key:4", rate_override="10/minute")) == 5
    answer = headers(await made.ask("a", caller=Someone("key:5", rate_override="10/30s")))
    assert answer["ratelimit-limit"] == "10"


async def test_keys_in_valkey_do_not_stay(desk: Any, valkey: redis.Redis) -> None:
    made = await desk(a={"rate": "5/minute"}, c={"concurrent": 2, "lease": "60s"})
    await made.ask("a", "c")
    keys = valkey.keys("thalweg:limit:*")
    assert len(keys) == 2
    assert all(0 < valkey.ttl(key) <= 120 for key in keys)


# --- at once --------------------------------------------------------------------------------------


async def test_only_so_many_run_at_once_and_a_place_comes_back(desk: Any) -> None:
    made = await desk(c={"concurrent": 3, "lease": "300s"})
    held = [await made.ask("c") for _ in range(3)]
    assert headers(held[-1])["ratelimit-remaining"] == "0"
    problem = await made.refusal("c")
    assert problem.facts == {"retry_after": 1, "limit": "c"}
    held[0].lease.release()
    held[0].lease.release()
    assert await made.count(3, "c") == 1


async def test_a_place_that_is_never_given_back_runs_out(desk: Any) -> None:
    made = await desk(c={"concurrent": 1, "lease": "300s"})
    await made.ask("c")
    made.clock.now += 299
    assert await made.count(1, "c") == 0
    made.clock.now += 2
    assert await made.count(1, "c") == 1


async def test_a_request_that_a_rate_refuses_takes_no_place(desk: Any) -> None:
    made = await desk(a={"rate": "1/minute"}, c={"concurrent": 2})
    await made.ask("a", "c")
    await made.refusal("a", "c")
    assert await made.count(5, "c") == 1


# --- without Valkey -------------------------------------------------------------------------------


async def test_without_valkey_safe_methods_pass_and_others_are_unavailable_at_once() -> None:
    limits = Limits("redis://127.0.0.1:1/0", {"a": {"rate": "1/minute"}})
    await limits.start(wait=0.05)
    assert not limits.healthy
    started = time.perf_counter()
    for _ in range(1000):
        assert await limits.check(("a",), Someone(), facts(), True) == []
    assert (time.perf_counter() - started) / 1000 < 0.001
    with pytest.raises(Problem) as caught:
        await limits.check(("a",), Someone(), facts(), False)
    assert caught.value.status == 503
    assert caught.value.facts["retry_after"] == 1
    assert limits.blind == 1001
    await limits.stop()


@pytest.mark.faults
async def test_a_valkey_that_dies_hangs_and_returns_costs_a_moment_once(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "valkey", volatile=True)
    server.start()
    limits = Limits(server.url, {"a": {"rate": "1000/minute"}}, timeout=0.3)
    await limits.start()

    async def ask() -> float:
        started = time.perf_counter()
        await limits.check(("a",), Someone(), facts(), True)
        return time.perf_counter() - started

    async def until(state: bool) -> None:
        end = time.monotonic() + 5
        while limits.healthy is not state:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)

    await ask()
    assert server.process is not None
    server.process.send_signal(19)  # stops without closing anything
    assert max(await asyncio.gather(*(ask() for _ in range(100)))) < 1.0
    await until(False)
    assert max([await ask() for _ in range(100)]) < 0.01
    server.process.send_signal(18)
    await until(True)
    before = limits.blind
    await ask()
    assert limits.blind == before

    server.process.kill()
    server.process.wait()
    await until(False)
    assert max([await ask() for _ in range(100)]) < 0.01
    server.stop()
    server.start()
    await until(True)
    before = limits.blind
    await ask()
    assert limits.blind == before
    await limits.stop()
    server.stop()


async def test_a_valkey_that_forgot_the_script_is_given_it_again(desk: Any, valkey: redis.Redis) -> None:
    made = await desk(a={"rate": "5/minute"})
    await made.ask("a")
    valkey.script_flush()
    assert await made.count(10, "a") == 4


async def test_a_refused_command_is_an_outage_and_not_an_error(desk: Any, valkey: redis.Redis) -> None:
    made = await desk(a={"rate": "5/minute"})
    valkey.set("thalweg:limit:a:60000:key:1", "spoilt")
    assert await made.count(1, "a") == 1, "what cannot be read counts as nothing"
    valkey.delete("thalweg:limit:a:60000:key:1")
    valkey.lpush("thalweg:limit:a:60000:key:1", "x")
    assert await made.limits.check(("a",), Someone(), facts(), True) == []
    assert (await made.refusal("a")).code == "unavailable"


def test_processes_share_a_quota(valkey: redis.Redis, valkey_url: str) -> None:
    """Four processes, the server's own clock, 400 requests against 100 an hour."""
    program = """
import asyncio, sys
from types import SimpleNamespace
from thalweg.edge.application import Facts
from thalweg.edge.limits import Limits
from thalweg.edge.problem import Problem
async def main():
    limits = Limits(sys.argv[1], {"a": {"rate": "100/hour"}})
    await limits.start()
    caller = SimpleNamespace(key="key:1", user_key="u", organisation_id=None, permissions=frozenset())
    async def one():
        try:
            await limits.check(("a",), caller, Facts("s", "o", "POST", "/", "r"), False)
            return 1
        except Problem as problem:
            assert problem.code == "rate_limited", problem
            return 0
    print(sum(await asyncio.gather(*(one() for _ in range(100)))))
    await limits.stop()
asyncio.run(main())
"""
    running = [
        subprocess.Popen([sys.executable, "-c", program, valkey_url], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert sum(int(process.communicate(timeout=60)[0]) for process in running) == 100
