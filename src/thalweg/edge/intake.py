"""The bytes of a request body as they come from the server, counted while they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from thalweg.edge.problem import Disconnected, Problem

Receive = Callable[[], Awaitable[Any]]


def too_large(limit: int) -> Problem:
    return Problem("too_large", f"The request body is larger than {limit} bytes.", facts={"max_bytes": limit})


def again(body: bytes) -> Receive:
    """A `receive` that gives a body which has come already."""

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


class Intake:
    """One request's body. `first()` before anything else; then `whole()` or `pieces()`."""

    __slots__ = ("_limit", "_more", "_receive", "_start", "size")

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._start = b""
        self._more = True
        self.size = 0

    async def first(self) -> bool:
        """Whether there is a body at all. Waits for its first bytes."""
        while self._more and not self._start:
            self._start = await self._next()
        return bool(self._start)

    async def whole(self) -> bytes:
        """The body in one piece. Raises `Problem("too_large")` before more than the limit is held, `Disconnected`."""
        if not self._more:
            return self._start
        parts = [self._start]
        while self._more:
            parts.append(await self._next())
        return b"".join(parts)

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self._start
        self._start = b""
        while self._more:
            piece = await self._next()
            if piece:
                yield piece

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        piece: bytes = message.get("body", b"")
        self._more = message.get("more_body", False)
        self.size += len(piece)
        if self.size > self._limit:
            raise too_large(self._limit)
        return piece
