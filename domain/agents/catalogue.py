"""Agents as lists name them: those that come with the platform, and those that an organisation's people share. What an
agent is told is not read for a list."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select

from domain.agents import builtin
from domain.agents.models import AgentRow
from domain.agents.spec import Agent
from domain.kernel.context import Ctx
from domain.kernel.errors import NotFound

MOST = 10_000
"""Agents of an organisation's people that a list goes through."""
_BRIEF = (
    AgentRow.id, AgentRow.key, AgentRow.name, AgentRow.description, AgentRow.category, AgentRow.model, AgentRow.tier,
    AgentRow.tools, AgentRow.skill_ids, AgentRow.knowledge_base_ids, AgentRow.visibility, AgentRow.owner_id,
    AgentRow.avatar_url, AgentRow.created_at, AgentRow.updated_at,
)  # fmt: skip


def platform(search: str | None = None, category: str | None = None) -> list[Agent]:
    """Those that come with the platform, also those that work behind the scenes, by key."""
    return _chosen(builtin.agents().values(), search, category)


def everything(
    ctx: Ctx, search: str | None = None, category: str | None = None, *, seen_by: Iterable[UUID] | None = None
) -> list[Agent]:
    """With those that people share, by key; of these, given the groups that somebody is in (`seen_by`), only what is
    shared with that person."""
    shared = AgentRow.visibility != "private"
    if seen_by is not None:
        inside = [AgentRow.group_ids.contains([str(group)]) for group in seen_by]
        shared = or_(AgentRow.visibility == "organisation", (AgentRow.visibility == "group") & or_(False, *inside))
    return _chosen([*builtin.agents().values(), *made(ctx, shared)], search, category)


def find(ctx: Ctx, key: str) -> Agent:
    """One that settings can be made for. Raises `NotFound`, also for somebody's private one."""
    known = builtin.agents().get(key)
    if known is not None:
        return known
    found = made(ctx, AgentRow.key == key, AgentRow.visibility != "private")
    if not found:
        raise NotFound("There is no such agent.")
    return found[0]


def made(ctx: Ctx, *conditions: ColumnElement[bool]) -> list[Agent]:
    """Those that people of the organisation have made, without what they are told."""
    rows = ctx.session.execute(select(*_BRIEF).where(*conditions).order_by(AgentRow.key).limit(MOST))
    return [
        Agent(
            id=row.id,
            key=row.key,
            name=row.name,
            description=row.description or "",
            instructions="",
            category=row.category,
            model=row.model,
            tier=row.tier,
            tools=tuple(row.tools),
            skill_ids=tuple(UUID(i) for i in row.skill_ids),
            knowledge_base_ids=tuple(UUID(i) for i in row.knowledge_base_ids),
            visibility=row.visibility,
            owner_id=row.owner_id,
            avatar_url=row.avatar_url,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
    ]


def fits(agent: Agent, search: str | None, category: str | None) -> bool:
    """Whether all words stand in its name or description, and it is of the field."""
    if category not in (None, agent.category):
        return False
    told = f"{agent.key} {agent.name} {agent.description}".casefold()
    return all(word in told for word in (search or "").casefold().split())


def _chosen(agents: Iterable[Agent], search: str | None, category: str | None) -> list[Agent]:
    return sorted((agent for agent in agents if fits(agent, search, category)), key=lambda agent: agent.key)
