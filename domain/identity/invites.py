"""Invitations: into an organisation with a role, or to found one. The token is shown once; its digest is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, select

from domain import audit
from domain.identity import accounts, memberships, organisations, passwords, rules
from domain.identity.accounts import EmailTaken, InvalidToken, Registered
from domain.identity.models import Account, GroupMember, Invite, UserGroup
from domain.identity.policies import policy_of
from domain.kernel import crypto
from domain.kernel.context import Ctx, actor_name
from domain.kernel.db import acting_for
from domain.kernel.errors import Forbidden, NotFound
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page

PREFIX = "inv_"
SHOWN = 10
"""Characters of a token that a listing shows."""


class InviteRefused(Forbidden):
    """An invitation that does not let in. Fact `reason`: `invite_unknown`, `invite_expired`, `invite_revoked`,
    `invite_exhausted` or `invite_mismatch`."""


class OrganisationGone(InviteRefused):
    """There is nothing left to come into. Its invitations are as good as taken back."""

    default = "The organisation is gone."
    reason = "invite_revoked"


def issue(
    ctx: Ctx,
    *,
    life: timedelta,
    email: str | None = None,
    organisation_id: UUID | None = None,
    role: str | None = None,
    group_ids: Sequence[UUID] = (),
    account_id: UUID | None = None,
    note: str | None = None,
    invited_by: str = "",
    signup_request_id: UUID | None = None,
    max_redemptions: int = 1,
) -> tuple[Invite, str]:
    """A new invitation and its token. With `organisation_id` and `role`: into that organisation, which is the caller's.

    Who may issue which is the caller's verb to check.
    """
    plain = crypto.token(PREFIX)
    invite = Invite(
        id=new_id(),
        digest=crypto.digest(plain),
        hint=plain[:SHOWN],
        organisation_id=organisation_id,
        account_id=account_id,
        email=email,
        email_key=None if email is None else rules.email_key(email),
        role=role,
        group_ids=list(group_ids),
        note=note,
        invited_by=invited_by[:200],
        issuer=actor_name(ctx.actor),
        signup_request_id=signup_request_id,
        max_redemptions=max_redemptions,
        expires_at=ctx.now() + life,
    )
    ctx.session.add(invite)
    ctx.session.flush()
    return invite, plain


def status_of(invite: Invite, now: datetime) -> str:
    """`active`, `revoked`, `exhausted` or `expired`."""
    if invite.revoked_at is not None:
        return "revoked"
    if invite.redemptions >= invite.max_redemptions:
        return "exhausted"
    return "expired" if invite.expires_at <= now else "active"


def in_state(status: str, now: datetime) -> list[ColumnElement[bool]]:
    """The same as conditions."""
    revoked, used_up = Invite.revoked_at.is_not(None), Invite.redemptions >= Invite.max_redemptions
    match status:
        case "revoked":
            return [revoked]
        case "exhausted":
            return [~revoked, used_up]
        case "expired":
            return [~revoked, ~used_up, Invite.expires_at <= now]
        case _:
            return [~revoked, ~used_up, Invite.expires_at > now]


def find(ctx: Ctx, plain: str, *, lock: bool = False) -> Invite | None:
    """The invitation of a token in whatever state, or None."""
    if len(plain) > 200 or not plain.startswith(PREFIX):
        return None
    wanted = select(Invite).where(Invite.digest == crypto.digest(plain))
    if lock:
        wanted = wanted.with_for_update().execution_options(populate_existing=True)
    return ctx.session.scalars(wanted).one_or_none()


def redeem(ctx: Ctx, plain: str, email: str) -> Invite:
    """Use an invitation once for an address. Raises `InviteRefused`; of two at the last place, one is."""
    present = find(ctx, plain)
    if present is not None and present.organisation_id is not None:
        # Seats before invitations: the order of whoever invites again, disables or removes.
        with acting_for(ctx, present.organisation_id) as inside:
            memberships.lock_seats(inside)
    invite = find(ctx, plain, lock=True)
    if invite is None:
        raise InviteRefused("There is no such invitation.", reason="invite_unknown")
    state = status_of(invite, ctx.now())
    if state != "active":
        raise InviteRefused(f"The invitation is {_STATES[state]}.", reason=f"invite_{state}")
    if invite.email_key is not None and invite.email_key != rules.email_key(email):
        raise InviteRefused("The invitation is for another address.", reason="invite_mismatch")
    invite.redemptions += 1
    ctx.session.flush()
    return invite


def revoke(ctx: Ctx, invite_id: UUID, *conditions: ColumnElement[bool]) -> Invite:
    """End an invitation; one that is over already stays as it is. Raises `NotFound`."""
    invite = ctx.session.scalars(
        select(Invite).where(Invite.id == invite_id, *conditions).with_for_update()
    ).one_or_none()
    if invite is None:
        raise NotFound
    if invite.revoked_at is None and status_of(invite, ctx.now()) == "active":
        invite.revoked_at = ctx.now()
        ctx.session.flush()
    return invite


def listed(ctx: Ctx, page: OffsetPage, *conditions: ColumnElement[bool]) -> Page[Invite]:
    """Invitations that match, the latest first."""
    wanted = select(Invite).where(*conditions)
    total = ctx.session.scalar(select(func.count()).select_from(wanted.subquery()))
    ordered = wanted.order_by(Invite.created_at.desc(), Invite.id.desc()).limit(page.limit).offset(page.offset)
    return Page(ctx.session.scalars(ordered).all(), total=total)


def accept(ctx: Ctx, invite: Invite, account: Account, *, source: str = "invite") -> UUID:
    """Make an account an active member of the organisation that a redeemed invitation names; the organisation's id.

    Raises `InviteRefused` (fact `reason`: `invite_revoked`) for one who is disabled there, `OrganisationGone`,
    `PaymentRequired` without a free seat on the surface that asks for one.
    """
    assert invite.organisation_id is not None
    assert invite.role is not None
    with memberships.as_member(ctx, account.id, invite.organisation_id) as inside:
        try:
            organisations.get_organisation(inside)
        except NotFound:
            raise OrganisationGone from None
        waiting = memberships.find(inside, account.id, lock=True)
        if waiting is not None and waiting.status == "disabled":
            raise InviteRefused("The invitation was taken back.", reason="invite_revoked")
        if ctx.surface == memberships.SEATED_ON:
            memberships.take_seat(inside, waiting)
        if waiting is None:
            memberships.add(inside, account.id, invite.role, source=source)
        elif waiting.status != "active":
            waiting.status, waiting.role, waiting.deleted_at = "active", invite.role, None
            waiting.joined_at = waiting.joined_at or ctx.now()
        present = set(inside.session.scalars(select(UserGroup.id).where(UserGroup.id.in_(invite.group_ids))))
        taken = set(inside.session.scalars(select(GroupMember.group_id).where(GroupMember.account_id == account.id)))
        for group_id in present - taken:
            inside.session.add(GroupMember(group_id=group_id, account_id=account.id, created_at=ctx.now()))
        audit.record(inside, "user.create", resource_type="user", resource_id=account.id, details={"source": source})
        inside.session.flush()
    return invite.organisation_id


def register(
    ctx: Ctx,
    surface: str,
    *,
    email: str,
    password: str,
    name: str,
    language: str | None = None,
    invite_token: str | None = None,
) -> Registered:
    """Sign up: with an organisation of one's own, or with a token into the one that invites.

    Raises `InvalidToken` for an invitation that does not let in, `WeakPassword`, `Invalid`. An address that has an
    account is answered like any other (see `accounts.register`), and the invitation stays good for its owner.
    """
    if invite_token is None:
        return accounts.register(ctx, surface, email=email, password=password, name=name, language=language)
    policy = policy_of(surface)
    passwords.check(ctx, policy.password, password, None, (email, name))
    try:
        invite = redeem(ctx, invite_token, email)
    except InviteRefused as refused:
        raise InvalidToken(refused.message) from None
    if invite.organisation_id is None:
        raise InvalidToken("This invitation is for founding an organisation elsewhere.")
    expires_at = ctx.now() + policy.verification
    try:
        account = accounts.make(ctx, email=email, name=name, source="invite", password=password, language=language)
    except EmailTaken:
        invite.redemptions -= 1
        owner = accounts.find(ctx, email)
        if owner is not None:
            accounts.tell_of_account(ctx, owner, surface)
        return Registered(None, expires_at)
    try:
        accept(ctx, invite, account)
    except InviteRefused as refused:
        raise InvalidToken(refused.message) from None
    accounts.send_verification(ctx, account, policy)
    return Registered(account, expires_at)


_STATES = {"revoked": "not valid any more", "exhausted": "used up", "expired": "too old"}
