"""Identity under attack, over HTTP: passwords guessed from many addresses, accounts told by the time of an answer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from recipes import World
from recipes.attacks import ME, SIGN_IN, Caller, address

from domain import identity
from domain.kernel import crypto

# --- guessing ------------------------------------------------------------------------------------------------


def attempt(second: Caller, surface: str, email: str, password: str, came_from: str) -> httpx.Response:
    body = {"email": email, "password": password}
    return second("POST", SIGN_IN[surface], json=body, headers={"X-Forwarded-For": came_from})


def test_many_addresses_together_get_no_more_guesses_at_one_account(world: World, second: Caller) -> None:
    known, unknown = world.person("thallus").email, world.email()
    seen = []
    for email in (known, unknown):
        statuses = [attempt(second, "thallus", email, "wrong-guess-1X", address(n)).status_code for n in range(1, 7)]
        right = attempt(second, "thallus", email, "Staple-orbit-lantern-42", address(50))
        assert (right.status_code, int(right.headers["retry-after"]) > 800) == (423, True), right.text
        seen.append((statuses, right.json()["error"]))
    assert seen[0] == seen[1], "a lock tells whether there is an account"
    assert seen[0][0] == [401] * 5 + [423]


def test_one_address_gets_few_guesses_at_many_accounts(world: World, second: Caller) -> None:
    person = world.person("starter")
    place = address(77)
    statuses = [
        attempt(second, "starter", world.email(), "wrong-guess-1X", f"{address(n)}, {place}").status_code
        for n in range(100, 112)  # what the client itself writes into the header does not make another caller of it
    ]
    assert statuses == [401] * 8 + [429] * 4
    waits = attempt(second, "starter", person.email, person.password, place)
    assert waits.status_code == 429
    assert 0 < int(waits.headers["retry-after"]) <= 600
    assert attempt(second, "starter", person.email, person.password, address(78)).status_code == 200


def test_an_ipv6_network_is_one_caller(world: World, second: Caller) -> None:
    statuses = [
        attempt(second, "starter", world.email(), "wrong-guess-1X", f"2001:db8:7:7::{n:x}").status_code
        for n in range(1, 11)
    ]
    assert statuses == [401] * 8 + [429] * 2
    assert attempt(second, "starter", world.email(), "wrong-guess-1X", "2001:db8:7:8::1").status_code == 401


def test_sign_ups_and_mails_are_counted_by_address(world: World, second: Caller) -> None:
    for path in ("login", "forgot-password", "reset-password", "verify-email"):
        headers = {"X-Forwarded-For": address(120 + len(path))}
        statuses = [
            second("POST", f"/thallus/api/v1/auth/{path}", json={}, headers=headers).status_code for _ in range(14)
        ]
        assert statuses.count(429) >= 3, (path, statuses)


def medians(make: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds by name, the ways taken in turn so that the machine's other work falls on all alike."""
    taken: dict[str, list[float]] = {name: [] for name in make}
    for turn in range(rounds + 2):
        for name, act in make.items():
            begun = time.perf_counter()
            act()
            if turn > 1:
                taken[name].append((time.perf_counter() - begun) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


def alike(ways: Callable[[], Mapping[str, Callable[[], Any]]], rounds: int, slack: float, ratio: float) -> None:
    """No way takes longer than another by more than `slack` milliseconds and `ratio` times. What seems to is measured
    again, on `ways` that are made anew: the machine's other work passes, a difference of the platform's stays."""
    seen = []
    for _ in range(2):
        seen.append(found := medians(ways(), rounds))
        least, most = min(found.values()), max(found.values())
        if most - least <= slack or most / least <= ratio:
            return
    raise AssertionError(f"time tells them apart: {seen}")


def test_time_does_not_tell_how_much_of_a_key_is_right(world: World, call: Caller) -> None:
    person = world.person("thallus")
    with world.acting(person) as ctx:
        _, plain = identity.issue_api_key(ctx, "key", ["full"], "thallus", account_id=person.account_id)
    client = httpx.Client(base_url=call.url, timeout=30)

    def tried(kept: int) -> Callable[[], None]:
        def act() -> None:
            guess = plain[:kept] + crypto.token("")[: len(plain) - kept]
            assert client.get(ME["thallus"], headers={"X-API-Key": guess}).status_code == 401

        return act

    with client:
        ways = {"nothing": tried(5), "the shown part": tried(11), "all but two": tried(len(plain) - 2)}
        alike(lambda: ways, 60, 1.5, 1.35)


@pytest.mark.parametrize("surface", SIGN_IN)
def test_time_does_not_tell_whether_an_address_has_an_account_to_sign_in_to(
    surface: str, world: World, call: Caller
) -> None:
    client = httpx.Client(base_url=call.url, timeout=30)

    def tried(emails: Callable[[], str]) -> Callable[[], None]:
        def act() -> None:
            reply = client.post(SIGN_IN[surface], json={"email": emails(), "password": "wrong-guess-1X"})
            assert reply.status_code == 401

        return act

    def ways() -> dict[str, Callable[[], None]]:
        turns = iter([world.person(surface).email for _ in range(8)] * 3)  # five wrong guesses would lock an account
        return {"known": tried(lambda: next(turns)), "unknown": tried(world.email)}

    with client:
        alike(ways, 22, 8, 1.35)


@pytest.mark.parametrize("surface", ["thallus", "starter"])
def test_time_does_not_tell_whether_an_address_has_an_account_to_reset(
    surface: str, world: World, call: Caller
) -> None:
    path = {"thallus": "/thallus/api/v1/auth/forgot-password", "starter": "/starter/api/v1/auth/password/forgot"}
    more = {"captcha_token": "solved"} if surface == "thallus" else {}
    client = httpx.Client(base_url=call.url, timeout=30)

    def tried(emails: Callable[[], str]) -> Callable[[], None]:
        def act() -> None:
            reply = client.post(path[surface], json={"email": emails(), **more})
            assert reply.status_code in (200, 202), reply.text

        return act

    def ways() -> dict[str, Callable[[], None]]:
        people = iter([world.person(surface).email for _ in range(24)])
        return {"known": tried(lambda: next(people)), "unknown": tried(world.email)}

    with client:
        alike(ways, 22, 5, 1.5)


def test_time_does_not_tell_whether_an_address_has_an_account_to_sign_up_with(world: World, call: Caller) -> None:
    client = httpx.Client(base_url=call.url, timeout=30)

    def tried(emails: Callable[[], str]) -> Callable[[], None]:
        def act() -> None:
            body = {"email": emails(), "password": "Velvet-comet-harbour-77", "name": "Ada", "captcha_token": "solved"}
            reply = client.post("/thallus/api/v1/auth/register", json=body)
            assert reply.status_code == 201, reply.text

        return act

    def ways() -> dict[str, Callable[[], None]]:
        people = iter([world.person("thallus").email for _ in range(24)])
        return {"known": tried(lambda: next(people)), "unknown": tried(world.email)}

    with client:
        alike(ways, 22, 8, 1.35)
