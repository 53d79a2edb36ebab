"""What stands behind the link of an invitation: who invites where, and joining with the account that one has.

The token came by mail to one address, so it is proof enough to put that address's account into the organisation.
Whoever has no account signs up with the token (`invites.register`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.identity import accounts, invites, organisations
from domain.identity.invites import InviteRefused
from domain.identity.models import Account, Invite
from domain.kernel.context import Ctx
from domain.kernel.db import acting_for
from domain.kernel.errors import Gone

__all__ = ["Welcome", "join", "look"]


@dataclass(frozen=True, slots=True)
class Welcome:
    """What somebody is invited to. Without `organisation`: to found one. Without `email`: whoever has the link."""

    organisation: str | None
    invited_by: str
    role: str | None
    email: str | None
    has_account: bool
    expires_at: datetime


def look(ctx: Ctx, token: str) -> Welcome:
    """What the token of a mail invites to. Raises `Gone` for one that is unknown, used, taken back or too old."""
    invite = invites.find(ctx, token)
    if invite is None or invites.status_of(invite, ctx.now()) != "active":
        raise Gone("This invitation is not open any more. Ask for a new one.")
    return _shown(ctx, invite, _owner(ctx, invite))


def join(ctx: Ctx, token: str) -> Welcome:
    """Use an invitation up for the account of its address, which is a member from now on.

    Raises `Gone` like `look`, and `InviteRefused` (fact `reason`: `sign_up_needed`) where there is no account to join
    with, or `account_disabled`.
    """
    found = look(ctx, token)
    if found.organisation is None or found.email is None or not found.has_account:
        raise InviteRefused("Sign up with this invitation.", reason="sign_up_needed")
    invite = invites.redeem(ctx, token, found.email)
    account = _owner(ctx, invite)
    if account is None or account.deactivated_at is not None:
        raise InviteRefused("This account is deactivated.", reason="account_disabled")
    invites.accept(ctx, invite, account)
    return found


def _owner(ctx: Ctx, invite: Invite) -> Account | None:
    return None if invite.email is None else accounts.find(ctx, invite.email)


def _shown(ctx: Ctx, invite: Invite, owner: Account | None) -> Welcome:
    name = None
    if invite.organisation_id is not None:
        with acting_for(ctx, invite.organisation_id) as inside:
            name = organisations.get_organisation(inside).name
    return Welcome(name, invite.invited_by, invite.role, invite.email, owner is not None, invite.expires_at)
