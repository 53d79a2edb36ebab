"""Tickets as an organisation has them: a mail comes in, an agent opens one, people look through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.dialects.postgresql import insert

from domain import audit, inference, knowledge
from domain.identity import Account, members
from domain.kernel import outbox
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, NotFound, Unprocessable
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page
from domain.support import rules
from domain.support.models import Ticket, TicketDesk, TicketMessage

ATTEMPTS = 5
"""Of the job that reads a ticket."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail, as it was received. `received_at` None: now."""

    sender_email: str
    subject: str
    text: str
    sender_name: str | None = None
    message_id: str | None = None
    in_reply_to: str | None = None
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A ticket, who takes care of it, and whether the caller may read its suggestion."""

    ticket: Ticket
    assignee: Account | None = None
    suggestion: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """What has become of a mail. `joined`: it answers a mail of a ticket that was there."""

    shown: Shown
    joined: bool


def submit(
    ctx: Ctx,
    *,
    mail: Mail | None = None,
    email_id: UUID | None = None,
    priority: str | None = None,
    assignee_id: UUID | None = None,
    suggest: bool = True,
) -> Taken:
    """Make a ticket of a mail, or put it to the one that it answers, which is open again then. What a model makes of it
    comes later (job `support.suggest_reply`).

    Raises `Unprocessable` (not exactly one of `mail` and `email_id`; an assignee who is no member), `NotFound` (no such
    mail in the inbox), `Conflict` (the mail has a ticket).
    """
    if (mail is None) == (email_id is None):
        raise Unprocessable("Exactly one of emailId and email has to be given.", reason="one_mail", field="email")
    if mail is None:
        # No mailbox can be connected yet, so there is no mail in any inbox.
        raise NotFound("There is no such mail in the inbox.", reason="email_unknown")
    assignee = _assignee(ctx, assignee_id)
    desk = _desk(ctx)
    key = rules.message_key(mail.message_id)
    known = _with_message(ctx, key)
    if known is not None:
        raise Conflict(
            f"This mail has ticket {known.number} already.", reason="mail_has_ticket", ticket_id=str(known.id)
        )
    answered = _with_message(ctx, rules.message_key(mail.in_reply_to), lock=True)
    joins = answered is not None and answered.message_count < rules.MOST_MESSAGES
    if answered is not None and joins:
        ticket = answered
        ticket.status = "open"
        ticket.round += 1
        ticket.message_count += 1
    else:
        said = (mail.sender_email, mail.sender_name)
        made_by = getattr(ctx.actor, "user_id", None)
        ticket = _new(ctx, desk, mail.subject, source="mail", requester=said, created_by=made_by)
    if priority is not None:
        ticket.priority, ticket.priority_given = priority, True
    if assignee is not None:
        ticket.assignee_id = assignee.id
    ticket.suggestion_state = "pending" if suggest else None
    ticket.suggestion = ticket.suggested_at = None
    ticket.updated_at = ctx.now()
    ctx.session.flush()
    _say(ctx, ticket, mail, key)
    _promise(ctx, ticket)
    audit.record(
        ctx,
        "ticket.join" if joins else "ticket.create",
        resource_type="ticket",
        resource_id=ticket.id,
        details={"number": ticket.number, "source": "mail"},
    )
    return Taken(_shown(ctx, [ticket])[0], joins)


def open_ticket(
    ctx: Ctx,
    title: str,
    description: str,
    *,
    requester: Account | None = None,
    priority: str | None = None,
    finding_id: UUID | None = None,
) -> Ticket:
    """Open a ticket as an agent does, for the person who has asked it to. It is judged like a mail; no answer is
    suggested: nobody has written."""
    desk = _desk(ctx)
    said = None if requester is None or len(requester.email) > rules.ADDRESS else (requester.email, requester.name)
    made_by = None if requester is None else requester.id
    ticket = _new(ctx, desk, title, source="tool", requester=said, created_by=made_by)
    ticket.finding_id = finding_id
    if priority is not None:
        ticket.priority, ticket.priority_given = priority, True
    ctx.session.flush()
    _say(ctx, ticket, Mail((said or ("",))[0], title, description, sender_name=said and said[1]), None)
    _promise(ctx, ticket)
    audit.record(
        ctx,
        "ticket.create",
        resource_type="ticket",
        resource_id=ticket.id,
        details={
            "number": ticket.number,
            "source": "tool",
            "finding_id": None if finding_id is None else str(finding_id),
        },
    )
    return ticket


def list_tickets(
    ctx: Ctx,
    page: OffsetPage,
    *,
    status: str | None = None,
    priority: str | None = None,
    assignee_id: UUID | None = None,
    words: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Page[Shown]:
    """The organisation's, the last changed first, with their `total`. `words` have to occur, each in some mail of the
    ticket; `since` (inclusive) and `until` (exclusive) are about when a ticket was made."""
    conditions: list[ColumnElement[bool]] = []
    if status is not None:
        conditions.append(Ticket.status == status)
    if priority is not None:
        conditions.append(Ticket.priority == priority)
    if assignee_id is not None:
        conditions.append(Ticket.assignee_id == assignee_id)
    if since is not None:
        conditions.append(Ticket.created_at >= since)
    if until is not None:
        conditions.append(Ticket.created_at < until)
    if words is not None:
        wanted = rules.words(inference.clean(words)[0])
        if not wanted:  # signs alone are no words, and occur nowhere
            return Page([], total=0)
        conditions += [_holds(word) for word in wanted]
    total = ctx.session.scalar(select(func.count(Ticket.id)).where(*conditions))
    rows = ctx.session.scalars(
        select(Ticket)
        .where(*conditions)
        .order_by(Ticket.updated_at.desc(), Ticket.id.desc())
        .offset(page.offset)
        .limit(page.limit)
    ).all()
    return Page(_shown(ctx, rows), total=total or 0)


def _holds(word: str) -> ColumnElement[bool]:
    return exists().where(
        TicketMessage.ticket_id == Ticket.id,
        TicketMessage.organisation_id == Ticket.organisation_id,
        TicketMessage.search.bool_op("@@")(func.phraseto_tsquery("simple", word)),
    )


def _shown(ctx: Ctx, rows: Sequence[Ticket]) -> list[Shown]:
    people = _people(ctx, rows)
    named = {each for row in rows for each in _drawn_on(row)}
    seen = {each.id for each in knowledge.get_many(ctx, sorted(named))} if named else set()
    return [
        Shown(row, people.get(row.assignee_id) if row.assignee_id else None, seen.issuperset(_drawn_on(row)))
        for row in rows
    ]


def _people(ctx: Ctx, rows: Sequence[Ticket]) -> Mapping[UUID, Account]:
    wanted = {row.assignee_id for row in rows if row.assignee_id is not None}
    return members.people(ctx, wanted) if wanted else {}


def _drawn_on(row: Ticket) -> set[UUID]:
    """The knowledge bases that the writer of the suggestion was shown."""
    return {UUID(each) for each in (row.suggestion or {}).get("collections", ())}


def _assignee(ctx: Ctx, assignee_id: UUID | None) -> Account | None:
    if assignee_id is None:
        return None
    found = members.people(ctx, [assignee_id], present=True, hold=True).get(assignee_id)
    if found is None:
        raise Unprocessable(
            "assigneeId: this is nobody of the organisation.", reason="assignee_unknown", field="assigneeId"
        )
    return found


def _desk(ctx: Ctx) -> TicketDesk:
    """The organisation's desk, locked to the end of the transaction."""
    ctx.session.execute(
        insert(TicketDesk).values(organisation_id=ctx.organisation, last_number=0).on_conflict_do_nothing()
    )
    return ctx.session.scalars(select(TicketDesk).with_for_update().execution_options(populate_existing=True)).one()


