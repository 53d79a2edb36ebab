"""What was said before a question, as far as a model is shown it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from domain.conversations import events, rules
from domain.conversations.guardrails.recognise import Finding
from domain.conversations.models import Conversation, MessageRow, Turn, TurnEvent
from domain.inference import Message
from domain.kernel.context import Ctx


@dataclass(frozen=True, slots=True)
class Past:
    """Something that was said. `allowed`: it may be shown as it is, because a model said it here or because its person
    has let it through; `brought`: a client said that it was said, and no guard has looked at it yet."""

    id: UUID
    role: str
    text: str
    allowed: bool
    brought: bool
    found: tuple[Finding, ...] = ()


def read(ctx: Ctx, turn: Turn, question: MessageRow) -> tuple[Past, ...]:
    """The last messages before `question`, the oldest first, within what a model is shown."""
    rows = ctx.session.scalars(
        select(MessageRow)
        .where(
            MessageRow.conversation_id == turn.conversation_id,
            MessageRow.position < question.position,
            MessageRow.status.in_(("complete", "cancelled")),
            MessageRow.role.in_(("user", "assistant")),
        )
        .order_by(MessageRow.position.desc())
        .limit(rules.HISTORY_MESSAGES)
    ).all()
    left = rules.HISTORY_CHARACTERS
    kept: list[MessageRow] = []
    for row in rows:
        left -= len(row.content)
        if left < 0:
            break
        if row.content:
            kept.append(row)
    branched = ctx.session.get_one(Conversation, turn.conversation_id).parent_id is not None
    let_through = _let_through(ctx, [row.turn_id for row in kept if row.role == "user" and row.turn_id is not None])
    return tuple(
        Past(
            row.id,
            row.role,
            row.content,
            allowed=row.turn_id in let_through if row.role == "user" else row.turn_id is not None,
            brought=row.turn_id is None and not branched,
        )
        for row in reversed(kept)
    )


def messages(said: Sequence[Past]) -> tuple[Message, ...]:
    return tuple(Message("user" if each.role == "user" else "assistant", each.text) for each in said)


def _let_through(ctx: Ctx, turns: Sequence[UUID]) -> set[UUID]:
    if not turns:
        return set()
    decided = select(TurnEvent.turn_id).where(
        TurnEvent.turn_id.in_(turns),
        TurnEvent.name == events.DLP_DECIDED,
        TurnEvent.data["decision"].as_string() == "allow",
    )
    return set(ctx.session.scalars(decided))
