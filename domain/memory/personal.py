"""What the platform remembers about a person, in the same store as the rings of brains: entries of the entity ring that
belong to a user. Nobody but that user may read them; every verb takes the user's id and looks at nothing else.

A row may wait for its vector (the person wrote it in a process without models); `complete_vectors` makes up for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, text, update

from domain import audit, inference
from domain.inference import Deadline, Vector
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page
from domain.memory.models import ForgottenMemory, RingEntry
from domain.memory.rules import RELEVANT

Category = Literal["MEMORIES", "PREFERENCES", "FACTS", "PATTERNS"]
CATEGORIES: tuple[Category, ...] = ("MEMORIES", "PREFERENCES", "FACTS", "PATTERNS")
MOST = 1000
"""Memories of one person; past it the least important unused ones make room."""
LONGEST = 4000
PATIENCE = 10.0
"""Seconds that the vector of a person's words may take while they wait."""
SAME = 0.90
"""Similarity from which two memories say the same."""
_ADDRESS = {
    "MEMORIES": "knowledge_ingestion.entity.person.memories",
    "PREFERENCES": "knowledge_ingestion.entity.person.preferences",
    "FACTS": "knowledge_ingestion.entity.person.facts",
    "PATTERNS": "knowledge_ingestion.entity.person.patterns",
}


@dataclass(frozen=True, slots=True)
class Memory:
    id: UUID
    text: str
    category: str
    importance: float
    source: Literal["manual", "conversation"]
    conversation_id: UUID | None
    use_count: int
    last_used_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RecalledMemory:
    """A memory that bears on a text, with where it came from."""

    id: UUID
    text: str
    category: str
    importance: float
    source: Literal["manual", "conversation"]
    conversation_id: UUID | None
    created_at: datetime
    similarity: float
    score: float


@dataclass(frozen=True, slots=True)
class CategoryCount:
    category: str
    count: int
    average_importance: float | None


@dataclass(frozen=True, slots=True)
class MemoryStats:
    total: int
    limit: int
    by_category: tuple[CategoryCount, ...]
    manual: int
    from_conversations: int
    average_importance: float | None
    oldest_at: datetime | None
    newest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """Something a conversation said about the person. `vector` is its embedding."""

    text: str
    category: Category
    importance: float
    vector: Vector


def meaning(words: str | None) -> Vector | None:
    """The vector of words, None for none; also where no model answers. To be asked before a transaction's first
    statement."""
    cleaned = inference.clean(words or "")[0].strip()
    if not cleaned:
        return None
    try:
        vector: Vector = inference.drivers().embedder.embed([cleaned], Deadline(PATIENCE))[0]
    except (Unavailable, inference.TimedOut):
        return None
    return vector


def remember(
    ctx: Ctx,
    user_id: UUID,
    content: str,
    *,
    category: str = "MEMORIES",
    importance: float = 0.5,
    vector: Vector | None = None,
) -> Memory:
    """Write down what a person says about themselves; `vector` is what `meaning` says of it, else it comes later.

    Raises `Conflict` (facts `reason` `duplicate`, `memory_id`) when the very same is remembered already, `Invalid`.
    """
    cleaned = _checked(content)
    if category not in CATEGORIES:
        raise Invalid(f"category: one of {', '.join(CATEGORIES)}.")
    _lock(ctx, user_id)
    _refuse_duplicate(ctx, user_id, cleaned)
    row = _add(ctx, user_id, cleaned, category, _share(importance), "direct_write", None, vector)
    _make_room(ctx, user_id)
    audit.record(ctx, "memory.create", resource_type="memory", resource_id=row.id, details={"category": category})
    return _memory(row)


def list_memories(
    ctx: Ctx,
    user_id: UUID,
    *,
    category: str | None = None,
    source: str | None = None,
    min_importance: float | None = None,
    search: str | None = None,
    vector: Vector | None = None,
    sort: str = "newest",
    page: OffsetPage | None = None,
) -> Page[Memory]:
    """A person's memories with their `total`. `search` finds words, and with its `vector` what means the same."""
    page = page or OffsetPage()
    query = select(RingEntry).where(*_own(user_id))
    if category is not None:
        query = query.where(RingEntry.category == category)
    if source is not None:
        query = query.where(RingEntry.source == ("direct_write" if source == "manual" else "conversation"))
    if min_importance is not None:
        query = query.where(RingEntry.importance >= min_importance)
    if search is not None:
        query = query.where(_found(search, vector))
    total = ctx.session.scalar(_counted(query)) or 0
    order = {
        "importance": (RingEntry.importance.desc(), RingEntry.id.desc()),
        "recently_used": (RingEntry.last_used_at.desc().nulls_last(), RingEntry.id.desc()),
    }.get(sort, (RingEntry.id.desc(),))
    rows = ctx.session.scalars(query.order_by(*order).limit(page.limit).offset(page.offset))
    return Page([_memory(row) for row in rows], total=total)


