"""What operators do with jobs: look at them, and give a failed one another chance (`thalweg jobs list|retry`).

Verbs take a `Database` and open their own transaction. A retry leaves an audit entry in the job's organisation.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import audit
from domain.kernel import outbox
from domain.kernel.context import Ctx, SystemActor
from domain.kernel.db import Database
from domain.kernel.pages import CursorPage, Page


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as an operator sees it; its arguments and result stay out of sight. Times are UTC."""

    id: UUID
    name: str
    queue: str
    state: str
    organisation_id: UUID | None
    attempts: int
    max_attempts: int
    last_error: str | None
    worker: str | None
    request_id: str
    created_at: datetime
    available_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def list_jobs(database: Database, *, state: str | None = "failed", page: CursorPage | None = None) -> Page[JobView]:
    """Jobs in `state` (None: in any), newest first. Raises domain.kernel.errors.Invalid for an unknown state."""
    with _platform(database, "jobs list") as ctx:
        found = outbox.list_jobs(ctx, state=state, page=page)
        return Page([_view(job) for job in found.items], next_cursor=found.next_cursor)


def retry(database: Database, job_id: UUID, *, operator: str = "operator") -> JobView:
    """Make a failed job pending again, with all its attempts.

    Raises domain.kernel.errors.NotFound, and Conflict when the job has not failed.
    """
    with _platform(database, f"jobs retry by {operator}") as ctx:
        organisation = outbox.get_job(ctx, job_id).organisation_id
    # In the job's organisation, so that the audit entry stands in the chain of those whom it concerns.
    with database.context(
        SystemActor(f"jobs retry by {operator}"), organisation, frozenset({"admin"}), platform=organisation is None
    ) as ctx:
        job = outbox.retry_job(ctx, job_id)
        if organisation is not None:
            audit.record(ctx, "job.retried", resource_type="job", resource_id=str(job.id), details={"job": job.name})
        return _view(job)


def _platform(database: Database, reason: str) -> AbstractContextManager[Ctx]:
    return database.context(SystemActor(reason), None, frozenset({"admin"}), platform=True)


def _view(job: outbox.Job) -> JobView:
    return JobView(
        job.id,
        job.name,
        job.queue,
        job.state,
        job.organisation_id,
        job.attempts,
        job.max_attempts,
        job.last_error,
        job.worker,
        job.request_id,
        job.created_at,
        job.available_at,
        job.started_at,
        job.finished_at,
    )
