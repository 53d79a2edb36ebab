"""Conversations as their people see them: lists, searches, messages, names, branches, deletion, feedback."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import distinct_on

from domain import agents, audit, inference
from domain.conversations import events, rules
from domain.conversations.models import ACTIVE, Conversation, Feedback, GuardrailEvent, MessageRow, Turn, TurnEvent
from domain.conversations.writing import new_conversation, owner_of
from domain.inference import Deadline, TimedOut, Vector
from domain.kernel import outbox
from domain.kernel.context import Ctx
from domain.kernel.cursor import decode, encode, listed
from domain.kernel.errors import Conflict, NotFound, Unavailable, Unprocessable
from domain.kernel.ids import new_id
from domain.kernel.pages import CursorPage, OffsetPage, Page

KEPT = timedelta(days=30)
"""How long a deleted conversation can be brought back."""
PATIENCE = 5.0
"""Seconds that a search waits for the model that knows what its words mean."""
Whose = Literal["own", "organisation"]
"""The caller's own, or everybody's of the organisation on the caller's surface."""
ERASED_AFTER = timedelta(seconds=30)
"""When a conversation is erased in which an answer was under way: by then its watchers have been told."""


@dataclass(frozen=True, slots=True)
class Message:
    """Something said. `content` of an answer under way is what has come so far."""

    id: UUID
    conversation_id: UUID
    role: str
    content: str
    status: str
    mode: str | None
    turn_id: UUID | None
    agent_key: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    citations: Sequence[dict[str, Any]]
    tool_calls: Sequence[dict[str, Any]]
    attachments: Sequence[dict[str, Any]]
    structured_output: dict[str, Any] | None
    rating: str | None
    comment: str | None
    rated_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Hit:
    """A conversation that was found, and the passage that fits."""

    conversation: Conversation
    preview: str
    score: float


@dataclass(frozen=True, slots=True)
class Rating:
    message_id: UUID
    rating: str
    comment: str | None
    updated_at: datetime


def create_conversation(
    ctx: Ctx, *, agent: str | UUID | None = None, title: str | None = None, source: str = "chat"
) -> Conversation:
    """An empty one. Raises `NotFound`, `Forbidden`."""
    surface = ctx.surface or "beeflow"
    key = agent if agent is not None else rules.of_surface(surface).agent
    chosen = agents.get_agent(ctx, key) if isinstance(key, UUID) else agents.find_agent(ctx, key)
    agents.access.allowed(ctx, chosen)
    made = new_conversation(ctx, surface=surface, source=source, agent=chosen, title=title)
    audit.record(ctx, "conversation.create", resource_type="conversation", resource_id=made.id)
    return made


def get_conversation(ctx: Ctx, conversation_id: UUID, *, whose: Whose = "own") -> Conversation:
    """Raises `NotFound`, also for one that was deleted."""
    found = ctx.session.scalars(
        select(Conversation).where(Conversation.id == conversation_id, *_theirs(ctx, whose))
    ).one_or_none()
    if found is None:
        raise NotFound("There is no such conversation.")
    return found


def list_conversations(
    ctx: Ctx,
    *,
    whose: Whose = "own",
    search: str | None = None,
    agent: str | UUID | None = None,
    source: str | None = None,
    surface: str | None = None,
    page: OffsetPage | CursorPage | None = None,
) -> Page[Conversation]:
    """The latest moved first; by offset with their `total`, or by cursor. `search` looks for words in titles and
    messages; `agent` is the one in charge by its id, or one that took part by its key.

    Raises `Invalid` for a cursor of another listing.
    """
    query = select(Conversation).where(*_theirs(ctx, whose))
    if search is not None:
        query = query.where(_holds(search))
    if isinstance(agent, UUID):
        query = query.where(Conversation.agent_id == agent)
    elif agent is not None:
        query = query.where(_with(agent))
    if source is not None:
        query = query.where(Conversation.source == source)
    if surface is not None:
        query = query.where(Conversation.surface == surface)
    if isinstance(page, CursorPage):
        listing = f"conversations:{ctx.organisation}:{whose}:{agent}:{source}:{search}"
        return listed(
            ctx.session, query, Conversation.moved_at, Conversation.id, page=page, listing=listing, descending=True
        )
    page = page or OffsetPage()
    total = ctx.session.scalar(query.with_only_columns(func.count(Conversation.id))) or 0
    rows = ctx.session.scalars(
        query.order_by(Conversation.moved_at.desc(), Conversation.id.desc()).limit(page.limit).offset(page.offset)
    ).all()
    return Page(rows, total=total)


