"""Who may use which agent: what the four tiers set, and what comes of it for one user."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from domain import audit
from domain.agents import builtin, rules
from domain.agents.models import AgentAccess, AgentRow, PlatformAgentSetting
from domain.agents.people import Group, Person, caller, directory, groups_of
from domain.agents.rules import Effective, Settings
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
    """An agent as every tier sets it for one user."""

    agent: Agent
    effective: Effective
    platform: str
    organisation: str
    groups: tuple[tuple[Group, str], ...]
    user: str
    updated_at: datetime | None
    updated_by: UUID | None


@dataclass(frozen=True, slots=True)
class Override:
    """A setting of one user's own; `without` is what would hold for them without it."""

    user_id: UUID
    person: Person | None
    agent: Agent
    access: str
    without: Effective
    reason: str | None
    updated_at: datetime
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
    keys = [agent.key for agent in agents]
    platform = _platform(ctx, keys)
    groups = groups_of(ctx, user_id)
    rows = _rows(ctx, keys, groups=[g.id for g in groups], users=[] if user_id is None else [user_id])
    result = {}
    for agent in agents:
        own = [row for row in rows if row.agent_key == agent.key]
        said = _said(platform.get(agent.key), own)
        tiers = {row.tier: row.model_tier for row in own}
        setting = platform.get(agent.key)
        result[agent.key] = Held(
            rules.effective(said),
            rules.first(
                tiers.get("user"),
                tiers.get("group"),
                tiers.get("organisation"),
                setting.model_tier if setting is not None else None,
            )
            or agent.tier
            or "medium",
            (setting and setting.max_iterations) or agent.max_iterations,
            (setting and setting.timeout_seconds) or agent.timeout_seconds,
        )
    return result


def allowed(ctx: Ctx, agent: Agent, user_id: UUID | None = None) -> Held:
    """What holds for the caller. Raises `Forbidden` when the agent is denied to them."""
    found = held(ctx, [agent], user_id or caller(ctx))[agent.key]
    if not found.effective.allowed:
        raise Forbidden("This agent is not available to you.", decided_by=found.effective.decided_by)
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
    """Every agent of the platform with what holds where nobody says otherwise, by name."""
    agents = _catalogue(ctx, search, category, custom=False)
    settings = _platform(ctx, [a.key for a in agents])
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
    """Set what holds for every organisation without a setting of its own; what is left out goes back to its default.
    Raises `NotFound`, `Invalid`."""
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
        "updated_by": caller(ctx),
        "updated_at": ctx.now(),
    }
    ctx.session.execute(
        insert(PlatformAgentSetting)
        .values(agent_key=key, overrides=0, **values)
        .on_conflict_do_update(index_elements=["agent_key"], set_=values)
    )
    audit.record(ctx, "agent.platform_update", resource_type="agent", resource_id=key, details={"access": access})
    row = ctx.session.get(PlatformAgentSetting, key, populate_existing=True)
    return _platform_agent(agent, row)


def list_managed_agents(
    ctx: Ctx,
    *,
    group_id: UUID | None = None,
    search: str | None = None,
    category: str | None = None,
    access: str | None = None,
    page: OffsetPage | None = None,
) -> Page[ManagedAgent]:
    """Agents as the organisation sets them, or one of its groups, by name. Raises `NotFound` (no such group)."""
    _group(ctx, group_id)
    agents = _catalogue(ctx, search, category)
    rows = _managed(ctx, agents, group_id)
    return _paged([row for row in rows if access in (None, row.access)], page)


def set_organisation_agent(ctx: Ctx, key: str, *, access: str, model_tier: str | None = None) -> ManagedAgent:
    """Raises `NotFound`, `Invalid`."""
    agent = _known(ctx, key)
    before = _own_access(ctx, "organisation", None, key)
    _set(ctx, "organisation", None, key, access, model_tier, None)
    _count_override(ctx, key, before in ("allow", "deny"), access in ("allow", "deny"))
    audit.record(ctx, "agent.organization_update", resource_type="agent", resource_id=key, details={"access": access})
    return _managed(ctx, [agent], None)[0]


def set_group_agent(ctx: Ctx, group_id: UUID, key: str, *, access: str, reason: str | None = None) -> ManagedAgent:
    """Raises `NotFound` (no such group or agent), `Invalid`."""
    _group(ctx, group_id)
    agent = _known(ctx, key)
    _set(ctx, "group", group_id, key, access, None, reason)
    audit.record(
        ctx,
        "agent.group_update",
        resource_type="agent",
        resource_id=key,
        details={"access": access, "group_id": str(group_id), "reason": reason},
    )
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
    """Every agent with what all four tiers say for a user, and what comes of it, by name."""
    _member(ctx, user_id)
    rows = _for_user(ctx, _catalogue(ctx, search, category), user_id)
    return _paged([row for row in rows if allowed in (None, row.effective.allowed)], page)


