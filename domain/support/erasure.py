"""A person's tickets, when their account is erased: they are the organisation's and stay, the name and address go."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from uuid import UUID

from sqlalchemy import func, or_, select, update

from domain.identity import accounts
from domain.kernel.context import Ctx
from domain.kernel.errors import NotFound
from domain.support.models import Ticket, TicketMessage
from domain.support.tickets import searchable

ERASED = "[erased]"
"""Stands where the address was written."""


def erase_person(ctx: Ctx, account_id: UUID) -> None:
    """Nothing in the context's organisation says any more who handed tickets in or took care of them; and what this
    person has written themselves loses their name, and their address wherever it stands in it."""
    for column in (Ticket.assignee_id, Ticket.created_by):
        ctx.session.execute(
            update(Ticket)
            .where(column == account_id)
            .values({column.key: None, "updated_at": Ticket.updated_at})
            .execution_options(synchronize_session=False)
        )
    try:
        email = accounts.get(ctx, account_id).email
    except NotFound:
        return
    _strike(ctx, email)
    ctx.session.expire_all()


def _strike(ctx: Ctx, email: str) -> None:
    pattern = re.compile(re.escape(email), re.IGNORECASE)

    def without(text: str) -> str:
        return pattern.sub(ERASED, text)

    same = func.lower(TicketMessage.sender_email) == email.lower()
    asked = func.lower(Ticket.requester_email) == email.lower()
    theirs = select(TicketMessage.ticket_id).where(same)
    for ticket in ctx.session.scalars(select(Ticket).where(or_(asked, Ticket.id.in_(theirs))).with_for_update()).all():
        _strike_ticket(ctx, ticket, email, without)


def _strike_ticket(ctx: Ctx, ticket: Ticket, email: str, without: Callable[[str], str]) -> None:
    """Also in answers to it and in what a model made of it: these may quote."""
    asked = (ticket.requester_email or "").lower() == email.lower()
    changes = {
        "requester_email": None if asked else ticket.requester_email,
        "requester_name": None if asked else ticket.requester_name,
        "subject": without(ticket.subject)[:998],
        "summary": None if ticket.summary is None else without(ticket.summary)[:2000],
        "suggestion": None
        if ticket.suggestion is None
        else json.loads(without(json.dumps(ticket.suggestion, ensure_ascii=False))),
        "updated_at": ticket.updated_at,
    }
    ctx.session.execute(
        update(Ticket).where(Ticket.id == ticket.id).values(changes).execution_options(synchronize_session=False)
    )
    # One at a time: a mail may be long, and a ticket may have many.
    for message_id in ctx.session.scalars(select(TicketMessage.id).where(TicketMessage.ticket_id == ticket.id)).all():
        said = ctx.session.get_one(TicketMessage, message_id)
        own = (said.sender_email or "").lower() == email.lower()
        subject, content = without(said.subject)[:998], without(said.content)
        ctx.session.execute(
            update(TicketMessage)
            .where(TicketMessage.id == said.id)
            .values(
                sender_email=None if own else said.sender_email,
                sender_name=None if own else said.sender_name,
                subject=subject,
                content=content,
                message_id=None if said.message_id is None else without(said.message_id)[:998],
                search=searchable(subject, content),
            )
            .execution_options(synchronize_session=False)
        )
        ctx.session.expunge(said)
