"""One timer for all clients of a process: wakes come in slots of a twentieth of a second, and may come for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil

TICK = 0.05


class Wheel:
    """`at(when, wake)` calls `wake` once, at `when` (loop time) or up to a tick later.

    There is no way to take a wake back: what is woken looks at the clock itself. That makes an entry one reference in
    a list instead of a timer handle, and 5,000 clients one call of the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, list[Callable[[], None]]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None

    def at(self, when: float, wake: Callable[[], None]) -> None:
        slot = ceil(when / TICK)
        wakes = self._slots.get(slot)
        if wakes is None:
            self._slots[slot] = [wake]
            heappush(self._order, slot)
        else:
            wakes.append(wake)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._turn)

    def _turn(self) -> None:
        now = int(self._loop.time() / TICK)
        while self._order and self._order[0] <= now:
            for wake in self._slots.pop(heappop(self._order)):
                wake()
        self._timer = self._loop.call_later(TICK, self._turn) if self._order else None

    def stop(self) -> None:
        self._slots.clear()
        self._order.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
