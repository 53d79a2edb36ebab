"""organization-documents: collections and documents that all members see."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import knowledge
from handlers.thallus import wire_documents as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.thallus import requests, responses
    from thalweg.edge.application import Reply


def list_organization_collections(ctx: Ctx, page: OffsetPage) -> responses.CollectionPage:
    return wire.collection_page(page, knowledge.list_collections(ctx, "collection", page, scope="organization"))


def create_organization_collection(ctx: Ctx, body: requests.CollectionCreate) -> Reply:
    made = knowledge.create(
        ctx,
        "collection",
        body.name,
        personal=False,
        description=body.description,
        include_in_research=body.include_in_research,
    )
    return wire.created_collection(ctx, made)


def delete_organization_collection(ctx: Ctx, collection_id: UUID) -> None:
    knowledge.delete_collection(ctx, collection_id, "collection", personal=False)


def upload_organization_document(ctx: Ctx, body: requests.OrganizationDocumentUpload) -> Reply:
    with body.file.open() as source:
        filed = knowledge.upload(
            ctx,
            source,
            filename=body.file.name,
            collection_id=body.collection_id,
            personal=False,
            title=body.title,
            description=body.description,
        )
    return wire.created_document(ctx, filed)
