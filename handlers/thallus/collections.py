"""collections."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_collections(ctx: Ctx, page: OffsetPage) -> responses.CollectionPage:
    """List collections."""
    raise not_implemented()


def create_collection(ctx: Ctx, body: requests.CollectionCreate) -> responses.Collection:
    """Create a collection."""
    raise not_implemented()


def get_collection(ctx: Ctx, collection_id: UUID) -> responses.Collection:
    """Read a collection."""
    raise not_implemented()


def update_collection(ctx: Ctx, collection_id: UUID, body: requests.CollectionUpdate) -> responses.Collection:
    """Replace the description of a collection."""
    raise not_implemented()


def delete_collection(ctx: Ctx, collection_id: UUID) -> None:
    """Delete a collection."""
    raise not_implemented()
