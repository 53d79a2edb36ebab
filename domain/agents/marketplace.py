"""The marketplace of agents: what organisations have published, for everybody to see and copy."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, or_, select

from domain import audit, identity
from domain.agents.definitions import _editable, agent_of, definition_of
from domain.agents.models import MarketplaceAgent
from domain.agents.people import caller
from domain.agents.spec import Agent
from domain.kernel.context import Ctx
from domain.kernel.errors import Forbidden, Unprocessable
from domain.kernel.pages import OffsetPage, Page

CATEGORIES = (
    "productivity", "writing", "research", "sales", "support", "legal", "finance", "hr", "engineering", "education",
    "other",
)  # fmt: skip


def publish_agent(
    ctx: Ctx,
    agent_id: UUID,
    *,
    category: str,
    tagline: str,
    tags: Sequence[str] = (),
    share_instructions: bool = False,
) -> Agent:
    """Put an agent as it is now into the marketplace; again: as its next version. Knowledge bases, services and groups
    stay behind. Raises `NotFound`, `Forbidden` (not its owner), `Unprocessable` (no description)."""
    row = _editable(ctx, agent_id)
    if row.owner_id != caller(ctx):
        raise Forbidden("Only its owner may publish an agent.")
    if row.instructions_hidden:
        raise Forbidden("A copy whose instructions are not yours to read cannot be published.")
    if not (row.description or "").strip():
        raise Unprocessable("An agent needs a description before it is published.", field="description")
    definition = definition_of(row) | {"knowledge_base_ids": [], "skill_ids": [], "group_ids": [], "guardrails": {}}
    publisher = identity.get_organisation(ctx).name[:200]
    published = ctx.session.get(MarketplaceAgent, agent_id)
    if published is None:
        published = MarketplaceAgent(id=agent_id, publisher_id=ctx.organisation, version=0, copies=0)
        ctx.session.add(published)
    published.publisher_name = publisher
    published.name, published.description = row.name, row.description
    published.tagline, published.category, published.tags = tagline, category, list(dict.fromkeys(tags))[:10]
    published.avatar_url, published.starter_prompts = row.avatar_url, row.starter_prompts
    published.share_instructions, published.definition = share_instructions, definition
    published.version += 1
    published.published_at = ctx.now()
    ctx.session.flush()
    audit.record(
        ctx,
        "agent.publish",
        resource_type="agent",
        resource_id=agent_id,
        details={"version": published.version, "category": category},
    )
    return agent_of(row, published)


def list_marketplace(
    ctx: Ctx,
    *,
    category: str | None = None,
    search: str | None = None,
    sort: str = "popular",
    page: OffsetPage | None = None,
) -> Page[MarketplaceAgent]:
    """Published agents of every organisation, with their `total`. Anybody may look; instructions are not among it."""
    page = page or OffsetPage()
    query = select(MarketplaceAgent)
    if category is not None:
        query = query.where(MarketplaceAgent.category == category)
    if search is not None:
        columns = (MarketplaceAgent.name, MarketplaceAgent.tagline, MarketplaceAgent.description)
        query = query.where(or_(*(column.icontains(search, autoescape=True) for column in columns)))
    total = ctx.session.scalar(query.with_only_columns(func.count(MarketplaceAgent.id))) or 0
    order = {
        "newest": (MarketplaceAgent.published_at.desc(), MarketplaceAgent.id),
        "name": (func.lower(MarketplaceAgent.name), MarketplaceAgent.id),
    }.get(sort, (MarketplaceAgent.copies.desc(), MarketplaceAgent.id))
    rows = ctx.session.scalars(query.order_by(*order).limit(page.limit).offset(page.offset)).all()
    return Page(rows, total=total)
