"""Writing, listing and counting what is remembered."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from domain import inference
from domain.inference import Deadline, Vector
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, Invalid, NotFound
from domain.kernel.ids import new_id
from domain.kernel.pages import CursorPage, Page
from domain.memory.address import AddressKey, first_levels, matches
from domain.memory.baseline import BASELINE
from domain.memory.models import RingEntry

SAME = 0.97
"""Similarity from which a new branch says what an older one said, and takes its place."""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """Something to remember. `vector` comes from `prepare`."""

    ring: str
    address_key: str
    text: str
    kind: str = "statement"
    brain_id: UUID | None = None
    session_id: str | None = None
    entity_id: str | None = None
    level: str = "branch"
    source: str = "chain"
    role: str | None = None
    content: dict[str, Any] = field(default_factory=dict)
    confidence: float = 0.5
    trace_id: UUID | None = None
    dedupe_key: str | None = None
    vector: Vector | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is known under a path."""

    path: str
    entry_count: int
    average_confidence: float
    last_written_at: datetime


def prepare(entries: Sequence[NewEntry], deadline: Deadline | None = None) -> list[NewEntry]:
    """The entries with their vectors. Slow (about 2 ms an entry): call it outside any transaction."""
    if not entries:
        return []
    vectors = inference.drivers().embedder.embed([entry.text for entry in entries], deadline)
    return [replace(entry, vector=vector) for entry, vector in zip(entries, vectors, strict=True)]


def write(ctx: Ctx, entries: Sequence[NewEntry]) -> list[UUID]:
    """Remember `entries` and answer with their ids, in order. An entry whose dedupe key is known is not written again.

    A new branch of the entity or institutional ring takes the place of an older one that says the same.

    Raises `Invalid`.
    """
    return [_write(ctx, entry) for entry in entries]


def _write(ctx: Ctx, entry: NewEntry) -> UUID:
    AddressKey.parse(entry.address_key)
    if entry.vector is None:
        raise ValueError("prepare() the entries before the transaction")
    if not entry.text.strip():
        raise Invalid("There is nothing to remember.")
    made = ctx.session.execute(
        insert(RingEntry)
        .values(
            id=new_id(),
            organisation_id=ctx.organisation,
            brain_id=entry.brain_id,
            ring=entry.ring,
            session_id=entry.session_id,
            entity_id=entry.entity_id,
            address_key=entry.address_key,
            level=entry.level,
            status="active",
            source=entry.source,
            role=entry.role,
            kind=entry.kind,
            text=entry.text,
            content=entry.content,
            confidence=entry.confidence,
            embedding=entry.vector,
            trace_id=entry.trace_id,
            dedupe_key=entry.dedupe_key,
            created_at=ctx.now(),
            updated_at=ctx.now(),
        )
        .on_conflict_do_nothing(index_elements=["organisation_id", "dedupe_key"])
        .returning(RingEntry.id)
    ).scalar()
    if made is None:
        return ctx.session.scalars(select(RingEntry.id).where(RingEntry.dedupe_key == entry.dedupe_key)).one()
    if entry.level == "branch" and entry.ring != "session":
        _supersede_same(ctx, made, entry)
    return made


def _supersede_same(ctx: Ctx, new: UUID, entry: NewEntry) -> None:
    old = ctx.session.scalars(
        select(RingEntry.id)
        .where(
            RingEntry.id != new,
            RingEntry.brain_id.is_not_distinct_from(entry.brain_id),
            RingEntry.ring == entry.ring,
            RingEntry.entity_id.is_not_distinct_from(entry.entity_id),
            RingEntry.level == "branch",
            RingEntry.status == "active",
            RingEntry.source != "seeding",
            RingEntry.embedding.cosine_distance(entry.vector) <= 1 - SAME,
        )
        .order_by(RingEntry.id)
        .limit(20)
        .with_for_update(skip_locked=True)  # whoever holds it is superseding it as well
    ).all()
    if old:
        ctx.session.execute(
            update(RingEntry)
            .where(RingEntry.id.in_(old))
            .values(status="archived", superseded_by=new, updated_at=ctx.now())
            .execution_options(synchronize_session=False)
        )


def seed(ctx: Ctx, brain_id: UUID) -> list[UUID]:
    """Give a new brain its 33 baseline entries. Run twice, it writes them once."""
    return write(
        ctx,
        prepare(
            [
                NewEntry(
                    ring="institutional",
                    address_key=each.address_key,
                    text=each.text,
                    kind="guidance",
                    brain_id=brain_id,
                    level="root",
                    source="seeding",
                    content={"point": each.point, "question": each.question},
                    confidence=0.9,
                    dedupe_key=f"seed:{brain_id}:{number}",
                )
                for number, each in enumerate(BASELINE, start=1)
            ]
        ),
    )


