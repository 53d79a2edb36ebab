"""chat."""

from __future__ import annotations

from typing import Any

from domain.kernel.context import Ctx
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def chat(ctx: Ctx, body: requests.AgentChatRequest) -> responses.AgentChatResponse:
    """Talk to an agent and wait for the answer."""
    raise not_implemented()


def stream_chat(ctx: Ctx, body: requests.AgentChatRequest) -> Any:
    """Talk to an agent and watch the answer."""
    raise not_implemented()
