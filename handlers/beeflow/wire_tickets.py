"""Tickets and their suggested answers, as Bee Flow's contract has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from domain import support
from handlers.beeflow import wire_identity
from handlers.wiring import page_of, timestamp
from thalweg.edge.application import Reply

if TYPE_CHECKING:
    from domain.kernel.pages import OffsetPage, Page
    from domain.support import Mail, Shown, Taken, Ticket
    from generated.beeflow import requests, responses

NOBODY = "nobody@nowhere.invalid"
"""The requester where there is none: `.invalid` is nobody's."""


def mail(given: requests.InboundEmail | None) -> Mail | None:
    if given is None:
        return None
    return support.Mail(
        given.sender.email,
        given.subject,
        given.text,
        sender_name=given.sender.name,
        message_id=given.message_id,
        in_reply_to=given.in_reply_to,
        received_at=given.received_at,
    )


def page(asked: OffsetPage, found: Page[Shown]) -> responses.TicketPage:
    return {"items": [ticket(each) for each in found.items], **page_of(found, asked)}


def taken(news: Taken) -> Reply:
    return Reply(ticket(news.shown), status=200 if news.joined else 201)


def ticket(shown: Shown) -> responses.Ticket:
    row = shown.ticket
    return {
        "id": str(row.id),
        "number": row.number,
        "subject": row.subject,
        "summary": row.summary,
        "status": cast("Any", row.status),
        "priority": cast("Any", row.priority),
        "category": row.category,
        "language": row.language,
        "requester": {"email": row.requester_email or NOBODY, "name": row.requester_name},
        "assignee": None if shown.assignee is None else wire_identity.reference(shown.assignee),
        "emailId": None,
        "messageCount": row.message_count,
        "suggestion": _suggestion(row) if shown.suggestion else None,
        "createdAt": timestamp(row.created_at),
        "updatedAt": timestamp(row.updated_at),
    }


def _suggestion(row: Ticket) -> responses.TicketSuggestion | None:
    if row.suggestion_state is None:
        return None
    kept = row.suggestion or {}
    return {
        "status": cast("Any", row.suggestion_state),
        "text": kept.get("text"),
        "confidence": kept.get("confidence"),
        "citations": [_citation(each) for each in kept.get("citations", ())],
        "createdAt": timestamp(row.suggested_at),
    }


def _citation(kept: Mapping[str, Any]) -> responses.MessageCitation:
    return {"sourceId": kept["document_id"], "title": kept["title"], "snippet": kept["snippet"]}
