"""Delivering a promised mail: claim the row, write the message, hand it over, note the outcome.

A mail is sent once as far as SMTP can promise it. The outbox lets one worker at a time run the job, a row that is sent
is never sent again, and the Message-ID is the row's: when a worker dies between the server's "accepted" and the note of
it, the second copy carries the same id, by which servers and programs know it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

from domain.kernel import crypto
from domain.kernel.context import Ctx, Work
from domain.kernel.errors import Unavailable, Unprocessable
from domain.notifications.addresses import sender_address
from domain.notifications.composing import compose
from domain.notifications.models import Mail
from domain.notifications.ports import Refused, Transport, TryLater


@dataclass(frozen=True, slots=True)
class _Bound:
    transport: Transport
    sender: Address


_bound: _Bound | None = None


def configure(*, mail_url: str | None, mail_from: str, folder: Path) -> None:
    """Bind what the settings name: an SMTP server, or without `mail_url` the development mailbox in `folder`.

    Raises ValueError that names the setting that is wrong. Connects to nothing.
    """
    from domain.notifications.drivers import Folder, Smtp

    bind(Smtp.at(mail_url) if mail_url else Folder(folder), sender=mail_from)


def bind(transport: Transport, *, sender: str) -> None:
    """Bind a transport. `sender` is `Name <address>`. Raises ValueError."""
    global _bound
    _bound = _Bound(transport, sender_address(sender))


def deliver(work: Work, mail_id: UUID) -> None:
    """The job: deliver one mail. A mail that has been sent, or was deleted meanwhile, is left alone.

    Raises Unavailable when it is worth another try, Unprocessable when it is not (`give_up` then closes the row).
    """
    if _bound is None:
        raise RuntimeError("no transport: call domain.notifications.configure() at start-up")
    with work.transaction() as ctx:
        mail = ctx.session.get(Mail, mail_id, with_for_update=True)
        if mail is None or mail.state == "sent":
            work.complete(ctx)
            return
        message = _claim(ctx, mail, _bound.sender)
        recipient = mail.recipient
    try:
        _bound.transport.deliver(message(), sender=_bound.sender.addr_spec, recipient=recipient)
    except Refused as problem:
        raise Unprocessable(f"Refused: {problem}"[:1000]) from problem
    except TryLater as problem:
        with work.transaction() as ctx:
            mail = ctx.session.get(Mail, mail_id)
            if mail is not None:
                mail.state, mail.error = "pending", str(problem)[:1000]
        raise Unavailable(str(problem)[:1000]) from problem
    with work.transaction() as ctx:
        mail = ctx.session.get(Mail, mail_id)
        if mail is not None:
            mail.state, mail.sent_at, mail.failed_at = "sent", ctx.now(), None
            mail.facts = mail.error = None
        work.complete(ctx)


def give_up(ctx: Ctx, mail_id: UUID, reason: str) -> None:
    """Close a mail whose job has failed for good, in the transaction that says so of the job."""
    mail = ctx.session.get(Mail, mail_id, with_for_update=True)
    if mail is not None and mail.state != "sent":
        mail.state, mail.failed_at, mail.error = "failed", ctx.now(), reason[:1000]


def _claim(ctx: Ctx, mail: Mail, sender: Address) -> Any:
    """Mark the row as being sent, and answer what writes its message, for after the transaction."""
    sealed = crypto.unseal(mail, "facts")
    if sealed is None:
        raise Unprocessable("What the mail had to say is no longer kept.")
    mail.state = "sending"
    mail.attempts += 1
    mail.failed_at = None
    if mail.message_id is None:
        mail.message_id = f"<{mail.id}@{sender.domain}>"
    facts: Mapping[str, Any] = json.loads(sealed.reveal())
    written: dict[str, Any] = {
        "template": mail.template,
        "language": mail.language,
        "facts": facts,
        "sender": sender,
        "recipient": mail.recipient,
        "message_id": mail.message_id,
        "date": mail.created_at,
    }

    def write() -> EmailMessage:
        return compose(**written)

    return write