def search_conversations(
    ctx: Ctx,
    words: str,
    *,
    vector: Vector | None = None,
    whose: Whose = "own",
    agent: str | None = None,
    page: CursorPage | None = None,
) -> Page[Hit]:
    """Conversations whose messages hold the words, or (with the words' `vector`) what is near them; the best first.

    Raises `Invalid` for a cursor of another search.
    """
    page = page or CursorPage(20)
    words = inference.clean(words)[0].strip()
    listing = f"search:{ctx.organisation}:{whose}:{agent}:{words}"
    offset = 0 if page.cursor is None else int(str(decode(listing, page.cursor)[0]))
    conditions = [*_theirs(ctx, whose)]
    if agent is not None:
        conditions.append(_with(agent))
    hits = _by_words(ctx, words, conditions)
    if vector is not None:
        hits = _joined(hits, _by_meaning(ctx, vector, conditions))
    chosen = hits[offset : offset + page.limit]
    rows = {
        c.id: c for c in ctx.session.scalars(select(Conversation).where(Conversation.id.in_([h[0] for h in chosen])))
    }
    more = len(hits) > offset + page.limit
    return Page(
        [Hit(rows[c], _around(content, words), score) for c, content, score in chosen if c in rows],
        next_cursor=encode(listing, [offset + page.limit]) if more else None,
    )


def meaning_of(words: str) -> Vector | None:
    """Where the words of a search stand in vector space, for `search_conversations`; None when no model is there. It
    takes a moment: ask before the transaction's first statement."""
    try:
        vectors: Vector = inference.drivers().embedder.embed([inference.clean(words)[0][:1000]], Deadline(PATIENCE))
    except (Unavailable, TimedOut):
        return None
    return cast("Vector", vectors[0])


def list_messages(
    ctx: Ctx,
    conversation_id: UUID,
    *,
    whose: Whose = "own",
    order: str = "asc",
    unfinished: bool = True,
    page: OffsetPage | None = None,
) -> Page[Message]:
    """What was said, with its `total`. `unfinished`: an answer under way is there with what has come so far.

    Raises `NotFound`.
    """
    conversation = get_conversation(ctx, conversation_id, whose=whose)
    page = page or OffsetPage()
    query = select(MessageRow).where(MessageRow.conversation_id == conversation.id)
    if not unfinished:
        query = query.where(
            MessageRow.status.in_(("complete", "cancelled", "blocked", "failed")), MessageRow.content != ""
        )
    total = ctx.session.scalar(query.with_only_columns(func.count(MessageRow.id))) or 0
    place = MessageRow.position.desc() if order == "desc" else MessageRow.position
    rows = ctx.session.scalars(query.order_by(place).limit(page.limit).offset(page.offset)).all()
    return Page(_messages(ctx, rows), total=total)


def last_messages(ctx: Ctx, conversation_id: UUID, *, whose: Whose = "own", limit: int = 1000) -> list[Message]:
    """The last `limit` messages, the oldest first. Raises `NotFound`."""
    found = list_messages(ctx, conversation_id, whose=whose, order="desc", unfinished=False, page=OffsetPage(limit))
    return list(reversed(found.items))


