"""A world for mails: an SMTP server that keeps what it takes, the real runner, and mails to promise."""

from __future__ import annotations

import datetime as dt
import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP as Server
from sqlalchemy import text

from domain import identity, notifications
from domain.kernel.context import AnonymousActor, Ctx, SystemActor
from domain.kernel.db import Database
from domain.kernel.ledger import Ledger
from domain.notifications.drivers import Smtp
from domain.notifications.models import Mail
from workers.registry import load_jobs
from workers.runner import Runner

_numbers = itertools.count(1)
SENDER = "Thalweg <no-reply@mail.example>"
LINK = "https://app.example/verify?token=SECRETTOKEN123&x=1"
FACTS = {"name": "Ada Lovelace", "link": LINK, "hours": 24}
SAMPLE: dict[str, Any] = {
    "text": "Ada Lovelace",
    "link": LINK,
    "moment": dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC),
    "count": 24,
}


class Taking:
    """An aiosmtpd handler. `answers` are what RCPT and DATA are answered with, in order; then both are welcome."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.to: list[str] = []
        self.rcpt: list[str] = []
        self.data: list[str] = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.rcpt:
            return self.rcpt.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.data:
            return self.data.pop(0)
        self.raw.append(envelope.content)
        self.taken.append(message_from_bytes(envelope.content, policy=default))
        self.to += envelope.rcpt_tos
        return "250 Taken"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Taking, str]]]:
    """Start a mail server; its handler, and its `host:port`."""
    started: list[Controller] = []

    def start(**options: Any) -> tuple[Taking, str]:
        handler = Taking()
        port = options.pop("port", None) or free_port()
        server = Controller(handler, hostname="127.0.0.1", port=port, enable_SMTPUTF8=options.pop("utf8", True))
        server.SMTP_kwargs |= options
        server.factory = lambda: Server(handler, **server.SMTP_kwargs)
        server.start()
        started.append(server)
        return handler, f"127.0.0.1:{port}"

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def mailbox(serve) -> Taking:
    """A server that the platform is bound to."""
    handler, place = serve()
    notifications.bind(Smtp.at(f"smtp://{place}"), sender=SENDER)
    return handler


@pytest.fixture
def as_platform(database: Database) -> Callable[[], AbstractContextManager[Ctx]]:
    return lambda: database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True)


@pytest.fixture
def as_anyone(database: Database) -> Callable[[], AbstractContextManager[Ctx]]:
    """A caller of a public operation: no organisation, and no platform's rights."""
    return lambda: database.context(AnonymousActor("203.0.113.9"), None)


@pytest.fixture
def organisation(as_platform) -> UUID:
    with as_platform() as ctx:
        return identity.create_organisation(ctx, name=f"Org {next(_numbers)}").id


@pytest.fixture
def promise(as_anyone) -> Callable[..., UUID]:
    """Promise a mail in a transaction of its own."""

    def act(template: str = "verify_email", to: str = "ada@example.com", *, ctx=None, **options: Any) -> UUID:
        options.setdefault("facts", FACTS)
        with (ctx or as_anyone)() as own:
            return notifications.send_mail(own, template, to, **options)

    return act


@pytest.fixture
def row(as_platform) -> Callable[[UUID], Mail]:
    def read(mail_id: UUID) -> Mail:
        with as_platform() as ctx:
            return notifications.get_mail(ctx, mail_id)

    return read


@pytest.fixture
def runner(database: Database, database_url: str) -> Iterator[Runner]:
    ledger = Ledger(database_url, name="test", patience=5.0)
    yield Runner(database, ledger, load_jobs(), worker="test")
    ledger.close()


@pytest.fixture
def job_of(as_platform) -> Callable[[UUID], UUID]:
    def find(mail_id: UUID) -> UUID:
        with as_platform() as ctx:
            found = ctx.session.execute(
                text("SELECT id FROM job WHERE args ->> 'mail_id' = :id"), {"id": str(mail_id)}
            ).scalars()
            return found.one()

    return find


@pytest.fixture
def hurry(as_platform) -> Callable[[UUID], None]:
    """Let the time pass that a job has to wait: until its next attempt, or until its lease ends."""

    def act(job_id: UUID) -> None:
        with as_platform() as ctx:
            ctx.session.execute(
                text("UPDATE job SET available_at = now(), lease_until = now() - interval '1 s' WHERE id = :id"),
                {"id": job_id},
            )

    return act


@pytest.fixture
def run(runner, job_of, hurry):
    """Run a mail's job once; answers the outcome."""

    def act(mail_id: UUID):
        job = job_of(mail_id)
        hurry(job)
        return runner.run(job)

    return act
