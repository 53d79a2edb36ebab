"""memories."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_memories(
    ctx: Ctx,
    sort: str,
    page: OffsetPage,
    category: str | None = None,
    source: str | None = None,
    min_importance: float | None = None,
    search: str | None = None,
) -> responses.MemoryPage:
    """List memories."""
    raise not_implemented()


def create_memory(ctx: Ctx, body: requests.MemoryCreate) -> responses.Memory:
    """Create a memory."""
    raise not_implemented()


def get_memory_stats(ctx: Ctx) -> responses.MemoryStats:
    """Read memory statistics."""
    raise not_implemented()


def get_memory(ctx: Ctx, memory_id: UUID) -> responses.Memory:
    """Read a memory."""
    raise not_implemented()


def update_memory(ctx: Ctx, memory_id: UUID, body: requests.MemoryUpdate) -> responses.Memory:
    """Change a memory."""
    raise not_implemented()


def delete_memory(ctx: Ctx, memory_id: UUID) -> None:
    """Delete a memory."""
    raise not_implemented()
