"""Who may use which agent: what the four tiers set, and what comes of it for one user. `overrides` has the settings of
single users over all agents."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from domain import audit
from domain.agents import builtin, catalogue, rules, tiers
from domain.agents.models import PlatformAgentSetting
from domain.agents.people import Group, caller, directory, groups_of
from domain.agents.rules import Effective
from domain.agents.spec import Agent
from domain.kernel.context import Ctx
from domain.kernel.errors import Forbidden, Invalid, NotFound
from domain.kernel.pages import OffsetPage, Page


@dataclass(frozen=True, slots=True)
class PlatformAgent:
    agent: Agent
    access: str
    model_tier: str
    max_iterations: int
    timeout_seconds: int
    organisation_overrides: int
    updated_at: datetime | None
    updated_by: UUID | None


@dataclass(frozen=True, slots=True)
class ManagedAgent:
    """An agent as one tier sets it. `inherited` is what would hold without that."""

    agent: Agent
    tier: str
    access: str
    model_tier: str | None
    inherited: Effective
    effective: Effective
    updated_at: datetime | None
    updated_by: UUID | None


@dataclass(frozen=True, slots=True)
class UserAgent:
    """An agent as every tier sets it for one user. `groups` are those of the user, by name."""

    agent: Agent
    effective: Effective
    platform: str
    organisation: str
    groups: tuple[tuple[Group, str], ...]
    user: str
    updated_at: datetime | None
    updated_by: UUID | None


@dataclass(frozen=True, slots=True)
class Held:
    """What holds for one user and agent: whether it may be used, and how it runs."""

    effective: Effective
    model_tier: str
    max_iterations: int
    timeout_seconds: int


# --- for those who use agents ---------------------------------------------------------------------------


def held(ctx: Ctx, agents: Collection[Agent], user_id: UUID | None) -> dict[str, Held]:
    """What the tiers say of each of `agents` for a user (None: a program of the organisation), by key."""
    groups = {group.id for group in groups_of(ctx, user_id)}
    read = tiers.read(ctx, [a.key for a in agents], groups=groups, users=[] if user_id is None else [user_id])
    result = {}
    for agent in agents:
        organisation, setting = read.row(agent.key, "organisation"), read.platform.get(agent.key)
        result[agent.key] = Held(
            rules.effective(read.said(agent.key, groups, user_id)),
            rules.first(
                None if organisation is None else organisation.model_tier,
                None if setting is None else setting.model_tier,
                agent.tier,
            )
            or "medium",
            (setting and setting.max_iterations) or agent.max_iterations,
            (setting and setting.timeout_seconds) or agent.timeout_seconds,
        )
    return result


def allowed(ctx: Ctx, agent: Agent, user_id: UUID | None = None) -> Held:
    """What holds for the caller. Raises `Forbidden` when the agent is denied to them (facts `reason`: `agent_denied`,
    `decided_by`: the tier)."""
    found = held(ctx, [agent], user_id or caller(ctx))[agent.key]
    if not found.effective.allowed:
        decider = found.effective.decided_by
        raise Forbidden("This agent is not available to you.", reason="agent_denied", decided_by=decider)
    return found


# --- for superadmins and administrators -----------------------------------------------------------------


def list_platform_agents(
    ctx: Ctx,
    *,
    search: str | None = None,
    category: str | None = None,
    access: str | None = None,
    page: OffsetPage | None = None,
) -> Page[PlatformAgent]:
    """Every agent of the platform with what holds where nobody says otherwise, by key."""
    agents = catalogue.platform(search, category)
    settings = tiers.read(ctx, [a.key for a in agents]).platform
    rows = [_platform_agent(agent, settings.get(agent.key)) for agent in agents]
    return _paged([row for row in rows if access in (None, row.access)], page)


def set_platform_agent(
    ctx: Ctx,
    key: str,
    *,
    access: str,
    model_tier: str | None = None,
    max_iterations: int | None = None,
    timeout_seconds: int | None = None,
) -> PlatformAgent:
    """Set what holds for every organisation without a setting of its own; what is left out goes back to the agent's
    own. Raises `NotFound`, `Invalid`."""
    agent = builtin.agents().get(key)
    if agent is None:
        raise NotFound("There is no such agent.")
    if access not in ("allow", "deny"):
        raise Invalid("access: allow or deny.")
    values: dict[str, Any] = {
        "access": access,
        "model_tier": model_tier,
        "max_iterations": max_iterations,
        "timeout_seconds": timeout_seconds,
    }
    written = values | {"updated_by": caller(ctx), "updated_at": ctx.now()}
    ctx.session.execute(
        insert(PlatformAgentSetting)
        .values(agent_key=key, overrides=0, **written)
        .on_conflict_do_update(index_elements=["agent_key"], set_=written)
    )
    audit.record(ctx, "agent.platform_update", resource_type="agent", resource_id=key, details=values)
    return _platform_agent(agent, ctx.session.get(PlatformAgentSetting, key, populate_existing=True))


def list_managed_agents(
    ctx: Ctx,
    *,
    organisation_id: UUID | None = None,
    group_id: UUID | None = None,
    search: str | None = None,
    category: str | None = None,
    access: str | None = None,
    page: OffsetPage | None = None,
) -> Page[ManagedAgent]:
    """Agents as the organisation sets them, or one of its groups, by key. Raises `NotFound` (no such group; an
    `organisation_id` that is not the caller's)."""
    _inside(ctx, organisation_id, group_id)
    rows = _managed(ctx, catalogue.everything(ctx, search, category), group_id)
    return _paged([row for row in rows if access in (None, row.access)], page)


def set_organisation_agent(
    ctx: Ctx, key: str, *, access: str, model_tier: str | None = None, organisation_id: UUID | None = None
) -> ManagedAgent:
    """Raises `NotFound` (no such agent; an `organisation_id` that is not the caller's), `Invalid`."""
    _inside(ctx, organisation_id)
    agent = catalogue.find(ctx, key)
    before = tiers.write(ctx, "organisation", None, key, access, model_tier=model_tier)
    step = (access != "inherit") - (before != "inherit")
    if step and agent.builtin:
        tiers.count_override(ctx, key, step)
    details = {"access": access, "before": before, "model_tier": model_tier}
    audit.record(ctx, "agent.organization_update", resource_type="agent", resource_id=key, details=details)
    return _managed(ctx, [agent], None)[0]


def set_group_agent(
    ctx: Ctx,
    group_id: UUID,
    key: str,
    *,
    access: str,
    reason: str | None = None,
    organisation_id: UUID | None = None,
) -> ManagedAgent:
    """Raises `NotFound` (no such group or agent; an `organisation_id` that is not the caller's), `Invalid`."""
    _inside(ctx, organisation_id, group_id)
    agent = catalogue.find(ctx, key)
    before = tiers.write(ctx, "group", group_id, key, access, reason=reason)
    details = {"access": access, "before": before, "group_id": str(group_id), "reason": reason}
    audit.record(ctx, "agent.group_update", resource_type="agent", resource_id=key, details=details)
    return _managed(ctx, [agent], group_id)[0]


def list_user_agents(
    ctx: Ctx,
    user_id: UUID,
    *,
    search: str | None = None,
    category: str | None = None,
    allowed: bool | None = None,
    page: OffsetPage | None = None,
) -> Page[UserAgent]:
    """The agents that the platform has and that are shared with a user, with what all four tiers say and what comes of
    it, by key. Raises `NotFound` (no such member)."""
    _member(ctx, user_id)
    groups = groups_of(ctx, user_id)
    agents = catalogue.everything(ctx, search, category, seen_by=[group.id for group in groups])
    rows = _for_user(ctx, agents, user_id, groups)
    return _paged([row for row in rows if allowed in (None, row.effective.allowed)], page)


def set_user_agent(ctx: Ctx, user_id: UUID, key: str, *, access: str, reason: str | None = None) -> UserAgent:
    """Raises `NotFound` (no such member or agent), `Invalid`."""
    _member(ctx, user_id)
    agent = catalogue.find(ctx, key)
    before = tiers.write(ctx, "user", user_id, key, access, reason=reason)
    details = {"access": access, "before": before, "user_id": str(user_id), "reason": reason}
    audit.record(ctx, "agent.user_update", resource_type="agent", resource_id=key, details=details)
    return _for_user(ctx, [agent], user_id, groups_of(ctx, user_id))[0]


# --- below ----------------------------------------------------------------------------------------------


def _platform_agent(agent: Agent, row: PlatformAgentSetting | None) -> PlatformAgent:
    row = row or PlatformAgentSetting(agent_key=agent.key, overrides=0)
    return PlatformAgent(
        agent,
        row.access or "allow",
        row.model_tier or agent.tier or "medium",
        row.max_iterations or agent.max_iterations,
        row.timeout_seconds or agent.timeout_seconds,
        row.overrides or 0,
        row.updated_at,
        row.updated_by,
    )


def _managed(ctx: Ctx, agents: Sequence[Agent], group_id: UUID | None) -> list[ManagedAgent]:
    groups = [] if group_id is None else [group_id]
    tier: rules.Tier = "organisation" if group_id is None else "group"
    read = tiers.read(ctx, [agent.key for agent in agents], groups=groups)
    result = []
    for agent in agents:
        said, row = read.said(agent.key, groups), read.row(agent.key, tier, group_id)
        result.append(
            ManagedAgent(
                agent, tier, row.access if row else "inherit", row.model_tier if row else None,
                rules.effective(said, without=tier), rules.effective(said),
                row.updated_at if row else None, row.updated_by if row else None,
            )
        )  # fmt: skip
    return result


def _for_user(ctx: Ctx, agents: Sequence[Agent], user_id: UUID, groups: Sequence[Group]) -> list[UserAgent]:
    ids = {group.id for group in groups}
    read = tiers.read(ctx, [agent.key for agent in agents], groups=ids, users=[user_id])
    result = []
    for agent in agents:
        said, row = read.said(agent.key, ids, user_id), read.row(agent.key, "user", user_id)
        each = {r.subject_id: r.access for r in read.rows.get((agent.key, "group"), ())}
        result.append(
            UserAgent(
                agent, rules.effective(said), said.platform or "allow", said.organisation,
                tuple((group, each.get(group.id, "inherit")) for group in groups), said.user,
                row.updated_at if row else None, row.updated_by if row else None,
            )
        )  # fmt: skip
    return result


def _inside(ctx: Ctx, organisation_id: UUID | None, group_id: UUID | None = None) -> None:
    if organisation_id not in (None, ctx.organisation):
        raise NotFound("There is no such organisation.")
    if group_id is not None and group_id not in directory().groups(ctx, [group_id]):
        raise NotFound("There is no such group.")


def _member(ctx: Ctx, user_id: UUID) -> None:
    if user_id not in directory().people(ctx, [user_id]):
        raise NotFound("There is no such user.")


def _paged(rows: Sequence[Any], page: OffsetPage | None) -> Page[Any]:
    page = page or OffsetPage(limit=100)
    return Page(rows[page.offset : page.offset + page.limit], total=len(rows))
