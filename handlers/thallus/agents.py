"""agents."""

from __future__ import annotations

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_agents(
    ctx: Ctx, page: OffsetPage, search: str | None = None, category: str | None = None
) -> responses.AgentPage:
    """List the agents that one may use."""
    raise not_implemented()


def list_agent_tools(ctx: Ctx, agent_name: str) -> responses.AgentToolList:
    """List the tools of an agent."""
    raise not_implemented()


def get_agent_settings(ctx: Ctx, agent_name: str) -> responses.AgentSettings:
    """Read one's settings of an agent."""
    raise not_implemented()


def update_agent_settings(ctx: Ctx, agent_name: str, body: requests.AgentSettingsUpdate) -> responses.AgentSettings:
    """Save one's settings of an agent."""
    raise not_implemented()
