"""The log of the guardrails: what kind of thing was found, where, and what was done. Never the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select

from domain import audit
from domain.conversations.models import GuardrailEvent
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid
from domain.kernel.pages import OffsetPage, Page

if TYPE_CHECKING:
    from domain.conversations.turn_state import State

MOST_EXPORTED = 100_000


def note(
    ctx: Ctx, state: State, kind: str, categories: Sequence[str], direction: str, action: str, model: str | None
) -> None:
    agent = state.agent.agent
    write(
        ctx,
        user_id=state.user_id,
        agent_id=agent.id,
        conversation_id=state.conversation_id,
        kind=kind,
        categories=categories,
        direction=direction,
        action=action,
        source="automation" if state.options.get("source") == "automation" else "chat",
        model=model,
    )


def by_kind(categories: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Kinds of finding with their categories; what an organisation calls its own is one of them."""
    terms = [each for each in categories if each == "custom_term"]
    personal = [each for each in categories if each != "custom_term"]
    yield from ((kind, named) for kind, named in (("pii", personal), ("custom_term", terms)) if named)


def write(
    ctx: Ctx,
    *,
    user_id: UUID | None,
    agent_id: UUID | None,
    conversation_id: UUID | None,
    kind: str,
    categories: Sequence[str],
    direction: str,
    action: str,
    source: str = "chat",
    model: str | None = None,
) -> None:
    ctx.session.add(
        GuardrailEvent(
            user_id=user_id,
            agent_id=agent_id,
            conversation_id=conversation_id,
            violation_type=kind,
            categories=list(categories)[:50],
            direction=direction,
            action_taken=action,
            source=source,
            model=None if model is None else model[:128],
            created_at=ctx.now(),
        )
    )


def list_guardrail_events(
    ctx: Ctx,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    kind: str | None = None,
    user_id: UUID | None = None,
    agent_id: UUID | None = None,
    action: str | None = None,
    direction: str | None = None,
    page: OffsetPage | None = None,
) -> Page[GuardrailEvent]:
    """The organisation's events, the latest first, with their `total`; looking is on the audit trail. Raises `Invalid`
    for a span that ends before it starts."""
    page = page or OffsetPage()
    conditions = _conditions(since, until, kind, user_id, agent_id, action, direction)
    audit.record(ctx, "guardrail_event.list", resource_type="guardrail_event", details={"offset": page.offset})
    total = ctx.session.scalar(select(func.count(GuardrailEvent.id)).where(*conditions)) or 0
    rows = ctx.session.scalars(
        select(GuardrailEvent)
        .where(*conditions)
        .order_by(GuardrailEvent.created_at.desc(), GuardrailEvent.id.desc())
        .limit(page.limit)
        .offset(page.offset)
    ).all()
    return Page(rows, total=total)


def export_guardrail_events(ctx: Ctx, *, batch: int = 1000, **filters: object) -> Iterator[GuardrailEvent]:
    """The same events one after the other, read in batches; at most `MOST_EXPORTED`. That they were taken along is on
    the audit trail before the first is read."""
    conditions = _conditions(
        *(filters.get(n) for n in ("since", "until", "kind", "user_id", "agent_id", "action", "direction"))  # type: ignore[arg-type]
    )
    audit.record(
        ctx,
        "guardrail_event.export",
        resource_type="guardrail_event",
        details={"filters": sorted(name for name, value in filters.items() if value is not None)},
    )
    return _read(ctx, conditions, batch)


def due(ctx: Ctx, days: int) -> Sequence[UUID]:
    """Organisations with an event older than `days`; needs a context of the platform."""
    return ctx.session.scalars(
        select(GuardrailEvent.organisation_id).where(GuardrailEvent.created_at < _before(ctx, days)).distinct()
    ).all()


def purge(ctx: Ctx, days: int, *, limit: int = 5000) -> int:
    """Erase the organisation's events that are older than `days`. How many."""
    ids = ctx.session.scalars(
        select(GuardrailEvent.id)
        .where(GuardrailEvent.created_at < _before(ctx, days))
        .order_by(GuardrailEvent.created_at)
        .limit(limit)
    ).all()
    if ids:
        ctx.session.execute(
            delete(GuardrailEvent).where(GuardrailEvent.id.in_(ids)).execution_options(synchronize_session=False)
        )
        details = {"days": days, "removed": len(ids)}
        audit.record(ctx, "guardrail_event.purge", resource_type="guardrail_event", details=details)
    return len(ids)


def _before(ctx: Ctx, days: int) -> datetime:
    return ctx.now() - timedelta(days=days)


def _read(ctx: Ctx, conditions: Sequence[ColumnElement[bool]], batch: int) -> Iterator[GuardrailEvent]:
    last: tuple[datetime, UUID] | None = None
    left = MOST_EXPORTED
    while left > 0:
        query = select(GuardrailEvent).where(*conditions)
        if last is not None:
            at, identifier = last
            query = query.where(
                (GuardrailEvent.created_at < at)
                | ((GuardrailEvent.created_at == at) & (GuardrailEvent.id < identifier))
            )
        rows = ctx.session.scalars(
            query.order_by(GuardrailEvent.created_at.desc(), GuardrailEvent.id.desc()).limit(min(batch, left))
        ).all()
        last = (rows[-1].created_at, rows[-1].id) if rows else None
        for row in rows:
            yield row
            ctx.session.expunge(row)  # what was written down is not held
        if len(rows) < min(batch, left):
            return
        left -= len(rows)


def _conditions(
    since: datetime | None,
    until: datetime | None,
    kind: str | None,
    user_id: UUID | None,
    agent_id: UUID | None,
    action: str | None,
    direction: str | None,
) -> list[ColumnElement[bool]]:
    if since is not None and until is not None and until < since:
        raise Invalid("The span ends before it starts.", reason="span_backwards")
    event = GuardrailEvent
    pairs = (
        (event.violation_type, kind), (event.user_id, user_id), (event.agent_id, agent_id),
        (event.action_taken, action), (event.direction, direction),
    )  # fmt: skip
    conditions: list[ColumnElement[bool]] = [column == value for column, value in pairs if value is not None]
    if since is not None:
        conditions.append(event.created_at >= since)
    if until is not None:
        conditions.append(event.created_at < until)
    return conditions
