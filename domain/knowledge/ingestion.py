"""Reading a document in, as stages that can be run again: extract (in a confined child), cut and embed, show.

`index` and `embed` are jobs on an entry. Each commit either moves the entry on or leaves it as it was; passages are
written with their vectors under (index, ordinal), so whoever dies where, each is there once. The last transaction of
`embed` makes the index whole and shows it: until then searches see the old one, or nothing.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from domain import storage
from domain.inference import Deadline
from domain.kernel import outbox
from domain.kernel.context import Ctx, Work
from domain.kernel.errors import DomainError, NotFound, PaymentRequired
from domain.kernel.ids import new_id
from domain.knowledge import embedding, languages, progress, quotas
from domain.knowledge.chunking import MAX_PASSAGES, Passage, cut
from domain.knowledge.extraction import sandbox
from domain.knowledge.extraction.blocks import Unreadable, unpacked
from domain.knowledge.models import (
    Chunk,
    Collection,
    CollectionEntry,
    Document,
    DocumentVersion,
    ExtractedText,
    PassageIndex,
)
from domain.knowledge.progress import Event
from domain.knowledge.rules import Chunking, Settings

BATCH = 64
"""Passages of one transaction: about two seconds of embedding."""
TURN = 40.0
"""Seconds after which a long document lets others have the worker; it goes on in a job of its own."""
MAX_BYTES = 1 << 30
EXTRACTED, CUT = 25, 30
"""Percent that are done after these stages."""
AWAY = "model_unavailable"
"""The failure of an entry whose embedding model cannot be asked or not be used; while it is tried again, too."""
WAITS = 150
"""Times that a provider is asked again without any progress, ten minutes apart in the end: about a day."""
LONGEST = 60.0
"""Seconds that a provider may take for the passages of one transaction."""
AGAIN = "Something went wrong on our side. Several attempts were made; upload the file again to have it tried anew."


@dataclass(frozen=True, slots=True)
class _Source:
    """What `index` has to read; `known`: the text is there already."""

    document_id: UUID
    version_id: UUID
    blob_id: UUID
    kind: str
    size: int
    known: bool


# --- the first job: bytes to text ---------------------------------------------------------------------------


def index(work: Work, entry_id: UUID) -> None:
    """Extract the text of an entry's version, and promise `embed`. The job `knowledge.index`, in a forked worker."""
    with work.transaction() as ctx:
        held = _held(ctx, entry_id)
        if held is None:  # taken out or deleted meanwhile
            work.complete(ctx)
            return
        entry, document, version = held
        before = progress.latest(document)
        ended = entry.state in ("completed", "failed")  # this job did it, and died before it could say so
        event = None if ended else _begin(ctx, work, entry, document)
        source = _Source(
            document.id, version.id, version.blob_id, version.kind, version.size, version.state == "extracted"
        )
    progress.publish(work, source.document_id, *before, event)
    if ended:
        _complete(work)
        return
    if source.known:
        _extracted(work, entry_id, None)
        return
    try:
        read = _read(work, source)
    except Unreadable as why:
        _refuse(work, entry_id, why.code, why.message)
    except NotFound:
        _refuse(work, entry_id, "unreadable", "The file is no longer there.")
    else:
        _extracted(work, entry_id, read)


def _begin(ctx: Ctx, work: Work, entry: CollectionEntry, document: Document) -> Event:
    entry.state, entry.stage = "processing", "extracting"
    entry.attempts = work.attempt
    entry.progress = max(entry.progress, 1)
    entry.started_at = entry.started_at or ctx.now()
    entry.completed_at = None
    entry.failure_code = entry.failure = None
    return progress.tell(document, entry)


def _read(work: Work, source: _Source) -> sandbox.Read:
    if source.size == 0:
        raise Unreadable("empty", "The file is empty.")
    if source.size > MAX_BYTES:
        raise Unreadable("too_long", "The file is larger than can be read.")
    with storage.local_path(work, source.blob_id) as path:
        seconds = max(5.0, min(sandbox.Limits().seconds, work.remaining() - 15))
        return sandbox.read(path, source.kind, sandbox.Limits(seconds=seconds))


