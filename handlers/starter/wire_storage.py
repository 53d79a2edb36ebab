"""Stored objects as Starter shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from domain import conversations, storage
from handlers.starter import wire_containers
from handlers.starter.wire_conversations import WHOSE
from thalweg.edge.application import Reply

if TYPE_CHECKING:
    from uuid import UUID

    from domain.kernel.context import Ctx
    from domain.kernel.pages import Page
    from generated.starter import responses

_STATUS: dict[str, Literal["pending_upload", "ready", "deleted"]] = {
    storage.PENDING: "pending_upload",
    storage.READY: "ready",
    storage.DELETED: "deleted",
}


def conversation(ctx: Ctx, wanted: UUID | None) -> UUID | None:
    """The conversation that a file is for, one of the tenant's. Raises `NotFound`."""
    return None if wanted is None else conversations.get_conversation(ctx, wanted, whose=WHOSE).id


def agent(ctx: Ctx, wanted: str | None) -> str | None:
    """The agent that a file is for. Raises `NotFound`."""
    return None if wanted is None else wire_containers.agent(ctx, wanted)


def upload(announced: storage.Announced) -> Reply:
    """Where to send the file, and where it can be fetched then."""
    stored, link = announced.stored, announced.link
    body: responses.StoragePresignUploadResponse = {
        "object_id": str(stored.id),
        "upload_url": link.url,
        "method": "PUT",
        "headers": dict(link.headers),
        "bucket": storage.bucket(),
        "object_key": storage.shown_key(stored.organisation_id, stored.id),
        "expires_in_seconds": link.seconds,
    }
    return Reply(body, headers={"Location": f"{stored.id}/download-url"})


def download(stored: storage.StoredObject, link: storage.Link) -> responses.StoragePresignDownloadResponse:
    return {
        "object_id": str(stored.id),
        "download_url": link.url,
        "method": "GET",
        "headers": dict(link.headers),
        "bucket": storage.bucket(),
        "object_key": storage.shown_key(stored.organisation_id, stored.id),
        "expires_in_seconds": link.seconds,
    }


def stored_object(stored: storage.StoredObject) -> responses.StorageObjectResponse:
    return {
        "id": str(stored.id),
        "bucket": storage.bucket(),
        "object_key": storage.shown_key(stored.organisation_id, stored.id),
        "filename": stored.name,
        "mime_type": stored.media_type,
        "size_bytes": stored.size,
        "status": _STATUS[stored.state],
        "created_at": _timestamp(stored.created_at),
        "conversation_id": None if stored.conversation_id is None else str(stored.conversation_id),
        "agent_key": stored.agent_key,
    }


def object_page(page: Page[storage.StoredObject], next_offset: int | None) -> responses.StorageObjectListResponse:
    return {"items": [stored_object(stored) for stored in page.items], "next_offset": next_offset}


def _timestamp(moment: datetime) -> str:
    """UTC, ISO 8601 with `Z`, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
