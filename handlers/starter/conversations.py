"""Conversations of the tenant: lists, searches, what was said and what happened; deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import conversations
from handlers.starter import wire_conversations as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import CursorPage
    from generated.starter import responses


def list_conversations(ctx: Ctx, page: CursorPage, agent: str | None = None) -> responses.ConversationListResponse:
    return wire.conversation_page(conversations.list_conversations(ctx, whose=wire.WHOSE, agent=agent, page=page))


def search_conversations(
    ctx: Ctx, q: str, page: CursorPage, agent: str | None = None
) -> responses.ConversationSearchResponse:
    vector = conversations.meaning_of(q)
    found = conversations.search_conversations(ctx, q, vector=vector, whose=wire.WHOSE, agent=agent, page=page)
    return wire.hits(found)


def get_conversation(ctx: Ctx, conversation_id: UUID) -> responses.ConversationHistory:
    return wire.history(ctx, conversation_id)


def delete_conversation(ctx: Ctx, conversation_id: UUID) -> None:
    conversations.delete_conversation(ctx, conversation_id, whose=wire.WHOSE, for_good=True)


def list_conversation_events(
    ctx: Ctx, conversation_id: UUID, workflow_run_id: UUID | None = None
) -> responses.ConversationEventsResponse:
    return wire.steps(ctx, conversation_id, workflow_run_id)
