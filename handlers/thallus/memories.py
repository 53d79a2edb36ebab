"""Memories: what is remembered about the caller, for the caller alone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import memory
from domain.identity import memberships
from handlers.thallus import wire_conversations as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.thallus import requests, responses
    from thalweg.edge.application import Reply


def list_memories(
    ctx: Ctx,
    sort: str,
    page: OffsetPage,
    category: str | None = None,
    source: str | None = None,
    min_importance: float | None = None,
    search: str | None = None,
) -> responses.MemoryPage:
    found = memory.list_memories(
        ctx,
        memberships.caller_id(ctx),
        category=category,
        source=source,
        min_importance=min_importance,
        search=search,
        vector=memory.meaning(search),
        sort=sort,
        page=page,
    )
    return wire.memory_page(page, found)


def create_memory(ctx: Ctx, body: requests.MemoryCreate) -> Reply:
    kept = memory.remember(
        ctx,
        memberships.caller_id(ctx),
        body.content,
        category=body.category,
        importance=body.importance,
        vector=memory.meaning(body.content),
    )
    return wire.created_memory(ctx, kept)


def get_memory_stats(ctx: Ctx) -> responses.MemoryStats:
    return wire.memory_stats(ctx, memory.memory_stats(ctx, memberships.caller_id(ctx)))


def get_memory(ctx: Ctx, memory_id: UUID) -> responses.Memory:
    return wire.memory(memory.get_memory(ctx, memberships.caller_id(ctx), memory_id))


def update_memory(ctx: Ctx, memory_id: UUID, body: requests.MemoryUpdate) -> responses.Memory:
    kept = memory.update_memory(
        ctx,
        memberships.caller_id(ctx),
        memory_id,
        content=body.content,
        importance=body.importance,
        vector=memory.meaning(body.content),
    )
    return wire.memory(kept)


def delete_memory(ctx: Ctx, memory_id: UUID) -> None:
    memory.delete_memory(ctx, memberships.caller_id(ctx), memory_id)
