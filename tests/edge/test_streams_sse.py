"""Streams on the wire: frames, resumption, heartbeats, and every way to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import redis
import uvicorn

from thalweg.edge.application import Event, Stream
from thalweg.edge.sse import Ending, StreamOptions, gauge, resume_after, stream_sse
from thalweg.streams import Hub, Publisher, TailOptions


def nothing(after: int) -> list[Event]:
    return []


def stream(**given: Any) -> Stream:
    return Stream(**{"channel": "a", "terminal": frozenset({"done"}), "history": nothing, **given})


class Connection:
    """An ASGI client that takes what it is sent, as fast as it is told to."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.messages: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.takes.wait()
        self.messages.append(dict(message))

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def finished(self) -> bool:
        return bool(self.messages) and self.messages[-1].get("more_body") is False

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])


@pytest.fixture
async def hub(valkey: redis.Redis, valkey_url: str) -> AsyncIterator[Hub]:
    hub = Hub(valkey_url, options=TailOptions(settle=0.05))
    await hub.start()
    yield hub
    await hub.close()


@pytest.fixture
def publisher(valkey_url: str) -> Iterator[Publisher]:
    publisher = Publisher(valkey_url)
    yield publisher
    publisher.close()


def serve(
    hub: Hub, connection: Connection, what: Stream, options: StreamOptions | None = None, **given: Any
) -> asyncio.Task[Ending]:
    return asyncio.create_task(
        stream_sse(
            what, hub, asyncio.to_thread, connection.receive, connection.send, options or StreamOptions(), **given
        )
    )


async def settled(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.01)


async def test_an_event_is_a_frame_with_id_name_and_one_line_of_json(hub: Hub, publisher: Publisher) -> None:
    connection = Connection()
    task = serve(hub, connection, stream(prefix="inv_1"))
    publisher.publish("a", 1, "fast.triage", {"text": "first\nsecond\r\u2028", "n": 1})
    publisher.publish("a", 2, "done", {})
    assert await task == "terminal"
    assert connection.body == (
        b'id: inv_1:1\nevent: fast.triage\ndata: {"text":"first\\nsecond\\r\xe2\x80\xa8","n":1}\n\n'
        b"id: inv_1:2\nevent: done\ndata: {}\n\n"
    )
    assert connection.finished


async def test_a_stream_without_names_is_data_alone(hub: Hub, publisher: Publisher) -> None:
    connection = Connection()
    task = serve(hub, connection, stream(named=False))
    publisher.publish("a", 1, "step", {"a": 1})
    publisher.publish("a", 2, "done", {"b": 2})
    await task
    assert connection.body == b'data: {"a":1}\n\ndata: {"b":2}\n\n'


async def test_the_headers_forbid_caching_and_buffering_and_keep_the_edges_own(hub: Hub, publisher: Publisher) -> None:
    connection = Connection()
    publisher.publish("a", 1, "done", {})
    await serve(
        hub,
        connection,
        stream(headers={"X-Invocation": "7", "Content-Type": "text/plain"}),
        headers=[(b"x-correlation-id", b"r"), (b"cache-control", b"public"), (b"content-length", b"5")],
        status=201,
    )
    assert connection.messages[0]["status"] == 201
    assert connection.headers == {
        b"x-correlation-id": b"r",
        b"x-invocation": b"7",
        b"content-type": b"text/event-stream; charset=utf-8",
        b"cache-control": b"no-store",
        b"x-accel-buffering": b"no",
    }
    assert len(connection.messages[0]["headers"]) == 5


@pytest.mark.parametrize(
    ("given", "prefix", "after"),
    [
        (None, "", 0),
        ("", "", 0),
        ("7", "", 7),
        (" 7 ", "", 7),
        ("inv:7", "inv", 7),
        ("a:b:7", "a:b", 7),
        ("7", "inv", 0),
        ("other:7", "inv", 0),
        ("inv:", "inv", 0),
        ("inv:7", "", 0),
        ("-7", "", 0),
        ("1e3", "", 0),
        ("٣", "", 0),
        ("9" * 18, "", 10**18 - 1),
        ("9" * 19, "", 0),
        ("9" * 5000, "", 0),
        ("\x00", "", 0),
    ],
)
def test_last_event_id_is_a_number_of_this_stream_or_nothing(given: str | None, prefix: str, after: int) -> None:
    assert resume_after(given, stream(prefix=prefix)) == after


