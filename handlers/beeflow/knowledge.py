"""knowledge: bases of documents that answers are drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import knowledge
from handlers.beeflow import wire_knowledge as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.beeflow import requests, responses
    from thalweg.edge.application import Reply


def list_knowledge_bases(
    ctx: Ctx, page: OffsetPage, q: str | None = None, visibility: str | None = None, mine: bool | None = None
) -> responses.KnowledgeBasePage:
    found = knowledge.list_collections(ctx, wire.BASE, page, visibility=visibility, mine=mine, search=q)
    return wire.base_page(ctx, page, found)


def create_knowledge_base(ctx: Ctx, body: requests.KnowledgeBaseCreate) -> Reply:
    made = knowledge.bases.create(
        ctx,
        body.name,
        description=body.description,
        language=body.language,
        visibility=body.visibility,
        group_ids=body.group_ids or (),
        tuning=wire.tuning(body.settings),
    )
    return wire.created_base(ctx, made)


def get_knowledge_base(ctx: Ctx, id: UUID) -> responses.KnowledgeBase:
    return wire.base(ctx, *knowledge.marketplace.read(ctx, id))


def update_knowledge_base(ctx: Ctx, id: UUID, body: requests.KnowledgeBaseUpdate) -> responses.KnowledgeBase:
    changes = body.model_dump(exclude_unset=True, exclude={"settings"})
    return wire.base(ctx, knowledge.bases.update(ctx, id, tuning=wire.tuning(body.settings), **changes))


def delete_knowledge_base(ctx: Ctx, id: UUID) -> None:
    knowledge.delete_collection(ctx, id, wire.BASE)


def list_knowledge_documents(
    ctx: Ctx, id: UUID, page: OffsetPage, q: str | None = None, status: str | None = None
) -> responses.KnowledgeDocumentPage:
    states = None if status is None else [status]
    found = knowledge.list_documents(ctx, page, kind=wire.BASE, collection_id=id, states=states, search=q)
    return wire.document_page(ctx, page, found)


def add_knowledge_document(ctx: Ctx, id: UUID, body: requests.KnowledgeDocumentUpload) -> Reply:
    with body.file.open() as source:
        filed = knowledge.upload(
            ctx,
            source,
            filename=body.file.name,
            collection_id=id,
            kind=wire.BASE,
            title=body.title,
            description=body.description,
            tags=body.tags or (),
        )
    return wire.added_document(ctx, filed)


def remove_knowledge_document(ctx: Ctx, id: UUID, doc_id: UUID) -> None:
    knowledge.bases.remove_document(ctx, id, doc_id)


def search_knowledge_base(ctx: Ctx, id: UUID, body: requests.KnowledgeSearch) -> responses.KnowledgeSearchResult:
    found = knowledge.bases.search(
        ctx,
        id,
        body.query,
        mode=wire.mode(body.mode),
        min_score=body.min_score,
        document_ids=body.document_ids or None,
        tags=body.tags or None,
        limit=body.limit,
    )
    return wire.search_result(found)


def reindex_knowledge_base(ctx: Ctx, id: UUID) -> Reply:
    return wire.reindexing(ctx, knowledge.reindex(ctx, id, wire.BASE))
