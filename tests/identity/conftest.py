"""An organisation of its own for every test, made by the verb, and a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from domain import identity
from domain.identity.sessions import SignedIn
from domain.kernel import crypto
from domain.kernel.clock import FixedClock
from domain.kernel.context import AnonymousActor, Ctx, SystemActor, UserActor
from domain.kernel.db import Database
from domain.kernel.ids import new_id
from domain.notifications.models import Mail

PASSWORD = "Staple-orbit-lantern-42"
Open = Callable[..., AbstractContextManager[Ctx]]


@pytest.fixture(scope="session", autouse=True)
def secret_keys() -> Iterator[None]:
    before = crypto._ring
    crypto.use(crypto.KeyRing({"test": crypto.KeyRing.new_key()}))
    yield
    crypto.use(before)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 3, 10, 12, tzinfo=UTC))


@pytest.fixture
def found(database: Database, clock: FixedClock) -> Callable[[], UUID]:
    """Found an organisation."""

    def make(**wishes: Any) -> UUID:
        with database.context(SystemActor(), None, platform=True, clock=clock) as ctx:
            return identity.create_organisation(ctx, name="Test", slug=f"t-{new_id().hex}", **wishes).id

    return make


@pytest.fixture
def organisation(found: Callable[[], UUID]) -> UUID:
    return found()


@pytest.fixture
def context(database: Database, organisation: UUID, clock: FixedClock) -> Open:
    """Open a context of the test's organisation (or of another), as the platform unless told."""

    def make(actor: Any = None, of: UUID | None = None, **more: Any) -> AbstractContextManager[Ctx]:
        more.setdefault("clock", clock)
        return database.context(actor or SystemActor(), of or organisation, **more)

    return make


@dataclass
class People:
    """Strangers at the door of a surface, and what reaches their mailboxes."""

    database: Database
    clock: FixedClock
    address: str = "203.0.113.7"

    def context(self, surface: str = "thallus", **more: Any) -> AbstractContextManager[Ctx]:
        """A context of somebody who has not signed in."""
        more.setdefault("actor", AnonymousActor(self.address))
        more.setdefault("organisation_id", None)
        return self.database.context(
            surface=surface, address=self.address, user_agent="Mozilla/5.0 Firefox/130.0", clock=self.clock, **more
        )

    def as_person(self, signed_in: SignedIn) -> AbstractContextManager[Ctx]:
        """A context of somebody who has."""
        organisation_id = None if signed_in.belonging is None else signed_in.belonging.organisation_id
        actor = UserActor(signed_in.account.id, signed_in.session.id)
        return self.context(
            signed_in.session.surface,
            actor=actor,
            organisation_id=organisation_id,
            permissions=signed_in.permissions,
        )

    def email(self) -> str:
        return f"ada-{new_id().hex[-12:]}@example.org"

    def mails(self, email: str) -> list[tuple[str, dict[str, Any]]]:
        """Mails promised to an address, the oldest first: template and facts."""
        with self.database.session(None, platform=True) as session:
            rows = session.scalars(select(Mail).where(Mail.recipient == email).order_by(Mail.created_at, Mail.id))
            return [
                (row.template, json.loads(unsealed.reveal()))
                for row in rows
                if (unsealed := crypto.unseal(row, "facts"))
            ]

    def token(self, email: str, template: str) -> str:
        """The token behind the link of the newest mail of a kind."""
        facts = [facts for name, facts in self.mails(email) if name == template][-1]
        return str(facts["link"]).partition("#")[2]

    def register(self, surface: str = "thallus", *, email: str | None = None, password: str = PASSWORD) -> str:
        """Somebody with a verified address and an organisation of their own; the address."""
        email = email or self.email()
        with self.context(surface) as ctx:
            identity.accounts.register(ctx, surface, email=email, password=password, name="Ada Lovelace")
        with self.context(surface) as ctx:
            identity.accounts.verify_email(ctx, self.token(email, "verify_email"))
        return email

    def sign_in(self, email: str, surface: str = "thallus", password: str = PASSWORD, **more: Any) -> SignedIn:
        with self.context(surface) as ctx:
            return identity.signin.sign_in(ctx, surface, email, password, **more)


@pytest.fixture
def people(database: Database) -> People:
    return People(database, FixedClock(datetime.now(UTC)))
