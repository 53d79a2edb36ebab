"""Naming a conversation anew, when somebody asks for it: a job, because a model reads the conversation."""

from __future__ import annotations

import re
from uuid import UUID

from sqlalchemy import select

from domain import audit, inference
from domain.conversations import rules
from domain.conversations.history import get_conversation
from domain.conversations.models import Conversation, MessageRow
from domain.inference import ChatRequest, Deadline, Message, TimedOut
from domain.inference.choice import chat_model
from domain.kernel import outbox
from domain.kernel.context import Ctx, Work
from domain.kernel.errors import DomainError, LimitExceeded, Unavailable, Unprocessable
from domain.kernel.ids import new_id

SECONDS = 20.0
TOLD = "Name the conversation in at most six words. Answer with the name alone, without quotes or a full stop."


ENDS = frozenset({"done", "failed"})
"""What comes on `channel`, once."""
_KEPT = 8
"""Requests of a conversation whose outcome is known."""
_PROBLEMS: dict[str, type[DomainError]] = {
    kind.code: kind for kind in (Unavailable, inference.Refused, inference.InvalidOutput, TimedOut, LimitExceeded)
}


def channel(request_id: UUID) -> str:
    """Where one of `ENDS` comes when `titled` knows."""
    return f"conversation-title:{request_id}"


def titled(ctx: Ctx, conversation_id: UUID, request_id: UUID) -> bool:
    """Whether the name that was asked for is there, or is known not to come. Raises `NotFound`."""
    return str(request_id) in _outcomes(get_conversation(ctx, conversation_id))


def retitled(ctx: Ctx, conversation_id: UUID, request_id: UUID) -> Conversation:
    """The conversation with the name that was asked for.

    Raises `NotFound`, and what kept the model from it: `Unavailable`, `TimedOut`, `InvalidOutput`, `Refused`.
    """
    conversation = get_conversation(ctx, conversation_id)
    kept = _outcomes(conversation).get(str(request_id))
    if kept is None:
        raise TimedOut("The model took too long to name it.")
    if kept["code"] is not None:
        problem = _PROBLEMS.get(kept["code"], Unavailable)
        # A provider's limit is not the caller's.
        raise (Unavailable if problem is LimitExceeded else problem)(kept["message"])
    return conversation


def request_title(ctx: Ctx, conversation_id: UUID) -> UUID:
    """Have a conversation named anew, also where a person named it; the id that `channel` takes.

    Raises `NotFound`, `Unprocessable` (nothing was said in it).
    """
    conversation = get_conversation(ctx, conversation_id)
    if conversation.message_count == 0:
        raise Unprocessable("There is nothing to name it after.")
    request_id = new_id()
    outbox.enqueue(
        ctx,
        "conversations.retitle",
        {"conversation_id": str(conversation_id), "request_id": str(request_id)},
        queue="interactive",
        max_attempts=2,
    )
    audit.record(ctx, "conversation.title_regenerate", resource_type="conversation", resource_id=conversation_id)
    return request_id


def retitle(work: Work, conversation_id: UUID, request_id: UUID) -> None:
    """Read the conversation, name it, and say so. A model that is away leaves the name as it was."""
    with work.transaction() as ctx:
        conversation = ctx.session.get(Conversation, conversation_id)
        if conversation is None:
            work.complete(ctx)
            return
        rows = ctx.session.scalars(
            select(MessageRow)
            .where(MessageRow.conversation_id == conversation_id, MessageRow.content != "")
            .order_by(MessageRow.position)
            .limit(6)
        ).all()
        said = [(row.role, row.content[:2000]) for row in rows]
        problem: DomainError | None = None
        try:
            model = chat_model(ctx, conversation.user_id, "fast")
        except DomainError as away:
            problem = away
    title = ""
    if problem is None:
        try:
            title = _named(model, said, Deadline(SECONDS))
        except DomainError as failed:
            problem = failed
    with work.transaction() as ctx:
        conversation = ctx.session.get(Conversation, conversation_id, with_for_update=True)
        if conversation is not None:
            if title:
                conversation.title, conversation.title_given = title, False
            _note(conversation, request_id, problem)
        work.complete(ctx)
    work.publish(channel(request_id), 1, "done" if problem is None else "failed", {})


def _outcomes(conversation: Conversation) -> dict[str, dict[str, str | None]]:
    return dict(conversation.context.get("titles") or {})


def _note(conversation: Conversation, request_id: UUID, problem: DomainError | None) -> None:
    told = {"code": problem and problem.code, "message": problem and problem.message[:2000]}
    latest = [*_outcomes(conversation).items(), (str(request_id), told)][-_KEPT:]
    conversation.context = {**conversation.context, "titles": dict(latest)}


def _named(model: inference.ChatModel, said: list[tuple[str, str]], deadline: Deadline) -> str:
    """By the model where it can write; else after what was asked most fully."""
    asked = [text for role, text in said if role == "user"]
    if not getattr(model, "capable", False):
        return rules.title_of(max(asked, key=lambda text: min(len(text), 120), default="Conversation"))
    words: list[str] = []
    material = "\n".join(f"{role}: {text}" for role, text in said)
    request = ChatRequest(TOLD, (Message("user", material),), material, max_tokens=40)
    inference.generate(model, request, deadline, lambda kind, text: words.append(text) if kind == "text" else None)
    name = " ".join("".join(words).split()).strip(" \"'.“”")
    return re.sub(r"^(?:title|name)\s*:\s*", "", name, flags=re.I)[:200] or rules.title_of(asked[0])
