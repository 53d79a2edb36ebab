"""The events of a turn. One list for every surface: each renders them in its own way, and leaves out what it does not
show.

Every event's data has `at` (ISO 8601, milliseconds, `Z`), `agent` (key of the agent at work, or None), `depth` (0 for
the first agent, one more for each delegation) and `message` (a line for people). What else it has is written beside its
name below; JSON throughout, ids and times as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

TURN_STARTED = "turn_started"
"""`mode` (as asked for), `turn_id`, `conversation_id`."""
MODE_CHOSEN = "mode_chosen"
"""`mode`, `confidence`: what `auto` came to."""
TRANSCRIPT = "transcript"
"""`text`, `language`, `final`: what was understood of a recording."""
PLAN_CREATED = "plan_created"
"""`steps`: [{id, title, agent, depends_on}]."""
REPLAN_TRIGGERED = "replan_triggered"
"""`reason`, `attempt`, `steps`."""
HYPOTHESES_UPDATED = "hypotheses_updated"
"""`hypotheses`: [{id, statement, status, confidence}]."""
AGENT_STARTED = "agent_started"
"""`step_id` (None without a plan), `title`."""
AGENT_COMPLETED = "agent_completed"
"""`step_id`, `outcome` (success, partial, failure), `duration_ms`."""
HANDOFF = "handoff"
"""`from_agent`, `to_agent`: another agent takes over for good."""
LLM_STARTED = "llm_started"
"""`model`: the model is asked."""
LLM_COMPLETED = "llm_completed"
"""`model`, `response_id`, `input_tokens`, `output_tokens`, `stop` (end, tools, length), `duration_ms`, `reasoning` (the
model's summary of it as a whole, or None)."""
TEXT_DELTA = "text_delta"
"""`delta`, `step` (whose words: a key within the turn). All deltas, put together, are the answer."""
REASONING_DELTA = "reasoning_delta"
"""`delta`: words of the model's summary of its reasoning."""
TOOL_STARTED = "tool_started"
"""`tool`, `call_id`, `arguments`, `title`: once a call, however often its turn is run."""
TOOL_COMPLETED = "tool_completed"
"""`tool`, `call_id`, `outcome` (success), `duration_ms`, `result` (JSON), `attachments`."""
TOOL_ERROR = "tool_error"
"""`tool`, `call_id`, `outcome` (failure, denied), `duration_ms`, `error` (a line for people; also that the call was
interrupted, and that nobody knows what came of it)."""
CONFIRMATION_REQUIRED = "confirmation_required"
"""`tool`, `call_id`, `arguments`, `confirmation_id`, `expires_at`."""
AUDIO = "audio"
"""`index` (from 0), `media_type`, `sound` (Base64): the next piece of the spoken answer, which can be played by
itself."""
PROGRESS = "progress"
"""`label`, `percent` (None when nobody knows)."""
CITATION = "citation"
"""A citation as in `complete`."""
DLP_FINDING = "dlp_finding"
"""`turn_id`, `categories`, `redacted_preview`, `action` (ask), `expires_at`: the turn waits."""
DLP_DECIDED = "dlp_decided"
"""`decision` (allow, redact, block), `categories`."""
STEERING_REQUIRED = "steering_required"
"""`question`, `expires_at`: an investigation waits for a word of direction."""
STEERED = "steered"
"""`text` (None when nobody said anything)."""
COMPLETE = "complete"
"""`response`, `message_id`, `conversation_id`, `mode`, `agent_used`, `handoff_occurred`, `model`, `response_id`,
`citations` [{index, kind, title, snippet, source_id, document_id, chunk_id, page, sheet, cells, connection_id,
table_name, url, score}], `tool_calls` [{id, name, status, args, error, requires_confirmation, confirmation_id,
expires_at}], `attachments`, `structured_output`, `usage` {requests, input_tokens, output_tokens, total_tokens, agents,
tool_calls, duration_ms}, `stop_reason` (end_turn, tool_use, max_tokens)."""
ERROR = "error"
"""`code` (model_unavailable, rate_limited, timed_out, limit_reached, tool_failed, dlp_blocked, dlp_expired, refused,
internal), `error` (a line for people), `retry_after`."""
CANCELLED = "cancelled"
"""Somebody stopped it; `response` is what had come so far."""

TERMINAL = frozenset({COMPLETE, ERROR, CANCELLED})
"""Exactly one of these comes, and it is the last."""


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def data(
    moment: datetime, *, agent: str | None = None, depth: int = 0, message: str = "", **more: Any
) -> Mapping[str, Any]:
    return {"at": stamp(moment), "agent": agent, "depth": depth, "message": message[:2000], **more}


def coalesced(events: list[Any]) -> list[tuple[int, str, Mapping[str, Any]]]:
    """(number, name, data) of each event, runs of words put together; a run has the number of its last."""
    result: list[tuple[int, str, Mapping[str, Any]]] = []
    for event in events:
        if result and event.name in (TEXT_DELTA, REASONING_DELTA) and result[-1][1] == event.name:
            before = result[-1][2]
            if before.get("agent") == event.data.get("agent"):
                joined = {**before, **event.data, "delta": before["delta"] + event.data["delta"]}
                result[-1] = (event.number, event.name, joined)
                continue
        result.append((event.number, event.name, event.data))
    return result
