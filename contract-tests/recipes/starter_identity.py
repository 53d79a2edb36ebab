"""Starter: signing in and out, the account, machines' tokens, how tenants come in, a tenant's settings."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid4

from domain import identity
from domain.identity import operators, service_accounts, signup
from domain.kernel.pages import OffsetPage
from recipes.world import PASSWORD, Call, Person, World, recipe

FRESH = "Velvet-comet-harbour-77"
VAULT_SECRET = "a-shared-secret-of-the-test-vault-0001"
"""What the test platform checks vault payloads with (setting `service_account_vault`)."""


# --- what recipes and tests share ---------------------------------------------------------------------------


def member(world: World, owner: Person, role: str = "member", **more: Any) -> Person:
    """Somebody who belongs to the owner's tenant and to no other."""
    return world.person("starter", organisation_id=owner.organisation_id, role=role, **more)


def invite(world: World, **wishes: Any) -> signup.Issued:
    """An invite to found a tenant."""
    with world.platform() as ctx:
        return signup.issue_invite(ctx, **wishes)


def asked(world: World) -> UUID:
    """A request for access that waits."""
    quiet(world)
    address = own_address()
    with world.anyone("starter") as ctx:
        signup.request_access(
            ctx, email=address, organisation="Lovelace Analytics", name="Ada", message=None, accept_terms=True
        )
    with world.platform() as ctx:
        found = signup.list_requests(ctx, OffsetPage(200), "pending").items
        return next(one.request.id for one in found if one.request.email == address)


def quiet(world: World) -> None:
    """No request waits: all tests ask from one address, which may have three."""
    with world.platform() as ctx:
        for one in signup.list_requests(ctx, OffsetPage(200), "pending").items:
            signup.reject(ctx, one.request.id, "between two tests")


def own_address() -> str:
    """An address at a domain of its own: registrations are counted by domain."""
    return f"ada@{uuid4().hex[:16]}.example"


def machine_token(world: World, owner: Person, **wishes: Any) -> tuple[UUID, str]:
    """A service account's token in the owner's tenant: its id, and in plain."""
    wish = service_accounts.Wish(
        wishes.pop("account", "analytics-batch"),
        frozenset(wishes.pop("scopes", {"conversations:read"})),
        owner.organisation_id,
        **wishes,
    )
    with world.acting(owner) as ctx:
        standing = operators.Standing(operator=False, reason=None)
        token, plain = service_accounts.issue_from_browser(ctx, wish, standing, "Nightly export")
        return token.id, plain


def signed(
    account: str = "analytics-batch", scopes: Iterable[str] = ("conversations:read",), **claims: Any
) -> Mapping[str, str]:
    """Headers of a machine: a payload, and the test vault's signature of it."""
    now = int(time.time())
    content = {
        "iss": "vault.example",
        "aud": ["auth-service"],
        "sub": "deploy",
        "nonce": uuid4().hex,
        "iat": now,
        "exp": now + 300,
        "account": account,
        "scopes": list(scopes),
        **claims,
    }
    payload = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    made = hmac.digest(VAULT_SECRET.encode(), payload.encode(), hashlib.sha256)
    proof = f"vault:v1:{base64.b64encode(made).decode()}"
    return {"Authorization": f"Bearer {proof}", "X-Vault-Payload": payload}


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "billing_contacts": [{"name": "Charles Babbage", "email": "charles@lovelace.example", "role": "Finance"}],
        "billing_webhook_url": "https://hooks.lovelace.example/billing",
        "plan_metadata": {"purchase_order": "PO-2026-118"},
        "flags": {"beta_workflows": True},
        **changes,
    }


# --- auth, sessions ------------------------------------------------------------------------------------------


@recipe("starter", "login")
def login(world: World) -> Call:
    person = world.person("starter")
    return Call(json={"email": person.email, "password": PASSWORD}, public=True, who=person)


@recipe("starter", "refreshSession")
def refresh(world: World) -> Call:
    person = world.person("starter")
    return Call(json={"refresh_token": person.refresh_token}, public=True, who=person, once=True)


@recipe("starter", "logout")
def logout(world: World) -> Call:
    person = world.person("starter")
    return Call(json={"refresh_token": person.refresh_token}, who=person, once=True)


@recipe("starter", "logoutEverywhere")
def logout_everywhere(world: World) -> Call:
    return Call(once=True)


@recipe("starter", "getCurrentUser")
def me(world: World) -> Call:
    return Call()


@recipe("starter", "listSessions")
def list_sessions(world: World) -> Call:
    return Call(query={"include_revoked": "true", "limit": 5})


@recipe("starter", "revokeSession")
def revoke_session(world: World) -> Call:
    person = world.person("starter")
    return Call(path={"session_id": world.again(person).session_id}, who=person, once=True)


# --- account -------------------------------------------------------------------------------------------------


