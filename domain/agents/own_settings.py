"""A person's own settings of agents, and what an agent can do for that person with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select

from domain import audit
from domain.agents import access, builtin, rules, tools
from domain.agents.definitions import agent_of, find_agent
from domain.agents.models import AgentRow, AgentSetting, Skill
from domain.agents.people import caller, person
from domain.agents.spec import Agent
from domain.agents.tools import Tool
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid
from domain.kernel.pages import OffsetPage, Page


@dataclass(frozen=True, slots=True)
class OwnSettings:
    agent: str
    enabled: bool = True
    instructions: str | None = None
    model_tier: str | None = None
    disabled_tools: tuple[str, ...] = ()
    confirm_writes: bool = True
    is_default: bool = True
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OfferedAgent:
    """An agent that the caller may use, as they have set it."""

    agent: Agent
    enabled: bool
    model_tier: str
    tool_count: int
    ready: bool
    customised: bool


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool of an agent, and whether the caller gets it. `reason`: `denied`, `disabled_by_admin`, `not_connected`,
    `source_down`; None when it is available. `source`: `builtin` or `skill`, with its id."""

    tool: Tool
    enabled: bool
    available: bool
    reason: str | None
    needs_confirmation: bool
    source: str = "builtin"
    source_id: str | None = None


def list_offered(
    ctx: Ctx,
    surface: str,
    *,
    search: str | None = None,
    category: str | None = None,
    page: OffsetPage | None = None,
) -> Page[OfferedAgent]:
    """The agents of a surface that platform, organisation and groups leave to the caller, by key: built-in ones and
    those that people share. Denied ones are left out."""
    page = page or OffsetPage()
    words = (search or "").lower()
    agents = [
        agent
        for agent in [*builtin.agents().values(), *_shared(ctx)]
        if not agent.hidden
        and (not agent.surfaces or surface in agent.surfaces)
        and category in (None, agent.category)
        and words in f"{agent.key} {agent.name} {agent.description}".lower()
    ]
    user = caller(ctx)
    held = access.held(ctx, agents, user)
    allowed = sorted((a for a in agents if held[a.key].effective.allowed), key=lambda a: a.key)
    own = _many(ctx, user)
    rows = []
    for agent in allowed[page.offset : page.offset + page.limit]:
        setting = own.get(agent.key, OwnSettings(agent.key))
        count = len([name for name in agent.tools if tools.get(name) is not None])
        tier = rules.first(setting.model_tier, held[agent.key].model_tier) or "medium"
        rows.append(OfferedAgent(agent, setting.enabled, tier, count, True, not setting.is_default))
    return Page(rows, total=len(allowed))


def get_settings(ctx: Ctx, key: str) -> OwnSettings:
    """The caller's own, or the defaults. Raises `NotFound`, `Forbidden` (denied)."""
    agent = find_agent(ctx, key)
    access.allowed(ctx, agent)
    return settings_of(ctx, agent.key, caller(ctx))


def settings_of(ctx: Ctx, key: str, user_id: UUID | None) -> OwnSettings:
    if user_id is None:
        return OwnSettings(key)
    row = ctx.session.scalars(
        select(AgentSetting).where(AgentSetting.user_id == user_id, AgentSetting.agent_key == key)
    ).one_or_none()
    return OwnSettings(key) if row is None else _own(row)


