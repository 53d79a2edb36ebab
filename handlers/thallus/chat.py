"""Chat: a question becomes a task; its events, its result, and those to go on with."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import conversations
from handlers import turns
from handlers.thallus import wire_conversations as wire

if TYPE_CHECKING:
    from domain.conversations import Turn
    from domain.kernel.context import Ctx
    from generated.thallus import requests, responses
    from thalweg.edge.application import Pending, Reply, Stream


def start_chat(ctx: Ctx, body: requests.ChatRequest) -> Reply:
    return wire.started(ctx, _start(ctx, body))


def stream_chat_progress(ctx: Ctx, task_id: UUID, last_id: str) -> Stream:
    return wire.stream(ctx, task_id, last_id)


def get_chat_state(ctx: Ctx, task_id: UUID) -> responses.ChatState:
    return wire.state(*conversations.state(ctx, task_id))


def get_chat_result(ctx: Ctx, task_id: UUID) -> responses.ChatResult:
    return wire.result(conversations.result(ctx, task_id))


def list_active_chats(ctx: Ctx) -> responses.ChatActive:
    return wire.active(ctx)


def chat(ctx: Ctx, body: requests.ChatRequest) -> Pending:
    # Who waits for the whole answer sees no explanations to choose from: nothing would come of waiting for a direction.
    return wire.answered(_start(ctx, body, steering=False).id)


def _start(ctx: Ctx, body: requests.ChatRequest, **options: bool) -> Turn:
    return conversations.start(
        ctx,
        body.message,
        surface=wire.SURFACE,
        conversation_id=body.conversation_id,
        mode=body.mode,
        options={**turns.preferences(ctx), **options},
    )
