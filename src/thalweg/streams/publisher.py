"""The producers' side: append an event and tell who listens, in one call."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from thalweg.link import redis_scheme
from thalweg.streams import wire

log = logging.getLogger(__name__)

# A number that is already there is refused by XADD itself, which makes publishing twice harmless without a lookup.
_APPEND = """
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], ARGV[1] .. '-0', 'e', ARGV[2], 'd', ARGV[3])
if type(added) == 'table' and added.err then
  if string.find(added.err, 'equal or smaller', 1, true) then return 0 end
  return added
end
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('PUBLISH', ARGV[6], ARGV[1] .. ' ' .. ARGV[2] .. '\\n' .. ARGV[3])
return 1
"""


# An answer of these kinds is the server's state, not the event's fault: it is tried again.
_AWAY = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ReadOnlyError)
_BACKLOG_SECONDS = 60.0


class Publisher:
    """Appends numbered events to streams; safe to share between threads, and across a fork.

    Valkey being away never fails the caller. An event is retried for a moment, then kept (up to `backlog` of them, for
    a minute) and sent before the next one that goes through; what is dropped in the end readers take from the stream's
    `history`. After a failure nothing is tried for a while, so that a job which emits hundreds of events is slowed down
    once and not by each.
    """

    def __init__(
        self, redis_url: str, *, keep: int = 1000, expire: int = 3600, patience: float = 0.5, backlog: int = 1000
    ) -> None:
        """`keep`: entries a stream holds (about); `expire`: seconds after its last event; `patience`: of one try."""
        self._redis = redis.Redis.from_url(
            redis_scheme(redis_url),
            socket_timeout=patience,
            socket_connect_timeout=patience,
            retry=Retry(ExponentialBackoff(cap=0.1, base=0.02), 2),
            health_check_interval=30,
        )
        self._append = self._redis.register_script(_APPEND)
        self._keep, self._expire, self._most = keep, expire, backlog
        self._lock = threading.Lock()
        self._waiting: deque[_Unsent] = deque()
        self._rest_until, self._rest = 0.0, 0.0
        self.dropped = 0
        """Events that Valkey never got."""

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> bool:
        """Append event `number` (from 1, without gaps). False: Valkey is away, the event is kept for later.

        A number that was published before is left as it is. Raises ValueError for a bad name or number, TypeError
        for data that is not JSON.
        """
        if number < 1:
            raise ValueError("events are numbered from 1")
        unsent = _Unsent(time.monotonic(), channel, number, wire.check_name(event), wire.encode(data))
        with self._lock:
            self._waiting.append(unsent)
            while len(self._waiting) > self._most:
                self._drop()
            return time.monotonic() >= self._rest_until and self._send()

    @property
    def backlog(self) -> int:
        """Events that wait for Valkey."""
        return len(self._waiting)

    def flush(self) -> bool:
        """Try once more to send what waits, now. True: nothing waits any more."""
        with self._lock:
            return self._send()

    def close(self) -> None:
        """Send what waits, if that can be done at once, and disconnect."""
        self.flush()
        self._redis.close()

    def _send(self) -> bool:
        """Send in order, the oldest first; stop at the first that does not get through."""
        while self._waiting:
            oldest = self._waiting[0]
            if time.monotonic() - oldest.since > _BACKLOG_SECONDS:
                self._drop()
                continue
            try:
                self._append(
                    keys=[wire.STREAM + oldest.channel],
                    args=[
                        oldest.number,
                        oldest.name,
                        oldest.payload,
                        self._keep,
                        self._expire,
                        wire.TOPIC + oldest.channel,
                    ],
                )
            except _AWAY as away:
                self._rest = min(max(self._rest * 2, 0.5), 5.0)
                self._rest_until = time.monotonic() + self._rest
                log.warning("events wait for valkey, readers find them in the database: %s", type(away).__name__)
                return False
            except redis.RedisError as refused:
                log.warning("event %d of %s was refused by valkey: %s", oldest.number, oldest.channel, refused)
                self._drop()
                continue
            self._waiting.popleft()
            self._rest = 0.0
        return True

    def _drop(self) -> None:
        self._waiting.popleft()
        self.dropped += 1


@dataclass(frozen=True, slots=True)
class _Unsent:
    since: float
    channel: str
    number: int
    name: str
    payload: bytes
