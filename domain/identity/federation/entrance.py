"""Coming in for the first time through a provider: by an invitation, into the provider's organisation, or with an
organisation of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.identity import accounts, groups, invites, memberships, signup, signup_settings
from domain.identity.models import Account
from domain.kernel.context import Ctx
from domain.kernel.db import acting_for
from domain.kernel.errors import Forbidden, PaymentRequired

SOURCE = "sso"


@dataclass(frozen=True, slots=True)
class Vouched:
    """What an identity provider says of whoever signed in there.

    `organisation_id`: the only organisation that this provider may let people into (SAML). `sure_of_email`: the
    provider vouches that the address is this person's.
    """

    provider: str
    issuer: str
    subject: str
    email: str | None
    sure_of_email: bool
    display_name: str | None = None
    organisation_id: UUID | None = None
    session_ends_at: datetime | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class NotAdmitted(Forbidden):
    """Whoever this is may not come in. Fact `reason`: `access_denied`, `signup_disabled`, `account_disabled`,
    `pending_approval`, `domain_not_allowed`, `email_unverified`, `sso_required` or `no_free_seat`."""

    def __init__(self, reason: str, *, asks: bool = False) -> None:
        """`asks`: somebody new, who goes on the waiting list."""
        super().__init__("This sign-in is not allowed.", reason=reason)
        self.asks = asks


def come_in(
    ctx: Ctx, vouched: Vouched, account: Account | None, *, surface: str, invite_token: str | None = None
) -> tuple[Account, UUID | None]:
    """Make an account, or take an existing one into another organisation: the account, and what it came into.

    Raises `NotAdmitted`.
    """
    if vouched.email is None or not vouched.sure_of_email:
        if account is not None:
            return account, None
        raise NotAdmitted("email_unverified")
    if vouched.organisation_id is not None:
        return _into(ctx, vouched, account, vouched.organisation_id), vouched.organisation_id
    invite = None
    if invite_token is not None:
        try:
            invite = invites.redeem(ctx, invite_token, vouched.email)
        except invites.InviteRefused:
            if account is None:
                raise NotAdmitted("access_denied") from None
    if account is None and invite is None and surface == signup.SURFACE and signup.policy() != "public":
        raise NotAdmitted("signup_disabled")
    if account is None and invite is None and surface == signup_settings.SURFACE:
        _may_come(ctx, vouched.email)
    made = account or _made(ctx, vouched)
    if invite is not None and invite.organisation_id is not None:
        try:
            return made, invites.accept(ctx, invite, made, source=SOURCE)
        except invites.OrganisationGone:
            raise NotAdmitted("access_denied") from None  # as for any invitation that is not good
        except invites.InviteRefused:
            raise NotAdmitted("account_disabled") from None
        except PaymentRequired:
            raise NotAdmitted("no_free_seat") from None
    if account is None:
        return made, accounts.give_own_organisation(ctx, made)
    return made, None


def _may_come(ctx: Ctx, email: str) -> None:
    """The server's rules for those who come without an invitation. Whoever has to wait is noted by `flows.let_in`."""
    settings = signup_settings.of_server(ctx).settings
    _of_a_welcome_domain(settings, email)
    if not settings.provision_from_sso or settings.mode == signup_settings.INVITE_ONLY:
        raise NotAdmitted("signup_disabled")
    if settings.mode == signup_settings.WAITLIST:
        raise NotAdmitted("pending_approval", asks=True)


def _of_a_welcome_domain(settings: signup_settings.SignupSettings, email: str) -> None:
    try:
        settings.admit(email)
    except signup_settings.SignupRefused:
        raise NotAdmitted("domain_not_allowed") from None


def _into(ctx: Ctx, vouched: Vouched, account: Account | None, organisation_id: UUID) -> Account:
    """Into the organisation whose own provider vouches, as its sign-up settings have it."""
    with acting_for(ctx, organisation_id) as inside:
        settings = signup_settings.get(inside)
        welcome = groups.get_many(inside, settings.default_group_ids)
    assert vouched.email is not None
    if not settings.provision_from_sso:
        raise NotAdmitted("signup_disabled")
    _of_a_welcome_domain(settings, vouched.email)
    if ctx.surface == memberships.SEATED_ON:
        try:
            with acting_for(ctx, organisation_id) as inside:
                memberships.take_seat(inside)
        except PaymentRequired:
            raise NotAdmitted("no_free_seat") from None
    made = account or _made(ctx, vouched)
    accounts.join(ctx, made, organisation_id, settings.default_role, source=SOURCE)
    with acting_for(ctx, organisation_id) as inside:
        groups.enter(inside, made.id, welcome)
    return made


def _made(ctx: Ctx, vouched: Vouched) -> Account:
    assert vouched.email is not None
    name = vouched.display_name or vouched.email.partition("@")[0]
    return accounts.make(ctx, email=vouched.email, name=name, source=SOURCE, verified=True)
