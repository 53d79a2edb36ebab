"""Chat: a message becomes a turn; its answer in one piece, or its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.starter import wire_chat as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.starter import requests
    from thalweg.edge.application import Pending, Stream


def chat(ctx: Ctx, body: requests.AgentChatRequest) -> Pending:
    return wire.answered(wire.ask(ctx, body).id)


def stream_chat(ctx: Ctx, body: requests.AgentChatRequest) -> Stream:
    return wire.streamed(wire.ask(ctx, body))
