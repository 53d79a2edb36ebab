"""The people of an organisation, as its administrators see and change them: invited, changed, locked out, removed and
brought back.

Only lower roles are given and changed, an owner gives every one. Nobody raises, locks out or removes themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from domain import audit, notifications
from domain.identity import (
    accounts,
    groups,
    invites,
    languages,
    links,
    memberships,
    organisations,
    revocations,
    roles,
    sessions,
)
from domain.identity.keys import revoke_keys_of
from domain.identity.models import Account, GroupMember, Invite, Membership, UserGroup, UserSession
from domain.identity.policies import RECOVERY
from domain.identity.roles import MANAGERS
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, Forbidden, NotFound, Unprocessable
from domain.kernel.pages import OffsetPage, Page

SURFACE = "beeflow"
INVITE_LIFE = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in the organisation. `seen_at` is their last request there."""

    account: Account
    membership: Membership
    groups: Sequence[UserGroup]
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class Invited:
    """Somebody who was invited, and the link that lets them in: shown this once."""

    member: Member
    link: str
    expires_at: datetime


# --- reading -------------------------------------------------------------------------------------------------


def listed(
    ctx: Ctx,
    page: OffsetPage,
    *,
    q: str | None = None,
    surface_role: str | None = None,
    status: str | None = None,
    group_id: UUID | None = None,
) -> Page[Member]:
    """Members by name: all but the deleted (unless `status` asks for them) and those on the waiting list."""
    wanted = (
        select(Membership, Account)
        .join(Account, Account.id == Membership.account_id)
        .where(Membership.organisation_id == ctx.organisation, Account.erased_at.is_(None))
    )
    if status == "deleted":
        wanted = wanted.where(Membership.status == "deleted", Membership.deleted_at > ctx.now() - RECOVERY)
    else:
        wanted = wanted.where(Membership.status.in_(memberships.SEATED if status is None else (status,)))
    if q is not None:
        wanted = wanted.where(Account.name.icontains(q, autoescape=True) | Account.email.icontains(q, autoescape=True))
    if surface_role is not None:
        rungs = [rung for rung, called in roles.NAMES[SURFACE].items() if called == surface_role]
        wanted = wanted.where(Membership.role.in_(rungs))
    if group_id is not None:
        inside = select(GroupMember.account_id).where(
            GroupMember.group_id == group_id, GroupMember.organisation_id == ctx.organisation
        )
        wanted = wanted.where(Account.id.in_(inside))
    total = ctx.session.scalar(select(func.count()).select_from(wanted.with_only_columns(Membership.id).subquery()))
    ordered = wanted.order_by(func.lower(Account.name), Account.id).limit(page.limit).offset(page.offset)
    return Page(_described(ctx, [(row[0], row[1]) for row in ctx.session.execute(ordered)]), total=total)


def get(ctx: Ctx, account_id: UUID) -> Member:
    """A member in whatever state but waiting or gone for good. Raises `NotFound`."""
    membership, account = _there(ctx, account_id)
    return _described(ctx, [(membership, account)])[0]


def people(
    ctx: Ctx, account_ids: Collection[UUID], *, present: bool = False, hold: bool = False
) -> Mapping[UUID, Account]:
    """The accounts of those who are or were in the organisation, for showing who did something; with `present`, of
    those who are: the active, the invited and the disabled. With `hold` nobody of them is erased before the transaction
    has ended: for a verb that writes down who they are, before it locks anything that an erasure wants."""
    wanted = (
        select(Account)
        .join(Membership, Membership.account_id == Account.id)
        .where(Account.id.in_(list(account_ids)), Membership.organisation_id == ctx.organisation)
    )
    if present:
        wanted = wanted.where(Account.erased_at.is_(None), Membership.status.in_(memberships.SEATED))
    if hold:
        wanted = wanted.with_for_update(read=True, key_share=True, of=Account).execution_options(populate_existing=True)
    return {row.id: row for row in ctx.session.scalars(wanted)}


# --- inviting ------------------------------------------------------------------------------------------------


def invite(
    ctx: Ctx,
    email: str,
    *,
    name: str | None = None,
    surface_role: str = "user",
    group_ids: Sequence[UUID] = (),
    language: str | None = None,
    message: str | None = None,
) -> Invited:
    """Invite an address into the caller's organisation, by a mail with a link. Again: a new link, the old one ends.

    Raises `Conflict` (fact `reason`) for somebody who is a member already or waits to become one, `PaymentRequired`
    without a free seat, `Forbidden` for a role that the caller cannot give, `UnknownGroup`, `KeptByNextcloud`,
    `UnknownLanguage`.
    """
    role = roles.GIVEN[SURFACE][surface_role]
    roles.must_outrank(memberships.rank(ctx), role)
    wanted = groups.check(ctx, group_ids)
    invited = bring(
        ctx,
        email,
        name=name,
        role=role,
        group_ids=wanted,
        language=None if language is None else languages.check(language),
        message=message,
    )
    audit.record(
        ctx,
        "user.invite",
        resource_type="user",
        resource_id=invited.member.account.id,
        details={"email": email, "role": role, "groups": [str(group_id) for group_id in wanted]},
    )
    return invited