def list_events(
    ctx: Ctx, conversation_id: UUID, *, whose: Whose = "own", names: Collection[str] = (), limit: int = 5000
) -> list[tuple[Turn, TurnEvent]]:
    """What happened in a conversation, step by step, the oldest first: of a longer one the last `limit`. `names`: only
    events of these. Else single words are left out; messages hold them. Raises `NotFound`."""
    conversation = get_conversation(ctx, conversation_id, whose=whose)
    words = (events.TEXT_DELTA, events.REASONING_DELTA, events.PROGRESS)
    rows = ctx.session.execute(
        select(Turn, TurnEvent)
        .join(TurnEvent, TurnEvent.turn_id == Turn.id)
        .where(
            Turn.conversation_id == conversation.id,
            TurnEvent.name.in_(names) if names else TurnEvent.name.not_in(words),
        )
        .order_by(Turn.created_at.desc(), Turn.id.desc(), TurnEvent.number.desc())
        .limit(limit)
    ).all()
    return [(turn, event) for turn, event in reversed(rows)]


def rename_conversation(ctx: Ctx, conversation_id: UUID, title: str) -> Conversation:
    """Raises `NotFound`, `Unprocessable`."""
    conversation = get_conversation(ctx, conversation_id)
    cleaned = " ".join(title.split())[:200]
    if not cleaned:
        raise Unprocessable("A title needs a word.", field="title")
    conversation.title, conversation.title_given = cleaned, True
    audit.record(ctx, "conversation.rename", resource_type="conversation", resource_id=conversation_id)
    return conversation


def branch_conversation(ctx: Ctx, conversation_id: UUID, message_id: UUID, *, title: str | None = None) -> Conversation:
    """A new conversation with everything up to and including a message. Raises `NotFound`, `Conflict` (the message is
    still under way)."""
    origin = get_conversation(ctx, conversation_id)
    last = ctx.session.scalars(
        select(MessageRow).where(MessageRow.id == message_id, MessageRow.conversation_id == origin.id)
    ).one_or_none()
    if last is None:
        raise NotFound("There is no such message in this conversation.")
    if last.status in ("streaming", "awaiting_decision"):
        raise Conflict("This answer is still under way.", reason="turn_active")
    branch = Conversation(
        id=new_id(), owner_key=origin.owner_key, user_id=origin.user_id, surface=origin.surface, source=origin.source,
        title=title or origin.title, title_given=title is not None or origin.title_given, agent_key=origin.agent_key,
        agent_id=origin.agent_id, parent_id=origin.id, branch_message_id=message_id, context=dict(origin.context),
        message_count=0, moved_at=ctx.now(), extracted_up_to=min(origin.extracted_up_to, last.position),
    )  # fmt: skip
    ctx.session.add(branch)
    ctx.session.flush()
    rows = ctx.session.scalars(
        select(MessageRow)
        .where(
            MessageRow.conversation_id == origin.id,
            MessageRow.position <= last.position,
            MessageRow.status.not_in(("streaming", "awaiting_decision")),
        )
        .order_by(MessageRow.position)
    ).all()
    copied = (
        "position", "role", "content", "status", "mode", "agent_key", "model", "input_tokens", "output_tokens",
        "citations", "tool_calls", "attachments", "structured_output",
    )  # fmt: skip
    for row in rows:
        ctx.session.add(
            MessageRow(
                conversation_id=branch.id,
                search=func.to_tsvector("simple", row.content[:100_000]),
                **{name: getattr(row, name) for name in copied},
            )
        )
    branch.message_count = len(rows)
    branch.last_message, branch.last_message_at = last.content[:500], last.created_at
    ctx.session.flush()
    audit.record(
        ctx, "conversation.branch", resource_type="conversation", resource_id=branch.id,
        details={"from": str(origin.id), "message_id": str(message_id)},
    )  # fmt: skip
    return branch


