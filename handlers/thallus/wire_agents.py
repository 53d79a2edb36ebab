"""Agents, their tools and settings, and who may use them, as Thallus shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from typing_extensions import TypedDict

from domain.identity import accounts, members
from handlers.wiring import page_of, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from domain.agents import Agent, Person
    from domain.agents.access import ManagedAgent, PlatformAgent, UserAgent
    from domain.agents.overrides import Override
    from domain.agents.own_settings import OfferedAgent, OfferedTool, OwnSettings
    from domain.agents.rules import Effective
    from domain.identity import Account
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage, Page
    from generated.thallus import responses

    Known = Mapping[UUID, Account]
    """Accounts by id: whoever is not among them is not shown."""


class Named(TypedDict, closed=True):
    """What every one of these says of an agent."""

    name: str
    display_name: str
    description: str
    category: Any


SURFACE = "thallus"
_CATEGORIES = ("general", "research", "data", "documents", "integrations", "workflows", "system")
_MOST_TOOLS, _MOST_GROUPS, _MOST_OVERRIDES = 200, 100, 200
_REASONS: Mapping[str, str] = {"source_down": "not_installed"}
"""The domain's words for why a tool cannot be used, where Thallus has its own."""


# --- for those who use agents ------------------------------------------------------------------------------------


def agent_page(page: OffsetPage, found: Page[OfferedAgent]) -> responses.AgentPage:
    return {
        "items": [_offered(each) for each in found.items],
        **page_of(found, page),
    }


def _offered(offered: OfferedAgent) -> responses.Agent:
    agent = offered.agent
    return {
        **_named(agent),
        "enabled": offered.enabled,
        "modes": cast("Any", list(agent.modes)),
        "model_tier": cast("Any", offered.model_tier),
        "tool_count": min(offered.tool_count, _MOST_TOOLS),
        "required_services": list(agent.required_services[:50]),
        "ready": offered.ready,
        "customized": offered.customised,
    }


def tools(found: Sequence[OfferedTool]) -> responses.AgentToolList:
    shown = found[:_MOST_TOOLS]
    return {"items": [_tool(each) for each in shown], "total": len(shown)}


def _tool(offered: OfferedTool) -> responses.AgentTool:
    tool, reason = offered.tool, offered.reason
    return {
        "name": tool.name,
        "display_name": tool.title,
        "description": tool.description,
        "effect": "read" if tool.effect == "read" else "write",
        "service": tool.service,
        "enabled": offered.enabled,
        "available": offered.available,
        "unavailable_reason": None if reason is None else cast("Any", _REASONS.get(reason, reason)),
        "requires_confirmation": offered.needs_confirmation,
        "input_schema": dict(tool.parameters),
    }


def settings(own: OwnSettings) -> responses.AgentSettings:
    return {
        "agent_name": own.agent,
        "enabled": own.enabled,
        "instructions": own.instructions,
        "model_tier": cast("Any", own.model_tier),
        "disabled_tools": list(own.disabled_tools),
        "confirm_writes": own.confirm_writes,
        "is_default": own.is_default,
        "updated_at": timestamp(own.updated_at),
    }


# --- for superadmins and administrators --------------------------------------------------------------------------


def platform_page(ctx: Ctx, page: OffsetPage, found: Page[PlatformAgent]) -> responses.PlatformAgentPage:
    known = _superadmins(ctx, found.items)
    return {
        "items": [_platform(each, known) for each in found.items],
        **page_of(found, page),
    }


def platform_agent(ctx: Ctx, held: PlatformAgent) -> responses.PlatformAgent:
    return _platform(held, _superadmins(ctx, [held]))


def _platform(held: PlatformAgent, known: Known) -> responses.PlatformAgent:
    return {
        **_named(held.agent),
        "access": cast("Any", held.access),
        "model_tier": cast("Any", held.model_tier),
        "max_iterations": held.max_iterations,
        "timeout_seconds": held.timeout_seconds,
        "tool_count": len(held.agent.tools),
        "organization_overrides": held.organisation_overrides,
        "updated_at": timestamp(held.updated_at),
        "updated_by": _user(known, held.updated_by),
    }


def managed_page(ctx: Ctx, page: OffsetPage, found: Page[ManagedAgent]) -> responses.ManagedAgentPage:
    known = _colleagues(ctx, found.items)
    return {
        "items": [_managed(each, known) for each in found.items],
        **page_of(found, page),
    }


