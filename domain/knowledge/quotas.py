"""What a plan has room for: documents, bytes and passages that are kept, passages a month that are processed.

A product's plan names its bounds as metrics, `<product>.stored_chunks` and so on; a metric that the plan does not name,
or a product without plans, has no bound here. Monthly ones are counted by `domain.billing`, stored ones from the rows.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from domain import billing
from domain.kernel.context import Ctx
from domain.kernel.errors import PaymentRequired, TooLarge
from domain.knowledge.models import Collection, CollectionEntry, Document, PassageIndex
from domain.knowledge.rules import PRODUCTS

STORED_CHUNKS = "stored_chunks"
CHUNKS = "chunks"
DOCUMENTS = "documents"
BYTES = "stored_bytes"
FILE_BYTES = "document_bytes"
"""Of a single file."""
COLLECTIONS = {"collection": "collections", "knowledge_base": "knowledge_bases", "vector_store": "vector_stores"}
_WORDS = {STORED_CHUNKS: "passages", BYTES: "bytes"}
"""What people are told is counted, where the metric's own name is not it."""


def bound(ctx: Ctx, kind: str, metric: str) -> int | None:
    """The organisation's bound for a kind of collection; None: none."""
    try:
        plan = billing.plan_of(ctx, PRODUCTS[kind])
    except billing.UnknownPlan:
        return None
    name = f"{PRODUCTS[kind]}.{metric}"
    return plan.limits.get(name, plan.quotas.get(name))


def room_for_document(ctx: Ctx, kind: str, size: int) -> None:
    """Raise `PaymentRequired` (fact `reason`: `storage_limit_reached`) unless a document of `size` bytes fits, and
    `TooLarge` for a file beyond what the plan takes."""
    largest = bound(ctx, kind, FILE_BYTES)
    if largest is not None and size > largest:
        raise TooLarge(f"The plan takes files of {largest >> 20} MB at most.", max_bytes=largest)
    most, bytes_, chunks = (bound(ctx, kind, metric) for metric in (DOCUMENTS, BYTES, STORED_CHUNKS))
    if most is None and bytes_ is None and chunks is None:
        return
    count, kept = ctx.session.execute(
        select(func.count(Document.id), func.coalesce(func.sum(Document.size), 0))
        .join(Collection, Collection.id == Document.home_id)
        .where(Collection.kind == kind, Document.deleted_at.is_(None))
    ).one()
    if most is not None and count >= most:
        raise _full(kind, DOCUMENTS, most, count)
    if bytes_ is not None and kept + size > bytes_:
        raise _full(kind, BYTES, bytes_, int(kept), size)
    if chunks is not None and (stored := stored_chunks(ctx, kind)) >= chunks:
        raise _full(kind, STORED_CHUNKS, chunks, stored)


def room_for_collection(ctx: Ctx, kind: str) -> None:
    """Raise `PaymentRequired` (fact `reason`: `tier_limit`) when the plan has no room for another."""
    most = bound(ctx, kind, COLLECTIONS[kind])
    if most is None:
        return
    count = ctx.session.scalar(
        select(func.count(Collection.id)).where(Collection.kind == kind, Collection.deleted_at.is_(None))
    )
    if (count or 0) >= most:
        raise _full(kind, COLLECTIONS[kind], most, count or 0, reason="tier_limit")


def take_chunks(ctx: Ctx, kind: str, count: int) -> None:
    """Count `count` passages against the month, once they are to be made, and see that they fit.

    Raises `PaymentRequired` (fact `reason`: `processing_limit_reached` or `storage_limit_reached`).
    """
    most = bound(ctx, kind, STORED_CHUNKS)
    if most is not None and (stored := stored_chunks(ctx, kind)) + count > most:
        raise _full(kind, STORED_CHUNKS, most, stored, count)
    if bound(ctx, kind, CHUNKS) is None:
        return
    try:
        billing.consume(ctx, f"{PRODUCTS[kind]}.{CHUNKS}", count)
    except PaymentRequired as full:
        limit, used = full.facts["limit"], full.facts["used"]
        raise PaymentRequired(
            f"The plan reads {limit:,} passages a month: {used:,} are read, and this file has {count:,}.",
            **(full.facts | {"reason": "processing_limit_reached"}),
        ) from None


def stored_chunks(ctx: Ctx, kind: str) -> int:
    """Passages that the organisation keeps in collections of a kind, those being made included."""
    indexes = (
        select(CollectionEntry.index_id)
        .join(Collection, Collection.id == CollectionEntry.collection_id)
        .where(Collection.kind == kind, Collection.deleted_at.is_(None))
    )
    return int(
        ctx.session.scalar(
            select(func.coalesce(func.sum(PassageIndex.chunk_count), 0)).where(PassageIndex.id.in_(indexes))
        )
        or 0
    )


def _full(
    kind: str, metric: str, limit: int, used: int, more: int | None = None, *, reason: str = "storage_limit_reached"
) -> PaymentRequired:
    """`more`: what the file would add."""
    facts: dict[str, Any] = {"metric": f"{PRODUCTS[kind]}.{metric}", "limit": limit, "used": used, "reason": reason}
    counted = _WORDS.get(metric, metric.replace("_", " "))
    added = "." if more is None else f", and this file has {more:,}."
    return PaymentRequired(f"The plan has room for {limit:,} {counted}: {used:,} are there{added}", **facts)
