"""documents."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.thallus import requests, responses
from thalweg.edge.problem import not_implemented


def upload_document(ctx: Ctx, body: requests.DocumentUpload) -> responses.Document:
    """Upload a document."""
    raise not_implemented()


def list_documents(
    ctx: Ctx,
    scope: str,
    page: OffsetPage,
    status: str | None = None,
    collection_id: UUID | None = None,
    file_type: str | None = None,
    search: str | None = None,
) -> responses.DocumentPage:
    """List documents."""
    raise not_implemented()


def get_document(ctx: Ctx, document_id: UUID) -> responses.Document:
    """Read a document."""
    raise not_implemented()


def delete_document(ctx: Ctx, document_id: UUID) -> None:
    """Delete a document."""
    raise not_implemented()


def get_document_status(ctx: Ctx, document_id: UUID) -> responses.DocumentProcessing:
    """Read how far the processing is."""
    raise not_implemented()


def download_document(ctx: Ctx, document_id: UUID) -> Any:
    """Download the original file."""
    raise not_implemented()


def list_document_chunks(ctx: Ctx, document_id: UUID, page: OffsetPage) -> responses.ChunkPage:
    """List the passages of a document."""
    raise not_implemented()


def move_document(ctx: Ctx, document_id: UUID, body: requests.DocumentMove) -> responses.Document:
    """Move a document to a collection."""
    raise not_implemented()


def query_documents(ctx: Ctx, body: requests.DocumentQuery) -> responses.DocumentQueryResult:
    """Search documents."""
    raise not_implemented()
