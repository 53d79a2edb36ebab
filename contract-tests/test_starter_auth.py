"""Starter over HTTP: from an invite to a revoked session, passwords, tenants and roles; every refusal by its status."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import Person, World
from recipes.starter_api import Api, claims, refused
from recipes.starter_identity import FRESH, invite, member, own_address, settings
from recipes.world import PASSWORD
from sqlalchemy import func, update

from domain import identity
from domain.identity.models import Account
from domain.kernel.ids import new_id

WRONG = "wrong-password-1"


@pytest.fixture(scope="module")
def api(world: World) -> Api:
    return Api(world.url)


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
    refused(ask(X_Tenant_Role="superuser"), 403, "role_not_held")
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
    refused(reply, 403, "email_not_verified")
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
