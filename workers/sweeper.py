"""The sweeper: puts right what crashes leave behind, and deletes what is no longer needed.

Leases that ran out and doorbells that were lost become pending rows again; finished rows go after their retention. Any
number of sweepers may run; they skip each other's rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog
from redis import Redis
from redis.exceptions import RedisError

from domain.kernel.ledger import Ledger, LedgerAway
from thalweg import heartbeats
from workers import metrics
from workers.queues import answer, missing

log = structlog.get_logger("thalweg.jobs")

Purge = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds between sweeps, measurements and purges, and until an unclaimed doorbell is missed; how long rows stay.

    A unique key holds as long as its row: `done` is also how long `enqueue(unique=...)` remembers.
    """

    sweep: float = 2.0
    lost_after: float = 5.0
    measure: float = 15.0
    purge: float = 300.0
    done: timedelta = timedelta(days=7)
    failed: timedelta = timedelta(days=90)


class Sweeper:
    """`run` until `stop`, or call `sweep` and `purge`. `purges` are further deletions, by the name they are counted
    under; each answers how many rows went."""

    def __init__(
        self,
        ledger: Ledger,
        connection: Redis,
        *,
        rhythm: Rhythm | None = None,
        purges: Mapping[str, Purge] | None = None,
    ) -> None:
        self._ledger = ledger
        self._connection = connection
        self._rhythm = rhythm or Rhythm()
        self._purges = dict(purges or {})
        self._batch = 500
        self._measured: set[tuple[str, str]] = set()
        self.alive_at = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        purged_at = measured_at = time.monotonic()
        try:
            while not stop.wait(self._rhythm.sweep):
                try:
                    self.sweep()
                    if time.monotonic() - measured_at > self._rhythm.measure:
                        measured_at = time.monotonic()
                        self.measure()
                    if time.monotonic() - purged_at > self._rhythm.purge:
                        purged_at = time.monotonic()
                        self.purge(stop)
                    self.alive_at = time.monotonic()
                except (RedisError, LedgerAway, OSError) as problem:
                    log.warning("sweeper waits", error=type(problem).__name__)
        finally:
            self._ledger.close()

    def sweep(self) -> int:
        """Return expired and lost rows to the pending ones; answer how many. Raises RedisError or LedgerAway."""
        expired = self._ledger.expired()
        if expired:
            metrics.SWEPT.labels("expired").inc(len(expired))
            log.warning("leases ran out", jobs=[str(row.id) for row in expired[:20]], count=len(expired))
        moved = len(expired)
        while True:
            lost = missing(
                self._connection, self._ledger.unclaimed(older_than=self._rhythm.lost_after, limit=self._batch)
            )
            again = self._ledger.ring_again([row.id for row in lost])
            for name in {row.queue for row in again}:
                answer(self._connection, name, [str(row.id) for row in again if row.queue == name])
            if again:
                metrics.SWEPT.labels("unclaimed").inc(len(again))
                log.warning("doorbells were lost", count=len(again))
            moved += len(again)
            # The oldest of each queue are looked at. While they were lost, younger ones may be too.
            if not again:
                break
        return moved

    def purge(self, stop: threading.Event | None = None) -> int:
        """Delete what is past its retention, in batches; answer how many rows went."""
        jobs = {
            "jobs_done": lambda: self._ledger.purge("done", self._rhythm.done),
            "jobs_failed": lambda: self._ledger.purge("failed", self._rhythm.failed),
        }
        total = 0
        for what, act in {**jobs, **self._purges}.items():
            while not (stop and stop.is_set()):
                try:
                    gone = act()
                except (LedgerAway, RedisError):
                    raise
                except Exception:
                    log.exception("purge failed", what=what)
                    break
                total += gone
                metrics.PURGED.labels(what).inc(gone)
                if not gone:
                    break
        heartbeats.forget(self._connection)
        return total

    def measure(self) -> None:
        """Count the rows in flight and failed, for Prometheus. Raises LedgerAway."""
        found = {(depth.queue, depth.state): depth for depth in self._ledger.depth()}
        for labels in self._measured - found.keys():  # labels cannot be removed in Prometheus' multi-process mode
            metrics.DEPTH.labels(*labels).set(0)
            metrics.OLDEST.labels(*labels).set(0)
        for labels, depth in found.items():
            metrics.DEPTH.labels(*labels).set(depth.count)
            metrics.OLDEST.labels(*labels).set(depth.oldest)
        self._measured |= found.keys()
