"""A world for jobs: an organisation, an empty outbox, and a registry, ledger and runner of the test's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from domain import identity
from domain.kernel.context import Ctx, SystemActor
from domain.kernel.db import Database
from domain.kernel.ledger import Ledger
from domain.kernel.outbox import Job, enqueue
from workers.registry import Registry
from workers.runner import Runner

_numbers = itertools.count(1)


@pytest.fixture
def as_platform(database: Database) -> Callable[[], AbstractContextManager[Ctx]]:
    return lambda: database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True)


@pytest.fixture(autouse=True)
def _empty_outbox(as_platform: Callable[[], AbstractContextManager[Ctx]]) -> None:
    with as_platform() as ctx:
        ctx.session.execute(text("DELETE FROM job"))
        ctx.session.execute(text("DELETE FROM cron_tick"))
        ctx.session.execute(text("CREATE TABLE IF NOT EXISTS noted (note text)"))
        ctx.session.execute(text("DELETE FROM noted"))


@pytest.fixture
def organisation(as_platform: Callable[[], AbstractContextManager[Ctx]]) -> UUID:
    with as_platform() as ctx:
        return identity.create_organisation(ctx, name=f"Org {next(_numbers)}").id


@pytest.fixture
def as_organisation(database: Database, organisation: UUID) -> Callable[[], AbstractContextManager[Ctx]]:
    return lambda: database.context(SystemActor("test"), organisation, frozenset({"admin"}), request_id="req-1")


@pytest.fixture
def promise(as_organisation: Callable[[], AbstractContextManager[Ctx]]) -> Callable[..., UUID]:
    """Enqueue in a transaction of its own."""

    def act(job: str, args: dict[str, Any] | None = None, **options: Any) -> UUID:
        with as_organisation() as ctx:
            return enqueue(ctx, job, args or {}, **options)

    return act


@pytest.fixture
def row(as_platform: Callable[[], AbstractContextManager[Ctx]]) -> Callable[[UUID], Job]:
    """The outbox row as it stands in the database."""

    def read(job_id: UUID) -> Job:
        with as_platform() as ctx:
            found = ctx.session.get(Job, job_id)
            assert found is not None
            return found

    return read


@pytest.fixture
def alter(as_platform: Callable[[], AbstractContextManager[Ctx]]) -> Callable[..., None]:
    """Move a row in time: `alter(id, available_at=timedelta(0))` sets the column to now plus that."""

    def act(job_id: UUID, **columns: timedelta) -> None:
        with as_platform() as ctx:
            for column, ahead in columns.items():
                ctx.session.execute(
                    text(f"UPDATE job SET {column} = clock_timestamp() + :ahead WHERE id = :id"),
                    {"ahead": ahead, "id": job_id},
                )

    return act


@pytest.fixture
def note() -> Callable[[Ctx, str], None]:
    """An effect that a second run would double."""
    return lambda ctx, what: ctx.session.execute(text("INSERT INTO noted VALUES (:what)"), {"what": what}) and None


@pytest.fixture
def notes(as_platform: Callable[[], AbstractContextManager[Ctx]]) -> Callable[[], list[str]]:
    def read() -> list[str]:
        with as_platform() as ctx:
            return list(ctx.session.execute(text("SELECT note FROM noted ORDER BY 1")).scalars())

    return read


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    ledger = Ledger(database_url, name="test", patience=5.0)
    yield ledger
    ledger.close()


class Collected(list[tuple[str, int, str, dict[str, Any]]]):
    """A publisher that keeps what it is given."""

    def publish(self, channel: str, number: int, event: str, data: Any, *, later: bool = False) -> bool:
        self.append((channel, number, event, dict(data)))
        return True


@pytest.fixture
def published() -> Collected:
    return Collected()


@pytest.fixture
def runner(database: Database, ledger: Ledger, registry: Registry, published: Collected) -> Runner:
    return Runner(database, ledger, registry, publisher=published, worker="test")
