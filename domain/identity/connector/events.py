"""What happens to users and groups of a Nextcloud, carried out in the connector's own organisation and nowhere else.

Events may come twice or late. What concerns a user is held against the newest event that is known of them; a membership
of a group against when it was last entered or left.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from domain import audit
from domain.identity import accounts, memberships, revocations, sessions
from domain.identity.connector import users
from domain.identity.federation import rules
from domain.identity.models import Account, GroupMember, Membership, UserGroup
from domain.identity.roles import MANAGERS
from domain.identity.rules import email_key
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, Invalid, PaymentRequired
from domain.kernel.ids import new_id

REMEMBERED = 1_000
"""Departures that a group remembers, the latest, so that a late arrival does not undo them."""
AHEAD = timedelta(minutes=5)
"""An event from further in the future counts as of now: else a wrong clock would silence all that follow."""


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    uid: str
    group_id: str | None = None
    email: str | None = None
    name: str | None = None
    occurred_at: datetime | None = None


def take(ctx: Ctx, event: Event) -> bool:
    """Carry an event out; False when it is unknown, out of date, or about somebody who is not known here.

    Raises `Invalid` for an event of a group that names none.
    """
    carry = _KINDS.get(event.kind)
    if carry is None:
        return False
    if event.kind.startswith("group.") and event.group_id is None:
        raise Invalid("An event of a group needs groupId.")
    now = ctx.now()
    at = now if event.occurred_at is None or event.occurred_at > now + AHEAD else event.occurred_at
    applied = carry(ctx, event, at)
    audit.record(
        ctx,
        "connector.user_sync",
        resource_type="user",
        resource_id=None,
        outcome="success" if applied else "partial",
        details={"event": event.kind, "uid": event.uid, "group": event.group_id, "applied": applied},
    )
    return applied


# --- users ----------------------------------------------------------------------------------------------


def _created(ctx: Ctx, event: Event, at: datetime) -> bool:
    membership = users.find(ctx, event.uid, lock=True)
    if membership is None:
        try:
            membership = users.provision(ctx, event.uid, email=event.email, name=event.name)
        except PaymentRequired:
            return False  # there is no seat: they are made when there is one, and they come
        membership.external_at = at
        return True
    if _stale(membership, at):
        return False
    membership.external_at = at
    if membership.status == "deleted":
        # Nextcloud has given the uid again. Whether that is the same person is not known: nothing is brought back.
        membership.external_id = None
        ctx.session.flush()
        return _created(ctx, event, at)
    return _describe(ctx, membership, event)


def _updated(ctx: Ctx, event: Event, at: datetime) -> bool:
    membership = users.find(ctx, event.uid, lock=True)
    if membership is None or membership.status == "deleted" or _stale(membership, at):
        return False
    membership.external_at = at
    return _describe(ctx, membership, event)


def _deleted(ctx: Ctx, event: Event, at: datetime) -> bool:
    memberships.lock_seats(ctx)
    membership = users.find(ctx, event.uid, lock=True)
    if membership is None or membership.status == "deleted" or _stale(membership, at):
        return False
    if membership.role in MANAGERS and membership.status == "active":
        try:
            memberships.keep_a_manager(ctx, membership.account_id)
        except Conflict:
            return False  # an organisation keeps its last administrator
    membership.external_at = at
    membership.status, membership.deleted_at = "deleted", ctx.now()
    sessions.revoke_sessions(ctx, membership.account_id, "removed", organisation_id=ctx.organisation)
    revocations.announce(ctx, "user", membership.account_id)
    return True


def _describe(ctx: Ctx, membership: Membership, event: Event) -> bool:
    account = ctx.session.get(Account, membership.account_id, with_for_update=True)
    if account is None or users.independent(ctx, account):
        return True  # known and noted; the account itself is its owner's
    name, email = rules.name_of(event.name), rules.address_of(event.email)
    if name is not None:
        account.name = name
    if email is not None and email != account.email.lower() and accounts.find(ctx, email) is None:
        with suppress(IntegrityError), ctx.session.begin_nested():  # somebody else may take it this moment
            account.email, account.email_key, account.email_verified_at = email, email_key(email), None
            ctx.session.flush()
    return True


def _stale(membership: Membership, at: datetime) -> bool:
    return membership.external_at is not None and at <= membership.external_at


# --- groups -----------------------------------------------------------------------------------------------


def _entered(ctx: Ctx, event: Event, at: datetime) -> bool:
    membership = users.find(ctx, event.uid)
    if membership is None or membership.status == "deleted":
        return False
    group = _group(ctx, event, make=True)
    assert group is not None
    left = group.settings.get("departed", {}).get(str(membership.account_id))
    if left is not None and at <= datetime.fromisoformat(left):
        return False
    ctx.session.execute(
        insert(GroupMember)
        .values(organisation_id=ctx.organisation, group_id=group.id, account_id=membership.account_id, created_at=at)
        .on_conflict_do_nothing()
    )
    revocations.announce(ctx, "user", membership.account_id)
    return True


def _left(ctx: Ctx, event: Event, at: datetime) -> bool:
    membership = users.find(ctx, event.uid)
    group = _group(ctx, event, make=False)
    if membership is None or group is None:
        return False
    member = ctx.session.scalars(
        select(GroupMember).where(GroupMember.group_id == group.id, GroupMember.account_id == membership.account_id)
    ).one_or_none()
    if member is not None and at < member.created_at:
        return False
    departed = {**group.settings.get("departed", {}), str(membership.account_id): at.isoformat()}
    kept = dict(sorted(departed.items(), key=lambda entry: entry[1])[-REMEMBERED:])
    group.settings = {**group.settings, "departed": kept}
    ctx.session.execute(
        delete(GroupMember)
        .where(
            GroupMember.group_id == group.id,
            GroupMember.account_id == membership.account_id,
            GroupMember.organisation_id == ctx.organisation,
        )
        .execution_options(synchronize_session="fetch")
    )
    revocations.announce(ctx, "user", membership.account_id)
    return True


def _group(ctx: Ctx, event: Event, *, make: bool) -> UserGroup | None:
    assert event.group_id is not None
    wanted = (
        select(UserGroup)
        .where(UserGroup.external_id == event.group_id, UserGroup.organisation_id == ctx.organisation)
        .with_for_update()
    )
    found = ctx.session.scalars(wanted).one_or_none()
    if found is not None or not make:
        return found
    for name in (event.group_id[:200], f"{event.group_id[:180]} (Nextcloud)"):
        # A group of that name which was made here keeps its members to itself.
        ctx.session.execute(
            insert(UserGroup)
            .values(
                id=new_id(),
                organisation_id=ctx.organisation,
                name=name,
                name_key=name.casefold(),
                external_id=event.group_id,
                settings={},
                created_at=ctx.now(),
                updated_at=ctx.now(),
            )
            .on_conflict_do_nothing()
        )
        found = ctx.session.scalars(wanted).one_or_none()
        if found is not None:
            return found
    raise Conflict("There are groups of both names already.")


_KINDS: dict[str, Callable[[Ctx, Event, datetime], bool]] = {
    "user.created": _created,
    "user.updated": _updated,
    "user.deleted": _deleted,
    "group.member_added": _entered,
    "group.member_removed": _left,
}
