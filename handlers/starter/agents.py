"""agents."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.starter import responses
from thalweg.edge.problem import not_implemented


def list_agents(ctx: Ctx) -> responses.ListAgentsResponse:
    """List the agents that can be talked to."""
    raise not_implemented()


def get_agent_status(ctx: Ctx, agent_name: str) -> responses.AgentStatus:
    """Ask how an agent is doing."""
    raise not_implemented()
