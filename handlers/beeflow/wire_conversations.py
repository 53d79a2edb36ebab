"""Conversations, the turns in them and what the guardrails found, as Bee Flow shows them. A turn is its answer's
message: `msgId` is the id of both."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from domain import agents, conversations
from domain.conversations import events
from domain.kernel.errors import Forbidden, Unprocessable
from handlers import turns
from handlers.turns import same
from handlers.wiring import page_of, timestamp
from thalweg.edge.application import Pending, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.conversations import Conversation, GuardrailEvent, Message, Rating, Turn
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage, Page
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Stream

SURFACE = "beeflow"
PATIENCE = 27.0
"""Seconds that a new title is waited for: the contract's time, less what the rest takes."""
_MOST_CITED = 100


# --- conversations ---------------------------------------------------------------------------------------------


def created(ctx: Ctx, made: Conversation) -> Reply:
    return Reply(conversation(ctx, made), headers={"Location": f"{ctx.base_path}/api/conversations/{made.id}"})


def conversation(ctx: Ctx, kept: Conversation) -> responses.Conversation:
    return _conversation(kept, _names(ctx, [kept]))


def conversation_page(ctx: Ctx, page: OffsetPage, found: Page[Conversation]) -> responses.ConversationPage:
    names = _names(ctx, found.items)
    return {
        "items": [_conversation(each, names) for each in found.items],
        **page_of(found, page),
    }


def _names(ctx: Ctx, kept: Sequence[Conversation]) -> Mapping[UUID, str]:
    return agents.names_of(ctx, {each.agent_id for each in kept if each.agent_id is not None})


def _conversation(kept: Conversation, names: Mapping[UUID, str]) -> responses.Conversation:
    name = None if kept.agent_id is None else names.get(kept.agent_id)
    return {
        "id": str(kept.id),
        "title": kept.title,
        "agentId": None if name is None else str(kept.agent_id),
        "agentName": name,
        "source": cast("Any", kept.source),
        "parentConversationId": None if kept.parent_id is None else str(kept.parent_id),
        "branchMessageId": None if kept.branch_message_id is None else str(kept.branch_message_id),
        "messageCount": kept.message_count,
        "lastMessageAt": timestamp(kept.last_message_at),
        "createdAt": timestamp(kept.created_at),
        "updatedAt": timestamp(max(kept.moved_at, kept.updated_at)),
    }


def retitled(conversation_id: UUID, request_id: UUID) -> Pending:
    """The conversation when its new title is there."""

    def named(ctx: Ctx) -> responses.Conversation:
        return conversation(ctx, conversations.retitled(ctx, conversation_id, request_id))

    return Pending(
        channel=conversations.title_channel(request_id),
        terminal=conversations.TITLE_ENDS,
        ready=lambda ctx: conversations.titled(ctx, conversation_id, request_id),
        then=named,
        timed_out=named,
        seconds=PATIENCE,
    )


def message_page(page: OffsetPage, found: Page[Message]) -> responses.MessagePage:
    return {
        "items": [_message(each) for each in found.items],
        **page_of(found, page),
    }


def _message(said: Message) -> responses.Message:
    answers = said.role == "assistant"
    return {
        "id": str(said.id),
        "conversationId": str(said.conversation_id),
        "role": cast("Any", said.role),
        "content": said.content,
        "status": cast("Any", said.status),
        "model": said.model if answers else None,
        "usage": {"input": said.input_tokens or 0, "output": said.output_tokens or 0} if answers else None,
        "citations": [_citation(each) for each in said.citations[:_MOST_CITED]],
        "toolCalls": [_call(each) for each in said.tool_calls[:200]],
        "feedback": _feedback(said),
        "createdAt": timestamp(said.created_at),
    }


def _citation(kept: Mapping[str, Any]) -> responses.MessageCitation:
    source = kept["source_id"] or kept["document_id"] or kept["url"] or kept["title"]
    return {
        "sourceId": str(source)[:128],
        "title": str(kept["title"])[:500],
        "snippet": str(kept["snippet"] or "")[:4000],
    }


