"""guardrails: what was found in prompts and answers, and what was done. Never the text."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from domain import conversations
from handlers import tables
from handlers.beeflow import wire_conversations as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import responses
    from thalweg.edge.application import File


def list_guardrail_events(
    ctx: Ctx,
    page: OffsetPage,
    from_: datetime | None = None,
    to: datetime | None = None,
    type: str | None = None,
    user: UUID | None = None,
    agent: UUID | None = None,
    action: str | None = None,
    direction: str | None = None,
    org: UUID | None = None,
) -> responses.GuardrailEventPage:
    wire.own(ctx, org)
    found = conversations.list_guardrail_events(
        ctx, since=from_, until=to, kind=type, user_id=user, agent_id=agent, action=action, direction=direction,
        page=page,
    )  # fmt: skip
    return wire.guardrail_page(page, found)


def export_guardrail_events(
    ctx: Ctx,
    from_: datetime | None = None,
    to: datetime | None = None,
    type: str | None = None,
    user: UUID | None = None,
    agent: UUID | None = None,
    action: str | None = None,
    direction: str | None = None,
    org: UUID | None = None,
) -> File:
    wire.own(ctx, org)
    found = conversations.export_guardrail_events(
        ctx, since=from_, until=to, kind=type, user_id=user, agent_id=agent, action=action, direction=direction
    )
    return tables.csv_file("guardrail-events.csv", wire.COLUMNS, map(wire.guardrail_line, found))
