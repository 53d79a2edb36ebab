"""Documents, collections and what a search found, as Thallus shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from domain.identity import accounts
from handlers.wiring import page_of, timestamp
from thalweg.edge.application import File, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from domain.identity import Account
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage, Page
    from domain.knowledge import Chunk, Filed, Found, Holding, Passage
    from domain.storage import Content
    from generated.thallus import responses

FORMER = "former-member@users.invalid"
"""Stands for the address of an account that was erased."""
_FAILURES = frozenset(
    {"unreadable", "encrypted", "empty", "too_long", "processing_limit_reached", "storage_limit_reached"}
)


def created_document(ctx: Ctx, filed: Filed) -> Reply:
    location = f"{ctx.base_path}/api/v1/documents/{filed.document.id}"
    return Reply(document(ctx, filed), headers={"Location": location})


def document(ctx: Ctx, filed: Filed) -> responses.Document:
    return _document(ctx, filed, _people(ctx, [filed]))


def _document(ctx: Ctx, filed: Filed, people: Mapping[UUID, Account]) -> responses.Document:
    held, entry = filed.document, filed.entry
    return {
        "id": str(held.id),
        "filename": held.filename,
        "title": held.title,
        "description": held.description,
        "scope": _scope(filed.collection.owner_id is not None),
        "collection_id": str(filed.collection.id),
        "file_type": cast("responses.DocumentFileType", held.kind),
        "media_type": held.media_type,
        "size_bytes": held.size,
        "sha256": held.sha256,
        "status": cast("responses.DocumentStatus", entry.state),
        "error": _failure(filed),
        "page_count": held.page_count,
        "chunk_count": filed.chunks,
        "uploaded_by": _user(ctx, held.created_by, people),
        "created_at": timestamp(held.created_at),
        "updated_at": timestamp(max(held.updated_at, entry.updated_at)),
        "processed_at": timestamp(entry.completed_at),
    }


def document_page(ctx: Ctx, page: OffsetPage, found: Page[Filed]) -> responses.DocumentPage:
    people = _people(ctx, found.items)
    return {
        "items": [_document(ctx, each, people) for each in found.items],
        **page_of(found, page),
    }


def processing(filed: Filed) -> responses.DocumentProcessing:
    entry = filed.entry
    return {
        "document_id": str(filed.document.id),
        "status": cast("responses.DocumentStatus", entry.state),
        "stage": cast("Any", entry.stage),
        "progress": entry.progress,
        "chunk_count": filed.chunks,
        "attempts": entry.attempts,
        "error": _failure(filed),
        "started_at": timestamp(entry.started_at),
        "completed_at": timestamp(entry.completed_at),
    }


def file(filed: Filed, content: Content) -> File:
    return File(
        media_type=filed.document.media_type,
        name=filed.document.filename,
        opener=content.opener,
        size=content.size,
        etag=content.etag,
        modified=content.modified,
    )


def chunk_page(page: OffsetPage, found: Page[Chunk]) -> responses.ChunkPage:
    return {
        "items": [_chunk(each) for each in found.items],
        **page_of(found, page),
    }


def _chunk(chunk: Chunk) -> responses.DocumentChunk:
    return {
        "id": str(chunk.id),
        "index": chunk.ordinal,
        "text": chunk.text,
        "page": chunk.page,
        "sheet": _sheet(chunk.position.get("sheet")),
        "cells": chunk.position.get("cells"),
        "heading": chunk.heading,
        "token_count": chunk.tokens,
    }


def query_result(found: Found) -> responses.DocumentQueryResult:
    return {
        "query": found.query[:2000],
        "search_type": found.mode,
        "results": [_match(number, each) for number, each in enumerate(found.passages, 1)],
        "pending_documents": found.pending_documents,
        "took_ms": round(found.took * 1000),
    }


def _match(number: int, passage: Passage) -> responses.DocumentMatch:
    cited = passage.citation
    return {
        "chunk_id": str(passage.chunk_id),
        "document_id": str(passage.document_id),
        "filename": passage.filename,
        "collection_id": str(passage.collection_id),
        "scope": _scope(passage.personal),
        "text": passage.text,
        "highlights": [{"start": start, "end": end} for start, end in passage.highlights],
        "score": passage.score,
        "citation": {
            "index": number,
            "kind": "web" if cited.url else "document",
            "title": cited.title,
            "snippet": passage.snippet[:2000],
            "document_id": str(passage.document_id),
            "chunk_id": str(passage.chunk_id),
            "page": cited.page,
            "sheet": _sheet(cited.sheet),
            "cells": cited.cells,
            "connection_id": None,
            "table_name": None,
            "url": cited.url,
            "score": passage.score,
        },
    }


def _sheet(name: str | None) -> str | None:
    return None if name is None else name[:255]


def created_collection(ctx: Ctx, holding: Holding) -> Reply:
    location = f"{ctx.base_path}/api/v1/documents/collections/{holding.collection.id}"
    return Reply(collection(holding), headers={"Location": location})


def collection(holding: Holding) -> responses.Collection:
    held = holding.collection
    return {
        "id": str(held.id),
        "name": held.name,
        "description": held.description,
        "scope": _scope(held.owner_id is not None),
        "is_default": held.is_default,
        "include_in_research": held.include_in_research,
        "document_count": holding.documents,
        "size_bytes": holding.bytes,
        "created_at": timestamp(held.created_at),
        "updated_at": timestamp(held.updated_at),
    }


def collection_page(page: OffsetPage, found: Page[Holding]) -> responses.CollectionPage:
    return {
        "items": [collection(each) for each in found.items],
        **page_of(found, page),
    }


def states(status: str | None) -> Sequence[str] | None:
    return None if status is None else [status]


def _scope(personal: bool) -> Literal["personal", "organization"]:
    return "personal" if personal else "organization"


def _failure(filed: Filed) -> responses.DocumentFailure | None:
    entry = filed.entry
    if entry.failure_code is None or entry.state == "completed":  # shown by its old vectors while new ones wait
        return None
    code = entry.failure_code if entry.failure_code in _FAILURES else "internal"
    return {"code": cast("Any", code), "message": entry.failure or ""}


def _people(ctx: Ctx, found: Sequence[Filed]) -> Mapping[UUID, Account]:
    """Who has brought the documents, in one statement for all of them."""
    return accounts.get_many(ctx, {each.document.created_by for each in found if each.document.created_by is not None})


def _user(ctx: Ctx, user_id: UUID | None, people: Mapping[UUID, Account]) -> responses.UserReference:
    account = None if user_id is None else people.get(user_id)
    if account is None:
        return {"id": str(user_id or ctx.organisation), "name": "Former member", "email": FORMER}
    return {"id": str(account.id), "name": account.name, "email": account.email}
