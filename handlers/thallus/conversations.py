"""Conversations: lists, and what was said in them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import conversations
from handlers.thallus import wire_conversations as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.thallus import responses


def list_conversations(ctx: Ctx, page: OffsetPage, search: str | None = None) -> responses.ConversationPage:
    found = conversations.list_conversations(ctx, search=search, surface=wire.SURFACE, page=page)
    return wire.conversation_page(ctx, page, found)


def list_conversation_messages(ctx: Ctx, conversation_id: UUID, order: str, page: OffsetPage) -> responses.MessagePage:
    found = conversations.list_messages(ctx, conversation_id, order=order, unfinished=False, page=page)
    return wire.message_page(page, found)