def set_user_agent(ctx: Ctx, user_id: UUID, key: str, *, access: str, reason: str | None = None) -> UserAgent:
    """Raises `NotFound` (no such member or agent), `Invalid`."""
    _member(ctx, user_id)
    agent = _known(ctx, key)
    _set(ctx, "user", user_id, key, access, None, reason)
    audit.record(
        ctx,
        "agent.user_update",
        resource_type="agent",
        resource_id=key,
        details={"access": access, "user_id": str(user_id), "reason": reason},
    )
    return _for_user(ctx, [agent], user_id)[0]


def list_overrides(
    ctx: Ctx, *, agent: str | None = None, access: str | None = None, page: OffsetPage | None = None
) -> Page[Override]:
    """Every setting that holds for one user alone, by user and agent."""
    query = select(AgentAccess).where(AgentAccess.tier == "user", AgentAccess.access != "inherit")
    if agent is not None:
        query = query.where(AgentAccess.agent_key == agent)
    if access is not None:
        query = query.where(AgentAccess.access == access)
    rows = ctx.session.scalars(query.order_by(AgentAccess.subject_id, AgentAccess.agent_key).limit(10_000)).all()
    return _paged(_overrides(ctx, rows), page)


def search_overrides(
    ctx: Ctx, words: str, *, agent: str | None = None, page: OffsetPage | None = None
) -> Page[tuple[Person, Sequence[Override]]]:
    """Members by name or address, each with the settings of their own."""
    people = directory().search(ctx, words, page or OffsetPage())
    ids = [person.id for person in people.items]
    query = select(AgentAccess).where(
        AgentAccess.tier == "user", AgentAccess.access != "inherit", AgentAccess.subject_id.in_(ids)
    )
    if agent is not None:
        query = query.where(AgentAccess.agent_key == agent)
    found = _overrides(ctx, ctx.session.scalars(query.order_by(AgentAccess.agent_key)).all()) if ids else []
    return Page([(person, [o for o in found if o.user_id == person.id]) for person in people.items], total=people.total)


# --- below ----------------------------------------------------------------------------------------------


def _catalogue(ctx: Ctx, search: str | None, category: str | None, *, custom: bool = True) -> list[Agent]:
    """What settings can be made for: the platform's own and, for an organisation, those its people share."""
    from domain.agents.definitions import agent_of

    agents = list(builtin.agents().values())
    if custom:
        rows = ctx.session.scalars(select(AgentRow).where(AgentRow.visibility != "private").limit(2000))
        agents += [agent_of(row) for row in rows]
    words = (search or "").lower()
    return sorted(
        (
            agent
            for agent in agents
            if words in f"{agent.key} {agent.name} {agent.description}".lower() and category in (None, agent.category)
        ),
        key=lambda agent: agent.key,
    )


def _known(ctx: Ctx, key: str) -> Agent:
    found = [agent for agent in _catalogue(ctx, None, None) if agent.key == key]
    if not found:
        raise NotFound("There is no such agent.")
    return found[0]


def _platform(ctx: Ctx, keys: Sequence[str]) -> Mapping[str, PlatformAgentSetting]:
    rows = ctx.session.scalars(select(PlatformAgentSetting).where(PlatformAgentSetting.agent_key.in_(keys)))
    return {row.agent_key: row for row in rows}


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


def _rows(
    ctx: Ctx, keys: Sequence[str], *, groups: Collection[UUID] = (), users: Collection[UUID] = ()
) -> Sequence[AgentAccess]:
    subjects = [*groups, *users]
    return ctx.session.scalars(
        select(AgentAccess).where(
            AgentAccess.agent_key.in_(keys),
            (AgentAccess.tier == "organisation") | AgentAccess.subject_id.in_(subjects),
        )
    ).all()


def _said(platform: PlatformAgentSetting | None, rows: Sequence[AgentAccess]) -> Settings:
    return Settings(
        platform=platform.access if platform else None,
        organisation=next((r.access for r in rows if r.tier == "organisation"), "inherit"),
        groups=tuple(r.access for r in rows if r.tier == "group"),
        user=next((r.access for r in rows if r.tier == "user"), "inherit"),
    )


def _managed(ctx: Ctx, agents: Sequence[Agent], group_id: UUID | None) -> list[ManagedAgent]:
    keys = [agent.key for agent in agents]
    platform = _platform(ctx, keys)
    rows = _rows(ctx, keys, groups=[] if group_id is None else [group_id])
    tier: rules.Tier = "organisation" if group_id is None else "group"
    result = []
    for agent in agents:
        own = [r for r in rows if r.agent_key == agent.key]
        said = _said(platform.get(agent.key), own)
        row = next((r for r in own if r.tier == tier), None)
        result.append(
            ManagedAgent(
                agent, tier, row.access if row else "inherit", row.model_tier if row else None,
                rules.effective(said, without=tier), rules.effective(said),
                row.updated_at if row else None, row.updated_by if row else None,
            )
        )  # fmt: skip
    return result


