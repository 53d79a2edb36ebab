"""organization-documents."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def list_organization_collections(ctx: Ctx, page: OffsetPage) -> responses.CollectionPage:
    """List collections of the organisation."""
    raise not_implemented()


def create_organization_collection(ctx: Ctx, body: requests.CollectionCreate) -> responses.Collection:
    """Create a collection of the organisation."""
    raise not_implemented()


def delete_organization_collection(ctx: Ctx, collection_id: UUID) -> None:
    """Delete a collection of the organisation."""
    raise not_implemented()


def upload_organization_document(ctx: Ctx, body: requests.OrganizationDocumentUpload) -> responses.Document:
    """Upload a document for the organisation."""
    raise not_implemented()
