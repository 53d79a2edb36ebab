"""Chat tasks, conversations and memories, as Thallus shows them. A task is a turn; its answer's message has its id."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast
from uuid import UUID

from domain import conversations
from domain.conversations import events
from domain.identity import memberships
from handlers import turns
from handlers.thallus import wire_identity
from handlers.turns import same
from handlers.wiring import page_of, timestamp
from thalweg.edge.application import Event, Pending, Reply, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from domain.conversations import Conversation, Message, Turn, TurnResult
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage, Page
    from domain.memory import Memory, MemoryStats
    from generated.thallus import responses

SURFACE = "thallus"
PATIENCE = 170.0
"""Seconds that `POST /chat` waits for an answer: the contract's number."""
_LONGEST_URL = 2048
_NO_TITLE = "New conversation"


# --- tasks -----------------------------------------------------------------------------------------------------


def remembers(ctx: Ctx) -> bool:
    """Whether the caller wants memories to be made and used."""
    return wire_identity.settings(memberships.caller(ctx))["memory_enabled"]


def started(ctx: Ctx, turn: Turn) -> Reply:
    location = f"{ctx.base_path}/api/v1/chat/{turn.id}/progress/state"
    body: responses.ChatTask = {
        "task_id": str(turn.id),
        "status": "processing",
        "conversation_id": str(turn.conversation_id),
    }
    return Reply(body, status=202, headers={"Location": location})


def answered(turn_id: UUID) -> Pending:
    """The task's result, or the task itself when the time to wait is over."""
    return turns.waited(
        turn_id,
        lambda ctx: result(conversations.result(ctx, turn_id)),
        lambda ctx: started(ctx, conversations.get_turn(ctx, turn_id)),
        seconds=PATIENCE,
        replay={"kind": "chat_task", "id": str(turn_id)},
    )


def answering(kept: Mapping[str, Any]) -> Pending:
    """What `answered` waits for, from what an idempotency record keeps of it."""
    return answered(UUID(kept["id"]))


def result(told: TurnResult) -> responses.ChatResult:
    turn, final = told.turn, told.final
    worked = told.name == events.COMPLETE
    assert turn.ended_at is not None
    return {
        "task_id": str(turn.id),
        "status": "completed" if worked else "failed",
        "response": final["response"] if worked else None,
        "citations": citations(final["citations"]) if worked else [],
        "conversation_id": str(turn.conversation_id),
        "message_id": str(turn.id) if worked else None,
        "mode": cast("Any", _mode_used(turn)),
        "error": None if worked else failure(told.name, final),
        "usage": {
            "input_tokens": turn.input_tokens,
            "output_tokens": turn.output_tokens,
            "agents": turn.agents,
            "tool_calls": turn.tool_calls,
            "duration_ms": turns.took(turn),
        },
        "created_at": timestamp(turn.created_at),
        "completed_at": timestamp(turn.ended_at),
    }


def active(ctx: Ctx) -> responses.ChatActive:
    tasks = [
        cast(
            "responses.ChatActiveTask",
            {
                "task_id": str(turn.id),
                "status": progress(turn),
                "conversation_id": str(turn.conversation_id),
                "message": question[:500],
                "mode": turn.mode,
                "last_id": _last_id(ctx, turn.id, number),
                "created_at": timestamp(turn.created_at),
                "completed_at": timestamp(turn.ended_at),
            },
        )
        for turn, question, number in conversations.active(ctx, SURFACE)
    ]
    return {"has_active": any(task["status"] == "processing" for task in tasks), "tasks": tasks}


def state(turn: Turn, happened: Sequence[tuple[int, str, Mapping[str, Any]]]) -> responses.ChatState:
    shown = [shown for number, name, data in happened for shown in _rendered(turn.id, number, name, data)]
    return {
        "task_id": str(turn.id),
        "status": progress(turn),
        "conversation_id": str(turn.conversation_id),
        "last_id": shown[-1]["event_id"] if shown else "0",
        "events": cast("list[responses.ChatEvent]", shown),
    }


