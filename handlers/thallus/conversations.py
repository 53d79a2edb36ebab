"""conversations."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import responses
from thalweg.edge.problem import not_implemented


def list_conversations(ctx: Ctx, page: OffsetPage, search: str | None = None) -> responses.ConversationPage:
    """List conversations."""
    raise not_implemented()


def list_conversation_messages(ctx: Ctx, conversation_id: UUID, order: str, page: OffsetPage) -> responses.MessagePage:
    """List the messages of a conversation."""
    raise not_implemented()
