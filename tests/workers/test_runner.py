from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import structlog
from marshmallow import Schema, fields
from prometheus_client import REGISTRY
from redis import Redis
from sqlalchemy import func, select, update

from domain import identity
from domain.kernel.context import Ctx, SystemActor, Work
from domain.kernel.db import Database
from domain.kernel.errors import NotFound, Unavailable
from domain.kernel.ids import new_id
from domain.kernel.ledger import Ledger
from domain.kernel.outbox import Job, enqueue
from workers.limits import Interrupted, SoftLimit
from workers.registry import GiveUp, JobSpec, Registry, RetryLater
from workers.runner import LeaseLost, Outcome, Runner, backoff
from workers.sweeper import Sweeper

Promise = Callable[..., UUID]
Row = Callable[[UUID], Job]
Note = Callable[[Ctx, str], None]
Notes = Callable[[], list[str]]
NOW = timedelta(0)


def test_a_simple_job_and_its_done_are_one_transaction(
    registry: Registry, runner: Runner, promise: Promise, row: Row, note: Note, notes: Notes, organisation: UUID
) -> None:
    seen: list[Any] = []

    @registry.job("j", simple=True)
    def act(ctx: Ctx, args: dict[str, Any]) -> dict[str, int]:
        note(ctx, "done")
        seen.append((ctx.organisation_id, ctx.request_id, ctx.actor, args))
        return {"answer": 42}

    job_id = promise("j", {"a": 1})
    assert runner.run(job_id) is Outcome.DONE
    job = row(job_id)
    assert (job.state, job.result, job.attempts, job.lease_token) == ("done", {"answer": 42}, 1, None)
    assert job.finished_at is not None
    assert seen == [(organisation, "req-1", SystemActor("job:j"), {"a": 1})]
    assert notes() == ["done"]


def test_a_simple_job_that_raises_leaves_nothing_and_comes_again_later(
    registry: Registry, runner: Runner, promise: Promise, row: Row, note: Note, notes: Notes
) -> None:
    @registry.job("j", simple=True, retry_base=100)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        note(ctx, "half")
        raise RuntimeError("password=hunter2")

    job_id = promise("j")
    assert runner.run(job_id) is Outcome.RETRIED
    job = row(job_id)
    assert (job.state, job.attempts, notes()) == ("pending", 1, [])
    assert 45 < (job.available_at - job.started_at).total_seconds() <= 101  # type: ignore[operator]
    assert runner.run(job_id) is Outcome.NOTHING  # rung too early


def test_an_error_is_told_to_operators_by_kind_and_place_not_by_a_text_that_may_hold_secrets(
    registry: Registry, runner: Runner, promise: Promise, row: Row
) -> None:
    @registry.job("j", simple=True)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        raise RuntimeError("password=hunter2")

    job_id = promise("j")
    runner.run(job_id)
    error = row(job_id).last_error or ""
    assert error.startswith("RuntimeError in act, ")
    assert "hunter2" not in error


def test_a_finished_job_rung_again_does_nothing(
    registry: Registry, runner: Runner, promise: Promise, note: Note, notes: Notes
) -> None:
    @registry.job("j", simple=True)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        note(ctx, "once")

    job_id = promise("j")
    assert [runner.run(job_id) for _ in range(3)] == [Outcome.DONE, Outcome.NOTHING, Outcome.NOTHING]
    assert runner.run(new_id()) is Outcome.NOTHING
    assert notes() == ["once"]


def test_a_job_in_steps_completes_with_its_last_effect(
    registry: Registry, runner: Runner, promise: Promise, row: Row, note: Note, notes: Notes, published: list[Any]
) -> None:
    @registry.job("j", soft=60)
    def act(work: Work, args: dict[str, Any]) -> None:
        assert work.attempt == 1
        assert 55 < work.remaining() <= 60
        with work.transaction() as ctx:
            note(ctx, "1")
        work.publish(f"job:{work.job_id}", 1, "step", {"n": 1})
        work.heartbeat()
        with work.transaction() as ctx:
            note(ctx, "2")
            work.complete(ctx, {"steps": 2})

    job_id = promise("j")
    assert runner.run(job_id) is Outcome.DONE
    assert (row(job_id).state, row(job_id).result, notes()) == ("done", {"steps": 2}, ["1", "2"])
    assert published == [(f"job:{job_id}", 1, "step", {"n": 1})]


