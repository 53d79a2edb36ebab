"""Signs of life of workers, relays, schedulers and sweepers, for the health check and `doctor`.

One Valkey hash, `thalweg:alive`: field `<kind>:<host>:<pid>`, value JSON `{"kind", "host", "pid", "at", "detail"}` with
`at` in Unix seconds. A sign older than `FRESH` seconds is a process that has gone.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

KEY = "thalweg:alive"
RHYTHM = 5.0
FRESH = 20.0


class Readable(Protocol):
    """What signs are read from: a `redis.Redis`, or something that has this of it."""

    def hvals(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Sign:
    """`kind` is `worker`, `relay`, `scheduler` or `sweeper`; `at` Unix seconds."""

    kind: str
    host: str
    pid: int
    at: float
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fresh(self) -> bool:
        return time.time() - self.at < FRESH


def beat(connection: Redis, kind: str, detail: Mapping[str, Any] | None = None) -> None:
    """Say that this process lives. Raises redis.RedisError."""
    host, pid = socket.gethostname(), os.getpid()
    sign = {"kind": kind, "host": host, "pid": pid, "at": time.time(), "detail": dict(detail or {})}
    connection.hset(KEY, _field(kind, host, pid), json.dumps(sign))


def leave(connection: Redis, kind: str) -> None:
    """Say that this process ends. Raises redis.RedisError."""
    connection.hdel(KEY, _field(kind, socket.gethostname(), os.getpid()))


def signs(connection: Readable) -> list[Sign]:
    """All signs, the freshest first. Raises what `connection` does (redis.RedisError)."""
    found = [Sign(**json.loads(value)) for value in connection.hvals(KEY)]
    return sorted(found, key=lambda sign: -sign.at)


class Pulse:
    """How many workers of a queue live, as the signs in Valkey tell; looked up at most once in `keep` seconds."""

    def __init__(self, connection: Readable | Callable[[], Readable], keep: float = 2.0) -> None:
        """`connection`, or what makes it when it is first needed."""
        self._connect = connection if callable(connection) else lambda: connection
        self._connection: Readable | None = None
        self._keep = keep
        self._looked = 0.0
        self._queues: dict[str, int] = {}

    def workers(self, queue: str) -> int:
        """Living workers of `queue`; 0 rather than an exception while Valkey is away."""
        now = time.monotonic()
        if now - self._looked > self._keep:
            self._looked = now
            if self._connection is None:
                self._connection = self._connect()
            try:
                living = [sign for sign in signs(self._connection) if sign.kind == "worker" and sign.fresh]
            except Exception as away:
                log.debug("signs of life cannot be read: %s", type(away).__name__)
                living = []
            self._queues = dict(Counter(str(sign.detail.get("queue")) for sign in living))
        return self._queues.get(queue, 0)


def forget(connection: Redis, *, older_than: float = 3600.0) -> int:
    """Drop the signs of processes long gone. Raises redis.RedisError."""
    old = [s for s in signs(connection) if time.time() - s.at > older_than]
    return int(connection.hdel(KEY, *(_field(s.kind, s.host, s.pid) for s in old))) if old else 0


def me() -> str:
    """This process, for people: `host:pid`."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _field(kind: str, host: str, pid: int) -> str:
    return f"{kind}:{host}:{pid}"
