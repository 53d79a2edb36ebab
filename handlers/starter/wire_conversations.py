"""Conversations, agents and tools, as Starter shows them. Conversations are the tenant's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast
from uuid import UUID

from domain import agents, conversations
from domain.conversations import events
from domain.conversations.history import Whose
from domain.inference.choice import chat_model
from domain.kernel.errors import Unavailable
from domain.kernel.pages import OffsetPage
from handlers.starter import wire_chat
from handlers.wiring import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from domain.agents.own_settings import OfferedAgent
    from domain.conversations import Conversation, Hit, Message, Turn, TurnEvent
    from domain.kernel.context import Ctx
    from domain.kernel.pages import Page
    from generated.starter import responses

WHOSE: Whose = "organisation"
MOST_MESSAGES = 1000
MOST_STEPS = 5000
LOOKED_AT = 10_000
"""Events of a conversation that are looked at for its steps, the last ones of a longer one."""
STEPS = (
    events.TURN_STARTED,
    events.HANDOFF,
    events.LLM_COMPLETED,
    events.TOOL_STARTED,
    events.TOOL_COMPLETED,
    events.TOOL_ERROR,
    events.CONFIRMATION_REQUIRED,
)
"""What is looked at: a turn's first event for its turn, the others for what they say."""


# --- conversations ---------------------------------------------------------------------------------------------


def conversation_page(found: Page[Conversation]) -> responses.ConversationListResponse:
    return {"items": [_summary(each) for each in found.items], "next_cursor": found.next_cursor}


def _summary(kept: Conversation) -> responses.ConversationSummary:
    return {
        "conversation_id": str(kept.id),
        "message_count": kept.message_count,
        "last_message": kept.last_message or "",
        "created_at": timestamp(kept.created_at),
        "updated_at": timestamp(kept.moved_at),
    }


def hits(found: Page[Hit]) -> responses.ConversationSearchResponse:
    return {"items": [_hit(each) for each in found.items], "next_cursor": found.next_cursor}


def _hit(found: Hit) -> responses.ConversationSearchResult:
    return {
        "conversation_id": str(found.conversation.id),
        "preview": found.preview[:1000],
        "score": found.score,
        "updated_at": timestamp(found.conversation.moved_at),
    }


def history(ctx: Ctx, conversation_id: UUID) -> responses.ConversationHistory:
    kept = conversations.get_conversation(ctx, conversation_id, whose=WHOSE)
    said = conversations.last_messages(ctx, conversation_id, whose=WHOSE, limit=MOST_MESSAGES)
    agent = next((each.agent_key for each in reversed(said) if each.agent_key), kept.agent_key)
    return {
        "conversation_id": str(kept.id),
        "messages": [_message(each) for each in said],
        "created_at": timestamp(kept.created_at),
        "updated_at": timestamp(kept.moved_at),
        "agent_context": None if agent is None else {"active_agent": agent},
    }


def _message(said: Message) -> responses.ChatMessage:
    return {
        "role": cast("Any", said.role),
        "content": said.content,
        "timestamp": timestamp(said.created_at),
        "attachments": wire_chat.attachments(said.attachments),
    }


# --- what happened ---------------------------------------------------------------------------------------------


def steps(ctx: Ctx, conversation_id: UUID, run_id: UUID | None) -> responses.ConversationEventsResponse:
    """What was said and what happened in between, in order. A step's number is the same with and without `run_id`."""
    said = conversations.last_messages(ctx, conversation_id, whose=WHOSE, limit=MOST_STEPS)
    happened = conversations.list_events(ctx, conversation_id, whose=WHOSE, names=STEPS, limit=LOOKED_AT)
    found = list(_ordered(said, happened))
    for number, item in enumerate(found, 1):
        item["sequence_no"] = number
    run = None if run_id is None else str(run_id)
    shown = [item for item in found if run is None or item["workflow_run_id"] == run]
    return {"conversation_id": str(conversation_id), "items": shown[-MOST_STEPS:]}


def _ordered(
    said: Sequence[Message], happened: Sequence[tuple[Turn, TurnEvent]]
) -> Iterator[responses.ConversationEventItem]:
    """Each answer stands behind what led to it, and what led to none behind its question."""
    turns = {turn.id: turn for turn, _ in happened}
    waiting: dict[UUID, list[TurnEvent]] = {}
    for turn, event in happened:
        waiting.setdefault(turn.id, []).append(event)

    def led(turn_id: UUID | None) -> Iterator[responses.ConversationEventItem]:
        for event in waiting.pop(turn_id, ()) if turn_id is not None else ():
            yield from _happened(turns[event.turn_id], event)

    asked: UUID | None = None
    for message in said:
        yield from led(asked if message.role == "user" else message.turn_id)
        yield _said(None if message.turn_id is None else turns.get(message.turn_id), message)
        asked = message.turn_id if message.role == "user" else asked
    yield from led(asked)