def _for_user(ctx: Ctx, agents: Sequence[Agent], user_id: UUID) -> list[UserAgent]:
    keys = [agent.key for agent in agents]
    platform = _platform(ctx, keys)
    groups = groups_of(ctx, user_id)
    rows = _rows(ctx, keys, groups=[g.id for g in groups], users=[user_id])
    result = []
    for agent in agents:
        own = [r for r in rows if r.agent_key == agent.key]
        said = _said(platform.get(agent.key), own)
        row = next((r for r in own if r.tier == "user"), None)
        each = tuple((group, next((r.access for r in own if r.subject_id == group.id), "inherit")) for group in groups)
        result.append(
            UserAgent(
                agent, rules.effective(said), said.platform or "allow", said.organisation, each, said.user,
                row.updated_at if row else None, row.updated_by if row else None,
            )
        )  # fmt: skip
    return result


def _overrides(ctx: Ctx, rows: Sequence[AgentAccess]) -> list[Override]:
    if not rows:
        return []
    agents = {agent.key: agent for agent in _catalogue(ctx, None, None)}
    people = directory().people(ctx, {r.subject_id for r in rows if r.subject_id is not None})
    keys = list({row.agent_key for row in rows})
    platform = _platform(ctx, keys)
    wide = _rows(ctx, keys)
    groups = {user: groups_of(ctx, user) for user in {r.subject_id for r in rows if r.subject_id is not None}}
    by_group = _rows(ctx, keys, groups={g.id for found in groups.values() for g in found})
    result = []
    for row in rows:
        agent = agents.get(row.agent_key)
        if agent is None or row.subject_id is None:
            continue
        said = _said(platform.get(row.agent_key), [r for r in wide if r.agent_key == row.agent_key])
        mine = {g.id for g in groups[row.subject_id]}
        theirs = tuple(r.access for r in by_group if r.agent_key == row.agent_key and r.subject_id in mine)
        without = rules.effective(replace(said, groups=theirs))
        result.append(
            Override(
                row.subject_id, people.get(row.subject_id), agent, row.access, without, row.reason, row.updated_at,
                row.updated_by,
            )
        )  # fmt: skip
    return result


def _own_access(ctx: Ctx, tier: str, subject: UUID | None, key: str) -> str | None:
    return ctx.session.scalars(
        select(AgentAccess.access).where(
            AgentAccess.tier == tier, AgentAccess.subject_id.is_not_distinct_from(subject), AgentAccess.agent_key == key
        )
    ).one_or_none()


def _set(
    ctx: Ctx, tier: str, subject: UUID | None, key: str, access: str, model_tier: str | None, reason: str | None
) -> None:
    if access not in rules.ACCESS:
        raise Invalid("access: allow, deny or inherit.")
    if model_tier is not None and model_tier not in rules.MODEL_TIERS:
        raise Invalid("model_tier: fast, medium or large.")
    row = ctx.session.scalars(
        select(AgentAccess)
        .where(AgentAccess.tier == tier, AgentAccess.agent_key == key)
        .where(AgentAccess.subject_id.is_not_distinct_from(subject))
        .with_for_update()
    ).one_or_none()
    if row is None:
        row = AgentAccess(tier=tier, subject_id=subject, agent_key=key)
        ctx.session.add(row)
    row.access, row.model_tier, row.reason = access, model_tier, reason
    row.updated_by, row.updated_at = caller(ctx), ctx.now()
    ctx.session.flush()


def _count_override(ctx: Ctx, key: str, before: bool, after: bool) -> None:
    if before == after or key not in builtin.agents():
        return
    step = 1 if after else -1
    ctx.session.execute(
        insert(PlatformAgentSetting)
        .values(agent_key=key, overrides=max(step, 0))
        .on_conflict_do_update(index_elements=["agent_key"], set_={"overrides": PlatformAgentSetting.overrides + step})
    )


def _group(ctx: Ctx, group_id: UUID | None) -> None:
    if group_id is not None and group_id not in directory().groups(ctx, [group_id]):
        raise NotFound("There is no such group.")


def _member(ctx: Ctx, user_id: UUID) -> None:
    if user_id not in directory().people(ctx, [user_id]):
        raise NotFound("There is no such user.")


def _paged(rows: Sequence[Any], page: OffsetPage | None) -> Page[Any]:
    page = page or OffsetPage(limit=100)
    return Page(rows[page.offset : page.offset + page.limit], total=len(rows))