def _call(kept: Mapping[str, Any]) -> responses.MessageToolCall:
    return {
        "id": kept["id"],
        "name": kept["name"],
        "status": _CALLS[kept["status"]],
        "args": _arguments(kept["args"]),
        "error": kept["error"],
    }


def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """A model may make up more of them than any tool takes."""
    return dict(itertools.islice(given.items(), 200))


_CALLS: Mapping[str, Any] = {"success": "success", "failed": "failed", "denied": "failed", "waiting": "running"}


def _feedback(said: Message) -> responses.MessageFeedback | None:
    if said.rating is None or said.rated_at is None:
        return None
    return _rating(said.id, said.rating, said.comment, timestamp(said.rated_at))


def rating(given: Rating) -> responses.MessageFeedback:
    return _rating(given.message_id, given.rating, given.comment, timestamp(given.updated_at))


def _rating(message_id: UUID, rating: str, comment: str | None, at: str) -> responses.MessageFeedback:
    return {"messageId": str(message_id), "rating": cast("Any", rating), "comment": comment, "updatedAt": at}


# --- turns -----------------------------------------------------------------------------------------------------


def asked(ctx: Ctx, body: requests.ChatRequest) -> dict[str, Any]:
    """What is asked of `conversations.start`. Raises `Unprocessable` for messages that cannot be a turn."""
    *before, last = body.messages
    if last.role != "user":
        raise Unprocessable("The last message has to be the user's.", reason="not_a_question", field="messages")
    if before and body.conversation_id is not None:
        raise Unprocessable(
            "What was said before is known: with conversationId send the new message alone.",
            reason="known_already",
            field="messages",
        )
    return {
        "message": last.content,
        "surface": SURFACE,
        "conversation_id": body.conversation_id,
        "agent": body.agent_id,
        "prior": [conversations.Prior(each.role, each.content) for each in before],
        "options": turns.preferences(ctx),
    }


def spoken(ctx: Ctx, body: requests.VoiceTurnRequest, recording: bytes) -> dict[str, Any]:
    """The same for something said aloud."""
    return {
        "message": "",
        "recording": recording,
        "surface": SURFACE,
        "source": "voice",
        "conversation_id": body.conversation_id,
        "agent": body.agent_id,
        "options": turns.preferences(ctx) | {"spoken": body.language, "voice": body.voice, "speak": body.speak},
    }


def chat(turn: Turn, after: int = 0) -> Stream:
    """The events of a turn behind `after`."""
    return _stream("beeflow_chat", turn.id, turn.conversation_id, after)


def voice(turn: Turn, after: int = 0) -> Stream:
    """The same, with what was understood and what is spoken."""
    return _stream("beeflow_voice", turn.id, turn.conversation_id, after)


def reopened(kept: Mapping[str, Any]) -> Stream:
    """The stream that an idempotency record keeps, from its beginning."""
    return _stream(kept["kind"], UUID(kept["id"]), UUID(kept["conversation"]), 0)


def _stream(kind: str, turn_id: UUID, conversation_id: UUID, after: int) -> Stream:
    return turns.stream(
        turn_id,
        _RENDERINGS[kind],
        after=after,
        headers={"X-Message-ID": str(turn_id), "X-Conversation-ID": str(conversation_id)},
        replay={"kind": kind, "id": str(turn_id), "conversation": str(conversation_id)},
    )


def cancelling(turn: Turn) -> responses.ChatCancellation:
    return {"messageId": str(turn.id), "status": "cancelling"}


def decided(ctx: Ctx, turn: Turn, decision: str, categories: Sequence[str]) -> responses.DlpDecisionResult:
    return {
        "messageId": str(turn.id),
        "decision": cast("Any", decision),
        "categories": list(categories[:50]),
        "decidedAt": timestamp(ctx.now()),
    }


# --- events ----------------------------------------------------------------------------------------------------


def _called(data: turns.Data) -> dict[str, Any]:
    return {"id": data["call_id"], "name": data["tool"], "args": _arguments(data["arguments"])}


def _finding(data: turns.Data) -> dict[str, Any]:
    return {
        "messageId": data["turn_id"],
        "categories": data["categories"][:50],
        "redactedPreview": data["redacted_preview"],
        "action": "ask",
    }


