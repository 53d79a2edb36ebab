"""An organisation of its own for every test, made by the verb, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from domain import identity
from domain.kernel import crypto
from domain.kernel.clock import FixedClock
from domain.kernel.context import Ctx, SystemActor
from domain.kernel.db import Database
from domain.kernel.ids import new_id

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
