"""Groups of an organisation's people. Those that its Nextcloud keeps are changed there alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from domain import audit
from domain.identity.models import Account, GroupMember, Membership, UserGroup
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, NotFound, Unprocessable
from domain.kernel.pages import OffsetPage, Page

SHOWN = 500
"""Members that a listing shows of a group."""
_PRESENT = ("active", "invited", "disabled")
"""Members in these states count as being in their groups."""


class KeptByNextcloud(Conflict):
    """What Nextcloud keeps is changed there."""

    reason = "kept_by_nextcloud"
    default = "Nextcloud keeps this: change it there."


class UnknownGroup(Unprocessable):
    reason = "unknown_group"
    default = "One of the groups does not exist."


class UnknownMember(Unprocessable):
    reason = "unknown_user"
    default = "There is no such user in the organisation."


@dataclass(frozen=True, slots=True)
class Described:
    """A group with its size, and (only when asked for) who is in it."""

    group: UserGroup
    count: int
    members: Sequence[Account] | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    group_id: UUID
    account: Account
    at: datetime


# --- reading -------------------------------------------------------------------------------------------------


def listed(
    ctx: Ctx, page: OffsetPage, *, q: str | None = None, source: str | None = None, members: bool = False
) -> Page[Described]:
    """Groups by name. `source`: `local` or `nextcloud`. With `members`, up to `SHOWN` of each."""
    wanted = select(UserGroup).where(UserGroup.organisation_id == ctx.organisation)
    if q is not None:
        wanted = wanted.where(UserGroup.name_key.contains(_key(q), autoescape=True))
    if source is not None:
        kept = UserGroup.external_id.is_not(None)
        wanted = wanted.where(kept if source == "nextcloud" else ~kept)
    total = ctx.session.scalar(select(func.count()).select_from(wanted.with_only_columns(UserGroup.id).subquery()))
    ordered = wanted.order_by(UserGroup.name_key, UserGroup.id).limit(page.limit).offset(page.offset)
    return Page(_described(ctx, ctx.session.scalars(ordered).all(), members=members), total=total)


def get(ctx: Ctx, group_id: UUID, *, lock: bool = False) -> UserGroup:
    """A group of the context's organisation. Raises `NotFound`."""
    wanted = select(UserGroup).where(UserGroup.id == group_id, UserGroup.organisation_id == ctx.organisation)
    found = ctx.session.scalars(wanted.with_for_update() if lock else wanted).one_or_none()
    if found is None:
        raise NotFound("There is no such group.")
    return found


def get_many(ctx: Ctx, group_ids: Collection[UUID]) -> Mapping[UUID, UserGroup]:
    """Those of the groups that there are in the context's organisation."""
    rows = ctx.session.scalars(
        select(UserGroup).where(UserGroup.id.in_(list(group_ids)), UserGroup.organisation_id == ctx.organisation)
    )
    return {row.id: row for row in rows}


def check(ctx: Ctx, group_ids: Iterable[UUID]) -> list[UUID]:
    """The ids, if each is a group that is made here. Raises `UnknownGroup`, `KeptByNextcloud`."""
    wanted = list(dict.fromkeys(group_ids))
    found = get_many(ctx, wanted)
    if len(found) < len(wanted):
        raise UnknownGroup
    if any(group.external_id is not None for group in found.values()):
        raise KeptByNextcloud
    return wanted


# --- changing ------------------------------------------------------------------------------------------------


def create(ctx: Ctx, name: str, *, description: str | None = None, member_ids: Sequence[UUID] = ()) -> Described:
    """A new group. Raises `Conflict` (fact `reason`: `name_taken`), `UnknownMember`."""
    group = UserGroup(organisation_id=ctx.organisation, description=description, settings={})
    _call(group, name)
    _write(ctx, group)
    wanted = list(dict.fromkeys(member_ids))
    if len(_people(ctx, wanted)) < len(wanted):
        raise UnknownMember
    _enter(ctx, group.id, wanted)
    audit.record(
        ctx,
        "group.create",
        resource_type="group",
        resource_id=group.id,
        details={"name": group.name, "members": len(wanted)},
    )
    return _one(ctx, group)


def update(ctx: Ctx, group_id: UUID, changes: Mapping[str, Any]) -> Described:
    """Change `name` or `description`. Raises `NotFound`, `KeptByNextcloud`, `Conflict`."""
    group = _own(ctx, group_id)
    if "name" in changes:
        _call(group, changes["name"])
    if "description" in changes:
        group.description = changes["description"]
    group.updated_at = ctx.now()
    _write(ctx, group)
    audit.record(ctx, "group.update", resource_type="group", resource_id=group.id, details={"fields": sorted(changes)})
    return _one(ctx, group)


def remove(ctx: Ctx, group_id: UUID) -> None:
    """Delete a group; its members stay. Whatever was shared with it is shared with nobody by that, from the commit on.

    Raises `NotFound`, `KeptByNextcloud`.
    """
    group = _own(ctx, group_id)
    name = group.name
    ctx.session.delete(group)
    ctx.session.flush()
    audit.record(ctx, "group.delete", resource_type="group", resource_id=group_id, details={"name": name})


