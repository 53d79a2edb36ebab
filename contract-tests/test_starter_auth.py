"""Starter's identity over HTTP: from an invite to a revoked session, machines' tokens, every refusal by its status."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import Person, World
from recipes.starter_identity import FRESH, asked, invite, machine_token, member, own_address, quiet, settings, signed
from recipes.world import PASSWORD
from sqlalchemy import func, update

from domain import identity
from domain.identity.models import Account
from domain.kernel.ids import new_id
from thalweg.embedded.valkey import Valkey

WRONG = "wrong-password-1"


@dataclass(frozen=True)
class Api:
    """The surface, as a client sees it."""

    url: str

    def __call__(
        self, method: str, path: str, body: Any = None, who: Person | str | None = None, **headers: str
    ) -> httpx.Response:
        token = who.token if isinstance(who, Person) else who
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        return httpx.request(method, f"{self.url}/starter/api/v1{path}", json=body, headers=given, timeout=30)

    def login(self, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
        return self("POST", "/auth/token", {"email": email, "password": password, **more})

    def refresh(self, token: str | None) -> httpx.Response:
        return self("POST", "/auth/refresh", {"refresh_token": token})

    def register(self, **changes: Any) -> httpx.Response:
        body = {
            "email": own_address(),
            "password": PASSWORD,
            "tenant_name": f"Analytics {uuid4().hex[:12]}",
            "accept_terms": True,
        }
        return self("POST", "/auth/register", body | changes)


@pytest.fixture(scope="module")
def api(world: World) -> Api:
    return Api(world.url)


def refused(reply: httpx.Response, status: int, code: str | None = None) -> Mapping[str, str]:
    """The details of a refusal, which has to be in the surface's envelope."""
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert body["success"] is False
    assert body["error"] == body["message"] == body["detail"]
    details: Mapping[str, str] = body["details"]
    if code is not None:
        assert details["code"] == code, body
    if status == 401:
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert details["WWW-Authenticate"] == reply.headers["www-authenticate"]
    if status in (423, 429):
        assert int(reply.headers["retry-after"]) > 0
        assert details["Retry-After"] == reply.headers["retry-after"]
    return details


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


# --- the whole way -------------------------------------------------------------------------------------------


def test_from_an_invite_to_a_verified_owner_whose_copied_token_ends_the_session(api: Api, world: World) -> None:
    email, name = own_address(), f"Zürich Werke {uuid4().hex[:8]}"
    made = api.register(email=email, tenant_name=name, invite_token=invite(world, email=email).token)
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    assert made.headers["location"].endswith("/api/v1/tenants/settings")
    pair = made.json()
    assert pair["tenant_slug"] == name.lower().replace("ü", "u").replace(" ", "-")
    assert pair["email_verified"] is False

    early = api("GET", "/tenants/settings", who=pair["access_token"])
    refused(early, 403)
    assert early.json()["message"] == "Email verification required."
    sent = api("POST", "/auth/email/send", who=pair["access_token"])
    assert (sent.status_code, sent.json()["data"]) == (202, {"email_verified": False})
    refused(api("POST", "/auth/email/verify", {"token": "evt_nonsense"}), 400, "invalid_token")
    token = world.mailed(email, "verify_email")
    assert api("POST", "/auth/email/verify", {"token": token}).json()["message"] == "Email verified successfully."
    refused(api("POST", "/auth/email/verify", {"token": token}), 400, "invalid_token")
    again = api("POST", "/auth/email/send", who=pair["access_token"])
    assert (again.status_code, again.json()["data"]) == (202, {"email_verified": True})

    fresh = api.refresh(pair["refresh_token"]).json()
    assert (fresh["email_verified"], fresh["session_id"]) == (True, pair["session_id"])
    assert claims(pair["access_token"])["email_verified"] is False
    assert claims(fresh["access_token"])["email_verified"] is True
    assert api("GET", "/tenants/settings", who=fresh["access_token"]).status_code == 200

    refused(api.refresh(pair["refresh_token"]), 401, "invalid_refresh_token")  # whoever does this holds a copy
    refused(api.refresh(fresh["refresh_token"]), 401, "invalid_refresh_token")
    refused(api("GET", "/auth/me", who=fresh["access_token"]), 401, "unauthorized")

    back = api.login(email).json()
    assert back["tenant_id"] == pair["tenant_id"]
    listed = api("GET", "/auth/sessions?include_revoked=true", who=back["access_token"]).json()
    assert [(one["id"], one["current"], one["revoked_at"] is None) for one in listed["sessions"]] == [
        (back["session_id"], True, True),
        (pair["session_id"], False, False),
    ]
    other = api.login(email).json()
    path = f"/auth/sessions/{other['session_id']}"
    assert api("DELETE", path, who=back["access_token"]).json()["data"] == {"session_id": other["session_id"]}
    refused(api("DELETE", path, who=back["access_token"]), 404, "not_found")
    refused(api("GET", "/auth/me", who=other["access_token"]), 401)
    refused(api.refresh(other["refresh_token"]), 401)
    assert api("GET", "/auth/sessions", who=back["access_token"]).json()["total"] == 1


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


