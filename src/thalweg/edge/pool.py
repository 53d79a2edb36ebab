"""Threads for what blocks, with a cheap hand-over: half of what asyncio's and anyio's pools cost a request.

Calls come from one loop at a time, which also does the counting, so nothing is locked. Results are laid down and
fetched together: the loop is told once for all that it has not fetched yet. Waking fewer threads than there are calls
was tried and gained nothing: the first thread awake takes what has gathered anyway.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Pool:
    """Up to `size` daemon threads, started when they are needed."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open = 0
        """Calls that were made and whose results were not fetched yet. Only the loop counts."""
        self._desk: _Desk | None = None

    def run(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Call `function(*arguments)` in a thread, with the caller's context variables."""
        loop = asyncio.get_running_loop()
        desk = self._desk
        if desk is None or desk.loop is not loop:
            desk = self._desk = _Desk(loop, self._fetched)
            self._open = 0
        future: asyncio.Future[T] = loop.create_future()
        self._open += 1
        if self._open > len(self._threads) < self.size:
            self._grow()
        self._queue.put((desk, future, contextvars.copy_context(), function, arguments))
        return future

    @property
    def backlog(self) -> int:
        """Calls that wait for a thread."""
        return self._queue.qsize()

    def close(self) -> None:
        """Let the threads end after what they are doing."""
        for _ in self._threads:
            self._queue.put(None)

    def _fetched(self, desk: _Desk, count: int) -> None:
        if desk is self._desk:
            self._open -= count

    def _grow(self) -> None:
        thread = threading.Thread(target=self._work, name=f"edge-{len(self._threads) + 1}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        get = self._queue.get
        while True:
            job = get()
            if job is None:
                return
            desk, future, context, function, arguments = job
            error: BaseException | None = None
            result: Any = None
            try:
                result = context.run(function, *arguments)
            except BaseException as caught:  # it is the caller's to see, whatever it is
                error = caught
            desk.give(future, result, error)
            del job, desk, future, context, function, arguments, result, error


class _Desk:
    """Where threads lay down results for one loop to fetch."""

    __slots__ = ("_fetched", "_results", "_told", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, fetched: Callable[[_Desk, int], None]) -> None:
        self.loop = loop
        self._fetched = fetched
        self._results: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._told = False

    def give(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        """From any thread."""
        self._results.append((future, result, error))
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # the loop is closed: nobody is waiting any more
                self.loop.call_soon_threadsafe(self._fetch)

    def _fetch(self) -> None:
        self._told = False  # before anything is fetched: a result that comes from now on tells again
        results = self._results
        count = 0
        while results:
            future, result, error = results.popleft()
            count += 1
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration):
                future.set_exception(RuntimeError("a blocking call raised StopIteration"))
            else:
                future.set_exception(error)
        self._fetched(self, count)


_Job = tuple[_Desk, "asyncio.Future[Any]", contextvars.Context, Callable[..., Any], tuple[Any, ...]]