def _extracted(work: Work, entry_id: UUID, read: sandbox.Read | None) -> None:
    """Keep the text, decide which index the entry gets, and promise it; with the end of this job, in one commit."""
    with work.transaction() as ctx:
        held = _held(ctx, entry_id)
        if held is None:
            work.complete(ctx)
            return
        entry, document, version = held
        if read is not None:
            _keep_text(ctx, document, version, read)
        event = _await_index(ctx, entry, document, version)
        ended = entry.pending_index_id is None
        if not ended:
            work.complete(ctx)
    progress.publish(work, document.id, event)
    if ended:
        _complete(work)


def _keep_text(ctx: Ctx, document: Document, version: DocumentVersion, read: sandbox.Read) -> None:
    ctx.session.execute(
        insert(ExtractedText).on_conflict_do_nothing(),
        [{"version_id": version.id, "organisation_id": ctx.organisation, "content": read.content}],
    )
    version.state = "extracted"
    version.language, version.page_count = read.language, read.page_count
    version.characters = read.characters
    version.details = read.details | ({"title": read.title} if read.title else {})
    version.failure_code = version.failure = None
    version.extracted_at = ctx.now()
    if version.id == document.version_id:
        document.language, document.page_count = read.language, read.page_count


def _await_index(ctx: Ctx, entry: CollectionEntry, document: Document, version: DocumentVersion) -> Event:
    collection = ctx.session.get_one(Collection, entry.collection_id)
    if not embedding.known(collection.model):
        event = fail(ctx, entry.id, AWAY, not_set_up(collection.model))
        assert event is not None
        return event
    wanted = wanted_index(ctx, entry, collection, version)
    if wanted.state == "ready":
        return _show(ctx, entry, document, wanted)
    entry.pending_index_id = wanted.id
    entry.stage, entry.progress = "chunking", EXTRACTED
    outbox.enqueue(ctx, "knowledge.embed", {"entry_id": str(entry.id)})
    return progress.tell(document, entry)


