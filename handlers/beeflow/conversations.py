"""conversations."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def list_conversations(
    ctx: Ctx, page: OffsetPage, agent_id: UUID | None = None, q: str | None = None, source: str | None = None
) -> responses.ConversationPage:
    """List the caller's conversations."""
    raise not_implemented()


def create_conversation(ctx: Ctx, body: requests.ConversationCreate) -> responses.Conversation:
    """Start a conversation."""
    raise not_implemented()


def get_conversation(ctx: Ctx, id: UUID) -> responses.Conversation:
    """Read a conversation."""
    raise not_implemented()


def delete_conversation(ctx: Ctx, id: UUID) -> None:
    """Delete a conversation."""
    raise not_implemented()


def list_messages(ctx: Ctx, id: UUID, order: str, page: OffsetPage) -> responses.MessagePage:
    """List the messages of a conversation."""
    raise not_implemented()


def regenerate_conversation_title(ctx: Ctx, id: UUID) -> responses.Conversation:
    """Make a new title."""
    raise not_implemented()


def branch_conversation(ctx: Ctx, id: UUID, body: requests.ConversationBranch) -> responses.Conversation:
    """Branch a conversation."""
    raise not_implemented()