def save_settings(
    ctx: Ctx,
    key: str,
    *,
    enabled: bool = True,
    instructions: str | None = None,
    model_tier: str | None = None,
    disabled_tools: Sequence[str] = (),
    confirm_writes: bool = True,
) -> OwnSettings:
    """Replace the caller's own settings; with nothing given they go back to the defaults.

    Raises `NotFound`, `Forbidden`, `Invalid` (a tool that the agent does not have).
    """
    user = person(ctx)
    agent = find_agent(ctx, key)
    access.allowed(ctx, agent)
    known = {tool.tool.name for tool in tools_for(ctx, agent)}
    if wrong := [name for name in disabled_tools if name not in known]:
        raise Invalid(f"disabled_tools: the agent has no tool {wrong[0]}.")
    if model_tier is not None and model_tier not in rules.MODEL_TIERS:
        raise Invalid("model_tier: fast, medium or large.")
    ctx.session.execute(delete(AgentSetting).where(AgentSetting.user_id == user, AgentSetting.agent_key == agent.key))
    changed = not enabled or instructions or model_tier or disabled_tools or not confirm_writes
    saved = OwnSettings(agent.key)
    if changed:
        row = AgentSetting(
            user_id=user,
            agent_key=agent.key,
            enabled=enabled,
            instructions=instructions or None,
            model_tier=model_tier,
            disabled_tools=list(dict.fromkeys(disabled_tools)),
            confirm_writes=confirm_writes,
        )
        ctx.session.add(row)
        ctx.session.flush()
        saved = _own(row)
    audit.record(ctx, "agent.settings_update", resource_type="agent", resource_id=agent.key)
    return saved


def tools_of(ctx: Ctx, key: str) -> list[OfferedTool]:
    """What an agent can do for the caller, by name. Raises `NotFound`, `Forbidden`."""
    agent = find_agent(ctx, key)
    access.allowed(ctx, agent)
    return tools_for(ctx, agent)


def tools_for(ctx: Ctx, agent: Agent, settings: OwnSettings | None = None) -> list[OfferedTool]:
    """The tools that an agent has in a turn of the caller's: its own and those of its skills, by name."""
    own = settings or settings_of(ctx, agent.key, caller(ctx))
    sources: dict[str, tuple[str, str | None]] = dict.fromkeys(agent.tools, ("builtin", None))
    for skill in skills_of(ctx, agent):
        for name in skill.tools:
            sources.setdefault(name, ("skill", str(skill.id)))
    if agent.knowledge_base_ids:
        sources.setdefault("search_documents", ("knowledge", str(agent.knowledge_base_ids[0])))
    found = []
    for name in sorted(sources):
        tool = tools.get(name)
        if tool is None:
            continue
        enabled = name not in own.disabled_tools
        reason = None
        if tool.permission is not None and not {tool.permission, "admin"} & ctx.permissions:
            reason = "denied"
        elif not tool.available:
            reason = "not_connected" if tool.service else "source_down"
        asks = tool.confirmation or (tool.effect == "write" and own.confirm_writes and ctx.surface == "thallus")
        kind, source_id = sources[name]
        found.append(OfferedTool(tool, enabled, reason is None, reason, asks, kind, source_id))
    return found


def skills_of(ctx: Ctx, agent: Agent) -> Sequence[Skill]:
    """The installed skills that an agent has, as far as its owner may still use them."""
    if not agent.skill_ids:
        return ()
    return ctx.session.scalars(
        select(Skill)
        .where(
            Skill.id.in_(agent.skill_ids),
            (Skill.visibility == "organisation") | (Skill.installed_by == agent.owner_id),
        )
        .order_by(Skill.name)
    ).all()


def _shared(ctx: Ctx) -> list[Agent]:
    from domain.agents.definitions import _visible

    rows = ctx.session.scalars(select(AgentRow).where(_visible(ctx)).limit(1000))
    user = caller(ctx)
    return [agent_of(row) for row in rows if row.visibility != "private" or row.owner_id == user]


def _many(ctx: Ctx, user_id: UUID | None) -> dict[str, OwnSettings]:
    if user_id is None:
        return {}
    rows = ctx.session.scalars(select(AgentSetting).where(AgentSetting.user_id == user_id))
    return {row.agent_key: _own(row) for row in rows}


def _own(row: AgentSetting) -> OwnSettings:
    return OwnSettings(
        row.agent_key,
        row.enabled,
        row.instructions,
        row.model_tier,
        tuple(row.disabled_tools),
        row.confirm_writes,
        False,
        row.updated_at,
    )
