"""Thallus: signing up, in and out, the caller's own account, API keys."""

from __future__ import annotations

from domain import identity
from recipes.world import PASSWORD, Call, World, recipe

FRESH = "Velvet-comet-harbour-77"


@recipe("thallus", "register")
def register(world: World) -> Call:
    body = {"email": world.email(), "password": PASSWORD, "name": "Ada Lovelace", "captcha_token": "solved"}
    return Call(json=body, public=True, audit=False)


@recipe("thallus", "login")
def login(world: World) -> Call:
    person = world.person("thallus")
    return Call(json={"email": person.email, "password": PASSWORD}, public=True, who=person)


@recipe("thallus", "logout")
def logout(world: World) -> Call:
    return Call(once=True)


@recipe("thallus", "refreshToken")
def refresh(world: World) -> Call:
    person = world.person("thallus")
    return Call(cookies={"refresh_token": str(person.refresh_token)}, public=True, who=person, once=True)


@recipe("thallus", "getCurrentUser")
def me(world: World) -> Call:
    return Call()


@recipe("thallus", "updateProfile")
def profile(world: World) -> Call:
    return Call(json={"name": "Ada King", "job_title": "Controller", "timezone": "Europe/Paris"})


@recipe("thallus", "updateSettings")
def settings(world: World) -> Call:
    return Call(json={"theme": "dark", "language": "fr", "memory_enabled": False})


@recipe("thallus", "changePassword")
def change_password(world: World) -> Call:
    return Call(json={"current_password": PASSWORD, "new_password": FRESH}, once=True)


@recipe("thallus", "verifyEmail")
def verify_email(world: World) -> Call:
    email = world.registers("thallus")
    return Call(json={"token": world.mailed(email, "verify_email")}, public=True, audit=False, once=True)


@recipe("thallus", "resendVerification")
def resend(world: World) -> Call:
    return Call(json={"email": world.email()}, public=True, audit=False)


@recipe("thallus", "forgotPassword")
def forgot(world: World) -> Call:
    person = world.person("thallus")
    # A worker leaves the entry, a moment later: the caller must not notice whether there was an account.
    return Call(json={"email": person.email, "captcha_token": "solved"}, public=True, who=person, audit=False)


@recipe("thallus", "resetPassword")
def reset(world: World) -> Call:
    person = world.person("thallus")
    with world.anyone("thallus") as ctx:
        identity.accounts.mail_password_reset(ctx, "thallus", person.email)
    token = world.mailed(person.email, "reset_password")
    return Call(json={"token": token, "new_password": FRESH}, public=True, who=person, once=True)


@recipe("thallus", "requestAccountDeletion")
def delete_account(world: World) -> Call:
    return Call(json={"password": PASSWORD, "reason": "Trying out"}, once=True)


@recipe("thallus", "listApiKeys")
def list_keys(world: World) -> Call:
    return Call()


@recipe("thallus", "createApiKey")
def create_key(world: World) -> Call:
    return Call(json={"name": "Nightly export"})


@recipe("thallus", "revokeApiKey")
def revoke_key(world: World) -> Call:
    person = world.person("thallus")
    with world.acting(person) as ctx:
        key, _ = identity.issue_api_key(ctx, "old", ["full"], "thallus", account_id=person.account_id)
    return Call(path={"key_id": key.id}, who=person)
