"""Identity under attack, over HTTP: fields that nobody may set, rights that nobody gives themselves, the allowlist."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest
from recipes import RECIPES, Person, World, send, starter_identity
from recipes.attacks import (
    FINDINGS,
    ME,
    ROOT,
    SETTINGS,
    SIGN_IN,
    WORKSPACE_KEYS,
    Caller,
    bearer,
    gone_soon,
)

from domain import identity
from domain.identity import organisations
from domain.kernel.errors import Conflict
from thalweg.contract import project

# --- fields that nobody may set --------------------------------------------------------------------------------

HOSTILE: Mapping[str, Any] = {
    "role": "admin",
    "roles": ["owner"],
    "platform_role": "superadmin",
    "organisation_id": str(UUID(int=1)),
    "organization_id": str(UUID(int=1)),
    "account_id": str(UUID(int=1)),
    "email_verified": True,
    "email_verified_at": "2026-01-01T00:00:00Z",
    "is_admin": True,
    "permissions": ["platform:manage"],
    "password_hash": "x",
    "__proto__": {"role": "admin"},
}
GIVING = {
    ("beeflow", "approveWaitlistEntry", "role"),
    ("beeflow", "inviteUser", "role"),
    ("beeflow", "updateUser", "role"),
    ("beeflow", "installSkill", "permissions"),  # must be exactly those that the skill asks for
    ("thallus", "inviteTeamMember", "role"),
}
"""Bodies whose business is such a field; what may be given there is the rank's to say."""
IDENTITY_TAGS = {"auth", "account", "signup", "invites", "tenants", "api-keys", "service-accounts", "users", "team"}


def bodies() -> Iterator[tuple[str, dict[str, Any], Mapping[str, Any]]]:
    """Surface, operation and JSON schema of each operation that takes JSON."""
    found = project.find(ROOT)
    for surface in found.surfaces:
        document = json.loads((found.generated / surface / "bundle.json").read_bytes())
        manifest = json.loads((found.generated / surface / "operations.json").read_bytes())
        for operation in manifest["operations"]:
            name = ((operation["request"] or {}).get("content") or {}).get("application/json")
            if name is not None:
                yield surface, operation, document["components"]["schemas"].get(name, {})


def test_no_body_names_what_only_the_platform_decides() -> None:
    named = {
        (surface, operation["operation_id"], field)
        for surface, operation, schema in bodies()
        for field in schema.get("properties", {})
        if field in HOSTILE
    }
    assert named <= GIVING, named - GIVING


def mass_assigned() -> list[tuple[str, str, str, str]]:
    found = project.find(ROOT)
    return [
        (surface, operation["method"], f"{found.base_path(surface)}{operation['path']}", operation["operation_id"])
        for surface, operation, _ in bodies()
        if surface in ("thallus", "starter", "thalian", "beeflow") and operation["tag"] in IDENTITY_TAGS
    ]


@pytest.mark.parametrize(("surface", "method", "path", "operation_id"), mass_assigned())
def test_a_field_that_is_not_declared_is_refused_before_anything_happens(
    surface: str, method: str, path: str, operation_id: str, world: World
) -> None:
    recipe = RECIPES.get((surface, operation_id))
    if recipe is None:  # nobody has implemented it yet
        return
    made = recipe(world)
    who = made.who or (None if made.public else world.person(surface, platform_role="superadmin"))
    headers = {} if made.public or who is None else who.headers()
    before = standing(world, who)
    for field, value in HOSTILE.items():
        if (surface, operation_id, field) not in GIVING:
            hostile = dataclasses.replace(made, json={**(made.json or {}), field: value})
            reply = send(world, "", method, path, hostile, headers)
            assert reply.status_code in (400, 422), (field, reply.status_code, reply.text[:300])
    assert standing(world, who) == before


def standing(world: World, who: Person | None) -> Any:
    """What of somebody no request of their own may raise."""
    if who is None:
        return None
    with world.platform(who.organisation_id) as ctx:
        account = identity.accounts.get(ctx, who.account_id)
        membership = identity.memberships.get(ctx, who.account_id)
        return account.platform_role, account.email_verified_at, membership.role, membership.status


def test_who_signs_up_begins_unverified_and_as_nobody_in_particular(world: World, call: Caller) -> None:
    address = world.email()
    body = {"email": address, "password": "Staple-orbit-lantern-42", "name": "Ada", "captcha_token": "solved"}
    assert call("POST", "/thallus/api/v1/auth/register", json=body).status_code in (201, 202)
    refused = call("POST", SIGN_IN["thallus"], json={"email": address, "password": body["password"]})
    assert (refused.status_code, refused.json()["error"]) == (403, "email_not_verified")
    with world.anyone("thallus") as ctx:
        account = identity.accounts.find(ctx, address)
        assert account is not None
        assert (account.platform_role, account.email_verified_at) == (None, None)


@pytest.mark.parametrize("surface", ["starter", "thalian"])
def test_an_address_that_nobody_has_proved_opens_nothing_that_asks_for_a_permission(
    surface: str, world: World, call: Caller
) -> None:
    person = world.person("starter", verified=False)
    paths = {"starter": SETTINGS, "thalian": f"{WORKSPACE_KEYS}?workspaceId={person.organisation_id}"}
    assert call("GET", paths[surface], headers=person.headers()).status_code == 403


