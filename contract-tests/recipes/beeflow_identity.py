"""Bee Flow: setting up, signing in, the caller, coming in, people, groups, the organisation, keys."""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx
from sqlalchemy import delete

from domain import identity
from domain.identity import groups, members, personal_keys, signup_settings, waitlist
from domain.identity.models import ServerSetup
from domain.kernel.pages import OffsetPage
from recipes.world import PASSWORD, Call, Person, World, recipe

SURFACE = "beeflow"
ORIGIN = "https://cloud.lovelace.example"
DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


def forget_setup(world: World) -> None:
    """The server as it was before anybody set it up."""
    with world.database.session(None, platform=True) as session:
        session.execute(delete(ServerSetup))


def home(world: World, person: Person, mode: str = "waitlist", **wishes: object) -> None:
    """Make somebody's organisation the one that the server was set up with, with these rules, until the test ends."""
    forget_setup(world)
    with world.platform() as ctx:
        ctx.session.add(ServerSetup(done=True, organisation_id=person.organisation_id, created_at=ctx.now()))
    world.afterwards.append(lambda: forget_setup(world))
    rules(world, person, mode, **wishes)


def rules(world: World, person: Person, mode: str, **wishes: object) -> None:
    given = {
        "allowed_domains": [],
        "default_role": "member",
        "default_group_ids": [],
        "provision_from_sso": True,
        "notify_email": None,
        **wishes,
    }
    with world.acting(person) as ctx:
        signup_settings.update(ctx, mode=mode, **given)  # type: ignore[arg-type]


def colleague(world: World, person: Person) -> Person:
    return world.person(SURFACE, organisation_id=person.organisation_id, role="member", name="Grace Hopper")


def invitation(world: World, person: Person) -> tuple[str, str]:
    """An address that was invited, and its token."""
    email = world.email()
    with world.acting(person) as ctx:
        link = members.invite(ctx, email).link
    return email, link.partition("#")[2]


def waiting(world: World, person: Person) -> UUID:
    """Somebody on the waiting list of a person's organisation; who that is."""
    email = world.email()
    home(world, person)
    with world.anyone(SURFACE) as ctx:
        waitlist.join(ctx, email=email, name="Grace Hopper")
    forget_setup(world)
    with world.acting(person) as ctx:
        page = waitlist.listed(ctx, OffsetPage(), status="pending", q=email)
        return page.items[0].person_id


# --- auth --------------------------------------------------------------------------------


@recipe(SURFACE, "getSetupStatus")
def setup_status(world: World) -> Call:
    return Call(public=True)


@recipe(SURFACE, "setUpServer")
def set_up(world: World) -> Call:
    forget_setup(world)
    world.afterwards.append(lambda: forget_setup(world))
    body = {"email": world.email(), "password": PASSWORD, "organizationName": "Lovelace Engines", "locale": "en"}
    return Call(json=body, public=True, once=True, check=_has_cookie)


@recipe(SURFACE, "login")
def login(world: World) -> Call:
    person = world.person(SURFACE)
    return Call(json={"email": person.email, "password": PASSWORD}, public=True, who=person, check=_has_cookie)


@recipe(SURFACE, "logout")
def logout(world: World) -> Call:
    return Call(once=True)


@recipe(SURFACE, "createSessionToken")
def session_token(world: World) -> Call:
    person = world.person(SURFACE)
    with world.acting(person) as ctx:
        identity.organisation_settings.update(ctx, {"embed_origins": [ORIGIN]})
    return Call(json={"origin": ORIGIN}, who=person)


# --- account --------------------------------------------------------------------------------


@recipe(SURFACE, "getCurrentUser")
def me(world: World) -> Call:
    return Call()


@recipe(SURFACE, "getMyPermissions")
def permissions(world: World) -> Call:
    return Call()


@recipe(SURFACE, "updateProfile")
def profile(world: World) -> Call:
    return Call(json={"displayName": "Ada King", "language": "nl", "avatar": DOT})


# --- signup --------------------------------------------------------------------------------


@recipe(SURFACE, "signUp")
def sign_up(world: World) -> Call:
    forget_setup(world)
    body = {"email": world.email(), "password": PASSWORD, "displayName": "Ada Lovelace"}
    return Call(json=body, public=True, once=True, check=_has_cookie)


@recipe(SURFACE, "getInvite")
def invite(world: World) -> Call:
    _, token = invitation(world, world.person(SURFACE))
    return Call(path={"token": token}, public=True)


@recipe(SURFACE, "getSignupSettings")
def settings(world: World) -> Call:
    return Call()


@recipe(SURFACE, "updateSignupSettings")
def set_settings(world: World) -> Call:
    body = {
        "mode": "waitlist",
        "allowedDomains": ["lovelace.example"],
        "defaultRole": "user",
        "defaultGroupIds": [],
        "provisionFromSso": True,
        "notifyEmail": "ada@lovelace.example",
    }
    return Call(json=body)


@recipe(SURFACE, "listWaitlist")
def list_waitlist(world: World) -> Call:
    person = world.person(SURFACE)
    waiting(world, person)
    return Call(who=person, check=_not_empty)


