"""An organisation with people and groups, as a directory that tests fill."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain import agents, billing, identity
from domain.agents import Group, Person
from domain.agents import people as people_module
from domain.kernel.context import Ctx, SystemActor, UserActor
from domain.kernel.db import Database
from domain.kernel.pages import OffsetPage, Page

_names = itertools.count()
USER = frozenset({"agents:read", "agents:write", "agents:delete", "skills:write"})
ADMIN = frozenset({"admin"})


@dataclass
class Directory:
    members: dict[UUID, Person] = field(default_factory=dict)
    named: dict[UUID, Group] = field(default_factory=dict)
    inside: dict[UUID, list[UUID]] = field(default_factory=dict)

    def groups_of(self, ctx: Ctx, user_ids: Any) -> dict[UUID, list[Group]]:
        return {i: [self.named[g] for g in self.inside.get(i, ())] for i in user_ids}

    def groups(self, ctx: Ctx, ids: Any) -> dict[UUID, Group]:
        return {i: self.named[i] for i in ids if i in self.named}

    def people(self, ctx: Ctx, ids: Any) -> dict[UUID, Person]:
        return {i: self.members[i] for i in ids if i in self.members}

    def search(self, ctx: Ctx, words: str, page: OffsetPage) -> Page[Person]:
        found = [p for p in self.members.values() if words in p.name.lower() or words in p.email]
        return Page(found, total=len(found))


@dataclass
class Office:
    database: Database
    organisation_id: UUID
    directory: Directory
    surface: str = "beeflow"

    def person(self, name: str = "Ada", groups: tuple[UUID, ...] = ()) -> UUID:
        made = uuid4()
        self.directory.members[made] = Person(made, name, f"{name.lower()}@example.org")
        self.directory.inside[made] = list(groups)
        return made

    def group(self, name: str = "Finance") -> UUID:
        made = uuid4()
        self.directory.named[made] = Group(made, name)
        return made

    @contextmanager
    def ctx(self, user_id: UUID | None = None, permissions: frozenset[str] = USER, **more: Any) -> Iterator[Ctx]:
        given = {"surface": self.surface} | more
        with self.database.context(UserActor(user_id or uuid4()), self.organisation_id, permissions, **given) as ctx:
            yield ctx

    def admin(self) -> Any:
        return self.ctx(permissions=ADMIN)


@pytest.fixture
def directory() -> Iterator[Directory]:
    before = people_module.directory()
    made = Directory()
    agents.bind_directory(made)
    yield made
    agents.bind_directory(before)


@pytest.fixture
def make_office(database: Database, directory: Directory) -> Callable[..., Office]:
    def make(plan: str = "enterprise") -> Office:
        name = f"office-{next(_names)}-{uuid4().hex[:6]}"
        with database.context(SystemActor("test"), None, ADMIN, platform=True) as ctx:
            organisation_id = identity.create_organisation(ctx, name=name, slug=name).id
        with database.context(SystemActor("test"), organisation_id, ADMIN) as ctx:
            billing.subscribe(ctx, plan, "beeflow")
        return Office(database, organisation_id, directory)

    return make


@pytest.fixture
def office(make_office: Callable[..., Office]) -> Office:
    return make_office()
