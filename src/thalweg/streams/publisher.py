"""The producers' side: append an event and tell who listens, in one call."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
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
_TOGETHER = 100
"""Events of one round trip."""


class Publisher:
    """Appends numbered events to streams; safe to share between threads, and across a fork.

    Valkey being away never fails the caller. An event is retried for a moment, then kept (up to `backlog` of them, for
    a minute) and sent before the next one that goes through; what is dropped in the end readers take from the stream's
    `history`. After a failure nothing is tried for a while, so that a job which emits hundreds of events is slowed down
    once and not by each. Threads that publish at the same time share a round trip: one sends what all have put there.
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
        self._keep, self._expire, self._most = keep, expire, backlog
        self._putting, self._sending = threading.Lock(), threading.Lock()
        self._waiting: deque[_Unsent] = deque()
        self._rest_until, self._rest = 0.0, 0.0
        self.dropped = 0
        """Events that Valkey never got."""

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any], *, later: bool = False) -> bool:
        """Append event `number` (from 1, without gaps). False: Valkey is away, the event is kept for later.

        `later`: only put it behind those that wait; it goes with the next event, or with `flush`.

        A number that was published before is left as it is. Raises ValueError for a bad name or number, TypeError
        for data that is not JSON.
        """
        if number < 1:
            raise ValueError("events are numbered from 1")
        unsent = _Unsent(time.monotonic(), channel, number, wire.check_name(event), wire.encode(data))
        with self._putting:
            self._waiting.append(unsent)
            while len(self._waiting) > self._most:
                self._drop()
        if later:
            return True
        with self._sending:
            return unsent.sent or (time.monotonic() >= self._rest_until and self._send())

    @property
    def backlog(self) -> int:
        """Events that wait for Valkey."""
        return len(self._waiting)

    def flush(self, *, again: bool = True) -> bool:
        """Send what waits; `again`: also where Valkey was away a moment ago. True: nothing waits any more."""
        with self._sending:
            return not self._waiting or ((again or time.monotonic() >= self._rest_until) and self._send())

    def close(self) -> None:
        """Send what waits, if that can be done at once, and disconnect."""
        self.flush()
        self._redis.close()

    def _send(self) -> bool:
        """Send in order, the oldest first, many at a time; stop at the first that does not get through."""
        while batch := self._next():
            try:
                with self._redis.pipeline(transaction=False) as pipeline:
                    for each in batch:
                        pipeline.eval(
                            _APPEND, 1, wire.STREAM + each.channel, each.number, each.name, each.payload,
                            self._keep, self._expire, wire.TOPIC + each.channel,
                        )  # fmt: skip
                    answers = pipeline.execute(raise_on_error=False)
            except _AWAY as away:
                return self._away(away)
            for each, answer in zip(batch, answers, strict=True):
                if isinstance(answer, _AWAY):
                    return self._away(answer)
                each.sent = not isinstance(answer, redis.RedisError)
                if not each.sent:
                    log.warning("event %d of %s was refused by valkey: %s", each.number, each.channel, answer)
                with self._putting:
                    if self._waiting and self._waiting[0] is each:  # else it was dropped meanwhile
                        self._waiting.popleft()
                        self.dropped += not each.sent
            self._rest = 0.0
        return True

    def _next(self) -> list[_Unsent]:
        """The oldest, without those that waited too long."""
        with self._putting:
            while self._waiting and time.monotonic() - self._waiting[0].since > _BACKLOG_SECONDS:
                self._drop()
            return list(islice(self._waiting, _TOGETHER))

    def _away(self, problem: Exception) -> bool:
        self._rest = min(max(self._rest * 2, 0.5), 5.0)
        self._rest_until = time.monotonic() + self._rest
        log.warning("events wait for valkey, readers find them in the database: %s", type(problem).__name__)
        return False

    def _drop(self) -> None:
        self._waiting.popleft()
        self.dropped += 1


@dataclass(slots=True, eq=False)
class _Unsent:
    since: float
    channel: str
    number: int
    name: str
    payload: bytes
    sent: bool = False
