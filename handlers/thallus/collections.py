"""collections: a person's own folders of documents."""

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


def list_collections(ctx: Ctx, page: OffsetPage) -> responses.CollectionPage:
    return wire.collection_page(page, knowledge.list_collections(ctx, "collection", page, scope="personal"))


def create_collection(ctx: Ctx, body: requests.CollectionCreate) -> Reply:
    made = knowledge.create(
        ctx, "collection", body.name, description=body.description, include_in_research=body.include_in_research
    )
    return wire.created_collection(ctx, made)


def get_collection(ctx: Ctx, collection_id: UUID) -> responses.Collection:
    return wire.collection(knowledge.get(ctx, collection_id, "collection"))


def update_collection(ctx: Ctx, collection_id: UUID, body: requests.CollectionUpdate) -> responses.Collection:
    changed = knowledge.update_collection(
        ctx,
        collection_id,
        "collection",
        name=body.name,
        description=body.description,
        include_in_research=body.include_in_research,
    )
    return wire.collection(changed)


def delete_collection(ctx: Ctx, collection_id: UUID) -> None:
    knowledge.delete_collection(ctx, collection_id, "collection", personal=True)
