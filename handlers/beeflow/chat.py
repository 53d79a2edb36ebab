"""chat: a turn and its events; stop it, decide on what was found in it, rate its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import conversations
from handlers import turns
from handlers.beeflow import wire_conversations as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Stream


def start_chat_turn(ctx: Ctx, body: requests.ChatRequest, last_event_id: str | None = None) -> Stream:
    at = turns.mark(last_event_id)
    if at is not None:
        return wire.chat(turns.resumed(ctx, at), after=at.number)
    return wire.chat(conversations.start(ctx, **wire.asked(ctx, body)))


def cancel_chat_turn(ctx: Ctx, msg_id: UUID) -> responses.ChatCancellation:
    return wire.cancelling(conversations.cancel(ctx, msg_id))


def decide_dlp_finding(ctx: Ctx, msg_id: UUID, body: requests.DlpDecision) -> responses.DlpDecisionResult:
    turn, categories = conversations.decide(ctx, msg_id, body.decision)
    return wire.decided(ctx, turn, body.decision, categories)


def rate_message(ctx: Ctx, msg_id: UUID, body: requests.FeedbackCreate) -> responses.MessageFeedback:
    return wire.rating(conversations.rate_message(ctx, msg_id, body.rating, body.comment))
