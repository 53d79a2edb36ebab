"""Who belongs where: in which state it counts, what others see of it, and that no organisation is left without somebody
to run it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest

from domain import identity
from domain.identity import accounts, memberships, organisations
from domain.identity.models import Account
from domain.kernel.context import AnonymousActor, ApiKeyActor, ServiceAccountActor, UserActor
from domain.kernel.errors import Conflict, NotFound, Unauthenticated
from domain.kernel.ids import new_id
from domain.kernel.organisation_filter import OrganisationBreach


@pytest.fixture
def person(people: Any) -> Any:
    """Make an account without an organisation; its id."""

    def make() -> UUID:
        with people.context() as ctx:
            made: UUID = accounts.make(ctx, email=people.email(), name="Ada", source="signup").id
            return made

    return make


@pytest.fixture
def join(context: Any) -> Any:
    """Make somebody a member of the test's organisation, or of another."""

    def make(account_id: UUID, role: str = "member", status: str = "active", of: UUID | None = None) -> None:
        with context(of=of) as ctx:
            memberships.add(ctx, account_id, role, source="invite", status=status)

    return make


def change(context: Any, account_id: UUID, of: UUID | None = None, **changes: Any) -> None:
    with context(of=of) as ctx:
        membership = memberships.get(ctx, account_id)
        for field, value in changes.items():
            setattr(membership, field, value)


# --- whose call it is ------------------------------------------------------------------------------------------


def test_a_session_and_a_key_of_a_person_are_that_person(context: Any, person: Any) -> None:
    ada = person()
    for actor in (UserActor(ada, new_id()), ApiKeyActor(new_id(), ada)):
        with context(actor) as ctx:
            assert memberships.caller_id(ctx) == ada
            assert memberships.caller(ctx).id == ada


@pytest.mark.parametrize(
    "actor", [AnonymousActor("192.0.2.1"), ApiKeyActor(new_id(), None), ServiceAccountActor("demo-bot", new_id()), None]
)
def test_who_is_no_person_is_told_to_sign_in(context: Any, actor: Any) -> None:
    with context(actor) as ctx, pytest.raises(Unauthenticated):
        memberships.caller_id(ctx)


def test_an_erased_account_is_nobody(context: Any, person: Any, clock: Any) -> None:
    ada = person()
    with context() as ctx:
        account = ctx.session.get(Account, ada)
        assert account is not None
        account.erased_at = clock.now()
    with context(UserActor(ada, new_id())) as ctx, pytest.raises(Unauthenticated):
        memberships.caller(ctx)


# --- belonging ---------------------------------------------------------------------------------------------------


def test_only_active_memberships_of_open_organisations_count_the_longest_first(
    context: Any, person: Any, join: Any, found: Any, organisation: UUID, people: Any, clock: Any
) -> None:
    ada, second, closed = person(), found(), found()
    join(ada)
    clock.advance(timedelta(days=1))
    join(ada, "viewer", of=second)
    join(ada, "owner", of=closed)
    for status in ("invited", "pending", "disabled", "deleted"):
        join(ada, "owner", status, of=found())
    with context(of=closed) as ctx:
        organisations.close_organisation(ctx)
    with people.context() as ctx:
        own = memberships.organisations_of(ctx, ada)
    assert [(one.organisation_id, one.role) for one in own] == [(organisation, "member"), (second, "viewer")]


def test_where_somebody_belongs_is_looked_up_for_the_context_they_are_in(
    context: Any, person: Any, join: Any, found: Any
) -> None:
    ada, other = person(), found()
    join(ada, "admin")
    with context(UserActor(ada, new_id())) as ctx:
        assert memberships.current(ctx).role == "admin"
        assert memberships.rank(ctx) == "admin"
    with context(UserActor(ada, new_id()), of=other) as ctx, pytest.raises(NotFound):
        memberships.current(ctx)
    with context(UserActor(ada, new_id()), of=other, permissions=frozenset({"platform:operator"})) as ctx:
        assert memberships.rank(ctx) == "owner"


def test_another_organisations_member_is_not_found(context: Any, person: Any, join: Any, found: Any) -> None:
    ada, other = person(), found()
    join(ada)
    with context(of=other) as ctx:
        assert memberships.find(ctx, ada) is None
        with pytest.raises(NotFound):
            memberships.get(ctx, ada)
        assert memberships.elsewhere(ctx, ada)
    with context() as ctx:
        assert memberships.get(ctx, ada).role == "member"
        assert not memberships.elsewhere(ctx, ada)


@pytest.mark.parametrize("status", ["active", "invited", "pending", "disabled", "deleted"])
def test_nobody_is_a_member_twice_in_whatever_state(context: Any, person: Any, join: Any, status: str) -> None:
    ada = person()
    join(ada, status=status)
    with pytest.raises(Conflict):
        join(ada, "owner")
    with context() as ctx:
        assert memberships.get(ctx, ada).role == "member"


