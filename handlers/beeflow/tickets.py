"""tickets: mails turned into something to take care of, with suggested answers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import support
from handlers.beeflow import wire_tickets as wire
from thalweg.edge.problem import not_implemented

if TYPE_CHECKING:
    from datetime import datetime

    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Reply


def list_tickets(
    ctx: Ctx,
    page: OffsetPage,
    status: str | None = None,
    priority: str | None = None,
    assignee_id: UUID | None = None,
    q: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
) -> responses.TicketPage:
    found = support.list_tickets(
        ctx, page, status=status, priority=priority, assignee_id=assignee_id, words=q, since=from_, until=to
    )
    return wire.page(page, found)


def create_ticket(ctx: Ctx, body: requests.TicketCreate) -> Reply:
    taken = support.submit(
        ctx,
        mail=wire.mail(body.email),
        email_id=body.email_id,
        priority=body.priority,
        assignee_id=body.assignee_id,
        suggest=body.suggest,
    )
    return wire.taken(taken)


def list_inbox_emails(
    ctx: Ctx, page: OffsetPage, q: str | None = None, unread: bool | None = None, ticketed: bool | None = None
) -> responses.InboxPage:
    """Look into the inbox."""
    raise not_implemented()
