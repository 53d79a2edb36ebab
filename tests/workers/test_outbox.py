from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from domain import migrations
from domain.kernel.context import SystemActor
from domain.kernel.db import Database
from domain.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from domain.kernel.ids import new_id
from domain.kernel.ledger import Ledger, Wakeups
from domain.kernel.outbox import BELL_QUIET, MAX_ARGS_BYTES, Job, enqueue, get_job, list_jobs, retry_job, tick
from domain.kernel.pages import CursorPage


def test_the_migrated_table_is_what_the_model_says(database_url: str) -> None:
    assert [line for line in migrations.check(database_url) if "job" in line or "cron_tick" in line] == []


def test_a_promise_carries_the_callers_organisation_and_request(
    promise: Callable[..., UUID], row: Callable[[UUID], Job], organisation: UUID
) -> None:
    job = row(promise("some.job", {"id": "x"}, queue="interactive", max_attempts=3))
    assert (job.organisation_id, job.request_id, job.state, job.queue) == (
        organisation,
        "req-1",
        "pending",
        "interactive",
    )
    assert (job.args, job.attempts, job.max_attempts) == ({"id": "x"}, 0, 3)


def test_a_promise_vanishes_with_the_transaction_that_made_it(as_organisation: Any, as_platform: Any) -> None:
    def act() -> None:
        with as_organisation() as ctx:
            enqueue(ctx, "some.job", {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        act()
    with as_platform() as ctx:
        assert list_jobs(ctx).items == []


def test_a_unique_promise_made_twice_is_one_job_with_the_first_id(
    promise: Callable[..., UUID], as_platform: Any
) -> None:
    first = promise("some.job", {"n": 1}, unique="import:7")
    assert promise("some.job", {"n": 2}, unique="import:7") == first
    assert promise("some.job", unique="import:8") != first
    with as_platform() as ctx:
        assert len(list_jobs(ctx).items) == 2


def test_a_unique_key_means_nothing_to_another_organisation(
    promise: Callable[..., UUID], database: Database, as_platform: Any
) -> None:
    first = promise("some.job", unique="import:7")
    with as_platform() as ctx:
        second = enqueue(ctx, "some.job", {}, unique="import:7")
    with as_platform() as ctx:
        assert enqueue(ctx, "some.job", {}, unique="import:7") == second != first


def test_two_transactions_promising_the_same_unique_job_at_once_make_one(
    database: Database, organisation: UUID
) -> None:
    ids: list[UUID] = []
    gate = threading.Barrier(8)

    def act() -> None:
        gate.wait()
        with database.context(SystemActor("test"), organisation) as ctx:
            ids.append(enqueue(ctx, "some.job", {}, unique="once"))

    threads = [threading.Thread(target=act) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1


@pytest.mark.parametrize(
    "args",
    [{"at": object()}, {"n": float("nan")}, {"s": "a\x00b"}, {"s": "\ud800"}, {"s": "x" * MAX_ARGS_BYTES}],
    ids=["not JSON", "NaN", "NUL", "lone surrogate", "too large"],
)
def test_arguments_that_cannot_be_stored_are_refused_before_the_transaction_suffers(
    args: dict[str, Any], as_organisation: Any
) -> None:
    with as_organisation() as ctx:
        with pytest.raises(ValueError):
            enqueue(ctx, "some.job", args)
        assert enqueue(ctx, "some.job", {"path": "C:\\u0000"})  # a backslash is no NUL


def test_a_delayed_promise_is_not_due_before_its_time(
    promise: Callable[..., UUID], ledger: Ledger, alter: Callable[..., None]
) -> None:
    job_id = promise("some.job", delay=timedelta(hours=1))
    with ledger.due() as rows:
        assert rows == []
    assert 3500 < (ledger.next_due() or 0) <= 3600
    assert ledger.claim(job_id, new_id(), lease=10) is None
    alter(job_id, available_at=timedelta(seconds=-1))
    with ledger.due() as rows:
        assert [row.id for row in rows] == [job_id]


def test_the_bell_rings_at_commit_and_not_before(database_url: str, as_organisation: Any) -> None:
    bell = Wakeups(database_url)
    assert bell.wait(1.0) is True  # whatever came before it listened
    while bell.wait(BELL_QUIET * 2):
        pass
    with as_organisation() as ctx:
        with ctx.session.begin_nested():
            enqueue(ctx, "some.job", {}, queue="interactive")
        assert bell.wait(0.1) is False
    assert bell.wait(2.0) is True
    bell.close()


def test_a_burst_rings_once_not_for_every_promise(database_url: str, promise: Callable[..., UUID]) -> None:
    bell = Wakeups(database_url)
    bell.wait(1.0)
    while bell.wait(BELL_QUIET * 2):
        pass
    for _ in range(20):
        promise("some.job")
    rings = 0
    while bell.wait(BELL_QUIET * 2):
        rings += 1
    assert 1 <= rings <= 5
    bell.close()


def test_a_tick_belongs_to_one_caller_and_never_returns(as_platform: Any) -> None:
    from datetime import UTC, datetime

    at = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    with as_platform() as ctx:
        assert tick(ctx, "nightly", at) is False  # an installation begins: nothing was missed
    with as_platform() as ctx:
        assert tick(ctx, "nightly", at + timedelta(minutes=5)) is True
        assert tick(ctx, "nightly", at + timedelta(minutes=5)) is False
        assert tick(ctx, "nightly", at) is False


def test_listing_pages_from_the_newest_and_needs_an_operator(
    promise: Callable[..., UUID], as_platform: Any, database: Database, organisation: UUID
) -> None:
    ids = [promise("some.job") for _ in range(5)]
    seen: list[UUID] = []
    page = CursorPage(limit=2)
    with as_platform() as ctx:
        while True:
            found = list_jobs(ctx, state="pending", page=page)
            seen += [job.id for job in found.items]
            if found.next_cursor is None:
                break
            page = CursorPage(limit=2, cursor=found.next_cursor)
        with pytest.raises(Invalid):
            list_jobs(ctx, state="lost")
        with pytest.raises(NotFound):
            get_job(ctx, new_id())
    assert seen == ids[::-1]
    with database.context(SystemActor("test"), organisation) as ctx, pytest.raises(Forbidden):
        list_jobs(ctx)


def test_only_a_failed_job_can_be_retried(promise: Callable[..., UUID], as_platform: Any) -> None:
    job_id = promise("some.job")
    with as_platform() as ctx, pytest.raises(Conflict):
        retry_job(ctx, job_id)
    with as_platform() as ctx:
        ctx.session.execute(text("UPDATE job SET state = 'failed', attempts = 5 WHERE id = :id"), {"id": job_id})
    with as_platform() as ctx:
        job = retry_job(ctx, job_id)
        assert (job.state, job.attempts) == ("pending", 0)


def test_no_statement_of_the_ledger_reads_the_finished_rows(database_url: str, as_platform: Any) -> None:
    from domain.kernel import ledger as statements

    with as_platform() as ctx:
        ctx.session.execute(
            text(
                "INSERT INTO job (id, name, queue, args, state, finished_at) "
                "SELECT gen_random_uuid(), 'a', 'default', '{}', "
                "CASE WHEN n % 1000 = 0 THEN 'queued' WHEN n % 999 = 0 THEN 'failed' ELSE 'done' END, now() "
                "FROM generate_series(1, 20000) n"
            )
        )
        ctx.session.execute(text("ANALYZE job"))
    values = {
        "id": new_id(),
        "token": new_id(),
        "worker": "w",
        "lease": timedelta(1),
        "delay": timedelta(1),
        "refund": 0,
        "error": None,
        "channel": "c",
        "limit": 100,
        "queue": "default",
        "age": timedelta(1),
        "ids": [new_id()],
        "before": UUID(int=1),
        "state": "done",
    }
    names = "_CLAIM _EXTEND _GIVE_BACK _DUE _NEXT_DUE _EXPIRED _UNCLAIMED _QUEUES_WAITING _RING_AGAIN _PURGE _DEPTH"
    with psycopg.connect(database_url) as connection:
        for name in names.split():
            plan = connection.execute(f"EXPLAIN {getattr(statements, name)}", values).fetchall()
            assert "Seq Scan on job" not in str(plan), (name, plan)


def test_a_queue_there_is_not_is_refused_at_once(as_organisation: Any) -> None:
    with as_organisation() as ctx, pytest.raises(ValueError, match="no queue 'fast'"):
        enqueue(ctx, "some.job", {}, queue="fast")