@recipe(SURFACE, "approveWaitlistEntry")
def approve(world: World) -> Call:
    person = world.person(SURFACE)
    return Call(path={"userId": waiting(world, person)}, json={"message": "Welcome!"}, who=person)


@recipe(SURFACE, "rejectWaitlistEntry")
def reject(world: World) -> Call:
    person = world.person(SURFACE)
    return Call(path={"userId": waiting(world, person)}, json={"reason": "Only staff.", "notify": True}, who=person)


@recipe(SURFACE, "joinWaitlist")
def join(world: World) -> Call:
    person = world.person(SURFACE)
    home(world, person)
    body = {"email": world.email(), "displayName": "Grace Hopper", "message": "For the meeting notes."}
    return Call(json=body, public=True, who=person)


@recipe(SURFACE, "listPublicOrganisations")
def public_organisations(world: World) -> Call:
    person = world.person(SURFACE)
    with world.acting(person) as ctx:
        slug = identity.organisation_settings.update(ctx, {"public": True}).organisation.slug
    return Call(query={"slug": slug}, public=True, check=_not_empty)


# --- users --------------------------------------------------------------------------------


@recipe(SURFACE, "listUsers")
def list_users(world: World) -> Call:
    return Call(check=_not_empty)


@recipe(SURFACE, "inviteUser")
def invite_user(world: World) -> Call:
    return Call(json={"email": world.email(), "displayName": "Grace Hopper", "role": "admin", "message": "Welcome!"})


@recipe(SURFACE, "updateUser")
def update_user(world: World) -> Call:
    person = world.person(SURFACE)
    return Call(path={"id": colleague(world, person).account_id}, json={"status": "disabled"}, who=person)


@recipe(SURFACE, "deleteUser")
def delete_user(world: World) -> Call:
    person = world.person(SURFACE)
    return Call(path={"id": colleague(world, person).account_id}, who=person, once=True)


# --- groups --------------------------------------------------------------------------------


def group_of(world: World, person: Person, *member_ids: UUID) -> UUID:
    with world.acting(person) as ctx:
        return groups.create(ctx, f"Legal {uuid4().hex}", member_ids=member_ids).group.id


@recipe(SURFACE, "listGroups")
def list_groups(world: World) -> Call:
    person = world.person(SURFACE)
    group_of(world, person, person.account_id)
    return Call(query={"members": "true"}, who=person, check=_not_empty)


@recipe(SURFACE, "createGroup")
def create_group(world: World) -> Call:
    person = world.person(SURFACE)
    body = {"name": "Legal", "description": "Contracts", "memberIds": [str(person.account_id)]}
    return Call(json=body, who=person, once=True)


@recipe(SURFACE, "updateGroup")
def update_group(world: World) -> Call:
    person = world.person(SURFACE)
    return Call(path={"id": group_of(world, person)}, json={"name": "Compliance", "description": None}, who=person)


@recipe(SURFACE, "deleteGroup")
def delete_group(world: World) -> Call:
    person = world.person(SURFACE)
    return Call(path={"id": group_of(world, person, person.account_id)}, who=person, once=True)


@recipe(SURFACE, "addGroupMember")
def add_member(world: World) -> Call:
    person = world.person(SURFACE)
    return Call(path={"id": group_of(world, person)}, json={"userId": str(person.account_id)}, who=person)


@recipe(SURFACE, "removeGroupMember")
def remove_member(world: World) -> Call:
    person = world.person(SURFACE)
    path = {"id": group_of(world, person, person.account_id), "userId": person.account_id}
    return Call(path=path, who=person, once=True)


# --- the organisation --------------------------------------------------------------------------------


@recipe(SURFACE, "getOrganisation")
def organisation(world: World) -> Call:
    return Call()


@recipe(SURFACE, "updateOrganisation")
def update_organisation(world: World) -> Call:
    body = {
        "name": "Lovelace & Babbage",
        "timezone": "Europe/London",
        "primaryColor": "#1A2B3C",
        "embedOrigins": [ORIGIN],
        "conversationRetentionDays": 365,
        "guardrails": {"dlpMode": "block", "privacyShield": "strict"},
    }
    return Call(json=body)


# --- keys --------------------------------------------------------------------------------


@recipe(SURFACE, "listApiKeys")
def list_keys(world: World) -> Call:
    return Call()


@recipe(SURFACE, "createApiKey")
def create_key(world: World) -> Call:
    return Call(json={"name": "Nightly export", "scope": "read-only"}, once=True)


@recipe(SURFACE, "revokeApiKey")
def revoke_key(world: World) -> Call:
    person = world.person(SURFACE)
    with world.acting(person) as ctx:
        key, _ = personal_keys.create(ctx, "old", "full")
    return Call(path={"id": key.id}, who=person)


def _has_cookie(reply: httpx.Response) -> None:
    cookie = reply.headers["set-cookie"]
    assert cookie.startswith("bf_session=")
    assert {"HttpOnly", "Secure", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}


def _not_empty(reply: httpx.Response) -> None:
    assert reply.json()["total"] > 0
    assert reply.json()["items"]
