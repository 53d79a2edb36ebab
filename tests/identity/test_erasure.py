"""An account that is erased takes what was the person's own with it, whichever context keeps it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import CheckConstraint, Column, Connection, Float, String, Table, func, insert, select, text, update
from sqlalchemy.types import ARRAY, JSON, BigInteger, Boolean, DateTime, Integer, LargeBinary, Numeric, Uuid

from domain import identity
from domain.identity import erasure, upkeep
from domain.identity.models import Account, Invite, Membership, Organisation, ServiceToken, SignupRequest
from domain.kernel.context import SystemActor
from domain.kernel.ids import new_id
from domain.kernel.models import Base
from domain.memory import personal
from domain.startup import load_tables
from workers.jobs import identity as jobs

load_tables()
PERSON = re.compile(r"user|account|owner|author|person|assignee|member_id|subject_id|issuer|actor_id|(?:^|_)by$")
"""Names of columns that may say who somebody is."""
NO_PERSON = {
    ("account", "email_key"): "the account itself, which loses its address",
    ("agent_version", "changed_by"): "",
    ("external_identity", "issuer"): "the provider",
    ("marketplace_agent", "publisher_id"): "an organisation",
    ("ring_entry", "superseded_by"): "another entry",
    ("service_token", "account"): "a service account's name",
    ("user_session", "user_agent"): "a browser",
    ("audit_entry", "user_agent"): "a browser",
}
KEPT = {
    "account": "the row without a name, so that nobody gets its id again",
    "audit_entry": "sealed, append-only, and with a retention of its own",
    "job": "names the account that is to be erased, and goes with the purge of jobs that are done",
    "mail": "on its way: the last one confirms the deletion; those that were delivered go at once",
}
"""Tables that may still name the account, and why."""


def _person_columns(table: Table) -> list[Column[Any]]:
    names = [c for c in table.columns if PERSON.search(c.name) and isinstance(c.type, Uuid | String)]
    return [c for c in names if (table.name, c.name) not in NO_PERSON]


TABLES = sorted(
    (t for t in Base.metadata.tables.values() if t.name not in {*KEPT, "membership"} and _person_columns(t)), key=str
)
CHECKED: Mapping[str, Mapping[str, Any]] = {
    "agent_access": {"tier": "user"},
    "ring_entry": {"address_key": "a.b.c.d", "session_id": "s"},
}
"""What the rules of a table ask for."""
ONCE = frozenset({"account_picture", "external_identity", "platform_agent_setting"})
"""Tables that know no organisation."""
DELETED_FIRST = frozenset({"collection", "document", "stored_object"})
"""Rows that are found no more, until a job has taken away what belongs to them in the storage."""


def _value(table: Table, column: Column[Any], organisation_id: UUID) -> Any:
    """Something that the column takes."""
    wished = {**_listed(table), **CHECKED.get(table.name, {})}
    if column.name in wished:
        return wished[column.name]
    if column.name == "organisation_id":
        return organisation_id
    kind = getattr(column.type, "impl_instance", column.type)
    if isinstance(kind, Uuid):
        return new_id()
    if isinstance(kind, ARRAY):
        return []
    if isinstance(kind, JSON):
        return {}
    if isinstance(kind, Boolean):
        return False
    if isinstance(kind, Integer | BigInteger | Numeric | Float):
        return 1
    if isinstance(kind, DateTime):
        return datetime.now(UTC)
    if isinstance(kind, LargeBinary):
        return new_id().bytes + new_id().bytes
    return new_id().hex[-8:][: getattr(kind, "length", None) or 8]


def _listed(table: Table) -> dict[str, str]:
    """For columns that take one of a few words: the first of them."""
    rules = [str(c.sqltext) for c in table.constraints if isinstance(c, CheckConstraint)]
    return dict(found.groups() for rule in rules if (found := re.match(r"(\w+) IN \('([^']+)'", rule)))


def _put(connection: Connection, table: Table, account_id: UUID, organisation_id: UUID) -> dict[str, Any]:
    """A row that names the person in every column that can, with the rows that it has to refer to."""
    values: dict[str, Any] = {}
    for column in table.columns:
        wished = CHECKED.get(table.name, {})
        if column in _person_columns(table):
            values[column.name] = account_id if isinstance(column.type, Uuid) else f"user:{account_id}"
        elif column.computed is not None or (column.nullable and column.name not in wished):
            continue
        elif column.foreign_keys and column.name not in wished and column.name != "organisation_id":
            parent = next(iter(column.foreign_keys)).column
            values[column.name] = _put(connection, parent.table, account_id, organisation_id)[parent.name]
        else:
            values[column.name] = _value(table, column, organisation_id)
    connection.execute(insert(table).values(**values))
    return values


@pytest.fixture
def leaving(people: Any) -> tuple[UUID, list[UUID], str]:
    """Somebody who wants to go, named in every table that can name a person, in an organisation of their own and in
    one of others; the address is theirs."""
    signed_in = people.sign_in(people.register())
    own, account_id, email = signed_in.belonging.organisation_id, signed_in.account.id, signed_in.account.email
    with people.database.context(SystemActor(), None, platform=True, clock=people.clock) as ctx:
        shared = identity.create_organisation(ctx, name="Shared", slug=f"shared-{new_id().hex[-12:]}").id
    with people.database.context(SystemActor(), None, platform=True, clock=people.clock) as ctx:
        identity.accounts.join(ctx, identity.accounts.get(ctx, account_id), shared, "member", source="invite")
    with people.database.session(None, platform=True) as session:
        connection = session.connection()
        for table in TABLES:
            for organisation_id in (own, shared):
                if table.name in ONCE and organisation_id == shared:
                    continue
                _put(connection, table, account_id, organisation_id)
        settings = {"signup": {"mode": "open", "updated_by": str(account_id)}}
        connection.execute(update(Organisation).where(Organisation.id == shared).values(settings=settings))
    with people.as_person(signed_in) as ctx:
        identity.accounts.request_deletion(ctx, "thallus", password="Staple-orbit-lantern-42", confirmed=False)
    people.clock.advance(timedelta(days=31))
    return account_id, [own, shared], email


def run(people: Any, account_id: UUID) -> None:
    with people.database.context(SystemActor(), None, platform=True, clock=people.clock) as ctx:
        jobs.erase(ctx, {"account_id": str(account_id)})


def named(people: Any, words: Iterable[str]) -> dict[str, int]:
    """How many rows of each table hold one of the words, in whichever column; without those that are deleted already,
    which a job takes away."""
    found = {}
    with people.database.session(None, platform=True) as session:
        connection = session.connection()
        for table in Base.metadata.tables.values():
            alive = "deleted_at IS NULL" if table.name in DELETED_FIRST else "true"
            any_of = " OR ".join(f"t::text LIKE :w{number}" for number, _ in enumerate(words))
            given = {f"w{number}": f"%{word}%" for number, word in enumerate(words)}
            count = connection.scalar(
                text(f'SELECT count(*) FROM "{table.name}" t WHERE ({any_of}) AND {alive}'), given
            )
            if count:
                found[table.name] = int(count)
    return found


def test_nothing_names_an_account_that_was_erased(people: Any, leaving: tuple[UUID, list[UUID], str]) -> None:
    account_id, _, email = leaving
    words = [str(account_id), email]
    before = named(people, words)
    assert {table.name for table in TABLES} <= before.keys()  # or the test would prove nothing
    run(people, account_id)
    assert named(people, words).keys() - KEPT.keys() == set()


def test_erasing_again_does_nothing(people: Any, leaving: tuple[UUID, list[UUID], str]) -> None:
    account_id, organisations, _ = leaving
    with people.database.context(SystemActor(), None, platform=True, clock=people.clock) as ctx:
        assert account_id in erasure.due_accounts(ctx)
        assert sorted(erasure.erase_account(ctx, account_id, jobs.ERASERS) or ()) == sorted(organisations)
        assert erasure.erase_account(ctx, account_id, jobs.ERASERS) is None
        assert account_id not in erasure.due_accounts(ctx)


def test_what_was_made_for_the_organisation_stays_there(people: Any, leaving: tuple[UUID, list[UUID], str]) -> None:
    account_id, (own, shared), _ = leaving
    with people.database.session(None, platform=True) as session:
        kept = (
            session.connection()
            .execute(
                insert(Base.metadata.tables["collection"])
                .values(
                    id=new_id(),
                    organisation_id=shared,
                    kind="knowledge_base",
                    name="Handbook",
                    created_by=account_id,
                    **{**_fillers("collection", shared), "visibility": "organisation"},
                )
                .returning(Base.metadata.tables["collection"].c.id)
            )
            .scalar_one()
        )
    run(people, account_id)
    with people.database.session(None, platform=True) as session:
        collection = Base.metadata.tables["collection"]
        row = session.execute(select(collection).where(collection.c.id == kept)).one()
        assert (row.created_by, row.deleted_at) == (None, None)
        closed = session.get(Organisation, own)
        assert (closed.name, closed.deleted_at is None) == ("Erased", False)
        assert session.get(Organisation, shared).deleted_at is None


def _fillers(name: str, organisation_id: UUID) -> dict[str, Any]:
    """Values for what else has to be there."""
    table = Base.metadata.tables[name]
    said = {"id", "organisation_id", "kind", "name", "created_by"}
    needed = (c for c in table.columns if not c.nullable and c.computed is None and c.name not in said)
    return {c.name: _value(table, c, organisation_id) for c in needed}


def test_who_was_removed_everywhere_is_erased_in_every_context_after_a_month(people: Any) -> None:
    signed_in = people.sign_in(people.register())
    account_id, organisation_id = signed_in.account.id, signed_in.belonging.organisation_id
    with people.as_person(signed_in) as ctx:
        personal.remember(ctx, account_id, "Prefers tea.", category="PREFERENCES")
    with people.database.session(None, platform=True) as session:
        gone = update(Membership).where(Membership.account_id == account_id)
        session.execute(gone.values(status="deleted", deleted_at=people.clock.now()))
    for days, due in ((29, False), (2, True)):
        people.clock.advance(timedelta(days=days))
        with people.database.context(SystemActor(), None, platform=True, clock=people.clock) as ctx:
            assert (account_id in erasure.due_accounts(ctx)) is due
    run(people, account_id)
    with people.database.context(SystemActor(), organisation_id) as ctx:
        assert personal.memory_stats(ctx, account_id).total == 0


def test_who_came_back_meanwhile_keeps_everything(people: Any) -> None:
    email = people.register()
    signed_in = people.sign_in(email)
    with people.as_person(signed_in) as ctx:
        identity.accounts.request_deletion(ctx, "thallus", password="Staple-orbit-lantern-42", confirmed=False)
    people.clock.advance(timedelta(days=29))
    people.sign_in(email)
    people.clock.advance(timedelta(days=2))
    run(people, signed_in.account.id)
    with people.database.session(None, platform=True) as session:
        assert session.get(Account, signed_in.account.id).email == email


# --- what is over goes after a while ---------------------------------------------------------------------------


def test_what_is_over_is_listed_for_ninety_days_and_then_goes(people: Any, organisation: UUID) -> None:
    now = people.clock.now()
    rows = {
        ServiceToken: {"expires_at": now},
        Invite: {"expires_at": now, "role": "member", "redemptions": 0},
        SignupRequest: {"status": "rejected", "decided_at": now},
    }
    with people.database.session(None, platform=True) as session:
        for model, over in rows.items():
            table = model.__table__
            assert isinstance(table, Table)
            values = {c.name: _value(table, c, organisation) for c in table.columns if not c.nullable}
            session.connection().execute(insert(table).values(**{**values, "organisation_id": organisation, **over}))
    for days, left in ((89, 1), (2, 0)):
        people.clock.advance(timedelta(days=days))
        with people.database.context(SystemActor(), None, platform=True, clock=people.clock) as ctx:
            upkeep.purge_expired(ctx)
        for model in rows:
            with people.database.session(None, platform=True) as session:
                mine = select(func.count()).select_from(model).where(model.organisation_id == organisation)
                assert session.scalar(mine) == left, model


def test_a_request_that_nobody_decides_goes_after_a_year(people: Any) -> None:
    email = people.email()
    with people.database.session(None, platform=True) as session:
        asked = SignupRequest(email=email, email_key=email, status="pending", created_at=people.clock.now())
        session.add(asked)
    for days, left in ((364, 1), (2, 0)):
        people.clock.advance(timedelta(days=days))
        with people.database.context(SystemActor(), None, platform=True, clock=people.clock) as ctx:
            upkeep.purge_expired(ctx)
        with people.database.session(None, platform=True) as session:
            assert session.scalar(select(func.count()).where(SignupRequest.email == email)) == left
