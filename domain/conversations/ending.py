"""How a turn ends: its answer stands in the conversation, its record says what it took, and what comes after is
promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.conversations.attachments import drop as drop_files
from domain.conversations.models import Conversation, MessageRow, Turn
from domain.conversations.writing import index, moved
from domain.kernel import outbox
from domain.kernel.context import Ctx

STATUS = {"completed": "complete", "cancelled": "cancelled", "failed": "failed"}


def settle(
    ctx: Ctx,
    turn: Turn,
    state: str,
    *,
    content: str,
    blocked: bool = False,
    mode: str | None = None,
    agent_key: str | None = None,
    model: str | None = None,
    citations: Sequence[Mapping[str, Any]] = (),
    tool_calls: Sequence[Mapping[str, Any]] = (),
    attachments: Sequence[Mapping[str, Any]] = (),
    structured_output: Mapping[str, Any] | None = None,
) -> None:
    """Write the end of a turn into its row, its message and its conversation; the terminal event is the caller's."""
    conversation = ctx.session.get_one(Conversation, turn.conversation_id)
    answer = ctx.session.get_one(MessageRow, turn.id)
    turn.state, turn.ended_at = state, ctx.now()
    turn.waiting_for = turn.waiting_until = None
    turn.recording = None
    drop_files(ctx, turn.options)  # the storage's counter before the conversation: as `start` with a file takes them
    answer.status = "blocked" if blocked else STATUS[state]
    answer.content = content
    answer.mode = mode
    answer.agent_key = agent_key or answer.agent_key
    answer.model = model
    answer.input_tokens, answer.output_tokens = turn.input_tokens, turn.output_tokens
    answer.citations = [dict(each) for each in citations]
    answer.tool_calls = [dict(each) for each in tool_calls]
    answer.attachments = [dict(each) for each in attachments]
    answer.structured_output = None if structured_output is None else dict(structured_output)
    if content or state == "completed":
        conversation.message_count += 1
        moved(ctx, conversation, content)
    ctx.session.flush()
    index(ctx, answer.id, content)
    outbox.enqueue(
        ctx, "conversations.digest", {"turn_id": str(turn.id)}, queue="default", max_attempts=3,
        unique=f"conversations.digest:{turn.id}",
    )  # fmt: skip