def add_member(ctx: Ctx, group_id: UUID, account_id: UUID) -> Joined:
    """Put somebody into a group; again answers as it is. Raises `NotFound`, `KeptByNextcloud`, `UnknownMember`."""
    group = _own(ctx, group_id)
    people = _people(ctx, [account_id])
    if not people:
        raise UnknownMember
    _enter(ctx, group.id, [account_id])
    at = ctx.session.scalar(
        select(GroupMember.created_at).where(GroupMember.group_id == group.id, GroupMember.account_id == account_id)
    )
    assert at is not None
    audit.record(
        ctx, "group.member_add", resource_type="group", resource_id=group.id, details={"user": str(account_id)}
    )
    return Joined(group.id, people[0], at)


def remove_member(ctx: Ctx, group_id: UUID, account_id: UUID) -> None:
    """Take somebody out of a group. Raises `NotFound` for no group or no member of it, `KeptByNextcloud`."""
    group = _own(ctx, group_id)
    if not _leave(ctx, account_id, [group.id]):
        raise NotFound("The user is not in this group.")
    audit.record(
        ctx, "group.member_remove", resource_type="group", resource_id=group.id, details={"user": str(account_id)}
    )


def enter(ctx: Ctx, account_id: UUID, group_ids: Iterable[UUID]) -> None:
    """Put a member into checked groups, besides those that they are in."""
    for group_id in group_ids:
        _enter(ctx, group_id, [account_id])


def replace(ctx: Ctx, account_id: UUID, group_ids: Sequence[UUID]) -> None:
    """Make `group_ids` all of somebody's groups that are made here. Raises `UnknownGroup`, `KeptByNextcloud`."""
    wanted = check(ctx, group_ids)
    local = ctx.session.scalars(
        select(GroupMember.group_id)
        .join(UserGroup, UserGroup.id == GroupMember.group_id)
        .where(GroupMember.account_id == account_id, UserGroup.external_id.is_(None))
    ).all()
    _leave(ctx, account_id, [group_id for group_id in local if group_id not in wanted])
    enter(ctx, account_id, [group_id for group_id in wanted if group_id not in local])


# --- leaned on -----------------------------------------------------------------------------------------------


def _own(ctx: Ctx, group_id: UUID) -> UserGroup:
    group = get(ctx, group_id, lock=True)
    if group.external_id is not None:
        raise KeptByNextcloud
    return group


def _call(group: UserGroup, name: str) -> None:
    shown = " ".join(name.split())
    if not shown:
        raise Unprocessable("The name is empty.", reason="name_empty")
    group.name, group.name_key = shown, _key(shown)


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()


def _write(ctx: Ctx, group: UserGroup) -> None:
    name = group.name
    try:
        with ctx.session.begin_nested():
            ctx.session.add(group)
            ctx.session.flush()
    except IntegrityError:
        raise Conflict(f"A group named {name} exists.", reason="name_taken") from None


def _enter(ctx: Ctx, group_id: UUID, account_ids: Sequence[UUID]) -> None:
    if not account_ids:
        return
    rows = [
        {
            "organisation_id": ctx.organisation,
            "group_id": group_id,
            "account_id": account_id,
            "created_at": ctx.now(),
        }
        for account_id in account_ids
    ]
    ctx.session.execute(insert(GroupMember).on_conflict_do_nothing(), rows)  # rows apart: each is proved to be own


def _leave(ctx: Ctx, account_id: UUID, group_ids: Sequence[UUID]) -> int:
    if not group_ids:
        return 0
    gone = ctx.session.scalars(
        delete(GroupMember)
        .where(
            GroupMember.organisation_id == ctx.organisation,
            GroupMember.group_id.in_(group_ids),
            GroupMember.account_id == account_id,
        )
        .returning(GroupMember.group_id)
        .execution_options(synchronize_session=False)
    ).all()
    return len(gone)


def _people(ctx: Ctx, account_ids: Sequence[UUID]) -> Sequence[Account]:
    """Those of the accounts that are in the organisation."""
    return ctx.session.scalars(
        select(Account)
        .join(Membership, Membership.account_id == Account.id)
        .where(
            Account.id.in_(list(account_ids)),
            Account.erased_at.is_(None),
            Membership.organisation_id == ctx.organisation,
            Membership.status.in_(_PRESENT),
        )
    ).all()


def _one(ctx: Ctx, group: UserGroup) -> Described:
    return _described(ctx, [group], members=False)[0]


def _described(ctx: Ctx, found: Sequence[UserGroup], *, members: bool) -> list[Described]:
    ids = [group.id for group in found]
    inside = (
        select(GroupMember.group_id, Account)
        .join(Account, Account.id == GroupMember.account_id)
        .join(
            Membership,
            (Membership.account_id == GroupMember.account_id)
            & (Membership.organisation_id == GroupMember.organisation_id),
        )
        .where(GroupMember.group_id.in_(ids), Membership.status.in_(_PRESENT), Account.erased_at.is_(None))
    )
    sizes = inside.with_only_columns(GroupMember.group_id, func.count()).group_by(GroupMember.group_id)
    counts: dict[UUID, int] = {row[0]: row[1] for row in ctx.session.execute(sizes)}
    shown: dict[UUID, list[Account]] = {group_id: [] for group_id in ids}
    if members:
        for group_id in ids:
            ordered = inside.where(GroupMember.group_id == group_id).with_only_columns(Account)
            shown[group_id] = list(ctx.session.scalars(ordered.order_by(Account.name, Account.id).limit(SHOWN)))
    return [Described(group, counts.get(group.id, 0), shown[group.id] if members else None) for group in found]
