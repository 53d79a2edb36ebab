"""conversations: the caller's own, what was said in them, their titles and branches."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import conversations
from handlers.beeflow import wire_conversations as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Pending, Reply


def list_conversations(
    ctx: Ctx, page: OffsetPage, agent_id: UUID | None = None, q: str | None = None, source: str | None = None
) -> responses.ConversationPage:
    found = conversations.list_conversations(
        ctx, search=q, agent=agent_id, source=source, surface=wire.SURFACE, page=page
    )
    return wire.conversation_page(ctx, page, found)


def create_conversation(ctx: Ctx, body: requests.ConversationCreate) -> Reply:
    return wire.created(ctx, conversations.create_conversation(ctx, agent=body.agent_id, title=body.title))


def get_conversation(ctx: Ctx, id: UUID) -> responses.Conversation:
    return wire.conversation(ctx, conversations.get_conversation(ctx, id))


def delete_conversation(ctx: Ctx, id: UUID) -> None:
    conversations.delete_conversation(ctx, id)


def list_messages(ctx: Ctx, id: UUID, order: str, page: OffsetPage) -> responses.MessagePage:
    return wire.message_page(page, conversations.list_messages(ctx, id, order=order, page=page))


def regenerate_conversation_title(ctx: Ctx, id: UUID) -> Pending:
    return wire.retitled(id, conversations.request_title(ctx, id))


def branch_conversation(ctx: Ctx, id: UUID, body: requests.ConversationBranch) -> Reply:
    return wire.created(ctx, conversations.branch_conversation(ctx, id, body.message_id, title=body.title))
