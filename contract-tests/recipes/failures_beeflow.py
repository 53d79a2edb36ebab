"""Bee Flow: how setting up, signing in, coming in, people, groups, the organisation and keys fail."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

from domain.identity import get_organisation, groups, invites, members, newcomers, personal_keys, waitlist
from domain.identity.models import UserGroup
from recipes.beeflow_identity import DOT, colleague, forget_setup, group_of, home, invitation, waiting
from recipes.failures import failure, locked
from recipes.world import PASSWORD, Call, Person, World

S = "beeflow"
WRONG = "Not-the-password-1"


def _login(email: str, password: str = PASSWORD, **more: str) -> Call:
    return Call(json={"email": email, "password": password, **more}, public=True)


def _sign_up(email: str, **more: str) -> Call:
    body = {"email": email, "password": PASSWORD, "displayName": "Grace Hopper", **more}
    return Call(json=body, public=True)


def used(world: World, person: Person) -> tuple[str, str]:
    """An invitation that is over: its address and its token."""
    email, token = invitation(world, person)
    with world.acting(person) as ctx:
        members.invite(ctx, email)  # a new link ends the old one
    return email, token


def full(world: World, person: Person) -> None:
    """No seat is free any more."""
    world.subscribe(person.organisation_id, S, "community")


def unseated(world: World, person: Person, email: str) -> str:
    """An invitation that keeps no seat, as other surfaces make them, into an organisation that is full since."""
    with world.acting(person) as ctx:
        _, token = invites.issue(
            ctx,
            life=timedelta(days=1),
            email=email,
            organisation_id=person.organisation_id,
            role="member",
            invited_by="Ada Lovelace",
        )
    full(world, person)
    return token


def nextcloud_group(world: World, person: Person, *inside: UUID) -> UUID:
    """A group that Nextcloud keeps."""
    made = group_of(world, person, *inside)
    with world.acting(person) as ctx:
        row = ctx.session.get(UserGroup, made)
        assert row is not None
        row.external_id = f"nc-{uuid4().hex}"
    return made


# --- setting up, signing in ----------------------------------------------------------------------------------


@failure(S, "setUpServer", 403, on="guarded")
def setup_without_token(world: World) -> Call:
    forget_setup(world)
    return Call(json={"email": world.email(), "password": PASSWORD}, public=True)


@failure(S, "setUpServer", 409)
def setup_for_a_known_address(world: World) -> Call:
    forget_setup(world)
    return Call(json={"email": world.person(S).email, "password": PASSWORD}, public=True)


@failure(S, "login", 401)
def wrong_password(world: World) -> Call:
    return _login(world.person(S).email, WRONG)


@failure(S, "login", 402)
def login_without_a_seat(world: World) -> Call:
    person, guest = world.person(S), world.person(S)
    token = unseated(world, person, guest.email)
    return _login(guest.email, inviteToken=token)


@failure(S, "login", 403)
def login_while_waiting(world: World) -> Call:
    person = world.person(S)
    home(world, person)
    email = world.email()
    with world.anyone(S) as ctx:
        newcomers.sign_up(ctx, email=email, password=PASSWORD, name="Grace Hopper")
    return _login(email)


@failure(S, "login", 410)
def login_with_a_used_invitation(world: World) -> Call:
    return _login(world.person(S).email, inviteToken=used(world, world.person(S))[1])


@failure(S, "login", 422)
def login_with_somebody_elses_invitation(world: World) -> Call:
    return _login(world.person(S).email, inviteToken=invitation(world, world.person(S))[1])


@failure(S, "login", 423)
def locked_out(world: World) -> Call:
    person = world.person(S)
    locked(world, S, person.email)
    return _login(person.email)


# --- coming in -----------------------------------------------------------------------------------------------


@failure(S, "signUp", 402)
def sign_up_without_a_seat(world: World) -> Call:
    person = world.person(S)
    email = world.email()
    return _sign_up(email, inviteToken=unseated(world, person, email))


@failure(S, "signUp", 403)
def sign_up_where_nobody_may(world: World) -> Call:
    home(world, world.person(S), "invite_only")
    return _sign_up(world.email())


@failure(S, "signUp", 409)
def sign_up_twice(world: World) -> Call:
    forget_setup(world)
    return _sign_up(world.person(S).email)


@failure(S, "signUp", 410)
def sign_up_with_a_used_invitation(world: World) -> Call:
    email, token = used(world, world.person(S))
    return _sign_up(email, inviteToken=token)


@failure(S, "getInvite", 404)
def unknown_invitation(world: World) -> Call:
    return Call(path={"token": f"inv_{'0' * 43}"}, public=True)


@failure(S, "getInvite", 410)
def used_invitation(world: World) -> Call:
    return Call(path={"token": used(world, world.person(S))[1]}, public=True)


@failure(S, "joinWaitlist", 403)
def no_waiting_list(world: World) -> Call:
    home(world, world.person(S), "invite_only")
    return Call(json={"email": world.email(), "displayName": "Grace Hopper"}, public=True)


@failure(S, "updateSignupSettings", 422)
def settings_with_an_unknown_group(world: World) -> Call:
    body = {
        "mode": "open",
        "allowedDomains": [],
        "defaultRole": "user",
        "defaultGroupIds": [str(uuid4())],
        "provisionFromSso": True,
        "notifyEmail": None,
    }
    return Call(json=body)


@failure(S, "approveWaitlistEntry", 402)
def approval_without_a_seat(world: World) -> Call:
    person = world.person(S)
    entry = waiting(world, person)
    full(world, person)
    return Call(path={"userId": entry}, json={}, who=person)


@failure(S, "approveWaitlistEntry", 409)
def approval_of_a_refusal(world: World) -> Call:
    person = world.person(S)
    entry = waiting(world, person)
    with world.acting(person) as ctx:
        waitlist.reject(ctx, entry)
    return Call(path={"userId": entry}, json={}, who=person)


@failure(S, "approveWaitlistEntry", 422)
def approval_into_an_unknown_group(world: World) -> Call:
    person = world.person(S)
    return Call(path={"userId": waiting(world, person)}, json={"groupIds": [str(uuid4())]}, who=person)


@failure(S, "rejectWaitlistEntry", 409)
def refusal_of_an_approval(world: World) -> Call:
    person = world.person(S)
    entry = waiting(world, person)
    with world.acting(person) as ctx:
        waitlist.approve(ctx, entry)
    return Call(path={"userId": entry}, json={}, who=person)


# --- the caller, people --------------------------------------------------------------------------------------


@failure(S, "updateProfile", 409)
def name_that_nextcloud_keeps(world: World) -> Call:
    from recipes.failures_beeflow_sso import from_nextcloud

    return Call(json={"displayName": "Ada King"}, headers=from_nextcloud(world), public=True)


@failure(S, "updateProfile", 422)
def no_picture(world: World) -> Call:
    return Call(json={"avatar": DOT.replace("image/png", "image/jpeg")})


@failure(S, "inviteUser", 402)
def invitation_without_a_seat(world: World) -> Call:
    return Call(json={"email": world.email()}, who=world.person(S, plan="community"))


@failure(S, "inviteUser", 409)
def invitation_of_a_member(world: World) -> Call:
    person = world.person(S)
    return Call(json={"email": colleague(world, person).email}, who=person)


@failure(S, "updateUser", 402)
def return_without_a_seat(world: World) -> Call:
    person = world.person(S)
    gone = colleague(world, person).account_id
    with world.acting(person) as ctx:
        members.remove(ctx, gone)
    full(world, person)
    return Call(path={"id": gone}, json={"status": "active"}, who=person)


@failure(S, "updateUser", 409)
def disabling_oneself(world: World) -> Call:
    person = world.person(S)
    return Call(path={"id": person.account_id}, json={"status": "disabled"}, who=person)


@failure(S, "updateUser", 422)
def unknown_language(world: World) -> Call:
    person = world.person(S)
    return Call(path={"id": person.account_id}, json={"language": "xx"}, who=person)


@failure(S, "deleteUser", 409)
def deleting_oneself(world: World) -> Call:
    person = world.person(S)
    return Call(path={"id": person.account_id}, who=person)


# --- groups, the organisation, keys --------------------------------------------------------------------------


@failure(S, "createGroup", 409)
def name_of_another_group(world: World) -> Call:
    person = world.person(S)
    with world.acting(person) as ctx:
        groups.create(ctx, "Legal")
    return Call(json={"name": "legal"}, who=person)


@failure(S, "createGroup", 422)
def group_of_strangers(world: World) -> Call:
    return Call(json={"name": "Legal", "memberIds": [str(uuid4())]})


@failure(S, "updateGroup", 409)
def renaming_nextclouds_group(world: World) -> Call:
    person = world.person(S)
    return Call(path={"id": nextcloud_group(world, person)}, json={"name": "Compliance"}, who=person)


@failure(S, "updateGroup", 422)
def group_without_a_name(world: World) -> Call:
    person = world.person(S)
    return Call(path={"id": group_of(world, person)}, json={"name": "   "}, who=person)


@failure(S, "deleteGroup", 409)
def deleting_nextclouds_group(world: World) -> Call:
    person = world.person(S)
    return Call(path={"id": nextcloud_group(world, person)}, who=person)


@failure(S, "addGroupMember", 409)
def joining_nextclouds_group(world: World) -> Call:
    person = world.person(S)
    path = {"id": nextcloud_group(world, person)}
    return Call(path=path, json={"userId": str(person.account_id)}, who=person)


@failure(S, "addGroupMember", 422)
def stranger_in_a_group(world: World) -> Call:
    person = world.person(S)
    return Call(path={"id": group_of(world, person)}, json={"userId": str(uuid4())}, who=person)


@failure(S, "removeGroupMember", 409)
def leaving_nextclouds_group(world: World) -> Call:
    person = world.person(S)
    path = {"id": nextcloud_group(world, person, person.account_id), "userId": person.account_id}
    return Call(path=path, who=person)


@failure(S, "updateOrganisation", 409)
def slug_of_another(world: World) -> Call:
    with world.platform(world.person(S).organisation_id) as ctx:
        slug = get_organisation(ctx).slug
    return Call(json={"slug": slug})


@failure(S, "updateOrganisation", 422)
def unknown_time_zone(world: World) -> Call:
    return Call(json={"timezone": "Mars/Olympus"})


@failure(S, "createApiKey", 409)
def name_of_another_key(world: World) -> Call:
    person = world.person(S)
    with world.acting(person) as ctx:
        personal_keys.create(ctx, "Nightly export", "full")
    return Call(json={"name": "Nightly export"}, who=person)


@failure(S, "createApiKey", 422)
def key_without_a_name(world: World) -> Call:
    return Call(json={"name": "   "})
