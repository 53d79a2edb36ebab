"""webpages: addresses that are crawled."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import knowledge
from handlers.beeflow import wire_knowledge as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Reply


def list_webpages(
    ctx: Ctx, page: OffsetPage, q: str | None = None, knowledge_base_id: UUID | None = None, status: str | None = None
) -> responses.WebpagePage:
    found = knowledge.webpages.list_webpages(ctx, page, search=q, collection_id=knowledge_base_id, state=status)
    return wire.webpage_page(ctx, page, found)


def add_webpage(ctx: Ctx, body: requests.WebpageCreate) -> Reply:
    added = knowledge.webpages.add(
        ctx,
        body.url,
        collection_id=body.knowledge_base_id,
        title=body.title,
        depth=body.depth,
        max_pages=body.max_pages,
        refresh=body.refresh,
        tags=body.tags or (),
    )
    return wire.added_webpage(ctx, added)


def get_webpage(ctx: Ctx, id: UUID) -> responses.Webpage:
    return wire.webpage(ctx, knowledge.webpages.get(ctx, id))


def delete_webpage(ctx: Ctx, id: UUID) -> None:
    knowledge.webpages.remove(ctx, id)
