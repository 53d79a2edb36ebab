"""What stands behind the link of an invitation: who invites where, and joining with the account that one has.

Whoever invites has seen the link too, so that it proves nothing of the invited: joining takes the account's password.
Bee Flow's contract has an operation for that (`newcomers.take_up`); this is for surfaces that have none. Whoever has no
account signs up with the token (`invites.register`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.identity import accounts, invites, newcomers, organisations
from domain.identity.invites import InviteRefused
from domain.identity.models import Account, Invite
from domain.kernel.context import Ctx
from domain.kernel.db import acting_for
from domain.kernel.errors import Gone

__all__ = ["Welcome", "join", "look"]


@dataclass(frozen=True, slots=True)
class Welcome:
    """What somebody is invited to. Without `organisation`: to found one. Without `email`: whoever has the link.

    `has_account`: somebody can sign in with that address already.
    """

    organisation: str | None
    invited_by: str
    role: str | None
    email: str | None
    has_account: bool
    expires_at: datetime


def look(ctx: Ctx, token: str) -> Welcome:
    """What the token of a mail invites to. Raises `Gone` for one that is unknown, used, taken back or too old."""
    invite = _open(ctx, token)
    return _shown(ctx, invite, _owner(ctx, invite))


def join(ctx: Ctx, surface: str, token: str, password: str) -> Welcome:
    """Use an invitation up for the account of its address, which is a member from now on.

    Raises `Gone` like `look`; `InviteRefused` (fact `reason`) where there is no account to join with
    (`sign_up_needed`), or that may not (`account_disabled`, `invite_revoked`); `InvalidPassword` (counted like a failed
    sign-in), `Locked`, `Conflict` (`no_password`), or `PaymentRequired` without a free seat.
    """
    invite = _open(ctx, token)
    account = _owner(ctx, invite)
    if invite.organisation_id is None or account is None:
        raise InviteRefused("Sign up with this invitation.", reason="sign_up_needed")
    accounts.prove_password(ctx, account, surface, password)
    if account.deactivated_at is not None:
        raise InviteRefused("This account is deactivated.", reason="account_disabled")
    found = _shown(ctx, invite, account)
    invites.accept(ctx, invites.redeem(ctx, token, account.email), account)
    return found


def _open(ctx: Ctx, token: str) -> Invite:
    invite = invites.find(ctx, token)
    if invite is None or invites.status_of(invite, ctx.now()) != "active":
        raise Gone("This invitation is not open any more. Ask for a new one.")
    return invite


def _shown(ctx: Ctx, invite: Invite, owner: Account | None) -> Welcome:
    name = None
    if invite.organisation_id is not None:
        with acting_for(ctx, invite.organisation_id) as inside:
            name = organisations.get_organisation(inside).name
    return Welcome(name, invite.invited_by, invite.role, invite.email, owner is not None, invite.expires_at)


def _owner(ctx: Ctx, invite: Invite) -> Account | None:
    account = None if invite.email is None else accounts.find(ctx, invite.email)
    return account if account is not None and newcomers.is_somebodys(ctx, account) else None