def _done(data: turns.Data) -> dict[str, Any]:
    usage = data["usage"]
    return {
        "messageId": data["message_id"],
        "usage": {"input": usage["input_tokens"], "output": usage["output_tokens"]},
        "model": data["model"] or "none",
    }


def _failed(data: turns.Data) -> dict[str, Any]:
    return {"code": FAILURES.get(data["code"], "internal_error"), "message": data["error"]}


FAILURES: Mapping[str, str] = {
    "model_unavailable": "upstream_failed",
    "rate_limited": "unavailable",
    "timed_out": "timed_out",
    "dlp_blocked": "dlp_blocked",
    "dlp_expired": "dlp_expired",
    "refused": "refused",
    "internal": "internal_error",
}
"""The engine's word for why a turn ended, and this contract's."""
_CHAT: turns.Shown = {
    events.TEXT_DELTA: ("token", lambda data: {"text": data["delta"]}),
    events.TOOL_STARTED: ("tool_call", _called),
    events.TOOL_COMPLETED: ("tool_result", lambda data: {"id": data["call_id"], "result": data["result"]}),
    events.TOOL_ERROR: ("tool_error", lambda data: {"id": data["call_id"], "error": data["error"]}),
    # The words that ask for a yes: this contract has no event of its own for them.
    events.CONFIRMATION_REQUIRED: ("progress", lambda data: {"label": data["message"][:500], "percent": None}),
    events.PROGRESS: ("progress", lambda data: {"label": data["label"][:500], "percent": data["percent"]}),
    events.DLP_FINDING: ("dlp_finding", _finding),
    events.CITATION: ("citation", lambda data: cast("dict[str, Any]", _citation(data))),
    events.COMPLETE: ("done", _done),
    events.ERROR: ("error", _failed),
    events.CANCELLED: ("error", lambda data: {"code": "cancelled", "message": "The turn was cancelled."}),
}
_VOICE: turns.Shown = {
    **_CHAT,
    events.TRANSCRIPT: (
        "transcript",
        lambda data: {"messageId": data["turn_id"], **same("text", "language", "final")(data)},
    ),
    events.AUDIO: (
        "audio",
        lambda data: {"index": data["index"], "mediaType": data["media_type"], "data": data["sound"]},
    ),
}
_RENDERINGS: Mapping[str, turns.Render] = {
    "beeflow_chat": turns.rendering(_CHAT),
    "beeflow_voice": turns.rendering(_VOICE),
}


# --- guardrails ------------------------------------------------------------------------------------------------


def own(ctx: Ctx, org: UUID | None) -> None:
    """Raises `Forbidden` for another organisation than the caller's, whether there is one or not."""
    if org is not None and org != ctx.organisation:
        raise Forbidden("Only events of one's own organisation can be read.")


def guardrail_page(page: OffsetPage, found: Page[GuardrailEvent]) -> responses.GuardrailEventPage:
    return {
        "items": [guardrail_event(each) for each in found.items],
        **page_of(found, page),
    }


def guardrail_event(kept: GuardrailEvent) -> responses.GuardrailEvent:
    return {
        "id": str(kept.id),
        "organizationId": str(kept.organisation_id),
        "userId": _id(kept.user_id),
        "agentId": _id(kept.agent_id),
        "conversationId": _id(kept.conversation_id),
        "violationType": cast("Any", kept.violation_type),
        "violationCategories": kept.categories,
        "direction": cast("Any", kept.direction),
        "actionTaken": cast("Any", kept.action_taken),
        "source": cast("Any", kept.source),
        "model": kept.model,
        "timestamp": timestamp(kept.created_at),
    }


COLUMNS = (
    "id", "organizationId", "userId", "agentId", "conversationId", "violationType", "violationCategories", "direction",
    "actionTaken", "source", "model", "timestamp",
)  # fmt: skip


def guardrail_line(kept: GuardrailEvent) -> Sequence[str | None]:
    told = cast("dict[str, Any]", guardrail_event(kept))
    told["violationCategories"] = ";".join(kept.categories)
    return [told[name] for name in COLUMNS]


def _id(value: UUID | None) -> str | None:
    return None if value is None else str(value)
