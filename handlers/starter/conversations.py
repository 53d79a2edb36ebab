"""conversations."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import CursorPage
from generated.starter import responses
from thalweg.edge.problem import not_implemented


def list_conversations(ctx: Ctx, page: CursorPage, agent: str | None = None) -> responses.ConversationListResponse:
    """List conversations."""
    raise not_implemented()


def search_conversations(
    ctx: Ctx, q: str, page: CursorPage, agent: str | None = None
) -> responses.ConversationSearchResponse:
    """Search conversations."""
    raise not_implemented()


def get_conversation(ctx: Ctx, conversation_id: UUID) -> responses.ConversationHistory:
    """Read a conversation."""
    raise not_implemented()


def delete_conversation(ctx: Ctx, conversation_id: UUID) -> None:
    """Delete a conversation."""
    raise not_implemented()


def list_conversation_events(
    ctx: Ctx, conversation_id: UUID, workflow_run_id: UUID | None = None
) -> responses.ConversationEventsResponse:
    """Read what happened in a conversation."""
    raise not_implemented()
