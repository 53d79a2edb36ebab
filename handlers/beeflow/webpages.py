"""webpages."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def list_webpages(
    ctx: Ctx, page: OffsetPage, q: str | None = None, knowledge_base_id: UUID | None = None, status: str | None = None
) -> responses.WebpagePage:
    """List crawled webpages."""
    raise not_implemented()


def add_webpage(ctx: Ctx, body: requests.WebpageCreate) -> responses.Webpage:
    """Add an address to crawl."""
    raise not_implemented()


def get_webpage(ctx: Ctx, id: UUID) -> responses.Webpage:
    """Read a crawled webpage."""
    raise not_implemented()


def delete_webpage(ctx: Ctx, id: UUID) -> None:
    """Remove a crawled webpage."""
    raise not_implemented()
