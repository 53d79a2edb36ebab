"""The development mailbox: mails that went into the folder `mail` of the data folder because there is no mail server.

Mails hold links that let someone in. So there is no mailbox in production nor beside a mail server, it is shown to this
machine alone, and what a mail says in HTML runs no script and loads nothing.

`mount(blueprint, settings)` adds the pages: `/mailbox` and `/mailbox/<id>`, as HTML for people and JSON for programs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import MessageError
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import default
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, make_response, render_template, request
from werkzeug.exceptions import Forbidden, NotFound

from thalweg.portal import gate

if TYPE_CHECKING:
    from thalweg.settings import Settings

__all__ = ["Mailbox", "mount", "offered"]

SHOWN = 200
LARGEST = 2 << 20
"""Bytes: the platform's own mails have some ten thousand."""
# A mail brings its own styles and nothing else. The frame that shows it inherits this, and is sandboxed besides.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NAME = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LINK = re.compile(r"https?://[^\s<>\"]+")


@dataclass(frozen=True, slots=True)
class Head:
    """What a list shows of a mail."""

    id: str
    subject: str
    sender: str
    recipient: str
    date: datetime | None

    def as_json(self) -> dict[str, Any]:
        sent = None if self.date is None else f"{self.date:%Y-%m-%dT%H:%M:%SZ}"
        return {"id": self.id, "date": sent, "from": self.sender, "to": self.recipient, "subject": self.subject}


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to be read."""

    head: Head
    text: str
    html: str

    def as_json(self) -> dict[str, Any]:
        links = list(dict.fromkeys(_LINK.findall(self.text)))
        return {**self.head.as_json(), "text": self.text, "links": links}


class Mailbox:
    """The mails in a folder. Their names are ids that grow with time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def heads(self) -> tuple[list[Head], int]:
        """The newest `SHOWN` mails, newest first, and how many there are."""
        names = sorted(self._names(), reverse=True)
        return list(islice(filter(None, map(self._head, names)), SHOWN)), len(names)

    def read(self, name: str) -> Mail | None:
        """None where there is no such mail, or where it cannot be read."""
        content = self._content(name)
        if content is None:
            return None
        try:
            message = message_from_bytes(content, policy=default)
            assert isinstance(message, EmailMessage)
            return Mail(_head(name, message), _part(message, "plain"), _part(message, "html"))
        except (MessageError, LookupError, ValueError):
            return None

    def _names(self) -> Iterator[str]:
        if self._folder.is_dir():
            for path in self._folder.glob("*.eml"):
                if _NAME.fullmatch(path.stem):
                    yield path.stem

    def _head(self, name: str) -> Head | None:
        content = self._content(name)
        try:
            return None if content is None else _head(name, BytesHeaderParser(policy=default).parsebytes(content))
        except (MessageError, LookupError, ValueError):
            return None

    def _content(self, name: str) -> bytes | None:
        if not _NAME.fullmatch(name):
            return None
        try:
            with (self._folder / f"{name}.eml").open("rb") as file:
                return file.read(LARGEST)
        except OSError:  # gone since it was listed, or not for us to read
            return None


def offered(settings: Settings) -> bool:
    """Whether this installation has a mailbox: it is no production, and there is no mail server."""
    return settings.environment in ("development", "test") and settings.mail_url is None


def mount(blueprint: Blueprint, settings: Settings) -> None:
    """Add the mailbox's pages, where it is offered."""
    shown = offered(settings)
    mailbox = Mailbox(settings.data_dir / "mail")
    allowed = _guard(settings)

    @blueprint.app_context_processor
    def _everywhere() -> dict[str, Any]:
        return {"has_mailbox": shown}

    if not shown:
        return

    @blueprint.get("/mailbox")
    def mails() -> Response:
        allowed()
        heads, total = mailbox.heads()
        if not gate.wants_page():
            return _private(jsonify({"mails": [head.as_json() for head in heads], "total": total}))
        return _private(make_response(render_template("portal/mailbox.html", heads=heads, total=total)))

    @blueprint.get("/mailbox/<name>")
    def mail(name: str) -> Response:
        allowed()
        found = mailbox.read(name)
        if found is None:
            raise NotFound
        if not gate.wants_page():
            return _private(jsonify(found.as_json()))
        response = _private(make_response(render_template("portal/mail.html", mail=found)))
        response.headers["Content-Security-Policy"] = POLICY
        return response


def _guard(settings: Settings) -> Callable[[], None]:
    """Raises Forbidden for callers from elsewhere, and for pages of another name that was pointed at this machine."""
    names = {"localhost", urlsplit(settings.base_url).hostname}

    def check() -> None:
        asked = urlsplit(f"//{request.host}").hostname or ""
        if not gate.local() or not (asked in names or asked.endswith(".localhost") or _loopback(asked)):
            raise Forbidden("The mailbox is shown to this machine alone: open it as localhost.")

    return check


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Vary"] = "Accept"
    return response


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _head(name: str, message: Any) -> Head:
    def told(header: str) -> str:
        return " ".join(str(message.get(header, "")).split())[:500]

    try:
        date = parsedate_to_datetime(told("Date")).astimezone(UTC)
    except (ValueError, TypeError):
        date = None
    return Head(name, told("Subject") or "(no subject)", told("From"), told("To"), date)


def _part(message: EmailMessage, subtype: str) -> str:
    part = message.get_body(preferencelist=(subtype,))
    return "" if part is None else str(part.get_content()).replace("\r\n", "\n")
