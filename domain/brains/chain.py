"""The chain: plays the roles of an invocation one after the other, and survives whatever happens on the way.

Each role's result is committed with the events it brings, then the events are published. A chain that is run again goes
on behind the last committed role; events have fixed numbers, so publishing them again is harmless. A role that fails or
runs out of time never ends the chain.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import undefer

from domain import inference
from domain.brains import artifact, plan
from domain.brains.models import Brain, Invocation, InvocationEvent, RoleResult
from domain.brains.roles import ROLES
from domain.brains.roles.role import Outdated, Role
from domain.brains.state import Result, State
from domain.inference import Deadline, Drivers, InvalidOutput, TimedOut
from domain.kernel import outbox
from domain.kernel.context import Ctx, Work
from domain.kernel.errors import DomainError, Invalid, LimitExceeded, NotFound, Unavailable
from domain.kernel.ledger import LeaseLost, LedgerAway

log = logging.getLogger("thalweg.brains")
T = TypeVar("T")

RESERVE = 8.0
"""Seconds of a job's time that are kept for the librarian and the end."""
LOOK = 2.0
"""Seconds in which a role may look things up before it thinks; past them it does without. The first artifact is
promised within three."""
LEFT_BEHIND = 8
"""Threads of timed-out roles that a process bears; past it, slow roles fail at once instead of piling up."""


def channel(invocation_id: UUID) -> str:
    """The stream of an invocation's events."""
    return f"invocation:{invocation_id}"


def run(work: Work, invocation_id: UUID) -> None:
    """Bring an invocation to its end. Run again after a crash, it goes on where the last committed role ended.

    Raises `NotFound`, and whatever the database or the lease raise; never for a role's failure.
    """
    with work.transaction() as ctx:
        state, events = _begun(ctx, invocation_id)
    stream = _Stream(work, invocation_id)
    stream.publish(events)
    drivers = inference.drivers()
    if not state.finished:
        *roles, librarian = state.plan.roles
        # Nothing but a lost lease or database can leave this loop early, and then the chain is run again. So the
        # librarian always has its turn, whatever became of the others.
        for name in roles:
            if name not in state.results:
                stream.publish(_play(work, state, ROLES[name], drivers, reserve=RESERVE))
        if librarian not in state.results:
            stream.publish(_play(work, state, ROLES[librarian], drivers, reserve=RESERVE / 2))
        with work.transaction() as ctx:
            events = _end(ctx, state)
        stream.publish(events)
    with work.transaction() as ctx:
        if stream.behind:
            announce_later(ctx, invocation_id)
        work.complete(ctx, {"state": artifact.outcome(state)})


def give_up(ctx: Ctx, invocation_id: UUID, reason: str) -> None:
    """End an invocation whose job has failed for good: the missing roles count as failed, the stream gets its end.

    In the transaction that makes the job a dead letter. `reason` stays with the operator.
    """
    state, _ = _begun(ctx, invocation_id)
    if state.finished:
        return
    now = ctx.now()
    for name in state.plan.roles:
        if name not in state.results:
            _record(ctx, state, name, now, reason="error")
    _end(ctx, state)
    announce_later(ctx, invocation_id)


def announce(work: Work, invocation_id: UUID) -> None:
    """Publish all events of an invocation: for a stream that was left behind."""
    with work.transaction() as ctx:
        events = _events(ctx, invocation_id)
    for number, name, data in events:
        work.publish(channel(invocation_id), number, name, data)
    with work.transaction() as ctx:
        work.complete(ctx)


def announce_later(ctx: Ctx, invocation_id: UUID) -> None:
    outbox.enqueue(
        ctx,
        "brains.announce",
        {"invocation_id": str(invocation_id)},
        queue="interactive",
        max_attempts=20,
        unique=f"brains.announce:{invocation_id}",
    )


# --- one role ----------------------------------------------------------------------------------------


def _play(work: Work, state: State, role: Role, drivers: Drivers, *, reserve: float) -> list[_Numbered]:
    """Let a role work, record how it ended and answer with the events that brings."""
    clock = time.monotonic()
    seconds = min(state.plan.timeout(role.name, state.input_type), work.remaining() - reserve)
    for last in (False, True):
        events = _played(work, state, role, drivers, clock, seconds, last=last)
        if events is not None:
            return events
    raise AssertionError("unreachable")


