"""Identity under attack, over HTTP: the second that a revocation has to reach every process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from recipes import Person, World, starter_identity
from recipes.attacks import KEYS, ME, SETTINGS, Caller, bearer, gone_soon

from domain import identity
from domain.identity import keys, members, operators, organisations, sessions
from domain.identity.models import Account

# --- at once, everywhere ---------------------------------------------------------------------------------------


End = Callable[[World, Caller, Person], Any]


def account_of(world: World, person: Person, **changes: Any) -> None:
    """What operators do to an account, as their command does it."""
    with world.platform() as ctx:
        account = ctx.session.get(Account, person.account_id)
        assert account is not None
        for field, value in changes.items():
            setattr(account, field, value)
        identity.revocations.announce(ctx, "user", person.account_id)


def by_administrator(world: World, person: Person, act: Callable[[Any, UUID], Any]) -> None:
    chief = world.person("beeflow", organisation_id=person.organisation_id, role="owner")
    with world.acting(chief) as ctx:
        act(ctx, person.account_id)


def closed(world: World, call: Caller, person: Person) -> None:
    with world.platform(person.organisation_id) as ctx:
        identity.close_organisation(ctx)


def confined(world: World, call: Caller, person: Person) -> None:
    with world.platform(person.organisation_id) as ctx:
        organisations.allow_networks(ctx, ["203.0.113.0/24"])


def ended(world: World, call: Caller, person: Person) -> None:
    with world.acting(person) as ctx:
        sessions.revoke_sessions(ctx, person.account_id, "signed_out")
        keys.revoke_keys_of(ctx, person.account_id)


def signed_out(world: World, call: Caller, person: Person) -> None:
    paths = {"thallus": "/thallus/api/v1/auth/logout", "starter": "/starter/api/v1/auth/logout/all"}
    assert call("POST", paths[person.surface], headers=person.headers()).status_code == 200


def leaves(world: World, call: Caller, person: Person) -> None:
    body = {"password": person.password}
    reply = call("POST", "/thallus/api/v1/auth/account/delete", json=body, headers=person.headers())
    assert reply.status_code in (200, 202), reply.text


BOTH: Mapping[str, tuple[End, int]] = {
    "everything of theirs was revoked": (ended, 401),
    "their account was deactivated": (
        lambda world, call, person: account_of(world, person, deactivated_at=datetime.now(UTC)),
        401,
    ),
    "they were disabled in the organisation": (
        lambda world, call, person: by_administrator(
            world, person, lambda ctx, who: members.change(ctx, who, status="disabled")
        ),
        401,
    ),
    "they were removed from the organisation": (
        lambda world, call, person: by_administrator(world, person, members.remove),
        401,
    ),
    "the organisation was closed": (closed, 401),
    "the organisation confined its addresses": (confined, 403),
    "they asked for deletion": (leaves, 401),
}


@pytest.mark.parametrize("why", BOTH)
def test_a_second_process_refuses_session_and_key_at_once_when(
    why: str, world: World, call: Caller, second: Caller
) -> None:
    end, status = BOTH[why]
    owner = world.person("thallus")
    person = world.person("thallus", organisation_id=owner.organisation_id, role="member")
    with world.acting(person) as ctx:
        _, key = identity.issue_api_key(ctx, "key", ["full"], "thallus", account_id=person.account_id)
    credentials = (person.headers(), {"X-API-Key": key})
    for headers in credentials * 2:  # known to the second process from here on
        assert second("GET", ME["thallus"], headers=headers).status_code == 200
    end(world, call, person)
    for headers in credentials:
        gone_soon(second, "GET", ME["thallus"], headers, status)


@pytest.mark.parametrize("surface", ["thallus", "starter"])
def test_a_second_process_knows_at_once_who_has_signed_out(
    surface: str, world: World, call: Caller, second: Caller
) -> None:
    person = world.person(surface)
    other = world.again(person)
    for who in (person, other):
        assert second.me(surface, who.token).status_code == 200
    signed_out(world, call, person)
    gone_soon(second, "GET", ME[surface], person.headers())
    # Starter's operation ends all sessions, Thallus' the one that asks.
    assert second.me(surface, other.token).status_code == (200 if surface == "thallus" else 401)


def test_a_second_process_knows_at_once_that_a_key_was_revoked(world: World, call: Caller, second: Caller) -> None:
    person = world.person("thallus")
    made = call("POST", KEYS, json={"name": "Nightly"}, headers=person.headers()).json()
    key = {"X-API-Key": made["key"]}
    assert second("GET", ME["thallus"], headers=key).status_code == 200
    assert call("DELETE", f"{KEYS}/{made['id']}", headers=person.headers()).status_code == 204
    gone_soon(second, "GET", ME["thallus"], key)
    assert second("GET", ME["thallus"], headers=person.headers()).status_code == 200


def test_a_second_process_knows_at_once_that_thaliums_key_was_revoked(
    world: World, running: Any, tenants: Any, second: Caller
) -> None:
    tenant = tenants()
    path = f"/thalium/v1/brain/{tenant.brain_id}/status"
    headers = tenant.headers()
    assert second("GET", path, headers=headers).status_code == 200
    with world.platform(tenant.organisation_id) as ctx:
        for key in identity.list_api_keys(ctx).items:
            identity.revoke_api_key(ctx, key.id)
    gone_soon(second, "GET", path, headers)


def test_a_second_process_knows_at_once_that_a_machines_token_was_revoked(
    world: World, call: Caller, second: Caller
) -> None:
    owner = world.person("starter")
    token_id, plain = starter_identity.machine_token(world, owner)
    access = call("POST", "/starter/api/v1/auth/refresh", json={"refresh_token": plain}).json()["access_token"]
    assert second.me("starter", access).status_code == 200
    url = f"/starter/api/v1/auth/service-accounts/tokens/{token_id}/revoke"
    assert call("POST", url, json={"reason": "Host retired"}, headers=owner.headers()).status_code == 200
    gone_soon(second, "GET", ME["starter"], bearer(access))


def test_a_second_process_knows_at_once_that_a_role_was_lowered(world: World, second: Caller) -> None:
    owner = world.person("starter")
    person = starter_identity.member(world, owner, "admin", platform_role="support")
    assert second("GET", "/starter/api/v1/auth/invites", headers=person.headers()).status_code == 200
    with world.platform() as ctx:
        operators.set_platform_role(ctx, identity.accounts.get(ctx, person.account_id), None)
    gone_soon(second, "GET", "/starter/api/v1/auth/invites", person.headers(), 403)
    assert second("GET", SETTINGS, headers=person.headers()).status_code == 200
    by_administrator(world, person, lambda ctx, who: members.change(ctx, who, surface_role="user"))
    gone_soon(second, "GET", SETTINGS, person.headers(), 403)