def get_memory(ctx: Ctx, user_id: UUID, memory_id: UUID) -> Memory:
    """Raises `NotFound`, also for another person's."""
    return _memory(_row(ctx, user_id, memory_id))


def update_memory(
    ctx: Ctx,
    user_id: UUID,
    memory_id: UUID,
    *,
    content: str | None = None,
    importance: float | None = None,
    vector: Vector | None = None,
) -> Memory:
    """Change what is given. It then counts as the person's own words, and what it said before is not drawn from its
    conversation again. Raises `NotFound`, `Conflict`, `Invalid`."""
    _lock(ctx, user_id)
    row = _row(ctx, user_id, memory_id)
    if content is not None and (cleaned := _checked(content)) != row.text:
        _refuse_duplicate(ctx, user_id, cleaned, but=memory_id)
        _draw_no_more(ctx, row)  # what was wrong does not come back beside what is right
        row.text = cleaned
        row.embedding = vector
    if importance is not None:
        row.importance = row.confidence = _share(importance)
    row.source = "direct_write"
    ctx.session.flush()
    audit.record(ctx, "memory.update", resource_type="memory", resource_id=memory_id)
    return _memory(row)


def delete_memory(ctx: Ctx, user_id: UUID, memory_id: UUID) -> None:
    """Forget it for good; the same thing is not drawn from its conversation again. Raises `NotFound`."""
    row = _row(ctx, user_id, memory_id)
    _draw_no_more(ctx, row)
    ctx.session.delete(row)
    ctx.session.flush()
    audit.record(ctx, "memory.delete", resource_type="memory", resource_id=memory_id)


def forget_person(ctx: Ctx, user_id: UUID) -> int:
    """Delete everything remembered about a person: for the erasure of an account."""
    ctx.session.execute(delete(ForgottenMemory).where(ForgottenMemory.user_id == user_id))
    gone = ctx.session.execute(delete(RingEntry).where(RingEntry.user_id == user_id).returning(RingEntry.id))
    return len(gone.all())


def memory_stats(ctx: Ctx, user_id: UUID) -> MemoryStats:
    """A person's memories in numbers; all four categories are there."""
    rows = ctx.session.execute(
        select(
            RingEntry.category,
            RingEntry.source,
            func.count(RingEntry.id),
            func.sum(RingEntry.importance),
            func.min(RingEntry.created_at),
            func.max(RingEntry.created_at),
        )
        .where(*_own(user_id))
        .group_by(RingEntry.category, RingEntry.source)
    ).all()
    total = sum(row[2] for row in rows)
    weight = sum(float(row[3] or 0) for row in rows)
    counts = []
    for category in CATEGORIES:
        own = [row for row in rows if row[0] == category]
        count = sum(row[2] for row in own)
        counts.append(
            CategoryCount(category, count, round(sum(float(r[3] or 0) for r in own) / count, 4) if count else None)
        )
    return MemoryStats(
        total=total,
        limit=MOST,
        by_category=tuple(counts),
        manual=sum(row[2] for row in rows if row[1] == "direct_write"),
        from_conversations=sum(row[2] for row in rows if row[1] == "conversation"),
        average_importance=round(weight / total, 4) if total else None,
        oldest_at=min((row[4] for row in rows), default=None),
        newest_at=max((row[5] for row in rows), default=None),
    )


