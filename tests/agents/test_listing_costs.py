"""Lists of agents ask the database the same number of questions however long they are. The people are identity's own,
and the lists are asked for as the surface asks for them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event

from domain import agents, billing, identity, knowledge
from domain.agents import access, builtin, own_settings, skills
from domain.agents.people import Members
from domain.identity import groups, members
from domain.kernel.context import Ctx, SystemActor, UserActor
from domain.kernel.db import Database
from domain.kernel.pages import OffsetPage
from handlers.beeflow import agents as beeflow_agents
from handlers.beeflow import knowledge as beeflow_knowledge
from handlers.thallus import agent_access, wire_agents
from handlers.thallus import agents as agent_handlers

PAGE = OffsetPage(100)
_numbers = itertools.count(1)


class Firm:
    """An organisation whose people and groups are identity's."""

    def __init__(self, database: Database) -> None:
        self.database = database
        name = f"firm-{uuid4().hex[:12]}"
        with database.context(SystemActor("test"), None, platform=True) as ctx:
            self.id = identity.create_organisation(ctx, name=name, slug=name).id
        self.boss = self.person("Grace Hopper", "owner")
        with database.context(SystemActor("test"), self.id) as ctx:
            billing.subscribe(ctx, "enterprise", "beeflow")
        entry = next(each for each in builtin.skills().values() if not each.get("settings"))
        with self.ctx(surface="beeflow") as ctx:
            self.skill = skills.install_skill(
                ctx, entry["id"], permissions=entry["permissions"], visibility="organisation"
            ).id

    def person(self, name: str = "Ada Lovelace", role: str = "member") -> UUID:
        with self.database.context(SystemActor("test"), None, surface="thallus") as ctx:
            account = identity.accounts.make(
                ctx, email=f"p{next(_numbers)}-{uuid4().hex[:6]}@example.org", name=name, source="invite", verified=True
            )
            identity.accounts.join(ctx, account, self.id, role, source="invite")
            return account.id

    @contextmanager
    def ctx(self, user: UUID | None = None, surface: str = "thallus") -> Iterator[Ctx]:
        permissions = frozenset({"admin"}) if user is None else frozenset({"agents:read", "agents:write"})
        with self.database.context(UserActor(user or self.boss), self.id, permissions, surface=surface) as ctx:
            yield ctx

    def group(self, *people: UUID) -> UUID:
        with self.ctx() as ctx:
            return groups.create(ctx, f"Group {next(_numbers)}", member_ids=people).group.id


@pytest.fixture
def firm(database: Database) -> Iterator[Firm]:
    before = agents.directory()
    agents.bind_directory(Members())
    yield Firm(database)
    agents.bind_directory(before)


def grow(firm: Firm, user: UUID, by: int) -> None:
    """More of everything: shared agents with skills, groups of the user, settings of each tier and of people."""
    own = [firm.group(user) for _ in range(by)]
    people = [firm.person(f"Person {next(_numbers)}") for _ in range(by)]
    for person in people:
        firm.group(person)
    with firm.ctx(surface="beeflow") as ctx:
        made = [
            agents.create_agent(
                ctx,
                name=f"Guide {next(_numbers)}",
                instructions="Answer.",
                visibility=visibility,
                group_ids=own if visibility == "group" else [],
                skill_ids=[firm.skill],
            )
            for visibility in ("organisation", "group")
            for _ in range(by)
        ]
    with firm.ctx() as ctx:
        for agent in made:
            access.set_organisation_agent(ctx, agent.key, access="allow")
            access.set_group_agent(ctx, own[0], agent.key, access="allow")
        for person in people:
            access.set_user_agent(ctx, person, "data_analyst", access="deny")
            access.set_user_agent(ctx, person, made[0].key, access="deny")
    with firm.ctx(user) as ctx:
        own_settings.save_settings(ctx, made[0].key, instructions="In euros.")


LISTS: dict[str, tuple[int, Callable[[Firm, Ctx, UUID, UUID], Any]]] = {
    "own": (8, lambda f, c, u, g: agent_handlers.list_agents(c, PAGE)),
    "platform": (3, lambda f, c, u, g: agent_access.list_platform_agents(c, PAGE)),
    "organisation": (4, lambda f, c, u, g: agent_access.list_organization_agents(c, f.id, PAGE)),
    "group": (5, lambda f, c, u, g: agent_access.list_group_agents(c, f.id, g, PAGE)),
    "user": (6, lambda f, c, u, g: agent_access.list_user_agents(c, u, PAGE)),
    "overrides": (9, lambda f, c, u, g: agent_access.list_agent_overrides(c, PAGE)),
    "search": (10, lambda f, c, u, g: agent_access.search_agent_overrides(c, "person", PAGE)),
}
"""List -> the statements that it may take, and how the surface asks for it."""


