"""storage: files, uploaded and downloaded by signed addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from domain import storage
from handlers.starter import wire_storage as wire

if TYPE_CHECKING:
    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage
    from generated.starter import requests, responses
    from thalweg.edge.application import Reply


def create_upload_url(ctx: Ctx, body: requests.StoragePresignUploadRequest) -> Reply:
    announced = storage.announce(
        ctx,
        name=body.filename,
        media_type=body.mime_type,
        size=body.size_bytes,
        conversation_id=wire.conversation(ctx, body.conversation_id),
        agent_key=wire.agent(ctx, body.agent_key),
        notes=body.metadata,
    )
    return wire.upload(announced)


def list_objects(
    ctx: Ctx, page: OffsetPage, conversation_id: UUID | None = None
) -> responses.StorageObjectListResponse:
    found, more = storage.list(ctx, page=page, conversation_id=conversation_id)
    return wire.object_page(found, page.offset + page.limit if more else None)


def get_download_url(ctx: Ctx, object_id: UUID) -> responses.StoragePresignDownloadResponse:
    stored, link = storage.download_link(ctx, object_id)
    return wire.download(stored, link)


def delete_object(ctx: Ctx, object_id: UUID) -> None:
    storage.discard(ctx, object_id)
