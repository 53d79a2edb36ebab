"""Who belongs to which organisation, in which role and state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import func, select

from domain import billing
from domain.identity.models import Account, GroupMember, Membership, Organisation, UserGroup
from domain.identity.roles import MANAGERS, matches
from domain.kernel.context import ApiKeyActor, Ctx, UserActor
from domain.kernel.db import across_organisations, acting_for
from domain.kernel.errors import Conflict, NotFound, Unauthenticated

SEATED_ON, SEATS = "beeflow", "beeflow.users"
"""The surface whose ways in ask for a seat, and what its plans call them. Other products sell theirs with teams."""
SEATED = ("active", "invited", "disabled")
"""The states in which a member takes a seat of the plan."""


@dataclass(frozen=True, slots=True)
class Belonging:
    """One of somebody's organisations, as far as they may know of it."""

    organisation_id: UUID
    name: str
    slug: str
    personal: bool
    role: str
    require_sso: bool
    idle_minutes: int | None


@contextmanager
def as_member(ctx: Ctx, account_id: UUID, organisation_id: UUID, session_id: UUID | None = None) -> Iterator[Ctx]:
    """`ctx` as that person in that organisation, within its transaction: for somebody who is just signing in, and for
    what somebody does to an organisation of theirs that they are not in at the moment."""
    with across_organisations(ctx) as platform, acting_for(platform, organisation_id) as inside:
        yield replace(inside, actor=UserActor(account_id, session_id))


def caller(ctx: Ctx) -> Account:
    """The account of whoever calls, be it by a session or by a key of theirs.

    Raises `Unauthenticated` where the caller is no person.
    """
    found = ctx.session.get(Account, caller_id(ctx))
    if found is None or found.erased_at is not None:
        raise Unauthenticated
    return found


def caller_id(ctx: Ctx) -> UUID:
    """The account id of whoever calls. Raises `Unauthenticated` where the caller is no person."""
    actor = ctx.actor
    if isinstance(actor, UserActor | ApiKeyActor) and actor.user_id is not None:
        return actor.user_id
    raise Unauthenticated("This is for people: sign in with an account.")


def organisations_of(ctx: Ctx, account_id: UUID) -> list[Belonging]:
    """The organisations that somebody is an active member of, the longest first. For that person alone."""
    with across_organisations(ctx) as platform:
        rows = platform.session.execute(
            select(
                Organisation.id,
                Organisation.name,
                Organisation.slug,
                Organisation.personal,
                Membership.role,
                Organisation.require_sso,
                Organisation.idle_minutes,
            )
            .join(Membership, Membership.organisation_id == Organisation.id)
            .where(
                Membership.account_id == account_id,
                Membership.status == "active",
                Organisation.deleted_at.is_(None),
            )
            .order_by(Membership.joined_at, Membership.id)
        ).all()
    return [Belonging(*row) for row in rows]


def states_of(ctx: Ctx, account_id: UUID) -> frozenset[str]:
    """The states of all of somebody's memberships, for telling that person why they cannot come in."""
    with across_organisations(ctx) as platform:
        return frozenset(
            platform.session.scalars(
                select(Membership.status)
                .join(Organisation, Organisation.id == Membership.organisation_id)
                .where(Membership.account_id == account_id, Organisation.deleted_at.is_(None))
            )
        )


def current(ctx: Ctx) -> Belonging:
    """The caller's belonging to the context's organisation. Raises `NotFound`."""
    caller = caller_id(ctx)
    for belonging in organisations_of(ctx, caller):
        if belonging.organisation_id == ctx.organisation:
            return belonging
    raise NotFound


def rank(ctx: Ctx) -> str:
    """The caller's role, for what they may give and change; people who run the platform are as good as owners."""
    return "owner" if matches(ctx.permissions, "platform:operator") else current(ctx).role


def get(ctx: Ctx, account_id: UUID, *, lock: bool = False) -> Membership:
    """Somebody's membership in the context's organisation, whatever its state. Raises `NotFound`."""
    found = find(ctx, account_id, lock=lock)
    if found is None:
        raise NotFound
    return found


def find(ctx: Ctx, account_id: UUID, *, lock: bool = False) -> Membership | None:
    """Somebody's membership in the context's organisation, whatever its state, or None."""
    wanted = select(Membership).where(
        Membership.account_id == account_id, Membership.organisation_id == ctx.organisation
    )
    return ctx.session.scalars(wanted.with_for_update() if lock else wanted).one_or_none()


