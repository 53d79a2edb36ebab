"""Waiting for work elsewhere without a thread: a small object on the hub until the event comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

from thalweg.edge.application import Pending
from thalweg.streams.wire import Entry

if TYPE_CHECKING:
    from thalweg.streams.hub import Hub

Ask = Callable[[Callable[[Any], Any]], Awaitable[Any]]
"""`await ask(function)`: run `function(ctx)` in a thread, in a new transaction of the caller's."""

Outcome = Literal["done", "timed_out", "stopped"]

_POLL = (1.0, 10.0)
_POLL_AWAY = (0.25, 2.0)


async def wait_for(
    pending: Pending, hub: Hub, ask: Ask, *, poll: tuple[float, float] = _POLL, away: tuple[float, float] = _POLL_AWAY
) -> tuple[Outcome, Any]:
    """The answer of `pending.then(ctx)`, or of `timed_out(ctx)` after `pending.seconds`; `stopped` at a shutdown.

    `ready(ctx)` is asked once the subscription stands, after each reconnection, and now and then (`poll`, seconds first
    and at most; `away` without Valkey), because a message may be lost. What `ask` raises goes to the caller.
    """
    waiter = _Waiter(hub, pending.terminal)
    hub.attach(pending.channel, waiter)
    end = hub.now() + pending.seconds
    interval = 0.0
    try:
        while True:
            if hub.up and not waiter.arrived:
                # The subscription first, the question second: what happens in between is then seen twice, not never.
                await waiter.sleep_until_subscribed(end)
            waiter.doubt = False
            if waiter.arrived or await ask(pending.ready):
                return "done", await ask(pending.then)
            pace = poll if hub.up else away
            interval = min(max(interval * 2, pace[0]), pace[1])
            look_at = hub.now() + interval * random.uniform(0.75, 1.25)  # noqa: S311 - so that waiters spread
            while not (waiter.arrived or waiter.doubt or waiter.stopped) and hub.now() < min(end, look_at):
                await waiter.sleep(min(end, look_at))
            if waiter.arrived:
                return "done", await ask(pending.then)
            if waiter.stopped:
                return "stopped", None
            if hub.now() >= end:
                if await ask(pending.ready):
                    return "done", await ask(pending.then)
                return "timed_out", await ask(pending.timed_out)
            if waiter.doubt:
                interval = 0.0
    finally:
        hub.detach(pending.channel, waiter)


class _Waiter:
    """A listener that only asks: has a terminal event come, and has the connection been away?"""

    __slots__ = ("_hub", "_sleeper", "_terminal", "arrived", "doubt", "stopped")

    def __init__(self, hub: Hub, terminal: frozenset[str]) -> None:
        self._hub = hub
        self._terminal = terminal
        self._sleeper: asyncio.Future[None] | None = None
        self.arrived = False
        self.doubt = False
        self.stopped = False

    def deliver(self, entry: Entry) -> None:
        if entry.name in self._terminal:
            self.arrived = True
            self.wake()

    def link_changed(self, up: bool) -> None:
        self.doubt = True
        self.wake()

    def stop(self) -> None:
        self.stopped = True
        self.wake()

    def wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def sleep(self, until: float) -> None:
        """Until something happens, or `until` (loop time) has come; may return early."""
        self._sleeper = self._hub.loop.create_future()
        self._hub.wheel.at(until, self.wake)
        try:
            await self._sleeper
        finally:
            self._sleeper = None

    async def sleep_until_subscribed(self, end: float) -> None:
        """Until the server has seen the subscription, or is known to be away."""
        try:
            echo = self._hub.echo()
        except ConnectionError:
            return
        echo.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait((echo,), timeout=max(end - self._hub.now(), 0.0))
