"""The outbox: work promised in the caller's transaction, so that promise and cause commit or vanish together.

Public: `Job` (the row), `CronTick`, `enqueue`, `tick`, the operator's verbs `list_jobs`, `get_job`, `retry_job`.
How a row is then handed out, leased, finished and swept stands in `domain.kernel.ledger`.

The queue's clock is the database's: several processes agree on it, and a job is never early or late by a skewed host.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    desc,
    event,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from domain.kernel.context import Ctx
from domain.kernel.db import Base
from domain.kernel.errors import Conflict, Invalid, NotFound
from domain.kernel.ids import new_id
from domain.kernel.pages import CursorPage, Page

CHANNEL = "thalweg_outbox"
QUEUES = ("interactive", "default", "untrusted", "fetching")
"""`interactive`: someone waits; `default`: nobody does; `untrusted`: what strangers sent, parsed in a child process;
`fetching`: waits for servers that strangers name."""
STATES = ("pending", "queued", "running", "done", "failed")
MAX_ARGS_BYTES = 64 * 1024


class Job(Base):
    """One promised piece of work. Not organisation-owned in the sense of `kernel.db`: the platform's own jobs have no
    organisation, and only the ledger and operators read these rows."""

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'queued', 'running', 'done', 'failed')", name="state"),
        CheckConstraint("max_attempts > 0", name="max_attempts"),
        # Partial: each holds only the rows in flight, however many finished rows lie behind them.
        Index("ix_job_pending", "available_at", "id", postgresql_where=text("state = 'pending'")),
        Index("ix_job_queued", "queue", "rung_at", postgresql_where=text("state = 'queued'")),
        Index("ix_job_running", "lease_until", postgresql_where=text("state = 'running'")),
        Index("ix_job_failed", "id", postgresql_where=text("state = 'failed'")),
        # Keys of one organisation never meet another's; the platform's (NULL) are one more such space.
        Index(
            "uq_job_unique_key",
            "organisation_id",
            "unique_key",
            unique=True,
            postgresql_where=text("unique_key IS NOT NULL"),
            postgresql_nulls_not_distinct=True,
        ),
        {
            # Every row is updated three times within seconds: leave room on its page, and vacuum by count, not share.
            "postgresql_with": {
                "fillfactor": "70",
                "autovacuum_vacuum_scale_factor": "0",
                "autovacuum_vacuum_threshold": "2000",
                "autovacuum_vacuum_insert_scale_factor": "0.1",
                "autovacuum_analyze_scale_factor": "0.05",
            }
        },
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    organisation_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("organisation.id", ondelete="CASCADE", name="fk_job_organisation_id")
    )
    name: Mapped[str] = mapped_column(String(120))
    queue: Mapped[str] = mapped_column(String(60))
    args: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(10), server_default="pending")
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    max_attempts: Mapped[int] = mapped_column(Integer, server_default="5")
    lease_token: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(120))
    rung_at: Mapped[datetime | None]
    unique_key: Mapped[str | None] = mapped_column(String(200))
    last_error: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str] = mapped_column(String(128), server_default="-")
    traceparent: Mapped[str | None] = mapped_column(String(55))
    """The span in which the promise was made (W3C Trace Context); empty where nothing is traced."""
    result: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class CronTick(Base):
    """The last tick of a cron entry that became a job. Outlives the job's row, so a purge never repeats a tick."""

    __tablename__ = "cron_tick"

    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    last_tick: Mapped[datetime]


def enqueue(
    ctx: Ctx,
    job: str,
    args: Mapping[str, Any],
    *,
    queue: str = "default",
    delay: timedelta | None = None,
    max_attempts: int = 5,
    unique: str | None = None,
) -> UUID:
    """Promise `job` with JSON `args` (at most 64 KiB; pass ids, not content) and answer with the row's id.

    The row belongs to `ctx`'s organisation and commits with `ctx`'s transaction. With `unique`, a second promise under
    the same key within the organisation does nothing and answers with the first id, for as long as that row is kept.

    Raises ValueError for a queue there is not, and for arguments that are not JSON or too large.
    """
    if queue not in QUEUES:
        raise ValueError(f"there is no queue {queue!r}, only {', '.join(QUEUES)}")
    payload = _json(args)
    session = ctx.session
    if session.autoflush:
        session.flush()  # rows the job refers to, above all a new organisation, go first
    values = {
        "id": new_id(),
        "organisation_id": ctx.organisation_id,
        "name": job,
        "queue": queue,
        "args": payload,
        "available_at": func.now() + (delay or timedelta()),
        "max_attempts": max_attempts,
        "unique_key": unique,
        "request_id": ctx.request_id[:128],
        "traceparent": _traceparent(),
    }
    statement = insert(Job).values(values)
    _ring_at_commit(session, queue)
    if unique is None:
        session.execute(statement)
        return UUID(str(values["id"]))
    while True:
        made = session.execute(statement.on_conflict_do_nothing().returning(Job.id)).scalar()
        if made is not None:
            return made
        first = session.execute(
            select(Job.id).where(
                Job.organisation_id.is_not_distinct_from(ctx.organisation_id), Job.unique_key == unique
            )
        ).scalar()
        if first is not None:
            return first
        # The first row was purged between the two statements: try again.


