"""Recall: what the rings hold that bears on a text. Vectors find it, the address key, ring, age and trust rank it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_, select, text

from domain.inference import Vector
from domain.kernel.context import Ctx
from domain.memory import rules
from domain.memory.address import within
from domain.memory.models import RingEntry

CANDIDATES = 40
NEIGHBOURS = 20
"""Entries of the same intent and scope that are looked at although their words differ."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """An entry, and why it came up."""

    id: UUID
    ring: str
    session_id: str | None
    entity_id: str | None
    address_key: str
    level: str
    status: str
    source: str
    role: str | None
    kind: str
    text: str
    confidence: float
    trace_id: UUID | None
    created_at: datetime
    similarity: float
    proximity: float
    recency: float
    score: float


@dataclass(frozen=True, slots=True)
class Recall:
    """`entries`: those that bear on the text, best first. `relevant`: how many statements do, guidance left out
    (counted up to about `CANDIDATES`). `nearest`: the highest similarity of a statement, 0 where there is none."""

    entries: tuple[Recalled, ...]
    relevant: int
    nearest: float


def recall(
    ctx: Ctx,
    brain_id: UUID | None,
    vector: Vector,
    *,
    address_key: str | None = None,
    session_id: str | None = None,
    entity_id: str | None = None,
    limit: int = 12,
) -> Recall:
    """Search the session's ring (with `session_id`), the entity's (with `entity_id`) and the institutional one.

    `vector` is the text's embedding, made before the transaction. Two indexed queries.
    """
    # Rows of other organisations and rings stand in the same graph: go on searching until enough of ours were met.
    ctx.session.execute(text("SET LOCAL hnsw.iterative_scan = strict_order"))
    distance = RingEntry.embedding.cosine_distance(vector).label("distance")
    visible = _visible(brain_id, session_id, entity_id)
    near = select(RingEntry, distance).where(*visible).order_by(distance).limit(CANDIDATES)
    rows: dict[UUID, tuple[RingEntry, float]] = {
        entry.id: (entry, float(away)) for entry, away in ctx.session.execute(near)
    }
    nearest = max((1 - away for entry, away in rows.values() if entry.kind == "statement"), default=0.0)
    if address_key is not None:
        region = ".".join(address_key.split(".")[:2])
        neighbours = (
            select(RingEntry, distance)
            .where(*visible, within(RingEntry.address_key, region), RingEntry.kind == "statement")
            .order_by(RingEntry.id.desc())
            .limit(NEIGHBOURS)
        )
        for entry, away in ctx.session.execute(neighbours):
            rows.setdefault(entry.id, (entry, float(away)))
    ranked = [_ranked(ctx, entry, 1 - away, address_key) for entry, away in rows.values()]
    bearing = sorted(
        (each for each in ranked if _bears(each)), key=lambda each: (-each.score, -each.created_at.timestamp(), each.id)
    )
    relevant = sum(1 for each in bearing if each.kind == "statement")
    return Recall(tuple(bearing[:limit]), relevant, round(max(0.0, nearest), 4))


def _visible(brain_id: UUID | None, session_id: str | None, entity_id: str | None) -> list[ColumnElement[bool]]:
    own = RingEntry.brain_id.is_not_distinct_from(brain_id)
    # What the organisation keeps outside any brain is common knowledge of all of them.
    rings = [and_(RingEntry.ring == "institutional", or_(own, RingEntry.brain_id.is_(None)))]
    if session_id is not None:
        rings.append(and_(RingEntry.ring == "session", RingEntry.session_id == session_id, own))
    if entity_id is not None:
        rings.append(and_(RingEntry.ring == "entity", RingEntry.entity_id == entity_id, own))
    # What belongs to a person is theirs alone, whatever a caller names as its entity.
    common = [RingEntry.user_id.is_(None), RingEntry.embedding.is_not(None)]
    return [RingEntry.status != "archived", RingEntry.kind.in_(("statement", "guidance")), *common, or_(*rings)]


def _bears(entry: Recalled) -> bool:
    """By its words, or by standing at the same address with words that are not far off."""
    return entry.similarity >= rules.RELEVANT or (
        entry.proximity == 1.0 and entry.similarity >= rules.RELEVANT * 0.7 and entry.kind == "statement"
    )


def _ranked(ctx: Ctx, entry: RingEntry, similarity: float, address_key: str | None) -> Recalled:
    near = rules.nearness(
        similarity=similarity,
        proximity=rules.proximity(entry.address_key, address_key) if address_key else 0.0,
        ring=entry.ring,
        age_days=(ctx.now() - entry.created_at).total_seconds() / 86400,
        confidence=entry.confidence,
        status=entry.status,
        seeded=entry.source == "seeding",
    )
    fields: dict[str, Any] = {
        name: getattr(entry, name)
        for name in (
            "id", "ring", "session_id", "entity_id", "address_key", "level", "status", "source", "role", "kind", "text",
            "confidence", "trace_id", "created_at",
        )
    }  # fmt: skip
    return Recalled(
        **fields, similarity=near.similarity, proximity=near.proximity, recency=near.recency, score=near.score
    )
