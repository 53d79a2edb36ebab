"""How a brain is doing, from what is really running."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from sqlalchemy import Float, cast, func, select

from domain import memory
from domain.brains.administration import get_brain
from domain.brains.models import Invocation, RoleResult
from domain.kernel.context import Ctx

QUEUE = "interactive"
OperationalState = Literal["operational", "degraded", "unavailable"]
LATE = 10.0
"""Seconds that an invocation may wait for a worker before the brain counts as degraded."""
LAST = 20


class Pulse(Protocol):
    """Where signs of life of workers are seen. Bound at start-up; the domain knows no queue."""

    def workers(self, queue: str) -> int:
        """Workers of `queue` that gave a sign of life within the last minute. Quick, and 0 rather than an exception."""
        ...


@dataclass(frozen=True, slots=True)
class BrainStatus:
    brain_id: UUID
    operational_state: OperationalState
    """`operational`, `degraded` (taken, but late) or `unavailable` (kept until a worker is there)."""
    domain_uncertainty: float
    """Mean prediction error of the last 20 invocations, 0 to 1."""
    active_chain_count: int
    queued_chain_count: int
    workers: int
    queue_delay: float
    """Seconds that the oldest waiting invocation has waited."""
    rings: dict[str, int]
    checked_at: datetime


class _NoPulse:
    def workers(self, queue: str) -> int:
        return 0


_pulse: Pulse = _NoPulse()


def bind_pulse(pulse: Pulse) -> None:
    global _pulse
    _pulse = pulse


def status(ctx: Ctx, brain_id: UUID) -> BrainStatus:
    """Raises `NotFound`."""
    brain = get_brain(ctx, brain_id)
    now = ctx.now()
    counts = dict(
        ctx.session.execute(
            select(Invocation.state, func.count(Invocation.id))
            .where(Invocation.brain_id == brain.id, Invocation.state.in_(("queued", "running")))
            .group_by(Invocation.state)
        ).all()
    )
    oldest = ctx.session.scalar(
        select(func.min(Invocation.created_at)).where(Invocation.brain_id == brain.id, Invocation.state == "queued")
    )
    delay = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    workers = _pulse.workers(QUEUE)
    rings = memory.counts(ctx, brain.id)
    return BrainStatus(
        brain_id=brain.id,
        operational_state=_state(workers, delay),
        domain_uncertainty=_uncertainty(ctx, brain.id),
        active_chain_count=counts.get("running", 0),
        queued_chain_count=counts.get("queued", 0),
        workers=workers,
        queue_delay=round(delay, 3),
        rings=rings,
        checked_at=now,
    )


def _state(workers: int, delay: float) -> OperationalState:
    if workers == 0:
        return "unavailable"
    return "degraded" if delay > LATE else "operational"


def _uncertainty(ctx: Ctx, brain_id: UUID) -> float:
    """A brain that was never asked knows as little as one that recalled nothing."""
    latest = (
        select(cast(RoleResult.output["prediction_error"].astext, Float).label("error"))
        .join(Invocation, Invocation.id == RoleResult.invocation_id)
        .where(Invocation.brain_id == brain_id, RoleResult.role == "listener", RoleResult.status == "complete")
        .order_by(Invocation.id.desc())
        .limit(LAST)
        .subquery()
    )
    mean = ctx.session.scalar(select(func.avg(latest.c.error)))
    return memory.prediction_error(0) if mean is None else round(float(mean), 4)
