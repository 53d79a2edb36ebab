"""vector-stores: files that can be searched by meaning, in OpenAI's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import knowledge
from handlers.starter import wire_vector_stores as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.starter import requests, responses
    from thalweg.edge.application import Pending, Reply


def create_vector_store(ctx: Ctx, body: requests.VectorStoreCreateRequest) -> Reply:
    made = knowledge.create(
        ctx,
        wire.STORE,
        body.name,
        personal=False,
        description=body.description,
        notes=body.metadata,
        expires_after_days=None if body.expires_after is None else body.expires_after.days,
    )
    return wire.created_store(ctx, made)


def list_vector_stores(ctx: Ctx, page: OffsetPage) -> responses.VectorStoreListResponse:
    return wire.store_page(knowledge.list_collections(ctx, wire.STORE, page, latest_first=True))


def get_vector_store(ctx: Ctx, vector_store_id: UUID) -> responses.VectorStoreResponse:
    return wire.store(knowledge.get(ctx, vector_store_id, wire.STORE))


def delete_vector_store(ctx: Ctx, vector_store_id: UUID) -> None:
    knowledge.delete_collection(ctx, vector_store_id, wire.STORE)


def attach_vector_store_file(
    ctx: Ctx, vector_store_id: UUID, body: requests.VectorStoreFileCreateRequest
) -> Reply | Pending:
    attached = knowledge.stores.attach(
        ctx,
        vector_store_id,
        body.file_id,
        attributes=wire.attributes(body.attributes),
        chunking=wire.chunking(body.chunking_strategy),
    )
    return wire.once_read(attached) if body.poll else wire.attached(ctx, attached)


def list_vector_store_files(
    ctx: Ctx, vector_store_id: UUID, page: OffsetPage, status: str | None = None
) -> responses.VectorStoreFileListResponse:
    return wire.file_page(knowledge.vector_files.list_files(ctx, vector_store_id, page, status=status))


def get_vector_store_file(ctx: Ctx, vector_store_id: UUID, file_id: str) -> responses.VectorStoreFileResponse:
    return wire.file(knowledge.vector_files.get(ctx, vector_store_id, file_id))


def detach_vector_store_file(ctx: Ctx, vector_store_id: UUID, file_id: str) -> None:
    knowledge.vector_files.detach(ctx, vector_store_id, file_id)


def search_vector_store(
    ctx: Ctx, vector_store_id: UUID, body: requests.VectorStoreSearchRequest
) -> responses.VectorStoreSearchResponse:
    ranking = body.ranking_options
    found = knowledge.stores.search(
        ctx,
        vector_store_id,
        body.query,
        filters=wire.filters(body.filters),
        words=ranking is None or ranking.ranker == "auto",
        min_score=0.0 if ranking is None or ranking.score_threshold is None else ranking.score_threshold,
        limit=body.max_num_results or 10,
    )
    return wire.search_response(found)