def progress(turn: Turn) -> Literal["processing", "completed", "failed"]:
    if turn.ended_at is None:
        return "processing"
    return "completed" if turn.state == "completed" else "failed"


def _mode_used(turn: Turn) -> str:
    """Never `auto`: what failed before anything was chosen would have been one agent's."""
    return turn.mode_used or ("ask" if turn.mode == "auto" else turn.mode)


# --- events ----------------------------------------------------------------------------------------------------


def stream(ctx: Ctx, turn_id: UUID, last_id: str) -> Stream:
    """The events of a task after `last_id`. Raises `NotFound`, `Gone`, and `Invalid` for an id that it never had."""
    conversations.shown(ctx, turn_id)
    after = _number(last_id)
    turns.must_have(ctx, turn_id, after, "last_id")

    def render(event: Event) -> Iterable[Event]:
        for shown in _rendered(turn_id, event.number, event.name, event.data):
            yield Event(event.number, shown["update_type"], shown)

    def beat(number: int) -> Event:
        now = datetime.now(UTC)
        alive = {"at": timestamp(now), "message": "Still working", "agent": None, "depth": 0}
        return Event(number, "heartbeat", _event(turn_id, number, "heartbeat", alive))

    return turns.stream(turn_id, render, after=after, named=False, beat=beat)


def _number(last_id: str) -> int:
    """The milliseconds before the number are for people: the number alone says where to go on."""
    return int(last_id.rpartition("-")[2])


def _last_id(ctx: Ctx, turn_id: UUID, number: int) -> str:
    last = conversations.events_after(ctx, turn_id, number - 1)[:1] if number else []
    return event_id(last[0].number, last[0].data["at"]) if last else "0"


def event_id(number: int, at: str) -> str:
    """`<milliseconds>-<number>`."""
    return f"{round(datetime.fromisoformat(at).timestamp() * 1000)}-{number}"


def _event(turn_id: UUID, number: int, name: str, data: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "task_id": str(turn_id),
        "update_type": name,
        "message": data["message"],
        "event_id": event_id(number, data["at"]),
        "timestamp": data["at"],
        "agent": data["agent"],
        "depth": data["depth"],
        **more,
    }


def _rendered(turn_id: UUID, number: int, name: str, data: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """The event as the contract has it; nothing for those that Thallus does not show."""
    known = _SHOWN.get(name)
    if known is not None:
        shown_as, more = known
        yield _event(turn_id, number, shown_as, data, **more(data))


def _completed(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "conversation_id": data["conversation_id"],
        "message_id": data["message_id"],
        "citations": citations(data["citations"]),
    }


_SHOWN: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    events.PLAN_CREATED: ("plan_created", same("steps")),
    events.REPLAN_TRIGGERED: ("replan_triggered", same("reason", "attempt", "steps")),
    events.HYPOTHESES_UPDATED: ("hypotheses_updated", same("hypotheses")),
    # The moment at which a word of direction is asked for: its message says so.
    events.STEERING_REQUIRED: ("hypotheses_updated", same("hypotheses")),
    events.AGENT_STARTED: ("agent_started", same("step_id")),
    events.AGENT_COMPLETED: ("agent_completed", same("step_id", "outcome", "duration_ms")),
    events.TOOL_STARTED: ("tool_started", same("tool", "call_id")),
    events.TOOL_COMPLETED: ("tool_completed", same("tool", "call_id", "outcome", "duration_ms")),
    events.TOOL_ERROR: ("tool_completed", same("tool", "call_id", "outcome", "duration_ms")),
    events.TEXT_DELTA: ("text_delta", same("delta")),
    events.COMPLETE: ("complete", _completed),
    events.ERROR: ("error", lambda data: {"error": failure(events.ERROR, data)}),
    events.CANCELLED: ("error", lambda data: {"error": failure(events.CANCELLED, data)}),
}
"""What Thallus shows of the engine's events: its own name for each, and what goes with it."""


