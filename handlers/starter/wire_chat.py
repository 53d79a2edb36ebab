"""Turns as Starter shows them: an agent's answer in one piece, or the events on the way to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from domain import agents, conversations, inference
from domain.conversations import events
from domain.kernel.errors import Conflict, DomainError, LimitExceeded, Unavailable, Unprocessable
from handlers import turns
from thalweg.edge.application import Event, Pending, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.conversations import Turn, TurnResult
    from domain.kernel.context import Ctx
    from generated.starter import requests, responses

SURFACE = "starter"
PATIENCE = 115.0
"""Seconds that `POST /chat` waits for an answer, within the two minutes of the contract."""
_MOST_PROPERTIES = 50
_REASONS: Mapping[str, str] = {
    "model_unavailable": "model_unavailable",
    "rate_limited": "model_unavailable",
    "timed_out": "timed_out",
    "tool_failed": "tool_failed",
    "dlp_blocked": "guardrail_tripped",
    "dlp_expired": "guardrail_tripped",
    "refused": "model_refused",
}
"""Why a turn failed: the engine's word and the contract's. Others are `internal`."""


def ask(ctx: Ctx, body: requests.AgentChatRequest) -> Turn:
    """Start the turn that a request asks for. Raises what `conversations.start` raises."""
    if body.agent_type is not None:
        chosen = agents.own_settings.get_offered(ctx, SURFACE, body.agent_type)
        if not chosen.enabled:
            raise Conflict("This agent is switched off.", reason="agent_inactive")
    return conversations.start(
        ctx,
        body.message,
        surface=SURFACE,
        conversation_id=body.conversation_id,
        agent=body.agent_type,
        options=turns.preferences(ctx) | _options(body),
    )


def _options(body: requests.AgentChatRequest) -> dict[str, Any]:
    run = body.run_options
    given = {
        "context": body.context,
        "location": body.location.model_dump(exclude_none=True) if body.share_location and body.location else None,
        "max_turns": run.max_turns if run else None,
        "handoff_input_filter": run.handoff_input_filter if run else None,
        "run_config": run.run_config if run else None,
    }
    return {name: value for name, value in given.items() if value is not None}


# --- in one piece ----------------------------------------------------------------------------------------------


def answered(turn_id: UUID) -> Pending:
    """The answer, as soon as it is there."""
    return turns.waited(
        turn_id,
        lambda ctx: answer(conversations.result(ctx, turn_id)),
        lambda ctx: _late(conversations.get_turn(ctx, turn_id)),
        seconds=PATIENCE,
        replay={"kind": "starter_answer", "id": str(turn_id)},
    )


def answering(kept: Mapping[str, Any]) -> Pending:
    """What `answered` waits for, from what an idempotency record keeps of it."""
    return answered(UUID(kept["id"]))


def answer(told: TurnResult) -> responses.AgentChatResponse:
    """Raises what the turn failed of."""
    if told.name != events.COMPLETE:
        raise _failure(told)
    final = told.final
    return {
        "response": final["response"],
        "structured_output": final["structured_output"],
        "conversation_id": final["conversation_id"],
        "agent_used": final["agent_used"],
        "handoff_occurred": final["handoff_occurred"],
        "attachments": attachments(final["attachments"]),
        "metadata": {
            "response_id": final["response_id"],
            "model": final["model"],
            "usage": usage(final["usage"]),
            "tool_calls": final["usage"]["tool_calls"],
            "duration_ms": final["usage"]["duration_ms"],
            "citations": citations(final["citations"]),
        },
    }


def _late(turn: Turn) -> None:
    raise Unavailable(
        "The agent is still at work: its answer will stand in the conversation.",
        reason="timed_out",
        conversation_id=str(turn.conversation_id),
        retry_after=10,
    )


def _failure(told: TurnResult) -> DomainError:
    conversation_id = str(told.turn.conversation_id)
    if told.name == events.CANCELLED:
        return Conflict("The run was cancelled.", reason="cancelled", conversation_id=conversation_id)
    code, message, retry_after = str(told.final["code"]), str(told.final["error"]), told.final["retry_after"]
    if code == "internal":
        return DomainError(conversation_id=conversation_id)
    facts = {"reason": _REASONS.get(code, code), "conversation_id": conversation_id}
    waiting = facts if retry_after is None else facts | {"retry_after": retry_after}
    if code == "rate_limited":
        return LimitExceeded(message, **(waiting | {"retry_after": retry_after or 30}))
    if code == "timed_out" or (code == "model_unavailable" and retry_after is not None):
        return Unavailable(message, **waiting)
    if code == "model_unavailable":
        return inference.Refused(message, **facts)
    return Unprocessable(message, **facts)


# --- as events -------------------------------------------------------------------------------------------------


def streamed(turn: Turn) -> Stream:
    return streaming(
        {
            "kind": "starter_stream",
            "id": str(turn.id),
            "conversation_id": str(turn.conversation_id),
            "agent": turn.agent_key,
        }
    )


def streaming(kept: Mapping[str, Any]) -> Stream:
    """The events of a turn from the first, from what an idempotency record keeps of it."""
    turn_id = UUID(kept["id"])
    stream = turns.stream(turn_id, Watching(kept["conversation_id"], kept["agent"]), named=False, replay=kept)
    # Places count what this client was sent, so nobody goes on in the middle: no `Last-Event-ID` is one of this stream.
    stream.prefix = str(turn_id)
    told = stream.history

    def history(ctx: Ctx, number: int) -> Sequence[Event]:
        found = told(ctx, number)
        if not found and conversations.ended(ctx, turn_id):  # erased with its conversation: nothing comes any more
            return [Event(number + 1, events.CANCELLED, events.data(ctx.now(), message="Cancelled", response=""))]
        return found

    stream.history = history
    return stream


class Watching:
    """What one client is shown of a turn: counts its events, and remembers who is at work."""

    def __init__(self, conversation_id: str, agent: str) -> None:
        self._conversation_id = conversation_id
        self._agent = agent
        self._response_id: str | None = None
        self._number = 0
        self._words: list[str] = []
        self._spent = {"requests": 0, "input_tokens": 0, "output_tokens": 0}

    def __call__(self, event: Event) -> Iterator[Event]:
        data = event.data
        if data.get("agent"):
            self._agent = str(data["agent"])[:64]
        show = getattr(self, f"_{event.name}", None)
        for kind, fields in show(data) if show is not None else ():
            self._number += 1
            common = {
                "kind": kind,
                "conversation_id": self._conversation_id,
                "agent_used": self._agent,
                "response_id": self._response_id,
                "sequence_number": self._number,
                "is_terminal": kind in ("usage", "error"),
            }
            yield Event(event.number, kind, common | fields)

    # One method for each event of the engine that is shown, called after it.

    def _turn_started(self, data: turns.Data) -> _Shown:
        yield _lifecycle("run_started", agent=self._agent)

    def _agent_started(self, data: turns.Data) -> _Shown:
        yield _lifecycle("agent_start", agent=self._agent)

    def _agent_completed(self, data: turns.Data) -> _Shown:
        yield _lifecycle("agent_end", agent=self._agent, payload=turns.same("outcome", "duration_ms")(data))

    def _llm_started(self, data: turns.Data) -> _Shown:
        yield _lifecycle("llm_start", agent=self._agent, payload=turns.same("model")(data))

    def _llm_completed(self, data: turns.Data) -> _Shown:
        self._response_id = data["response_id"] or self._response_id
        self._spent["requests"] += 1
        self._spent["input_tokens"] += data["input_tokens"]
        self._spent["output_tokens"] += data["output_tokens"]
        if data.get("reasoning"):
            yield _item("reasoning_item_created", "reasoning_item", agent=self._agent, response_text=data["reasoning"])
        yield _lifecycle("llm_end", agent=self._agent, payload=turns.same("model", "stop", "duration_ms")(data))

    def _text_delta(self, data: turns.Data) -> _Shown:
        self._words.append(data["delta"])
        yield _raw("response.output_text.delta", text_delta=data["delta"])

    def _reasoning_delta(self, data: turns.Data) -> _Shown:
        yield _raw("response.reasoning_summary_text.delta", reasoning_delta=data["delta"])

    def _tool_started(self, data: turns.Data) -> _Shown:
        named = _named(data)
        yield _lifecycle("tool_start", agent=self._agent, **named)
        yield _item("tool_called", "tool_call_item", agent=self._agent, payload=bounded(data["arguments"]), **named)

    def _tool_completed(self, data: turns.Data) -> _Shown:
        yield from self._tool_ended(data, outcome(data["result"]), attachments(data["attachments"]))

    def _tool_error(self, data: turns.Data) -> _Shown:
        yield from self._tool_ended(data, {"error": data["error"]}, [])

    def _tool_ended(self, data: turns.Data, payload: dict[str, Any], files: list[Any]) -> _Shown:
        named = _named(data)
        yield _lifecycle("tool_end", agent=self._agent, payload=turns.same("outcome", "duration_ms")(data), **named)
        yield _item(
            "tool_output", "tool_call_output_item", agent=self._agent, payload=payload, attachments=files, **named
        )

    def _confirmation_required(self, data: turns.Data) -> _Shown:
        named = _named(data)
        yield _lifecycle("tool_end", agent=self._agent, payload={"outcome": "waiting"}, **named)
        yield _item("tool_output", "tool_call_output_item", agent=self._agent, payload=waiting(data), **named)

    def _handoff(self, data: turns.Data) -> _Shown:
        before, after = data["from_agent"], data["to_agent"]
        yield _item("handoff_requested", "handoff_call_item", agent=before, payload={"to_agent": after})
        self._agent = after
        yield _lifecycle("handoff", agent=before, new_agent=after)
        yield "agent_update", {"agent": before, "new_agent": after}
        yield _item("handoff_occured", "handoff_output_item", agent=after, payload={"from_agent": before})

    def _complete(self, data: turns.Data) -> _Shown:
        self._agent = data["agent_used"]
        files = attachments(data["attachments"])
        yield _message(self._agent, data["response"], files, citations(data["citations"]))
        yield "usage", _usage(data["response"], usage(data["usage"]), data["structured_output"], files)

    def _cancelled(self, data: turns.Data) -> _Shown:
        said = "".join(self._words) or str(data.get("response") or "")
        yield _lifecycle("cancelled", agent=self._agent)
        if said:
            yield _message(self._agent, said, [], [])
        yield "usage", _usage(said or None, usage(self._spent), None, [])

    def _error(self, data: turns.Data) -> _Shown:
        code = _REASONS.get(str(data["code"]), "internal")
        yield "error", {"payload": {"code": code, "message": str(data["error"])[:2000]}}


_Shown = Iterator[tuple[str, dict[str, Any]]]
"""Kinds of events, each with the fields that are its own."""


def _lifecycle(event: str, **given: Any) -> tuple[str, dict[str, Any]]:
    own = dict.fromkeys(("agent", "new_agent", "tool_name", "tool_call_id", "payload"))
    return "lifecycle", own | {"event": event} | given


def _raw(raw_type: str, **given: Any) -> tuple[str, dict[str, Any]]:
    return "raw_response", {"raw_type": raw_type, "text_delta": None, "reasoning_delta": None, "payload": None} | given


def _item(name: str, item_type: str, **given: Any) -> tuple[str, dict[str, Any]]:
    own: dict[str, Any] = dict.fromkeys(("tool_call_id", "tool_name", "agent", "response_text", "payload"))
    return "run_item", own | {"run_item_name": name, "run_item_type": item_type, "attachments": []} | given


def _message(
    agent: str, said: str, files: list[responses.MessageAttachment], cited: list[dict[str, Any]]
) -> tuple[str, dict[str, Any]]:
    return _item(
        "message_output_created",
        "message_output_item",
        agent=agent,
        response_text=said,
        payload={"citations": cited} if cited else None,
        attachments=files,
    )


def _usage(
    said: str | None, spent: dict[str, int], structured: Any, files: list[responses.MessageAttachment]
) -> dict[str, Any]:
    return {"response_text": said, "structured_output": structured, "payload": spent, "attachments": files}


def _named(data: turns.Data) -> dict[str, Any]:
    return {"tool_name": str(data["tool"])[:64], "tool_call_id": str(data["call_id"])[:128]}


# --- what both show --------------------------------------------------------------------------------------------


def usage(spent: Mapping[str, Any]) -> dict[str, int]:
    tokens = {name: int(spent[name]) for name in ("requests", "input_tokens", "output_tokens")}
    return tokens | {"total_tokens": tokens["input_tokens"] + tokens["output_tokens"]}


def citations(kept: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Which passages an answer rests on: `[index]` in its words. A file's id is that of the vector store's file."""
    return [
        {
            "type": "file_citation" if each["kind"] == "document" else each["kind"],
            "index": each["index"],
            "file_id": each["source_id"] if each["kind"] == "document" else None,
            "filename": each["title"][:500],
            "quote": None if each["snippet"] is None else each["snippet"][:2000],
            "page": each["page"],
            "url": each["url"],
            "score": each["score"],
        }
        for each in kept[:200]
    ]


def attachments(kept: Sequence[Mapping[str, Any]]) -> list[responses.MessageAttachment]:
    """Files that tools made. Addresses are signed for who downloads, so an answer that others read holds none."""
    return [
        {
            "object_id": str(each["object_id"]),
            "filename": str(each["filename"])[:256],
            "mime_type": cast("str | None", each.get("mime_type")),
            "size_bytes": cast("int | None", each.get("size_bytes")),
            "url": None,
            "tool_call_id": cast("str | None", each.get("tool_call_id")),
        }
        for each in kept[:50]
        if each.get("object_id")
    ]


def outcome(result: Any) -> dict[str, Any]:
    """What a tool has answered, as an object."""
    return bounded(result) if isinstance(result, dict) else {"result": result}


def waiting(data: turns.Data) -> dict[str, Any]:
    """Of a call that somebody has to approve first."""
    return {"status": "waiting_for_confirmation", "expires_at": data["expires_at"]}


def bounded(given: Mapping[str, Any]) -> dict[str, Any]:
    """A tool's own object, no wider than the contract lets through."""
    return dict(list(given.items())[:_MOST_PROPERTIES])
