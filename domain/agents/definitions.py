"""Agents that people make: create, read, change, delete, and the versions they leave."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select

from domain import audit
from domain.agents import access, builtin, tiers
from domain.agents.drafts import FIELDS, checked, free_key, room, usable
from domain.agents.models import AgentAccess, AgentRow, AgentVersion, MarketplaceAgent, PlatformAgentSetting
from domain.agents.people import caller, groups_of, manages, person
from domain.agents.spec import Agent, Publication
from domain.kernel.context import Ctx
from domain.kernel.errors import Forbidden, NotFound
from domain.kernel.pages import OffsetPage, Page

HIDDEN = "instructions_hidden"


def create_agent(ctx: Ctx, *, name: str, instructions: str, **given: Any) -> Agent:
    """Make an agent that belongs to the caller; `given` are further `FIELDS`.

    Raises `PaymentRequired` (the tier has no room), `Unprocessable` (names something that the caller cannot see),
    `Forbidden` (guardrails that the tier does not cover), `Invalid`.
    """
    owner = person(ctx)
    room(ctx)
    fields = checked(ctx, {"name": name, "instructions": instructions, **given})
    row = AgentRow(key=free_key(ctx, fields["name"]), owner_id=owner, version=1, **fields)
    ctx.session.add(row)
    ctx.session.flush()
    remember(ctx, row)
    audit.record(ctx, "agent.create", resource_type="agent", resource_id=row.id, details={"name": row.name})
    return agent_of(row)


def get_agent(ctx: Ctx, agent_id: UUID) -> Agent:
    """One that the caller can talk to: built in, their own, or shared with them; administrators see every one of the
    organisation. Raises `NotFound`."""
    known = builtin.agents_by_id().get(agent_id)
    if known is not None and builtin.offers(known, ctx.surface):
        return known
    row = ctx.session.scalars(select(AgentRow).where(AgentRow.id == agent_id, visible(ctx))).one_or_none()
    if row is None:
        raise NotFound("There is no such agent.")
    return agent_of(row, _publications(ctx, [row.id]).get(row.id))


def find_agent(ctx: Ctx, key: str) -> Agent:
    """By its name for programs. Raises `NotFound`."""
    known = builtin.agents().get(key)
    if known is not None:
        return known
    row = ctx.session.scalars(select(AgentRow).where(AgentRow.key == key, visible(ctx))).one_or_none()
    if row is None:
        raise NotFound("There is no such agent.")
    return agent_of(row, _publications(ctx, [row.id]).get(row.id))


def names_of(ctx: Ctx, ids: Collection[UUID]) -> dict[UUID, str]:
    """What agents are called, for lists of conversations; those that are gone are left out."""
    known = {i: a.name for i, a in builtin.agents_by_id().items() if i in set(ids)}
    rest = [i for i in ids if i not in known]
    if rest:
        rows = ctx.session.execute(select(AgentRow.id, AgentRow.name).where(AgentRow.id.in_(rest)))
        known.update({row.id: row.name for row in rows})
    return known


def list_agents(
    ctx: Ctx,
    *,
    search: str | None = None,
    visibility: str | None = None,
    mine: bool | None = None,
    builtins: bool = False,
    page: OffsetPage | None = None,
) -> Page[Agent]:
    """The agents that the caller can see and may use, the last changed first, with their `total`; with `builtins` those
    that come with the platform behind them, by name. `mine`: only the caller's own, or only those of others. `search`:
    words, each of which stands in name or description."""
    page = page or OffsetPage()
    words = (search or "").split()[:10]
    conditions = [visible(ctx)]
    if mine is not None:
        own = AgentRow.owner_id.is_not_distinct_from(caller(ctx))
        conditions.append(own if mine else ~own)
    if visibility is not None:
        conditions.append(AgentRow.visibility == visibility)
    for word in words:
        held = [column.icontains(word, autoescape=True) for column in (AgentRow.name, AgentRow.description)]
        conditions.append(or_(*held))
    denied = _denied(ctx)
    if denied:
        conditions.append(AgentRow.key.not_in(denied))
    total = ctx.session.scalar(select(func.count(AgentRow.id)).where(*conditions)) or 0
    rows = ctx.session.scalars(
        select(AgentRow)
        .where(*conditions)
        .order_by(AgentRow.updated_at.desc(), AgentRow.id.desc())
        .limit(page.limit)
        .offset(page.offset)
    ).all()
    publications = _publications(ctx, [row.id for row in rows])
    found = [agent_of(row, publications.get(row.id)) for row in rows]
    if not builtins or mine or visibility not in (None, "organisation"):
        return Page(found, total=total)
    shipped = [
        agent
        for agent in builtin.offered(ctx.surface)
        if agent.key not in denied
        and all(word.lower() in f"{agent.name} {agent.description}".lower() for word in words)
    ]
    start = max(0, page.offset - total)
    return Page(found + shipped[start : start + page.limit - len(found)], total=total + len(shipped))


def may_edit(ctx: Ctx, agent: Agent) -> bool:
    """The owner, and administrators; nobody changes what is built in, or what stands in the marketplace of others."""
    if agent.builtin or agent.publisher_id is not None:
        return False
    return manages(ctx) or (agent.owner_id is not None and agent.owner_id == caller(ctx))


def update_agent(ctx: Ctx, agent_id: UUID, **changes: Any) -> Agent:
    """Change what is named; the rest stays. Raises `NotFound`, `Forbidden`, `Unprocessable`, `Invalid`."""
    row = editable(ctx, agent_id)
    fields = checked(ctx, changes, row)
    if "instructions" in fields:
        row.instructions_hidden = False
    return _change(ctx, row, fields)


def delete_agent(ctx: Ctx, agent_id: UUID) -> None:
    """Remove it, from the marketplace too; copies stay. Raises `NotFound`, `Forbidden`."""
    row = editable(ctx, agent_id)
    ctx.session.execute(
        delete(MarketplaceAgent).where(MarketplaceAgent.id == row.id, MarketplaceAgent.publisher_id == ctx.organisation)
    )
    ctx.session.delete(row)
    ctx.session.flush()
    tiers.forget(ctx, row.key)
    audit.record(ctx, "agent.delete", resource_type="agent", resource_id=agent_id, details={"name": row.name})


def list_versions(ctx: Ctx, agent_id: UUID) -> Sequence[AgentVersion]:
    """What it was after each change, the latest first. For those who may change it."""
    editable(ctx, agent_id)
    return ctx.session.scalars(
        select(AgentVersion).where(AgentVersion.agent_id == agent_id).order_by(AgentVersion.number.desc()).limit(200)
    ).all()


def restore_version(ctx: Ctx, agent_id: UUID, number: int) -> Agent:
    """Make it what it was, as a new version; what it named and is gone since is left out, and instructions that were a
    publisher's secret are one again. Raises `NotFound`, `Forbidden`, `Unprocessable`, `Invalid`."""
    row = editable(ctx, agent_id)
    kept = ctx.session.scalars(
        select(AgentVersion).where(AgentVersion.agent_id == agent_id, AgentVersion.number == number)
    ).one_or_none()
    if kept is None:
        raise NotFound("There is no such version.")
    fields = checked(ctx, usable(ctx, kept.definition), row)
    row.instructions_hidden = bool(kept.definition.get(HIDDEN))
    return _change(ctx, row, fields)