def test_the_invited_and_the_disabled_take_a_seat_and_the_waiting_and_the_deleted_none(
    context: Any, person: Any, join: Any
) -> None:
    for status in ("active", "active", "invited", "disabled", "pending", "deleted"):
        join(person(), status=status)
    with context() as ctx:
        assert (memberships.active_count(ctx), memberships.in_use(ctx)) == (4, 2)


def test_acting_as_a_member_is_that_person_in_that_organisation_and_no_longer(
    people: Any, person: Any, join: Any, organisation: UUID
) -> None:
    ada = person()
    join(ada)
    with people.context() as ctx:
        with memberships.as_member(ctx, ada, organisation) as inside:
            assert (inside.organisation, memberships.caller_id(inside)) == (organisation, ada)
            assert memberships.find(inside, ada) is not None
        assert ctx.organisation_id is None
        assert isinstance(ctx.actor, AnonymousActor)
        with pytest.raises(OrganisationBreach):  # the loan is over
            memberships.known_groups(ctx, [new_id()])


# --- somebody has to run it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_the_only_administrator_is_kept_whatever_they_are_called(
    context: Any, person: Any, join: Any, role: str
) -> None:
    ada = person()
    join(ada, role)
    for other in ("analyst", "agent", "member", "auditor", "viewer"):
        join(person(), other)
    with context() as ctx, pytest.raises(Conflict) as refused:
        memberships.keep_a_manager(ctx, ada)
    assert refused.value.facts["reason"] == "sole_admin"


@pytest.mark.parametrize("status", ["invited", "pending", "disabled", "deleted"])
def test_an_administrator_who_is_not_there_runs_nothing(context: Any, person: Any, join: Any, status: str) -> None:
    ada = person()
    join(ada, "owner")
    join(person(), "admin", status)
    with context() as ctx, pytest.raises(Conflict):
        memberships.keep_a_manager(ctx, ada)


def test_an_administrator_of_elsewhere_runs_nothing_here(context: Any, person: Any, join: Any, found: Any) -> None:
    ada = person()
    join(ada, "owner")
    join(person(), "owner", of=found())
    with context() as ctx, pytest.raises(Conflict):
        memberships.keep_a_manager(ctx, ada)


def test_with_another_administrator_one_may_go(context: Any, person: Any, join: Any) -> None:
    ada = person()
    join(ada, "owner")
    join(person(), "admin")
    with context() as ctx:
        memberships.keep_a_manager(ctx, ada)


def test_of_two_administrators_who_leave_at_the_same_moment_one_stays(context: Any, person: Any, join: Any) -> None:
    both = [person(), person()]
    for account_id in both:
        join(account_id, "admin")
    gate = Barrier(2)

    def leave(account_id: UUID) -> bool:
        gate.wait(10)
        try:
            with context() as ctx:
                memberships.keep_a_manager(ctx, account_id)
                memberships.get(ctx, account_id).status = "deleted"
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(leave, both)) == [False, True]


def test_the_only_administrator_of_a_shared_organisation_does_not_delete_their_account(
    people: Any, person: Any, join: Any
) -> None:
    signed_in = people.sign_in(people.register())
    mine = signed_in.belonging.organisation_id
    with people.as_person(signed_in) as ctx:
        organisations.get_organisation(ctx).personal = False
    heir = person()
    join(heir, "member", of=mine)
    with pytest.raises(Conflict), people.as_person(signed_in) as ctx:
        accounts.request_deletion(ctx, "thallus", password="Staple-orbit-lantern-42", confirmed=True)
    with people.as_person(signed_in) as ctx:
        memberships.get(ctx, heir).role = "admin"
    with people.as_person(signed_in) as ctx:
        accounts.request_deletion(ctx, "thallus", password="Staple-orbit-lantern-42", confirmed=True)


# --- groups ------------------------------------------------------------------------------------------------------


def test_groups_are_told_by_name_and_those_of_others_are_unknown(
    context: Any, person: Any, join: Any, found: Any, people: Any
) -> None:
    ada, bob, other = person(), person(), found()
    join(ada, "owner")
    join(bob)
    with context(UserActor(ada, new_id()), permissions=identity.roles.permissions_of("beeflow", "owner")) as ctx:
        made = [identity.groups.create(ctx, name=name).group.id for name in ("Zebra", "apple")]
        for group_id in made:
            identity.groups.enter(ctx, bob, [group_id])
    with context() as ctx:
        found_groups = memberships.groups_of(ctx, [ada, bob])
        assert [group.name for group in found_groups[bob]] == ["apple", "Zebra"]
        assert found_groups[ada] == []
        assert memberships.known_groups(ctx, [*made, new_id()]) == set(made)
        assert memberships.groups_of(ctx, []) == {}
    with context(of=other) as ctx:
        assert memberships.known_groups(ctx, made) == set()
        assert memberships.groups_of(ctx, [bob])[bob] == []