def wanted_index(
    ctx: Ctx, entry: CollectionEntry, collection: Collection, version: DocumentVersion, *, generation: int | None = None
) -> PassageIndex:
    """The index of the version that the entry's and collection's settings ask for, made if it is not there yet.

    `generation`: one of its own, not shared with what was made before.
    """
    chunking = Chunking.of(entry.chunking) if entry.chunking else Settings.of(collection.settings).chunking
    model = embedding.embedder(collection.model)
    profile = chunking.profile if generation is None else f"{chunking.profile}#{collection.id.hex[-8:]}.{generation}"
    row = {
        "id": new_id(),
        "organisation_id": ctx.organisation,
        "document_id": version.document_id,
        "version_id": version.id,
        "profile": profile,
        "chunking": chunking.stored(),
        "model": collection.model,
        "dimensions": model.dimensions,
        "configuration": languages.configuration(version.language or collection.language),
        "state": "building",
        "created_at": ctx.now(),
        "updated_at": ctx.now(),
    }
    ctx.session.execute(insert(PassageIndex).on_conflict_do_nothing(), [row])
    return ctx.session.scalars(
        select(PassageIndex)
        .where(
            PassageIndex.version_id == version.id,
            PassageIndex.profile == profile,
            PassageIndex.model == collection.model,
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


# --- the second job: text to passages -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plan:
    document_id: UUID
    index_id: UUID
    version_id: UUID
    model: str
    dimensions: int
    configuration: str
    chunking: Chunking
    content: bytes
    done: int
    planned: int | None


def embed(work: Work, entry_id: UUID, waits: int = 0) -> None:
    """Cut and embed what an entry waits for, and show it. The job `knowledge.embed`. `waits`: how often its model's
    provider was asked in vain before."""
    with work.transaction() as ctx:
        held = _held(ctx, entry_id)
        if held is None:
            work.complete(ctx)
            return
        entry, document, _ = held
        before = progress.latest(document)
        plan, event = _plan(ctx, entry, document)
    progress.publish(work, document.id, *before, event)
    if plan is None:
        _complete(work)
        return
    if not embedding.known(plan.model):
        _refuse(work, entry_id, AWAY, not_set_up(plan.model))
        return
    model = embedding.embedder(plan.model)
    # The built-in model has what the job has; a provider that takes longer than this is away.
    longest = math.inf if plan.model == embedding.built_in() else LONGEST
    began = time.monotonic()
    passages = list(cut(unpacked(plan.content), plan.chunking))
    # A text that takes long to cut gets a longer turn: each turn cuts it again.
    turn = TURN + 4 * (time.monotonic() - began)
    began = time.monotonic()
    if not passages:
        _refuse(work, entry_id, "empty", "There is no text in the file.")
        return
    if len(passages) > MAX_PASSAGES:
        _refuse(work, entry_id, "too_long", f"The document has more than {MAX_PASSAGES:,} passages.")
        return
    if plan.planned is None and not _reserve(work, entry_id, plan, len(passages)):
        return
    done = plan.done
    while True:
        batch = passages[done : done + BATCH]
        try:
            seconds = max(1.0, min(longest, work.remaining() - 5))
            vectors = embedding.of_passages(model, batch, Deadline(seconds)) if batch else []
        except DomainError as problem:
            if longest is math.inf or not embedding.away(problem):
                raise
            _wait(work, entry_id, plan, problem, 0 if done > plan.done else waits)
            return
        last = done + len(batch) >= len(passages)
        tired = not last and (time.monotonic() - began > turn or work.remaining() < 30)
        with work.transaction() as ctx:
            _write(ctx, plan, batch, vectors)
            done += len(batch)
            event = _shown(ctx, entry_id, plan, passages) if last else _on(ctx, entry_id, plan, done, len(passages))
            if event is None and not last:  # taken out meanwhile
                last = True
                outbox.enqueue(ctx, "knowledge.purge", {"document_id": str(plan.document_id)})
            if tired and not last:
                outbox.enqueue(ctx, "knowledge.embed", {"entry_id": str(entry_id)})
                work.complete(ctx)
        progress.publish(work, plan.document_id, event)
        if last:
            _complete(work)
        if last or tired:
            return


def _plan(ctx: Ctx, entry: CollectionEntry, document: Document) -> tuple[_Plan | None, Event | None]:
    if entry.pending_index_id is None:
        return None, None
    wanted = ctx.session.get_one(PassageIndex, entry.pending_index_id, populate_existing=True, with_for_update=True)
    if wanted.state == "ready":
        return None, _show(ctx, entry, document, wanted)
    content = ctx.session.scalars(select(ExtractedText.content).where(ExtractedText.version_id == wanted.version_id))
    done = ctx.session.scalar(select(func.count(Chunk.id)).where(Chunk.index_id == wanted.id)) or 0
    event = None
    if entry.state == "processing" and entry.stage == "extracting":
        entry.stage, entry.progress = "chunking", EXTRACTED
        event = progress.tell(document, entry)
    plan = _Plan(
        document.id,
        wanted.id,
        wanted.version_id,
        wanted.model,
        wanted.dimensions,
        wanted.configuration,
        Chunking.of(wanted.chunking),
        content.one(),
        done,
        wanted.planned,
    )
    return plan, event


def _reserve(work: Work, entry_id: UUID, plan: _Plan, count: int) -> bool:
    """Count the passages against the plan, once for an index. False: there is no room, and the entry has failed."""
    try:
        with work.transaction() as ctx:
            held = _held(ctx, entry_id)
            if held is None:
                work.complete(ctx)
                return False
            entry, document, _ = held
            wanted = ctx.session.get_one(PassageIndex, plan.index_id, populate_existing=True, with_for_update=True)
            if wanted.planned is None:
                kind = ctx.session.get_one(Collection, entry.collection_id).kind
                quotas.take_chunks(ctx, kind, count)
                wanted.planned = count
            entry.stage, entry.progress = "embedding", max(entry.progress, CUT)
            event = progress.tell(document, entry, chunks=count)
    except PaymentRequired as full:
        _refuse(work, entry_id, str(full.facts.get("reason", "processing_limit_reached")), full.message)
        return False
    progress.publish(work, plan.document_id, event)
    return True


def _write(ctx: Ctx, plan: _Plan, batch: Sequence[Passage], vectors: Sequence[Any]) -> None:
    if not batch:
        return
    rows = [
        {
            "id": new_id(),
            "organisation_id": ctx.organisation,
            "index_id": plan.index_id,
            "document_id": plan.document_id,
            "version_id": plan.version_id,
            "ordinal": passage.ordinal,
            "text": passage.text,
            "heading": passage.heading,
            "page": passage.page,
            "tokens": passage.tokens,
            "position": passage.position,
            "model": plan.model,
            "configuration": plan.configuration,
            f"embedding_{plan.dimensions}": vector,
        }
        for passage, vector in zip(batch, vectors, strict=True)
    ]
    ctx.session.execute(insert(Chunk).on_conflict_do_nothing(index_elements=["index_id", "ordinal"]), rows)


def _on(ctx: Ctx, entry_id: UUID, plan: _Plan, done: int, total: int) -> Event | None:
    held = _held(ctx, entry_id)
    if held is None or held[0].pending_index_id != plan.index_id:  # taken out, or indexed by another model meanwhile
        return None
    entry, document, _ = held
    if entry.failure_code == AWAY:
        entry.failure_code = entry.failure = None
    reached = CUT + (100 - CUT) * done // total
    if entry.state == "processing":
        entry.stage, entry.progress = "embedding", min(99, max(entry.progress, reached))
    return progress.tell(document, entry, chunks=total, done=done)


def _shown(ctx: Ctx, entry_id: UUID, plan: _Plan, passages: Sequence[Passage]) -> Event | None:
    """The index is whole: every entry that waits for it shows it from this commit on."""
    wanted = ctx.session.get(PassageIndex, plan.index_id, populate_existing=True, with_for_update=True)
    if wanted is None:
        return None
    wanted.state = "ready"
    wanted.chunk_count = wanted.planned = len(passages)
    wanted.bytes = sum(len(passage.text.encode()) for passage in passages) + 2 * plan.dimensions * len(passages)
    event = None
    ctx.session.flush()
    waiting = ctx.session.scalars(
        select(CollectionEntry.id).where(CollectionEntry.pending_index_id == plan.index_id).order_by(CollectionEntry.id)
    ).all()
    for each in waiting:
        held = _held(ctx, each)
        if held is not None:
            told = _show(ctx, held[0], held[1], wanted)
            event = told if each == entry_id else event
    return event


def _show(ctx: Ctx, entry: CollectionEntry, document: Document, whole: PassageIndex) -> Event:
    old = entry.index_id
    entry.index_id, entry.pending_index_id, entry.reindex = whole.id, None, False
    entry.state, entry.stage, entry.progress = "completed", None, 100
    entry.failure_code = entry.failure = None
    entry.started_at = entry.started_at or ctx.now()
    entry.completed_at = ctx.now()
    ctx.session.flush()
    if (old is not None and old != whole.id) or _given_up(ctx, document, whole):
        outbox.enqueue(ctx, "knowledge.purge", {"document_id": str(document.id)})
    return progress.tell(document, entry, "document.completed", chunks=whole.chunk_count)


def _given_up(ctx: Ctx, document: Document, whole: PassageIndex) -> bool:
    """Whether an index was begun that nobody may wait for any more."""
    query = select(PassageIndex.id).where(
        PassageIndex.document_id == document.id, PassageIndex.id != whole.id, PassageIndex.state == "building"
    )
    return ctx.session.scalar(query.limit(1)) is not None


# --- ends that are none -------------------------------------------------------------------------------------


def not_set_up(model: str) -> str:
    return f"The embedding model {model} is not set up here any more. Have the collection indexed anew."


def _wait(work: Work, entry_id: UUID, plan: _Plan, problem: DomainError, waits: int) -> None:
    """The model cannot be asked: the entry says why, and the job is promised for later. What is written stays, and what
    searches saw before they go on seeing."""
    if waits >= WAITS:
        _refuse(work, entry_id, AWAY, problem.message)
        return
    seconds = min(600.0, 10.0 * 2.0 ** min(waits, 10)) * random.uniform(0.75, 1.0)  # noqa: S311
    said = problem.facts.get("retry_after")
    event = None
    with work.transaction() as ctx:
        held = _held(ctx, entry_id)
        if held is not None and held[0].pending_index_id == plan.index_id:
            entry, document, _ = held
            entry.failure_code, entry.failure = AWAY, f"{problem.message} It will be tried again."[:2000]
            event = progress.tell(document, entry, waits=waits + 1)
            outbox.enqueue(
                ctx,
                "knowledge.embed",
                {"entry_id": str(entry_id), "waits": waits + 1},
                delay=timedelta(seconds=max(seconds, float(said or 0))),
            )
        work.complete(ctx)
    progress.publish(work, plan.document_id, event)


def _refuse(work: Work, entry_id: UUID, code: str, message: str) -> None:
    with work.transaction() as ctx:
        event = fail(ctx, entry_id, code, message)
    if event is not None:
        progress.publish(work, UUID(event[2]["document_id"]), event)
    _complete(work)


def _complete(work: Work) -> None:
    """The job is over once its last event is out: one that dies before is run again, and says it again."""
    with work.transaction() as ctx:
        work.complete(ctx)


def fail(ctx: Ctx, entry_id: UUID, code: str, message: str) -> Event | None:
    """End an entry's reading with a reason for people. What searches saw before, they go on seeing."""
    held = _held(ctx, entry_id)
    if held is None:
        return None
    entry, document, version = held
    if version.state == "pending" and code != "internal":
        version.state, version.failure_code, version.failure = "failed", code, message[:2000]
    entry.state, entry.stage = "failed", None
    entry.failure_code, entry.failure = code, message[:2000]
    entry.pending_index_id, entry.reindex = None, False
    entry.completed_at = ctx.now()
    return progress.tell(document, entry, "document.failed")


def give_up(ctx: Ctx, entry_id: UUID, reason: str) -> None:
    """All attempts at a job failed: the entry says so. `reason` is for operators; people read what they can act on."""
    if "memory or time limit" in reason or "limit of" in reason or "CPU time" in reason or "SIGKILL" in reason:
        fail(ctx, entry_id, "too_long", sandbox.TIME)
    else:
        fail(ctx, entry_id, "internal", AGAIN)


def _held(ctx: Ctx, entry_id: UUID) -> tuple[CollectionEntry, Document, DocumentVersion] | None:
    """The entry, its document and the version it is about; None once it is gone.

    The document's row is the lock of everything about it: taken first, so that what is read after it is fresh.
    """
    document_id = ctx.session.scalar(select(CollectionEntry.document_id).where(CollectionEntry.id == entry_id))
    if document_id is None:
        return None
    document = ctx.session.get(Document, document_id, populate_existing=True, with_for_update=True)
    row = ctx.session.execute(
        select(CollectionEntry, DocumentVersion)
        .join(DocumentVersion, DocumentVersion.id == CollectionEntry.version_id)
        .join(Collection, Collection.id == CollectionEntry.collection_id)
        .where(CollectionEntry.id == entry_id, Collection.deleted_at.is_(None))
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None or document is None or document.deleted_at is not None:
        return None
    return row[0], document, row[1]
