"""Files of vector stores, in OpenAI's shape: stored objects, attached with attributes and sizes of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from domain import storage
from domain.kernel.context import Ctx
from domain.kernel.errors import Forbidden, Invalid, NotFound
from domain.kernel.pages import OffsetPage, Page
from domain.knowledge import collections, documents, quotas, rules
from domain.knowledge.documents import Filed
from domain.knowledge.extraction import kinds
from domain.knowledge.models import CollectionEntry
from domain.knowledge.rules import Chunking

MOST = 5_000
MAX_BYTES = 512 << 20
STATES = {"in_progress": ("pending", "processing"), "completed": ("completed",), "failed": ("failed",)}
"""What the wire calls the states of an entry."""


def attach(
    ctx: Ctx,
    store_id: UUID,
    file_id: str,
    *,
    attributes: Mapping[str, Any] | None = None,
    chunking: Chunking | None = None,
) -> Filed:
    """Attach a stored object and promise its reading. The object stays the object storage's.

    Raises `NotFound`, `Forbidden` (the store or plan is full), `Invalid` (its type cannot be read), `Conflict`.
    """
    if not all(0 < len(name) <= rules.LONGEST_NAME for name in attributes or ()):
        raise Invalid(f"attributes: a name has 1 to {rules.LONGEST_NAME} characters.")
    store = _alive(ctx, store_id)
    stored = _object(ctx, file_id)
    kind = kinds.guessed(stored.media_type, stored.name)
    if kind is None:
        raise Invalid(f"Files of type {stored.media_type} cannot be read.")
    if stored.size > MAX_BYTES:
        raise Invalid(f"A file of a vector store has {MAX_BYTES >> 20} MiB at most.", limit=MAX_BYTES)
    count = ctx.session.scalar(select(func.count(CollectionEntry.id)).where(CollectionEntry.collection_id == store.id))
    if (count or 0) >= MOST:
        raise Forbidden(f"A vector store has {MOST:,} files at most.", limit=MOST)
    quotas.room_for_document(ctx, store.kind, stored.size)
    return documents.add(
        ctx,
        store,
        blob_id=stored.id,
        kind=kind,
        size=stored.size,
        sha256=stored.digest,
        filename=stored.name,
        source="vector_file",
        owns_blob=False,
        distinct=False,
        external_id=str(stored.id),
        attributes=attributes,
        chunking=chunking,
    )


def get(ctx: Ctx, store_id: UUID, file_id: str) -> Filed:
    """Raises `NotFound`."""
    collections.find(ctx, store_id, "vector_store")
    return documents.find_external(ctx, store_id, file_id)


def list_files(ctx: Ctx, store_id: UUID, page: OffsetPage, *, status: str | None = None) -> Page[Filed]:
    """The latest first. `status` is the wire's word. Raises `NotFound`."""
    if status is not None and status not in STATES:
        collections.find(ctx, store_id, "vector_store")
        return Page([], total=0)
    state = None if status is None else STATES[status]
    return documents.list_documents(ctx, page, kind="vector_store", collection_id=store_id, states=state)


def detach(ctx: Ctx, store_id: UUID, file_id: str) -> None:
    """Drop a file's passages from the store. Raises `NotFound`, `Forbidden`."""
    filed = get(ctx, store_id, file_id)
    documents.remove(ctx, filed.document.id, collection_id=store_id)


def _alive(ctx: Ctx, store_id: UUID) -> Any:
    store = collections.find(ctx, store_id, "vector_store", edit=True)
    if store.over(ctx.now()):
        raise NotFound("The vector store has expired.")
    return store


def _object(ctx: Ctx, file_id: str) -> storage.StoredObject:
    try:
        object_id = UUID(file_id)
    except ValueError:
        raise NotFound("There is no such file.") from None
    return storage.get(ctx, object_id, ready=True)