# --- signing in ----------------------------------------------------------------------------------------------


def test_wrong_address_password_and_tenant_are_one_and_the_same(api: Api, world: World) -> None:
    person, other = world.person("starter"), world.person("starter")
    replies = [
        api.login(person.email, WRONG),
        api.login(own_address(), WRONG),
        api.login(person.email, tenant_id=str(other.organisation_id)),
    ]
    for reply in replies:
        refused(reply, 401, "invalid_credentials")
    assert len({reply.content for reply in replies}) == 1


def test_people_of_several_tenants_name_one(api: Api, world: World) -> None:
    person, other = world.person("starter"), world.person("starter")
    with world.anyone("starter") as ctx:
        account = identity.accounts.get(ctx, person.account_id)
        identity.accounts.join(ctx, account, other.organisation_id, "viewer", source="invite")
    refused(api.login(person.email), 400, "tenant_needed")
    for tenant, scope in ((person.organisation_id, True), (other.organisation_id, False)):
        pair = api.login(person.email, tenant_id=str(tenant)).json()
        assert pair["tenant_id"] == str(tenant)
        assert ("tenants:manage" in pair["scopes"]) is scope


def test_a_disabled_account_is_told_so_and_refreshes_no_more(api: Api, world: World) -> None:
    person = world.person("starter")
    with world.platform() as ctx:
        ctx.session.execute(update(Account).where(Account.id == person.account_id).values(deactivated_at=func.now()))
    refused(api.login(person.email, WRONG), 401, "invalid_credentials")
    refused(api.login(person.email), 403, "account_disabled")
    refused(api.refresh(person.refresh_token), 403, "account_disabled")


def test_five_failures_lock_for_an_hour_signing_in_refreshing_and_changing_the_password(api: Api, world: World) -> None:
    person, nobody = world.person("starter"), own_address()
    for _ in range(5):
        refused(api.login(person.email, WRONG), 401)
        refused(api.login(nobody, WRONG), 401)
    details = refused(api.login(person.email), 423, "account_locked")
    assert 3000 < int(details["Retry-After"]) <= 3600
    refused(api.login(nobody), 423, "account_locked")  # a lock does not tell that there is an account
    refused(api.refresh(person.refresh_token), 423, "account_locked")
    body = {"current_password": PASSWORD, "new_password": FRESH}
    refused(api("POST", "/auth/password/change", body, who=person), 423, "account_locked")


@pytest.mark.parametrize("token", ["x", "rt_unknown", "rts_unknown", "thal_key", "rt_" + "a" * 4000])
def test_what_is_no_refresh_token_is_refused(api: Api, token: str) -> None:
    refused(api.refresh(token), 401, "invalid_refresh_token")


def test_only_an_access_token_of_this_surface_signed_by_this_platform_is_taken(api: Api, world: World) -> None:
    person, elsewhere = world.person("starter"), world.person("thallus")
    header, payload, signature = person.token.split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "at+jwt"}).encode()).decode().rstrip("=")
    for forged in (elsewhere.token, f"{none}.{payload}.", f"{header}.{payload}.{signature[::-1]}", "x.y.z"):
        refused(api("GET", "/auth/me", who=forged), 401, "unauthorized")
    refused(api("GET", "/auth/me"), 401, "unauthorized")
    assert api("GET", "/auth/me", who=person).status_code == 200