def delete_conversation(ctx: Ctx, conversation_id: UUID, *, whose: Whose = "own", for_good: bool = False) -> None:
    """Hide it at once, to be erased after 30 days, or `for_good`: erase it now, and with an answer under way as soon as
    that has ended. It is cancelled.

    Raises `NotFound`.
    """
    conversation = get_conversation(ctx, conversation_id, whose=whose)
    # Turns first, then the conversation: the order in which a turn that ends takes its locks.
    stopping = ctx.session.scalars(
        update(Turn)
        .where(Turn.conversation_id == conversation_id, Turn.state == "running")
        .values(cancel_requested_at=ctx.now())
        .returning(Turn.id)
        .execution_options(synchronize_session=False)
    ).all()
    stopped = _stop_idle(ctx, conversation_id)
    ctx.session.execute(select(Conversation.id).where(Conversation.id == conversation_id).with_for_update())
    if for_good and not (stopping or stopped or active_turns(ctx, [conversation_id])):
        ctx.session.delete(conversation)
    else:
        conversation.deleted_at = ctx.now()
        conversation.client_id = None  # the client may begin anew under the same id
        if for_good:
            erase_later(ctx, conversation_id)
    ctx.session.flush()
    audit.record(
        ctx, "conversation.delete", resource_type="conversation", resource_id=conversation_id,
        details={"for_good": for_good},
    )  # fmt: skip


def restore_conversation(ctx: Ctx, conversation_id: UUID) -> Conversation:
    """Bring a deleted one of the organisation back; for administrators. Raises `NotFound`, `Forbidden`."""
    ctx.require("conversations:manage")
    found = ctx.session.scalars(
        select(Conversation).where(Conversation.id == conversation_id, Conversation.deleted_at.is_not(None))
    ).one_or_none()
    if found is None:
        raise NotFound("There is no such deleted conversation.")
    found.deleted_at = None
    audit.record(ctx, "conversation.restore", resource_type="conversation", resource_id=conversation_id)
    return found


def erase_later(ctx: Ctx, conversation_id: UUID) -> None:
    """Have a hidden conversation erased once nobody watches an answer in it any more."""
    outbox.enqueue(
        ctx, "conversations.erase", {"conversation_id": str(conversation_id)}, queue="default", delay=ERASED_AFTER
    )


def erase(ctx: Ctx, conversation_id: UUID) -> bool:
    """Erase a hidden conversation; not while an answer is under way in it (then it is promised again). Whether it is
    gone."""
    hidden = (Conversation.id == conversation_id, Conversation.deleted_at.is_not(None))
    if active_turns(ctx, [conversation_id]):
        erase_later(ctx, conversation_id)
        return False
    ctx.session.execute(delete(Conversation).where(*hidden).execution_options(synchronize_session=False))
    return True


def purge_deleted(ctx: Ctx, *, limit: int = 500) -> int:
    """Erase what was deleted 30 days ago, with its turns and events: in a context of the platform. How many."""
    return _purge(ctx, Conversation.deleted_at < ctx.now() - KEPT, limit)


def purge_older(ctx: Ctx, days: int, *, limit: int = 500) -> int:
    """Erase the organisation's conversations that have not moved for `days`, deleted ones too: its retention. How
    many."""
    gone = _purge(ctx, Conversation.moved_at < ctx.now() - timedelta(days=days), limit)
    if gone:
        audit.record(ctx, "conversation.purge", resource_type="conversation", details={"days": days, "removed": gone})
    return gone