def bring(
    ctx: Ctx,
    email: str,
    *,
    role: str,
    name: str | None = None,
    group_ids: Sequence[UUID] = (),
    language: str | None = None,
    message: str | None = None,
    account_id: UUID | None = None,
) -> Invited:
    """The act of inviting, once it was decided; `account_id`: the id that a new account gets."""
    memberships.lock_seats(ctx)
    account = accounts.find(ctx, email)
    membership = None if account is None else memberships.find(ctx, account.id, lock=True)
    if membership is not None and membership.status in _THERE:
        raise Conflict(_THERE[membership.status], reason=f"already_{membership.status}")
    if account is None:
        shown = name or email.partition("@")[0]
        account = accounts.make(
            ctx, email=email, name=shown[:200], source="invite", language=language, account_id=account_id
        )
    memberships.take_seat(ctx, membership)
    if membership is None:
        membership = memberships.add(ctx, account.id, role, source="invite", status="invited")
    elif membership.role != role:
        roles.must_outrank(memberships.rank(ctx), membership.role)
    membership.status, membership.role, membership.deleted_at = "invited", role, None
    if not _touched(account):
        account.name = " ".join((name or account.name).split())[:200] or account.name
        account.language = language or account.language
    ctx.session.flush()
    groups.enter(ctx, account.id, group_ids)
    _end_invites(ctx, account.id)
    inviter, organisation = memberships.caller(ctx), organisations.get_organisation(ctx)
    issued, token = invites.issue(
        ctx,
        life=INVITE_LIFE,
        email=account.email,
        organisation_id=ctx.organisation,
        role=role,
        account_id=account.id,
        note=message,
        invited_by=inviter.name,
    )
    link = links.page("invite", SURFACE, token)
    notifications.send_mail(
        ctx,
        "member_invite",
        account.email,
        facts={
            "organisation": organisation.name,
            "inviter": inviter.name,
            "link": link,
            "role": roles.called(SURFACE, role),
            "message": message or "",
            "expires": issued.expires_at,
        },
        language=language or account.language,
    )
    return Invited(_described(ctx, [(membership, account)])[0], link, issued.expires_at)


# --- changing ------------------------------------------------------------------------------------------------


def change(
    ctx: Ctx,
    account_id: UUID,
    *,
    name: str | None = None,
    surface_role: str | None = None,
    status: str | None = None,
    group_ids: Sequence[UUID] | None = None,
    language: str | None = None,
) -> Member:
    """Change a member; None leaves a thing as it is. `status`: `active` (also for one who was deleted) or `disabled`.

    Raises `NotFound`; `Forbidden` for a role that is not below the caller's, for raising oneself, and (fact `reason`:
    `shared_account`) for the name of somebody who is in other organisations too; `Conflict` (fact `reason`) for the
    last administrator, for what Nextcloud keeps, and for a state that cannot be entered from the present one;
    `PaymentRequired` without a free seat.
    """
    memberships.lock_seats(ctx)
    membership, account = _there(ctx, account_id, lock=True)
    before = {"role": membership.role, "status": membership.status}
    own = account_id == memberships.caller_id(ctx)
    if not own and (surface_role, status) != (None, None):
        roles.must_outrank(memberships.rank(ctx), membership.role)
    if name is not None or language is not None:
        _describe(ctx, membership, account, name, language, own=own)
    if status is not None:
        _enter(ctx, membership, status, own=own)
    if surface_role is not None and roles.called(SURFACE, membership.role) != surface_role:
        _give(ctx, membership, roles.GIVEN[SURFACE][surface_role], own=own)
    if membership.status == "deleted":
        raise Conflict("This user is deleted: bring them back first.", reason="user_deleted")
    if group_ids is not None:
        groups.replace(ctx, account_id, group_ids)
    ctx.session.flush()
    after = {"role": membership.role, "status": membership.status}
    fields = {"name": name, "language": language, "groups": group_ids}
    audit.record(
        ctx,
        "user.update",
        resource_type="user",
        resource_id=account_id,
        details={
            "from": before,
            "to": after,
            "fields": sorted(field for field, value in fields.items() if value is not None),
        },
    )
    if before != after:
        revocations.announce(ctx, "user", account_id)
    return _described(ctx, [(membership, account)])[0]


def remove(ctx: Ctx, account_id: UUID) -> None:
    """Delete a member: their sessions and keys in the organisation end, the seat is free. For `RECOVERY` they can be
    brought back; then, where they belong nowhere else, personal data is erased (`erasure`).

    Raises `NotFound`, `Forbidden` for a role that is not below the caller's, `Conflict` for oneself and for the last
    administrator.
    """
    memberships.lock_seats(ctx)
    membership, _ = _there(ctx, account_id, lock=True)
    if membership.status == "deleted":
        raise NotFound
    if account_id == memberships.caller_id(ctx):
        raise Conflict("Nobody deletes themselves here.", reason="own_account")
    roles.must_outrank(memberships.rank(ctx), membership.role)
    if membership.role in MANAGERS and membership.status == "active":
        memberships.keep_a_manager(ctx, account_id)
    membership.status, membership.deleted_at = "deleted", ctx.now()
    ctx.session.flush()
    _end_invites(ctx, account_id)
    sessions.revoke_sessions(ctx, account_id, "removed", organisation_id=ctx.organisation)
    keys = revoke_keys_of(ctx, account_id, ctx.organisation)
    revocations.announce(ctx, "user", account_id)
    audit.record(ctx, "user.delete", resource_type="user", resource_id=account_id, details={"keys_revoked": keys})