def agent_of(row: AgentRow, published: MarketplaceAgent | None = None) -> Agent:
    return Agent(
        id=row.id,
        key=row.key,
        name=row.name,
        description=row.description or "",
        instructions=row.instructions,
        category=row.category,
        model=row.model,
        tier=row.tier,
        temperature=row.temperature,
        max_output_tokens=row.max_output_tokens,
        welcome_message=row.welcome_message,
        starter_prompts=tuple(row.starter_prompts),
        tools=tuple(row.tools),
        knowledge_base_ids=tuple(UUID(i) for i in row.knowledge_base_ids),
        skill_ids=tuple(UUID(i) for i in row.skill_ids),
        guardrails=row.guardrails,
        visibility=row.visibility,
        group_ids=tuple(UUID(i) for i in row.group_ids),
        owner_id=row.owner_id,
        avatar_url=row.avatar_url,
        instructions_hidden=row.instructions_hidden,
        copied_from=row.copied_from,
        publication=None if published is None else publication_of(published),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def publication_of(row: MarketplaceAgent) -> Publication:
    return Publication(
        row.category, row.tagline, tuple(row.tags), row.share_instructions, row.version, row.published_at
    )


def definition_of(row: AgentRow) -> dict[str, Any]:
    """What can be said of an agent, as JSON."""
    return {name: getattr(row, name) for name in FIELDS}


def visible(ctx: Ctx) -> ColumnElement[bool]:
    """Own, everybody's, and those of one's groups; administrators see all."""
    if manages(ctx):
        return AgentRow.id.is_not(None)
    who = caller(ctx)
    ways: list[ColumnElement[bool]] = [AgentRow.visibility == "organisation"]
    if who is not None:
        ways.append(AgentRow.owner_id == who)
        ways += [
            (AgentRow.visibility == "group") & AgentRow.group_ids.contains([str(group.id)])
            for group in groups_of(ctx, who)
        ]
    return or_(*ways)


def editable(ctx: Ctx, agent_id: UUID) -> AgentRow:
    """The row of one that the caller may change, locked. Raises `NotFound`, `Forbidden`."""
    known = builtin.agents_by_id().get(agent_id)
    if known is not None and builtin.offers(known, ctx.surface):
        raise Forbidden("What comes with the platform cannot be changed: make a copy of it.")
    row = ctx.session.scalars(
        select(AgentRow)
        .where(AgentRow.id == agent_id, visible(ctx))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such agent.")
    if not may_edit(ctx, agent_of(row)):
        raise Forbidden("Only its owner and administrators may change an agent.")
    return row


def remember(ctx: Ctx, row: AgentRow) -> None:
    """Keep what the agent is now, as the version that it has."""
    ctx.session.add(
        AgentVersion(
            agent_id=row.id,
            number=row.version,
            definition=definition_of(row) | {HIDDEN: row.instructions_hidden},
            changed_by=caller(ctx),
            created_at=ctx.now(),
        )
    )
    ctx.session.flush()


def _change(ctx: Ctx, row: AgentRow, fields: dict[str, Any]) -> Agent:
    for name, value in fields.items():
        setattr(row, name, value)
    row.version += 1
    row.updated_at = ctx.now()
    ctx.session.flush()
    remember(ctx, row)
    audit.record(ctx, "agent.update", resource_type="agent", resource_id=row.id, details={"fields": sorted(fields)})
    return agent_of(row, _publications(ctx, [row.id]).get(row.id))


def _publications(ctx: Ctx, ids: Sequence[UUID]) -> dict[UUID, MarketplaceAgent]:
    if not ids:
        return {}
    rows = ctx.session.scalars(select(MarketplaceAgent).where(MarketplaceAgent.id.in_(ids)))
    return {row.id: row for row in rows}


def _denied(ctx: Ctx) -> set[str]:
    """Keys of agents that the tiers of access keep from the caller."""
    keys = set(ctx.session.scalars(select(AgentAccess.agent_key).where(AgentAccess.access == "deny").distinct()))
    keys |= set(
        ctx.session.scalars(select(PlatformAgentSetting.agent_key).where(PlatformAgentSetting.access == "deny"))
    )
    if not keys:
        return set()
    agents = [agent for key, agent in builtin.agents().items() if key in keys]
    agents += [agent_of(row) for row in ctx.session.scalars(select(AgentRow).where(AgentRow.key.in_(keys)))]
    held = access.held(ctx, agents, caller(ctx))
    return {agent.key for agent in agents if not held[agent.key].effective.allowed}
