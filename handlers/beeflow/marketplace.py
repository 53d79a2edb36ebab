"""marketplace: what others have published, for everybody to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain import agents, knowledge
from handlers.beeflow import wire_agents as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import responses


def list_marketplace_agents(
    ctx: Ctx, sort: str, page: OffsetPage, category: str | None = None, q: str | None = None
) -> responses.MarketplaceAgentPage:
    found = agents.list_marketplace(ctx, category=category, search=q, sort=sort, page=page)
    return wire.marketplace_agents(page, found)


def list_marketplace_knowledge_bases(
    ctx: Ctx, sort: str, page: OffsetPage, q: str | None = None, language: str | None = None
) -> responses.MarketplaceKnowledgeBasePage:
    found = knowledge.marketplace.list_public(ctx, search=q, language=language, sort=sort, page=page)
    return wire.marketplace_bases(page, found)


def list_marketplace_skills(
    ctx: Ctx, sort: str, page: OffsetPage, category: str | None = None, q: str | None = None
) -> responses.MarketplaceSkillPage:
    found = agents.skills.list_marketplace_skills(ctx, category=category, search=q, sort=sort, page=page)
    return wire.marketplace_skills(page, found)
