"""A person's own settings of agents, and what an agent can do for that person with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects.postgresql import insert

from domain import audit, knowledge
from domain.agents import access, builtin, catalogue, rules, tools
from domain.agents.access import Held
from domain.agents.definitions import find_agent, visible
from domain.agents.drafts import covered
from domain.agents.models import AgentRow, AgentSetting, Skill
from domain.agents.people import caller, person
from domain.agents.spec import Agent
from domain.agents.tools import Tool
from domain.kernel.context import Ctx
from domain.kernel.errors import Forbidden, Invalid, NotFound
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page

SURFACE = "thallus"
"""Where people have settings of their own: what they switch off is off there, and what writes asks there."""


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
    user = caller(ctx)
    agents = [agent for agent in _offered(ctx, surface) if catalogue.fits(agent, search, category)]
    held = access.held(ctx, agents, user)
    allowed = sorted((a for a in agents if held[a.key].effective.allowed), key=lambda a: a.key)
    shown = allowed[page.offset : page.offset + page.limit]
    own, skills = _many(ctx, user), _skills(ctx, shown)
    rows = [_shown(ctx, a, held[a.key], own.get(a.key) or OwnSettings(a.key), skills) for a in shown]
    return Page(rows, total=len(allowed))


def get_offered(ctx: Ctx, surface: str, key: str) -> OfferedAgent:
    """One of the agents of a surface. Raises `NotFound` (also for another surface's), `Forbidden` (denied)."""
    agent, held = _one(ctx, key, surface)
    return _shown(ctx, agent, held, settings_of(ctx, agent.key, caller(ctx)), _skills(ctx, [agent]))


def get_settings(ctx: Ctx, key: str) -> OwnSettings:
    """The caller's own, or the defaults. Raises `NotFound`, `Forbidden` (denied)."""
    agent, _ = _one(ctx, key)
    return settings_of(ctx, agent.key, caller(ctx))


def usable(ctx: Ctx, agent: Agent) -> tuple[Held, OwnSettings]:
    """What holds for the caller and what they have set, for an agent that is to work for them.

    Raises `Forbidden`: denied to them, or switched off by themselves (fact `reason`: `agent_denied`, `agent_disabled`).
    """
    held = access.allowed(ctx, agent)
    own = settings_of(ctx, agent.key, caller(ctx))
    if not own.enabled and ctx.surface == SURFACE:
        raise Forbidden("You have switched this agent off: switch it on in its settings.", reason="agent_disabled")
    return held, own


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
    agent, _ = _one(ctx, key)
    known = _sources(ctx, agent, _skills(ctx, [agent]))
    if wrong := [name for name in disabled_tools if name not in known]:
        raise Invalid(f"disabled_tools: the agent has no tool {wrong[0]}.")
    if model_tier is not None and model_tier not in rules.MODEL_TIERS:
        raise Invalid("model_tier: fast, medium or large.")
    own = OwnSettings(
        agent.key,
        enabled,
        instructions or None,
        model_tier,
        tuple(dict.fromkeys(disabled_tools)),
        confirm_writes,
        updated_at=ctx.now(),
    )
    if own == replace(OwnSettings(agent.key), updated_at=own.updated_at):
        ctx.session.execute(delete(AgentSetting).where(*_of(user, agent.key)))
        own = OwnSettings(agent.key)
    else:
        own = _write(ctx, user, own)
    audit.record(ctx, "agent.settings_update", resource_type="agent", resource_id=agent.key)
    return own


def tools_of(ctx: Ctx, key: str) -> list[OfferedTool]:
    """What an agent can do for the caller, by name. Raises `NotFound`, `Forbidden`."""
    agent, _ = _one(ctx, key)
    return tools_for(ctx, agent)


def tools_for(ctx: Ctx, agent: Agent, settings: OwnSettings | None = None) -> list[OfferedTool]:
    """The tools that an agent has in a turn of the caller's: its own and those of its skills, by name."""
    own = settings or settings_of(ctx, agent.key, caller(ctx))
    bases = knowledge.marketplace.reachable(ctx, agent.knowledge_base_ids)
    found = []
    for name, (kind, source_id) in sorted(_sources(ctx, agent, _skills(ctx, [agent])).items()):
        tool = tools.get(name)
        assert tool is not None
        if kind == "knowledge":
            if not bases:
                continue  # none of them is the caller's to search
            source_id = str(bases[0])
        enabled = name not in own.disabled_tools
        reason = None
        if tool.permission is not None and not {tool.permission, "admin"} & ctx.permissions:
            reason = "denied"
        elif kind == "skill" and not covered(ctx, "skills"):
            reason = "tier"
        elif not tool.available:
            reason = "not_connected" if tool.service else "source_down"
        asks = tool.confirmation or (tool.effect != "read" and own.confirm_writes and ctx.surface == SURFACE)
        found.append(OfferedTool(tool, enabled, reason is None, reason, asks, kind, source_id))
    return found


def skills_of(ctx: Ctx, agent: Agent) -> Sequence[Skill]:
    """The installed skills that an agent has, as far as its owner may still use them."""
    found = _owners(agent, _skills(ctx, [agent]))
    return found if found and covered(ctx, "skills") else ()


def _one(ctx: Ctx, key: str, surface: str | None = None) -> tuple[Agent, Held]:
    """One of those that `list_offered` names. Raises `NotFound`, `Forbidden` (denied)."""
    agent = find_agent(ctx, key)
    others = agent.visibility == "private" and not agent.builtin and agent.owner_id != caller(ctx)
    if others or not builtin.offers(agent, surface or ctx.surface):
        raise NotFound("There is no such agent.")
    return agent, access.allowed(ctx, agent)


def _offered(ctx: Ctx, surface: str) -> list[Agent]:
    own = AgentRow.owner_id == caller(ctx)
    made = catalogue.made(ctx, visible(ctx), (AgentRow.visibility != "private") | own)
    return [agent for agent in [*builtin.agents().values(), *made] if builtin.offers(agent, surface)]


def _shown(ctx: Ctx, agent: Agent, held: Held, own: OwnSettings, skills: Sequence[Skill]) -> OfferedAgent:
    names = _sources(ctx, agent, skills)
    working = {tool.service for name in names if (tool := tools.get(name)) is not None and tool.available}
    ready = working.issuperset(agent.required_services)
    tier = own.model_tier or held.model_tier
    return OfferedAgent(agent, own.enabled, tier, len(names), ready, not own.is_default)


def _sources(ctx: Ctx, agent: Agent, skills: Sequence[Skill]) -> dict[str, tuple[str, str | None]]:
    """The tools that an agent has on the caller's surface, and where each comes from: kind and id."""
    found: dict[str, tuple[str, str | None]] = dict.fromkeys(agent.tools, ("builtin", None))
    for skill in _owners(agent, skills):
        for name in skill.tools:
            found.setdefault(name, ("skill", str(skill.id)))
    if agent.knowledge_base_ids:
        found.setdefault("search_documents", ("knowledge", str(agent.knowledge_base_ids[0])))
    return {name: source for name, source in found.items() if _there(tools.get(name), ctx.surface)}


def _there(tool: Tool | None, surface: str | None) -> bool:
    return tool is not None and (surface is None or not tool.surfaces or surface in tool.surfaces)


def _skills(ctx: Ctx, agents: Collection[Agent]) -> Sequence[Skill]:
    """All skills of these agents, by name."""
    ids = {skill_id for agent in agents for skill_id in agent.skill_ids}
    return ctx.session.scalars(select(Skill).where(Skill.id.in_(ids)).order_by(Skill.name)).all() if ids else ()


def _owners(agent: Agent, skills: Sequence[Skill]) -> Sequence[Skill]:
    """Of these skills the agent's, as far as its owner may use them."""
    return [
        skill
        for skill in skills
        if skill.id in agent.skill_ids and (skill.visibility == "organisation" or skill.installed_by == agent.owner_id)
    ]


def _of(user_id: UUID, key: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return AgentSetting.user_id == user_id, AgentSetting.agent_key == key


def _write(ctx: Ctx, user_id: UUID, own: OwnSettings) -> OwnSettings:
    """Two who save at once do it one after the other."""
    now = ctx.now()
    given = {
        "enabled": own.enabled,
        "instructions": own.instructions,
        "model_tier": own.model_tier,
        "disabled_tools": list(own.disabled_tools),
        "confirm_writes": own.confirm_writes,
    }
    first = {"id": new_id(), "organisation_id": ctx.organisation, "user_id": user_id, "agent_key": own.agent}
    ctx.session.execute(
        insert(AgentSetting).on_conflict_do_nothing(), [first | given | {"created_at": now, "updated_at": now}]
    )
    row = ctx.session.scalars(
        select(AgentSetting).where(*_of(user_id, own.agent)).with_for_update().execution_options(populate_existing=True)
    ).one()
    for name, value in given.items():
        setattr(row, name, value)
    row.updated_at = now
    ctx.session.flush()
    return _own(row)


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