# --- signing out, who am I -----------------------------------------------------------------------------------


def test_a_session_is_ended_by_its_token_once_and_by_its_owner_alone(api: Api, world: World) -> None:
    person, other = world.person("starter"), world.person("starter")
    second = world.again(person)
    refused(api("POST", "/auth/logout", {"refresh_token": "rt_unknown"}, who=person), 401, "invalid_refresh_token")
    refused(api("POST", "/auth/logout", {"refresh_token": person.refresh_token}, who=other), 403, "not_own_token")
    for revoked in (True, False):
        reply = api("POST", "/auth/logout", {"refresh_token": second.refresh_token}, who=person)
        assert reply.json()["data"] == {"revoked": revoked}
    refused(api("GET", "/auth/me", who=second), 401)
    assert api("GET", "/auth/me", who=person).status_code == 200


def test_all_sessions_end_and_are_counted(api: Api, world: World) -> None:
    person = world.person("starter")
    others = [world.again(person) for _ in range(2)]
    assert api("POST", "/auth/logout/all", who=person).json()["data"] == {"revoked": 3}
    for one in (person, *others):
        refused(api("GET", "/auth/me", who=one), 401)


def test_me_is_the_token_as_it_was_believed(api: Api, world: World) -> None:
    person = world.person("starter")
    data = api("GET", "/auth/me", who=person).json()["data"]
    told = claims(person.token)
    assert data["user_id"] == str(person.account_id)
    assert data["token_payload"] == {name: told[name] for name in data["token_payload"]}
    reply = api("GET", "/auth/me", who=person)
    assert api("GET", "/auth/me", who=person, If_None_Match=reply.headers["etag"]).status_code == 304


# --- tenants and roles ---------------------------------------------------------------------------------------


def test_the_tenant_header_repeats_the_tokens_tenant_and_the_role_header_only_lowers(api: Api, world: World) -> None:
    owner = world.person("starter")
    mine = str(owner.organisation_id)

    def ask(who: Person = owner, **headers: str) -> httpx.Response:
        return api("GET", "/tenants/settings", who=who, **headers)

    assert ask(X_Tenant_Id=mine, X_Tenant_Role="admin").status_code == 200
    refused(ask(X_Tenant_Id=str(uuid4())), 403, "tenant_mismatch")
    for lower in ("viewer", "member", "editor"):
        refused(ask(X_Tenant_Role=lower), 403)
    assert ask(X_Tenant_Role="superuser").status_code == 422
    admin, viewer = member(world, owner, "admin"), member(world, owner, "viewer")
    refused(ask(admin, X_Tenant_Role="owner"), 403, "role_not_held")
    assert ask(admin, X_Tenant_Role="admin").status_code == 200
    refused(ask(viewer, X_Tenant_Role="admin"), 403, "role_not_held")
    assert refused(ask(viewer), 403)["required_scope"] == "tenants:manage"


UNVERIFIED = [
    ("POST", "/auth/password/reset", {"user_id": str(new_id()), "new_password": FRESH}),
    ("GET", "/tenants/settings", None),
    ("PUT", "/tenants/settings", settings()),
    ("GET", "/auth/service-accounts/tokens", None),
    ("GET", "/auth/invites", None),
    ("GET", "/auth/signup-requests", None),
]


@pytest.mark.parametrize(("method", "path", "body"), UNVERIFIED)
def test_an_unverified_address_may_nothing_but_verify_itself(
    api: Api, world: World, method: str, path: str, body: Any
) -> None:
    person = world.person("starter", verified=False, platform_role="superadmin")
    reply = api(method, path, body, who=person)
    refused(reply, 403)
    assert reply.json()["detail"] == "Email verification required."


