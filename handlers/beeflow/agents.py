"""agents: a model with instructions, knowledge, skills and tools."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import agents
from handlers.beeflow import wire_agents as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Reply


def list_agents(
    ctx: Ctx, page: OffsetPage, q: str | None = None, visibility: str | None = None, mine: bool | None = None
) -> responses.AgentPage:
    found = agents.list_agents(ctx, search=q, visibility=visibility, mine=mine, builtins=True, page=page)
    return wire.agent_page(ctx, page, found)


def create_agent(ctx: Ctx, body: requests.AgentCreate) -> Reply:
    return wire.created_agent(ctx, agents.create_agent(ctx, **wire.given(body)))


def get_agent(ctx: Ctx, id: UUID) -> responses.Agent:
    return wire.agent(ctx, agents.read_agent(ctx, id))


def update_agent(ctx: Ctx, id: UUID, body: requests.AgentUpdate) -> responses.Agent:
    return wire.agent(ctx, agents.update_agent(ctx, id, **wire.given(body)))


def delete_agent(ctx: Ctx, id: UUID) -> None:
    agents.delete_agent(ctx, id)


def publish_agent(ctx: Ctx, id: UUID, body: requests.AgentPublish) -> responses.Agent:
    published = agents.publish_agent(
        ctx,
        id,
        category=body.category,
        tagline=body.tagline,
        tags=body.tags or (),
        share_instructions=body.share_instructions,
    )
    return wire.agent(ctx, published)


def duplicate_agent(ctx: Ctx, id: UUID, body: requests.AgentDuplicate | None) -> Reply:
    return wire.created_agent(ctx, agents.duplicate_agent(ctx, id, name=None if body is None else body.name))


def list_agent_tools(ctx: Ctx, id: UUID) -> responses.AgentTools:
    agent = agents.get_agent(ctx, id)
    agents.access.allowed(ctx, agent)
    return wire.agent_tools(agent, agents.own_settings.tools_for(ctx, agent))
