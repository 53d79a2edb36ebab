"""How the platform is, as it really is at this moment: `Health.look()`, in a second at most, without an exception.

The database is asked, Valkey is asked, and workers, relay, scheduler and sweeper are known by their signs of life. An
answer is kept for a second, so that a flood of questions costs the platform nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import psycopg

from thalweg import heartbeats

__all__ = ["Health", "Report", "Service"]

T = TypeVar("T")

log = logging.getLogger(__name__)

PATIENCE = 0.8
"""Seconds that all probes together may take."""
KEEP = 1.0


class Connected(Protocol):
    """A part of this process with a connection of its own to Valkey."""

    @property
    def healthy(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Service:
    """One part. `status` is `ok`, `degraded` (it works in part), `unavailable` or `unknown`; `latency` in ms."""

    status: str
    detail: str
    latency: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All parts. `status` is `unavailable` without the database, `degraded` when another part is not ok, else `ok`."""

    services: Mapping[str, Service]
    at: float
    """Unix seconds."""

    @property
    def status(self) -> str:
        if self.services["database"].status != "ok":
            return "unavailable"
        return "ok" if all(one.status == "ok" for one in self.services.values()) else "degraded"

    @property
    def code(self) -> int:
        """Degraded is 200: the process can still answer, and taking it out of service would help nobody."""
        return 503 if self.status == "unavailable" else 200

    def as_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.at)),
            "services": {
                name: {"status": one.status, "detail": one.detail, "latency_ms": one.latency}
                for name, one in self.services.items()
            },
        }


class Health:
    """Ask it from any thread."""

    def __init__(
        self,
        *,
        database_url: str,
        valkey: heartbeats.Readable,
        limits: Connected,
        streams: Connected,
        queues: Sequence[str],
    ) -> None:
        """`valkey` may hang and fail as it likes; `queues` are those that should have workers."""
        self._limits, self._streams, self._queues = limits, streams, queues
        self._database = _Database(database_url)
        self._probes: dict[str, _Probe[Any]] = {
            "database": _Probe(self._database.ping),
            "valkey": _Probe(lambda: heartbeats.signs(valkey)),
        }
        self._lock = threading.Lock()
        self._last: tuple[float, Report] | None = None

    def look(self) -> Report:
        """The present state, at most a second old."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > KEEP:
                self._last = (time.monotonic(), self._look())
            return self._last[1]

    def close(self) -> None:
        """Give the connections back."""
        for probe in self._probes.values():
            probe.close()
        self._database.close()

    def _look(self) -> Report:
        end = time.monotonic() + PATIENCE
        for probe in self._probes.values():
            probe.ask()
        database = self._probes["database"].answer(end)
        valkey = self._probes["valkey"].answer(end)
        services = {
            "database": Service("ok", "It answers.", database.ms)
            if database.ok
            else Service("unavailable", "It takes too long to answer." if database.late else "It does not answer."),
            "streams": _over_valkey(self._streams, valkey, "Live events come in.", _NO_STREAMS),
            "limits": _over_valkey(self._limits, valkey, "They are kept.", _NO_LIMITS),
            "workers": self._workers(valkey),
        }
        for kind, does in _PARTS.items():
            services[kind] = _part(kind, does, valkey)
        return Report(services, time.time())

    def _workers(self, valkey: _Answer) -> Service:
        if not valkey.ok:
            return _UNKNOWN
        living = Counter(str(s.detail.get("queue")) for s in valkey.value if s.kind == "worker" and s.fresh)
        idle = [queue for queue in self._queues if not living[queue]]
        if idle:
            return Service("degraded", f"None for {', '.join(idle)}: that work waits.")
        return Service("ok", ", ".join(f"{living[queue]} for {queue}" for queue in self._queues) + ".")


_NO_STREAMS = "Valkey is away: streams go on from the database, more slowly."
_NO_LIMITS = "Valkey is away: reads pass uncounted, limited writes are refused."
_PARTS = {
    "relay": "New work is not handed to workers.",
    "scheduler": "Nothing that is planned by the clock begins.",
    "sweeper": "Work that was lost on the way is not picked up again.",
}
_UNKNOWN = Service("unknown", "Signs of life cannot be read: Valkey does not answer.")


def _over_valkey(part: Connected, valkey: _Answer, well: str, away: str) -> Service:
    return Service("ok", well, valkey.ms) if part.healthy and valkey.ok else Service("degraded", away)


def _part(kind: str, does: str, valkey: _Answer) -> Service:
    if not valkey.ok:
        return _UNKNOWN
    living = [sign for sign in valkey.value if sign.kind == kind and sign.fresh]
    if not living:
        return Service("degraded", f"Not running. {does}")
    return Service("ok", "Running." if len(living) == 1 else f"Running, {len(living)} times.")


# --- asking ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answer:
    ok: bool
    value: Any = ()
    ms: float | None = None
    late: bool = False


class _Probe(Generic[T]):
    """A question that may hang: it does so in a thread of its own, and is not asked twice at a time."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="health")
        self._asked: Future[tuple[T, float]] | None = None

    def ask(self) -> None:
        if self._asked is None or self._asked.done():
            self._asked = self._executor.submit(self._timed)

    def answer(self, end: float) -> _Answer:
        """What came by `end` (monotonic seconds)."""
        assert self._asked is not None
        try:
            value, seconds = self._asked.result(max(end - time.monotonic(), 0.001))
        except Late:
            if not self._asked.done():
                return _Answer(False, late=True)
            return _Answer(False)  # the call itself ran into a time limit
        except Exception as error:
            # The kind alone: a driver's message may name hosts and users.
            log.warning("a health check failed: %s", type(error).__name__)
            return _Answer(False)
        return _Answer(True, value, round(seconds * 1000, 1))

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _timed(self) -> tuple[T, float]:
        began = time.perf_counter()
        return self._call(), time.perf_counter() - began


class _Database:
    """A connection of its own: one out of the pool could be waited for longer than a health check may last."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+psycopg", "", 1)
        self._connection: psycopg.Connection[Any] | None = None
        self._closed = False

    def ping(self) -> None:
        """Raises psycopg.Error."""
        if self._connection is not None:
            try:
                self._connection.execute("SELECT 1")
                return
            except psycopg.Error:  # restarted since: the next one tells
                self._connection.close()
                self._connection = None
        self._connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=2,
            tcp_user_timeout=2000,
            application_name="thalweg-health",
        )
        self._connection.execute("SELECT 1")
        if self._closed:
            self.close()

    def close(self) -> None:
        self._closed = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None
