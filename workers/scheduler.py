"""The scheduler: turns the ticks of cron entries into outbox rows, each exactly once however many schedulers run.

After a stop, at most the latest missed tick of an entry is made up for. Times are UTC.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import structlog
from croniter import croniter

from domain.kernel import outbox
from domain.kernel.clock import Clock, SystemClock
from domain.kernel.context import SystemActor
from domain.kernel.db import Database
from domain.kernel.errors import DomainError
from workers import metrics
from workers.registry import CronSpec

log = structlog.get_logger("thalweg.jobs")

LONGEST_SLEEP = 5.0


class Scheduler:
    """`run` until `stop`, or `step` once."""

    def __init__(self, database: Database, crons: Mapping[str, CronSpec], *, clock: Clock | None = None) -> None:
        self._database = database
        self._crons = crons
        self._clock = clock or SystemClock()
        self._done: dict[str, datetime] = {}
        self.alive_at = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        pause = 0.0
        while not stop.wait(pause):
            try:
                self.step()
                self.alive_at = time.monotonic()
                pause = self._until_next()
            except DomainError as problem:
                log.warning("scheduler waits", error=problem.message)
                pause = 1.0

    def step(self) -> list[str]:
        """Promise the jobs of all ticks that have come since the last step; answer the entries' names.

        Raises domain.kernel.errors.Unavailable when the database is away.
        """
        now = self._clock.now()
        made: list[str] = []
        for name, entry in self._crons.items():
            due = latest_tick(entry.expression, now)
            if self._done.get(name) == due:
                continue
            with self._database.context(SystemActor("scheduler"), None, frozenset({"admin"}), platform=True) as ctx:
                ours = outbox.tick(ctx, name, due)
                if ours:
                    outbox.enqueue(
                        ctx,
                        entry.job.name,
                        entry.args,
                        queue=entry.job.queue,
                        max_attempts=entry.job.max_attempts,
                        unique=f"cron:{name}:{due:%Y-%m-%dT%H:%MZ}",
                    )
            self._done[name] = due
            if ours:
                made.append(name)
                metrics.TICKS.labels(name).inc()
        return made

    def _until_next(self) -> float:
        now = self._clock.now()
        nexts = [croniter(entry.expression, now).get_next(datetime) for entry in self._crons.values()]
        if not nexts:
            return LONGEST_SLEEP
        return float(min(LONGEST_SLEEP, max(0.05, (min(nexts) - now).total_seconds())))


def latest_tick(expression: str, now: datetime) -> datetime:
    """The last tick at or before `now`."""
    tick = croniter(expression, now + timedelta(microseconds=1)).get_prev(datetime)
    return tick.astimezone(UTC)  # type: ignore[no-any-return]
