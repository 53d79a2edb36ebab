from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from domain import audit
from domain.kernel.context import Ctx
from domain.kernel.db import Database
from domain.kernel.errors import Conflict, NotFound
from domain.kernel.ids import new_id
from domain.kernel.outbox import Job, enqueue
from workers import deadletters
from workers.registry import GiveUp, Registry
from workers.runner import Outcome, Runner


@pytest.fixture
def failing(registry: Registry) -> list[bool]:
    fails = [True]

    @registry.job("j", simple=True)
    def act(ctx: Ctx, args: dict[str, Any]) -> None:
        if fails[0]:
            raise GiveUp("No such language.")

    return fails


def test_an_operator_sees_failed_jobs_with_their_reason_and_not_their_arguments(
    failing: list[bool], runner: Runner, promise: Callable[..., UUID], database: Database, organisation: UUID
) -> None:
    failed, waiting = promise("j", {"text": "private"}), promise("j")
    runner.run(failed)
    (seen,) = deadletters.list_jobs(database).items
    assert (seen.id, seen.state, seen.last_error, seen.organisation_id) == (
        failed,
        "failed",
        "No such language.",
        organisation,
    )
    assert "private" not in repr(seen)
    assert {job.id for job in deadletters.list_jobs(database, state=None).items} == {failed, waiting}


def test_a_retried_job_runs_again_with_all_its_attempts_and_leaves_an_audit_entry(
    failing: list[bool],
    runner: Runner,
    promise: Callable[..., UUID],
    row: Callable[[UUID], Job],
    database: Database,
    as_organisation: Any,
) -> None:
    job_id = promise("j")
    assert runner.run(job_id) is Outcome.FAILED
    failing[0] = False
    assert deadletters.retry(database, job_id, operator="ada").state == "pending"
    assert runner.run(job_id) is Outcome.DONE
    assert row(job_id).attempts == 1
    with as_organisation() as ctx:
        found = audit.find(ctx)
        entries = [entry for entry in found.items if entry.action == "job.retried"]
    assert [str(entry.resource_id) for entry in entries] == [str(job_id)]


def test_only_a_failed_job_can_be_given_another_chance(
    promise: Callable[..., UUID], database: Database, as_platform: Any
) -> None:
    with pytest.raises(Conflict):
        deadletters.retry(database, promise("j"))
    with pytest.raises(NotFound):
        deadletters.retry(database, new_id())


def test_a_failed_job_of_the_platform_can_be_retried_too(
    failing: list[bool], runner: Runner, database: Database, as_platform: Any
) -> None:
    with as_platform() as ctx:
        job_id = enqueue(ctx, "j", {})
    assert runner.run(job_id) is Outcome.FAILED
    assert deadletters.retry(database, job_id).state == "pending"