def test_a_transaction_within_another_of_the_same_job_is_a_fault_and_not_a_wait(
    registry: Registry, runner: Runner, promise: Promise, row: Row
) -> None:
    @registry.job("j")
    def act(work: Work, args: dict[str, Any]) -> None:
        with work.transaction(), work.transaction():
            pass

    job_id = promise("j", max_attempts=1)
    assert runner.run(job_id) is Outcome.FAILED
    assert (row(job_id).last_error or "").startswith("RuntimeError")


def test_a_job_that_forgets_to_complete_is_completed_with_what_it_returns(
    registry: Registry, runner: Runner, promise: Promise, row: Row
) -> None:
    @registry.job("j")
    def act(work: Work, args: dict[str, Any]) -> dict[str, int]:
        return {"n": 1}

    job_id = promise("j")
    assert runner.run(job_id) is Outcome.DONE
    assert (row(job_id).state, row(job_id).result) == ("done", {"n": 1})


def test_completing_in_a_transaction_that_rolls_back_completes_nothing(
    registry: Registry, runner: Runner, promise: Promise, row: Row
) -> None:
    @registry.job("j")
    def act(work: Work, args: dict[str, Any]) -> None:
        with work.transaction() as ctx:
            work.complete(ctx)
            raise RuntimeError

    job_id = promise("j")
    assert runner.run(job_id) is Outcome.RETRIED
    assert row(job_id).state == "pending"


def test_an_error_after_completion_does_not_run_the_job_again(
    registry: Registry, runner: Runner, promise: Promise, row: Row
) -> None:
    @registry.job("j")
    def act(work: Work, args: dict[str, Any]) -> None:
        with work.transaction() as ctx:
            work.complete(ctx)
        raise RuntimeError

    job_id = promise("j")
    assert runner.run(job_id) is Outcome.DONE
    assert row(job_id).state == "done"


def test_a_worker_whose_lease_was_taken_over_commits_nothing_more(
    registry: Registry,
    runner: Runner,
    ledger: Ledger,
    promise: Promise,
    row: Row,
    alter: Callable[..., None],
    note: Note,
    notes: Notes,
) -> None:
    @registry.job("j")
    def act(work: Work, args: dict[str, Any]) -> None:
        with work.transaction() as ctx:
            note(ctx, "before")
        alter(work.job_id, lease_until=timedelta(seconds=-1))
        assert [each.id for each in ledger.expired()] == [work.job_id]
        assert ledger.claim(work.job_id, new_id(), lease=10) is not None
        with pytest.raises(LeaseLost):
            work.heartbeat()
        with work.transaction() as ctx:
            note(ctx, "after")

    job_id = promise("j")
    assert runner.run(job_id) is Outcome.LOST
    assert (row(job_id).state, row(job_id).attempts, notes()) == ("running", 2, ["before"])


def test_a_simple_job_whose_lease_was_taken_over_rolls_back(
    registry: Registry, runner: Runner, ledger: Ledger, promise: Promise, alter: Any, note: Note, notes: Notes
) -> None:
    @registry.job("j", simple=True)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        note(ctx, "effect")
        alter(job_id, lease_until=timedelta(seconds=-1))
        ledger.expired()

    job_id = promise("j")
    assert runner.run(job_id) is Outcome.LOST
    assert notes() == []


def test_a_heartbeat_within_a_transaction_does_not_wait_for_itself(
    registry: Registry, runner: Runner, promise: Promise
) -> None:
    @registry.job("j")
    def act(work: Work, args: dict[str, Any]) -> None:
        with work.transaction() as ctx:
            started = time.monotonic()
            work.heartbeat()
            assert time.monotonic() - started < 1
            work.complete(ctx)

    assert runner.run(promise("j")) is Outcome.DONE


