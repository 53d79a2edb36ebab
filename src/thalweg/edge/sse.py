"""A stream as server-sent events: frames, resumption, heartbeats and a clean end, at two small tasks a client."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

from thalweg.edge.application import Event, Stream
from thalweg.streams.tail import RunBlocking, Tail
from thalweg.streams.wire import Entry, check_name, encode

if TYPE_CHECKING:
    from thalweg.streams.hub import Hub

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

Ending = Literal["terminal", "life", "bounded", "disconnect", "shutdown", "stalled", "failed"]
"""Why a stream ended. After `life` and `shutdown` the client is asked to come back."""

_MOST_DIGITS = 18
_HEARTBEAT = b": heartbeat\n\n"
_FIXED: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
_OURS = frozenset(name for name, _ in _FIXED) | {b"content-length"}


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Times in seconds."""

    heartbeat: float = 15.0
    """A comment after this long without an event, so that proxies keep the connection."""
    life: float = 900.0
    """The longest a stream stays open; it then ends cleanly and the client resumes."""
    retry: float = 1.0
    """How soon clients are asked to come back."""
    stall: float = 30.0
    """How long a client may take nothing at all before it is given up."""
    bounded: float | None = None
    """For tests: end after this long with what there is."""


class StreamGauge:
    """Streams open in this process, and how they ended; read by the metrics."""

    __slots__ = ("ended", "open", "opened")

    def __init__(self) -> None:
        self.open = 0
        self.opened = 0
        self.ended: dict[str, int] = {}


gauge = StreamGauge()


def resume_after(last_event_id: str | None, stream: Stream) -> int:
    """The number a client has already seen, from its `Last-Event-ID`; `stream.after` when that is not one of ours.

    An id of another stream (another prefix) or no number at all starts from the beginning rather than being refused:
    the header is sent by libraries, not by people.
    """
    if not last_event_id:
        return stream.after
    number = last_event_id.strip()
    if stream.prefix:
        prefix, colon, number = number.rpartition(":")
        if not colon or prefix != stream.prefix:
            return stream.after
    if not (number.isascii() and number.isdigit()) or len(number) > _MOST_DIGITS:
        return stream.after
    return max(int(number), stream.after)


def frame(entry: Entry, prefix: bytes, named: bool) -> bytes:
    """One event on the wire. `prefix` is empty or ends with a colon."""
    if not named:
        return b"data: %b\n\n" % entry.data
    return b"id: %b%d\nevent: %b\ndata: %b\n\n" % (prefix, entry.number, entry.name.encode("ascii"), entry.data)


async def stream_sse(
    stream: Stream,
    hub: Hub,
    run_blocking: RunBlocking,
    receive: Receive,
    send: Send,
    options: StreamOptions,
    headers: Iterable[Header] = (),
    *,
    status: int = 200,
    last_event_id: str | None = None,
    check: Callable[[str, Any], None] | None = None,
    on_disconnect: Callable[[], None] | None = None,
) -> Ending:
    """Answer a request with `stream`; returns when it is over, and why.

    `headers` are what the edge already has for the response. `check(name, data)` is called with every event and may
    raise (for tests). `on_disconnect` is called when the client goes before the end. The request's body must have been
    read: `receive` is only waited on for the disconnection.
    """
    after = resume_after(last_event_id, stream)
    tail = hub.follow(
        stream.channel, after=after, terminal=stream.terminal, history=stream.history, run_blocking=run_blocking
    )
    watch = asyncio.get_running_loop().create_task(_watch(receive, tail))
    gauge.open += 1
    gauge.opened += 1
    ending: Ending = "failed"
    try:
        await send({"type": "http.response.start", "status": status, "headers": _headers(headers, stream)})
        ending = await _Writer(stream, hub, tail, watch, send, options, check).run()
    except asyncio.CancelledError:
        ending = "disconnect"
        raise
    finally:
        gauge.open -= 1
        gauge.ended[ending] = gauge.ended.get(ending, 0) + 1
        watch.cancel()
        tail.close()
        if ending in ("disconnect", "stalled") and on_disconnect is not None:
            on_disconnect()
    return ending


