"""Runs one outbox row: claim, check arguments, run within limits, and record what became of it.

Public: `Runner.run(job_id)`; `Runner.claim` and `Runner.perform` for a worker that claims in one process and performs
in another (around both, `Runner.span`); `Keeper`, which keeps the leases of the running jobs; `LeaseLost`.

An attempt ends as one of `Outcome`. Whatever happens between claim and end, a dead process included, the lease runs out
and the sweeper hands the row out again.
"""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID, uuid4

import structlog

from domain.kernel.context import Ctx, SystemActor, Work
from domain.kernel.db import Database
from domain.kernel.errors import DomainError
from domain.kernel.ledger import Claim, LeaseLost, Ledger, LedgerAway, fail, finish, hold
from thalweg.traces import Traces
from workers import metrics
from workers.limits import Interrupted, SoftLimit, time_limit
from workers.registry import BadArguments, GiveUp, JobSpec, Registry, RetryLater, UnknownJob

__all__ = ["Keeper", "LeaseLost", "Outcome", "Publishes", "Runner"]

log = structlog.get_logger("thalweg.jobs")

LEASE = 10.0
"""Seconds a claim holds without a sign of life: how long a killed worker's job waits at most."""

LEAST_WAIT, MOST_WAIT = 1.0, 60.0
"""Seconds between two looks of a job that waits for others of its organisation."""

# A repeat would end the same way: the job is a dead letter at once.
FINAL_CODES = frozenset({"invalid", "forbidden", "not_found", "gone", "too_large", "unprocessable", "payment_required"})


class Publishes(Protocol):
    """The part of `thalweg.streams.Publisher` that jobs use."""

    def publish(
        self, channel: str, number: int, event: str, data: Mapping[str, Any], *, later: bool = False
    ) -> object: ...
    def flush(self, *, again: bool = True) -> object: ...
    def close(self) -> None: ...


class Outcome(Enum):
    DONE = "done"
    RETRIED = "retried"
    FAILED = "failed"
    LOST = "lost"
    RETURNED = "returned"
    POSTPONED = "postponed"
    """So many of its organisation run already that it waits (`JobSpec.of_one`); the attempt does not count."""
    NOTHING = "nothing"
    """There was nothing to do: finished, not due, taken or unknown. A doorbell may ring twice."""


