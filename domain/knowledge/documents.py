"""Documents: taking them in, finding, moving and deleting them. What reading them gives is `ingestion`'s."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from domain import audit, storage
from domain.kernel import outbox
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, Forbidden, NotFound
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page
from domain.knowledge import access, collections, deleting, quotas
from domain.knowledge.extraction import kinds
from domain.knowledge.models import (
    Chunk,
    Collection,
    CollectionEntry,
    Document,
    DocumentVersion,
    PassageIndex,
)
from domain.knowledge.rules import Chunking

PURPOSE = "document"
"""Of the stored objects that belong to documents."""
TAKEN = {
    "collection": frozenset({"pdf", "docx", "doc", "txt", "md", "csv", "xlsx", "xls"}),
    "knowledge_base": frozenset(
        {"pdf", "docx", "pptx", "xlsx", "odt", "txt", "md", "html", "csv", "eml", "doc", "xls", "ods", "epub", "rtf"}
    ),
    "vector_store": frozenset(kinds.KINDS),
}
"""Kinds of file that a collection takes, by the contracts and what can be read besides."""
ACTIONS = {"collection": "document", "knowledge_base": "knowledge_document", "vector_store": "vector_store"}
"""What the audit calls a document of a kind of collection."""


@dataclass(frozen=True, slots=True)
class Filed:
    """A document in a collection. `chunks` and `usage_bytes` are those that searches see."""

    document: Document
    entry: CollectionEntry
    collection: Collection
    chunks: int = 0
    usage_bytes: int = 0
    may_edit: bool = False


def upload(
    ctx: Ctx,
    source: BinaryIO | str | os.PathLike[str],
    *,
    filename: str,
    collection_id: UUID | None = None,
    kind: str = "collection",
    personal: bool | None = None,
    title: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
    max_bytes: int | None = None,
) -> Filed:
    """Keep a file, put it into a collection (None: the caller's default one) and promise its reading.

    `personal`: only into a collection of a person (True) or of the organisation (False). Call it before other
    statements: the bytes are streamed first, without a transaction. Raises `NotTaken`, `TooLarge`,
    `NotFound`, `Forbidden`, `Conflict` (facts `reason`: `duplicate_document`, `document_id`), `PaymentRequired`.
    """
    staged = storage.stage(ctx, source, max_bytes=max_bytes)
    shown = storage.display_name(filename)
    stored = storage.keep(ctx, staged, name=shown, purpose=PURPOSE)  # from here a rollback drops the bytes
    judged = kinds.agreed(staged.found, staged.size, shown, TAKEN[kind])
    if collection_id is None:
        collection = collections.default(ctx)
    else:
        collection = collections.find(ctx, collection_id, kind)
        collections.of_scope(collection, personal)
        access.must_edit(ctx, collection)
    quotas.room_for_document(ctx, collection.kind, staged.size)
    return add(
        ctx,
        collection,
        blob_id=stored.id,
        kind=judged,
        size=staged.size,
        sha256=staged.sha256.hex(),
        filename=shown,
        title=title,
        description=description,
        tags=tags,
    )


def add(
    ctx: Ctx,
    collection: Collection | None,
    *,
    blob_id: UUID,
    kind: kinds.Kind,
    size: int,
    sha256: str,
    filename: str,
    title: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
    source: str = "upload",
    url: str | None = None,
    owns_blob: bool = True,
    distinct: bool = True,
    external_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    chunking: Chunking | None = None,
    added_by: UUID | None = None,
    action: str | None = None,
) -> Filed:
    """Make a document of bytes that are stored, and file it. `distinct`: the collection takes the same bytes once.

    The caller has checked that the collection may be changed. Raises `Conflict`.
    """
    if collection is None:
        raise ValueError("a document is filed somewhere")
    person: UUID | None = added_by or getattr(ctx.actor, "user_id", None)
    now = ctx.now()
    document = Document(
        id=new_id(),
        source=source,
        home_id=collection.id,
        owner_id=collection.owner_id,
        created_by=person,
        title=(title or filename)[:300],
        filename=filename[:255],
        description=description,
        tags=list(dict.fromkeys(tags)),
        url=url,
        kind=kind.name,
        media_type=kind.media_type,
        size=size,
        sha256=sha256,
    )
    ctx.session.add(document)
    ctx.session.flush()
    version = _version(ctx, document, 1, blob_id, kind, size, sha256, owns_blob)
    row = {
        "id": new_id(),
        "organisation_id": ctx.organisation,
        "collection_id": collection.id,
        "document_id": document.id,
        "version_id": version.id,
        "content_key": sha256 if distinct else None,
        "external_id": external_id,
        "attributes": dict(attributes or {}),
        "chunking": None if chunking is None else chunking.stored(),
        "state": "pending",
        "added_by": person,
        "created_at": now,
        "updated_at": now,
    }
    # One statement decides between two uploads of the same bytes at the same moment.
    entry = ctx.session.scalars(
        insert(CollectionEntry).on_conflict_do_nothing().returning(CollectionEntry), [row]
    ).one_or_none()
    if entry is None:
        raise _double(ctx, collection, sha256, external_id)
    collections.touch(ctx, collection)
    _promise(ctx, entry)
    audit.record(
        ctx,
        action or f"{ACTIONS[collection.kind]}.{'file_attach' if collection.kind == 'vector_store' else 'create'}",
        resource_type=ACTIONS[collection.kind],
        resource_id=document.id if collection.kind != "vector_store" else collection.id,
        details={"collection_id": str(collection.id), "filename": document.filename, "size": size, "kind": kind.name},
    )
    return Filed(document, entry, collection, may_edit=True)


def _version(
    ctx: Ctx, document: Document, number: int, blob_id: UUID, kind: kinds.Kind, size: int, sha256: str, owns: bool
) -> DocumentVersion:
    version = DocumentVersion(
        id=new_id(),
        document_id=document.id,
        number=number,
        blob_id=blob_id,
        owns_blob=owns,
        kind=kind.name,
        media_type=kind.media_type,
        size=size,
        sha256=sha256,
        state="pending",
    )
    document.version_id = version.id
    ctx.session.add(version)
    ctx.session.flush()
    return version


def _promise(ctx: Ctx, entry: CollectionEntry) -> None:
    outbox.enqueue(ctx, "knowledge.index", {"entry_id": str(entry.id)}, queue="untrusted")


def _double(ctx: Ctx, collection: Collection, sha256: str, external_id: str | None) -> Conflict:
    same = [CollectionEntry.content_key == sha256]
    if external_id is not None:
        same.append(CollectionEntry.external_id == external_id)
    found = ctx.session.execute(
        select(CollectionEntry.document_id, CollectionEntry.state).where(
            CollectionEntry.collection_id == collection.id, or_(*same)
        )
    ).first()
    known, state = found or (None, None)
    again = " That one could not be read: delete it to have the file read again." if state == "failed" else ""
    said = f"The {collection.kind.replace('_', ' ')} has the same file already.{again}"
    return Conflict(said, reason="duplicate_document", document_id=known and str(known))


def new_version(
    ctx: Ctx, document: Document, *, blob_id: UUID, kind: kinds.Kind, size: int, sha256: str, title: str | None = None
) -> DocumentVersion:
    """Other bytes for a document. Searches go on with the old passages until the new ones are whole."""
    number = ctx.session.scalar(
        select(func.max(DocumentVersion.number)).where(DocumentVersion.document_id == document.id)
    )
    document.kind, document.media_type = kind.name, kind.media_type
    document.size, document.sha256 = size, sha256
    document.title = (title or document.title)[:300]
    version = _version(ctx, document, (number or 0) + 1, blob_id, kind, size, sha256, True)
    entries = ctx.session.scalars(
        select(CollectionEntry).where(CollectionEntry.document_id == document.id).with_for_update()
    ).all()
    for entry in entries:
        entry.version_id = version.id
        entry.pending_index_id = None
        if entry.content_key is not None:
            entry.content_key = sha256
        entry.state, entry.stage, entry.progress, entry.attempts = "pending", None, 0, 0
        entry.failure_code = entry.failure = None
        _promise(ctx, entry)
    return version


def find(ctx: Ctx, document_id: UUID, *, collection_id: UUID | None = None, edit: bool = False) -> Filed:
    """A document that the caller can see, in the given collection or the one it came in by.

    Raises `NotFound`, and with `edit` `Forbidden`.
    """
    query = _filed(ctx).where(Document.id == document_id, access.visible(access.viewer(ctx)))
    if collection_id is not None:
        query = query.where(CollectionEntry.collection_id == collection_id)
    home = (CollectionEntry.collection_id == Document.home_id).desc()
    row = ctx.session.execute(query.order_by(home, CollectionEntry.id).limit(1)).one_or_none()
    if row is None:
        raise NotFound("There is no such document.")
    filed = _of(ctx, row)
    if edit:
        access.must_edit(ctx, filed.collection)
    return filed


def find_external(ctx: Ctx, collection_id: UUID, external_id: str) -> Filed:
    """A vector store's file by what its caller calls it. Raises `NotFound`."""
    row = ctx.session.execute(
        _filed(ctx).where(
            CollectionEntry.collection_id == collection_id,
            CollectionEntry.external_id == external_id,
            access.visible(access.viewer(ctx)),
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such file in the vector store.")
    return _of(ctx, row)


def _filed(ctx: Ctx) -> Any:
    return (
        select(Document, CollectionEntry, Collection, PassageIndex.chunk_count, PassageIndex.bytes)
        .join(CollectionEntry, CollectionEntry.document_id == Document.id)
        .join(Collection, Collection.id == CollectionEntry.collection_id)
        .outerjoin(PassageIndex, PassageIndex.id == CollectionEntry.index_id)
        .where(Document.deleted_at.is_(None), access.lasting(ctx.now()))
    )


def _of(ctx: Ctx, row: Any) -> Filed:
    document, entry, collection, chunks, taken = row
    return Filed(document, entry, collection, chunks or 0, taken or 0, access.may_edit(ctx, collection))


def list_documents(
    ctx: Ctx,
    page: OffsetPage,
    *,
    kind: str = "collection",
    scope: str | None = None,
    collection_id: UUID | None = None,
    states: Sequence[str] | None = None,
    file_kind: str | None = None,
    search: str | None = None,
) -> Page[Filed]:
    """Documents that the caller can see, the latest first. `scope`: `personal` (the caller's own) or `organization`.

    Raises `NotFound` for a collection that the caller cannot see.
    """
    conditions: list[ColumnElement[bool]] = [Collection.kind == kind, access.visible(access.viewer(ctx))]
    if collection_id is not None:
        collections.find(ctx, collection_id, kind)
        conditions.append(CollectionEntry.collection_id == collection_id)
    if scope == "personal":
        conditions.append(Collection.owner_id == access.user(ctx))
    elif scope == "organization":
        conditions.append(Collection.owner_id.is_(None))
    if states is not None:
        conditions.append(CollectionEntry.state.in_(states))
    if file_kind is not None:
        conditions.append(Document.kind == file_kind)
    conditions += [_speaks_of(word) for word in (search or "").split()[:10]]
    query = _filed(ctx).where(*conditions)
    total = ctx.session.scalar(query.with_only_columns(func.count(CollectionEntry.id)))
    rows = ctx.session.execute(query.order_by(CollectionEntry.id.desc()).offset(page.offset).limit(page.limit)).all()
    return Page([_of(ctx, row) for row in rows], total=total)


def _speaks_of(word: str) -> ColumnElement[bool]:
    return or_(
        Document.title.icontains(word, autoescape=True),
        Document.filename.icontains(word, autoescape=True),
        func.coalesce(Document.description, "").icontains(word, autoescape=True),
        func.array_to_string(Document.tags, " ").icontains(word, autoescape=True),
    )


def get_many(ctx: Ctx, ids: Sequence[UUID]) -> list[Document]:
    """Those of the ids that there are, in their order, whoever may see them: for contexts that keep a reference."""
    found = {
        each.id: each
        for each in ctx.session.scalars(select(Document).where(Document.id.in_(ids), Document.deleted_at.is_(None)))
    }
    return [found[each] for each in ids if each in found]


def passages(ctx: Ctx, document_id: UUID, page: OffsetPage) -> Page[Chunk]:
    """The passages of a document as searches see them, in its order. Raises `NotFound`."""
    filed = find(ctx, document_id)
    if filed.entry.index_id is None:
        return Page([], total=0)
    rows = ctx.session.scalars(
        select(Chunk)
        .where(Chunk.index_id == filed.entry.index_id, Chunk.ordinal >= page.offset)
        .order_by(Chunk.ordinal)
        .limit(page.limit)
    ).all()
    return Page(rows, total=filed.chunks)


def original(ctx: Ctx, document_id: UUID) -> tuple[Filed, storage.StoredObject]:
    """The file as it was uploaded (`storage.content` and `storage.open` take it). Raises `NotFound`."""
    filed = find(ctx, document_id)
    version = ctx.session.get_one(DocumentVersion, filed.entry.version_id)
    audit.record(
        ctx,
        f"{ACTIONS[filed.collection.kind]}.download",
        resource_type=ACTIONS[filed.collection.kind],
        resource_id=filed.document.id,
    )
    return filed, storage.get(ctx, version.blob_id, ready=True)


def move(ctx: Ctx, document_id: UUID, collection_id: UUID | None) -> Filed:
    """Put a document into another collection of the same scope; None: the default one.

    Raises `NotFound`, `Forbidden`, `Conflict` (fact `reason`: `scope_mismatch` or `duplicate_document`).
    """
    filed = find(ctx, document_id, edit=True)
    personal = filed.collection.owner_id is not None
    if filed.collection.kind != "collection":
        raise Conflict("What is in a knowledge base or a vector store stays there.", reason="scope_mismatch")
    if collection_id is None:
        target = collections.default(ctx, personal=personal)
    else:
        target = collections.find(ctx, collection_id, filed.collection.kind)
    if (target.owner_id is not None) != personal:
        raise Conflict("Documents do not move between people and the organisation.", reason="scope_mismatch")
    access.must_edit(ctx, target)
    if target.id != filed.collection.id:
        same = or_(
            CollectionEntry.document_id == document_id,
            and_(CollectionEntry.content_key.is_not(None), CollectionEntry.content_key == filed.entry.content_key),
        )
        known = ctx.session.scalar(
            select(CollectionEntry.document_id).where(CollectionEntry.collection_id == target.id, same)
        )
        if known is not None:
            raise Conflict(
                "The collection has the same file already.", reason="duplicate_document", document_id=str(known)
            )
        filed.entry.collection_id = target.id
        if filed.document.home_id == filed.collection.id:
            filed.document.home_id = target.id
        ctx.session.flush()
    audit.record(
        ctx,
        "document.move",
        resource_type="document",
        resource_id=document_id,
        details={"from": str(filed.collection.id), "to": str(target.id)},
    )
    return find(ctx, document_id, collection_id=target.id)


def remove(ctx: Ctx, document_id: UUID, *, collection_id: UUID | None = None) -> None:
    """Take a document out of a collection; out of the one it came in by, it goes altogether, file and passages.
    Searches do not find it from the commit on, and a job erases it.

    Raises `NotFound`, `Forbidden`.
    """
    filed = find(ctx, document_id, collection_id=collection_id)
    if not filed.may_edit:
        raise Forbidden(required_scope=access.MANAGE[filed.collection.kind])
    home = filed.collection.id == filed.document.home_id
    if home:
        deleting.mark(ctx, Document.id == document_id)
    else:
        ctx.session.execute(
            delete(CollectionEntry)
            .where(CollectionEntry.id == filed.entry.id)
            .execution_options(synchronize_session=False)
        )
    collections.touch(ctx, filed.collection)
    outbox.enqueue(ctx, "knowledge.purge", {"document_id": str(document_id)})
    word = ACTIONS[filed.collection.kind]
    audit.record(
        ctx,
        f"{word}.file_detach" if word == "vector_store" else f"{word}.delete",
        resource_type=word,
        resource_id=filed.collection.id if word == "vector_store" else document_id,
        details={"filename": filed.document.filename},
    )


def discard(ctx: Ctx, ids: Sequence[UUID]) -> None:
    """Delete documents whose owner is another thing of this context (a webpage), which has judged the caller."""
    if not ids:
        return
    deleting.mark(ctx, Document.id.in_(ids))
    for document_id in ids:
        outbox.enqueue(ctx, "knowledge.purge", {"document_id": str(document_id)})
