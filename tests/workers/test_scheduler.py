from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.kernel.clock import FixedClock
from domain.kernel.context import Ctx
from domain.kernel.db import Database
from domain.kernel.outbox import list_jobs
from workers.registry import Registry
from workers.scheduler import Scheduler, latest_tick

NOON = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)


@pytest.fixture
def crons(registry: Registry) -> Registry:
    @registry.cron("*/5 * * * *", args={"deep": True})
    @registry.job("clean", queue="interactive", max_attempts=2, simple=True)
    def clean(ctx: Ctx, args: dict[str, Any]) -> None: ...

    return registry


@pytest.mark.parametrize(
    ("now", "tick"),
    [
        (NOON, NOON),
        (NOON + timedelta(minutes=4, seconds=59), NOON),
        (NOON - timedelta(microseconds=1), NOON - timedelta(minutes=5)),
    ],
)
def test_the_latest_tick_is_the_one_at_or_before_now(now: datetime, tick: datetime) -> None:
    assert latest_tick("*/5 * * * *", now) == tick


def test_each_tick_becomes_one_job_as_declared(crons: Registry, database: Database, as_platform: Any) -> None:
    clock = FixedClock(NOON)
    scheduler = Scheduler(database, crons.crons, clock=clock)
    assert scheduler.step() == []  # a new installation has missed nothing
    clock.advance(timedelta(minutes=5))
    assert scheduler.step() == ["clean"]
    assert scheduler.step() == []
    with as_platform() as ctx:
        (job,) = list_jobs(ctx).items
    assert (job.name, job.queue, job.args, job.max_attempts) == ("clean", "interactive", {"deep": True}, 2)
    assert (job.organisation_id, job.unique_key) == (None, "cron:clean:2026-03-29T12:05Z")


def test_after_a_long_stop_only_the_latest_missed_tick_is_made_up_for(crons: Registry, database: Database) -> None:
    Scheduler(database, crons.crons, clock=FixedClock(NOON)).step()
    late = FixedClock(NOON + timedelta(hours=7, minutes=1))
    assert Scheduler(database, crons.crons, clock=late).step() == ["clean"]
    assert Scheduler(database, crons.crons, clock=late).step() == []


def test_a_tick_does_not_return_when_its_job_was_purged(crons: Registry, database: Database, as_platform: Any) -> None:
    from sqlalchemy import text

    clock = FixedClock(NOON)
    Scheduler(database, crons.crons, clock=clock).step()
    clock.advance(timedelta(minutes=5))
    assert Scheduler(database, crons.crons, clock=clock).step() == ["clean"]
    with as_platform() as ctx:
        ctx.session.execute(text("DELETE FROM job"))
    assert Scheduler(database, crons.crons, clock=clock).step() == []


def test_many_schedulers_at_once_make_one_job_of_a_tick(crons: Registry, database: Database, as_platform: Any) -> None:
    Scheduler(database, crons.crons, clock=FixedClock(NOON)).step()
    gate = threading.Barrier(6)

    def act() -> None:
        scheduler = Scheduler(database, crons.crons, clock=FixedClock(NOON + timedelta(minutes=5)))
        gate.wait()
        scheduler.step()

    threads = [threading.Thread(target=act) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with as_platform() as ctx:
        assert len(list_jobs(ctx).items) == 1


def test_a_clock_that_goes_back_repeats_nothing(crons: Registry, database: Database) -> None:
    clock = FixedClock(NOON)
    scheduler = Scheduler(database, crons.crons, clock=clock)
    scheduler.step()
    clock.advance(timedelta(minutes=10))
    assert scheduler.step() == ["clean"]
    clock.advance(timedelta(minutes=-10))
    assert scheduler.step() == []
