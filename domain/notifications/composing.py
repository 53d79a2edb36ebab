"""From facts to a message: the words of a language in a common layout, as text and as HTML.

The words are data (`templates/<language>.toml`), so the text part and the HTML part of a mail cannot say different
things, and a translation is one file.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from domain.notifications.catalogue import LANGUAGES

FOLDER = Path(__file__).parent / "templates"
WIDTH = 72


@dataclass(frozen=True, slots=True)
class Written:
    """A mail in words. `text` and `html` are whole parts."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class _Words:
    """One mail of one language as its file has it. Every string is a template over the facts."""

    subject: str
    text: list[str]
    action: Mapping[str, Any] = field(default_factory=dict)
    details: list[tuple[str, str]] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


def compose(
    *,
    template: str,
    language: str,
    facts: Mapping[str, Any],
    sender: Address,
    recipient: str,
    message_id: str,
    date: datetime,
) -> EmailMessage:
    """The message of a mail, the same each time for the same row: headers, a text part and an HTML part."""
    written = write(template, language, facts, sender=sender.display_name or sender.domain)
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    mailbox, _, domain = recipient.rpartition("@")  # whole, `Address` would refuse an international one
    message["To"] = Address(username=mailbox, domain=domain)
    message["Subject"] = written.subject
    message["Date"] = date
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes back
    message["X-Auto-Response-Suppress"] = "All"  # the same for Exchange
    message["Content-Language"] = language
    # Seven bits on the wire: a relay without 8BITMIME would have to rewrite it.
    message.set_content(written.text, cte="quoted-printable")
    message.add_alternative(written.html, subtype="html", cte="quoted-printable")
    return message


def write(template: str, language: str, facts: Mapping[str, Any], *, sender: str) -> Written:
    """The words of a mail for facts as `catalogue.checked` answers them."""
    book = _book(language)
    words: _Words = book.mails[template]
    known = {"name": "", "sender": sender, **facts}
    subject = " ".join(_text(language).from_string(words.subject).render(known).split())
    parts = {}
    for kind, environment in (("txt", _text(language)), ("html", _html(language))):
        said = _said(environment, book, words, known)
        parts[kind] = environment.get_template(f"layout.{kind}").render(said, subject=subject, language=language)
    return Written(subject, re.sub(r"\n{3,}", "\n\n", parts["txt"]).strip() + "\n", parts["html"])


def _said(environment: Environment, book: _Book, words: _Words, known: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that a layout places, with the facts in. In HTML each is markup already, its facts escaped."""

    def say(source: str) -> Any:
        said = environment.from_string(source).render(known)
        return Markup(said) if environment.autoescape else said  # noqa: S704 - rendered with autoescape on

    return {
        "greeting": say(book.common["greeting"]),
        "colon": book.common["colon"],
        "footer": say(book.common["footer"]),
        "button_hint": say(book.common["button"]),
        "text": [said for source in words.text if (said := say(source))],
        "after": [said for source in words.after if (said := say(source))],
        "details": [(say(label), say(value)) for label, value in words.details],
        "action": words.action
        and {
            "label": say(words.action["label"]),
            "link": say(words.action["link"]),
            "last": words.action.get("last", False),
        },
    }


@dataclass(frozen=True, slots=True)
class _Book:
    common: Mapping[str, Any]
    mails: Mapping[str, _Words]


@lru_cache(maxsize=len(LANGUAGES))
def _book(language: str) -> _Book:
    with (FOLDER / f"{language}.toml").open("rb") as file:
        read = tomllib.load(file)
    common = read.pop("common")
    return _Book(common, {name: _Words(**words) for name, words in read.items()})


@lru_cache(maxsize=len(LANGUAGES))
def _text(language: str) -> Environment:
    # Nothing in a text part is markup: what is escaped there would be read as it stands.
    return _environment(language, autoescape=False)


@lru_cache(maxsize=len(LANGUAGES))
def _html(language: str) -> Environment:
    return _environment(language, autoescape=True)


def _environment(language: str, *, autoescape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=autoescape,  # noqa: S701 - off for text parts alone
        undefined=StrictUndefined,
        keep_trailing_newline=False,
    )
    environment.filters |= {"moment": _moment(language), "wrapped": _wrapped, "linked": _linked}
    return environment


def _moment(language: str) -> Callable[[str], str]:
    common = _book(language).common

    def moment(value: str) -> str:
        at = datetime.fromisoformat(value).astimezone(UTC)
        return str(common["moment"]).format(
            day=at.day, month=common["months"][at.month - 1], year=at.year, time=f"{at:%H:%M}"
        )

    return moment


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False)


_ADDRESS = re.compile(r"https?://[^\s<>\"']+")


def _linked(line: Markup) -> Markup:
    """Addresses in a line as links. Only ours are there: facts of users hold no `://` (see `catalogue`)."""

    def link(found: re.Match[str]) -> str:
        address = found[0]  # escaped already, `&` as `&amp;`
        return f'<a href="{address}" target="_blank" rel="noopener noreferrer" style="color:inherit;">{address}</a>'

    return Markup(_ADDRESS.sub(link, str(escape(line))))  # noqa: S704 - `line` is markup, and escaped if it were not
