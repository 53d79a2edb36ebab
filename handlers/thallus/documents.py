"""documents: taken in, processed, searched."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import knowledge, storage
from handlers.thallus import wire_documents as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.thallus import requests, responses
    from thalweg.edge.application import File, Reply


def upload_document(ctx: Ctx, body: requests.DocumentUpload) -> Reply:
    with body.file.open() as source:
        filed = knowledge.upload(
            ctx,
            source,
            filename=body.file.name,
            collection_id=body.collection_id,
            personal=True,
            title=body.title,
            description=body.description,
        )
    return wire.created_document(ctx, filed)


def list_documents(
    ctx: Ctx,
    scope: str,
    page: OffsetPage,
    status: str | None = None,
    collection_id: UUID | None = None,
    file_type: str | None = None,
    search: str | None = None,
) -> responses.DocumentPage:
    found = knowledge.list_documents(
        ctx,
        page,
        scope=scope,
        collection_id=collection_id,
        states=wire.states(status),
        file_kind=file_type,
        search=search,
    )
    return wire.document_page(ctx, page, found)


def get_document(ctx: Ctx, document_id: UUID) -> responses.Document:
    return wire.document(ctx, knowledge.find(ctx, document_id))


def delete_document(ctx: Ctx, document_id: UUID) -> None:
    knowledge.remove(ctx, document_id)


def get_document_status(ctx: Ctx, document_id: UUID) -> responses.DocumentProcessing:
    return wire.processing(knowledge.find(ctx, document_id))


def download_document(ctx: Ctx, document_id: UUID) -> File:
    filed, stored = knowledge.original(ctx, document_id)
    return wire.file(filed, storage.content(stored))


def list_document_chunks(ctx: Ctx, document_id: UUID, page: OffsetPage) -> responses.ChunkPage:
    return wire.chunk_page(page, knowledge.passages(ctx, document_id, page))


def move_document(ctx: Ctx, document_id: UUID, body: requests.DocumentMove) -> responses.Document:
    return wire.document(ctx, knowledge.move(ctx, document_id, body.collection_id))


def query_documents(ctx: Ctx, body: requests.DocumentQuery) -> responses.DocumentQueryResult:
    found = knowledge.search(
        ctx,
        body.query,
        mode=body.search_type,
        collections=body.collection_ids or None,
        documents=body.document_ids or None,
        kinds=[str(kind) for kind in body.file_types] if body.file_types else None,
        min_score=body.min_score,
        limit=body.limit,
        action="document.search",
    )
    return wire.query_result(found)
