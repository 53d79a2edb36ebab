"""vector-stores."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def create_vector_store(ctx: Ctx, body: requests.VectorStoreCreateRequest) -> responses.VectorStoreResponse:
    """Create a vector store."""
    raise not_implemented()


def list_vector_stores(ctx: Ctx, page: OffsetPage) -> responses.VectorStoreListResponse:
    """List vector stores."""
    raise not_implemented()


def get_vector_store(ctx: Ctx, vector_store_id: UUID) -> responses.VectorStoreResponse:
    """Read a vector store."""
    raise not_implemented()


def delete_vector_store(ctx: Ctx, vector_store_id: UUID) -> None:
    """Delete a vector store."""
    raise not_implemented()


def attach_vector_store_file(
    ctx: Ctx, vector_store_id: UUID, body: requests.VectorStoreFileCreateRequest
) -> responses.VectorStoreFileResponse:
    """Attach a file to a vector store."""
    raise not_implemented()


def list_vector_store_files(
    ctx: Ctx, vector_store_id: UUID, page: OffsetPage, status: str | None = None
) -> responses.VectorStoreFileListResponse:
    """List the files of a vector store."""
    raise not_implemented()


def get_vector_store_file(ctx: Ctx, vector_store_id: UUID, file_id: str) -> responses.VectorStoreFileResponse:
    """Read a file of a vector store."""
    raise not_implemented()


def detach_vector_store_file(ctx: Ctx, vector_store_id: UUID, file_id: str) -> None:
    """Take a file out of a vector store."""
    raise not_implemented()


def search_vector_store(
    ctx: Ctx, vector_store_id: UUID, body: requests.VectorStoreSearchRequest
) -> responses.VectorStoreSearchResponse:
    """Search a vector store."""
    raise not_implemented()
