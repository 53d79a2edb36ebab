"""What comes after an answer, when nobody waits any more: messages are placed in vector space for searches, and what
the person has said about themselves is remembered."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, select, update

from domain import inference, memory
from domain.conversations.events import AUDIO, PROGRESS, REASONING_DELTA, TEXT_DELTA, TRANSCRIPT
from domain.conversations.models import Conversation, MessageRow, Turn, TurnEvent, TurnStep
from domain.inference import Deadline
from domain.inference.sentences import sentences
from domain.kernel.context import Ctx, Work

LOOKED_AT = 4000
"""Characters of a message that its vector is made of."""
MOST_DRAWN = 10
"""Memories that one message gives at most."""
WORDS_KEPT = timedelta(hours=25)
"""After this the single words and steps of a turn are cleared away; its message holds the answer."""


class Hint(NamedTuple):
    pattern: re.Pattern[str]
    category: memory.personal.Category
    importance: float


def _hint(pattern: str, category: memory.personal.Category, importance: float) -> Hint:
    return Hint(re.compile(pattern, re.IGNORECASE), category, importance)


_DAYS = r"(?:day|week|month|quarter|year|morning|evening|(?:mon|tues|wednes|thurs|fri)day)"
_MINE = (
    r"(?:name|role|job|title|team|manager|boss|company|department|birthday|wife|husband|partner|son|daughter|email|"
    r"address|time ?zone|language)"
)
_DID = r"(?:met|decided|agreed|moved|finished|visited|learned)"
HINTS: Sequence[Hint] = (
    _hint(r"^(?:please )?(?:remember|note|keep in mind|don't forget)\b(?: that)?", "MEMORIES", 0.9),
    _hint(r"\b(?:I|we) (?:really )?(?:prefer|like|love|hate|dislike|can't stand|would rather)\b", "PREFERENCES", 0.7),
    _hint(r"\b(?:always|never) (?:use|write|answer|send|call|give|show|put|address)\b", "PREFERENCES", 0.75),
    _hint(r"\bmy (?:favou?rite|preferred)\b", "PREFERENCES", 0.65),
    _hint(rf"\b(?:every|each) {_DAYS}\b.*\b(?:I|we)\b|\b(?:I|we)\b.*\b(?:every|each) {_DAYS}\b", "PATTERNS", 0.6),
    _hint(r"\b(?:I|we) (?:usually|normally|typically|always|often)\b", "PATTERNS", 0.6),
    _hint(rf"\bmy {_MINE}\b.{{0,40}}\b(?:is|are)\b", "FACTS", 0.8),
    _hint(r"\bI(?: am|'m|’m) (?:an?|the|responsible for|in charge of|based in|from|allergic|vegan)\b", "FACTS", 0.7),
    _hint(r"\b(?:I|we) (?:work|live|manage|lead|run|own|use|speak|joined|started|bought|sold|hired)\b", "FACTS", 0.55),
    _hint(rf"\b(?:I|we) (?:have )?{_DID}\b", "MEMORIES", 0.55),
)
"""Sentences that say something about the person, by their form: the surest first."""


def drawn_from(text: str) -> list[tuple[str, memory.personal.Category, float]]:
    """What a message says about who wrote it: (sentence, category, importance). Questions and orders do not. Pure."""
    found = []
    for sentence in sentences(text, 60):
        words = sentence.text.strip()
        if not 12 <= len(words) <= 400 or words.endswith("?"):
            continue
        for hint in HINTS:
            if hint.pattern.search(words):
                if sentence.asks and hint.category not in ("MEMORIES", "PREFERENCES"):
                    break
                found.append((_plain(words), hint.category, hint.importance))
                break
        if len(found) == MOST_DRAWN:
            break
    return found


def digest(work: Work, turn_id: UUID) -> None:
    """Place the turn's messages, and draw memories from what was said since the last time. Idempotent."""
    with work.transaction() as ctx:
        turn = ctx.session.get(Turn, turn_id)
        conversation = None if turn is None else ctx.session.get(Conversation, turn.conversation_id)
        if turn is None or conversation is None:
            work.complete(ctx)
            return
        rows = _rows(ctx, conversation)
        user_id, remembers = turn.user_id, bool(turn.options.get("memory"))
        new = [
            each
            for row in rows
            if row.role == "user" and row.position > conversation.extracted_up_to and row.status == "complete"
            for each in drawn_from(row.content)
        ]
        last = max((row.position for row in rows), default=0)
        unplaced = [(row.id, row.content[:LOOKED_AT]) for row in rows if row.content and row.status == "complete"]
    deadline = Deadline(work.remaining())
    embedder = inference.drivers().embedder
    vectors = list(embedder.embed([content for _, content in unplaced], deadline)) if unplaced else []
    drawn = []
    if user_id is not None and remembers and new:
        placed = embedder.embed([text for text, _, _ in new], deadline)
        drawn = [memory.Drawn(*each, vector=vector) for each, vector in zip(new, placed, strict=True)]
    with work.transaction() as ctx:
        # The conversation before its messages: the order in which an erasure takes its locks.
        there = select(Conversation.id).where(Conversation.id == conversation.id).with_for_update()
        if ctx.session.scalar(there) is None:
            work.complete(ctx)
            return
        for (message_id, _), vector in zip(unplaced, vectors, strict=True):
            ctx.session.execute(
                update(MessageRow)
                .where(MessageRow.id == message_id)
                .values(embedding=vector)
                .execution_options(synchronize_session=False)
            )
        if user_id is not None and drawn:
            memory.draw(ctx, user_id, conversation.id, drawn)
        ctx.session.execute(
            update(Conversation)
            .where(Conversation.id == conversation.id, Conversation.extracted_up_to < last)
            .values(extracted_up_to=last)
            .execution_options(synchronize_session=False)
        )
        work.complete(ctx, {"memories": len(drawn)})


def compact(ctx: Ctx, *, limit: int = 500) -> int:
    """Clear away the single words, sounds and steps of turns that ended a day ago; needs a context of the platform. How
    many."""
    ids = ctx.session.scalars(
        select(Turn.id)
        .where(Turn.compacted.is_(False), Turn.ended_at < ctx.now() - WORDS_KEPT)
        .order_by(Turn.ended_at)
        .limit(limit)
    ).all()
    if ids:
        words = (TEXT_DELTA, REASONING_DELTA, PROGRESS, TRANSCRIPT, AUDIO)
        for statement in (
            delete(TurnEvent).where(TurnEvent.turn_id.in_(ids), TurnEvent.name.in_(words)),
            delete(TurnStep).where(TurnStep.turn_id.in_(ids)),
            update(Turn).where(Turn.id.in_(ids)).values(compacted=True),
        ):
            ctx.session.execute(statement.execution_options(synchronize_session=False))
    return len(ids)


def _rows(ctx: Ctx, conversation: Conversation) -> Sequence[MessageRow]:
    return ctx.session.scalars(
        select(MessageRow)
        .where(
            MessageRow.conversation_id == conversation.id,
            (MessageRow.embedding.is_(None)) | (MessageRow.position > conversation.extracted_up_to),
            MessageRow.status.not_in(("streaming", "awaiting_decision")),
        )
        .order_by(MessageRow.position.desc())
        .limit(50)
    ).all()


def _plain(words: str) -> str:
    """`Please remember that the depot moved` is remembered as `The depot moved`."""
    cut = re.sub(r"^(?:please )?(?:remember|note|keep in mind|don't forget)\b(?: that)?[\s,:]*", "", words, flags=re.I)
    cut = cut or words
    return cut[0].upper() + cut[1:]
