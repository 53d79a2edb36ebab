"""Organisations and keys: issued once, verified by digest, revoked everywhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from domain import audit, billing, identity
from domain.identity import rules
from domain.kernel import crypto
from domain.kernel.context import AnonymousActor, ApiKeyActor, SystemActor
from domain.kernel.db import Database, OrganisationBreach
from domain.kernel.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from domain.kernel.pages import CursorPage, OffsetPage


def issue(context: Any, **wishes: Any) -> tuple[identity.ApiKey, str]:
    wishes = {"name": "key", "scopes": ["invoke"], **wishes}
    with context() as ctx:
        return identity.issue_api_key(ctx, **wishes)


# --- organisations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", [True, False])
def test_an_organisation_begins_with_a_slug_a_plan_and_audit_entries(database: Database, platform: bool) -> None:
    actor = SystemActor() if platform else AnonymousActor()
    with database.context(actor, None, platform=platform) as ctx:
        made = identity.create_organisation(ctx, name=f"Zürich Werke {platform}", plan="neuron")
    assert made.slug == f"zurich-werke-{str(platform).lower()}"
    with database.context(SystemActor(), made.id) as ctx:
        assert identity.get_organisation(ctx).name == f"Zürich Werke {platform}"
        assert billing.plan_of(ctx).name == "neuron"
        assert [entry.action for entry in audit.find(ctx).items] == ["subscription.set", "organisation.create"]


def test_a_taken_slug_is_a_conflict_and_the_transaction_goes_on(database: Database) -> None:
    slug = f"s-{uuid4().hex}"
    with database.context(SystemActor(), None, platform=True) as ctx:
        identity.create_organisation(ctx, name="First", slug=slug)
        with pytest.raises(Conflict):
            identity.create_organisation(ctx, name="Second", slug=slug)
        assert identity.find_organisation(ctx, slug).name == "First"


@pytest.mark.parametrize(
    "wish", [{"name": "  "}, {"name": "x" * 201}, {"name": "nul\x00"}, {"slug": "Not A Slug"}, {"plan": "gold"}]
)
def test_a_bad_organisation_is_invalid(database: Database, wish: dict[str, str]) -> None:
    with pytest.raises(Invalid), database.context(SystemActor(), None, platform=True) as ctx:
        identity.create_organisation(ctx, **{"name": "Good", **wish})


def test_a_name_without_letters_still_gets_a_slug() -> None:
    assert rules.slug_of("東京") == ""
    assert not rules.is_slug("")


def test_an_organisation_is_not_founded_from_within_another(context: Any) -> None:
    with pytest.raises(OrganisationBreach), context() as ctx:
        identity.create_organisation(ctx, name="Nested")


def test_a_closed_organisation_is_gone_and_its_keys_with_it(database: Database, context: Any) -> None:
    _, plain = issue(context)
    with context() as ctx:
        identity.close_organisation(ctx)
    with pytest.raises(Unauthenticated):
        identity.verify_api_key(database, plain, "thalium")
    with pytest.raises(NotFound), context() as ctx:
        identity.get_organisation(ctx)


# --- keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "prefix", "scopes"),
    [
        ("thalium", "thm_", ["invoke", "memory:read", "invoke"]),
        ("thallus", "thal_", ["full"]),
        ("thalian", "thal_", ["write"]),
        ("beeflow", "bfk_", ["read-only"]),
    ],
)
def test_a_key_stands_for_its_organisation_and_scopes(
    database: Database, context: Any, organisation: UUID, kind: str, prefix: str, scopes: list[str]
) -> None:
    key, plain = issue(context, scopes=scopes, kind=kind, requests_per_minute=7)
    verified = identity.verify_api_key(database, plain, kind)
    assert plain.startswith(prefix)
    assert (verified.key_id, verified.organisation_id, verified.requests_per_minute) == (key.id, organisation, 7)
    assert verified.scopes == set(scopes)


def test_the_plain_key_is_nowhere_in_the_database(database: Database, context: Any) -> None:
    key, plain = issue(context)
    with database.session(None, platform=True) as session:
        rows = "".join(
            str(session.execute(text(f"SELECT t::text FROM {table} t")).all()) for table in ("api_key", "audit_entry")
        )
    assert plain not in rows
    assert plain[12:] not in rows
    assert key.prefix == plain[:10]


def test_every_way_of_being_wrong_is_the_same_error(database: Database, context: Any) -> None:
    soon = datetime.now(UTC) + timedelta(milliseconds=300)
    _, expired = issue(context, expires_at=soon)
    revoked_key, revoked = issue(context)
    _, other_kind = issue(context, kind="thallus", scopes=["full"])
    with context() as ctx:
        identity.revoke_api_key(ctx, revoked_key.id)
    time.sleep(0.35)
    said = set()
    for plain in (
        expired,
        revoked,
        other_kind,
        crypto.token("thm_"),
        "",
        "thm_",
        "x" * 100_000,
        "thm_\x00" + "a" * 42,
        "é\ud800",
    ):
        with pytest.raises(Unauthenticated) as refused:
            identity.verify_api_key(database, plain, "thalium")
        said.add((refused.value.message, tuple(refused.value.facts)))
    with pytest.raises(Unauthenticated):
        identity.verify_api_key(database, other_kind, "thalian")  # same prefix, other kind
    assert len(said) == 1


def test_a_key_is_noted_as_used_at_most_once_a_minute(database: Database, context: Any) -> None:
    key, plain = issue(context)

    def used() -> datetime | None:
        with context() as ctx:
            return identity.get_api_key(ctx, key.id).last_used_at

    assert used() is None
    identity.verify_api_key(database, plain, "thalium")
    first = used()
    assert first is not None
    identity.verify_api_key(database, plain, "thalium")
    assert used() == first
    with database.session(None, platform=True) as session:
        session.execute(
            text("UPDATE api_key SET last_used_at = last_used_at - interval '61 s' WHERE id = :id"), {"id": key.id}
        )
    identity.verify_api_key(database, plain, "thalium")
    assert (used() or first) > first


def test_verifying_does_not_wait_for_a_locked_key(database: Database, context: Any) -> None:
    key, plain = issue(context)
    with context() as ctx:
        ctx.session.execute(select(func.set_config("lock_timeout", "100", True)))
        ctx.session.execute(select(identity.ApiKey).where(identity.ApiKey.id == key.id).with_for_update())
        assert identity.verify_api_key(database, plain, "thalium").key_id == key.id


def test_nobody_hands_out_a_scope_they_lack(context: Any) -> None:
    actor = ApiKeyActor(uuid4())
    with context(actor, permissions=frozenset({"invoke"})) as ctx:
        identity.issue_api_key(ctx, "mine", ["invoke"])
        with pytest.raises(Forbidden) as refused:
            identity.issue_api_key(ctx, "more", ["invoke", "memory:read"])
        assert refused.value.facts == {"required_scope": "memory:read"}
    with context(actor, permissions=frozenset({"admin"})) as ctx:
        key, _ = identity.issue_api_key(ctx, "any", ["memory:read"])
        assert key.created_by == f"api_key:{actor.key_id}"


@pytest.mark.parametrize(
    "wish",
    [
        {"scopes": []},
        {"scopes": ["fly"]},
        {"name": " "},
        {"kind": "unknown"},
        {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"requests_per_minute": 0},
        {"kind": "beeflow", "scopes": ["Not A Scope"]},
    ],
)
def test_a_bad_key_is_invalid(context: Any, wish: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        issue(context, **wish)


def test_keys_are_listed_newest_first_in_pages(context: Any, clock: Any) -> None:
    for number in range(5):
        clock.advance(timedelta(seconds=1))
        issue(context, name=str(number))
    with context() as ctx:
        first = identity.list_api_keys(ctx, CursorPage(3))
        rest = identity.list_api_keys(ctx, CursorPage(3, first.next_cursor))
        assert [key.name for key in (*first.items, *rest.items)] == list("43210")
        identity.revoke_api_key(ctx, first.items[0].id)
        assert identity.list_api_keys(ctx, OffsetPage(2)).total == 5
        assert len(identity.list_api_keys(ctx, active_only=True).items) == 4
        assert identity.list_api_keys(ctx, kind="beeflow").items == []


def test_another_organisations_key_does_not_exist(context: Any, found: Any) -> None:
    key, _ = issue(context)
    with context(of=found()) as ctx:
        assert identity.list_api_keys(ctx).items == []
        for verb in (identity.get_api_key, identity.revoke_api_key):
            with pytest.raises(NotFound):
                verb(ctx, key.id)


def test_issuing_and_revoking_are_audited_once(context: Any) -> None:
    key, plain = issue(context)
    with context() as ctx:
        identity.revoke_api_key(ctx, key.id)
        identity.revoke_api_key(ctx, key.id)
    with context() as ctx:
        entries = audit.find(ctx, resource_type="api_key", resource_id=key.id).items
        assert [entry.action for entry in entries] == ["api_key.revoke", "api_key.create"]
        assert entries[1].details["prefix"] == key.prefix
        assert plain not in str([entry.details for entry in entries])


# --- revocations --------------------------------------------------------------------------------------


class Ear:
    def __init__(self, database: Database) -> None:
        self.heard: list[str | None] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(
            target=identity.revocations.listen,
            args=(database, self.heard.append),
            kwargs={"stop": self.stop, "retry": 0.1},
        )
        self.thread.start()

    def wait(self, count: int) -> list[str | None]:
        deadline = time.monotonic() + 10
        while len(self.heard) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.heard


@pytest.fixture
def ear(database: Database) -> Iterator[Ear]:
    ear = Ear(database)
    ear.wait(1)
    yield ear
    ear.stop.set()
    ear.thread.join(5)
    assert not ear.thread.is_alive()


def test_a_revocation_is_heard_at_once_and_only_when_it_commits(context: Any, ear: Ear) -> None:
    key, _ = issue(context)
    with pytest.raises(ZeroDivisionError), context() as ctx:  # noqa: PT012
        identity.revoke_api_key(ctx, key.id)
        raise ZeroDivisionError
    with context() as ctx:
        identity.revoke_api_key(ctx, key.id)
    began = time.monotonic()
    assert ear.wait(2) == [None, f"key:{key.id}"]
    assert time.monotonic() - began < 1


def test_a_process_has_forgotten_its_own_revocations_when_the_transaction_is_over(context: Any) -> None:
    heard: list[str | None] = []
    ends = identity.revocations.heed(heard.append)
    key, _ = issue(context)
    with pytest.raises(ZeroDivisionError), context() as ctx:  # noqa: PT012
        identity.revoke_api_key(ctx, key.id)
        raise ZeroDivisionError
    assert heard == []
    with context() as ctx:
        with ctx.session.begin_nested():
            identity.revoke_api_key(ctx, key.id)
        assert heard == [], "the savepoint is released, nothing is committed"
    assert heard == [f"key:{key.id}"]
    ends()
    with context() as ctx:
        identity.revocations.announce(ctx)
    assert heard == [f"key:{key.id}"]


def test_closing_an_organisation_makes_everyone_forget_everything(context: Any, ear: Ear) -> None:
    with context() as ctx:
        identity.close_organisation(ctx)
    assert ear.wait(2) == [None, None]


def test_a_lost_connection_makes_everyone_forget_and_is_made_again(database: Database, context: Any, ear: Ear) -> None:
    with database.session(None, platform=True) as session:
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'thalweg-revocations'"
            )
        )
    heard = list(ear.wait(3))  # at the start, at the loss, when it was back
    assert heard[:3] == [None, None, None]
    key, _ = issue(context)
    with context() as ctx:
        identity.revoke_api_key(ctx, key.id)
    assert ear.wait(len(heard) + 1)[-1] == f"key:{key.id}"