def tick(ctx: Ctx, entry: str, at: datetime) -> bool:
    """Claim tick `at` (UTC) of cron `entry`: True for exactly one caller, ever, and only for ticks after the last one.

    The first tick an installation sees is only noted: nothing was missed yet.
    """
    noted = insert(CronTick).values(name=entry, last_tick=at).on_conflict_do_nothing().returning(CronTick.name)
    if ctx.session.execute(noted).scalar() is not None:
        return False
    moved = (
        update(CronTick)
        .where(CronTick.name == entry, CronTick.last_tick < at)
        .values(last_tick=at)
        .returning(CronTick.name)
    )
    return ctx.session.execute(moved).scalar() is not None


# --- for operators -----------------------------------------------------------------------------


def list_jobs(ctx: Ctx, *, state: str | None = None, page: CursorPage | None = None) -> Page[Job]:
    """Jobs of every organisation, newest first. Needs the permission `admin`. Raises Invalid for an unknown state."""
    ctx.require("admin")
    if state is not None and state not in STATES:
        raise Invalid(f"A job is never {state!r}: it is one of {', '.join(STATES)}.")
    page = page or CursorPage()
    query = select(Job).order_by(desc(Job.id)).limit(page.limit + 1)
    if state is not None:
        query = query.where(Job.state == state)
    if page.cursor:
        query = query.where(Job.id < UUID(page.cursor))
    rows = list(ctx.session.execute(query).scalars())
    more = len(rows) > page.limit
    return Page(rows[: page.limit], next_cursor=str(rows[page.limit - 1].id) if more else None)


def get_job(ctx: Ctx, job_id: UUID) -> Job:
    """One job by id. Needs the permission `admin`. Raises NotFound."""
    ctx.require("admin")
    found = ctx.session.get(Job, job_id, populate_existing=True)
    if found is None:
        raise NotFound("There is no such job.")
    return found


def retry_job(ctx: Ctx, job_id: UUID) -> Job:
    """Give a failed job all its attempts again. Needs the permission `admin`.

    Raises NotFound, and Conflict when the job has not failed.
    """
    found = get_job(ctx, job_id)
    moved = ctx.session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == "failed")
        .values(
            state="pending", attempts=0, available_at=func.now(), finished_at=None, lease_token=None, lease_until=None
        )
        .returning(Job.queue)
    ).scalar()
    if moved is None:
        raise Conflict("Only a failed job can be retried.", state=found.state)
    _ring_at_commit(ctx.session, moved)
    return get_job(ctx, job_id)


# --- the bell ----------------------------------------------------------------------------------

# NOTIFY takes a lock that serialises the commits of all notifying transactions of the cluster, so a busy process rings
# at most once in this time. The relay polls fast for BELL_HOT after each ring, which covers the promises in between.
BELL_QUIET = 0.2
BELL_HOT = 1.0
_rung: dict[str, float] = {}
_rung_lock = threading.Lock()
_QUEUES = "thalweg.outbox.queues"


def _ring_at_commit(session: Session, queue: str) -> None:
    waiting: set[str] | None = session.info.get(_QUEUES)
    if waiting is None:
        waiting = session.info[_QUEUES] = set()
        event.listen(session, "before_commit", _notify)
    waiting.add(queue)


def _notify(session: Session) -> None:
    waiting: set[str] = session.info[_QUEUES]
    if not waiting or session.in_nested_transaction():  # a savepoint's end is no commit
        return
    now = time.monotonic()
    with _rung_lock:
        due = [queue for queue in waiting if now - _rung.get(queue, -BELL_QUIET) >= BELL_QUIET]
        for queue in due:
            _rung[queue] = now
    waiting.clear()
    for queue in due:
        session.execute(select(func.pg_notify(literal(CHANNEL), literal(queue))))


def _traceparent() -> str | None:
    # A process that traces has imported this long ago; in any other one there is no span to ask for.
    tracing = sys.modules.get("opentelemetry.trace")
    if tracing is None:
        return None
    span = tracing.get_current_span().get_span_context()
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}" if span.is_valid else None


_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # an escaped NUL, which jsonb cannot hold


def _json(args: Mapping[str, Any]) -> dict[str, Any]:
    try:
        written = json.dumps(dict(args), allow_nan=False, ensure_ascii=False)
        size = len(written.encode())  # refuses lone surrogates, as jsonb would
    except (TypeError, ValueError, RecursionError) as problem:
        raise ValueError(f"job arguments must be JSON: {problem}") from problem
    if size > MAX_ARGS_BYTES:
        raise ValueError(f"job arguments are {size} bytes, at most {MAX_ARGS_BYTES} are allowed: pass an id")
    if _NUL.search(written):
        raise ValueError("job arguments must not hold NUL characters")
    return dict(args)