def add(
    ctx: Ctx, account_id: UUID, role: str, *, source: str, status: str = "active", external_id: str | None = None
) -> Membership:
    """Make somebody a member of the context's organisation. Raises `Conflict` when they are one, in whatever state."""
    existing = ctx.session.scalar(
        select(Membership.id).where(Membership.account_id == account_id, Membership.organisation_id == ctx.organisation)
    )
    if existing is not None:
        raise Conflict("This account is a member already.")
    made = Membership(
        organisation_id=ctx.organisation,
        account_id=account_id,
        role=role,
        status=status,
        source=source,
        external_id=external_id,
        joined_at=ctx.now() if status == "active" else None,
    )
    ctx.session.add(made)
    ctx.session.flush()
    return made


def elsewhere(ctx: Ctx, account_id: UUID) -> bool:
    """Whether somebody is an active member of other organisations than the context's."""
    return any(own.organisation_id != ctx.organisation for own in organisations_of(ctx, account_id))


def active_count(ctx: Ctx) -> int:
    """How many members of the context's organisation take a seat: the active, the invited and the disabled."""
    return (
        ctx.session.scalar(
            select(func.count(Membership.id)).where(
                Membership.organisation_id == ctx.organisation,
                Membership.status.in_(SEATED),
            )
        )
        or 0
    )


def lock_seats(ctx: Ctx) -> None:
    """One after the other takes a seat of the context's organisation: until this transaction ends. Before the lock of a
    membership, as everywhere."""
    ctx.session.execute(
        select(Organisation.id).where(Organisation.id == ctx.organisation).with_for_update(key_share=True)
    )


def take_seat(ctx: Ctx, present: Membership | None = None) -> None:
    """See that the plan of the context's organisation has room for somebody who becomes a member, or comes back from
    `present`; who has a seat already needs none. Raises `PaymentRequired`."""
    if present is None or present.status not in SEATED:
        lock_seats(ctx)
        billing.room_for(ctx, SEATS, active_count(ctx))


def in_use(ctx: Ctx) -> int:
    """How many members of the context's organisation are active."""
    return (
        ctx.session.scalar(
            select(func.count(Membership.id)).where(
                Membership.organisation_id == ctx.organisation, Membership.status == "active"
            )
        )
        or 0
    )


def keep_a_manager(ctx: Ctx, without: UUID) -> None:
    """Raise `Conflict` (fact `reason`: `sole_admin`) if nobody but `without` administers the context's organisation.

    The organisation's row is locked, so that two administrators cannot leave at the same moment.
    """
    lock_seats(ctx)
    others = ctx.session.scalar(
        select(func.count(Membership.id)).where(
            Membership.organisation_id == ctx.organisation,
            Membership.account_id != without,
            Membership.status == "active",
            Membership.role.in_(MANAGERS),
        )
    )
    if not others:
        raise Conflict(
            "This is the only administrator of the organisation: name another one first.", reason="sole_admin"
        )


def groups_of(ctx: Ctx, account_ids: Iterable[UUID]) -> Mapping[UUID, Sequence[UserGroup]]:
    """The groups of each account in the context's organisation, by name."""
    wanted = list(account_ids)
    found: dict[UUID, list[UserGroup]] = {account_id: [] for account_id in wanted}
    if wanted:
        rows = ctx.session.execute(
            select(GroupMember.account_id, UserGroup)
            .join(UserGroup, UserGroup.id == GroupMember.group_id)
            .where(GroupMember.account_id.in_(wanted))
            .order_by(UserGroup.name_key)
        )
        for account_id, group in rows:
            found[account_id].append(group)
    return found


def group_ids_of(ctx: Ctx, account_id: UUID) -> Sequence[UUID]:
    """The groups that an account is in, in the context's organisation. For permissions, which many requests ask."""
    return ctx.session.scalars(select(GroupMember.group_id).where(GroupMember.account_id == account_id)).all()


def known_groups(ctx: Ctx, group_ids: Iterable[UUID]) -> set[UUID]:
    """Those of the ids that are groups of the context's organisation."""
    return set(ctx.session.scalars(select(UserGroup.id).where(UserGroup.id.in_(list(group_ids)))))