def test_a_client_cannot_go_back_before_the_streams_own_beginning() -> None:
    assert resume_after("2", stream(after=5)) == 5
    assert resume_after("8", stream(after=5)) == 8


async def test_a_client_resumes_where_it_was_cut_off(hub: Hub, publisher: Publisher) -> None:
    for number in range(1, 6):
        publisher.publish("a", number, "done" if number == 5 else "step", {"n": number})
    connection = Connection()
    await serve(hub, connection, stream(prefix="p"), last_event_id="p:3")
    assert [line for line in connection.body.split(b"\n") if line.startswith(b"id")] == [b"id: p:4", b"id: p:5"]


async def test_silence_is_filled_with_heartbeats_and_events_postpone_them(hub: Hub, publisher: Publisher) -> None:
    connection = Connection()
    task = serve(hub, connection, stream(), StreamOptions(heartbeat=0.3))
    await asyncio.sleep(0.2)
    publisher.publish("a", 1, "step", {})
    await asyncio.sleep(0.2)
    assert b"heartbeat" not in connection.body
    await settled(lambda: connection.body.count(b": heartbeat\n\n") == 2)
    publisher.publish("a", 2, "done", {})
    assert await task == "terminal"


async def test_a_stream_ends_cleanly_after_its_life_and_asks_the_client_back(hub: Hub) -> None:
    connection = Connection()
    started = time.monotonic()
    assert await serve(hub, connection, stream(), StreamOptions(life=0.4, retry=0.5)) == "life"
    assert 0.3 <= time.monotonic() - started < 1.0
    assert connection.finished
    assert 500 <= int(connection.body.removeprefix(b"retry: ").strip()) <= 1000


async def test_a_bounded_stream_ends_with_what_there_is(hub: Hub, publisher: Publisher) -> None:
    connection = Connection()
    publisher.publish("a", 1, "step", {})
    assert await serve(hub, connection, stream(), StreamOptions(bounded=0.3)) == "bounded"
    assert connection.finished
    assert connection.body == b"id: 1\nevent: step\ndata: {}\n\n"


async def test_a_client_that_goes_frees_everything_at_once(hub: Hub, publisher: Publisher) -> None:
    connection, told = Connection(), []
    before = gauge.open
    task = serve(hub, connection, stream(), on_disconnect=lambda: told.append(True))
    await asyncio.sleep(0.05)
    assert (gauge.open, hub.listening) == (before + 1, 1)
    connection.gone.set()
    assert await asyncio.wait_for(task, 0.5) == "disconnect"
    assert told == [True]
    assert (gauge.open, hub.listening) == (before, 0)


async def test_a_stream_that_ends_by_itself_is_no_disconnection(hub: Hub, publisher: Publisher) -> None:
    connection, told = Connection(), []
    publisher.publish("a", 1, "done", {})
    assert await serve(hub, connection, stream(), on_disconnect=lambda: told.append(True)) == "terminal"
    assert told == []


async def test_a_cancelled_request_leaves_nothing_behind(hub: Hub) -> None:
    connection, told = Connection(), []
    task = serve(hub, connection, stream(), on_disconnect=lambda: told.append(True))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == [True]
    assert hub.listening == 0


async def test_a_stopping_server_ends_all_streams_promptly_and_says_so(hub: Hub) -> None:
    connections = [Connection() for _ in range(50)]
    tasks = [serve(hub, connection, stream(channel=f"c{i}")) for i, connection in enumerate(connections)]
    await asyncio.sleep(0.05)
    hub.drain()
    assert set(await asyncio.wait_for(asyncio.gather(*tasks), 1.0)) == {"shutdown"}
    for connection in connections:
        assert connection.body.startswith(b": server is stopping\nretry: ")
        assert connection.finished


