"""Retention: the one way an entry leaves the chain, always from its beginning, leaving a trace.

`due` names the chains that have something to lose, `purge` takes it from one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, delete, func, select, text, update

from domain.audit.chain import PLATFORM, record
from domain.audit.models import AuditEntry, AuditHead
from domain.kernel.context import Ctx
from domain.kernel.db import OrganisationSession
from domain.kernel.organisation_filter import lent


def due(ctx: Ctx, before: datetime, *, limit: int = 100) -> Sequence[UUID | None]:
    """Organisations whose chain begins with an entry from before `before`; None is the platform's own chain.

    For a platform context: an organisation's own sees but its own chain.
    """
    first = and_(
        AuditEntry.organisation_id == AuditHead.organisation_id, AuditEntry.sequence == AuditHead.base_sequence + 1
    )
    statement = (
        select(AuditHead.organisation_id).join(AuditEntry, first).where(AuditEntry.created_at < before).limit(limit)
    )
    return [None if found == PLATFORM else found for found in ctx.session.scalars(statement)]


def purge(ctx: Ctx, before: datetime, *, limit: int = 10_000) -> int:
    """Remove up to `limit` of the oldest entries that were made before `before`; how many were removed.

    Only an unbroken beginning of the chain goes, so what is left still verifies; an entry `audit.purge` says so. The
    head stays locked until the transaction ends.
    """
    session = ctx.session
    assert isinstance(session, OrganisationSession)
    with lent(session, ctx.organisation_id or PLATFORM):
        head = session.scalars(select(AuditHead).with_for_update()).one_or_none()
        if head is None:
            return 0
        first_kept = session.scalar(select(func.min(AuditEntry.sequence)).where(AuditEntry.created_at >= before))
        last = min(head.base_sequence + limit, (first_kept or head.sequence + 1) - 1)
        if last <= head.base_sequence:
            return 0
        base = session.scalars(select(AuditEntry.row_hash).where(AuditEntry.sequence == last)).one()
        session.execute(text("SELECT set_config('thalweg.audit_retention', 'on', true)"))
        gone = session.scalars(
            delete(AuditEntry)
            .where(AuditEntry.sequence <= last)
            .returning(AuditEntry.sequence)
            .execution_options(synchronize_session=False)
        ).all()
        session.execute(text("SELECT set_config('thalweg.audit_retention', 'off', true)"))
        session.execute(update(AuditHead).values(base_sequence=last, base_hash=base))
    record(ctx, "audit.purge", resource_type="audit_entry", details={"removed": len(gone), "up_to_sequence": last})
    return len(gone)
