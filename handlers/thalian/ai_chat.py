"""ai-chat."""

from __future__ import annotations

from domain.kernel.context import Ctx
from generated.thalian import requests, responses
from thalweg.edge.problem import not_implemented


def send_chat_message(ctx: Ctx, body: requests.ChatRequest) -> responses.ChatReply:
    """Send a message to the assistant."""
    raise not_implemented()