def recall_personal(ctx: Ctx, user_id: UUID, vector: Vector, *, limit: int = 6) -> list[RecalledMemory]:
    """What is remembered about a person that bears on a text, the best first: by likeness, importance and age."""
    # A person's memories are few: read them by their own index, exactly, rather than by the index of all vectors.
    distance = RingEntry.embedding.cosine_distance(vector).label("distance")
    rows = ctx.session.execute(
        select(RingEntry, distance)
        .where(*_own(user_id), RingEntry.embedding.is_not(None))
        .order_by(distance + text("0"))
        .limit(40)
    )
    found = []
    for row, away in rows:
        similarity = 1 - float(away)
        if similarity < RELEVANT:
            continue
        age = (ctx.now() - row.updated_at).total_seconds() / 86400
        score = 0.7 * similarity + 0.2 * (row.importance or 0.0) + 0.1 * 0.5 ** (max(0.0, age) / 90)
        kept = _memory(row)
        found.append(
            RecalledMemory(
                kept.id, kept.text, kept.category, kept.importance, kept.source, kept.conversation_id, kept.created_at,
                round(similarity, 4), round(score, 4),
            )
        )  # fmt: skip
    return sorted(found, key=lambda m: (-m.score, m.id))[:limit]


def mark_used(ctx: Ctx, user_id: UUID, ids: Sequence[UUID]) -> None:
    """Count that an answer rested on these."""
    if ids:
        ctx.session.execute(
            update(RingEntry)
            .where(RingEntry.user_id == user_id, RingEntry.id.in_(ids))
            .values(use_count=RingEntry.use_count + 1, last_used_at=ctx.now())
            .execution_options(synchronize_session=False)
        )


def draw(ctx: Ctx, user_id: UUID, conversation_id: UUID, drawn: Sequence[Drawn]) -> list[UUID]:
    """Keep what a conversation said about a person; the ids of what is new.

    What means the same as an older memory is not kept twice: one drawn from a conversation takes the newer words, one
    in the person's own words stays as it is. What was deleted is not drawn from the same conversation again.
    """
    if not drawn:
        return []
    _lock(ctx, user_id)
    forgotten = set(
        ctx.session.scalars(
            select(ForgottenMemory.digest).where(
                ForgottenMemory.user_id == user_id, ForgottenMemory.conversation_id == conversation_id
            )
        )
    )
    made = []
    for each in drawn:
        cleaned = _checked(each.text)
        if _digest(cleaned) in forgotten:
            continue
        near = ctx.session.scalars(
            select(RingEntry)
            .where(
                *_own(user_id),
                or_(
                    RingEntry.embedding.cosine_distance(each.vector) <= 1 - SAME,
                    _normal_column() == _normal(cleaned),
                ),
            )
            .limit(1)
        ).one_or_none()
        if near is None:
            row = _add(
                ctx, user_id, cleaned, each.category, each.importance, "conversation", conversation_id, each.vector
            )
            made.append(row.id)
        elif near.source == "conversation":
            near.text, near.embedding, near.conversation_id = cleaned, each.vector, conversation_id
            near.importance = near.confidence = max(near.importance or 0.0, each.importance)
        ctx.session.flush()
    _make_room(ctx, user_id)
    return made


def complete_vectors(transaction: Callable[[], AbstractContextManager[Ctx]], user_id: UUID, deadline: Deadline) -> int:
    """Give vectors to memories that wait for one; their number. Outside any transaction."""
    with transaction() as ctx:
        waiting = ctx.session.execute(
            select(RingEntry.id, RingEntry.text).where(*_own(user_id), RingEntry.embedding.is_(None)).limit(200)
        ).all()
    if not waiting:
        return 0
    vectors = inference.drivers().embedder.embed([row.text for row in waiting], deadline)
    with transaction() as ctx:
        for row, vector in zip(waiting, vectors, strict=True):
            ctx.session.execute(
                update(RingEntry)
                .where(RingEntry.id == row.id, RingEntry.text == row.text)
                .values(embedding=vector)
                .execution_options(synchronize_session=False)
            )
    return len(waiting)


# --- below ---------------------------------------------------------------------------------------------


def _draw_no_more(ctx: Ctx, row: RingEntry) -> None:
    """Note that what a memory says is not to be drawn from its conversation again."""
    if row.conversation_id is None or row.user_id is None:
        return
    ctx.session.add(
        ForgottenMemory(
            user_id=row.user_id, conversation_id=row.conversation_id, digest=_digest(row.text), created_at=ctx.now()
        )
    )


def _own(user_id: UUID) -> list[ColumnElement[bool]]:
    return [RingEntry.user_id == user_id, RingEntry.status != "archived"]


def _counted(query: Select[RingEntry]) -> Select[int]:
    return query.with_only_columns(func.count(RingEntry.id)).order_by(None)