def failure(name: str, final: Mapping[str, Any]) -> responses.ChatFailure:
    if name == events.CANCELLED:
        return {"code": "cancelled", "message": final["message"]}
    code = str(final["code"])
    # Findings are decided on another surface; here they would refuse the answer like anything else that may not be.
    told = "refused" if code.startswith("dlp_") else code
    return {"code": cast("Any", told), "message": final["error"]}


def citations(kept: Sequence[Mapping[str, Any]]) -> list[responses.Citation]:
    return [_citation(each) for each in kept[:200]]


def _citation(kept: Mapping[str, Any]) -> responses.Citation:
    url = kept["url"]
    return {
        "index": kept["index"],
        "kind": kept["kind"],
        "title": kept["title"][:500],
        "snippet": None if kept["snippet"] is None else kept["snippet"][:2000],
        "document_id": kept["document_id"],
        "chunk_id": kept["chunk_id"],
        "page": kept["page"],
        "sheet": None if kept.get("sheet") is None else kept["sheet"][:255],  # earlier answers have none
        "cells": kept.get("cells"),
        "connection_id": kept["connection_id"],
        "table_name": kept["table_name"],
        "url": url if url is None or len(url) <= _LONGEST_URL else None,
        "score": kept["score"],
    }


# --- conversations ---------------------------------------------------------------------------------------------


def conversation_page(ctx: Ctx, page: OffsetPage, found: Page[Conversation]) -> responses.ConversationPage:
    working = conversations.active_turns(ctx, [each.id for each in found.items])
    return {
        "items": [_conversation(each, working.get(each.id)) for each in found.items],
        **page_of(found, page),
    }


def _conversation(kept: Conversation, task_id: UUID | None) -> responses.ConversationSummary:
    return {
        "id": str(kept.id),
        "title": kept.title or _NO_TITLE,
        "message_count": kept.message_count,
        "last_message": kept.last_message,
        "active_task_id": None if task_id is None else str(task_id),
        "created_at": timestamp(kept.created_at),
        "updated_at": timestamp(kept.moved_at),
    }


def message_page(page: OffsetPage, found: Page[Message]) -> responses.MessagePage:
    return {
        "items": [_message(each) for each in found.items],
        **page_of(found, page),
    }


def _message(said: Message) -> responses.ConversationMessage:
    return {
        "id": str(said.id),
        "role": cast("Any", said.role),
        "content": said.content,
        "mode": cast("Any", said.mode if said.role == "assistant" else None),
        "task_id": None if said.turn_id is None else str(said.turn_id),
        "citations": citations(said.citations),
        "created_at": timestamp(said.created_at),
    }


# --- memories --------------------------------------------------------------------------------------------------


def created_memory(ctx: Ctx, kept: Memory) -> Reply:
    return Reply(memory(kept), headers={"Location": f"{ctx.base_path}/api/v1/memories/{kept.id}"})


def memory(kept: Memory) -> responses.Memory:
    return {
        "id": str(kept.id),
        "content": kept.text,
        "category": cast("Any", kept.category),
        "importance": kept.importance,
        "source": kept.source,
        "conversation_id": None if kept.conversation_id is None else str(kept.conversation_id),
        "use_count": kept.use_count,
        "last_used_at": timestamp(kept.last_used_at),
        "created_at": timestamp(kept.created_at),
        "updated_at": timestamp(kept.updated_at),
    }


def memory_page(page: OffsetPage, found: Page[Memory]) -> responses.MemoryPage:
    return {
        "items": [memory(each) for each in found.items],
        **page_of(found, page),
    }


def memory_stats(ctx: Ctx, numbers: MemoryStats) -> responses.MemoryStats:
    return {
        "total": numbers.total,
        "limit": numbers.limit,
        "by_category": [
            {"category": cast("Any", each.category), "count": each.count, "average_importance": each.average_importance}
            for each in numbers.by_category
        ],
        "manual": numbers.manual,
        "from_conversations": numbers.from_conversations,
        "average_importance": numbers.average_importance,
        "enabled": remembers(ctx),
        "oldest_at": timestamp(numbers.oldest_at),
        "newest_at": timestamp(numbers.newest_at),
    }