def _said(turn: Turn | None, message: Message) -> responses.ConversationEventItem:
    asked = message.role == "user"
    return _step(
        turn,
        "user_message_item" if asked else "message_output_item",
        timestamp(message.created_at if turn is None or asked or turn.ended_at is None else turn.ended_at),
        run_item_name=None if asked else "message_output_created",
        role=message.role,
        agent=None if asked else message.agent_key,
        model=message.model,
        content_text=message.content,
        attachments=wire_chat.attachments(message.attachments),
        response_id=turn.response_id if turn is not None and not asked else None,
    )


def _happened(turn: Turn, event: TurnEvent) -> Iterator[responses.ConversationEventItem]:
    data = event.data
    call = {"agent": data["agent"], "tool_call_id": str(data.get("call_id")), "tool_name": str(data.get("tool"))[:64]}
    output = call | {"run_item_name": "tool_output"}
    match event.name:
        case events.LLM_COMPLETED if data.get("reasoning"):
            given = {"agent": data["agent"], "model": data["model"], "reasoning_text": data["reasoning"]}
            yield _step(turn, "reasoning_item", data["at"], run_item_name="reasoning_item_created", **given)
        case events.TOOL_STARTED:
            asked = wire_chat.bounded(data["arguments"])
            yield _step(turn, "tool_call_item", data["at"], run_item_name="tool_called", call_arguments=asked, **call)
        case events.TOOL_COMPLETED:
            files = wire_chat.attachments(data["attachments"])
            came = wire_chat.outcome(data["result"])
            yield _step(turn, "tool_call_output_item", data["at"], call_output=came, attachments=files, **output)
        case events.TOOL_ERROR:
            came = {"error": data["error"]}
            yield _step(turn, "tool_call_output_item", data["at"], call_output=came, **output)
        case events.CONFIRMATION_REQUIRED:
            yield _step(turn, "tool_call_output_item", data["at"], call_output=wire_chat.waiting(data), **output)
        case events.HANDOFF:
            name = {"run_item_name": "handoff_requested", "agent": data["from_agent"]}
            yield _step(turn, "handoff_call_item", data["at"], **name)
            name = {"run_item_name": "handoff_occured", "agent": data["to_agent"]}
            yield _step(turn, "handoff_output_item", data["at"], **name)


def _step(turn: Turn | None, item_type: str, at: str, **given: Any) -> responses.ConversationEventItem:
    item: dict[str, Any] = dict.fromkeys(_FIELDS)
    run_id = None if turn is None else turn.options.get("workflow_run_id")
    item |= {
        "sequence_no": 1,
        "run_item_type": item_type,
        "attachments": [],
        "workflow_run_id": run_id,
        "timestamp": at,
    }
    return cast("responses.ConversationEventItem", item | given)


_FIELDS = (
    "run_item_name", "role", "agent", "tool_call_id", "tool_name", "model", "content_text", "reasoning_text",
    "call_arguments", "call_output", "response_id",
)  # fmt: skip


# --- agents ----------------------------------------------------------------------------------------------------


def offered(ctx: Ctx) -> list[OfferedAgent]:
    """The agents that can be talked to here, by name."""
    return list(agents.own_settings.list_offered(ctx, wire_chat.SURFACE, page=OffsetPage(200)).items)


def agent_list(ctx: Ctx) -> responses.ListAgentsResponse:
    return [
        {
            "name": each.agent.key,
            "status": _state(ctx, each),
            "description": each.agent.description[:1000] or None,
        }
        for each in offered(ctx)
    ]


def agent_status(ctx: Ctx, name: str) -> responses.AgentStatus:
    asked = agents.own_settings.get_offered(ctx, wire_chat.SURFACE, name)
    last, count = conversations.spoken_with(ctx, asked.agent.key)
    return {
        "name": asked.agent.key,
        "status": _state(ctx, asked),
        "last_used": timestamp(last),
        "total_conversations": count,
    }


def _state(ctx: Ctx, each: OfferedAgent) -> Literal["active", "inactive", "error"]:
    if not each.enabled:
        return "inactive"
    try:
        chat_model(ctx, agents.caller(ctx), each.model_tier, each.agent.model)
    except Unavailable:
        return "error"
    return "active"


# --- tools -----------------------------------------------------------------------------------------------------


def tools(ctx: Ctx) -> responses.ToolCatalogue:
    """Tools that work on this server and that agents of this surface have, by name."""
    found: dict[str, responses.ToolInfo] = {}
    for each in offered(ctx):
        for held in agents.own_settings.tools_for(ctx, each.agent):
            if not (held.enabled and held.tool.available):
                continue
            tool = held.tool
            known = found.setdefault(
                tool.name,
                {
                    "name": tool.name,
                    "description": tool.description[:1000],
                    "category": tool.category,
                    "agents": [],
                    "parameters": dict(tool.parameters) if tool.parameters.get("properties") else None,
                },
            )
            if len(known["agents"]) < 100:
                known["agents"].append(each.agent.key)
    return dict(sorted(found.items()))
