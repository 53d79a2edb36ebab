"""Thallus and Thalian: how signing up, in and out, the account and API keys fail."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import func, update

from domain import identity
from domain.identity.models import Account
from recipes.failures import TOKEN, failure, locked
from recipes.thallus_auth import FRESH
from recipes.world import PASSWORD, Call, Person, World


def _without_password(world: World, surface: str = "thallus") -> Person:
    person = world.person(surface)
    with world.platform() as ctx:
        ctx.session.execute(update(Account).where(Account.id == person.account_id).values(password_hash=None))
    return person


def _change(current: str = PASSWORD) -> dict[str, str]:
    return {"current_password": current, "new_password": FRESH}


# --- coming in -----------------------------------------------------------------------------------------------


@failure("thallus", "register", 400, on="guarded")
def register_without_captcha(world: World) -> Call:
    body = {"email": world.email(), "password": PASSWORD, "name": "Ada", "captcha_token": "made-up"}
    return Call(json=body, public=True)


@failure("thallus", "forgotPassword", 400, on="guarded")
def forgot_without_captcha(world: World) -> Call:
    return Call(json={"email": world.email(), "captcha_token": "made-up"}, public=True)


@failure("thallus", "login", 401)
def wrong_password(world: World) -> Call:
    return Call(json={"email": world.person("thallus").email, "password": FRESH}, public=True)


@failure("thallus", "login", 403)
def not_verified(world: World) -> Call:
    return Call(json={"email": world.registers("thallus"), "password": PASSWORD}, public=True)


@failure("thallus", "login", 423)
def locked_out(world: World) -> Call:
    person = world.person("thallus")
    locked(world, "thallus", person.email)
    return Call(json={"email": person.email, "password": PASSWORD}, public=True)


@failure("thallus", "refreshToken", 403)
def refresh_of_a_shut_account(world: World) -> Call:
    return Call(cookies={"refresh_token": str(deactivated(world, "thallus").refresh_token)}, public=True)


@failure("thallus", "verifyEmail", 400)
def unknown_verification(world: World) -> Call:
    return Call(json={"token": f"evt_{TOKEN}"}, public=True)


@failure("thallus", "resetPassword", 400)
def unknown_reset(world: World) -> Call:
    return Call(json={"token": f"prt_{TOKEN}", "new_password": FRESH}, public=True)


# --- the caller's own account --------------------------------------------------------------------------------


@failure("thallus", "changePassword", 400)
def wrong_current_password(world: World) -> Call:
    return Call(json=_change("Not-the-present-one-7"))


@failure("thallus", "changePassword", 409)
def no_password_to_change(world: World) -> Call:
    return Call(json=_change(), who=_without_password(world))


@failure("thallus", "changePassword", 423)
def change_while_locked(world: World) -> Call:
    person = world.person("thallus")
    locked(world, "thallus", person.email)
    return Call(json=_change(), who=person)


@failure("thallus", "requestAccountDeletion", 400)
def deletion_without_proof(world: World) -> Call:
    return Call(json={"password": "Not-the-present-one-7"})


@failure("thallus", "requestAccountDeletion", 409)
def sole_administrator(world: World) -> Call:
    person = world.person("thallus")
    world.person("thallus", organisation_id=person.organisation_id, role="member")
    with world.platform(person.organisation_id) as ctx:
        identity.get_organisation(ctx).personal = False
    return Call(json={"password": PASSWORD}, who=person)


@failure("thallus", "requestAccountDeletion", 423)
def deletion_while_locked(world: World) -> Call:
    person = world.person("thallus")
    locked(world, "thallus", person.email)
    return Call(json={"password": PASSWORD}, who=person)


# --- keys ----------------------------------------------------------------------------------------------------


@failure("thallus", "createApiKey", 400)
def key_that_is_over(world: World) -> Call:
    return Call(json={"name": "Old", "expires_at": "2020-01-01T00:00:00Z"})


@failure("thallus", "createApiKey", 402)
def plan_without_keys(world: World) -> Call:
    return Call(json={"name": "Nightly export"}, who=world.person("thallus", plan="starter"))


@failure("thallus", "createApiKey", 409)
def too_many_keys(world: World) -> Call:
    person = world.person("thallus")
    with world.acting(person) as ctx:
        for number in range(25):
            identity.issue_api_key(ctx, f"key {number}", ["full"], "thallus", account_id=person.account_id)
    return Call(json={"name": "One more"}, who=person)


@failure("thalian", "createApiKey", 409)
def too_many_workspace_keys(world: World) -> Call:
    person = world.person("thalian")
    with world.acting(person) as ctx:
        for number in range(10):
            identity.issue_api_key(ctx, f"key {number}", ["read"], "thalian")
    return Call(json={"workspaceId": str(person.organisation_id), "name": "One more"}, who=person)


@failure("thalian", "revokeApiKey", 404)
def no_such_workspace_key(world: World) -> Call:
    person = world.person("thalian")
    return Call(json={"workspaceId": str(person.organisation_id), "keyId": str(uuid4())}, who=person)


def deactivated(world: World, surface: str) -> Person:
    """Somebody whose account an operator has shut."""
    person = world.person(surface)
    with world.platform() as ctx:
        ctx.session.execute(update(Account).where(Account.id == person.account_id).values(deactivated_at=func.now()))
    return person