async def test_a_client_that_takes_nothing_is_given_up(hub: Hub, publisher: Publisher) -> None:
    connection = Connection()
    task = serve(hub, connection, stream(), StreamOptions(stall=0.2))
    await asyncio.sleep(0.05)
    connection.takes.clear()
    publisher.publish("a", 1, "step", {})
    assert await asyncio.wait_for(task, 2.0) == "stalled"
    assert hub.listening == 0


async def test_an_event_that_breaks_its_schema_is_an_error_where_checks_raise(hub: Hub, publisher: Publisher) -> None:
    seen = []

    def check(name: str, data: Any) -> None:
        seen.append((name, data))
        if "bad" in data:
            raise AssertionError("not in the contract")

    publisher.publish("a", 1, "step", {"good": 1})
    publisher.publish("a", 2, "step", {"bad": 1})
    connection = Connection()
    with pytest.raises(AssertionError, match="not in the contract"):
        await serve(hub, connection, stream(), check=check)
    assert seen == [("step", {"good": 1}), ("step", {"bad": 1})]
    assert hub.listening == 0


async def test_over_a_real_server_a_stream_flows_resumes_and_notices_the_client_leaving(
    valkey: redis.Redis, valkey_url: str, publisher: Publisher
) -> None:
    hub = Hub(valkey_url)
    left: list[Ending] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        last = dict(scope["headers"]).get(b"last-event-id", b"").decode()
        left.append(
            await stream_sse(
                stream(channel=scope["path"]),
                hub,
                asyncio.to_thread,
                receive,
                send,
                StreamOptions(),
                last_event_id=last,
            )
        )

    await hub.start()
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="warning"))
    serving = asyncio.create_task(server.serve())
    await settled(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for number in (1, 2):
            publisher.publish("/x", number, "step", {"n": number})
        async with client.stream("GET", "/x") as response:
            lines = response.aiter_lines()
            ids: list[str] = []
            while len(ids) < 2:
                line = await anext(lines)
                if line.startswith("id: "):
                    ids.append(line)
        await settled(lambda: left == ["disconnect"])
        publisher.publish("/x", 3, "done", {})
        rest = await client.get("/x", headers={"last-event-id": "2"})
        assert ids == ["id: 1", "id: 2"]
        assert rest.text == "id: 3\nevent: done\ndata: {}\n\n"
        assert rest.headers["content-type"].startswith("text/event-stream")
    hub.drain()
    server.should_exit = True
    await asyncio.wait_for(serving, 5)
    await hub.close()
    assert left == ["disconnect", "terminal"]


async def test_a_surface_shows_events_in_its_own_words_leaves_some_out_and_says_itself_that_it_lives(
    hub: Hub, publisher: Publisher
) -> None:
    def render(event: Event) -> list[Event]:
        shown = {"step": ["a", "b"], "done": ["over"]}.get(event.name, [])
        return [Event(event.number, name, {"n": event.data["n"]}) for name in shown]

    def beat(number: int) -> Event:
        return Event(number, "alive", {"n": number})

    connection = Connection()
    task = serve(hub, connection, stream(render=render, beat=beat), StreamOptions(heartbeat=0.3))
    publisher.publish("a", 1, "step", {"n": 1})
    publisher.publish("a", 2, "secret", {"n": 2})
    await settled(lambda: b"alive" in connection.body)
    publisher.publish("a", 3, "done", {"n": 3})
    assert await task == "terminal"
    told = [tuple(block.split("\n")) for block in connection.body.decode().split("\n\n")[:-1]]
    assert told[:2] == [("id: 1", "event: a", 'data: {"n":1}'), ("id: 1", "event: b", 'data: {"n":1}')]
    assert set(told[2:-1]) == {("id: 2", "event: alive", 'data: {"n":2}')}
    assert told[-1] == ("id: 3", "event: over", 'data: {"n":3}')
