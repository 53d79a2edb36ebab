"""Who may see and change what. Conditions go into the queries: a row that one may not see is never fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, and_, bindparam, literal, or_
from sqlalchemy.dialects.postgresql import ARRAY

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

Kind = Literal["everything", "guest", "everybody", "person", "member"]
"""Of eyes, as far as a condition differs by it. `member`: a person who is in groups."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose eyes a query has. `everything`: the platform's own jobs. `guest`: somebody of another organisation, who
    sees what is public and nothing else."""

    user_id: UUID | None
    groups: tuple[UUID, ...] = ()
    everything: bool = False
    guest: bool = False

    @property
    def kind(self) -> Kind:
        if self.everything or self.guest:
            return "everything" if self.everything else "guest"
        if self.user_id is None:
            return "everybody"
        return "member" if self.groups else "person"


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
    return _visible(eyes.kind, literal(eyes.user_id, Uuid()), literal(list(eyes.groups), ARRAY(Uuid())))


def seen_by(kind: Kind) -> ColumnElement[bool]:
    """The same for all eyes of a kind: whose they are is in the parameters, `values`."""
    return _visible(kind, bindparam("eyes_id", type_=Uuid()), bindparam("eyes_groups", type_=ARRAY(Uuid())))


def _visible(kind: Kind, person: ColumnElement[Any], groups: ColumnElement[Any]) -> ColumnElement[bool]:
    there = Collection.deleted_at.is_(None)
    if kind == "everything":
        return there
    if kind == "guest":
        return and_(there, Collection.visibility == "public")
    shared: list[ColumnElement[bool]] = [Collection.visibility.in_(("organisation", "public"))]
    if kind in ("person", "member"):
        shared.append(Collection.owner_id == person)
    if kind == "member":
        shared.append(and_(Collection.visibility == "group", Collection.group_ids.overlap(groups)))
    return and_(there, or_(*shared))


def lasting(now: Any) -> ColumnElement[bool]:
    """The condition on `Collection` that its time is not over. `now`: a moment or a parameter; the clock decides, and
    not the cron that clears away (`upkeep.expire`)."""
    return and_(Collection.expired_at.is_(None), or_(Collection.expires_at.is_(None), Collection.expires_at > now))


def values(eyes: Viewer) -> dict[str, Any]:
    """The parameters of `seen_by`."""
    return {"eyes_id": eyes.user_id, "eyes_groups": list(eyes.groups)}


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
    return memberships.group_ids_of(ctx, user_id)