def managed_agent(ctx: Ctx, held: ManagedAgent) -> responses.ManagedAgent:
    return _managed(held, _colleagues(ctx, [held]))


def _managed(held: ManagedAgent, known: Known) -> responses.ManagedAgent:
    return {
        **_named(held.agent),
        "tier": _tier(held.tier),
        "access": cast("Any", held.access),
        "model_tier": cast("Any", held.model_tier),
        "inherited": _effective(held.inherited),
        "effective": _effective(held.effective),
        "updated_at": timestamp(held.updated_at),
        "updated_by": _user(known, held.updated_by),
    }


def user_page(ctx: Ctx, page: OffsetPage, found: Page[UserAgent]) -> responses.UserAgentAccessPage:
    known = _colleagues(ctx, found.items)
    return {
        "items": [_for_user(each, known) for each in found.items],
        **page_of(found, page),
    }


def user_agent(ctx: Ctx, held: UserAgent) -> responses.UserAgentAccess:
    return _for_user(held, _colleagues(ctx, [held]))


def _for_user(held: UserAgent, known: Known) -> responses.UserAgentAccess:
    groups = sorted(held.groups, key=lambda said: said[1] == "inherit")[:_MOST_GROUPS]
    return {
        **_named(held.agent),
        "effective": _effective(held.effective),
        "platform": cast("Any", held.platform),
        "organization": cast("Any", held.organisation),
        "groups": [
            {"group_id": str(group.id), "group_name": group.name[:200], "access": cast("Any", said)}
            for group, said in groups
        ],
        "user": cast("Any", held.user),
        "updated_at": timestamp(held.updated_at),
        "updated_by": _user(known, held.updated_by),
    }


def match_page(
    ctx: Ctx, page: OffsetPage, found: Page[tuple[Person, Sequence[Override]]]
) -> responses.UserOverrideMatchPage:
    known = _colleagues(ctx, [each for _, own in found.items for each in own])
    return {
        "items": [
            {
                "user": _reference(person),
                "override_count": len(own),
                "overrides": [_override(each, known) for each in own[:_MOST_OVERRIDES]],
            }
            for person, own in found.items
        ],
        **page_of(found, page),
    }


def override_page(ctx: Ctx, page: OffsetPage, found: Page[Override]) -> responses.UserAgentOverridePage:
    known = _colleagues(ctx, found.items)
    return {
        "items": [_override(each, known) for each in found.items],
        **page_of(found, page),
    }


def _override(held: Override, known: Known) -> responses.UserAgentOverride:
    return {
        "user": _reference(held.person),
        "agent_name": held.agent.key,
        "agent_display_name": held.agent.name,
        "access": cast("Any", held.access),
        "without": _effective(held.without),
        "reason": held.reason,
        "updated_at": timestamp(held.updated_at),
        "updated_by": _user(known, held.updated_by),
    }


# --- below -------------------------------------------------------------------------------------------------------


def _named(agent: Agent) -> Named:
    return {
        "name": agent.key,
        "display_name": agent.name,
        "description": agent.description,
        "category": agent.category if agent.category in _CATEGORIES else "general",
    }


def _effective(held: Effective) -> responses.EffectiveAgentAccess:
    return {"allowed": held.allowed, "decided_by": _tier(held.decided_by)}


def _tier(name: str) -> Any:
    return "organization" if name == "organisation" else name


def _changers(held: Iterable[Any]) -> set[UUID]:
    return {each.updated_by for each in held if each.updated_by is not None}


def _colleagues(ctx: Ctx, held: Iterable[Any]) -> Known:
    """Who changed these, of those who are or were in the organisation."""
    changers = _changers(held)
    return members.people(ctx, changers) if changers else {}


def _superadmins(ctx: Ctx, held: Iterable[Any]) -> Known:
    """Who changed these. What holds for the platform is shown to those who run it, wherever they belong."""
    return accounts.get_many(ctx, _changers(held))


def _user(known: Known, user_id: UUID | None) -> responses.UserReference | None:
    account = None if user_id is None else known.get(user_id)
    return None if account is None or account.erased_at is not None else _reference(account)


def _reference(person: Person | Account) -> responses.UserReference:
    return {"id": str(person.id), "name": person.name[:200], "email": person.email}