# --- raising oneself -----------------------------------------------------------------------------------------


def test_a_member_does_nothing_that_administrators_do(world: World, call: Caller) -> None:
    owner = world.person("starter")
    for role in ("member", "viewer", "auditor", "analyst", "agent"):
        person = starter_identity.member(world, owner, role)
        other = {"user_id": str(owner.account_id), "new_password": "Velvet-comet-harbour-77"}
        headers = person.headers()
        assert call("PUT", SETTINGS, json=starter_identity.settings(), headers=headers).status_code == 403
        assert call("POST", "/starter/api/v1/auth/password/reset", json=other, headers=headers).status_code == 403
        assert call("GET", "/starter/api/v1/auth/invites", headers=headers).status_code == 403
        assert call("GET", "/starter/api/v1/auth/service-accounts/tokens", headers=headers).status_code == 403


def test_an_administrator_takes_over_no_equal_no_owner_and_nobody_of_elsewhere(world: World, call: Caller) -> None:
    owner = world.person("starter")
    admin, equal = (starter_identity.member(world, owner, "admin") for _ in range(2))
    stranger = world.person("starter")
    operator = starter_identity.member(world, owner, "member", platform_role="support")
    for victim, status in ((owner, 403), (equal, 403), (admin, 403), (operator, 403), (stranger, 404)):
        body = {"user_id": str(victim.account_id), "new_password": "Velvet-comet-harbour-77"}
        reply = call("POST", "/starter/api/v1/auth/password/reset", json=body, headers=admin.headers())
        assert reply.status_code == status, (victim.role, reply.text)
        assert call.me("starter", victim.token).status_code == 200
    wide = {"X-Operator-Override": "true", "X-Operator-Reason": "Ticket 4711 of today"}
    issue = {"account": "support-console", "scopes": ["support:*"], "reason": "Nightly checks move"}
    url = "/starter/api/v1/auth/service-accounts/browser-issue"
    for headers in ({}, wide):
        assert call("POST", url, json=issue, headers={**admin.headers(), **headers}).status_code == 403


def test_the_only_administrator_of_others_cannot_leave(world: World, call: Caller) -> None:
    owner = world.person("thallus")
    shared(world, owner)
    member = world.person("thallus", organisation_id=owner.organisation_id, role="member")
    leave = {"password": owner.password, "reason": "Trying out"}
    url = "/thallus/api/v1/auth/account/delete"
    refused = call("POST", url, json=leave, headers=owner.headers())
    assert (refused.status_code, refused.json()["error"]) == (409, "sole_admin")
    assert call("POST", url, json=leave, headers=member.headers()).status_code in (200, 202)
    assert call.me("thallus", owner.token).status_code == 200


def shared(world: World, owner: Person) -> None:
    with world.platform(owner.organisation_id) as ctx:
        organisations.get_organisation(ctx).personal = False


# --- the IP allowlist --------------------------------------------------------------------------------------------


def test_the_allowlist_is_asked_for_every_request_anew(world: World, call: Caller, second: Caller) -> None:
    person = world.person("thallus")
    with world.acting(person) as ctx:
        _, key = identity.issue_api_key(ctx, "key", ["full"], "thallus", account_id=person.account_id)
        _, workspace = identity.issue_api_key(ctx, "key", ["read"], "thalian")
    with world.platform(person.organisation_id) as ctx:
        organisations.allow_networks(ctx, ["203.0.113.0/24", "2001:db8:5::/48"])
    gone_soon(second, "GET", ME["thallus"], person.headers(), 403)
    inside = ("203.0.113.9", "2001:db8:5::9", "::ffff:203.0.113.9", "198.51.100.1, 203.0.113.9")
    outside = ("198.51.100.1", "203.0.114.1", "203.0.113.9, 198.51.100.1", "2001:db8:6::1", "nonsense")
    for headers in (person.headers(), {"X-API-Key": key}):
        for forwarded, status in [*((one, 200) for one in inside), *((one, 403) for one in outside)] * 2:
            reply = second("GET", ME["thallus"], headers={**headers, "X-Forwarded-For": forwarded})
            assert reply.status_code == status, (forwarded, reply.text)
    for forwarded, status in ((inside[0], False), (outside[0], True)):
        reply = second("GET", FINDINGS, headers={**bearer(workspace), "X-Forwarded-For": forwarded})
        assert (reply.status_code == 403, reply.status_code == 401) == (status, False), reply.text
    # A process that trusts no proxy hears the address from the connection alone.
    for name in ("X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "Forwarded", "X-Client-IP"):
        told = "for=203.0.113.9" if name == "Forwarded" else "203.0.113.9"
        assert call("GET", ME["thallus"], headers={**person.headers(), name: told}).status_code == 403, name


def test_nobody_sets_a_list_that_locks_them_out(world: World) -> None:
    person = world.person("thallus")
    with pytest.raises(Conflict), world.acting(person) as ctx:
        organisations.allow_networks(ctx, ["203.0.113.0/24"])
    with world.platform(person.organisation_id) as ctx:
        assert list(organisations.get_organisation(ctx).networks) == []
