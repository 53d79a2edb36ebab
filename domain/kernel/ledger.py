"""The ledger of jobs: who may run which outbox row, until when, and what became of it.

Public: `Ledger` (claims, leases, sweeps, over a connection of its own), `Claim`, `hold` and `finish` (which belong into
the transaction of a job's effect), `fail`, `Wakeups` (the outbox bell), `LedgerAway`, `LeaseLost`.

Ledger statements commit without waiting for the disk. Whatever a crash of the database takes back, a claim, a lease, a
postponed retry, only returns the row to an earlier state from which it is handed out again; effects are committed
durably, in the job's own transaction, and check the lease there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any, Literal, TypeVar
from uuid import UUID

import psycopg
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from domain.kernel.context import Ctx
from domain.kernel.outbox import CHANNEL

T = TypeVar("T")


class LedgerAway(Exception):
    """The database did not answer within the ledger's patience."""


class LeaseLost(Exception):
    """Another worker has taken the job over, or it was finished: whatever this one was doing must not be committed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on one row. `attempt` is 1 on the first run; past `max_attempts` the job is to be failed, not run."""

    id: UUID
    token: UUID
    organisation_id: UUID | None
    name: str
    queue: str
    args: dict[str, Any]
    attempt: int
    max_attempts: int
    request_id: str
    last_error: str | None
    waited: float
    """Seconds from the moment the job could run to this claim."""
    traceparent: str | None = None
    """The span in which the job was promised (W3C Trace Context)."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A row handed to the queue."""

    id: UUID
    name: str
    queue: str


@dataclass(frozen=True, slots=True)
class Depth:
    """How many rows of a queue are in a state, and the age in seconds of the one that has waited longest."""

    queue: str
    state: str
    count: int
    oldest: float


# --- within the job's own transaction ----------------------------------------------------------

_HOLD = text("SELECT 1 FROM job WHERE id = :id AND lease_token = :token AND state = 'running' FOR NO KEY UPDATE")
_FINISH = text(
    "UPDATE job SET state = 'done', finished_at = clock_timestamp(), lease_token = NULL, lease_until = NULL, "
    "result = :result WHERE id = :id AND lease_token = :token AND state = 'running'"
).bindparams(bindparam("result", type_=JSONB(none_as_null=True)))
_FAIL = text(
    "UPDATE job SET state = 'failed', finished_at = clock_timestamp(), lease_token = NULL, lease_until = NULL, "
    "attempts = LEAST(attempts, max_attempts), last_error = :error "
    "WHERE id = :id AND lease_token = :token AND state = 'running'"
)


def hold(ctx: Ctx, claim: Claim) -> None:
    """Lock the job's row for the rest of `ctx`'s transaction. Raises LeaseLost when the lease has gone."""
    if ctx.session.execute(_HOLD, {"id": claim.id, "token": claim.token}).first() is None:
        raise LeaseLost(str(claim.id))


def finish(ctx: Ctx, claim: Claim, result: Mapping[str, Any] | None = None) -> None:
    """Mark the job done in `ctx`'s transaction. Raises LeaseLost, which must roll the transaction back."""
    _settle(ctx, _FINISH, {"id": claim.id, "token": claim.token, "result": None if result is None else dict(result)})


def fail(ctx: Ctx, claim: Claim, error: str) -> None:
    """Make the job a dead letter in `ctx`'s transaction. `error` is for operators and must be safe to show."""
    _settle(ctx, _FAIL, {"id": claim.id, "token": claim.token, "error": error})


def _settle(ctx: Ctx, statement: Any, values: dict[str, Any]) -> None:
    if ctx.session.execute(statement, values).rowcount != 1:  # type: ignore[attr-defined]
        raise LeaseLost(str(values["id"]))


# --- the ledger's own connection ---------------------------------------------------------------