def erase_person(ctx: Ctx, user_id: UUID) -> int:
    """Erase a person's conversations, and take their name from the guardrail log: for the erasure of an account."""
    ctx.session.execute(
        update(GuardrailEvent)
        .where(GuardrailEvent.user_id == user_id)
        .values(user_id=None)
        .execution_options(synchronize_session=False)
    )
    gone = ctx.session.execute(
        delete(Conversation)
        .where(Conversation.user_id == user_id)
        .returning(Conversation.id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())


def rate_message(ctx: Ctx, message_id: UUID, rating: str, comment: str | None = None) -> Rating:
    """Thumbs up or down for an answer of one's own conversation; again: instead of the earlier one.

    Raises `NotFound`, `Conflict` (under way), `Unprocessable` (no answer).
    """
    row = ctx.session.scalars(
        select(MessageRow)
        .join(Conversation, Conversation.id == MessageRow.conversation_id)
        .where(MessageRow.id == message_id, *_theirs(ctx, "own"))
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such message.")
    if row.role != "assistant":
        raise Unprocessable("Only answers can be rated.", field="msgId")
    if row.status in ("streaming", "awaiting_decision"):
        raise Conflict("This answer is still under way.", reason="turn_active")
    given = ctx.session.scalars(
        select(Feedback).where(Feedback.message_id == message_id, Feedback.owner_key == owner_of(ctx)).with_for_update()
    ).one_or_none()
    if given is None:
        given = Feedback(message_id=message_id, owner_key=owner_of(ctx))
        ctx.session.add(given)
    given.rating, given.comment = rating, comment
    given.updated_at = ctx.now()  # the same again is news too
    ctx.session.flush()
    audit.record(ctx, "message.feedback", resource_type="message", resource_id=message_id, details={"rating": rating})
    return Rating(message_id, rating, comment, given.updated_at)


def spoken_with(ctx: Ctx, agent: str) -> tuple[datetime | None, int]:
    """When the organisation last spoke to an agent on the caller's surface, and in how many conversations."""
    last, count = ctx.session.execute(
        select(func.max(Turn.created_at), func.count(func.distinct(Turn.conversation_id)))
        .join(Conversation, Conversation.id == Turn.conversation_id)
        .where(*_theirs(ctx, "organisation"), or_(Turn.agent_key == agent, Turn.agent_used == agent))
    ).one()
    return last, count or 0


def active_turns(ctx: Ctx, ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """The turn under way in each of these conversations that has one."""
    rows = ctx.session.execute(
        select(Turn.conversation_id, Turn.id).where(Turn.conversation_id.in_(ids), Turn.state.in_(ACTIVE))
    )
    return {row.conversation_id: row.id for row in rows}


# --- below ------------------------------------------------------------------------------------------------


def _theirs(ctx: Ctx, whose: Whose) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Conversation.deleted_at.is_(None)]
    if whose == "own":
        conditions.append(Conversation.owner_key == owner_of(ctx))
    elif ctx.surface is not None:  # what was said elsewhere is its person's own
        conditions.append(Conversation.surface == ctx.surface)
    return conditions


def _with(agent: str) -> ColumnElement[bool]:
    """That an agent took part: it was asked, or it answered."""
    answered = exists().where(
        Turn.conversation_id == Conversation.id, or_(Turn.agent_key == agent, Turn.agent_used == agent)
    )
    return or_(Conversation.agent_key == agent, answered)


def _holds(words: str) -> ColumnElement[bool]:
    held = select(MessageRow.conversation_id).where(
        MessageRow.search.op("@@", is_comparison=True)(func.websearch_to_tsquery("simple", words))
    )
    return or_(Conversation.title.icontains(words, autoescape=True), Conversation.id.in_(held))


_Found = list[tuple[UUID, str, float]]
FOUND = 200
"""Conversations that one search ranks."""


def _by_words(ctx: Ctx, words: str, conditions: Sequence[ColumnElement[bool]]) -> _Found:
    query = func.websearch_to_tsquery("simple", words)
    rank = func.ts_rank_cd(MessageRow.search, query, 32).label("rank")
    found = _best(
        select(MessageRow.conversation_id, MessageRow.content, rank)
        .join(Conversation, Conversation.id == MessageRow.conversation_id)
        .where(*conditions, MessageRow.search.op("@@", is_comparison=True)(query))
    )
    return [(row[0], row[1], round(float(row[2]), 4)) for row in ctx.session.execute(found)]


def _best(query: Select[Any]) -> Select[Any]:
    inner = (
        query.ext(distinct_on(MessageRow.conversation_id))
        .order_by(MessageRow.conversation_id, text("rank DESC"))
        .subquery()
    )
    return select(inner).order_by(text("rank DESC")).limit(FOUND)


def _by_meaning(ctx: Ctx, vector: Vector, conditions: Sequence[ColumnElement[bool]]) -> _Found:
    ctx.session.execute(text("SET LOCAL hnsw.iterative_scan = strict_order"))
    distance = MessageRow.embedding.cosine_distance(vector).label("distance")
    rows = ctx.session.execute(
        select(MessageRow.conversation_id, MessageRow.content, distance)
        .join(Conversation, Conversation.id == MessageRow.conversation_id)
        .where(*conditions, MessageRow.embedding.is_not(None))
        .order_by(distance)
        .limit(60)
    )
    best: dict[UUID, tuple[UUID, str, float]] = {}
    for row in rows:
        likeness = 1 - float(row[2])
        if likeness >= 0.4:
            best.setdefault(row[0], (row[0], row[1], round(likeness, 4)))
    return list(best.values())


def _joined(words: _Found, meaning: _Found) -> _Found:
    """Both rankings as one, by reciprocal rank: neither's scores are the other's."""
    scores: dict[UUID, float] = {}
    kept: dict[UUID, tuple[UUID, str, float]] = {}
    for ranking in (words, meaning):
        for place, hit in enumerate(ranking):
            scores[hit[0]] = scores.get(hit[0], 0.0) + 1 / (10 + place)
            kept.setdefault(hit[0], hit)
    ranked = sorted(scores, key=lambda c: (-scores[c], c))
    return [(c, kept[c][1], round(scores[c] * 10, 4)) for c in ranked]


def _around(content: str, words: str, longest: int = 300) -> str:
    lower = content.lower()
    at = min((p for p in (lower.find(w) for w in words.lower().split()) if p >= 0), default=0)
    start = max(0, at - 80)
    piece = " ".join(content[start : start + longest].split())
    return ("…" if start else "") + piece + ("…" if start + longest < len(content) else "")


def _messages(ctx: Ctx, rows: Sequence[MessageRow]) -> list[Message]:
    ids = [row.id for row in rows]
    ratings = {
        f.message_id: f
        for f in ctx.session.scalars(
            select(Feedback).where(Feedback.message_id.in_(ids), Feedback.owner_key == owner_of(ctx))
        )
    }
    partial = _so_far(ctx, [row.id for row in rows if row.status in ("streaming", "awaiting_decision")])
    return [
        Message(
            row.id, row.conversation_id, row.role, partial.get(row.id, row.content), row.status, row.mode, row.turn_id,
            row.agent_key, row.model, row.input_tokens, row.output_tokens, row.citations, row.tool_calls,
            row.attachments, row.structured_output,
            rating.rating if (rating := ratings.get(row.id)) else None,
            rating.comment if rating else None,
            rating.updated_at if rating else None,
            row.created_at,
        )
        for row in rows
    ]  # fmt: skip


def _so_far(ctx: Ctx, ids: Sequence[UUID]) -> dict[UUID, str]:
    if not ids:
        return {}
    words: dict[UUID, list[str]] = {}
    for event in ctx.session.scalars(
        select(TurnEvent)
        .where(TurnEvent.turn_id.in_(ids), TurnEvent.name == events.TEXT_DELTA)
        .order_by(TurnEvent.turn_id, TurnEvent.number)
    ):
        words.setdefault(event.turn_id, []).append(event.data["delta"])
    return {turn: "".join(each) for turn, each in words.items()}


def _stop_idle(ctx: Ctx, conversation_id: UUID) -> bool:
    """End the turns that nothing works on; whether there were any."""
    from domain.conversations.turns import end_outside

    idle = ctx.session.scalars(
        select(Turn)
        .where(Turn.conversation_id == conversation_id, Turn.state.in_(("queued", "waiting")))
        .with_for_update()
    ).all()
    for turn in idle:
        end_outside(ctx, turn, "cancelled", events.CANCELLED, message="Cancelled", response="")
    return bool(idle)


def _purge(ctx: Ctx, which: ColumnElement[bool], limit: int) -> int:
    ids = ctx.session.scalars(select(Conversation.id).where(which).order_by(Conversation.id).limit(limit)).all()
    if ids:
        ctx.session.execute(
            delete(Conversation).where(Conversation.id.in_(ids)).execution_options(synchronize_session=False)
        )
    return len(ids)
