"""What goes by the clock because an organisation has said so: its conversations, the guardrail log, its audit trail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from domain import audit
from domain.conversations import history
from domain.conversations.guardrails import record
from domain.identity import organisation_settings
from domain.kernel.context import Ctx, Work

SHORTEST = 30
"""Days that the guardrail log is kept at least, whatever the tier."""
RESERVE = 15.0
"""Seconds that one more batch may take."""
BATCH = 500


def due(ctx: Ctx) -> Sequence[UUID]:
    """Organisations that may have something to lose; needs a context of the platform."""
    return sorted({*organisation_settings.with_retention(ctx), *record.due(ctx, SHORTEST)})


def keep_to(work: Work) -> dict[str, int]:
    """Erase what the job's organisation keeps no longer, a batch a transaction; how many of each. What there is no time
    for goes the next night."""
    with work.transaction() as ctx:
        holds = organisation_settings.retention(ctx)
    days, own = holds.conversation_days, holds.audit_days
    gone = {"guardrail_events": _all(work, lambda ctx: record.purge(ctx, holds.guardrail_days, limit=BATCH))}
    if days is not None:
        gone["conversations"] = _all(work, lambda ctx: history.purge_older(ctx, days, limit=BATCH))
    if own is not None:
        gone["audit_entries"] = _all(
            work, lambda ctx: audit.purge(ctx, ctx.now() - timedelta(days=own), limit=BATCH * 10), BATCH * 10
        )
    with work.transaction() as ctx:
        work.complete(ctx, gone)
    return gone


def _all(work: Work, purge: Callable[[Ctx], int], batch: int = BATCH) -> int:
    gone = 0
    while work.remaining() > RESERVE:
        with work.transaction() as ctx:
            some = purge(ctx)
        gone += some
        if some < batch:
            break
    return gone