def _with_message(ctx: Ctx, key: str | None, *, lock: bool = False) -> Ticket | None:
    if key is None:
        return None
    query = (
        select(Ticket).join(TicketMessage, TicketMessage.ticket_id == Ticket.id).where(TicketMessage.message_key == key)
    )
    if lock:
        query = query.with_for_update(of=Ticket).execution_options(populate_existing=True)
    return ctx.session.scalars(query).one_or_none()


def _new(
    ctx: Ctx,
    desk: TicketDesk,
    subject: str,
    *,
    source: str,
    requester: tuple[str, str | None] | None,
    created_by: UUID | None,
) -> Ticket:
    desk.last_number += 1
    ticket = Ticket(
        id=new_id(),
        number=desk.last_number,
        subject=_line(subject, rules.SUBJECT),
        status="open",
        priority="normal",
        priority_given=False,
        source=source,
        requester_email=None if requester is None else requester[0],
        requester_name=None if requester is None else _line(requester[1] or "", 200) or None,
        created_by=created_by,
        message_count=1,
        round=1,
    )
    ctx.session.add(ticket)
    return ticket


def _say(ctx: Ctx, ticket: Ticket, mail: Mail, key: str | None) -> None:
    subject, text = _line(mail.subject, rules.SUBJECT), inference.clean(mail.text)[0][: rules.TEXT]
    ctx.session.add(
        TicketMessage(
            ticket_id=ticket.id,
            position=ticket.message_count,
            sender_email=mail.sender_email or None,
            sender_name=_line(mail.sender_name or "", 200) or None,
            subject=subject,
            content=text,
            message_id=_line(mail.message_id or "", 998) or None,
            message_key=key,
            received_at=mail.received_at or ctx.now(),
            created_at=ctx.now(),
            search=searchable(subject, text),
        )
    )
    ctx.session.flush()


def searchable(subject: str, text: str) -> ColumnElement[str]:
    """What a search looks at."""
    return func.to_tsvector("simple", rules.plain(f"{subject} {text}"))


def _promise(ctx: Ctx, ticket: Ticket) -> None:
    outbox.enqueue(ctx, "support.suggest_reply", {"ticket_id": str(ticket.id)}, max_attempts=ATTEMPTS)


def _line(text: str, most: int) -> str:
    """One line, as the header of a mail is."""
    return " ".join(inference.clean(text)[0].split())[:most]