def _played(
    work: Work, state: State, role: Role, drivers: Drivers, clock: float, seconds: float, *, last: bool
) -> list[_Numbered] | None:
    """One try, of `seconds` since `clock`; None when what it rests on was gone at its end, and it is not the last."""
    thought: Any = None
    reason = _skipped(state, role)
    if reason is None:
        if role.look is not None:
            state.documents = _looked_up(work, state, role, clock + seconds - time.monotonic())
        try:
            left = clock + seconds - time.monotonic()
            thought = _within(left, lambda deadline: role.think(state, drivers, deadline), work)
        except _RoleFailed as failed:
            reason = failed.reason
    with work.transaction() as ctx:
        started = ctx.now() - timedelta(seconds=time.monotonic() - clock)
        output: dict[str, Any] = {}
        if reason is None:
            try:
                with ctx.session.begin_nested():
                    output = role.note(ctx, state, thought)
            except DBAPIError:
                raise  # the database, not the role: the chain is run again
            except Outdated:
                if not last:
                    return None
                reason = "outdated"
            except (DomainError, ValueError, TypeError, LookupError, ArithmeticError) as problem:
                reason = _reason(problem)
                log.warning("role failed", extra={"role": role.name, "reason": reason}, exc_info=True)
        result = _record(ctx, state, role.name, started, reason=reason, output=output)
        state.results[role.name] = result
        return _append(ctx, state, artifact.after(role.name, state))


def _looked_up(work: Work, state: State, role: Role, seconds: float) -> Any:
    """What the role found beside the record, in at most `LOOK` and half of its time. None when that failed: it goes on
    without."""
    assert role.look is not None
    deadline = Deadline(min(LOOK, seconds / 2))
    try:
        return role.look(work, state, lambda step: _within(deadline.remaining(), step, work), deadline)
    except DBAPIError as problem:
        if problem.connection_invalidated:
            raise  # the database, not the search: the chain is run again
        log.warning("nothing looked up", extra={"role": role.name}, exc_info=True)
    except (LeaseLost, LedgerAway):
        raise  # the job is another worker's
    except Exception:
        log.warning("nothing looked up", extra={"role": role.name}, exc_info=True)
    return None


def _skipped(state: State, role: Role) -> str | None:
    """A role has nothing to work on when one that it needs has failed."""
    return "skipped" if any(state.said(needed) is None for needed in role.needs) else None


class _RoleFailed(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason


_left_behind: set[threading.Thread] = set()
_left_behind_lock = threading.Lock()


def _within(seconds: float, think: Callable[[Deadline], T], work: Work) -> T:
    """Run `think` in a thread for at most `seconds`, keeping the job's lease meanwhile.

    A driver that heeds its deadline stops by itself. One that is stuck is left behind: its thread cannot be ended, and
    what it may still answer is not looked at.
    """
    with _left_behind_lock:
        _left_behind.difference_update([thread for thread in _left_behind if not thread.is_alive()])
        if len(_left_behind) >= LEFT_BEHIND:
            raise _RoleFailed("unavailable")
    if seconds <= 0:
        raise _RoleFailed("timeout")
    deadline = Deadline(seconds)
    box: list[T] = []
    problems: list[BaseException] = []

    def thinking() -> None:
        try:
            answer = think(deadline)
            if deadline.over:  # finished all the same, and too late: the limit is the caller's
                raise TimedOut
            box.append(answer)
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=thinking, name="role", daemon=True)
    thread.start()
    while thread.is_alive() and not deadline.over:
        thread.join(min(3.0, deadline.remaining() + 0.01))
        if thread.is_alive() and not deadline.over:
            work.heartbeat()
    if thread.is_alive():
        deadline.cancel()
        thread.join(0.05)  # most drivers look at their deadline often
        if thread.is_alive():
            with _left_behind_lock:
                _left_behind.add(thread)
        raise _RoleFailed("timeout")
    if problems:
        reason = _reason(problems[0])
        log.warning("role failed", extra={"reason": reason}, exc_info=problems[0])
        raise _RoleFailed(reason)
    return box[0]


def _reason(problem: BaseException) -> str:
    """A short word for partners; what really happened is in the log."""
    if isinstance(problem, TimedOut | TimeoutError):
        return "timeout"
    if isinstance(problem, InvalidOutput):
        return "invalid_output"
    if isinstance(problem, LimitExceeded):
        return "rate_limited"
    if isinstance(problem, Unavailable):
        return "unavailable"
    return problem.code if isinstance(problem, DomainError) else "error"


# --- the record --------------------------------------------------------------------------------------

_Numbered = tuple[int, str, dict[str, Any]]


