"""Who may see and change what. Conditions go into the queries: a row that one may not see is never fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_

from domain.identity import memberships
from domain.kernel.context import Ctx, SystemActor
from domain.kernel.errors import Forbidden, NotFound, Unprocessable
from domain.knowledge.models import Collection

MANAGE = {
    "collection": "documents:manage",
    "knowledge_base": "organisation:manage",
    "vector_store": "vector_stores:write",
}
"""The permission that stands above ownership, by kind of collection. Within `collection` it reaches only what is the
organisation's: a personal collection is its owner's alone."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose eyes a query has. `everything`: the platform's own jobs. `guest`: somebody of another organisation, who
    sees what is public and nothing else."""

    user_id: UUID | None
    groups: tuple[UUID, ...] = ()
    everything: bool = False
    guest: bool = False


GUEST = Viewer(None, guest=True)
EVERYBODY = Viewer(None)
"""What everybody in the organisation may see, and nothing of anybody's own: for answers that they all read."""


def viewer(ctx: Ctx) -> Viewer:
    user_id: UUID | None = getattr(ctx.actor, "user_id", None)
    if isinstance(ctx.actor, SystemActor):
        return Viewer(None, everything=True)
    return Viewer(user_id, () if user_id is None else tuple(_groups(ctx, user_id)))


def user(ctx: Ctx) -> UUID:
    """The person who acts. Raises `Forbidden` for a caller who is none: personal things need a person."""
    user_id: UUID | None = getattr(ctx.actor, "user_id", None)
    if user_id is None:
        raise Forbidden("This needs a person: a key or service of the organisation has nothing of its own.")
    return user_id


def visible(eyes: Viewer) -> ColumnElement[bool]:
    """The condition on `Collection` that it can be seen, and is there at all."""
    there = Collection.deleted_at.is_(None)
    if eyes.everything:
        return there
    if eyes.guest:
        return and_(there, Collection.visibility == "public")
    shared: list[ColumnElement[bool]] = [Collection.visibility.in_(("organisation", "public"))]
    if eyes.user_id is not None:
        shared.append(Collection.owner_id == eyes.user_id)
    if eyes.groups:
        shared.append(and_(Collection.visibility == "group", Collection.group_ids.overlap(list(eyes.groups))))
    return and_(there, or_(*shared))


def may_edit(ctx: Ctx, collection: Collection) -> bool:
    """Whether the caller may change the collection and what is in it."""
    if isinstance(ctx.actor, SystemActor):
        return True
    if collection.owner_id is not None:
        if collection.owner_id == getattr(ctx.actor, "user_id", None):
            return True
        if collection.kind == "collection":
            return False
    return MANAGE[collection.kind] in ctx.permissions or "admin" in ctx.permissions


def must_edit(ctx: Ctx, collection: Collection) -> None:
    """Raises `Forbidden`; `NotFound` where the caller may not even know of it."""
    if may_edit(ctx, collection):
        return
    if collection.kind == "collection" and collection.owner_id is not None:
        raise NotFound("There is no such collection.")
    raise Forbidden(required_scope=MANAGE[collection.kind])


def known_groups(ctx: Ctx, group_ids: Sequence[UUID]) -> list[UUID]:
    """The distinct ids, all of them groups of the organisation. Raises `Unprocessable`."""
    wanted = list(dict.fromkeys(group_ids))
    if wanted and len(memberships.known_groups(ctx, wanted)) < len(wanted):
        raise Unprocessable("groupIds: one of them is no group of the organisation.")
    return wanted


def _groups(ctx: Ctx, user_id: UUID) -> Sequence[UUID]:
    """The groups that a person is in."""
    return [group.id for group in memberships.groups_of(ctx, [user_id])[user_id]]
