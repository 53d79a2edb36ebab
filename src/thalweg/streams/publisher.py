"""The producers' side: append an event and tell who listens, in one call."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
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


class Publisher:
    """Appends numbered events to streams; safe to share between threads, and across a fork.

    Valkey being away never fails the caller: an event is retried for a moment, then dropped with a warning, because
    readers take what is missing from the stream's `history`. After a failure publishing is not even tried for a
    while, so that a job which emits hundreds of events is not slowed down by each.
    """

    def __init__(self, redis_url: str, *, keep: int = 1000, expire: int = 3600, patience: float = 0.5) -> None:
        """`keep`: entries a stream holds (about); `expire`: seconds after its last event; `patience`: of one try."""
        self._redis = redis.Redis.from_url(
            redis_scheme(redis_url),
            socket_timeout=patience,
            socket_connect_timeout=patience,
            retry=Retry(ExponentialBackoff(cap=0.1, base=0.02), 2),
            health_check_interval=30,
        )
        self._append = self._redis.register_script(_APPEND)
        self._keep, self._expire = keep, expire
        self._lock = threading.Lock()
        self._rest_until, self._rest = 0.0, 0.0
        self.dropped = 0
        """Events that Valkey never got."""

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> bool:
        """Append event `number` (from 1, without gaps). False: Valkey is away and the event was dropped.

        A number that was published before is left as it is. Raises ValueError for a bad name or number, TypeError
        for data that is not JSON.
        """
        if number < 1:
            raise ValueError("events are numbered from 1")
        payload = wire.encode(data)
        name = wire.check_name(event)
        if time.monotonic() < self._rest_until:
            self._drop(channel, number)
            return False
        try:
            self._append(
                keys=[wire.STREAM + channel],
                args=[number, name, payload, self._keep, self._expire, wire.TOPIC + channel],
            )
        except redis.RedisError as failure:
            with self._lock:
                self._rest = min(max(self._rest * 2, 0.5), 5.0)
                self._rest_until = time.monotonic() + self._rest
            log.warning("an event was not published, readers will find it in the database: %s", type(failure).__name__)
            self._drop(channel, number)
            return False
        self._rest = 0.0
        return True

    def close(self) -> None:
        self._redis.close()

    def _drop(self, channel: str, number: int) -> None:
        with self._lock:
            self.dropped += 1
        log.debug("dropped event %d of %s", number, channel)