def _begun(ctx: Ctx, invocation_id: UUID) -> tuple[State, list[_Numbered]]:
    found = ctx.session.execute(
        select(Invocation, Brain)
        .join(Brain, Brain.id == Invocation.brain_id)
        .where(Invocation.id == invocation_id)
        .options(undefer(Invocation.input_content))
    ).one_or_none()
    if found is None:
        raise NotFound("There is no such invocation.")
    invocation, brain = found
    if invocation.state == "queued":
        invocation.state = "running"
        invocation.started_at = ctx.now()
    results = ctx.session.scalars(
        select(RoleResult).where(RoleResult.invocation_id == invocation_id).order_by(RoleResult.position)
    )
    state = State(
        trace_id=invocation.id,
        brain_id=brain.id,
        session_id=invocation.session_id,
        entity_id=invocation.entity_id,
        input_type=invocation.input_type,
        content=invocation.input_content,
        removed_characters=invocation.removed_characters,
        blocked_terms=tuple(str(term) for term in brain.blocked_terms),
        plan=_plan(invocation.role_config),
        results={r.role: _result(r) for r in results},
        finished=invocation.state in ("complete", "partial", "failed"),
    )
    return state, _events(ctx, invocation_id)


def _plan(config: dict[str, Any]) -> plan.Plan:
    """What an older release accepted and this one does not runs with all roles, rather than not at all."""
    try:
        return plan.checked(config)
    except Invalid:
        return plan.checked(None)


def _result(row: RoleResult) -> Result:
    milliseconds = int((row.ended_at - row.started_at).total_seconds() * 1000)
    return Result(row.role, row.status, row.reason, row.output, max(0, milliseconds))


def _record(
    ctx: Ctx,
    state: State,
    role: str,
    started: datetime,
    *,
    reason: str | None,
    output: dict[str, Any] | None = None,
) -> Result:
    row = RoleResult(
        invocation_id=state.trace_id,
        position=len(state.results) + 1,
        role=role,
        status="complete" if reason is None else "failed",
        reason=reason,
        output=output or {},
        started_at=started,
        ended_at=ctx.now(),
    )
    ctx.session.add(row)
    state.results[role] = _result(row)
    return state.results[role]


def _end(ctx: Ctx, state: State) -> list[_Numbered]:
    now = ctx.now()
    numbered = _append(ctx, state, artifact.last(state, now))
    invocation = ctx.session.scalars(select(Invocation).where(Invocation.id == state.trace_id)).one()
    invocation.state = artifact.outcome(state)
    invocation.artifact = numbered[-1][2]
    invocation.ended_at = now
    return numbered


def _append(ctx: Ctx, state: State, events: Sequence[artifact.Event]) -> list[_Numbered]:
    """Number the events behind those that are there. The job's lease keeps a second writer out."""
    if not events:
        return []
    ctx.session.flush()
    taken = ctx.session.scalar(
        select(func.count(InvocationEvent.id)).where(InvocationEvent.invocation_id == state.trace_id)
    )
    numbered = [(number, name, data) for number, (name, data) in enumerate(events, start=(taken or 0) + 1)]
    for number, name, data in numbered:
        ctx.session.add(
            InvocationEvent(invocation_id=state.trace_id, number=number, name=name, data=data, created_at=ctx.now())
        )
    return numbered


def _events(ctx: Ctx, invocation_id: UUID, after: int = 0) -> list[_Numbered]:
    rows = ctx.session.scalars(
        select(InvocationEvent)
        .where(InvocationEvent.invocation_id == invocation_id, InvocationEvent.number > after)
        .order_by(InvocationEvent.number)
    )
    return [(row.number, row.name, row.data) for row in rows]


class _Stream:
    """Publishes, and notes when it could not: the stream is a convenience, the record is in the database."""

    def __init__(self, work: Work, invocation_id: UUID) -> None:
        self._work = work
        self._channel = channel(invocation_id)
        self.behind = False

    def publish(self, events: Sequence[_Numbered]) -> None:
        if self.behind:
            return
        try:
            for number, name, data in events:
                self._work.publish(self._channel, number, name, data)
        except (OSError, RuntimeError) as away:  # redis' ConnectionError is none of ours to import
            self._away(away)
        except Exception as away:
            if type(away).__module__.split(".")[0] not in ("redis", "valkey"):
                raise
            self._away(away)

    def _away(self, problem: Exception) -> None:
        self.behind = True
        log.warning("events not published", exc_info=problem)
