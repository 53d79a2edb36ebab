"""Starter: how tenants come in and machines get tokens, over HTTP; every refusal by its status."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import Person, World
from recipes.starter_api import Api, refused
from recipes.starter_identity import asked, invite, machine_token, member, own_address, quiet, signed

from domain import identity
from thalweg.embedded.valkey import Valkey

WRONG = "wrong-password-1"


@pytest.fixture(scope="module")
def api(world: World) -> Api:
    return Api(world.url)


def test_a_request_for_access_ends_in_a_tenant(api: Api, world: World) -> None:
    quiet(world)
    operator, email = world.person("starter", platform_role="support"), own_address()
    body = {"email": email, "organization": "Lovelace", "full_name": "Ada Lovelace", "accept_terms": True}
    taken = api("POST", "/auth/request-access", body)
    assert (taken.status_code, taken.json()["policy"]) == (202, "invite_only")
    listed = api("GET", "/auth/signup-requests?status=pending&limit=200", who=operator).json()["requests"]
    (found,) = [one for one in listed if one["email"] == email]
    path = f"/auth/signup-requests/{found['id']}/approve"
    answer = api("POST", path, {"invite_expires_in_hours": 5}, who=operator).json()
    assert (answer["request"]["status"], answer["invite"]["invited_email"]) == ("approved", email)
    assert answer["request"]["invite_token_hint"] == answer["invite"]["token_hint"]
    assert world.mailed(email, "signup_approved") == answer["invite"]["invite_token"]
    refused(api("POST", path, {}, who=operator), 409, "already_decided")
    assert api.register(email=email, invite_token=answer["invite"]["invite_token"]).status_code == 201
    one = api("GET", f"/auth/invites?request_id={found['id']}", who=operator).json()
    assert [(each["status"], each["redeemed_count"]) for each in one["invites"]] == [("exhausted", 1)]


# --- machines ------------------------------------------------------------------------------------------------


def _issue(api: Api, headers: Mapping[str, str], **body: Any) -> httpx.Response:
    given = {"account": "analytics-batch", "scopes": ["conversations:read"], **body}
    url = f"{api.url}/starter/api/v1/auth/service-accounts/issue"
    return httpx.post(url, json=given, headers=dict(headers), timeout=30)


def test_a_machine_trades_what_the_vault_signed_for_access_until_it_is_revoked(api: Api, world: World) -> None:
    owner = world.person("starter")
    tenant, headers = str(owner.organisation_id), signed()
    issued = _issue(api, headers, tenant_id=tenant, fingerprint="batch-host-7")
    assert issued.status_code == 201, issued.text
    assert (issued.json()["token_use"], issued.json()["tenant_id"]) == ("refresh", tenant)
    refused(_issue(api, headers, tenant_id=tenant), 401, "vault_refused")  # its nonce is spent
    again = _issue(api, signed(), tenant_id=tenant, fingerprint="batch-host-7").json()
    assert again["refresh_token"] == issued.json()["refresh_token"]
    forced = _issue(api, signed(), tenant_id=tenant, fingerprint="batch-host-7", force=True).json()
    assert forced["refresh_token"] != again["refresh_token"]

    for _ in range(2):  # its refresh token stays as it is
        pair = api.refresh(again["refresh_token"]).json()
        assert (pair["refresh_token"], pair["scopes"]) == (again["refresh_token"], ["conversations:read"])
    data = api("GET", "/auth/me", who=pair["access_token"]).json()["data"]
    assert data["token_payload"]["sub"] == "service-account:analytics-batch"
    assert data["user_id"] == data["token_payload"]["sid"] == pair["session_id"]
    refused(api("GET", "/tenants/settings", who=pair["access_token"]), 403)

    path = f"/auth/service-accounts/tokens/{pair['session_id']}/revoke"
    for _ in range(2):
        assert api("POST", path, {"reason": "Host retired"}, who=owner).status_code == 200
    refused(api("GET", "/auth/me", who=pair["access_token"]), 401)
    refused(api.refresh(pair["refresh_token"]), 401, "invalid_refresh_token")
    shown = api("GET", "/auth/service-accounts/tokens?status=revoked", who=owner).json()
    assert [(one["jti"], one["revoked_reason"]) for one in shown["items"]] == [(pair["session_id"], "Host retired")]
    assert api("GET", "/auth/service-accounts/tokens", who=owner).json()["total"] == 1  # the forced one


@pytest.mark.parametrize(
    ("given", "body", "status", "code"),
    [
        (lambda: {"Authorization": "Bearer dev-locale"}, {}, 401, "vault_refused"),
        (lambda: {"Authorization": signed()["Authorization"]}, {}, 401, "vault_refused"),
        (lambda: {**signed(), "X-Vault-Payload": signed()["X-Vault-Payload"]}, {}, 401, "vault_refused"),
        (lambda: signed(iat=1, exp=2), {}, 401, "vault_refused"),
        (lambda: signed(aud=["elsewhere"]), {}, 401, "vault_refused"),
        (lambda: signed("billing-worker"), {}, 400, "vault_mismatch"),
        (lambda: signed(scopes=["conversations:write"]), {}, 400, "vault_mismatch"),
        (lambda: signed("nobody"), {"account": "nobody"}, 400, "unknown_account"),
        (lambda: signed(scopes=["support:*"]), {"scopes": ["support:*"]}, 400, "scope_not_allowed"),
        (lambda: signed(), {"tenant_id": None}, 400, "tenant_needed"),
        (lambda: signed(), {"tenant_id": str(uuid4())}, 400, "unknown_tenant"),
        (lambda: signed("demo-bot"), {"account": "demo-bot"}, 400, "tenant_refused"),
    ],
)
def test_a_machine_is_refused(
    api: Api, world: World, given: Callable[[], Any], body: dict[str, Any], status: int, code: str
) -> None:
    tenant = {"tenant_id": str(world.person("starter").organisation_id)}
    refused(_issue(api, given(), **{**tenant, **body}), status, code)


def test_the_console_issues_for_administrators_in_their_tenant_and_for_operators_anywhere(
    api: Api, world: World
) -> None:
    owner, other = world.person("starter"), world.person("starter")
    operator = world.person("starter", platform_role="support")
    override = {"X_Operator_Override": "true", "X_Operator_Reason": "Ticket 4711: host is gone"}

    def put(who: Person, tenant: Person | None, account: str = "analytics-batch", **headers: str) -> httpx.Response:
        body = {
            "account": account,
            "scopes": ["conversations:read"],
            "tenant_id": None if tenant is None else str(tenant.organisation_id),
            "reason": "Nightly export moves",
        }
        return api("POST", "/auth/service-accounts/browser-issue", body, who=who, **headers)

    assert put(owner, owner).status_code == 201
    refused(put(owner, other), 403, "tenant_mismatch")
    refused(put(owner, None), 400, "tenant_needed")
    refused(put(owner, None, "demo-bot"), 403, "not_operator")
    refused(put(owner, other, **override), 403, "not_operator")
    refused(put(member(world, owner), owner), 403)
    refused(put(operator, other), 403, "tenant_mismatch")
    refused(put(operator, other, X_Operator_Override="true"), 400, "reason_needed")
    assert put(operator, other, **override).status_code == 201
    assert put(operator, None, "demo-bot", **override).status_code == 201

    listing = "/auth/service-accounts/tokens"
    theirs = f"{listing}?tenant_id={other.organisation_id}"
    refused(api("GET", theirs, who=owner), 403, "not_operator")
    refused(api("GET", f"{listing}?include_global=true", who=owner), 403, "not_operator")
    refused(api("GET", listing, who=owner, X_Operator_Override="true"), 403, "not_operator")
    refused(api("GET", listing, who=operator, X_Operator_Override="true"), 400, "reason_needed")
    (found,) = api("GET", theirs, who=operator, **override).json()["items"]
    assert api("GET", f"{theirs}&include_global=true", who=operator, **override).json()["total"] > 1

    path = f"{listing}/{found['jti']}/revoke"
    refused(api("POST", path, {}, who=owner), 404, "not_found")
    refused(api("POST", path, {}, who=operator, X_Operator_Override="true"), 400, "reason_needed")
    done = api("POST", path, {"reason": "Host retired"}, who=operator, X_Operator_Override="true")
    assert done.status_code == 200, done.text
    refused(api("POST", f"{listing}/nothing-like-it/revoke", {}, who=owner), 404, "not_found")
    machine_token(world, owner)


def test_an_operator_without_a_tenant_has_none_to_work_in(api: Api, world: World) -> None:
    headers = signed("support-console", ["support:*"])
    issued = _issue(api, headers, account="support-console", scopes=["support:*"])
    access = api.refresh(issued.json()["refresh_token"]).json()["access_token"]
    assert api("GET", "/auth/invites", who=access).status_code == 200
    refused(api("GET", "/tenants/settings", who=access), 401, "unauthorized")
    refused(api("GET", "/auth/invites", who=access, X_Tenant_Id=str(uuid4())), 403, "tenant_mismatch")
    refused(api("POST", "/auth/logout/all", who=access), 401)


# --- signing up ----------------------------------------------------------------------------------------------


def test_registration_says_why_it_refuses(api: Api, world: World) -> None:
    person = world.person("starter")
    ended = invite(world)
    with world.platform() as ctx:
        identity.signup.revoke_invite(ctx, ended.invite.id)
    for changes, status, code in (
        ({}, 403, "invite_required"),
        ({"invite_token": "inv_unknown"}, 403, "invite_unknown"),
        ({"invite_token": ended.token}, 403, "invite_revoked"),
        ({"invite_token": invite(world, email=own_address()).token}, 403, "invite_mismatch"),
        ({"invite_token": invite(world).token, "accept_terms": False}, 400, "terms_not_accepted"),
        ({"invite_token": invite(world).token, "plan_code": "nonesuch"}, 404, "not_found"),
        ({"invite_token": invite(world).token, "password": "Password123456"}, 400, "password_policy"),
        ({"invite_token": invite(world).token, "email": person.email}, 409, "email_taken"),
    ):
        refused(api.register(**changes), status, code)
    name = f"Twice {uuid4().hex[:8]}"
    assert api.register(tenant_name=name, invite_token=invite(world).token).status_code == 201
    refused(api.register(tenant_name=name, invite_token=invite(world).token), 409)


def test_requests_and_invites_are_for_operators_and_decided_once(api: Api, world: World) -> None:
    operator, owner = world.person("starter", platform_role="support"), world.person("starter")
    for path in ("/auth/signup-requests", "/auth/invites"):
        refused(api("GET", path, who=owner), 403)
    request_id = asked(world)
    nobody = uuid4()
    assert api("POST", f"/auth/signup-requests/{request_id}/reject", {}, who=operator).json()["invite"] is None
    for verb in ("approve", "reject"):
        refused(api("POST", f"/auth/signup-requests/{request_id}/{verb}", {}, who=operator), 409, "already_decided")
        refused(api("POST", f"/auth/signup-requests/{nobody}/{verb}", {}, who=operator), 404, "not_found")
    for wanted, status in ((request_id, 409), (nobody, 404)):
        refused(api("POST", "/auth/invites", {"signup_request_id": str(wanted)}, who=operator), status)
    refused(api("POST", f"/auth/invites/{nobody}/revoke", who=operator), 404, "not_found")
    made = api("POST", "/auth/invites", {"expires_in_hours": None, "max_redemptions": 2}, who=operator).json()
    for _ in range(2):
        shown = api("POST", f"/auth/invites/{made['id']}/revoke", who=operator).json()
        assert shown["status"] == "revoked"
        assert "invite_token" not in shown


# --- limits --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(platforms: Callable[..., Any], server_folder: Path, running: Any) -> Iterator[Api]:
    """A platform as it is delivered, but open to everybody, on a Valkey of its own: its limits are the contract's."""
    valkey = Valkey(server_folder / "starter-limits", volatile=True)
    valkey.start()
    platform = platforms(
        "strict", valkey.url, signup_policy="public", failed_sign_ins_per_address="7", service_account_vault=""
    )
    identity.tokens.configure(running.url)  # the other tests of this run mint theirs for the first platform
    yield Api(platform.url)
    platform.stop()
    valkey.stop()


