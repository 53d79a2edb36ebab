"""The assistant's answers, as Thalian shows them: one JSON value for a turn, whatever became of it."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, TypedDict, cast
from uuid import UUID

from domain import agents, conversations
from domain.agents import confirmations
from domain.agents.tools import security
from domain.conversations import attachments, events
from domain.kernel.errors import Conflict, DomainError, Forbidden, Invalid, LimitExceeded, Unavailable
from handlers import turns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.conversations import TurnResult
    from domain.kernel.context import Ctx
    from generated.thalian import requests, responses
    from thalweg.edge.application import Pending

SURFACE = "thalian"
PATIENCE = 170.0
"""Seconds that a message waits for its answer: within the contract's three minutes."""
SHOWN = frozenset({*security.AT_ONCE, *security.CONFIRMED, "create_ticket"})
"""Tools whose calls are told: actions. What the assistant looks up is not."""


class Place(TypedDict):
    conversation_id: UUID | None
    client_id: UUID | None


# --- in --------------------------------------------------------------------------------------------------------


def place(ctx: Ctx, body: requests.ChatRequest) -> Place:
    """Where a message belongs: its session; without one, where the action was proposed that it approves."""
    if body.session_id is not None or body.confirmation_token is None:
        return {"conversation_id": None, "client_id": body.session_id}
    proposed = confirmations.conversation_of(ctx, body.confirmation_token, user_id=agents.caller(ctx))
    return {"conversation_id": proposed, "client_id": None}


def options(ctx: Ctx, body: requests.ChatRequest) -> dict[str, Any]:
    """What the asker's account says, and what came with the message. Raises as `attachments.take`."""
    return {**turns.preferences(ctx), "files": _files(ctx, body)}


def _files(ctx: Ctx, body: requests.ChatRequest) -> list[dict[str, Any]]:
    """The file that came along, judged and kept for the turn. Raises `Invalid` for what is no Base64."""
    if body.file_base64 is None:
        return []
    try:
        content = base64.b64decode(body.file_base64, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("fileBase64: this is not Base64.") from None
    return [attachments.take(ctx, content, body.file_name)]


# --- out -------------------------------------------------------------------------------------------------------


def answered(turn_id: UUID) -> Pending:
    """The answer to a message, once there is one."""
    return turns.waited(
        turn_id,
        lambda ctx: reply(ctx, conversations.result(ctx, turn_id)),
        _late,
        seconds=PATIENCE,
        replay={"kind": "assistant_message", "id": str(turn_id)},
    )


def answering(kept: Mapping[str, Any]) -> Pending:
    """What `answered` waits for, from what an idempotency record keeps of it."""
    return answered(UUID(kept["id"]))


def _late(ctx: Ctx) -> Any:
    raise Unavailable("The answer is taking too long. Ask again in a moment.", retry_after=30)


def reply(ctx: Ctx, told: TurnResult) -> responses.ChatReply:
    """Raises what a turn that failed means to whoever asked (see `_problem`)."""
    final = told.final
    if told.name != events.COMPLETE:
        return _cut_short(ctx, told)
    shown: responses.ChatReply = {
        "response": final["response"][:200_000],
        "tokens_used": min(10_000_000, final["usage"]["total_tokens"]),
        "model": final["model"][:128],
        "stop_reason": final["stop_reason"],
    }
    calls = [_call(each) for each in final["tool_calls"] if _told(each)]
    if calls:
        shown["toolCalls"] = calls[:50]
    return shown


def _cut_short(ctx: Ctx, told: TurnResult) -> responses.ChatReply:
    """An action that was carried out is told, also when the model fails after it: whoever asked must not think that
    nothing has happened, nor ask for it again."""
    problem = _problem(told.name, told.final)
    happened = conversations.events_after(ctx, told.turn.id)
    asked = {each.data["call_id"]: each.data for each in happened if each.name == events.TOOL_STARTED}
    ended = [each.data for each in happened if each.name == events.TOOL_COMPLETED and each.data["tool"] in SHOWN]
    if not ended:
        raise problem
    done = [asked[each["call_id"]] for each in ended if each["call_id"] in asked]
    said = "".join(each.data["delta"] for each in happened if each.name == events.TEXT_DELTA)
    names = ", ".join(each["tool"] for each in done)
    line = f"Carried out: {names}. The answer in words is missing: {problem.message}"
    models = [each.data["model"] for each in happened if each.name == events.LLM_STARTED]
    return {
        "response": f"{said}\n\n{line}".strip()[-200_000:],
        "toolCalls": [
            cast(
                "responses.ToolCall",
                {
                    "id": each["call_id"],
                    "name": each["tool"],
                    "input": each["arguments"],
                    "requiresConfirmation": False,
                },
            )
            for each in done[:50]
        ],
        "tokens_used": min(10_000_000, told.turn.input_tokens + told.turn.output_tokens),
        "model": (models[-1] if models else "none")[:128],
        "stop_reason": "end_turn",
    }


def _told(call: Mapping[str, Any]) -> bool:
    """An action that was carried out, or that waits to be; one that could not be is told of in words."""
    return call["name"] in SHOWN and call["status"] in ("success", "waiting")


def _call(call: Mapping[str, Any]) -> responses.ToolCall:
    waits = call["requires_confirmation"]
    shown = {"id": call["id"], "name": call["name"], "input": call["args"], "requiresConfirmation": waits}
    if waits:
        shown["confirmationToken"] = confirmations.token(UUID(call["confirmation_id"]))
        shown["confirmationExpiresAt"] = call["expires_at"]
    return cast("responses.ToolCall", shown)


def _problem(name: str, final: Mapping[str, Any]) -> DomainError:
    """Why there is no answer: 503 for a model that is away, 429 for its provider's limit, 403 for what the workspace's
    rules keep from it, 400 for what cannot be read."""
    if name == events.CANCELLED:
        return Conflict("The answer was stopped.")
    line, again = str(final["error"]), final["retry_after"]
    match final["code"]:
        case "rate_limited":
            return LimitExceeded(line, retry_after=again or 5)
        case "model_unavailable" | "timed_out":
            return Unavailable(line, retry_after=again or 30)
        case "dlp_blocked" | "dlp_expired":
            return Forbidden(line)
        case "internal":
            return DomainError()
        case _:
            return Invalid(line)
