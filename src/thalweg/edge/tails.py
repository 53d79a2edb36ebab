"""Streams and waiting as the edge uses them: one hub a process, the contract's event schemas, the process' metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from thalweg.edge.application import Pending, Stream
from thalweg.edge.guard import RawHeaders
from thalweg.edge.pool import Pool
from thalweg.edge.problem import Problem
from thalweg.edge.reply import ResponseMismatch
from thalweg.edge.sse import StreamOptions, stream_sse
from thalweg.edge.waiting import wait_for
from thalweg.streams.hub import Hub

if TYPE_CHECKING:
    from thalweg.edge.plan import Plan


class Tails:
    """`serve` a stream, `wait` for an answer."""

    def __init__(self, redis_url: str, pool: Pool, options: StreamOptions | None = None, *, most: int = 10_000) -> None:
        """`most`: open streams and waits that the process takes before it answers 503."""
        self._url = redis_url
        self._pool = pool
        self._options = options or StreamOptions()
        self._most = most
        self._hub: Hub | None = None

    @property
    def hub(self) -> Hub:
        """The hub of the running loop. Raises `RuntimeError` before `start`."""
        if self._hub is None:
            raise RuntimeError("streams are served once the process has started")
        return self._hub

    @property
    def healthy(self) -> bool:
        """Whether live events come in right now."""
        return self._hub is not None and self._hub.healthy

    async def start(self, wait: float = 1.0) -> None:
        """Connect, waiting at most `wait` seconds: a Valkey that is away is no reason not to start."""
        self._hub = Hub(self._url)
        await self._hub.start(wait)

    def drain(self) -> None:
        """Tell every stream that the server is stopping; clients come back elsewhere."""
        if self._hub is not None:
            self._hub.drain()

    async def stop(self) -> None:
        if self._hub is not None:
            self._hub.drain()
            await self._hub.close()
            self._hub = None

    def admit(self) -> None:
        """Raises `Problem` `unavailable` when the process holds as many streams as it may."""
        if self.hub.listening >= self._most:
            raise Problem("unavailable", "Too many streams are open here. Try again soon.", facts={"retry_after": 5})

    async def serve(
        self,
        stream: Stream,
        plan: Plan,
        status: int,
        headers: RawHeaders,
        request_headers: Mapping[bytes, bytes],
        receive: Any,
        send: Any,
        report: Callable[[ResponseMismatch], None],
    ) -> None:
        """Answer with `stream` as server-sent events. Every event is held against its schema when `report` raises."""
        last = request_headers.get(b"last-event-id")

        def check(name: str, data: Any) -> None:
            validator = plan.events.get(name) if plan.events is not None else None
            if validator is None:
                report(ResponseMismatch(plan.operation_id, status, f"undeclared event {name}"))
            elif not validator.is_valid(data):
                report(ResponseMismatch(plan.operation_id, status, validator.violations(data, name)))

        await stream_sse(
            stream,
            self.hub,
            self._pool.run,
            receive,
            send,
            self._options,
            headers,
            status=status,
            last_event_id=None if last is None else last.decode("latin-1"),
            check=check,
        )

    async def wait(self, pending: Pending, ask: Callable[[Callable[[Any], Any]], Awaitable[Any]]) -> Any:
        """What `pending.then` (or `timed_out`) answers. Raises `Problem` when the server stops meanwhile."""
        outcome, answer = await wait_for(pending, self.hub, ask)
        if outcome == "stopped":
            raise Problem("unavailable", "The server is stopping. Try again.", facts={"retry_after": 1})
        return answer
