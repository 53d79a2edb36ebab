"""What runs behind: indexing a collection anew, erasing what was deleted, vector stores whose time is over."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update

from domain import audit, storage
from domain.kernel import outbox
from domain.kernel.context import Ctx, Work
from domain.kernel.db import acting_for
from domain.kernel.errors import Conflict, NotFound
from domain.knowledge import collections, deleting, embedding, ingestion, progress
from domain.knowledge.models import (
    Chunk,
    Collection,
    CollectionEntry,
    Document,
    DocumentVersion,
    PassageIndex,
)
from domain.knowledge.rules import Settings

STEP = 2_000
"""Passages that one transaction erases."""
PAGE = 100


@dataclass(frozen=True, slots=True)
class Reindexing:
    collection_id: UUID
    documents: int
    queued_at: datetime


# --- anew -----------------------------------------------------------------------------------------------------


def reindex(ctx: Ctx, collection_id: UUID, kind: str | None = None) -> Reindexing:
    """Promise to cut and embed every document of a collection by its present settings and by the model that was chosen
    for it, else that of new collections. Searches see the old passages of a document until its new ones are whole.

    Raises `NotFound`, `Forbidden`, `Conflict` while it is under way; with another model it may begin over, so that
    nobody waits for a provider that is away.
    """
    found = collections.find(ctx, collection_id, kind, edit=True)
    ctx.session.refresh(found, with_for_update=True)
    now = ctx.now()
    model = Settings.of(found.settings).model
    model = model if model is not None and embedding.known(model) else embedding.default_model()
    busy = set(
        ctx.session.scalars(
            select(func.coalesce(PassageIndex.model, found.model))
            .select_from(CollectionEntry)
            .outerjoin(PassageIndex, PassageIndex.id == CollectionEntry.pending_index_id)
            .where(
                CollectionEntry.collection_id == found.id,
                or_(CollectionEntry.reindex, CollectionEntry.pending_index_id.is_not(None)),
            )
            .distinct()
        )
    )
    if model in busy:
        raise Conflict("It is being indexed already.", reason="indexing")
    found.model = model
    marked = ctx.session.scalars(
        update(CollectionEntry)
        .where(CollectionEntry.collection_id == found.id)
        .values(reindex=True, pending_index_id=None, updated_at=now)
        .returning(CollectionEntry.id)
        .execution_options(synchronize_session=False)
    ).all()
    found.generation += 1
    found.reindex_total, found.reindex_started_at = len(marked), now
    ctx.session.flush()
    outbox.enqueue(ctx, "knowledge.reindex", {"collection_id": str(found.id)})
    audit.record(
        ctx,
        f"{found.kind}.reindex",
        resource_type=found.kind,
        resource_id=found.id,
        details={"documents": len(marked), "model": found.model},
    )
    return Reindexing(found.id, len(marked), now)


def run_reindex(work: Work, collection_id: UUID) -> None:
    """Hand each marked entry its new index and a job of its own. The job `knowledge.reindex`."""
    while True:
        with work.transaction() as ctx:
            found = ctx.session.get(Collection, collection_id)
            marked = [] if found is None or found.deleted_at is not None else _marked(ctx, collection_id)
            for entry_id in marked:
                _renew(ctx, entry_id, found)
            if len(marked) < PAGE:
                work.complete(ctx)
                return
        work.heartbeat()


def _marked(ctx: Ctx, collection_id: UUID) -> list[UUID]:
    return list(
        ctx.session.scalars(
            select(CollectionEntry.id)
            .where(
                CollectionEntry.collection_id == collection_id,
                CollectionEntry.reindex,
                CollectionEntry.pending_index_id.is_(None),
            )
            .order_by(CollectionEntry.id)
            .limit(PAGE)
        )
    )


def _renew(ctx: Ctx, entry_id: UUID, collection: Collection | None) -> None:
    held = ingestion._held(ctx, entry_id)
    if held is None or collection is None:
        return
    entry, document, version = held
    if not entry.reindex:  # another run of this job was here
        return
    if not embedding.known(collection.model):  # it was set up when this was promised
        ingestion.fail(ctx, entry_id, ingestion.AWAY, ingestion.not_set_up(collection.model))
        return
    if version.state != "extracted":  # it failed or was never read: from the beginning
        entry.reindex = False
        entry.state, entry.stage, entry.progress = "pending", None, 0
        entry.failure_code = entry.failure = None
        version.state = "pending"
        outbox.enqueue(ctx, "knowledge.index", {"entry_id": str(entry.id)}, queue="untrusted")
        return
    wanted = ingestion.wanted_index(ctx, entry, collection, version, generation=collection.generation)
    entry.pending_index_id, entry.reindex = wanted.id, False
    if entry.index_id is None:
        entry.state, entry.stage, entry.progress = "processing", "chunking", ingestion.EXTRACTED
    progress.tell(document, entry, "document.reindexing")
    outbox.enqueue(ctx, "knowledge.embed", {"entry_id": str(entry.id)})


# --- gone -----------------------------------------------------------------------------------------------------


def purge(work: Work, *, document_id: UUID | None = None, collection_id: UUID | None = None) -> None:
    """Erase what nothing refers to any more, in small transactions. The job `knowledge.purge`, which may run twice."""
    if document_id is not None:
        _purge_document(work, document_id)
    if collection_id is not None:
        _purge_collection(work, collection_id)
    with work.transaction() as ctx:
        work.complete(ctx)


def _purge_collection(work: Work, collection_id: UUID) -> None:
    with work.transaction() as ctx:
        found = ctx.session.get(Collection, collection_id)
        if found is None or (found.deleted_at is None and found.expired_at is None):
            return
        own = list(
            ctx.session.scalars(
                select(Document.id).where(Document.home_id == collection_id, Document.deleted_at.is_not(None))
            )
        )
        guests = list(
            ctx.session.scalars(
                select(CollectionEntry.document_id).where(CollectionEntry.collection_id == collection_id)
            )
        )
        ctx.session.execute(
            delete(CollectionEntry)
            .where(CollectionEntry.collection_id == collection_id)
            .execution_options(synchronize_session=False)
        )
    for document_id in dict.fromkeys([*own, *guests]):
        _purge_document(work, document_id)
    with work.transaction() as ctx:
        found = ctx.session.get(Collection, collection_id)
        if found is not None and found.kind != "vector_store":  # a store's record stays, as deleted
            ctx.session.delete(found)


def _purge_document(work: Work, document_id: UUID) -> None:
    with work.transaction() as ctx:
        document = ctx.session.get(Document, document_id)
        if document is None:
            return
        gone = document.deleted_at is not None
        if gone:
            ctx.session.execute(
                delete(CollectionEntry)
                .where(CollectionEntry.document_id == document_id)
                .execution_options(synchronize_session=False)
            )
        there = ctx.session.scalars(select(PassageIndex.id).where(PassageIndex.document_id == document_id)).all()
        used = ctx.session.execute(
            select(CollectionEntry.index_id, CollectionEntry.pending_index_id).where(
                CollectionEntry.document_id == document_id
            )
        ).all()
        idle = [each for each in there if all(each not in row for row in used)]
    for index_id in idle:
        while _erase(work, index_id):
            work.heartbeat()
    with work.transaction() as ctx:
        _purge_versions(ctx, document_id, gone)


def _erase(work: Work, index_id: UUID) -> bool:
    """Some passages of an index, then the index. True: there is more to do."""
    with work.transaction() as ctx:
        # It may have been taken into use again since: the lock and the second look decide.
        found = ctx.session.get(PassageIndex, index_id, with_for_update=True)
        taken = ctx.session.scalar(
            select(CollectionEntry.id)
            .where(or_(CollectionEntry.index_id == index_id, CollectionEntry.pending_index_id == index_id))
            .limit(1)
        )
        if found is None or taken:
            return False
        found.state = "building"  # whoever comes for it now writes what is missing
        # From the end: what is left is always the beginning, which is what `ingestion` goes on from.
        some = list(
            ctx.session.scalars(
                select(Chunk.id).where(Chunk.index_id == index_id).order_by(Chunk.ordinal.desc()).limit(STEP)
            )
        )
        if some:
            ctx.session.execute(delete(Chunk).where(Chunk.id.in_(some)).execution_options(synchronize_session=False))
            return True
        ctx.session.delete(found)
        return False


def _purge_versions(ctx: Ctx, document_id: UUID, gone: bool) -> None:
    document = ctx.session.get(Document, document_id)
    if document is None:
        return
    kept = select(CollectionEntry.version_id).where(CollectionEntry.document_id == document_id)
    indexed = select(PassageIndex.version_id).where(PassageIndex.document_id == document_id)
    query = select(DocumentVersion).where(DocumentVersion.document_id == document_id)
    if not gone:
        query = query.where(
            DocumentVersion.id != document.version_id,
            DocumentVersion.id.not_in(kept),
            DocumentVersion.id.not_in(indexed),
        )
    for version in ctx.session.scalars(query).all():
        if version.owns_blob:
            with suppress(NotFound):  # gone by another way
                storage.delete(ctx, version.blob_id)
        ctx.session.delete(version)
    if gone:
        ctx.session.flush()
        ctx.session.delete(document)


# --- over -----------------------------------------------------------------------------------------------------


def expire(ctx: Ctx) -> int:
    """Vector stores that nobody used for their time of rest stop answering. A cron, as the platform."""
    now = ctx.now()
    due = ctx.session.execute(
        select(Collection.id, Collection.organisation_id)
        .where(Collection.expires_at <= now, Collection.expired_at.is_(None), Collection.deleted_at.is_(None))
        .order_by(Collection.expires_at)
        .limit(500)
    ).all()
    for collection_id, organisation_id in due:
        with acting_for(ctx, organisation_id) as theirs:
            found = theirs.session.get(Collection, collection_id, with_for_update=True, populate_existing=True)
            if found is None or found.expires_at is None or found.expires_at > now:
                continue
            found.expired_at, found.expires_at = now, None
            theirs.session.flush()
            deleting.mark(theirs, Document.home_id == collection_id)
            outbox.enqueue(theirs, "knowledge.purge", {"collection_id": str(collection_id)})
            audit.record(theirs, "vector_store.expire", resource_type="vector_store", resource_id=collection_id)
    return len(due)


def sweep(ctx: Ctx) -> int:
    """Promise erasure anew for what was deleted more than a day ago and is still there. A cron, as the platform."""
    before = ctx.now() - timedelta(days=1)
    rows = ctx.session.execute(
        select(Document.id, Document.organisation_id).where(Document.deleted_at < before).limit(500)
    ).all()
    for document_id, organisation_id in rows:
        with acting_for(ctx, organisation_id) as theirs:
            outbox.enqueue(theirs, "knowledge.purge", {"document_id": str(document_id)})
    return len(rows)
