"""Starter: how signing in, the account, machines' tokens, coming in and a tenant's settings fail."""

from __future__ import annotations

from uuid import uuid4

from domain import identity
from domain.identity import signup
from recipes.failures import TOKEN, failure, locked
from recipes.failures_thallus import deactivated
from recipes.starter_identity import FRESH, asked, invite, machine_token, member, own_address, quiet, settings, signed
from recipes.world import PASSWORD, Call, Person, World

S = "starter"
GUESSED = "onlylowercaseletters"
"""Breaks the rule for passwords."""
OVERRIDE = {"X-Operator-Override": "true"}


def _login(email: str, password: str = PASSWORD) -> Call:
    return Call(json={"email": email, "password": password}, public=True)


# --- signing in ----------------------------------------------------------------------------------------------


@failure(S, "login", 400)
def which_tenant(world: World) -> Call:
    person, other = world.person(S), world.person(S)
    with world.anyone(S) as ctx:
        account = identity.accounts.get(ctx, person.account_id)
        identity.accounts.join(ctx, account, other.organisation_id, "viewer", source="invite")
    return _login(person.email)


@failure(S, "login", 401)
def wrong_password(world: World) -> Call:
    return _login(world.person(S).email, FRESH)


@failure(S, "login", 403)
def shut_account(world: World) -> Call:
    return _login(deactivated(world, S).email)


@failure(S, "login", 423)
def locked_out(world: World) -> Call:
    person = world.person(S)
    locked(world, S, person.email)
    return _login(person.email)


def _refresh(person: Person) -> Call:
    return Call(json={"refresh_token": person.refresh_token}, public=True)


@failure(S, "refreshSession", 401)
def unknown_refresh_token(world: World) -> Call:
    return Call(json={"refresh_token": f"rts_{TOKEN}"}, public=True)


@failure(S, "refreshSession", 403)
def refresh_of_a_shut_account(world: World) -> Call:
    return _refresh(deactivated(world, S))


@failure(S, "refreshSession", 423)
def refresh_while_locked(world: World) -> Call:
    person = world.person(S)
    locked(world, S, person.email)
    return _refresh(person)


# --- the account ---------------------------------------------------------------------------------------------


@failure(S, "verifyEmail", 400)
def unknown_verification(world: World) -> Call:
    return Call(json={"token": f"evt_{TOKEN}"}, public=True)


@failure(S, "confirmPasswordReset", 400)
def unknown_reset(world: World) -> Call:
    return Call(json={"token": f"prt_{TOKEN}", "new_password": FRESH}, public=True)


@failure(S, "changePassword", 400)
def weak_password(world: World) -> Call:
    return Call(json={"current_password": PASSWORD, "new_password": GUESSED})


@failure(S, "changePassword", 423)
def change_while_locked(world: World) -> Call:
    person = world.person(S)
    locked(world, S, person.email)
    return Call(json={"current_password": PASSWORD, "new_password": FRESH}, who=person)


@failure(S, "setUserPassword", 400)
def weak_password_for_another(world: World) -> Call:
    owner = world.person(S)
    return Call(json={"user_id": str(member(world, owner).account_id), "new_password": GUESSED}, who=owner)


@failure(S, "setUserPassword", 404)
def password_of_a_stranger(world: World) -> Call:
    return Call(json={"user_id": str(uuid4()), "new_password": FRESH})


# --- machines ------------------------------------------------------------------------------------------------


def _machine(world: World, **changes: object) -> dict[str, object]:
    tenant = str(world.person(S).organisation_id)
    return {"account": "analytics-batch", "scopes": ["conversations:read"], "tenant_id": tenant, **changes}


@failure(S, "issueServiceAccountToken", 400)
def payload_that_says_otherwise(world: World) -> Call:
    return Call(json=_machine(world), headers=signed("billing-worker"), public=True)


@failure(S, "issueServiceAccountToken", 401)
def payload_that_nobody_signed(world: World) -> Call:
    headers = {**signed(), "X-Vault-Payload": signed()["X-Vault-Payload"]}
    return Call(json=_machine(world), headers=headers, public=True)


@failure(S, "issueServiceAccountToken", 503, on="guarded")
def no_vault(world: World) -> Call:
    return Call(json=_machine(world), headers=signed(), public=True)


@failure(S, "issueServiceAccountTokenFromBrowser", 400)
def token_without_a_tenant(world: World) -> Call:
    return Call(json=_machine(world, tenant_id=None, reason="Nightly export"))


@failure(S, "listServiceAccountTokens", 400)
def override_without_a_reason(world: World) -> Call:
    return Call(headers=OVERRIDE, who=world.person(S, platform_role="support"))


@failure(S, "revokeServiceAccountToken", 400)
def revocation_without_a_reason(world: World) -> Call:
    owner = world.person(S)
    path = {"jti": machine_token(world, owner)[0]}
    return Call(path=path, json={}, headers=OVERRIDE, who=world.person(S, platform_role="support"))


# --- coming in -----------------------------------------------------------------------------------------------


def _register(world: World, **changes: object) -> Call:
    body = {
        "email": own_address(),
        "password": PASSWORD,
        "tenant_name": f"Analytics {uuid4().hex[:12]}",
        "accept_terms": True,
        "invite_token": invite(world).token,
        **changes,
    }
    return Call(json=body, public=True)


@failure(S, "registerTenant", 400)
def terms_not_accepted(world: World) -> Call:
    return _register(world, accept_terms=False)


@failure(S, "registerTenant", 403)
def unknown_invite(world: World) -> Call:
    return _register(world, invite_token=f"inv_{TOKEN}")


@failure(S, "registerTenant", 404)
def unknown_plan(world: World) -> Call:
    return _register(world, plan_code="nonesuch")


@failure(S, "registerTenant", 409)
def known_address(world: World) -> Call:
    return _register(world, email=world.person(S).email)


@failure(S, "requestAccess", 400)
def request_without_the_terms(world: World) -> Call:
    quiet(world)
    body = {"email": own_address(), "organization": "Lovelace", "full_name": "Ada", "accept_terms": False}
    return Call(json=body, public=True)


def _decided(world: World) -> Call:
    request = asked(world)
    with world.platform() as ctx:
        signup.reject(ctx, request, "no")
    return Call(path={"request_id": request}, json={}, who=world.person(S, platform_role="support"))


failure(S, "approveSignupRequest", 409)(_decided)
failure(S, "rejectSignupRequest", 409)(_decided)


@failure(S, "issueInvite", 404)
def invite_for_no_request(world: World) -> Call:
    return Call(json={"signup_request_id": str(uuid4())}, who=world.person(S, platform_role="support"))


@failure(S, "issueInvite", 409)
def invite_for_a_decided_request(world: World) -> Call:
    request = _decided(world)
    return Call(json={"signup_request_id": str(request.path["request_id"])}, who=request.who)


@failure(S, "updateTenantSettings", 400)
def webhook_into_the_house(world: World) -> Call:
    return Call(json=settings(billing_webhook_url="https://169.254.169.254/"))
