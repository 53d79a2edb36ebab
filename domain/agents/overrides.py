"""Settings that hold for one user alone, over all agents: the exceptions to what groups and organisation say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select

from domain.agents import catalogue, rules, tiers
from domain.agents.models import AgentAccess
from domain.agents.people import Person, directory
from domain.agents.rules import Effective
from domain.agents.spec import Agent
from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage, Page


@dataclass(frozen=True, slots=True)
class Override:
    """A setting of one user's own; `without` is what would hold for them without it."""

    person: Person
    agent: Agent
    access: str
    without: Effective
    reason: str | None
    updated_at: datetime
    updated_by: UUID | None


def list_overrides(
    ctx: Ctx, *, agent: str | None = None, access: str | None = None, page: OffsetPage | None = None
) -> Page[Override]:
    """Those of members, for agents that there are, by user and agent."""
    page = page or OffsetPage(limit=100)
    agents = _agents(ctx)
    conditions = [*_theirs(agents, agent)]
    if access is not None:
        conditions.append(AgentAccess.access == access)
    users = ctx.session.scalars(select(AgentAccess.subject_id).where(*conditions).distinct()).all()
    people = directory().people(ctx, {user for user in users if user is not None})
    conditions.append(AgentAccess.subject_id.in_(people))
    total = ctx.session.scalar(select(func.count(AgentAccess.id)).where(*conditions)) or 0
    rows = ctx.session.scalars(
        select(AgentAccess)
        .where(*conditions)
        .order_by(AgentAccess.subject_id, AgentAccess.agent_key)
        .limit(page.limit)
        .offset(page.offset)
    ).all()
    return Page(_described(ctx, rows, agents, people), total=total)


def search_overrides(
    ctx: Ctx, words: str, *, agent: str | None = None, page: OffsetPage | None = None
) -> Page[tuple[Person, Sequence[Override]]]:
    """Members by a part of name or address, by name, each with the settings of their own, by agent."""
    found = directory().search(ctx, words, page or OffsetPage())
    people = {person.id: person for person in found.items}
    agents = _agents(ctx)
    rows = ctx.session.scalars(
        select(AgentAccess)
        .where(*_theirs(agents, agent), AgentAccess.subject_id.in_(people))
        .order_by(AgentAccess.agent_key)
    ).all()
    own: dict[UUID, list[Override]] = {user: [] for user in people}
    for override in _described(ctx, rows, agents, people):
        own[override.person.id].append(override)
    return Page([(person, own[person.id]) for person in found.items], total=found.total)


def _agents(ctx: Ctx) -> dict[str, Agent]:
    return {agent.key: agent for agent in catalogue.everything(ctx)}


def _theirs(agents: Mapping[str, Agent], key: str | None) -> list[ColumnElement[bool]]:
    wanted = list(agents) if key is None else [key] if key in agents else []
    return [AgentAccess.tier == "user", AgentAccess.access != "inherit", AgentAccess.agent_key.in_(wanted)]


def _described(
    ctx: Ctx, rows: Sequence[AgentAccess], agents: Mapping[str, Agent], people: Mapping[UUID, Person]
) -> list[Override]:
    users = {row.subject_id for row in rows if row.subject_id is not None}
    groups = {user: {g.id for g in found} for user, found in directory().groups_of(ctx, users).items()}
    read = tiers.read(ctx, {row.agent_key for row in rows}, groups=set().union(*groups.values()))
    result = []
    for row in rows:
        assert row.subject_id is not None
        said = read.said(row.agent_key, groups[row.subject_id])
        result.append(
            Override(
                people[row.subject_id], agents[row.agent_key], row.access, rules.effective(said), row.reason,
                row.updated_at, row.updated_by,
            )
        )  # fmt: skip
    return result