def test_under_a_public_policy_anybody_registers_and_nobody_asks(strict: Api) -> None:
    assert strict("GET", "/auth/signup-policy").json() == {
        "policy": "public",
        "invite_required": False,
        "request_access_enabled": False,
    }
    assert strict.register().status_code == 201


def test_an_address_registers_three_times_a_day_and_asks_for_five_reset_mails_an_hour(strict: Api) -> None:
    email = own_address()
    for _ in range(3):
        refused(strict.register(email=email, accept_terms=False), 400, "terms_not_accepted")
    refused(strict.register(email=email), 429)
    for _ in range(5):
        assert strict("POST", "/auth/password/forgot", {"email": email}).status_code == 202
    refused(strict("POST", "/auth/password/forgot", {"email": email}), 429)


def test_a_person_gets_three_verification_mails_an_hour(strict: Api) -> None:
    token = strict.register().json()["access_token"]
    for _ in range(3):
        assert strict("POST", "/auth/email/send", who=token).status_code == 202
    refused(strict("POST", "/auth/email/send", who=token), 429)


def test_without_a_vault_machines_are_told_so(strict: Api) -> None:
    reply = _issue(strict, signed(), tenant_id=str(uuid4()))
    refused(reply, 503, "unavailable")
    refused(_issue(strict, {"Authorization": "Bearer dev-local"}, tenant_id=str(uuid4())), 401, "vault_refused")


def test_three_requests_for_access_wait_from_one_address(api: Api, world: World) -> None:
    quiet(world)
    body = {"organization": "Lovelace", "full_name": "Ada Lovelace", "accept_terms": True}
    for _ in range(3):
        assert api("POST", "/auth/request-access", {**body, "email": own_address()}).status_code == 202
    refused(api("POST", "/auth/request-access", {**body, "email": own_address()}), 429)
    dropped = api("POST", "/auth/request-access", {**body, "email": own_address(), "honeypot": "x"})
    assert dropped.status_code == 202
    quiet(world)
    refused(api("POST", "/auth/request-access", {**body, "email": own_address(), "accept_terms": False}), 400)


def test_failures_from_one_address_make_it_wait_whomever_they_name(strict: Api) -> None:
    email = own_address()
    assert strict.register(email=email).status_code == 201
    for _ in range(7):
        refused(strict.login(own_address(), WRONG), 401)
    details = refused(strict.login(email), 429)
    assert 500 < int(details["Retry-After"]) <= 600
