"""Who may use which agent: what platform, organisation, groups and users are set to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain.agents import access as tiers
from domain.agents import overrides
from handlers.thallus import wire_agents as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.thallus import requests, responses


def list_platform_agents(
    ctx: Ctx, page: OffsetPage, search: str | None = None, category: str | None = None, access: str | None = None
) -> responses.PlatformAgentPage:
    found = tiers.list_platform_agents(ctx, search=search, category=category, access=access, page=page)
    return wire.platform_page(ctx, page, found)


def update_platform_agent(ctx: Ctx, agent_name: str, body: requests.PlatformAgentUpdate) -> responses.PlatformAgent:
    changed = tiers.set_platform_agent(
        ctx,
        agent_name,
        access=body.access,
        model_tier=body.model_tier,
        max_iterations=body.max_iterations,
        timeout_seconds=body.timeout_seconds,
    )
    return wire.platform_agent(ctx, changed)


def list_organization_agents(
    ctx: Ctx,
    org_id: UUID,
    page: OffsetPage,
    search: str | None = None,
    category: str | None = None,
    access: str | None = None,
) -> responses.ManagedAgentPage:
    found = tiers.list_managed_agents(
        ctx, organisation_id=org_id, search=search, category=category, access=access, page=page
    )
    return wire.managed_page(ctx, page, found)


def update_organization_agent(
    ctx: Ctx, org_id: UUID, agent_name: str, body: requests.OrganizationAgentUpdate
) -> responses.ManagedAgent:
    changed = tiers.set_organisation_agent(
        ctx, agent_name, access=body.access, model_tier=body.model_tier, organisation_id=org_id
    )
    return wire.managed_agent(ctx, changed)


def list_group_agents(
    ctx: Ctx,
    org_id: UUID,
    group_id: UUID,
    page: OffsetPage,
    search: str | None = None,
    category: str | None = None,
    access: str | None = None,
) -> responses.ManagedAgentPage:
    found = tiers.list_managed_agents(
        ctx, organisation_id=org_id, group_id=group_id, search=search, category=category, access=access, page=page
    )
    return wire.managed_page(ctx, page, found)


def update_group_agent(
    ctx: Ctx, org_id: UUID, group_id: UUID, agent_name: str, body: requests.AgentAccessUpdate
) -> responses.ManagedAgent:
    changed = tiers.set_group_agent(
        ctx, group_id, agent_name, access=body.access, reason=body.reason, organisation_id=org_id
    )
    return wire.managed_agent(ctx, changed)


def list_user_agents(
    ctx: Ctx,
    user_id: UUID,
    page: OffsetPage,
    search: str | None = None,
    category: str | None = None,
    allowed: bool | None = None,
) -> responses.UserAgentAccessPage:
    found = tiers.list_user_agents(ctx, user_id, search=search, category=category, allowed=allowed, page=page)
    return wire.user_page(ctx, page, found)


def update_user_agent(
    ctx: Ctx, user_id: UUID, agent_name: str, body: requests.AgentAccessUpdate
) -> responses.UserAgentAccess:
    changed = tiers.set_user_agent(ctx, user_id, agent_name, access=body.access, reason=body.reason)
    return wire.user_agent(ctx, changed)


def search_agent_overrides(
    ctx: Ctx, q: str, page: OffsetPage, agent_name: str | None = None
) -> responses.UserOverrideMatchPage:
    return wire.match_page(ctx, page, overrides.search_overrides(ctx, q, agent=agent_name, page=page))


def list_agent_overrides(
    ctx: Ctx, page: OffsetPage, agent_name: str | None = None, access: str | None = None
) -> responses.UserAgentOverridePage:
    found = overrides.list_overrides(ctx, agent=agent_name, access=access, page=page)
    return wire.override_page(ctx, page, found)
