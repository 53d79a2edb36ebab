"""marketplace."""

from __future__ import annotations

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import responses
from thalweg.edge.problem import not_implemented


def list_marketplace_agents(
    ctx: Ctx, sort: str, page: OffsetPage, category: str | None = None, q: str | None = None
) -> responses.MarketplaceAgentPage:
    """Browse public agents."""
    raise not_implemented()


def list_marketplace_knowledge_bases(
    ctx: Ctx, sort: str, page: OffsetPage, q: str | None = None, language: str | None = None
) -> responses.MarketplaceKnowledgeBasePage:
    """Browse public knowledge bases."""
    raise not_implemented()


def list_marketplace_skills(
    ctx: Ctx, sort: str, page: OffsetPage, category: str | None = None, q: str | None = None
) -> responses.MarketplaceSkillPage:
    """Browse public skills."""
    raise not_implemented()