def get_entry(ctx: Ctx, entry_id: UUID) -> RingEntry:
    """Raises `NotFound`."""
    found = ctx.session.scalars(select(RingEntry).where(RingEntry.id == entry_id)).one_or_none()
    if found is None:
        raise NotFound("There is no such entry.")
    return found


def get_many(ctx: Ctx, ids: Sequence[UUID]) -> list[RingEntry]:
    """The entries that exist, in the order of `ids`."""
    found = {entry.id: entry for entry in ctx.session.scalars(select(RingEntry).where(RingEntry.id.in_(ids)))}
    return [found[entry_id] for entry_id in ids if entry_id in found]


def contest(ctx: Ctx, entry_id: UUID) -> RingEntry:
    """Mark an entry as doubted: it is still recalled, counts for less, and is named as contested.

    Raises `NotFound`, and `Conflict` for an archived entry.
    """
    entry = get_entry(ctx, entry_id)
    if entry.status == "archived":
        raise Conflict("An archived entry is not recalled any more.", status=entry.status)
    entry.status = "contested"
    return entry


def list_entries(
    ctx: Ctx,
    brain_id: UUID | None,
    *,
    ring: str | None = None,
    address_key: str | None = None,
    session_id: str | None = None,
    entity_id: str | None = None,
    page: CursorPage | None = None,
) -> Page[RingEntry]:
    """What brains remember, newest first, with their `total`. `address_key` is a path pattern (see `address.matches`).

    Raises `Invalid` for a bad pattern, ring or cursor.
    """
    page = page or CursorPage()
    conditions: list[ColumnElement[bool]] = [
        RingEntry.brain_id.is_not_distinct_from(brain_id),
        RingEntry.user_id.is_(None),  # what is a person's own is theirs to list: see `personal`
    ]
    if ring is not None:
        if ring not in ("session", "entity", "institutional"):
            raise Invalid("ring: session, entity or institutional.")
        conditions.append(RingEntry.ring == ring)
    if address_key is not None:
        conditions.append(matches(RingEntry.address_key, address_key))
    if session_id is not None:
        conditions.append(RingEntry.session_id == session_id)
    if entity_id is not None:
        conditions.append(RingEntry.entity_id == entity_id)
    total = ctx.session.scalar(select(func.count(RingEntry.id)).where(*conditions)) or 0
    query = select(RingEntry).where(*conditions).order_by(RingEntry.id.desc()).limit(page.limit + 1)
    if page.cursor is not None:
        query = query.where(RingEntry.id < _decoded(page.cursor))
    rows = ctx.session.scalars(query).all()
    more = len(rows) > page.limit
    items = rows[: page.limit]
    return Page(items, total=total, next_cursor=_encoded(items[-1].id) if more else None)


def _encoded(last: UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def _decoded(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as wrong:
        raise Invalid("cursor: not one of this listing.") from wrong


def counts(ctx: Ctx, brain_id: UUID | None) -> dict[str, int]:
    """Entries held in each ring, archived ones included."""
    rows = ctx.session.execute(
        select(RingEntry.ring, func.count(RingEntry.id))
        .where(RingEntry.brain_id.is_not_distinct_from(brain_id))
        .group_by(RingEntry.ring)
    )
    return {"session": 0, "entity": 0, "institutional": 0} | dict(rows.all())


def coverage(ctx: Ctx, brain_id: UUID | None, depth: int = 1) -> list[Coverage]:
    """How much is known under each path of `depth` levels (1 to 4), seeds left out; most entries first."""
    path = first_levels(RingEntry.address_key, depth)
    rows = ctx.session.execute(
        select(path, func.count(RingEntry.id), func.avg(RingEntry.confidence), func.max(RingEntry.created_at))
        .where(
            RingEntry.brain_id.is_not_distinct_from(brain_id),
            RingEntry.status != "archived",
            RingEntry.source != "seeding",
        )
        .group_by(path)
        .order_by(func.count(RingEntry.id).desc(), path)
    )
    return [Coverage(path, count, round(float(mean), 4), last) for path, count, mean, last in rows]


def forget(ctx: Ctx, brain_id: UUID | None, *, session_id: str | None = None, entity_id: str | None = None) -> int:
    """Delete a brain's entries (all, or one session's or entity's) and answer with their number. Leaves go too: what is
    immutable can still be erased."""
    conditions: list[ColumnElement[bool]] = [
        RingEntry.brain_id.is_not_distinct_from(brain_id),
        RingEntry.user_id.is_(None),  # what is a person's own is theirs to list: see `personal`
    ]
    if session_id is not None:
        conditions.append(RingEntry.session_id == session_id)
    if entity_id is not None:
        conditions.append(RingEntry.entity_id == entity_id)
    done = ctx.session.execute(
        delete(RingEntry).where(*conditions).returning(RingEntry.id).execution_options(synchronize_session=False)
    )
    return len(done.all())
