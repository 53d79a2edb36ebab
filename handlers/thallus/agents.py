"""Agents as their users have them: which there are, what they can do, and one's own settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.agents import own_settings
from handlers.thallus import wire_agents as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.thallus import requests, responses


def list_agents(
    ctx: Ctx, page: OffsetPage, search: str | None = None, category: str | None = None
) -> responses.AgentPage:
    found = own_settings.list_offered(ctx, wire.SURFACE, search=search, category=category, page=page)
    return wire.agent_page(page, found)


def list_agent_tools(ctx: Ctx, agent_name: str) -> responses.AgentToolList:
    return wire.tools(own_settings.tools_of(ctx, agent_name))


def get_agent_settings(ctx: Ctx, agent_name: str) -> responses.AgentSettings:
    return wire.settings(own_settings.get_settings(ctx, agent_name))


def update_agent_settings(ctx: Ctx, agent_name: str, body: requests.AgentSettingsUpdate) -> responses.AgentSettings:
    saved = own_settings.save_settings(
        ctx,
        agent_name,
        enabled=body.enabled,
        instructions=body.instructions,
        model_tier=body.model_tier,
        disabled_tools=body.disabled_tools,
        confirm_writes=body.confirm_writes,
    )
    return wire.settings(saved)