_CLAIM = """
UPDATE job SET state = 'running', lease_token = %(token)s, worker = %(worker)s, started_at = clock_timestamp(),
       lease_until = clock_timestamp() + %(lease)s,
       attempts = CASE WHEN lease_token = %(token)s THEN attempts ELSE attempts + 1 END
 WHERE id = %(id)s
   AND (   (state IN ('pending', 'queued') AND available_at <= clock_timestamp())
        OR (state = 'running' AND (lease_until < clock_timestamp() OR lease_token = %(token)s)))
RETURNING organisation_id, name, queue, args, attempts, max_attempts, request_id, last_error,
          extract(epoch FROM clock_timestamp() - available_at)::float8, traceparent
"""
# The row may be locked by the job's own open transaction: nobody can take it then, and waiting would be a deadlock.
_EXTEND = """
WITH mine AS (
    SELECT id FROM job WHERE id = %(id)s AND lease_token = %(token)s AND state = 'running'
       FOR NO KEY UPDATE SKIP LOCKED),
moved AS (UPDATE job SET lease_until = clock_timestamp() + %(lease)s FROM mine WHERE job.id = mine.id RETURNING 1)
SELECT EXISTS (SELECT 1 FROM job WHERE id = %(id)s AND lease_token = %(token)s AND state = 'running')
"""
_EXTEND_ALL = """
WITH mine AS (
    SELECT id FROM job WHERE id = ANY(%(ids)s) AND lease_token = ANY(%(tokens)s) AND state = 'running'
       FOR NO KEY UPDATE SKIP LOCKED)
UPDATE job SET lease_until = clock_timestamp() + %(lease)s FROM mine WHERE job.id = mine.id RETURNING job.id
"""
# Two looks, as each state is a partial index. A dead worker's jobs are no company once their leases have run out.
_COMPANY = """
SELECT (SELECT count(*) FROM job other
         WHERE other.state = 'running' AND other.name = mine.name AND other.organisation_id = mine.organisation_id
           AND other.lease_until > clock_timestamp() AND (other.started_at, other.id) < (mine.started_at, mine.id)),
       (SELECT count(*) FROM job other
         WHERE other.state = 'pending' AND other.name = mine.name AND other.organisation_id = mine.organisation_id)
  FROM job mine WHERE mine.id = %(id)s AND mine.lease_token = %(token)s
"""
# A delay of nothing rings at once; any other is met by the relay, which looks when the next row falls due.
_GIVE_BACK = """
WITH given AS (
    UPDATE job SET state = 'pending', available_at = clock_timestamp() + %(delay)s, lease_token = NULL,
           lease_until = NULL, attempts = attempts - %(refund)s, last_error = COALESCE(%(error)s, last_error)
     WHERE id = %(id)s AND lease_token = %(token)s AND state = 'running' RETURNING queue)
SELECT pg_notify(%(channel)s, queue) FROM given
"""
_DUE = """
WITH due AS (
    SELECT id FROM job WHERE state = 'pending' AND available_at <= clock_timestamp()
     ORDER BY available_at, id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE job SET state = 'queued', rung_at = clock_timestamp() FROM due WHERE job.id = due.id
RETURNING job.id, job.name, job.queue, job.available_at
"""
_NEXT_DUE = """
SELECT extract(epoch FROM min(available_at) - clock_timestamp())::float8 FROM job WHERE state = 'pending'
"""
_EXPIRED = """
WITH gone AS (
    SELECT id FROM job WHERE state = 'running' AND lease_until < clock_timestamp()
     ORDER BY lease_until LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED),
back AS (
    UPDATE job SET state = 'pending', available_at = clock_timestamp(), lease_token = NULL, lease_until = NULL,
           last_error = 'The worker stopped without an answer.'
      FROM gone WHERE job.id = gone.id RETURNING job.id, job.name, job.queue)
SELECT id, name, queue, pg_notify(%(channel)s, queue) FROM back
"""
_UNCLAIMED = """
SELECT id, name, queue FROM job WHERE state = 'queued' AND queue = %(queue)s AND rung_at < clock_timestamp() - %(age)s
 ORDER BY rung_at LIMIT %(limit)s
"""
_QUEUES_WAITING = "SELECT DISTINCT queue FROM job WHERE state = 'queued'"
_RING_AGAIN = """
WITH lost AS (SELECT id FROM job WHERE id = ANY(%(ids)s) AND state = 'queued' FOR NO KEY UPDATE SKIP LOCKED),
back AS (UPDATE job SET state = 'pending' FROM lost WHERE job.id = lost.id RETURNING job.id, job.name, job.queue)
SELECT id, name, queue, pg_notify(%(channel)s, queue) FROM back
"""
# Ids are UUIDv7: "older than" is a range of the primary key, which spares an index that every job would have to write.
_PURGE = """
WITH old AS (
    SELECT id FROM job WHERE id < %(before)s AND state = %(state)s ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
DELETE FROM job USING old WHERE job.id = old.id
"""
# One arm a state: each is a partial index, where `state IN (...)` would read every finished row.
_DEPTH = " UNION ALL ".join(
    f"SELECT queue, '{state}', count(*), extract(epoch FROM clock_timestamp() - min({since}))::float8 "  # noqa: S608
    f"FROM job WHERE state = '{state}' GROUP BY queue"
    for state, since in (
        ("pending", "available_at"),
        ("queued", "available_at"),
        ("running", "started_at"),
        ("failed", "finished_at"),
    )
)


