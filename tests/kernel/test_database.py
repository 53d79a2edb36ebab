"""One transaction a context, failures that say the right thing, and a pool that heals."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, select, text

from domain.kernel.clock import FixedClock
from domain.kernel.context import SystemActor
from domain.kernel.db import Database, OrganisationBreach, adapted
from domain.kernel.errors import Invalid, Unavailable


def test_a_clean_exit_commits_and_an_exception_rolls_back(world: Any) -> None:
    with world.database.session(world.ours) as session:
        session.add(world.Book(shelf_id=world.our_shelf, title="kept"))
    with pytest.raises(ZeroDivisionError), world.database.session(world.ours) as session:  # noqa: PT012
        session.add(world.Book(shelf_id=world.our_shelf, title="lost"))
        session.flush()
        raise ZeroDivisionError
    with world.database.session(world.ours) as session:
        titles = set(session.scalars(select(world.Book.title)))
    assert "kept" in titles
    assert "lost" not in titles


def test_a_failure_at_commit_gives_the_connection_back(world: Any) -> None:
    for _ in range(30):  # more often than the pool has connections
        with pytest.raises(OrganisationBreach), world.database.session(world.ours) as session:
            session.get(world.Shelf, world.our_shelf).organisation_id = world.theirs
    assert world.database.engine.pool.checkedout() == 0


def test_a_naive_time_never_reaches_the_database(world: Any) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    with pytest.raises(Exception, match="timezone"), world.database.session(world.ours) as session:
        session.add(world.Shelf(name="x", created_at=naive))


def test_times_come_back_in_utc(world: Any) -> None:
    with world.database.session(world.ours) as session:
        assert session.get(world.Shelf, world.our_shelf).created_at.tzinfo is UTC


def test_the_context_clock_stamps_rows(world: Any) -> None:
    clock = FixedClock(datetime(2030, 5, 1, tzinfo=UTC))
    with world.database.context(SystemActor(), world.ours, clock=clock) as ctx:
        shelf = world.Shelf(name="stamped")
        ctx.session.add(shelf)
        ctx.session.flush()
        clock.advance(timedelta(days=1))
        shelf.name = "stamped again"
        ctx.session.flush()
        assert (shelf.created_at.day, shelf.updated_at.day) == (1, 2)


def test_a_value_that_postgres_cannot_hold_is_invalid(world: Any) -> None:
    with pytest.raises(Invalid), world.database.session(world.ours) as session:
        session.add(world.Book(shelf_id=world.our_shelf, title="nul \x00"))


def test_connections_carry_their_limits(database: Database) -> None:
    with database.session(None) as session:
        shown = {
            name: session.scalar(text(f"SHOW {name}")) for name in ("statement_timeout", "lock_timeout", "timezone")
        }
        idle = session.scalar(text("SHOW idle_in_transaction_session_timeout"))
    assert shown == {"statement_timeout": "30s", "lock_timeout": "10s", "timezone": "UTC"}
    assert idle == "1min"


def test_a_statement_past_its_time_is_unavailable(database_url: str) -> None:
    hasty = Database(database_url, timeouts={"statement_timeout": 50})
    with pytest.raises(Unavailable), hasty.session(None) as session:
        session.execute(select(func.pg_sleep(5)))
    hasty.dispose()


def test_a_full_pool_is_unavailable(database_url: str) -> None:
    small = Database(database_url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    with small.session(None) as held:
        held.execute(text("SELECT 1"))
        with pytest.raises(Unavailable), small.session(None) as session:
            session.execute(text("SELECT 1"))
    small.dispose()


def test_the_pool_heals_by_itself_after_the_server_dropped_every_connection(database_url: str) -> None:
    database = Database(database_url, pool_size=5)
    sessions = [database.session(None) for _ in range(4)]
    pids = [manager.__enter__().scalar(select(func.pg_backend_pid())) for manager in sessions]
    for manager in sessions:
        manager.__exit__(None, None, None)
    with psycopg.connect(
        adapted(database_url).set(drivername="postgresql").render_as_string(False), autocommit=True
    ) as other:
        for pid in pids:
            other.execute("SELECT pg_terminate_backend(%s, 2000)", [pid])
    for _ in range(6):
        with database.session(None) as session:
            assert session.scalar(select(func.pg_backend_pid())) not in pids
    database.dispose()


def test_a_connection_lost_within_a_transaction_is_unavailable_and_the_next_one_works(database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(Unavailable), database.session(None) as session:  # noqa: PT012
        pid = session.scalar(select(func.pg_backend_pid()))
        with database.session(None) as other:
            other.execute(select(func.pg_terminate_backend(pid)))
        time.sleep(0.05)
        session.execute(text("SELECT 1"))
    with database.session(None) as session:
        assert session.scalar(text("SELECT 1")) == 1
    database.dispose()


def test_no_server_is_unavailable() -> None:
    database = Database("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(Unavailable), database.session(None) as session:
        session.execute(text("SELECT 1"))


@pytest.mark.parametrize("url", ["sqlite://", "mysql://x/y", "postgresql+psycopg2://x/y"])
def test_only_postgresql_through_psycopg_is_accepted(url: str) -> None:
    with pytest.raises(ValueError, match="PostgreSQL"):
        adapted(url)


def test_an_unused_context_takes_no_connection(database: Database) -> None:
    pool: Any = database.engine.pool
    with database.context(SystemActor(), None):
        assert pool.checkedout() == 0
