"""Mails as rows: promised in the caller's transaction, looked at by operators, forgotten in time.

How a promised mail is delivered stands in `domain.notifications.delivery`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, desc, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid, NotFound
from domain.kernel.ids import new_id
from domain.kernel.outbox import enqueue
from domain.kernel.pages import CursorPage, Page
from domain.notifications.addresses import wire_address
from domain.notifications.catalogue import checked, language_of
from domain.notifications.models import STATES, Mail

DELIVER = "notifications.deliver"
ATTEMPTS = 14
"""With the job's backoff (10 s doubling, at most an hour) about four hours of a mail server that is away."""

KEPT = timedelta(days=30)
"""How long a row is kept, which is also how long `unique` remembers."""
FAILED_FACTS_KEPT = timedelta(days=3)
"""How long an operator may retry a failed mail. Then its links go, as those of a delivered one do at once."""
PURGE_BATCH = 1000


def send_mail(
    ctx: Ctx,
    template: str,
    to: str,
    *,
    facts: Mapping[str, Any],
    language: str | None = None,
    unique: str | None = None,
) -> UUID:
    """Promise a mail in `ctx`'s transaction, with or without an organisation; answers its id.

    `facts` are those that `catalogue.TEMPLATES` names for the template, stored encrypted and wiped after delivery.
    `language` is a tag such as `de-AT`; one that is not spoken becomes English. With `unique` (up to 200 characters), a
    second promise under the same key in the same organisation does nothing and answers the first id.

    A mail goes with its organisation: promise what has to survive one from a context without.

    Raises Invalid when `to` is no e-mail address, ValueError for an unknown template or facts that do not fit.
    """
    recipient = wire_address(to)
    payload = checked(template, facts)
    session = ctx.session
    session.flush()  # the row may refer to an organisation that is made in this transaction
    mail = Mail(
        id=new_id(),
        organisation_id=ctx.organisation_id,
        template=template,
        language=language_of(language),
        recipient=recipient,
        unique_key=unique,
        state="pending",
    )
    crypto.seal(mail, "facts", json.dumps(payload, ensure_ascii=False))
    if unique is None:
        session.add(mail)
        session.flush()
    elif (first := _add_unless_there(ctx, mail)) is not None:
        return first
    enqueue(ctx, DELIVER, {"mail_id": str(mail.id)}, max_attempts=ATTEMPTS)
    return mail.id


def _add_unless_there(ctx: Ctx, mail: Mail) -> UUID | None:
    """None when `mail` was added, else the id of the one that was promised before under its key."""
    now = ctx.now()
    names = ("id", "organisation_id", "template", "language", "recipient", "facts", "unique_key", "state")
    values = {name: getattr(mail, name) for name in names}
    statement = insert(Mail).values(**values, created_at=now, updated_at=now)
    while True:
        if ctx.session.execute(statement.on_conflict_do_nothing().returning(Mail.id)).scalar() is not None:
            return None
        first = ctx.session.scalar(
            select(Mail.id).where(
                Mail.organisation_id.is_not_distinct_from(ctx.organisation_id), Mail.unique_key == mail.unique_key
            )
        )
        if first is not None:
            return first
        # The first row was purged between the two statements: try again.


# --- for operators -------------------------------------------------------------------------------------


def list_mails(ctx: Ctx, *, state: str | None = None, page: CursorPage | None = None) -> Page[Mail]:
    """Mails of every organisation, newest first. Needs the permission `admin`. Raises Invalid for an unknown state."""
    ctx.require("admin")
    if state is not None and state not in STATES:
        raise Invalid(f"A mail is never {state!r}: it is one of {', '.join(STATES)}.")
    page = page or CursorPage()
    query = select(Mail).order_by(desc(Mail.id)).limit(page.limit + 1)
    if state is not None:
        query = query.where(Mail.state == state)
    if page.cursor:
        try:
            query = query.where(Mail.id < UUID(page.cursor))
        except ValueError:
            raise Invalid("That is no cursor of this list.") from None
    rows = list(ctx.session.scalars(query))
    more = len(rows) > page.limit
    return Page(rows[: page.limit], next_cursor=str(rows[page.limit - 1].id) if more else None)


def get_mail(ctx: Ctx, mail_id: UUID) -> Mail:
    """One mail. Needs the permission `admin`. Raises NotFound."""
    ctx.require("admin")
    found = ctx.session.get(Mail, mail_id, populate_existing=True)
    if found is None:
        raise NotFound("There is no such mail.")
    return found


# --- forgetting ----------------------------------------------------------------------------------------


def forget(ctx: Ctx, address: str) -> int:
    """Delete what is kept of mails to `address` that have been delivered or have failed; answers how many.

    Mails on their way are left: the last one a person gets may be the one that confirms the deletion.
    """
    statement = delete(Mail).where(Mail.recipient == wire_address(address), Mail.state.in_(("sent", "failed")))
    return _count(ctx, statement)


def purge(ctx: Ctx) -> int:
    """Delete a batch of rows past `KEPT`, and wipe the facts of mails that failed `FAILED_FACTS_KEPT` ago.

    Answers how many rows went or were wiped; call again until it is 0.
    """
    now = ctx.now()
    old = (
        select(Mail.id)
        .where(or_(Mail.sent_at < now - KEPT, Mail.failed_at < now - KEPT))
        .limit(PURGE_BATCH)
        .with_for_update(skip_locked=True)
    )
    gone = _count(ctx, delete(Mail).where(Mail.id.in_(old)))
    stale = Mail.state == "failed", Mail.failed_at < now - FAILED_FACTS_KEPT, Mail.facts.is_not(None)
    return gone + _count(ctx, update(Mail).where(*stale).values(facts=None, updated_at=now))


def _count(ctx: Ctx, statement: Any) -> int:
    result: Any = ctx.session.execute(statement.execution_options(synchronize_session=False))
    return int(result.rowcount)
