"""Waiting for work elsewhere: the answer comes once, soon, and whatever happens to the message."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from thalweg.edge.application import Pending
from thalweg.edge.waiting import wait_for
from thalweg.embedded.valkey import Valkey
from thalweg.streams import Hub, Publisher


class Work:
    """Work elsewhere, as a transaction would see it."""

    def __init__(self) -> None:
        self.done = False
        self.asked = 0

    def pending(self, seconds: float = 10.0, channel: str = "w") -> Pending:
        return Pending(
            channel=channel,
            terminal=frozenset({"done", "failed"}),
            ready=self._ready,
            then=lambda ctx: "answer",
            timed_out=lambda ctx: "not yet",
            seconds=seconds,
        )

    def _ready(self, ctx: Any) -> bool:
        self.asked += 1
        return self.done


async def ask(step: Callable[[Any], Any]) -> Any:
    return await asyncio.to_thread(step, None)


@pytest.fixture
async def hub(valkey: redis.Redis, valkey_url: str) -> AsyncIterator[Hub]:
    hub = Hub(valkey_url)
    await hub.start()
    yield hub
    await hub.close()


async def test_work_that_is_already_done_is_answered_at_once(hub: Hub) -> None:
    work = Work()
    work.done = True
    started = time.monotonic()
    assert await wait_for(work.pending(), hub, ask) == ("done", "answer")
    assert time.monotonic() - started < 0.5
    assert hub.listening == 0


async def test_the_terminal_event_completes_the_answer_and_others_do_not(hub: Hub, valkey_url: str) -> None:
    work, publisher = Work(), Publisher(valkey_url)
    waiting = asyncio.create_task(wait_for(work.pending(), hub, ask, poll=(60, 60)))
    await asyncio.sleep(0.1)
    publisher.publish("w", 1, "step", {})
    await asyncio.sleep(0.1)
    assert not waiting.done()
    publisher.publish("w", 2, "failed", {})
    assert await asyncio.wait_for(waiting, 0.5) == ("done", "answer")
    assert work.asked == 1
    assert hub.listening == 0


async def test_an_event_between_the_commit_and_the_wait_is_not_missed(hub: Hub, valkey_url: str) -> None:
    """The work ends while the subscription is being made: `ready` is asked after it, so it is seen."""
    work, publisher = Work(), Publisher(valkey_url)
    waiting = asyncio.create_task(wait_for(work.pending(), hub, ask, poll=(60, 60)))
    work.done = True
    publisher.publish("w", 1, "done", {})
    assert await asyncio.wait_for(waiting, 0.5) == ("done", "answer")


async def test_time_runs_out_into_the_handlers_own_answer(hub: Hub) -> None:
    work = Work()
    started = time.monotonic()
    assert await wait_for(work.pending(seconds=0.3), hub, ask) == ("timed_out", "not yet")
    assert 0.3 <= time.monotonic() - started < 0.8
    assert hub.listening == 0


async def test_work_that_ended_with_the_last_second_is_still_answered(hub: Hub) -> None:
    work = Work()
    waiting = asyncio.create_task(wait_for(work.pending(seconds=0.3), hub, ask, poll=(60, 60)))
    await asyncio.sleep(0.1)
    work.done = True  # and its message was lost
    assert await waiting == ("done", "answer")


async def test_a_lost_message_is_made_good_by_asking_now_and_then(hub: Hub) -> None:
    work = Work()
    waiting = asyncio.create_task(wait_for(work.pending(), hub, ask, poll=(0.1, 0.2)))
    await asyncio.sleep(0.2)
    work.done = True
    assert await asyncio.wait_for(waiting, 1.0) == ("done", "answer")


@pytest.mark.faults
async def test_work_that_ends_while_valkey_is_dead_is_answered(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "valkey", volatile=True)
    server.start()
    hub, work = Hub(server.url), Work()
    await hub.start()
    waiting = asyncio.create_task(wait_for(work.pending(), hub, ask, poll=(60, 60), away=(60, 60)))
    await asyncio.sleep(0.1)
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    await asyncio.sleep(0.3)
    work.done = True
    server.stop()
    server.start()
    assert await asyncio.wait_for(waiting, 5.0) == ("done", "answer"), "asked again after the reconnection"
    await hub.close()
    server.stop()


async def test_without_valkey_the_database_is_asked(valkey: redis.Redis) -> None:
    hub, work = Hub("redis://127.0.0.1:1/0"), Work()
    await hub.start(wait=0.01)
    waiting = asyncio.create_task(wait_for(work.pending(), hub, ask))
    await asyncio.sleep(0.2)
    work.done = True
    assert await asyncio.wait_for(waiting, 2.0) == ("done", "answer")
    await hub.close()


async def test_a_stopping_server_lets_waiters_go(hub: Hub) -> None:
    waiting = asyncio.create_task(wait_for(Work().pending(), hub, ask))
    await asyncio.sleep(0.1)
    hub.drain()
    assert await asyncio.wait_for(waiting, 0.5) == ("stopped", None)


async def test_what_a_step_raises_goes_to_the_caller(hub: Hub) -> None:
    def broken(ctx: Any) -> bool:
        raise LookupError("gone")

    pending = Work().pending()
    pending.ready = broken
    with pytest.raises(LookupError):
        await wait_for(pending, hub, ask)
    assert hub.listening == 0


async def test_a_thousand_waiters_are_a_thousand_small_objects(hub: Hub, valkey_url: str) -> None:
    publisher = Publisher(valkey_url)

    async def at_once(step: Callable[[Any], Any]) -> Any:
        return step(None)

    work = Work()
    tracemalloc.start()
    waiting = [
        asyncio.create_task(wait_for(work.pending(channel=f"w{number}"), hub, at_once, poll=(60, 60)))
        for number in range(1000)
    ]
    await asyncio.sleep(0.5)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / 1000 < 6 * 1024

    def finish() -> None:
        for number in range(1000):
            publisher.publish(f"w{number}", 1, "done", {})

    await asyncio.to_thread(finish)
    assert {answer for _, answer in await asyncio.wait_for(asyncio.gather(*waiting), 5)} == {"answer"}
    assert hub.listening == 0
