"""Signing in with a password."""

from __future__ import annotations

import logging
from uuid import UUID

from sqlalchemy import and_, literal, select

from domain import audit, notifications
from domain.identity import accounts, guard, memberships, newcomers, passwords, rules, sessions
from domain.identity.models import Account
from domain.identity.policies import Policy, policy_of
from domain.identity.sessions import SignedIn, SignInRefused
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid, Unauthenticated

_log = logging.getLogger(__name__)


class InvalidCredentials(Unauthenticated):
    """Wrong address, wrong password, wrong organisation: one and the same."""

    reason = "invalid_credentials"
    default = "The address or the password is wrong."


class OrganisationNeeded(Invalid):
    """Somebody with several organisations has to say which one is meant."""

    reason = "organisation_needed"
    default = "This account belongs to several organisations: name the one that is meant."


def sign_in(
    ctx: Ctx,
    surface: str,
    email: str,
    password: str,
    *,
    organisation_id: UUID | None = None,
    choose: bool = False,
    remembered: bool = False,
    invite_token: str | None = None,
) -> SignedIn:
    """Open a session for an address and its password.

    `choose`: somebody with several organisations has to name one (`OrganisationNeeded`); otherwise the one that was
    used last is taken. Raises `InvalidCredentials` (failures are counted), `Locked` or `LimitExceeded` (fact
    `retry_after`), or, once the password was right, `SignInRefused` with the reason. A deletion that was asked for is
    cancelled. `invite_token`: an invitation that is taken up with this account; the session is in the organisation that
    invites (`InviteRefused`, `PaymentRequired`).
    """
    policy = policy_of(surface)
    key = rules.email_key(email)
    account = _look(ctx, policy, key)
    if not passwords.matches(account, password) or account is None:
        _failed(ctx, key, account, surface)
        raise InvalidCredentials().keeping()
    guard.succeeded(ctx, key)
    if account.deactivated_at is not None:
        raise SignInRefused("This account is deactivated.", reason="account_disabled")
    if policy.verified_first and account.email_verified_at is None:
        raise SignInRefused("Verify the address first: the link is in the mail.", reason="email_unverified")
    if account.password_hash is not None and crypto.needs_rehash(account.password_hash):
        account.password_hash = passwords.hashed(password)
    if invite_token is not None:
        organisation_id = newcomers.take_up(ctx, invite_token, account)
    belonging = choose_organisation(ctx, account, organisation_id, choose=choose)
    if belonging is not None and belonging.require_sso:
        raise SignInRefused("The organisation asks for single sign-on.", reason="sso_required")
    accounts.cancel_deletion(ctx, account)
    return sessions.open_session(ctx, account, belonging, surface=surface, method="password", remembered=remembered)


def _look(ctx: Ctx, policy: Policy, key: str) -> Account | None:
    """The account of an address, unless somebody has to wait: one look, and the same one for nobody.

    Raises `LimitExceeded`, `Locked`.
    """
    one = select(literal(1).label("one")).subquery()
    mine = and_(Account.email_key == key, Account.erased_at.is_(None))
    locked_until, place_until = guard.locks(ctx, policy, key)
    asked = select(Account, locked_until, place_until).select_from(one).outerjoin(Account, mine)
    found = ctx.session.execute(asked).one()
    guard.refuse(ctx, found[1], found[2])
    account: Account | None = found[0]
    return account


def choose_organisation(
    ctx: Ctx, account: Account, organisation_id: UUID | None = None, *, choose: bool = False
) -> memberships.Belonging | None:
    """The organisation to sign in to; None only for people who run the platform and belong to none."""
    own = memberships.organisations_of(ctx, account.id)
    if organisation_id is not None:
        for belonging in own:
            if belonging.organisation_id == organisation_id:
                return belonging
        raise InvalidCredentials
    if not own:
        if account.platform_role is not None:
            return None
        raise _without_organisation(ctx, account)
    if choose and len(own) > 1:
        raise OrganisationNeeded
    if len(own) == 1:
        return own[0]
    last = sessions.last_organisation(ctx, account.id)
    return next((belonging for belonging in own if belonging.organisation_id == last), own[0])


def _without_organisation(ctx: Ctx, account: Account) -> SignInRefused:
    states = memberships.states_of(ctx, account.id)
    if "pending" in states:
        return SignInRefused("An administrator has to approve this account first.", reason="pending_approval")
    if "disabled" in states:
        return SignInRefused("This account is disabled.", reason="account_disabled")
    return SignInRefused("This account belongs to no organisation.", reason="no_organisation")


def _failed(ctx: Ctx, key: str, account: Account | None, surface: str) -> None:
    locked = guard.failed(ctx, key, policy_of(surface).lockout)
    guard.failed_from(ctx, policy_of(surface))
    if account is None:
        _log.info("sign-in failed: no such account", extra={"surface": surface, "address": ctx.address})
        return
    own = memberships.organisations_of(ctx, account.id)
    if own:
        with memberships.as_member(ctx, account.id, own[0].organisation_id) as inside:
            audit.record(
                inside,
                "session.create",
                resource_type="user",
                resource_id=account.id,
                outcome="failure",
                details={"reason": "invalid_credentials", "surface": surface},
            )
            if locked:
                audit.record(inside, "user.lock", resource_type="user", resource_id=account.id)
    if locked:
        until = ctx.now() + policy_of(surface).lockout.duration
        notifications.send_mail(
            ctx,
            "account_locked",
            account.email,
            facts={"name": account.name, "until": until},
            language=account.language,
        )