class _Writer:
    """The loop of one client."""

    __slots__ = ("_beat", "_check", "_hub", "_named", "_options", "_prefix", "_render", "_send", "_tail", "_watch")

    def __init__(
        self,
        stream: Stream,
        hub: Hub,
        tail: Tail,
        watch: asyncio.Task[None],
        send: Send,
        options: StreamOptions,
        check: Callable[[str, Any], None] | None,
    ) -> None:
        self._hub, self._tail, self._watch, self._send, self._options, self._check = (
            hub,
            tail,
            watch,
            send,
            options,
            check,
        )
        self._prefix = f"{stream.prefix}:".encode() if stream.prefix else b""
        self._named = stream.named
        self._render = stream.render
        self._beat = stream.beat

    async def run(self) -> Ending:
        hub, tail, options = self._hub, self._tail, self._options
        start = hub.now()
        # Spread over a tenth of the life, so that streams opened together do not all come back together.
        end = start + options.life * random.uniform(0.9, 1.0)  # noqa: S311
        if options.bounded is not None:
            end = min(end, start + options.bounded)
        beat = start + options.heartbeat
        try:
            while True:
                entries = await tail.next(min(beat, end))
                if self._watch.done():
                    return "disconnect"
                body = self._frames(entries)
                if entries and tail.ended:
                    await self._finish(body)
                    return "terminal"
                if body:
                    await self._write(body)
                    beat = hub.now() + options.heartbeat
                elif tail.ended:
                    await self._finish(b"")
                    return "terminal"
                elif tail.stopped:
                    await self._finish(b": server is stopping\n" + self._come_back())
                    return "shutdown"
                elif (now := hub.now()) >= end:
                    if options.bounded is not None:
                        await self._finish(b"")
                        return "bounded"
                    await self._finish(self._come_back())
                    return "life"
                elif now >= beat:
                    await self._write(self._heartbeat())
                    beat = now + options.heartbeat
        except TimeoutError:
            return "stalled"

    def _frames(self, entries: Sequence[Entry]) -> bytes:
        if self._render is not None:
            entries = [shown for entry in entries for shown in _rendered(entry, self._render)]
        if self._check is not None:
            for entry in entries:
                self._check(entry.name, orjson.loads(entry.data))
        prefix, named = self._prefix, self._named
        if len(entries) == 1:
            return frame(entries[0], prefix, named)
        return b"".join([frame(entry, prefix, named) for entry in entries])

    def _heartbeat(self) -> bytes:
        if self._beat is None:
            return _HEARTBEAT
        event = self._beat(self._tail.last)
        if self._check is not None:
            self._check(event.name, event.data)
        return frame(_entry(event), self._prefix, self._named)

    def _come_back(self) -> bytes:
        return b"retry: %d\n\n" % (self._options.retry * 1000 * random.uniform(1.0, 2.0))  # noqa: S311

    async def _write(self, body: bytes) -> None:
        async with asyncio.timeout(self._options.stall):
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _finish(self, body: bytes) -> None:
        async with asyncio.timeout(self._options.stall):
            await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _rendered(entry: Entry, render: Callable[[Event], Iterable[Event]]) -> list[Entry]:
    return [_entry(event) for event in render(Event(entry.number, entry.name, orjson.loads(entry.data)))]


def _entry(event: Event) -> Entry:
    return Entry(event.number, check_name(event.name), encode(event.data))


async def _watch(receive: Receive, tail: Tail) -> None:
    """Wait for the client to go; then the writer is woken at once."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        tail.stop()


def _headers(headers: Iterable[Header], stream: Stream) -> list[Header]:
    own = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in stream.headers.items()]
    return [*(header for header in (*headers, *own) if header[0] not in _OURS), *_FIXED]