def _found(search: str, vector: Vector | None) -> ColumnElement[bool]:
    pattern = "%" + re.sub(r"([\\%_])", r"\\\1", search) + "%"
    words: ColumnElement[bool] = or_(
        RingEntry.text.ilike(pattern),
        func.to_tsvector("simple", RingEntry.text).op("@@", is_comparison=True)(
            func.websearch_to_tsquery("simple", search)
        ),
    )
    if vector is None:
        return words
    return or_(words, RingEntry.embedding.cosine_distance(vector) <= 1 - RELEVANT)


def _row(ctx: Ctx, user_id: UUID, memory_id: UUID) -> RingEntry:
    row = ctx.session.scalars(select(RingEntry).where(RingEntry.id == memory_id, *_own(user_id))).one_or_none()
    if row is None:
        raise NotFound("There is no such memory.")
    return row


def _lock(ctx: Ctx, user_id: UUID) -> None:
    """A person's memories are changed by one transaction at a time: what is compared stays so until the commit."""
    ctx.session.execute(select(func.pg_advisory_xact_lock(0x6D656D, func.hashtext(str(user_id)))))


def _refuse_duplicate(ctx: Ctx, user_id: UUID, content: str, but: UUID | None = None) -> None:
    query = select(RingEntry.id).where(*_own(user_id), _normal_column() == _normal(content))
    if but is not None:
        query = query.where(RingEntry.id != but)
    same = ctx.session.scalars(query.limit(1)).one_or_none()
    if same is not None:
        raise Conflict("This is remembered already.", reason="duplicate", memory_id=str(same))


def _add(
    ctx: Ctx,
    user_id: UUID,
    content: str,
    category: str,
    importance: float,
    source: Literal["direct_write", "conversation"],
    conversation_id: UUID | None,
    vector: Vector | None,
) -> RingEntry:
    row = RingEntry(
        id=new_id(),
        ring="entity",
        entity_id=f"user:{user_id}",
        user_id=user_id,
        address_key=_ADDRESS[category],
        level="branch",
        status="active",
        source=source,
        kind="statement",
        text=content,
        content={},
        category=category,
        importance=importance,
        confidence=importance,
        conversation_id=conversation_id,
        embedding=vector,
        use_count=0,
    )
    ctx.session.add(row)
    ctx.session.flush()
    return row


def _make_room(ctx: Ctx, user_id: UUID) -> None:
    over = (ctx.session.scalar(select(func.count(RingEntry.id)).where(*_own(user_id))) or 0) - MOST
    if over > 0:
        least = ctx.session.scalars(
            select(RingEntry.id)
            .where(*_own(user_id))
            .order_by(RingEntry.use_count > 0, RingEntry.importance, RingEntry.id)
            .limit(over)
        ).all()
        ctx.session.execute(
            delete(RingEntry).where(RingEntry.id.in_(least)).execution_options(synchronize_session=False)
        )


def _checked(content: str) -> str:
    cleaned = inference.clean(content)[0].strip()
    if not cleaned:
        raise Invalid("content: there is nothing to remember in it.", field="content")
    if len(cleaned) > LONGEST:
        raise Invalid(f"content: at most {LONGEST} characters.", field="content")
    return cleaned


def _share(importance: float) -> float:
    if not 0.0 <= importance <= 1.0:
        raise Invalid("importance: from 0 to 1.")
    return importance


def _normal(content: str) -> str:
    return " ".join(content.split()).lower().rstrip(".!")


def _normal_column() -> ColumnElement[str]:
    squeezed = func.regexp_replace(func.btrim(RingEntry.text), r"\s+", " ", "g")
    return func.rtrim(func.lower(squeezed), ".!")


def _digest(content: str) -> bytes:
    return hashlib.sha256(_normal(content).encode()).digest()


def _memory(row: RingEntry) -> Memory:
    return Memory(
        row.id,
        row.text,
        row.category or "MEMORIES",
        row.importance if row.importance is not None else 0.5,
        "manual" if row.source == "direct_write" else "conversation",
        row.conversation_id,
        row.use_count,
        row.last_used_at,
        row.created_at,
        row.updated_at,
    )


def has_memories(ctx: Ctx, user_id: UUID) -> bool:
    """Whether anything at all is remembered about a person: spares the others a look with vectors."""
    return ctx.session.scalar(select(RingEntry.id).where(*_own(user_id)).limit(1)) is not None
