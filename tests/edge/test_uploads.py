"""Large uploads: their turns, what a request waits for them, and who counts as everybody else."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from thalweg.edge import middleware, uploads


class Clock:
    """Time that stands unless a test moves it; to sleep is only noted."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))

    def taking(self, seconds: float) -> Any:
        """A batch that takes so long to write."""

        async def write() -> None:
            self.now += seconds

        return write


def turns_by(clock: Clock) -> uploads.Turns:
    return uploads.Turns(clock, clock.sleep)


def test_turns_of_large_uploads_are_given_out_in_order_with_a_rest_between_them() -> None:
    clock = Clock()
    turns = turns_by(clock)

    async def four() -> None:
        await turns.write(uploads.BATCH, clock.taking(0.001))  # nobody has been here before
        for _ in range(3):
            await turns._take()

    asyncio.run(four())
    # the first of the three comes when the batch is written and goes at once; each later one four times a batch later
    assert clock.slept == [0.004, 0.008]


def test_large_uploads_rest_longer_while_others_are_served() -> None:
    clock = Clock()
    turns = turns_by(clock)

    async def rest() -> float:
        clock.slept.clear()
        clock.now += 10
        turns._took(uploads.BATCH, 0.001)
        await turns._take()
        await turns._take()
        return clock.slept[0]

    async def go() -> tuple[float, float, float]:
        alone = await rest()
        clock.now += 10
        turns.others()
        clock.now -= 10.0 - uploads.ATTENTION / 2  # `rest` lets ten seconds pass
        beside = await rest()
        clock.now += uploads.ATTENTION
        return alone, beside, await rest()

    alone, beside, alone_again = asyncio.run(go())
    assert (alone, beside, alone_again) == (0.004, 0.016, 0.004)


@pytest.mark.parametrize("size", [uploads.BATCH, 64 * 1024])
def test_the_rest_between_turns_has_an_end(size: int) -> None:
    clock = Clock()
    turns = turns_by(clock)

    async def go() -> None:
        turns.others()
        turns._took(size, 60.0)
        await turns._take()
        await turns._take()

    asyncio.run(go())
    assert clock.slept == [round(size / uploads.BESIDE_OTHERS.least, 6)]


def test_a_turn_passes_on_when_its_batch_cannot_be_written() -> None:
    clock = Clock()
    turns = turns_by(clock)

    async def full() -> None:
        clock.now += 0.001
        raise OSError("no space left on device")

    async def go() -> None:
        with pytest.raises(OSError, match="no space"):
            await turns.write(uploads.BATCH, full)
        await turns.write(uploads.BATCH, clock.taking(0.001))
        await turns.write(uploads.BATCH, clock.taking(0.001))

    asyncio.run(go())
    assert clock.slept == [0.003]  # the rest of four began when the batch before it did, a millisecond ago


def test_many_large_uploads_gather_less_each() -> None:
    turns = uploads.Turns()
    assert turns.batch == uploads.BATCH
    turns.uploads = 100
    assert 100 * turns.batch <= 16 * 1024 * 1024
    turns.uploads = 10_000
    assert turns.batch == 64 * 1024


def test_what_a_request_waits_for_its_turns_is_counted() -> None:
    clock = Clock()
    turns = turns_by(clock)

    async def another() -> uploads.Rests:
        rests = uploads.count_rests()
        await turns._take()
        return rests

    async def go() -> tuple[float, float]:
        turns._took(uploads.BATCH, 0.001)
        first = await asyncio.create_task(another())
        second = await asyncio.create_task(another())
        return first.seconds, second.seconds

    first, second = asyncio.run(go())
    assert first == 0.0
    assert second == pytest.approx(0.004)


def test_a_batch_of_a_large_upload_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[str | int] = []

    class Turns(uploads.Turns):
        async def write(self, size: int, writing: Any) -> Any:
            done.append(size)
            return await super().write(size, writing)

    turns = Turns()
    spool = uploads.Sink._spool
    monkeypatch.setattr(uploads, "turns", turns)

    def spooling(self: uploads.Sink) -> None:
        done.append("spool")
        spool(self)

    monkeypatch.setattr(uploads.Sink, "_spool", spooling)

    async def upload() -> None:
        sink = uploads.Sink(str(tmp_path))
        for _ in range(2):
            sink.write(bytes(1 << 20))
            await sink.relieve()
            assert turns.uploads == 1
        sink.write(b"little")
        await sink.relieve()
        sink.abandon()
        sink.abandon()

    asyncio.run(upload())
    assert done == [1 << 20, "spool"] * 2
    assert turns.uploads == 0
    assert list(tmp_path.iterdir()) == []


def test_a_large_upload_that_is_there_takes_no_turns_any_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    turns = uploads.Turns()
    monkeypatch.setattr(uploads, "turns", turns)

    async def upload() -> uploads.Upload:
        sink = uploads.Sink(str(tmp_path))
        sink.write(bytes(1 << 20))
        await sink.relieve()
        return await sink.finish("a", "b/c")

    asyncio.run(upload()).close()
    assert turns.uploads == 0


def test_a_large_upload_goes_to_disk_bit_by_bit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flushed: list[int] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        flushed.append(os.fstat(handle).st_size >> 20)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(uploads, "turns", uploads.Turns())

    async def upload() -> None:
        sink = uploads.Sink(str(tmp_path))
        for _ in range(18):
            sink.write(bytes(512 * 1024))
            await sink.relieve()
        (await sink.finish("a", "b/c")).close()

    asyncio.run(upload())
    assert flushed == [4, 8]
    assert list(tmp_path.iterdir()) == []


def test_what_an_upload_waits_for_its_turns_does_not_make_its_body_late() -> None:
    calls: list[tuple[float, Any]] = []
    cancelled: list[str] = []

    class Timer:
        def cancel(self) -> None:
            calls.append((0.0, None))

    class Loop:
        def call_later(self, seconds: float, what: Any) -> Timer:
            calls.append((seconds, what))
            return Timer()

    class Task:
        def cancel(self, why: str) -> None:
            cancelled.append(why)

    async def go() -> None:
        clock = Clock()
        turns = turns_by(clock)
        turns._took(uploads.BATCH, 0.001)
        loop: Any = Loop()
        task: Any = Task()
        middleware._Deadline(loop, task, 30.0)
        for _ in range(3):
            await turns._take()
        assert [seconds for seconds, _ in calls] == [30.0]
        calls[-1][1]()  # the time is over: 12 ms of it were rests
        assert calls[-1][0] == pytest.approx(0.012)
        assert cancelled == []
        calls[-1][1]()  # no rest since: it is late
        assert cancelled == ["the request body is late"]
        assert len(calls) == 2

    asyncio.run(go())


async def test_who_uploads_a_large_file_is_not_one_of_the_others(edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[int] = []

    class Turns(uploads.Turns):
        def others(self) -> None:
            served.append(1)

    monkeypatch.setattr(middleware, "turns", Turns())
    await edge.call("POST", "/upload", files={"file": ("a", bytes(1_000_000))})
    assert served == []
    await edge.call("POST", "/upload", files={"file": ("a", b"small")})
    await edge.call("GET", "/public")
    assert len(served) == 2
