"""Vector stores, their files and what a search found, as Starter shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from domain import knowledge
from domain.kernel.errors import Unprocessable
from handlers.wiring import timestamp
from thalweg.edge.application import Pending, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.kernel.context import Ctx
    from domain.kernel.pages import Page
    from domain.knowledge import Filed, Holding
    from domain.knowledge.stores import Match
    from generated.starter import requests, responses

STORE = knowledge.stores.KIND
PATIENCE = 30.0
"""Seconds that an attachment waits for its reading: the contract's number."""
ENDS = frozenset({"document.completed", "document.failed"})
_STATUS: dict[str, responses.VectorStoreFileStatus] = {
    "pending": "in_progress",
    "processing": "in_progress",
    "completed": "completed",
    "failed": "failed",
}


# --- stores ----------------------------------------------------------------------------------------------------


def created_store(ctx: Ctx, holding: Holding) -> Reply:
    return Reply(store(holding), headers={"Location": _path(ctx, holding.collection.id)})


def store(holding: Holding) -> responses.VectorStoreResponse:
    held = holding.collection
    days = held.expires_after_days
    return {
        "id": str(held.id),
        "openai_id": f"vs_{held.id.hex}",
        "tenant_id": str(held.organisation_id),
        "owner_user_id": None if held.created_by is None else str(held.created_by),
        "name": held.name,
        "description": held.description,
        "status": _status(holding),
        "usage_bytes": holding.usage_bytes,
        "expires_after": None if days is None else {"anchor": "last_active_at", "days": days},
        "expires_at": None if holding.expired else timestamp(held.expires_at),
        "last_active_at": timestamp(held.last_active_at),
        "metadata": held.notes,
        "created_at": timestamp(held.created_at),
        "updated_at": timestamp(held.updated_at),
    }


def store_page(found: Page[Holding]) -> responses.VectorStoreListResponse:
    return {"items": [store(each) for each in found.items], "total": found.total or 0}


def _status(holding: Holding) -> Literal["creating", "ready", "error", "expired"]:
    if holding.expired:
        return "expired"
    if holding.waiting:
        return "creating"
    return "error" if holding.failed and holding.failed == holding.documents else "ready"


def _path(ctx: Ctx, store_id: UUID) -> str:
    return f"{ctx.base_path}/api/v1/vector-stores/{store_id}"


# --- files -----------------------------------------------------------------------------------------------------


def attached(ctx: Ctx, filed: Filed) -> Reply:
    location = f"{_path(ctx, filed.collection.id)}/files/{filed.entry.external_id}"
    return Reply(file(filed), headers={"Location": location})


def once_read(filed: Filed) -> Pending:
    """The file as it is once it was read, or when the time to wait is over."""
    return reading(
        {
            "store": str(filed.collection.id),
            "file": str(filed.entry.external_id),
            "document": str(filed.document.id),
        }
    )


def reading(kept: Mapping[str, Any]) -> Pending:
    """What `once_read` waits for, from what an idempotency record keeps of it."""
    store_id, file_id = UUID(kept["store"]), str(kept["file"])

    def shown(ctx: Ctx) -> Reply:
        return attached(ctx, knowledge.vector_files.get(ctx, store_id, file_id))

    def ready(ctx: Ctx) -> bool:
        return file(knowledge.vector_files.get(ctx, store_id, file_id))["status"] != "in_progress"

    return Pending(
        channel=knowledge.channel(UUID(kept["document"])),
        terminal=ENDS,
        ready=ready,
        then=shown,
        timed_out=shown,
        seconds=PATIENCE,
        replay={"kind": "vector_store_file", **kept},
    )


def file(filed: Filed) -> responses.VectorStoreFileResponse:
    held, entry = filed.document, filed.entry
    return {
        "id": str(entry.id),
        "openai_file_id": str(entry.external_id),
        "vector_store_id": str(filed.collection.id),
        "filename": held.filename,
        "mime_type": held.media_type,
        "size_bytes": held.size,
        "usage_bytes": filed.usage_bytes,
        "status": _STATUS[entry.state],
        "attributes": entry.attributes,
        "chunking_strategy": _strategy(entry.chunking),
        "last_error": None if entry.failure is None or entry.state == "completed" else entry.failure[:1000],
        "created_at": timestamp(entry.created_at),
        "updated_at": timestamp(entry.updated_at),
    }


def file_page(found: Page[Filed]) -> responses.VectorStoreFileListResponse:
    return {"items": [file(each) for each in found.items], "total": found.total or 0}


def chunking(given: requests.ChunkingStrategy | None) -> knowledge.Chunking | None:
    """None: the server decides. Raises `Unprocessable` where sizes are missing, or given for `auto`."""
    if given is None or (given.type == "auto" and given.static is None):
        return None
    if given.type == "auto" or given.static is None:
        raise Unprocessable("chunking_strategy: `static` needs its sizes, and `auto` has none.")
    return knowledge.Chunking.static(given.static.max_chunk_size_tokens, given.static.chunk_overlap_tokens)


def _strategy(kept: Mapping[str, Any] | None) -> responses.ChunkingStrategy | None:
    if kept is None:
        return None
    return {
        "type": "static",
        "static": {"max_chunk_size_tokens": kept["size"], "chunk_overlap_tokens": kept["overlap"]},
    }


def attributes(given: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: _plain(value) for name, value in (given or {}).items()}


# --- searches --------------------------------------------------------------------------------------------------


def filters(given: requests.ComparisonFilter | requests.CompoundFilter | None) -> dict[str, Any] | None:
    if given is None:
        return None
    return _filter(given.model_dump())


def _filter(body: dict[str, Any]) -> dict[str, Any]:
    if "filters" in body:
        return body | {"filters": [_filter(each) for each in body["filters"]]}
    value = body["value"]
    return body | {"value": [_plain(one) for one in value] if isinstance(value, list) else _plain(value)}


def search_response(found: Sequence[Match]) -> responses.VectorStoreSearchResponse:
    return {"data": [_match(each) for each in found]}


def _match(match: Match) -> responses.VectorStoreSearchResult:
    best = match.best
    return {
        "file_id": str(best.external_id),
        "filename": best.filename,
        "score": best.score,
        "attributes": dict(best.attributes),
        "content": [{"type": "text", "text": passage.text} for passage in match.passages],
    }


def _plain(value: Any) -> Any:
    """A whole number as one: 2026 comes back as 2026, and not as 2026.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
