"""agent-access."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_platform_agents(
    ctx: Ctx, page: OffsetPage, search: str | None = None, category: str | None = None, access: str | None = None
) -> responses.PlatformAgentPage:
    """List the agents of the platform."""
    raise not_implemented()


def update_platform_agent(ctx: Ctx, agent_name: str, body: requests.PlatformAgentUpdate) -> responses.PlatformAgent:
    """Set an agent for the whole platform."""
    raise not_implemented()


def list_organization_agents(
    ctx: Ctx,
    org_id: UUID,
    page: OffsetPage,
    search: str | None = None,
    category: str | None = None,
    access: str | None = None,
) -> responses.ManagedAgentPage:
    """List the agents of an organisation."""
    raise not_implemented()


def update_organization_agent(
    ctx: Ctx, org_id: UUID, agent_name: str, body: requests.OrganizationAgentUpdate
) -> responses.ManagedAgent:
    """Set an agent for an organisation."""
    raise not_implemented()


def list_group_agents(
    ctx: Ctx,
    org_id: UUID,
    group_id: UUID,
    page: OffsetPage,
    search: str | None = None,
    category: str | None = None,
    access: str | None = None,
) -> responses.ManagedAgentPage:
    """List the agents of a group."""
    raise not_implemented()


def update_group_agent(
    ctx: Ctx, org_id: UUID, group_id: UUID, agent_name: str, body: requests.AgentAccessUpdate
) -> responses.ManagedAgent:
    """Set an agent for a group."""
    raise not_implemented()


def list_user_agents(
    ctx: Ctx,
    user_id: UUID,
    page: OffsetPage,
    search: str | None = None,
    category: str | None = None,
    allowed: bool | None = None,
) -> responses.UserAgentAccessPage:
    """List the agents of a user."""
    raise not_implemented()


def update_user_agent(
    ctx: Ctx, user_id: UUID, agent_name: str, body: requests.AgentAccessUpdate
) -> responses.UserAgentAccess:
    """Set an agent for a user."""
    raise not_implemented()


def search_agent_overrides(
    ctx: Ctx, q: str, page: OffsetPage, agent_name: str | None = None
) -> responses.UserOverrideMatchPage:
    """Search users and their agent settings."""
    raise not_implemented()


def list_agent_overrides(
    ctx: Ctx, page: OffsetPage, agent_name: str | None = None, access: str | None = None
) -> responses.UserAgentOverridePage:
    """List agent settings of single users."""
    raise not_implemented()