class Running:
    """`domain.kernel.context.Work`: a running job's hold on the platform."""

    def __init__(self, runner: Runner, claim: Claim, soft: float) -> None:
        self.job_id = claim.id
        self.attempt = claim.attempt
        self.claim = claim
        self.completed = False
        self._completing = False
        self._open_in: set[int] = set()
        self._runner = runner
        self._soft_end = time.monotonic() + soft

    @contextmanager
    def transaction(self) -> Iterator[Ctx]:
        """Raises RuntimeError within another one of this job: each holds the job's row, and the inner would wait for
        the outer until the lock times out."""
        thread = threading.get_ident()
        if thread in self._open_in:
            raise RuntimeError("a transaction of this job is open already")
        self._open_in.add(thread)
        try:
            with self._runner.context(self.claim) as ctx:
                hold(ctx, self.claim)
                self._completing = False
                yield ctx
        finally:
            self._open_in.discard(thread)
        self.completed = self.completed or self._completing

    @property
    def database(self) -> Database:
        return self._runner.database

    def platform(self) -> AbstractContextManager[Ctx]:
        return self.database.context(SystemActor("jobs"), None, platform=True)

    def complete(self, ctx: Ctx, result: Mapping[str, Any] | None = None) -> None:
        finish(ctx, self.claim, result)
        self._completing = True  # and complete once this transaction has committed

    def heartbeat(self) -> None:
        if not self._runner.extend(self.claim):
            raise LeaseLost(str(self.job_id))

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        self._runner.publish(channel, number, event, data)

    def publish_later(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        self._runner.publish(channel, number, event, data, later=True)

    def publish_rest(self) -> None:
        self._runner.flush(again=False)

    def remaining(self) -> float:
        return max(0.0, self._soft_end - time.monotonic())


if TYPE_CHECKING:
    from opentelemetry.trace import Span

    _promised: type[Work] = Running


class Runner:
    """Runs rows of the outbox: in the main thread, or in several threads with the limits of a `Watch`."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        registry: Registry,
        *,
        publisher: Publishes | None = None,
        lease: float = LEASE,
        worker: str = "",
        traces: Traces | None = None,
    ) -> None:
        self.database = database
        self.registry = registry
        self.running: dict[UUID, Claim] = {}
        """What is being performed, by the token of its lease."""
        self.limit: Callable[[float, float], AbstractContextManager[None]] = time_limit
        self.lease = lease
        self._ledger = ledger
        self._publisher = publisher
        self._worker = worker
        self._traces = traces

    def run(self, job_id: UUID) -> Outcome:
        """Claim and perform. Raises domain.kernel.ledger.LedgerAway when the database stays away."""
        claim = self.claim(job_id)
        if claim is None:
            return Outcome.NOTHING
        with self.span(claim) as tell:
            outcome = self.perform(claim)
            tell(outcome.value)
        return outcome

    def claim(self, job_id: UUID) -> Claim | None:
        """A lease on the row, if it may run now."""
        claim = self._ledger.claim(job_id, uuid4(), lease=self.lease, worker=self._worker)
        if claim is not None:
            metrics.WAIT.labels(claim.queue).observe(claim.waited)
        return claim

    def perform(self, claim: Claim) -> Outcome:
        """Run a claimed row to its outcome. Raises only `Interrupted`, after handing the row back, and LedgerAway."""
        started = time.monotonic()
        self.running[claim.token] = claim
        with structlog.contextvars.bound_contextvars(
            job_id=str(claim.id),
            job=claim.name,
            organisation=str(claim.organisation_id) if claim.organisation_id else None,
            request_id=claim.request_id,
            attempt=claim.attempt,
        ):
            outcome = Outcome.LOST
            try:
                outcome = self._attempt(claim)
            except Interrupted:
                self.hand_back(claim)
                outcome = Outcome.RETURNED
                log.info("job returned")
                raise
            except LeaseLost:
                log.warning("job lease lost")
            except LedgerAway:
                raise
            except Exception:
                # The database went away while the end was being recorded: the lease runs out.
                log.exception("job end not recorded")
            finally:
                self.running.pop(claim.token, None)
                seconds = time.monotonic() - started
                metrics.ATTEMPTS.labels(claim.name, claim.queue, outcome.value).inc()
                metrics.SECONDS.labels(claim.name).observe(seconds)
            log.debug("job ended", outcome=outcome.value, seconds=round(seconds, 4))
            return outcome

    @contextmanager
    def span(self, claim: Claim) -> Iterator[Callable[[str], None]]:
        """A trace span around an attempt; call what is handed in with the outcome. Nothing where nothing is traced.

        It is a child of the span in which the job was promised, where that was traced; every attempt is one.
        """
        if self._traces is None:
            yield lambda outcome: None
            return
        told: dict[str, str | int] = {
            "job.id": str(claim.id),
            "job.queue": claim.queue,
            "job.attempt": claim.attempt,
            "request.id": claim.request_id,
        }
        with self._traces.span(
            f"job {claim.name}", kind="consumer", traceparent=claim.traceparent, attributes=told
        ) as span:
            yield lambda outcome: self._note(span, outcome)

    def _note(self, span: Span, outcome: str) -> None:
        assert self._traces is not None
        span.set_attribute("job.outcome", outcome)
        if outcome in (Outcome.FAILED.value, Outcome.RETRIED.value, Outcome.LOST.value):
            self._traces.failed(span, outcome)

    def flush(self, *, again: bool = True) -> None:
        """Send what has not reached its streams yet, if that can be done now; `again`: also where Valkey was away a
        moment ago."""
        if self._publisher is not None:
            self._publisher.flush(again=again)

    def close(self) -> None:
        """Send what has not reached its streams yet, if that can be done now, and let go of them.

        The database is left to the end of the process: to say goodbye to one that is away would take its time.
        """
        if self._publisher is not None:
            self._publisher.close()

    def died(self, claim: Claim, reason: str) -> Outcome:
        """Record, from outside, that the process of `claim` ended without an answer."""
        try:
            return self._retry_or_fail(claim, self.registry.jobs.get(claim.name), reason)
        except LeaseLost:
            return Outcome.LOST

    def hand_back(self, claim: Claim) -> None:
        """Return a row whose attempt was cut short by a stop, without counting the attempt."""
        self._ledger.give_back(claim, refund=True)

    def context(self, claim: Claim) -> AbstractContextManager[Ctx]:
        """A transaction as the job's organisation, or as the platform for a job without one."""
        return self.database.context(
            SystemActor(f"job:{claim.name}"),
            claim.organisation_id,
            frozenset({"admin"}),
            platform=claim.organisation_id is None,
            request_id=claim.request_id,
        )

    def extend(self, claim: Claim) -> bool:
        return self._ledger.extend(claim, lease=self.lease)

    def extend_all(self, claims: Sequence[Claim]) -> None:
        self._ledger.extend_all(claims, lease=self.lease)

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any], *, later: bool = False) -> None:
        if self._publisher is None:
            raise RuntimeError("this worker was started without a publisher")
        self._publisher.publish(channel, number, event, data, later=later)

    def _attempt(self, claim: Claim) -> Outcome:
        spec: JobSpec | None = None
        try:
            spec = self.registry.find(claim.name)
            if claim.attempt > claim.max_attempts:  # the last attempts ended without an answer
                return self._fail(claim, spec, claim.last_error or "The worker stopped without an answer.")
            args = spec.load(claim.args)
            if spec.of_one is not None and self._crowded(claim, spec.of_one):
                return Outcome.POSTPONED
            with self.limit(spec.soft, spec.hard):
                if spec.simple:
                    self._run_simple(claim, spec, args)
                else:
                    self._run(claim, spec, args)
        except LeaseLost:
            raise
        except BadArguments as problem:
            log.error("job arguments do not fit", reason=str(problem))
            return self._fail(claim, spec, str(problem))
        except GiveUp as problem:
            log.warning("job gave up", reason=str(problem))
            return self._fail(claim, spec, _safe(problem))
        except DomainError as problem:
            if problem.code in FINAL_CODES:
                log.warning("job refused", code=problem.code, reason=problem.message)
                return self._fail(claim, spec, _safe(problem))
            return self._retry_or_fail(claim, spec, _safe(problem), at_least=_retry_after(problem))
        except RetryLater as problem:
            return self._retry_or_fail(claim, spec, _safe(problem), exactly=problem.seconds)
        except Exception as problem:
            log.warning("job attempt failed", error=_safe(problem), exc_info=True)
            return self._retry_or_fail(claim, spec, _safe(problem))
        return Outcome.DONE

    def _crowded(self, claim: Claim, most: int) -> bool:
        """Put the job back where `most` of its organisation and name began before it and run still. The more there are
        that wait, the longer each: together they ask about twice a second."""
        began, waiting = self._ledger.company(claim)
        if began < most:
            return False
        delay = min(MOST_WAIT, max(LEAST_WAIT, waiting / 2)) * random.uniform(0.75, 1.25)  # noqa: S311
        if not self._ledger.give_back(claim, delay=delay, refund=True):
            raise LeaseLost(str(claim.id))
        return True

    def _run_simple(self, claim: Claim, spec: JobSpec, args: dict[str, Any]) -> None:
        with self.context(claim) as ctx:
            result = spec.function(ctx, args)
            finish(ctx, claim, result if isinstance(result, Mapping) else None)

    def _run(self, claim: Claim, spec: JobSpec, args: dict[str, Any]) -> None:
        work = Running(self, claim, spec.soft)
        try:
            result = spec.function(work, args)
        except Exception:
            if not work.completed:
                raise
            log.warning("job raised after it was complete", exc_info=True)
            return
        if not work.completed:
            with self.context(claim) as ctx:
                finish(ctx, claim, result if isinstance(result, Mapping) else None)

    def _retry_or_fail(
        self,
        claim: Claim,
        spec: JobSpec | None,
        reason: str,
        *,
        at_least: float = 0.0,
        exactly: float | None = None,
    ) -> Outcome:
        if claim.attempt >= claim.max_attempts:
            return self._fail(claim, spec, reason)
        delay = max(at_least, backoff(claim.attempt, spec)) if exactly is None else exactly
        if not self._ledger.give_back(claim, delay=delay, error=reason):
            raise LeaseLost(str(claim.id))
        return Outcome.RETRIED

    def _fail(self, claim: Claim, spec: JobSpec | None, reason: str) -> Outcome:
        """Make it a dead letter and run the job's hook in the same transaction. A hook that raises changes nothing but
        is noted beside the reason: the job has failed either way."""
        with self.context(claim) as ctx:
            hold(ctx, claim)
            if spec is not None and spec.on_failed is not None:
                try:
                    with ctx.session.begin_nested():
                        spec.on_failed(ctx, dict(claim.args), reason)
                except Exception as problem:
                    reason = f"{reason} (on_failed: {_safe(problem)})"
                    log.exception("job failure hook failed")
            fail(ctx, claim, reason[:2000])
        log.error("job failed", reason=reason)
        return Outcome.FAILED