# --- leaned on -----------------------------------------------------------------------------------------------

_THERE = {
    "active": "This address belongs to a user of the organisation already.",
    "disabled": "This address belongs to a user who is disabled: enable them instead.",
    "pending": "This address is on the waiting list: approve it there.",
}


def _there(ctx: Ctx, account_id: UUID, *, lock: bool = False) -> tuple[Membership, Account]:
    membership = memberships.find(ctx, account_id, lock=lock)
    account = None if membership is None else ctx.session.get(Account, account_id, with_for_update=lock or None)
    if membership is None or account is None or account.erased_at is not None or membership.status == "pending":
        raise NotFound("There is no such user.")
    if membership.status == "deleted" and (
        membership.deleted_at is None or membership.deleted_at <= ctx.now() - RECOVERY
    ):
        raise NotFound("There is no such user.")
    return membership, account


def _describe(
    ctx: Ctx, membership: Membership, account: Account, name: str | None, language: str | None, *, own: bool
) -> None:
    """Name and language are the account's: an administrator changes those of accounts that are only here."""
    if name is not None and membership.external_id is not None:
        raise groups.KeptByNextcloud("Nextcloud keeps the name of this user: change it there.")
    if not own:
        roles.must_outrank(memberships.rank(ctx), membership.role)
        elsewhere = memberships.elsewhere(ctx, account.id)
        if elsewhere or account.platform_role is not None:
            raise Forbidden(
                "This account is not this organisation's alone: its owner changes it.", reason="shared_account"
            )
    if name is not None:
        shown = " ".join(name.split())
        if not shown:
            raise Unprocessable("The name is empty.", reason="name_empty")
        account.name = shown
    if language is not None:
        account.language = languages.check(language)


def _enter(ctx: Ctx, membership: Membership, status: str, *, own: bool) -> None:
    if status == membership.status:
        return
    if own:
        raise Conflict("Nobody locks themselves out.", reason="own_account")
    if status == "disabled":
        if membership.status == "deleted":
            raise Conflict("This user is deleted: bring them back first.", reason="user_deleted")
        if membership.role in MANAGERS and membership.status == "active":
            memberships.keep_a_manager(ctx, membership.account_id)
        membership.status = "disabled"
        ctx.session.flush()
        _end_invites(ctx, membership.account_id)
        # Keys stop with the state, and work again when it is lifted.
        sessions.revoke_sessions(ctx, membership.account_id, "disabled", organisation_id=ctx.organisation)
        return
    if membership.joined_at is None:
        raise Conflict("This user has not accepted the invitation: send a new one.", reason="not_joined")
    memberships.take_seat(ctx, membership)
    membership.status, membership.deleted_at = "active", None


def _give(ctx: Ctx, membership: Membership, role: str, *, own: bool) -> None:
    if own and roles.ROLES[role] > roles.ROLES[membership.role]:
        raise Forbidden("Nobody raises themselves.", reason="own_role")
    if not own:
        roles.must_outrank(memberships.rank(ctx), role)
    if membership.role in MANAGERS and membership.status == "active" and role not in MANAGERS:
        memberships.keep_a_manager(ctx, membership.account_id)
    membership.role = role


def _touched(account: Account) -> bool:
    """Whether somebody has made the account theirs: what an invitation says of them counts no more."""
    return account.password_hash is not None or account.last_sign_in_at is not None


def _end_invites(ctx: Ctx, account_id: UUID) -> None:
    ctx.session.execute(
        update(Invite)
        .where(
            Invite.organisation_id == ctx.organisation,
            Invite.account_id == account_id,
            Invite.revoked_at.is_(None),
            Invite.redemptions < Invite.max_redemptions,
        )
        .values(revoked_at=ctx.now())
        .execution_options(synchronize_session=False)
    )


def _described(ctx: Ctx, found: Iterable[tuple[Membership, Account]]) -> list[Member]:
    rows = list(found)
    ids = [account.id for _, account in rows]
    inside = memberships.groups_of(ctx, ids)
    seen: dict[UUID, Any] = {}
    if ids:
        latest = (
            select(UserSession.account_id, func.max(UserSession.seen_at))
            .where(UserSession.account_id.in_(ids), UserSession.organisation_id == ctx.organisation)
            .group_by(UserSession.account_id)
        )
        seen = {row[0]: row[1] for row in ctx.session.execute(latest)}
    return [
        Member(
            account,
            membership,
            inside[account.id],
            max(filter(None, (membership.seen_at, seen.get(account.id))), default=None),
        )
        for membership, account in rows
    ]
