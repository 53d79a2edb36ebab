"""The assistant: one message, one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain import conversations
from domain.identity.organisations import require_workspace
from handlers.thalian import wire_chat as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.thalian import requests
    from thalweg.edge.application import Pending


def send_chat_message(ctx: Ctx, body: requests.ChatRequest) -> Pending:
    require_workspace(ctx, body.workspace_id)
    turn = conversations.start(
        ctx,
        body.message,
        surface=wire.SURFACE,
        **wire.place(ctx, body),
        options=wire.options(ctx, body),
        confirmation_token=body.confirmation_token,
    )
    return wire.answered(turn.id)
