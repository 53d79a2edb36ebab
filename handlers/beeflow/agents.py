"""agents."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def list_agents(
    ctx: Ctx, page: OffsetPage, q: str | None = None, visibility: str | None = None, mine: bool | None = None
) -> responses.AgentPage:
    """List the agents that one can talk to."""
    raise not_implemented()


def create_agent(ctx: Ctx, body: requests.AgentCreate) -> responses.Agent:
    """Create an agent."""
    raise not_implemented()


def get_agent(ctx: Ctx, id: UUID) -> responses.Agent:
    """Read an agent."""
    raise not_implemented()


def update_agent(ctx: Ctx, id: UUID, body: requests.AgentUpdate) -> responses.Agent:
    """Change an agent."""
    raise not_implemented()


def delete_agent(ctx: Ctx, id: UUID) -> None:
    """Delete an agent."""
    raise not_implemented()


def publish_agent(ctx: Ctx, id: UUID, body: requests.AgentPublish) -> responses.Agent:
    """Publish an agent to the Marketplace."""
    raise not_implemented()


def duplicate_agent(ctx: Ctx, id: UUID, body: requests.AgentDuplicate | None) -> responses.Agent:
    """Copy an agent."""
    raise not_implemented()


def list_agent_tools(ctx: Ctx, id: UUID) -> responses.AgentTools:
    """List the tools an agent gets from the caller."""
    raise not_implemented()