class Keeper(threading.Thread):
    """Extends the leases of a runner's jobs, from a thread, so that a job need not think of it.

    A process that stops or hangs with the interpreter lock held loses its lease: the job is then run elsewhere, and
    what this one does is refused at its next transaction. `also` is called in the same rhythm.
    """

    def __init__(self, runner: Runner, also: Callable[[], None] = lambda: None) -> None:
        super().__init__(name="lease-keeper", daemon=True)
        self._runner = runner
        self._also = also
        self._stop_asked = threading.Event()

    def run(self) -> None:
        seen: set[UUID] = set()
        while not self._stop_asked.wait(self._runner.lease / 3):
            self._also()
            running = list(self._runner.running.values())
            try:
                # Not those that are younger than a third of their lease.
                self._runner.extend_all([claim for claim in running if claim.token in seen])
            except Exception:
                log.warning("job leases not extended", exc_info=True)
            seen = {claim.token for claim in running}

    def stop(self) -> None:
        self._stop_asked.set()


def backoff(attempt: int, spec: JobSpec | None) -> float:
    """Seconds before the next attempt: doubling, capped, and spread so that jobs that failed together do not return
    together."""
    base, cap = (spec.retry_base, spec.retry_cap) if spec else (1.0, 300.0)
    return min(cap, base * 2.0 ** min(attempt - 1, 30)) * random.uniform(0.5, 1.0)  # noqa: S311


def _safe(problem: BaseException) -> str:
    """What an operator may read of an exception: the text where we wrote it, else the kind and the place. A driver's or
    provider's message can hold a credential."""
    if isinstance(problem, DomainError):
        return problem.message
    if isinstance(problem, GiveUp | RetryLater | UnknownJob | SoftLimit):
        return str(problem)
    frames = traceback.extract_tb(problem.__traceback__)
    ours = next(
        (f for f in reversed(frames) if "site-packages" not in f.filename and "/workers/r" not in f.filename), None
    )
    place = "" if ours is None else f" in {ours.name}, {'/'.join(ours.filename.split('/')[-3:])}:{ours.lineno}"
    return f"{type(problem).__name__}{place}"


def _retry_after(problem: DomainError) -> float:
    seconds = problem.facts.get("retry_after")
    return float(seconds) if isinstance(seconds, int | float) else 0.0
