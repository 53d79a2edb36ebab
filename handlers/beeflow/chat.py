"""chat."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def start_chat_turn(ctx: Ctx, body: requests.ChatRequest) -> Any:
    """Take a turn and watch the answer come."""
    raise not_implemented()


def cancel_chat_turn(ctx: Ctx, msg_id: UUID) -> responses.ChatCancellation:
    """Stop a turn under way."""
    raise not_implemented()


def decide_dlp_finding(ctx: Ctx, msg_id: UUID, body: requests.DlpDecision) -> responses.DlpDecisionResult:
    """Decide on sensitive data in a prompt."""
    raise not_implemented()


def rate_message(ctx: Ctx, msg_id: UUID, body: requests.FeedbackCreate) -> responses.MessageFeedback:
    """Rate an answer."""
    raise not_implemented()
