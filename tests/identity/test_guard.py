"""The counters of failed sign-ins: what locks, for how long, who is counted together, and what many at once make of
it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select, text

from domain import identity
from domain.identity import guard, policies
from domain.identity.models import SignInGuard
from domain.identity.policies import Lockout, policy_of
from domain.kernel.errors import DomainError, LimitExceeded, Locked, Unauthenticated
from domain.kernel.ids import new_id

THREE = Lockout(3, timedelta(minutes=10), timedelta(minutes=5))
GROWING = Lockout(2, None, timedelta(minutes=15), growing=True)
STARTER = policy_of("starter")
CONNECTIONS = 8


def key() -> str:
    return f"{new_id().hex}@example.org"


def fail(people: Any, email: str, rule: Lockout = THREE) -> bool:
    with people.context() as ctx:
        locked: bool = guard.failed(ctx, email, rule)
        return locked


def wait(people: Any, email: str) -> int | None:
    """Seconds that an address is locked for, None when it is not."""
    try:
        with people.context() as ctx:
            guard.refuse_locked(ctx, email)
    except Locked as locked:
        return int(locked.facts["retry_after"])
    return None


def at_once(act: Callable[[], Any], times: int) -> list[Any]:
    """What each of several got who did the same at the same moment; an error is what it got."""
    gate = Barrier(times)

    def one() -> Any:
        gate.wait(10)
        try:
            return act()
        except Exception as error:
            return error

    with ThreadPoolExecutor(times) as pool:
        return [future.result(30) for future in [pool.submit(one) for _ in range(times)]]


# --- an address ------------------------------------------------------------------------------------------------


def test_the_last_failure_locks_and_says_so_once(people: Any) -> None:
    email = key()
    assert [fail(people, email) for _ in range(5)] == [False, False, True, False, False]
    assert wait(people, email) == 300


def test_an_address_that_is_locked_does_not_count_on(people: Any) -> None:
    email = key()
    for _ in range(9):
        fail(people, email)
    people.clock.advance(timedelta(minutes=5))
    assert wait(people, email) is None
    assert [fail(people, email) for _ in range(3)] == [False, False, True]


def test_failures_that_lie_apart_do_not_add_up_where_there_is_a_window(people: Any) -> None:
    email = key()
    for _ in range(6):
        assert not fail(people, email)
        people.clock.advance(timedelta(minutes=6))
    assert wait(people, email) is None


def test_without_a_window_they_add_up_however_far_apart(people: Any) -> None:
    email = key()
    assert not fail(people, email, GROWING)
    people.clock.advance(timedelta(days=90))
    assert fail(people, email, GROWING)


def test_each_lock_is_longer_than_the_one_before_up_to_a_day(people: Any) -> None:
    email, waits = key(), []
    for _ in range(9):
        while not fail(people, email, GROWING):
            pass
        waits.append(wait(people, email))
        people.clock.advance(timedelta(hours=25))
    assert waits[:4] == [900, 1800, 3600, 7200]
    assert waits[7:] == [86400, 86400]


def test_success_begins_anew_and_does_not_lift_a_lock(people: Any) -> None:
    email = key()
    fail(people, email, GROWING)
    with people.context() as ctx:
        guard.succeeded(ctx, email)
    fail(people, email, GROWING)
    assert fail(people, email, GROWING)
    with pytest.raises(Locked), people.context() as ctx:
        guard.succeeded(ctx, email)
    assert wait(people, email) == 900
    with people.context() as ctx:
        guard.lift(ctx, email)  # the person has proved otherwise who they are
    assert wait(people, email) is None


def test_one_address_says_nothing_of_another_and_none_is_stored_in_plain(people: Any) -> None:
    email = key()
    for _ in range(3):
        fail(people, email)
    assert wait(people, key()) is None
    with people.context() as ctx:
        rows = ctx.session.scalars(select(SignInGuard)).all()
        assert email.encode() not in b"".join(bytes(row.digest) for row in rows)
        assert email not in str(ctx.session.execute(text("SELECT sign_in_guard::text FROM sign_in_guard")).all())


def test_of_many_who_guess_at_once_every_one_is_counted(people: Any) -> None:
    email, rule = key(), Lockout(CONNECTIONS, None, timedelta(minutes=15))
    assert sorted(at_once(lambda: fail(people, email, rule), CONNECTIONS)) == [False] * (CONNECTIONS - 1) + [True]
    assert wait(people, email) == 900


def test_guessing_at_once_brings_no_more_guesses_than_one_after_the_other(people: Any) -> None:
    """The right password, tried at the same moment as wrong ones, is refused too once they have locked the address."""
    email = people.register()

    def wrong() -> Any:
        return people.sign_in(email, password="wrong-guess-1X")

    told = at_once(wrong, CONNECTIONS)
    assert {type(error) for error in told} <= {identity.signin.InvalidCredentials, Locked}
    with pytest.raises(Locked):
        people.sign_in(email)


@pytest.mark.parametrize("surface", policies.POLICIES)
def test_a_lock_holds_on_every_surface_by_the_rule_of_the_one_where_it_was_earned(people: Any, surface: str) -> None:
    email = people.register("starter")
    for _ in range(policy_of(surface).lockout.failures):
        with pytest.raises(Unauthenticated):
            people.sign_in(email, surface, "wrong-guess-1X")
    for other in policies.POLICIES:
        with pytest.raises(Locked) as refused:
            people.sign_in(email, other)
        assert refused.value.facts["retry_after"] == policy_of(surface).lockout.duration.total_seconds()


# --- a place ---------------------------------------------------------------------------------------------------


@pytest.fixture
def few() -> Any:
    """Three failures from one place are enough."""
    guard.configure(3)
    yield
    guard.configure(None)


def failed_from(people: Any, address: str | None) -> None:
    with people.context() as ctx:
        guard.failed_from(replace(ctx, address=address), STARTER)


def refused_from(people: Any, address: str | None) -> bool:
    try:
        with people.context() as ctx:
            there = replace(ctx, address=address)
            waits = ctx.session.execute(select(*guard.locks(there, STARTER, "nobody@example.org"))).one()
            guard.refuse(there, *waits)
    except LimitExceeded:
        return True
    return False


@pytest.mark.parametrize(
    ("from_where", "together", "apart"),
    [
        (["192.0.2.1"] * 3, "192.0.2.1", "192.0.2.2"),
        (["2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:1:ffff::"], "2001:db8:1:1::9", "2001:db8:1:2::1"),
        (["192.0.2.9", "::ffff:192.0.2.9", "192.0.2.9"], "::ffff:192.0.2.9", "::ffff:192.0.2.10"),
    ],
)
def test_failures_are_counted_for_whoever_owns_the_address(
    people: Any, few: None, from_where: list[str], together: str, apart: str
) -> None:
    for address in from_where:
        assert not refused_from(people, together)
        failed_from(people, address)
    assert refused_from(people, together)
    assert not refused_from(people, apart)
    people.clock.advance(timedelta(minutes=10))
    assert not refused_from(people, together)


@pytest.mark.parametrize("address", [None, "", "unknown", "192.0.2.1, 192.0.2.2"])
def test_an_address_that_is_none_is_nobodys_place(people: Any, few: None, address: str | None) -> None:
    for _ in range(5):
        failed_from(people, address)
    assert not refused_from(people, address)


def test_surfaces_that_do_not_ask_for_it_count_no_places(people: Any, few: None) -> None:
    for _ in range(5):
        with people.context() as ctx:
            guard.failed_from(replace(ctx, address="192.0.2.77"), policy_of("thallus"))
    assert not refused_from(people, "192.0.2.77")


# --- quotas ------------------------------------------------------------------------------------------------------


def test_a_quota_is_a_quota_and_comes_back_with_time(people: Any) -> None:
    what = key()
    for _ in range(3):
        with people.context() as ctx:
            guard.count(ctx, what, 3, timedelta(hours=1))
    people.clock.advance(timedelta(minutes=20))
    with pytest.raises(LimitExceeded) as refused, people.context() as ctx:
        guard.count(ctx, what, 3, timedelta(hours=1))
    assert refused.value.facts["retry_after"] == 40 * 60
    people.clock.advance(timedelta(minutes=40))
    with people.context() as ctx:
        guard.count(ctx, what, 3, timedelta(hours=1))


def test_of_many_who_take_the_last_of_a_quota_at_once_one_gets_it(people: Any) -> None:
    what = key()

    def take() -> None:
        with people.context() as ctx:
            guard.count(ctx, what, 1, timedelta(hours=1))

    told = at_once(take, CONNECTIONS)
    assert told.count(None) == 1
    assert sum(isinstance(one, LimitExceeded) for one in told) == CONNECTIONS - 1


def test_a_quota_and_a_lock_of_one_name_are_two_things(people: Any) -> None:
    email = key()
    with people.context() as ctx:
        guard.count(ctx, email, 1, timedelta(hours=1))
    assert wait(people, email) is None
    assert [fail(people, email) for _ in range(3)] == [False, False, True]


# --- refusals that are remembered ------------------------------------------------------------------------------


@pytest.mark.parametrize(("refusal", "seconds"), [(Unauthenticated(), None), (Unauthenticated().keeping(), 300)])
def test_what_is_refused_is_undone_unless_the_refusal_is_kept(
    people: Any, refusal: DomainError, seconds: int | None
) -> None:
    email = key()

    def refuse() -> None:
        with people.context() as ctx:
            guard.failed(ctx, email, Lockout(1, None, timedelta(minutes=5)))
            raise refusal

    with pytest.raises(Unauthenticated):
        refuse()
    assert wait(people, email) == seconds