def test_a_job_that_keeps_failing_is_a_dead_letter_and_its_hook_says_so_in_one_transaction(
    registry: Registry, runner: Runner, promise: Promise, row: Row, alter: Any, note: Note, notes: Notes
) -> None:
    def failed(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
        note(ctx, f"{args['n']}: {reason}")

    @registry.job("j", simple=True, on_failed=failed)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        raise Unavailable("The model is away.")

    job_id = promise("j", {"n": 7}, max_attempts=3)
    outcomes = []
    for _ in range(3):
        alter(job_id, available_at=NOW)
        outcomes.append(runner.run(job_id))
    assert outcomes == [Outcome.RETRIED, Outcome.RETRIED, Outcome.FAILED]
    job = row(job_id)
    assert (job.state, job.attempts, job.last_error) == ("failed", 3, "The model is away.")
    assert notes() == ["7: The model is away."]
    assert runner.run(job_id) is Outcome.NOTHING


def test_a_job_whose_workers_kept_dying_fails_without_another_run(
    registry: Registry, runner: Runner, ledger: Ledger, promise: Promise, row: Row, alter: Any, note: Note, notes: Notes
) -> None:
    @registry.job("j", on_failed=lambda ctx, args, reason: note(ctx, reason))
    def act(work: Work, args: dict[str, Any]) -> None:
        raise AssertionError("it must not run")

    job_id = promise("j", max_attempts=2)
    for _ in range(2):
        assert ledger.claim(job_id, new_id(), lease=10) is not None
        alter(job_id, lease_until=timedelta(seconds=-1))
        ledger.expired()
    assert runner.run(job_id) is Outcome.FAILED
    assert (row(job_id).state, row(job_id).attempts) == ("failed", 2)
    assert notes() == ["The worker stopped without an answer."]


def test_a_failure_hook_that_raises_is_noted_and_undone_but_the_job_has_failed(
    registry: Registry, runner: Runner, promise: Promise, row: Row, note: Note, notes: Notes
) -> None:
    def failed(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
        note(ctx, "half")
        raise ValueError

    @registry.job("j", simple=True, on_failed=failed)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        raise GiveUp("No such language.")

    job_id = promise("j")
    assert runner.run(job_id) is Outcome.FAILED
    assert (row(job_id).last_error or "").startswith("No such language. (on_failed: ValueError in failed")
    assert notes() == []


class Numbered(Schema):
    number = fields.Integer(required=True, strict=True)


def test_arguments_that_do_not_fit_are_a_dead_letter_at_once_and_named(
    registry: Registry, runner: Runner, promise: Promise, row: Row
) -> None:
    ran: list[Any] = []

    @registry.job("j", simple=True, args=Numbered)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        ran.append(args)

    good, bad = promise("j", {"number": 3}), promise("j", {"number": "three", "more": 1})
    assert (runner.run(good), runner.run(bad)) == (Outcome.DONE, Outcome.FAILED)
    assert ran == [{"number": 3}]
    assert row(bad).last_error == "The arguments do not fit: number: Not a valid integer.; more: Unknown field."


@pytest.mark.parametrize("error", [NotFound("The brain is gone."), GiveUp("It never will.")])
def test_an_error_that_a_repeat_would_meet_again_ends_the_job_at_once(
    error: Exception, registry: Registry, runner: Runner, promise: Promise, row: Row
) -> None:
    @registry.job("j", simple=True)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        raise error

    job_id = promise("j")
    assert runner.run(job_id) is Outcome.FAILED
    assert row(job_id).last_error == str(error)


def test_a_job_may_say_when_to_come_again(registry: Registry, runner: Runner, promise: Promise, row: Row) -> None:
    @registry.job("j", simple=True)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        raise RetryLater("The provider asks for a pause.", seconds=30)

    job_id = promise("j")
    assert runner.run(job_id) is Outcome.RETRIED
    job = row(job_id)
    assert 29 < (job.available_at - job.started_at).total_seconds() < 32  # type: ignore[operator]


def test_a_job_this_worker_does_not_know_waits_for_one_that_does(runner: Runner, promise: Promise, row: Row) -> None:
    job_id = promise("from.the.next.release")
    assert runner.run(job_id) is Outcome.RETRIED
    assert row(job_id).last_error == "This worker knows no job 'from.the.next.release'."


def test_at_the_soft_limit_the_job_can_still_keep_what_it_has(
    registry: Registry, runner: Runner, promise: Promise, note: Note, notes: Notes
) -> None:
    @registry.job("j", soft=0.2, hard=20)
    def act(work: Work, args: dict[str, Any]) -> None:
        try:
            time.sleep(10)
        except SoftLimit:
            with work.transaction() as ctx:
                note(ctx, "partial")
                work.complete(ctx)

    started = time.monotonic()
    assert runner.run(promise("j")) is Outcome.DONE
    assert time.monotonic() - started < 2
    assert notes() == ["partial"]


def test_a_soft_limit_in_the_middle_of_a_statement_rolls_back_and_the_next_job_runs(
    registry: Registry, runner: Runner, promise: Promise, row: Row, note: Note, notes: Notes
) -> None:
    from sqlalchemy import text

    @registry.job("slow", simple=True, soft=0.2, hard=20)
    def slow(ctx: Ctx, args: dict[str, Any]) -> None:
        note(ctx, "lost")
        ctx.session.execute(text("SELECT pg_sleep(5)"))

    @registry.job("next", simple=True)
    def following(ctx: Ctx, args: dict[str, Any]) -> None:
        note(ctx, "next")

    job_id = promise("slow")
    assert runner.run(job_id) is Outcome.RETRIED
    assert row(job_id).state == "pending"
    assert runner.run(promise("next")) is Outcome.DONE
    assert notes() == ["next"]


def test_a_job_cut_short_by_a_stop_is_handed_back_without_losing_an_attempt(
    registry: Registry, runner: Runner, promise: Promise, row: Row
) -> None:
    @registry.job("j")
    def act(work: Work, args: dict[str, Any]) -> None:
        try:
            raise Interrupted
        except Exception:
            pytest.fail("a job that catches everything must not catch this")

    job_id = promise("j")
    with pytest.raises(Interrupted):
        runner.run(job_id)
    assert (row(job_id).state, row(job_id).attempts) == ("pending", 0)


def test_a_job_of_the_platform_runs_without_an_organisation(
    registry: Registry, runner: Runner, database: Database, as_platform: Any
) -> None:
    from domain.kernel.outbox import enqueue

    seen: list[Any] = []

    @registry.job("j", simple=True)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        seen.append(ctx.organisation_id)

    with as_platform() as ctx:
        job_id = enqueue(ctx, "j", {})
    assert runner.run(job_id) is Outcome.DONE
    assert seen == [None]


def test_a_claim_repeated_under_its_token_counts_one_attempt(ledger: Ledger, promise: Promise) -> None:
    job_id, token = promise("j"), new_id()
    first = ledger.claim(job_id, token, lease=10)
    again = ledger.claim(job_id, token, lease=10)  # its answer was lost on the way
    assert first is not None
    assert again is not None
    assert (first.attempt, again.attempt) == (1, 1)
    assert ledger.claim(job_id, new_id(), lease=10) is None


def test_many_leases_are_kept_at_once_without_those_that_are_others_or_locked(
    ledger: Ledger, promise: Promise, database: Database, row: Any
) -> None:
    claims = [ledger.claim(promise("j"), new_id(), lease=10) for _ in range(4)]
    held = [claim for claim in claims if claim is not None]
    assert len(held) == 4
    mine, lost, over, locked = held
    with database.session(None, platform=True) as session:
        session.execute(update(Job).where(Job.id == lost.id).values(lease_token=new_id()))
    assert ledger.give_back(over)
    before = {claim.id: row(claim.id).lease_until for claim in held}
    with database.session(None, platform=True) as session:  # as the job's own transaction does
        session.execute(select(Job.id).where(Job.id == locked.id).with_for_update(key_share=True))
        ledger.extend_all(held, lease=600)
    moved = {claim.id for claim in held if row(claim.id).lease_until != before[claim.id]}
    assert moved == {mine.id}
    ledger.extend_all([locked], lease=600)
    assert row(locked.id).lease_until > before[locked.id] + timedelta(seconds=500)
    ledger.extend_all([], lease=600)


def test_waits_between_attempts_double_up_to_a_cap_and_are_spread() -> None:
    spec = JobSpec("j", lambda: None, retry_base=1, retry_cap=20)
    for attempt, most in ((1, 1), (2, 2), (3, 4), (4, 8), (6, 20), (1000, 20)):
        waits = {backoff(attempt, spec) for _ in range(50)}
        assert most / 2 <= min(waits) <= max(waits) <= most
        assert len(waits) > 1


def test_every_attempt_is_counted_by_job_queue_and_outcome(
    registry: Registry, runner: Runner, promise: Promise, valkey: Redis, ledger: Ledger
) -> None:
    def counted(outcome: str) -> float:
        labels = {"job": "counted", "queue": "interactive", "outcome": outcome}
        return REGISTRY.get_sample_value("thalweg_jobs_attempts_total", labels) or 0.0

    @registry.job("counted", simple=True)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        if args["fails"]:
            raise RuntimeError

    before = counted("done"), counted("retried")
    for fails in (False, True, True):
        runner.run(promise("counted", {"fails": fails}, queue="interactive"))
    assert (counted("done") - before[0], counted("retried") - before[1]) == (1, 2)
    Sweeper(ledger, valkey).measure()
    rows = REGISTRY.get_sample_value("thalweg_jobs_rows", {"queue": "interactive", "state": "pending"})
    assert rows == 2


def test_log_lines_of_a_job_carry_its_id_name_and_organisation(
    registry: Registry, runner: Runner, promise: Promise, organisation: UUID
) -> None:
    seen: list[dict[str, Any]] = []

    @registry.job("j", simple=True)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        seen.append(structlog.contextvars.get_contextvars())

    job_id = promise("j")
    runner.run(job_id)
    (line,) = seen
    assert (line["job_id"], line["job"], line["organisation"], line["request_id"]) == (
        str(job_id),
        "j",
        str(organisation),
        "req-1",
    )
    assert "job_id" not in structlog.contextvars.get_contextvars()


def test_jobs_of_one_organisation_beyond_their_number_are_put_back_without_using_up_an_attempt(
    registry: Registry,
    runner: Runner,
    ledger: Ledger,
    promise: Promise,
    row: Row,
    note: Note,
    notes: Notes,
    as_platform: Callable[..., Any],
) -> None:
    @registry.job("j", of_one=2, simple=True)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        note(ctx, args["who"])

    registry.job("other", of_one=2, simple=True)(lambda ctx, args: note(ctx, "another job"))
    ours = [promise("j", {"who": f"ours {number}"}) for number in range(5)]
    claims = [runner.claim(job_id) for job_id in ours[:4]]
    assert all(claims)
    # All four were claimed before one was performed: the first two run, and neither waits for the other.
    assert [runner.perform(claim) for claim in claims[2:] if claim] == [Outcome.POSTPONED] * 2
    for job_id in ours[2:4]:
        job = row(job_id)
        assert (job.state, job.attempts, job.lease_token, job.last_error) == ("pending", 0, None, None)
        assert 0.5 < (job.available_at - job.started_at).total_seconds() < 5  # type: ignore[operator]
    assert runner.run(promise("other")) is Outcome.DONE
    with as_platform() as ctx:
        theirs = identity.create_organisation(ctx, name=f"Org {new_id()}").id
    with runner.database.context(SystemActor("test"), theirs) as ctx:
        stranger = enqueue(ctx, "j", {"who": "theirs"})
    assert runner.run(stranger) is Outcome.DONE
    assert runner.run(ours[4]) is Outcome.POSTPONED
    assert [runner.perform(claim) for claim in claims[:2] if claim] == [Outcome.DONE] * 2
    assert notes() == ["another job", "ours 0", "ours 1", "theirs"]
    with as_platform() as ctx:
        ctx.session.execute(update(Job).where(Job.id == ours[4]).values(available_at=func.now() - NOW))
    assert runner.run(ours[4]) is Outcome.DONE


def test_a_dead_worker_keeps_no_place_of_its_organisation(
    registry: Registry, runner: Runner, promise: Promise, as_platform: Callable[..., Any]
) -> None:
    registry.job("j", of_one=1, simple=True)(lambda ctx, args: None)
    first, second = promise("j"), promise("j")
    assert runner.claim(first)
    with as_platform() as ctx:
        ctx.session.execute(update(Job).where(Job.id == first).values(lease_until=func.now() - timedelta(seconds=1)))
    assert runner.run(second) is Outcome.DONE


def test_the_more_jobs_of_an_organisation_wait_the_longer_each_does(
    registry: Registry, runner: Runner, promise: Promise, row: Row
) -> None:
    registry.job("j", of_one=1, simple=True)(lambda ctx, args: None)
    assert runner.claim(promise("j"))
    last = [promise("j") for _ in range(41)][-1]
    assert runner.run(last) is Outcome.POSTPONED
    job = row(last)
    assert 14 < (job.available_at - job.started_at).total_seconds() < 26  # type: ignore[operator]