class Ledger:
    """The jobs' bookkeeping on one autocommit connection, opened when needed and reopened when lost.

    Safe to share between threads; not across a fork. `patience` is how many seconds a statement is repeated while the
    database is away before LedgerAway is raised. Every statement may be repeated without harm.
    """

    def __init__(self, url: str, *, name: str = "ledger", patience: float = 30.0) -> None:
        self._url = plain_url(url)
        self._name = name
        self._patience = patience
        self._lock = RLock()
        self._connection: psycopg.Connection[Any] | None = None

    def claim(self, job_id: UUID, token: UUID, *, lease: float, worker: str = "") -> Claim | None:
        """Take a lease of `lease` seconds under a fresh `token`, or None: finished, not due, taken, or unknown."""
        values = {"id": job_id, "token": token, "lease": timedelta(seconds=lease), "worker": worker[:120]}
        rows = self._rows(_CLAIM, values)
        if not rows:
            return None
        organisation, name, queue, args, attempt, most, request_id, error, waited, parent = rows[0]
        waited = max(0.0, waited)
        return Claim(job_id, token, organisation, name, queue, args, attempt, most, request_id, error, waited, parent)

    def extend(self, claim: Claim, *, lease: float) -> bool:
        """Move the end of the lease to `lease` seconds from now. False: the lease has gone."""
        values = {"id": claim.id, "token": claim.token, "lease": timedelta(seconds=lease)}
        return bool(self._rows(_EXTEND, values)[0][0])

    def extend_all(self, claims: Sequence[Claim], *, lease: float) -> None:
        """The same for many, in one statement: a process of a thousand jobs could not ask for each in time."""
        if claims:
            ids, tokens = [claim.id for claim in claims], [claim.token for claim in claims]
            self._rows(_EXTEND_ALL, {"ids": ids, "tokens": tokens, "lease": timedelta(seconds=lease)})

    def give_back(self, claim: Claim, *, delay: float = 0.0, error: str | None = None, refund: bool = False) -> bool:
        """Return the job for a later attempt, which `refund` does not count. False: the lease has gone."""
        values = {
            "id": claim.id,
            "token": claim.token,
            "delay": timedelta(seconds=delay),
            "error": error,
            "refund": int(refund),
            "channel": CHANNEL,
        }
        return bool(self._rows(_GIVE_BACK, values))

    def company(self, claim: Claim) -> tuple[int, int]:
        """Of the job's name and organisation: how many run that were claimed before it, and how many are to be rung.
        Nobody where the lease has gone, or the job is no organisation's."""
        rows = self._rows(_COMPANY, {"id": claim.id, "token": claim.token})
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)

    @contextmanager
    def due(self, limit: int = 200) -> Iterator[list[Rung]]:
        """Rows to ring now, oldest first, locked and marked queued; the marks hold if the block ends without an error.

        Raises LedgerAway at once when the database does not answer.
        """
        with self._lock:
            try:
                connection = self._usable()
                with connection.transaction():
                    rows = connection.execute(_DUE, {"limit": limit}, prepare=True).fetchall()
                    rows.sort(key=lambda row: (row[3], row[0]))
                    yield _rung(rows)
            except (psycopg.OperationalError, psycopg.InterfaceError) as problem:
                self._drop()
                raise LedgerAway(type(problem).__name__) from problem

    def next_due(self) -> float | None:
        """Seconds until the next pending row can run (negative: it could already), or None."""
        seconds = self._rows(_NEXT_DUE)[0][0]
        return None if seconds is None else float(seconds)

    def expired(self, limit: int = 500) -> list[Rung]:
        """Return rows whose lease ran out to the pending ones."""
        return _rung(self._rows(_EXPIRED, {"limit": limit, "channel": CHANNEL}))

    def unclaimed(self, *, older_than: float, limit: int = 500) -> list[Rung]:
        """The rows rung longest ago, per queue, and not claimed for `older_than` seconds."""
        found: list[Rung] = []
        for (queue,) in self._rows(_QUEUES_WAITING):
            values = {"queue": queue, "age": timedelta(seconds=older_than), "limit": limit}
            found += _rung(self._rows(_UNCLAIMED, values))
        return found

    def ring_again(self, ids: Sequence[UUID]) -> list[Rung]:
        """Return queued rows whose doorbell was lost to the pending ones."""
        return _rung(self._rows(_RING_AGAIN, {"ids": list(ids), "channel": CHANNEL})) if ids else []

    def purge(self, state: Literal["done", "failed"], older_than: timedelta, *, limit: int = 5000) -> int:
        """Delete up to `limit` rows in `state` that were promised before `older_than` ago."""
        values = {"state": state, "before": _first_id(datetime.now(UTC) - older_than), "limit": limit}
        return self._run(lambda connection: connection.execute(_PURGE, values).rowcount)

    def depth(self) -> list[Depth]:
        """Rows in flight and failed, by queue and state."""
        return [
            Depth(queue, state, count, max(0.0, oldest or 0.0)) for queue, state, count, oldest in self._rows(_DEPTH)
        ]

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _rows(self, statement: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        return self._run(lambda connection: connection.execute(statement, values, prepare=True).fetchall())

    def _run(self, act: Callable[[psycopg.Connection[Any]], T]) -> T:
        end = time.monotonic() + self._patience
        pause = 0.05
        while True:
            with self._lock:
                try:
                    return act(self._usable())
                except (psycopg.OperationalError, psycopg.InterfaceError) as problem:
                    self._drop()
                    if time.monotonic() + pause > end:
                        raise LedgerAway(type(problem).__name__) from problem
            time.sleep(pause)
            pause = min(pause * 2, 1.0)

    def _usable(self) -> psycopg.Connection[Any]:
        connection = self._connection
        # ACTIVE: a time limit interrupted the last statement half-way.
        if connection is not None and (
            connection.closed or connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE
        ):
            self._drop()
            connection = None
        if connection is None:
            connection = self._connection = _connect(
                self._url, self._name, "-c synchronous_commit=off -c lock_timeout=10s -c statement_timeout=60s"
            )
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class Wakeups:
    """The bell that `enqueue` rings at commit. Needs a session of its own: no transaction-pooling proxy in between."""

    def __init__(self, url: str) -> None:
        self._url = plain_url(url)
        self._connection: psycopg.Connection[Any] | None = None

    def wait(self, seconds: float) -> bool:
        """Wait for a ring, at most `seconds`. False also when the database is away: the caller polls anyway."""
        end = time.monotonic() + seconds
        try:
            if self._connection is None:
                self._connection = _connect(self._url, "outbox bell", "")
                self._connection.execute(f"LISTEN {CHANNEL}")
                return True  # what was promised before now rang for nobody
            rang = any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))
        except (psycopg.OperationalError, psycopg.InterfaceError):
            self.close()
            time.sleep(max(0.0, min(1.0, end - time.monotonic())))
            return False
        return rang

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def plain_url(url: str) -> str:
    """A libpq URL from one that names SQLAlchemy's driver."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _connect(url: str, name: str, options: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=5,
        application_name=f"thalweg {name}"[:60],
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
        options=options + " -c idle_in_transaction_session_timeout=60s",
    )


def _rung(rows: Sequence[Any]) -> list[Rung]:
    return [Rung(row[0], row[1], row[2]) for row in rows]


def _first_id(at: datetime) -> UUID:
    return UUID(int=int(at.timestamp() * 1000) << 80)
