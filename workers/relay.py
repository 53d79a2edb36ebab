"""The relay: takes pending rows of the outbox that are due and rings for them in Valkey.

Rows are marked queued and rung inside one database transaction, the bell before the commit: a crash in between rings
twice, which a claim ignores, and never not at all. Any number of relays may run; they skip each other's rows.
"""

from __future__ import annotations

import threading
import time

import structlog
from redis import Redis
from redis.exceptions import RedisError

from domain.kernel.ledger import Ledger, LedgerAway, Wakeups
from domain.kernel.outbox import BELL_HOT
from workers import metrics
from workers.queues import ring

log = structlog.get_logger("thalweg.jobs")

IDLE = 1.0
"""Seconds between looks when nobody rings: the most a promise waits whose bell was lost."""
BUSY = 0.02
"""The same for BELL_HOT seconds after anything happened: `enqueue` does not ring for every promise of a burst."""
BATCH = 200


class Relay:
    """`run` until `stop`; `step` once. `alive_at` is the monotonic time of the last completed step."""

    def __init__(self, ledger: Ledger, wakeups: Wakeups, connection: Redis) -> None:
        self._ledger = ledger
        self._wakeups = wakeups
        self._connection = connection
        self.alive_at = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        hot_until = 0.0
        pause = 0.1
        try:
            while not stop.is_set():
                try:
                    moved = self.step()
                    self.alive_at = time.monotonic()
                    pause = 0.1
                    if moved:
                        hot_until = time.monotonic() + BELL_HOT
                    if moved < BATCH and self._wakeups.wait(self._patience(hot_until)):
                        hot_until = time.monotonic() + BELL_HOT
                except (RedisError, LedgerAway, OSError) as problem:
                    log.warning("relay waits", error=type(problem).__name__)
                    stop.wait(pause)
                    pause = min(pause * 2, 2.0)
        finally:
            self._wakeups.close()
            self._ledger.close()

    def step(self) -> int:
        """Ring for one batch of due rows; answer how many. Raises RedisError or LedgerAway; nothing is marked then."""
        with self._ledger.due(BATCH) as rows:
            ring(self._connection, rows)
        for row in rows:
            metrics.RELAYED.labels(row.queue).inc()
        return len(rows)

    def _patience(self, hot_until: float) -> float:
        if time.monotonic() < hot_until:
            return BUSY
        due = self._ledger.next_due()
        return IDLE if due is None else min(IDLE, max(BUSY, due))
