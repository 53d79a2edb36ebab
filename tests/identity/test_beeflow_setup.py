"""Setting the server up: once, by whoever holds the token, whatever happens at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete

from domain.identity import accounts, memberships, setup, signup_settings
from domain.identity.models import ServerSetup
from domain.identity.passwords import WeakPassword

PASSWORD = "Staple-orbit-lantern-42"


@pytest.fixture
def fresh(people: Any) -> Iterator[Any]:
    """A server that nobody has set up, and is forgotten again."""
    forget(people)
    yield people
    forget(people)
    setup.configure(token_needed=False)


def forget(people: Any) -> None:
    with people.database.session(None, platform=True) as session:
        session.execute(delete(ServerSetup))


def set_up(people: Any, email: str | None = None, **wishes: Any) -> Any:
    with people.context("beeflow") as ctx:
        return setup.set_up(ctx, email=email or people.email(), password=PASSWORD, **wishes)


def test_the_first_administrator_owns_the_first_organisation_and_is_signed_in(fresh: Any) -> None:
    signed_in = set_up(fresh, name="Ada Lovelace", organisation_name="Lovelace Engines")
    assert (signed_in.belonging.name, signed_in.belonging.role) == ("Lovelace Engines", "owner")
    with fresh.context("beeflow") as ctx:
        assert setup.is_done(ctx)
        assert setup.home(ctx) == signed_in.belonging.organisation_id
        assert signup_settings.of_server(ctx).settings.mode == "invite_only"


def test_it_works_once(fresh: Any) -> None:
    set_up(fresh)
    with pytest.raises(setup.AlreadySetUp) as refused:
        set_up(fresh)
    assert refused.value.facts["reason"] == "already_set_up"


def test_of_several_at_once_one_wins_and_the_others_leave_nothing(fresh: Any) -> None:
    emails = [fresh.email() for _ in range(4)]

    def attempt(email: str) -> bool:
        try:
            set_up(fresh, email)
        except setup.AlreadySetUp:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(attempt, emails))
    assert won.count(True) == 1
    with fresh.context("beeflow") as ctx:
        made = [accounts.find(ctx, email) is not None for email in emails]
    assert made == won


def test_where_a_token_is_asked_for_only_that_one_opens(fresh: Any) -> None:
    setup.configure(token_needed=True)
    for wrong in (None, "", "bfs_" + "0" * 40, setup.token()[:-1]):
        with pytest.raises(setup.WrongSetupToken):
            set_up(fresh, setup_token=wrong)
    with fresh.context("beeflow") as ctx:
        assert not setup.is_done(ctx)
    assert set_up(fresh, setup_token=setup.token()).belonging.role == "owner"


def test_a_weak_password_and_a_taken_address_leave_the_server_as_it_is(fresh: Any) -> None:
    with pytest.raises(WeakPassword), fresh.context("beeflow") as ctx:
        setup.set_up(ctx, email=fresh.email(), password="alllowercase1")
    taken = fresh.register()
    with pytest.raises(accounts.EmailTaken):
        set_up(fresh, taken)
    with fresh.context("beeflow") as ctx:
        assert not setup.is_done(ctx)


def test_two_organisations_of_one_name_have_different_addresses(fresh: Any) -> None:
    first = set_up(fresh, organisation_name="Twice Ltd")
    forget(fresh)
    second = set_up(fresh, organisation_name="Twice Ltd")
    assert first.belonging.slug != second.belonging.slug
    with fresh.context("beeflow") as ctx:
        assert len(memberships.organisations_of(ctx, second.account.id)) == 1
