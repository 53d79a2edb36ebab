"""storage."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.starter import requests, responses
from thalweg.edge.problem import not_implemented


def create_upload_url(ctx: Ctx, body: requests.StoragePresignUploadRequest) -> responses.StoragePresignUploadResponse:
    """Get an address to upload a file to."""
    raise not_implemented()


def list_objects(
    ctx: Ctx, page: OffsetPage, conversation_id: UUID | None = None
) -> responses.StorageObjectListResponse:
    """List stored objects."""
    raise not_implemented()


def get_download_url(ctx: Ctx, object_id: UUID) -> responses.StoragePresignDownloadResponse:
    """Get an address to download a file from."""
    raise not_implemented()


def delete_object(ctx: Ctx, object_id: UUID) -> None:
    """Delete a stored object."""
    raise not_implemented()
