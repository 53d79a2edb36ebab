"""The chain: complete, in order, tamper-evident, and free of secrets."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from domain import audit
from domain.audit.chain import PLATFORM
from domain.kernel.clock import FixedClock
from domain.kernel.context import ApiKeyActor, SystemActor, UserActor
from domain.kernel.db import Database, OrganisationBreach
from domain.kernel.errors import Invalid, NotFound
from domain.kernel.pages import CursorPage, OffsetPage


def record(context: Any, count: int = 1, action: str = "thing.do", **more: Any) -> None:
    with context() as ctx:
        for number in range(count):
            audit.record(ctx, action, details={"number": number}, **more)


def tamper(database: Database, statement: str, **values: Any) -> None:
    with database.session(None, platform=True) as session:
        session.execute(text("ALTER TABLE audit_entry DISABLE TRIGGER USER"))
        session.execute(text(statement), values)
        session.execute(text("ALTER TABLE audit_entry ENABLE TRIGGER USER"))


def test_an_entry_says_who_did_what_to_what_from_where(context: Any, clock: FixedClock) -> None:
    user, thing = uuid4(), uuid4()
    with context(UserActor(user), request_id="r-1", address="192.0.2.7", user_agent="curl", surface="thalium") as ctx:
        audit.record(
            ctx,
            "thing.do",
            resource_type="thing",
            resource_id=thing,
            outcome="denied",
            details={"a": [1]},
            duration_ms=12,
        )
    with context() as ctx:
        entry = audit.find(ctx, actions=["thing.do"]).items[0]
        assert (entry.actor_kind, entry.actor_id, entry.outcome) == ("user", str(user), "denied")
        assert (entry.resource_type, entry.resource_id, entry.duration_ms) == ("thing", str(thing), 12)
        assert (entry.correlation_id, entry.address, entry.user_agent, entry.surface) == (
            *("r-1", "192.0.2.7", "curl", "thalium"),
        )
        assert (entry.details, entry.created_at) == ({"a": [1]}, clock.now())
        assert audit.get(ctx, entry.id) is entry


def test_the_chain_counts_without_gaps_and_verifies(context: Any) -> None:
    for _ in range(3):
        record(context, 4)
    with context() as ctx:
        sequences = [entry.sequence for entry in audit.find(ctx, page=OffsetPage(100)).items]
        assert sequences == list(range(14, 0, -1))  # two of them from the founding
        assert audit.verify(ctx) == audit.Verification(True, 14)


def test_a_rolled_back_change_leaves_no_entry(context: Any) -> None:
    with pytest.raises(ZeroDivisionError), context() as ctx:  # noqa: PT012
        audit.record(ctx, "thing.lost")
        raise ZeroDivisionError
    with context() as ctx:
        assert audit.find(ctx, actions=["thing.lost"]).items == []


def test_an_entry_follows_the_savepoint_it_was_made_in(context: Any) -> None:
    with context() as ctx:
        audit.record(ctx, "step.before")
        outer = ctx.session.begin_nested()
        audit.record(ctx, "step.outer")
        inner = ctx.session.begin_nested()
        audit.record(ctx, "step.inner")
        inner.commit()
        outer.rollback()
        audit.record(ctx, "step.between")
        abandoned = ctx.session.begin_nested()
        ctx.session.begin_nested()
        audit.record(ctx, "step.open")
        abandoned.rollback()
        kept = ctx.session.begin_nested()
        audit.record(ctx, "step.kept")
        kept.commit()
    with context() as ctx:
        assert [entry.action for entry in audit.find(ctx).items][:3] == ["step.kept", "step.between", "step.before"]
        assert audit.find(ctx, actions=["step.outer", "step.inner", "step.open"]).items == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "UPDATE audit_entry SET details = '[]' WHERE organisation_id = :o AND sequence = 5",
            "content changed",
        ),
        ("UPDATE audit_entry SET actor_id = 'x' WHERE organisation_id = :o AND sequence = 5", "content changed"),
        ("UPDATE audit_entry SET created_at = now() WHERE organisation_id = :o AND sequence = 5", "content changed"),
        ("UPDATE audit_entry SET surface = 'x' WHERE organisation_id = :o AND sequence = 5", "content changed"),
        ("DELETE FROM audit_entry WHERE organisation_id = :o AND sequence = 5", "entry missing"),
        ("UPDATE audit_entry SET prev_hash = row_hash WHERE organisation_id = :o AND sequence = 5", "does not follow"),
    ],
)
def test_a_changed_link_is_found(
    database: Database, context: Any, organisation: UUID, change: str, reason: str
) -> None:
    record(context, 8)
    tamper(database, change, o=organisation)
    with context() as ctx:
        found = audit.verify(ctx)
    assert (found.intact, found.broken_at) == (False, 5)
    assert reason in (found.reason or "")


def test_a_cut_end_is_found(database: Database, context: Any, organisation: UUID) -> None:
    record(context, 4)
    tamper(database, "DELETE FROM audit_entry WHERE organisation_id = :o AND sequence > 4", o=organisation)
    with context() as ctx:
        found = audit.verify(ctx)
    assert (found.intact, found.broken_at) == (False, 5)


@pytest.mark.parametrize(
    "change", ["UPDATE audit_entry SET action = 'x'", "DELETE FROM audit_entry", "TRUNCATE audit_entry"]
)
def test_the_database_itself_refuses_to_change_entries(database: Database, context: Any, change: str) -> None:
    record(context)
    with pytest.raises(Exception, match="append-only"), database.session(None, platform=True) as session:
        session.execute(text(change))


def test_eight_writers_at_once_make_one_unbroken_chain(database: Database, context: Any) -> None:
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for _ in range(15):
                record(context, 2)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with context() as ctx:
        assert audit.verify(ctx) == audit.Verification(True, 2 + 8 * 15 * 2)


def test_writers_of_two_chains_in_opposite_order_do_not_deadlock(database: Database, found: Any) -> None:
    from domain.kernel.db import acting_for

    one, two = found(), found()
    failures: list[BaseException] = []

    def write(order: list[UUID]) -> None:
        try:
            for _ in range(20):
                with database.context(SystemActor(), None, platform=True) as ctx:
                    for organisation in order:
                        with acting_for(ctx, organisation) as inside:
                            audit.record(inside, "thing.do")
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(order,)) for order in ([one, two], [two, one]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_another_organisations_entries_do_not_exist(context: Any, found: Any) -> None:
    record(context, 2)
    with context() as ctx:
        entry = audit.find(ctx).items[0]
    with context(of=found()) as ctx:
        assert {other.action for other in audit.find(ctx).items} == {"organisation.create", "subscription.set"}
        with pytest.raises(NotFound):
            audit.get(ctx, entry.id)


def test_the_platform_has_a_chain_of_its_own(database: Database) -> None:
    with database.context(SystemActor("operator"), None, platform=True) as ctx:
        audit.record(ctx, "job.retry", resource_id="j")
    with database.context(SystemActor(), None, platform=True) as ctx:
        entries = audit.find(ctx).items
        assert [(entry.action, entry.organisation_id) for entry in entries] == [("job.retry", PLATFORM)]
        assert audit.verify(ctx).intact


def test_a_public_context_has_no_chain(database: Database) -> None:
    with pytest.raises(OrganisationBreach), database.context(SystemActor(), None) as ctx:
        audit.record(ctx, "thing.do")


def test_filters_and_pages_of_a_listing(context: Any, clock: FixedClock) -> None:
    key = uuid4()
    start = clock.now()
    for number in range(7):
        clock.advance(timedelta(minutes=1))
        with context(ApiKeyActor(key), request_id=f"r{number}") as ctx:
            audit.record(ctx, f"thing.{number % 2}", resource_type="thing", resource_id=str(number))
    with context() as ctx:
        assert audit.find(ctx, actor_id=key, page=OffsetPage(3)).total == 7
        assert len(audit.find(ctx, actions=["thing.1"]).items) == 3
        assert len(audit.find(ctx, resource_type="thing", resource_id="4").items) == 1
        assert len(audit.find(ctx, correlation_id="r5").items) == 1
        assert audit.find(ctx, outcome="failure").items == []
        between = audit.find(ctx, since=start + timedelta(minutes=2), until=start + timedelta(minutes=4))
        assert [entry.resource_id for entry in between.items] == ["2", "1"]
        first = audit.find(ctx, actor_id=key, page=CursorPage(4))
        rest = audit.find(ctx, actor_id=key, page=CursorPage(4, first.next_cursor))
        assert [entry.resource_id for entry in (*first.items, *rest.items)] == list("6543210")
        assert rest.next_cursor is None
        with pytest.raises(Invalid, match="malformed cursor"):
            audit.find(ctx, actor_id="other", page=CursorPage(4, first.next_cursor))


def test_retention_takes_the_oldest_and_what_is_left_verifies(context: Any, clock: FixedClock) -> None:
    record(context, 5)
    clock.advance(timedelta(days=91))
    record(context, 3)
    with context() as ctx:
        assert audit.purge(ctx, clock.now() - timedelta(days=90), limit=4) == 4
    with context() as ctx:
        assert audit.purge(ctx, clock.now() - timedelta(days=90)) == 3
    with context() as ctx:
        assert audit.purge(ctx, clock.now() - timedelta(days=90)) == 0
        assert [entry.action for entry in audit.find(ctx).items] == [*["audit.purge"] * 2, *["thing.do"] * 3]
        assert audit.verify(ctx) == audit.Verification(True, 5)


def test_the_permission_to_delete_ends_with_the_retention_verb(context: Any, clock: FixedClock) -> None:
    record(context, 5)
    with pytest.raises(Exception, match="append-only"), context() as ctx:  # noqa: PT012
        assert audit.purge(ctx, clock.now() + timedelta(days=1), limit=2) == 2
        for entry in audit.find(ctx).items:
            ctx.session.delete(entry)
        ctx.session.flush()
