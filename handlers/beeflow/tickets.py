"""tickets."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


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
    """List tickets."""
    raise not_implemented()


def create_ticket(ctx: Ctx, body: requests.TicketCreate) -> responses.Ticket:
    """Create a ticket from an email."""
    raise not_implemented()


def list_inbox_emails(
    ctx: Ctx, page: OffsetPage, q: str | None = None, unread: bool | None = None, ticketed: bool | None = None
) -> responses.InboxPage:
    """Look into the inbox."""
    raise not_implemented()