@recipe("starter", "sendVerificationEmail")
def send_verification(world: World) -> Call:
    return Call(who=world.person("starter", verified=False))


@recipe("starter", "verifyEmail")
def verify_email(world: World) -> Call:
    address = world.registers("starter")
    return Call(json={"token": world.mailed(address, "verify_email")}, public=True, once=True)


@recipe("starter", "requestPasswordReset")
def forgot(world: World) -> Call:
    person = world.person("starter")
    # A worker leaves the entry, a moment later: the caller must not notice whether there was an account.
    return Call(json={"email": person.email}, public=True, who=person, audit=False)


@recipe("starter", "confirmPasswordReset")
def reset(world: World) -> Call:
    person = world.person("starter")
    with world.anyone("starter") as ctx:
        identity.accounts.mail_password_reset(ctx, "starter", person.email)
    token = world.mailed(person.email, "reset_password")
    return Call(json={"token": token, "new_password": FRESH}, public=True, who=person, once=True)


@recipe("starter", "changePassword")
def change_password(world: World) -> Call:
    return Call(json={"current_password": PASSWORD, "new_password": FRESH}, once=True)


@recipe("starter", "setUserPassword")
def set_password(world: World) -> Call:
    owner = world.person("starter")
    other = member(world, owner)
    return Call(json={"user_id": str(other.account_id), "new_password": FRESH}, who=owner, once=True)


# --- service accounts ----------------------------------------------------------------------------------------


@recipe("starter", "issueServiceAccountToken")
def issue_to_machine(world: World) -> Call:
    owner = world.person("starter")
    body = {
        "account": "analytics-batch",
        "scopes": ["conversations:read"],
        "tenant_id": str(owner.organisation_id),
        "fingerprint": "batch-host-7",
    }
    return Call(json=body, headers=signed(), public=True, who=owner, once=True)


@recipe("starter", "issueServiceAccountTokenFromBrowser")
def issue_from_browser(world: World) -> Call:
    owner = world.person("starter")
    body = {
        "account": "synthetic-monitor",
        "scopes": ["conversations:write", "tools:read"],
        "tenant_id": str(owner.organisation_id),
        "lifetime_minutes": 60,
        "reason": "Nightly checks move to a new host",
    }
    return Call(json=body, who=owner)


@recipe("starter", "listServiceAccountTokens")
def list_tokens(world: World) -> Call:
    owner = world.person("starter")
    machine_token(world, owner)
    return Call(query={"account": "analytics-batch", "status": "active"}, who=owner)


@recipe("starter", "revokeServiceAccountToken")
def revoke_token(world: World) -> Call:
    owner = world.person("starter")
    return Call(path={"jti": machine_token(world, owner)[0]}, json={"reason": "Host retired"}, who=owner)


# --- signing up ----------------------------------------------------------------------------------------------


@recipe("starter", "getSignupPolicy")
def policy(world: World) -> Call:
    return Call(public=True)


@recipe("starter", "registerTenant")
def register(world: World) -> Call:
    body = {
        "email": own_address(),
        "password": PASSWORD,
        "tenant_name": f"Analytics {uuid4().hex[:12]}",
        "accept_terms": True,
        "invite_token": invite(world).token,
    }
    return Call(json=body, public=True, once=True)


@recipe("starter", "requestAccess")
def request_access(world: World) -> Call:
    quiet(world)
    body = {
        "email": own_address(),
        "organization": "Lovelace Analytics",
        "full_name": "Ada Lovelace",
        "message": "Forty analysts would like to try it.",
        "accept_terms": True,
        "honeypot": "",
    }
    return Call(json=body, public=True)


@recipe("starter", "listSignupRequests")
def list_requests(world: World) -> Call:
    asked(world)
    return Call(query={"status": "pending"})


@recipe("starter", "approveSignupRequest")
def approve(world: World) -> Call:
    return Call(path={"request_id": asked(world)}, json={"note": "Beta partner"}, once=True)


@recipe("starter", "rejectSignupRequest")
def reject(world: World) -> Call:
    return Call(path={"request_id": asked(world)}, json={"reason": "Outside of the region"}, once=True)


@recipe("starter", "listInvites")
def list_invites(world: World) -> Call:
    invite(world)
    return Call(query={"status": "active"})


@recipe("starter", "issueInvite")
def issue_invite(world: World) -> Call:
    return Call(json={"invited_email": own_address(), "expires_in_hours": 24, "note": "Beta partner"})


@recipe("starter", "revokeInvite")
def revoke_invite(world: World) -> Call:
    return Call(path={"invite_id": invite(world).invite.id})


# --- tenants -------------------------------------------------------------------------------------------------


@recipe("starter", "getTenantSettings")
def tenant_settings(world: World) -> Call:
    return Call()


@recipe("starter", "updateTenantSettings")
def update_tenant_settings(world: World) -> Call:
    return Call(json=settings())
