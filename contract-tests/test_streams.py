"""A stream as its clients meet it: torn off anywhere, heard by many, slow, silent, and with Valkey gone half-way."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

QUESTION = {"session_id": "s", "input": {"type": "text", "content": "Which supplier must be audited?"}}


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [int(event["id"].rpartition(":")[2]) for event in events]


def whole(events: list[dict[str, Any]]) -> bool:
    """Every event once, in order, to the end."""
    return numbers(events) == list(range(1, len(events) + 1)) and events[-1]["event"] == "full.artifact"


def test_torn_off_at_any_event_it_goes_on_with_the_next(running: Any, tenant: Any) -> None:
    first = running.invoke(tenant)
    assert whole(first.events)
    for seen in range(len(first.events) + 1):
        last = {"Last-Event-ID": f"{first.headers['x-trace-id']}:{seen}"}
        assert running.invoke(tenant, headers=last).events == first.events[seen:]


def test_a_client_that_is_torn_off_after_each_event_hears_each_once(running: Any, tenants: Any) -> None:
    """While the chain runs: one event a connection."""
    one = tenants()
    heard: list[dict[str, Any]] = []
    headers: dict[str, str] = {}
    while not heard or heard[-1]["event"] != "full.artifact":
        told = running.invoke(one, headers=headers, until=lambda told: bool(told.events))
        heard.append(told.events[0])  # what came in the same packet is lost to this client
        headers = {"Last-Event-ID": heard[-1]["id"]}
        assert len(heard) < 50
    assert whole(heard)


def test_fifty_clients_of_one_invocation_hear_the_same(frail: Any) -> None:
    """They are all there before the chain begins, and one reader of the process feeds them."""
    one = frail.tenant(rate=100_000)
    url = f"{frail.url}/thalium/v1/brain/{one.brain_id}/invoke"

    async def listen(client: httpx.AsyncClient, headers: dict[str, str], opened: asyncio.Semaphore | None) -> str:
        async with client.stream("POST", url, json=QUESTION, headers={**one.headers(), **headers}) as reply:
            assert reply.status_code == 200
            if opened is not None:
                opened.release()
            return "".join([piece async for piece in reply.aiter_text()])

    async def everybody() -> list[str]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(timeout=30, limits=limits) as client:
            with frail.resting():
                async with client.stream("POST", url, json=QUESTION, headers=one.headers()) as first:
                    trace = first.headers["x-trace-id"]
                opened = asyncio.Semaphore(0)
                last = {"Last-Event-ID": f"{trace}:0"}
                tasks = [asyncio.create_task(listen(client, last, opened)) for _ in range(50)]
                for _ in tasks:
                    await asyncio.wait_for(opened.acquire(), 8)
            return list(await asyncio.wait_for(asyncio.gather(*tasks), 40))

    heard = asyncio.run(everybody())
    told = {tuple(line for line in text.splitlines() if line and not line.startswith(":")) for text in heard}
    assert len(told) == 1
    assert "event: full.artifact" in next(iter(told))


def test_a_silent_stream_says_that_it_lives(frail: Any) -> None:
    """`stream_heartbeat_seconds` is 1 here."""
    one = frail.tenant(rate=100_000)
    with frail.resting():
        began = time.monotonic()
        told = frail.invoke(one, until=lambda told: told.text.count(": heartbeat\n\n") >= 2, seconds=8)
        assert 1.0 < time.monotonic() - began < 6.0
    assert not told.events
    trace = told.headers["x-trace-id"]
    assert whole(frail.invoke(one, headers={"Last-Event-ID": f"{trace}:0"}).events)


@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_valkey_dies_in_the_middle_of_a_stream_and_no_event_is_missed(
    seconds: float, frail: Any, frail_valkey: Any
) -> None:
    """After the first event the worker rests, Valkey dies with all it held, and comes back before or after the rest."""
    one = frail.tenant(rate=100_000)
    back = False

    def strike(told: Any) -> bool:
        nonlocal back
        if told.events and not back:
            back = True
            with frail.resting():
                frail_valkey.process.kill()
                frail_valkey.process.wait()
                frail_valkey.stop()
                if not seconds:
                    frail_valkey.start()
            if seconds:
                time.sleep(seconds)
                frail_valkey.start()
        return False

    told = frail.invoke(one, until=strike)
    assert back
    assert whole(told.events)
    last, end = {"Last-Event-ID": f"{told.headers['x-trace-id']}:0"}, time.monotonic() + 15
    while (again := frail.invoke(one, headers=last)).status == 503:  # until limits can be counted again
        assert time.monotonic() < end
        time.sleep(0.1)
    assert again.events == told.events


def test_the_worker_dies_in_the_middle_of_a_stream_and_the_same_stream_ends_whole(frail: Any) -> None:
    """The client does not even notice: the next worker goes on behind the last committed role."""
    one = frail.tenant(rate=100_000)
    died = False

    def strike(told: Any) -> bool:
        nonlocal died
        if told.events and not died:
            died = True
            frail.kill("worker")
            frail.start("worker")
        return False

    told = frail.invoke(one, until=strike, seconds=60)
    assert died
    assert whole(told.events)


def test_a_slow_client_hears_everything_and_holds_nobody_up(running: Any, tenants: Any) -> None:
    """A window of a few hundred bytes, read now and then; a quick client beside it is done long before."""
    slow, quick = tenants(), tenants()
    address = urlsplit(running.url)
    body = httpx.Request("POST", "http://x", json=QUESTION).read()
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        wire.connect(("127.0.0.1", address.port))
        wire.sendall(
            f"POST /thalium/v1/brain/{slow.brain_id}/invoke HTTP/1.1\r\nHost: x\r\nX-API-Key: {slow.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        began = time.monotonic()
        assert whole(running.invoke(quick).events)
        assert time.monotonic() - began < 10
        read, end = b"", time.monotonic() + 30
        wire.settimeout(10)
        while piece := wire.recv(512):
            read += piece
            time.sleep(0.002)
            assert time.monotonic() < end
    assert read.count(b"event: full.artifact") == 1
    assert [int(line.rpartition(b":")[2]) for line in read.split(b"\n") if line.startswith(b"id: ")] == list(
        range(1, read.count(b"\nevent: ") + 1)
    )


def test_clients_that_go_away_leave_nothing_open(frail: Any) -> None:
    """Connections, listeners and tasks of 40 streams that were torn off."""
    import psutil

    process = psutil.Process(frail.processes["api"].pid)
    one = frail.tenant(rate=100_000)
    with frail.resting():
        frail.invoke(one, until=lambda told: bool(told.text), seconds=8)
        before = process.num_fds()
        with httpx.Client(timeout=10) as client:
            url = f"{frail.url}/thalium/v1/brain/{one.brain_id}/invoke"
            for _ in range(40):
                with client.stream("POST", url, json=QUESTION, headers=one.headers()) as reply:
                    assert reply.status_code == 200
    end = time.monotonic() + 10
    while process.num_fds() > before + 3 and time.monotonic() < end:
        time.sleep(0.1)
    assert process.num_fds() <= before + 3


def test_a_server_that_is_told_to_stop_ends_its_streams_and_the_next_goes_on(frail: Any) -> None:
    """SIGTERM: the stream ends cleanly and says when to come back, without waiting for the chain."""
    one = frail.tenant(rate=100_000)
    with frail.resting():
        asked = False

        def stop(told: Any) -> bool:
            nonlocal asked
            if ": heartbeat" in told.text and not asked:
                asked = True
                frail.processes["api"].terminate()
            return False

        began = time.monotonic()
        told = frail.invoke(one, until=stop, seconds=8)
        assert time.monotonic() - began < 8
        assert "retry: " in told.text
    frail.processes.pop("api").wait(20)
    frail.start("api")
    frail.wait()
    assert whole(frail.invoke(one, headers={"Last-Event-ID": f"{told.headers['x-trace-id']}:0"}, seconds=60).events)
