"""Whom agents are for: the caller, their groups, and how others see them. Identity answers; the port is bound at
start-up so that this context names no table of another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain import identity
from domain.kernel.context import ApiKeyActor, Ctx, UserActor
from domain.kernel.errors import Forbidden
from domain.kernel.pages import OffsetPage, Page


@dataclass(frozen=True, slots=True)
class Person:
    id: UUID
    name: str
    email: str
    avatar_url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    id: UUID
    name: str


class Directory(Protocol):
    """Members and groups of the organisation of `ctx`."""

    def groups_of(self, ctx: Ctx, user_id: UUID) -> Sequence[Group]: ...

    def groups(self, ctx: Ctx, ids: Collection[UUID]) -> Mapping[UUID, Group]:
        """Those that exist."""
        ...

    def people(self, ctx: Ctx, ids: Collection[UUID]) -> Mapping[UUID, Person]:
        """Those who are members."""
        ...

    def search(self, ctx: Ctx, words: str, page: OffsetPage) -> Page[Person]:
        """Members by a part of name or address, the best match first, with their total."""
        ...


class _Plain:
    """What identity says by itself: the groups a person is in. Names and searches of members come with a binding."""

    def groups_of(self, ctx: Ctx, user_id: UUID) -> Sequence[Group]:
        return [Group(g.id, g.name) for g in identity.memberships.groups_of(ctx, [user_id])[user_id]]

    def groups(self, ctx: Ctx, ids: Collection[UUID]) -> Mapping[UUID, Group]:
        return {}

    def people(self, ctx: Ctx, ids: Collection[UUID]) -> Mapping[UUID, Person]:
        return {}

    def search(self, ctx: Ctx, words: str, page: OffsetPage) -> Page[Person]:
        return Page((), total=0)


_directory: Directory = _Plain()


def bind_directory(directory: Directory) -> None:
    global _directory
    _directory = directory


def directory() -> Directory:
    return _directory


def caller(ctx: Ctx) -> UUID | None:
    """The person behind the request: a signed-in user, or the one whose key it is. None for programs."""
    actor = ctx.actor
    return actor.user_id if isinstance(actor, UserActor | ApiKeyActor) else None


def person(ctx: Ctx) -> UUID:
    """The same, where there has to be one. Raises `Forbidden`."""
    found = caller(ctx)
    if found is None:
        raise Forbidden("This is for people: a program has no settings of its own.")
    return found


def groups_of(ctx: Ctx, user_id: UUID | None) -> Sequence[Group]:
    return () if user_id is None else directory().groups_of(ctx, user_id)


def manages(ctx: Ctx) -> bool:
    """Whether the caller may change agents that belong to others."""
    return bool({"admin", "agents:manage"} & ctx.permissions)
