"""Whom agents are for: the caller, their groups, and how others see them. Identity answers; another directory can be
bound in its place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain import identity
from domain.identity import Account
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

    def groups_of(self, ctx: Ctx, user_ids: Collection[UUID]) -> Mapping[UUID, Sequence[Group]]:
        """Of each of them, by name; in one go, however many they are."""
        ...

    def groups(self, ctx: Ctx, ids: Collection[UUID]) -> Mapping[UUID, Group]:
        """Those that exist."""
        ...

    def people(self, ctx: Ctx, ids: Collection[UUID]) -> Mapping[UUID, Person]:
        """Those who are members."""
        ...

    def search(self, ctx: Ctx, words: str, page: OffsetPage) -> Page[Person]:
        """Members by a part of name or address, by name, with their total."""
        ...


class Members:
    """The directory that identity keeps. Members are those who are active, invited or disabled."""

    def groups_of(self, ctx: Ctx, user_ids: Collection[UUID]) -> Mapping[UUID, Sequence[Group]]:
        found = identity.memberships.groups_of(ctx, user_ids)
        return {user_id: [Group(g.id, g.name) for g in groups] for user_id, groups in found.items()}

    def groups(self, ctx: Ctx, ids: Collection[UUID]) -> Mapping[UUID, Group]:
        return {g.id: Group(g.id, g.name) for g in identity.groups.get_many(ctx, ids).values()} if ids else {}

    def people(self, ctx: Ctx, ids: Collection[UUID]) -> Mapping[UUID, Person]:
        return {a.id: _person(a) for a in identity.members.people(ctx, ids, present=True).values()} if ids else {}

    def search(self, ctx: Ctx, words: str, page: OffsetPage) -> Page[Person]:
        found = identity.members.listed(ctx, page, q=words)
        return Page([_person(member.account) for member in found.items], total=found.total)


_directory: Directory = Members()


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
    return () if user_id is None else directory().groups_of(ctx, [user_id])[user_id]


def manages(ctx: Ctx) -> bool:
    """Whether the caller may change agents that belong to others."""
    return bool({"admin", "agents:manage"} & ctx.permissions)


def _person(account: Account) -> Person:
    return Person(account.id, account.name, account.email, account.avatar_url)
