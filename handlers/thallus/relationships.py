"""relationships."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_relationships(
    ctx: Ctx,
    page: OffsetPage,
    status: str | None = None,
    connection_id: UUID | None = None,
    table_id: UUID | None = None,
) -> responses.RelationshipPage:
    """List relationships of the organisation."""
    raise not_implemented()


def create_relationship(ctx: Ctx, body: requests.RelationshipCreate) -> responses.Relationship:
    """Create a relationship between tables."""
    raise not_implemented()


def update_relationship(ctx: Ctx, relationship_id: UUID, body: requests.RelationshipUpdate) -> responses.Relationship:
    """Replace a relationship."""
    raise not_implemented()


def delete_relationship(ctx: Ctx, relationship_id: UUID) -> None:
    """Delete a relationship."""
    raise not_implemented()


def confirm_relationship(ctx: Ctx, relationship_id: UUID) -> responses.Relationship:
    """Confirm an inferred relationship."""
    raise not_implemented()


def infer_relationships(ctx: Ctx, body: requests.RelationshipInferRequest | None) -> responses.RelationshipInferResult:
    """Infer relationships from column names."""
    raise not_implemented()
