"""The readers' side: one connection of an API process feeds all its clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from thalweg.link import Link, LinkDown, pack
from thalweg.streams import wire
from thalweg.streams.tail import RunBlocking, Tail, TailOptions
from thalweg.streams.wheel import Wheel

log = logging.getLogger(__name__)

_CHANNELS_AT_ONCE = 500


class Listener(Protocol):
    """What the hub feeds. Called on the loop; must neither raise nor block."""

    def deliver(self, entry: wire.Entry) -> None: ...

    def link_changed(self, up: bool) -> None: ...

    def stop(self) -> None: ...


class Hub:
    """Start it in the process's event loop; `follow` a stream for a client, or `attach` a listener of your own.

    A channel is subscribed with its first listener and left with its last. SUBSCRIBE and the XRANGE of a newcomer go
    down the same connection, so what the XRANGE does not show comes as a message after it, with no gap between them.
    """

    def __init__(self, redis_url: str, *, options: TailOptions | None = None, history_at_once: int = 8) -> None:
        """`history_at_once` bounds the threads that `history` calls may take from the requests."""
        self.options = options or TailOptions()
        self.passed_over = 0
        """Events that no store had any more."""
        self._channels: dict[str, list[Listener]] = {}
        self._link = Link(
            redis_url,
            name="thalweg-streams",
            timeout=2.0,
            on_push=self._pushed,
            on_up=self._link_up,
            on_down=self._link_down,
        )
        self._history_at_once = history_at_once
        self._draining = False
        self.loop: asyncio.AbstractEventLoop
        self.wheel: Wheel
        self.history_slots: asyncio.Semaphore

    async def start(self, wait: float = 1.0) -> None:
        """Connect, waiting at most `wait` seconds: a Valkey that is away is no reason not to start."""
        self.loop = asyncio.get_running_loop()
        self.wheel = Wheel(self.loop)
        self.history_slots = asyncio.Semaphore(self._history_at_once)
        await self._link.start(wait)

    async def close(self) -> None:
        """End everything that listens, then the connection."""
        self.drain()
        await self._link.close()
        self.wheel.stop()

    def drain(self) -> None:
        """End all streams and waits, present and future, promptly and cleanly: the process is about to stop.

        A server that waits for open responses before its shutdown events needs this to be called before.
        """
        self._draining = True
        for listeners in list(self._channels.values()):
            for listener in list(listeners):
                listener.stop()

    @property
    def draining(self) -> bool:
        return self._draining

    @property
    def up(self) -> bool:
        return self._link.up

    healthy = up

    @property
    def listening(self) -> int:
        """Listeners of this process."""
        return sum(map(len, self._channels.values()))

    def now(self) -> float:
        return self.loop.time()

    def follow(
        self,
        channel: str,
        *,
        after: int,
        terminal: frozenset[str],
        history: Callable[[int], Sequence[Any]],
        run_blocking: RunBlocking,
    ) -> Tail:
        """A tail of `channel` from event `after + 1`. The caller closes it."""
        tail = Tail(self, channel, after, terminal, history, run_blocking)
        self.attach(channel, tail)
        return tail

    def attach(self, channel: str, listener: Listener) -> None:
        listeners = self._channels.get(channel)
        if listeners is None:
            self._channels[channel] = [listener]
            self._tell("SUBSCRIBE", (wire.TOPIC + channel,))
        else:
            listeners.append(listener)
        if self._draining:
            listener.stop()

    def detach(self, channel: str, listener: Listener) -> None:
        listeners = self._channels.get(channel)
        if listeners is None or listener not in listeners:
            return
        listeners.remove(listener)
        if not listeners:
            del self._channels[channel]
            self._tell("UNSUBSCRIBE", (wire.TOPIC + channel,))

    def read(self, channel: str, start: str, callback: Callable[[Any], None]) -> None:
        """XRANGE a page of the stream from `start`; the callback gets the reply or an exception."""
        try:
            command = ("XRANGE", wire.STREAM + channel, start, "+", "COUNT", self.options.page)
            self._link.submit(pack(command), callback)
        except LinkDown as down:
            callback(down)

    def echo(self) -> asyncio.Future[Any]:
        """Done when the server has seen every command so far, subscriptions included. Raises `LinkDown`."""
        return self._link.call("PING")

    # --- the connection's side ----------------------------------------------------------------------

    def _tell(self, verb: str, topics: Sequence[str]) -> None:
        if self._link.up:
            self._link.tell(pack((verb, *topics)), len(topics))

    def _pushed(self, message: list[Any]) -> None:
        if message[0] != b"message":
            return
        channel = message[1].decode("utf-8", "replace").removeprefix(wire.TOPIC)
        listeners = self._channels.get(channel)
        if listeners is None:
            return
        entry = wire.parse_message(message[2])
        if entry is None:
            log.warning("not an event, on %s", channel)
            return
        for listener in tuple(listeners):
            listener.deliver(entry)

    def _link_up(self) -> None:
        topics = [wire.TOPIC + channel for channel in self._channels]
        for start in range(0, len(topics), _CHANNELS_AT_ONCE):
            self._tell("SUBSCRIBE", topics[start : start + _CHANNELS_AT_ONCE])
        self._changed(True)

    def _link_down(self) -> None:
        self._changed(False)

    def _changed(self, up: bool) -> None:
        for listeners in list(self._channels.values()):
            for listener in tuple(listeners):
                listener.link_changed(up)
