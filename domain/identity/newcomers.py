"""Coming in to Bee Flow with a password: by an invitation, by the waiting list, or with one's own organisation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain import audit
from domain.identity import (
    accounts,
    invites,
    languages,
    memberships,
    organisations,
    passwords,
    sessions,
    signup_settings,
    waitlist,
)
from domain.identity.accounts import EmailTaken
from domain.identity.invites import InviteRefused
from domain.identity.models import Account, Invite
from domain.identity.policies import policy_of
from domain.identity.sessions import SignedIn
from domain.identity.signup_settings import INVITE_ONLY, WAITLIST, ServerRules, SignupRefused
from domain.kernel.context import Ctx
from domain.kernel.db import acting_for
from domain.kernel.errors import Gone, NotFound

SURFACE = "beeflow"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """An account that was made. `signed_in` is None while it waits to be approved."""

    account: Account
    signed_in: SignedIn | None


@dataclass(frozen=True, slots=True)
class Shown:
    """An invitation as the invited may see it. `account_exists`: signing in takes it up."""

    email: str
    organisation: str
    role: str
    invited_by: str
    account_exists: bool
    expires_at: datetime


def sign_up(
    ctx: Ctx,
    *,
    email: str,
    password: str,
    name: str,
    invite_token: str | None = None,
    organisation_name: str | None = None,
    language: str | None = None,
) -> Newcomer:
    """Make an account. With an invitation it is a member of the organisation that invites; else the server's rules say.

    Raises `SignupRefused`, `InviteRefused`, `EmailTaken`, `WeakPassword`, `PaymentRequired` (no free seat).
    """
    policy = policy_of(SURFACE)
    server = None
    if invite_token is None:
        server = signup_settings.of_server(ctx)
        _may_come(ctx, server, email)
    passwords.check(ctx, policy.password, password, None, (email, name))
    known = None if language is None else languages.shown(language)
    if server is None:
        assert invite_token is not None
        return _invited(ctx, invite_token, email=email, password=password, name=name, language=known)
    account = accounts.make(ctx, email=email, name=name, source="signup", password=password, language=known)
    accounts.send_verification(ctx, account, policy)
    if server.settings.mode == WAITLIST and server.home is not None:
        with memberships.as_member(ctx, account.id, server.home) as inside:
            waitlist.wait(inside, account, server.settings, company=organisation_name)
            details = {"source": account.source}
            audit.record(inside, "user.create", resource_type="user", resource_id=account.id, details=details)
        return Newcomer(account, None)
    slug = None if organisation_name is None else organisations.free_slug(ctx, organisation_name)
    accounts.give_own_organisation(ctx, account, name=organisation_name, slug=slug)
    return Newcomer(account, _signed_in(ctx, account, None))


def look(ctx: Ctx, token: str) -> Shown:
    """What an invitation says, for whoever has it. Raises `NotFound`, `Gone` once it is used, ended or too old."""
    invite = invites.find(ctx, token)
    if invite is None or invite.organisation_id is None or invite.email is None or invite.role is None:
        raise NotFound("There is no such invitation.")
    if invites.status_of(invite, ctx.now()) != "active":
        raise Gone("The invitation was used, was taken back, or is too old. Ask for a new one.")
    with acting_for(ctx, invite.organisation_id) as inside:
        organisation = organisations.get_organisation(inside)
    account = accounts.find(ctx, invite.email)
    return Shown(
        invite.email,
        organisation.name,
        invite.role,
        invite.invited_by,
        account is not None and is_somebodys(ctx, account),
        invite.expires_at,
    )


def take_up(ctx: Ctx, token: str, account: Account) -> UUID:
    """Take up an invitation with an account whose owner has just proved to be it; the organisation's id.

    Raises `InviteRefused`, `PaymentRequired`.
    """
    return _accept(ctx, invites.redeem(ctx, token, account.email), account)


def is_somebodys(ctx: Ctx, account: Account) -> bool:
    """Whether somebody can sign in to the account, so that it is not there only because it was invited."""
    if account.password_hash is not None or account.last_sign_in_at is not None:
        return True
    return accounts.has_external(ctx, account)


def _may_come(ctx: Ctx, server: ServerRules, email: str) -> None:
    if server.settings.mode == INVITE_ONLY:
        raise SignupRefused("Only the invited can sign up here.", reason="signup_disabled")
    server.settings.admit(email)
    if server.settings.mode == WAITLIST and server.home is not None:
        with acting_for(ctx, server.home) as inside:
            if waitlist.refused_lately(inside, email):
                raise SignupRefused("This sign-up was turned down: try again later.", reason="signup_disabled")


def _invited(ctx: Ctx, token: str, *, email: str, password: str, name: str, language: str | None) -> Newcomer:
    invite = invites.redeem(ctx, token, email)
    account = accounts.find(ctx, email)
    if account is None:
        account = accounts.make(ctx, email=email, name=name, source="invite", password=password, language=language)
    elif is_somebodys(ctx, account):
        raise EmailTaken("There is an account for this address already: sign in to take up the invitation.")
    else:
        ctx.session.refresh(account, with_for_update=True)
        if account.password_hash is not None:
            raise EmailTaken  # another request was first
        account.name = " ".join(name.split()) or account.name
        account.language = language or account.language
        passwords.replace(ctx, account, passwords.hashed(password))
    # The link proves that somebody has the invitation, not that the address is theirs: its sender has seen it too.
    accounts.send_verification(ctx, account, policy_of(SURFACE))
    return Newcomer(account, _signed_in(ctx, account, _accept(ctx, invite, account)))


def _accept(ctx: Ctx, invite: Invite, account: Account) -> UUID:
    if invite.organisation_id is None:
        raise InviteRefused("This invitation is for founding an organisation elsewhere.", reason="invite_unknown")
    return invites.accept(ctx, invite, account)


def _signed_in(ctx: Ctx, account: Account, organisation_id: UUID | None) -> SignedIn:
    own = memberships.organisations_of(ctx, account.id)
    belonging = next((one for one in own if one.organisation_id == organisation_id), own[0])
    return sessions.open_session(ctx, account, belonging, surface=SURFACE, method="password")