@contextmanager
def noted(database: Database) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def test_a_list_costs_the_same_however_long_it_is(firm: Firm) -> None:
    user = firm.person()
    group = firm.group(user)

    def costs() -> dict[str, tuple[int, int]]:
        """Of each list: its statements, and how many it has."""
        found = {}
        for name, (_, ask) in LISTS.items():
            with firm.ctx(user if name == "own" else None) as ctx, noted(firm.database) as statements:
                total = ask(firm, ctx, user, group)["total"]
            found[name] = len(statements), total
        return found

    grow(firm, user, 2)
    costs()  # the first of all warms up what a process does once
    few = costs()
    grow(firm, user, 12)
    many = costs()
    assert {name: spent for name, (spent, _) in few.items()} == {name: spent for name, (spent, _) in many.items()}
    assert [name for name, (most, _) in LISTS.items() if many[name][0] > most] == [], many
    assert [name for name in LISTS if name != "platform" and many[name][1] < few[name][1] + 12] == [], (few, many)


def test_bee_flows_lists_cost_the_same_however_many_people_made_what_is_in_them(firm: Firm) -> None:
    def made_by(count: int) -> None:
        for _ in range(count):
            person = firm.person(f"Person {next(_numbers)}")
            with firm.ctx(person, surface="beeflow") as ctx:
                ctx = replace(ctx, permissions=frozenset({"agents:write", "knowledge:write"}))
                agents.create_agent(
                    ctx, name=f"Guide {next(_numbers)}", instructions="Answer.", visibility="organisation"
                )
                knowledge.bases.create(ctx, f"Base {next(_numbers)}", visibility="organisation")

    def costs() -> tuple[int, int, set[str]]:
        with firm.ctx(surface="beeflow") as ctx, noted(firm.database) as statements:
            made = beeflow_agents.list_agents(ctx, PAGE)["items"]
            bases = beeflow_knowledge.list_knowledge_bases(ctx, PAGE)["items"]
        return len(statements), len(bases), {each["owner"]["displayName"] for each in (*made, *bases)}

    made_by(2)
    costs()
    few = costs()
    made_by(9)
    many = costs()
    assert (many[1], many[0]) == (few[1] + 9, few[0])
    assert len(many[2]) == len(few[2]) + 9, "each is told whose it is"


def test_the_directory_is_identitys(firm: Firm) -> None:
    ada, bob, eve = firm.person(), firm.person("Bob Ross"), firm.person("Eve Adams")
    zoo, art = firm.group(ada, bob), firm.group(ada)
    with firm.ctx() as ctx:
        members.remove(ctx, eve)
        found = agents.directory()
        assert [{g.id for g in found.groups_of(ctx, [ada, bob])[u]} for u in (ada, bob)] == [{zoo, art}, {zoo}]
        assert set(found.groups(ctx, [zoo, uuid4()])) == {zoo}
        assert set(found.people(ctx, [ada, eve, uuid4()])) == {ada}
        page = found.search(ctx, "ross", PAGE)
        assert ([p.id for p in page.items], page.total) == ([bob], 1)
        assert found.search(ctx, "%", PAGE).total == 0
    other = Firm(firm.database)
    with other.ctx() as ctx:
        assert found.groups(ctx, [zoo]) == found.people(ctx, [ada]) == {}
        assert found.groups_of(ctx, [ada]) == {ada: []}
        assert found.search(ctx, "lovelace", PAGE).total == 0


def test_whoever_changed_a_setting_is_named_until_they_are_erased(firm: Firm) -> None:
    with firm.ctx() as ctx:
        made = access.set_organisation_agent(ctx, "writer", access="deny")
        shown = wire_agents.managed_agent(ctx, made)["updated_by"]
        assert (shown or {})["name"] == "Grace Hopper"
        identity.accounts.get(ctx, firm.boss).erased_at = ctx.now()
        ctx.session.flush()
        assert wire_agents.managed_agent(ctx, made)["updated_by"] is None
        assert (
            wire_agents.platform_agent(ctx, access.set_platform_agent(ctx, "writer", access="allow"))["updated_by"]
            is None
        )
