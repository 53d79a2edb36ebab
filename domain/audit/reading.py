"""Reading the chain: single entries, listings, and the proof that nothing was changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import Select, func, select

from domain.audit import rules
from domain.audit.chain import PLATFORM
from domain.audit.models import AuditEntry, AuditHead
from domain.kernel.context import Ctx
from domain.kernel.cursor import listed
from domain.kernel.errors import NotFound
from domain.kernel.pages import CursorPage, OffsetPage, Page

BATCH = 1_000


def get(ctx: Ctx, entry_id: UUID) -> AuditEntry:
    """One entry. Raises `NotFound`."""
    entry = ctx.session.scalars(_own(ctx).where(AuditEntry.id == entry_id)).one_or_none()
    if entry is None:
        raise NotFound
    return entry


def find(
    ctx: Ctx,
    *,
    actions: Sequence[str] = (),
    outcome: str | None = None,
    actor_id: str | UUID | None = None,
    resource_type: str | None = None,
    resource_id: str | UUID | None = None,
    correlation_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    page: OffsetPage | CursorPage | None = None,
) -> Page[AuditEntry]:
    """Entries that meet every given filter, newest first. `since` is inclusive, `until` exclusive.

    An offset page has a total. Entries of the running transaction are not among them.
    """
    filters = {
        "outcome": outcome,
        "actor_id": None if actor_id is None else str(actor_id),
        "resource_type": resource_type,
        "resource_id": None if resource_id is None else str(resource_id),
        "correlation_id": correlation_id,
    }
    statement = _own(ctx)
    for name, value in filters.items():
        if value is not None:
            statement = statement.where(getattr(AuditEntry, name) == value)
    if actions:
        statement = statement.where(AuditEntry.action.in_(list(actions)))
    if since is not None:
        statement = statement.where(AuditEntry.created_at >= since)
    if until is not None:
        statement = statement.where(AuditEntry.created_at < until)
    page = page or CursorPage()
    if isinstance(page, CursorPage):
        asked = hashlib.sha256(repr((sorted(actions), filters, since, until)).encode()).hexdigest()[:16]
        return listed(ctx.session, statement, AuditEntry.sequence, page=page, listing=f"audit:{asked}", descending=True)
    total = ctx.session.scalar(select(func.count()).select_from(statement.subquery()))
    rows = ctx.session.scalars(statement.order_by(AuditEntry.sequence.desc()).limit(page.limit).offset(page.offset))
    return Page(rows.all(), total=total)


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify()` found. `broken_at` is the sequence number of the first entry that does not fit."""

    intact: bool
    entries: int
    broken_at: int | None = None
    reason: str | None = None


def verify(ctx: Ctx) -> Verification:
    """Recompute every hash of the organisation's chain, from what retention left to the head.

    Finds a changed field, a removed, inserted or re-ordered entry, and a cut tail.
    """
    head = ctx.session.scalars(
        select(AuditHead)
        .where(AuditHead.organisation_id == (ctx.organisation_id or PLATFORM))
        .execution_options(populate_existing=True)
    ).one_or_none()
    if head is None:
        found = ctx.session.scalars(_own(ctx).limit(1)).first()
        return Verification(True, 0) if found is None else Verification(False, 0, found.sequence, "the head is missing")
    sequence, last, checked = head.base_sequence, head.sequence, 0
    previous = head.base_hash or rules.genesis(head.organisation_id)
    while True:
        # Up to the head as it was read first: entries that are appended meanwhile are for the next run.
        batch = ctx.session.execute(
            select(*(getattr(AuditEntry, name) for name in _HASHED), AuditEntry.sequence, AuditEntry.prev_hash)
            .add_columns(AuditEntry.row_hash)
            .where(AuditEntry.organisation_id == (ctx.organisation_id or PLATFORM))
            .where(AuditEntry.sequence > sequence, AuditEntry.sequence <= last)
            .order_by(AuditEntry.sequence)
            .limit(BATCH)
        ).all()
        for row in batch:
            expected = sequence + 1
            if row.sequence != expected:
                return Verification(False, checked, expected, "entry missing")
            if row.prev_hash != previous:
                return Verification(False, checked, expected, "does not follow the entry before it")
            fields = {name: getattr(row, name) for name in _HASHED}
            if rules.link(previous, expected, rules.content(fields)) != row.row_hash:
                return Verification(False, checked, expected, "content changed")
            sequence, previous, checked = expected, row.row_hash, checked + 1
        if len(batch) < BATCH:
            break
    if sequence != last or previous != head.hash:
        return Verification(False, checked, sequence + 1, "the end of the chain is missing")
    return Verification(True, checked)


_HASHED = (
    *("id", "organisation_id", "action", "outcome", "actor_kind", "actor_id", "resource_type", "resource_id"),
    *("correlation_id", "surface", "address", "user_agent", "duration_ms", "details", "created_at"),
)


def _own(ctx: Ctx) -> Select[AuditEntry]:
    # A platform session is not filtered: say which chain is meant.
    return select(AuditEntry).where(AuditEntry.organisation_id == (ctx.organisation_id or PLATFORM))


def as_json(entry: AuditEntry) -> bytes:
    """An entry for export: one line of JSON with its place in the chain."""
    fields = {name: getattr(entry, name) for name in _HASHED}
    place = {"sequence": entry.sequence, "prev_hash": entry.prev_hash.hex(), "row_hash": entry.row_hash.hex()}
    return orjson.dumps({**fields, **place}, option=orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC)
