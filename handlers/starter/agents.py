"""Agents: those that can be talked to, and how they are doing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.starter import wire_conversations as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.starter import responses


def list_agents(ctx: Ctx) -> responses.ListAgentsResponse:
    return wire.agent_list(ctx)


def get_agent_status(ctx: Ctx, agent_name: str) -> responses.AgentStatus:
    return wire.agent_status(ctx, agent_name)