def test_settings_are_replaced_and_a_webhook_into_the_house_is_refused(api: Api, world: World) -> None:
    owner = world.person("starter")
    empty = api("GET", "/tenants/settings", who=owner).json()
    assert (empty["billing_contacts"], empty["flags"], empty["updated_at"]) == ([], {}, None)
    written = api("PUT", "/tenants/settings", settings(), who=owner)
    assert written.status_code == 200, written.text
    assert api("GET", "/tenants/settings", who=owner).json() == written.json()
    short: dict[str, Any] = {"billing_contacts": [], "plan_metadata": {}, "flags": {}}
    assert api("PUT", "/tenants/settings", short, who=owner).json()["billing_webhook_url"] is None
    wrong = settings(billing_webhook_url="https://169.254.169.254/")
    refused(api("PUT", "/tenants/settings", wrong, who=owner), 400, "webhook_address")
    assert api("PUT", "/tenants/settings", settings(extra=1), who=owner).status_code == 422
    world.subscribe(owner.organisation_id, "starter", "starter")
    denied = api("PUT", "/tenants/settings", settings(flags={"sso": True}), who=owner)
    refused(denied, 400, "feature_not_in_plan")


# --- passwords -----------------------------------------------------------------------------------------------


def test_a_changed_password_ends_every_session(api: Api, world: World) -> None:
    person = world.person("starter")
    other = world.again(person)

    def change(current: str, new: str) -> httpx.Response:
        body = {"current_password": current, "new_password": new}
        return api("POST", "/auth/password/change", body, who=person)

    refused(change(WRONG, FRESH), 401, "invalid_credentials")
    refused(change(PASSWORD, "onlylowercaseletters"), 400, "password_policy")
    refused(change(PASSWORD, PASSWORD), 400, "password_policy")
    assert change(PASSWORD, FRESH).status_code == 200
    for one in (person, other):
        refused(api("GET", "/auth/me", who=one), 401)
        refused(api.refresh(one.refresh_token), 401)
    assert api.login(person.email, FRESH).status_code == 200


def test_a_lost_password_is_set_anew_by_mail_and_nobody_learns_who_has_an_account(api: Api, world: World) -> None:
    person = world.person("starter")
    replies = [api("POST", "/auth/password/forgot", {"email": email}) for email in (person.email, own_address())]
    assert [reply.status_code for reply in replies] == [202, 202]
    assert replies[0].content == replies[1].content
    token = world.mailed(person.email, "reset_password")

    def confirm(token: str, password: str) -> httpx.Response:
        return api("POST", "/auth/password/confirm", {"token": token, "new_password": password})

    refused(confirm("prt_unknown", FRESH), 400, "invalid_token")
    refused(confirm(token, "onlylowercaseletters"), 400, "password_policy")
    refused(confirm(token, PASSWORD), 400, "password_policy")
    assert confirm(token, FRESH).status_code == 200
    refused(confirm(token, "Another-lantern-orbit-17"), 400, "invalid_token")
    refused(api("GET", "/auth/me", who=person), 401)


def test_an_administrator_sets_passwords_of_members_below_them(api: Api, world: World) -> None:
    owner, stranger = world.person("starter"), world.person("starter")
    admin, below = member(world, owner, "admin"), member(world, owner)

    def put(who: Person, target: Person, password: str = FRESH) -> httpx.Response:
        body = {"user_id": str(target.account_id), "new_password": password}
        return api("POST", "/auth/password/reset", body, who=who)

    refused(put(owner, stranger), 404, "not_found")
    refused(put(admin, owner), 403)
    refused(put(admin, admin), 403, "own_password")
    refused(put(below, below), 403)
    refused(put(admin, below, "onlylowercaseletters"), 400, "password_policy")
    assert put(admin, below).status_code == 200
    refused(api("GET", "/auth/me", who=below), 401)
    assert api.login(below.email, FRESH).status_code == 200


def test_an_operator_without_a_tenant_has_none_to_work_in(api: Api, world: World) -> None:
    headers = signed("support-console", ["support:*"])
    issued = _issue(api, headers, account="support-console", scopes=["support:*"])
    access = api.refresh(issued.json()["refresh_token"]).json()["access_token"]
    assert api("GET", "/auth/invites", who=access).status_code == 200
    refused(api("GET", "/tenants/settings", who=access), 401, "unauthorized")
    refused(api("GET", "/auth/invites", who=access, X_Tenant_Id=str(uuid4())), 403, "tenant_mismatch")
    refused(api("POST", "/auth/logout/all", who=access), 401)


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
