"""Knowledge bases, their documents, what a search found, and webpages, as Bee Flow shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from domain import knowledge
from handlers.beeflow.wire_people import Known, among, person
from handlers.wiring import page_of, timestamp
from thalweg.edge.application import Reply

if TYPE_CHECKING:
    from uuid import UUID

    from domain.kernel.context import Ctx
    from domain.kernel.pages import OffsetPage, Page
    from domain.knowledge import Filed, Found, Holding, Passage, Reindexing
    from domain.knowledge.bases import Tuning
    from domain.knowledge.rules import Mode
    from domain.knowledge.webpages import Crawled
    from generated.beeflow import requests, responses

BASE = knowledge.bases.KIND
_MODES: dict[str, Mode] = {"hybrid": "hybrid", "semantic": "semantic", "keyword": "text"}
_SAID = {ours: theirs for theirs, ours in _MODES.items()}
_SOURCES = {"transcript": "meeting", "webpage": "webpage", "email": "email"}
_FAILURES = frozenset({"unreadable", "encrypted", "empty", "too_long", "internal"})


def mode(word: str | None) -> Mode | None:
    return None if word is None else _MODES[word]


# --- bases -----------------------------------------------------------------------------------------------------


def tuning(given: requests.KnowledgeSettings | None) -> Tuning | None:
    if given is None:
        return None
    return knowledge.bases.Tuning(given.chunk_size, given.chunk_overlap, mode(given.search_mode), given.min_score)


def created_base(ctx: Ctx, holding: Holding) -> Reply:
    return Reply(base(ctx, holding), headers={"Location": _path(ctx, holding.collection.id)})


def base(
    ctx: Ctx, holding: Holding, publisher: str | None = None, known: Known | None = None
) -> responses.KnowledgeBase:
    """`publisher`: the other organisation whose it is; who of them made it is not told."""
    held = holding.collection
    chunking = knowledge.bases.in_characters(holding.settings.chunking)
    return {
        "id": str(held.id),
        "name": held.name,
        "description": held.description,
        "language": held.language,
        "visibility": cast("responses.KnowledgeVisibility", held.visibility),
        "groupIds": [] if publisher else [str(each) for each in held.group_ids],
        "settings": {
            "chunkSize": chunking.size,
            "chunkOverlap": chunking.overlap,
            "searchMode": cast("Any", _SAID[holding.settings.search_mode]),
            "minScore": holding.settings.min_score,
        },
        "embeddingModel": held.model,
        "status": cast("Any", holding.state),
        "indexing": _indexing(holding),
        "documentCount": holding.documents,
        "chunkCount": holding.chunks,
        "sizeBytes": holding.bytes,
        "owner": _owner(ctx, held, publisher, known),
        "canEdit": holding.may_edit,
        "createdAt": timestamp(held.created_at),
        "updatedAt": timestamp(held.updated_at),
    }


def base_page(ctx: Ctx, page: OffsetPage, found: Page[Holding]) -> responses.KnowledgeBasePage:
    known = among(ctx, (each.collection.owner_id or each.collection.created_by for each in found.items))
    return {"items": [base(ctx, each, known=known) for each in found.items], **page_of(found, page)}


def reindexing(ctx: Ctx, queued: Reindexing) -> Reply:
    body: responses.KnowledgeReindex = {
        "knowledgeBaseId": str(queued.collection_id),
        "documents": queued.documents,
        "queuedAt": timestamp(queued.queued_at),
    }
    return Reply(body, headers={"Location": _path(ctx, queued.collection_id)})


def _owner(ctx: Ctx, held: knowledge.Collection, publisher: str | None, known: Known | None) -> responses.UserReference:
    if publisher is not None:
        return {"id": str(held.organisation_id), "displayName": publisher[:200], "avatarUrl": None}
    return person(ctx, held.owner_id or held.created_by, known)


def _indexing(holding: Holding) -> responses.KnowledgeIndexing | None:
    if holding.indexing is None:
        return None
    done, total, since = holding.indexing
    return {"documentsDone": done, "documentsTotal": total, "startedAt": timestamp(since)}


def _path(ctx: Ctx, base_id: UUID) -> str:
    return f"{ctx.base_path}/api/knowledge/{base_id}"


# --- documents -------------------------------------------------------------------------------------------------


def added_document(ctx: Ctx, filed: Filed) -> Reply:
    """`Location` is the list: it says how far the reading is."""
    location = f"{_path(ctx, filed.collection.id)}/documents"
    return Reply(document(ctx, filed), headers={"Location": location})


def document(ctx: Ctx, filed: Filed, known: Known | None = None) -> responses.KnowledgeDocument:
    held, entry = filed.document, filed.entry
    return {
        "id": str(held.id),
        "knowledgeBaseId": str(filed.collection.id),
        "title": held.title,
        "description": held.description,
        "tags": held.tags[:10],
        "filename": held.filename,
        "mediaType": held.media_type,
        "sizeBytes": held.size,
        "sha256": held.sha256,
        "source": cast("Any", _SOURCES.get(held.source, "upload")),
        "status": cast("Any", entry.state),
        # While new vectors wait for their model, a document is there by its old ones.
        "error": None if entry.state == "completed" else _failure(entry.failure_code, entry.failure),
        "pageCount": held.page_count,
        "chunkCount": filed.chunks,
        "addedBy": person(ctx, entry.added_by or held.created_by, known),
        "createdAt": timestamp(entry.created_at),
        "processedAt": timestamp(entry.completed_at),
    }


def document_page(ctx: Ctx, page: OffsetPage, found: Page[Filed]) -> responses.KnowledgeDocumentPage:
    known = among(ctx, (each.entry.added_by or each.document.created_by for each in found.items))
    return {"items": [document(ctx, each, known) for each in found.items], **page_of(found, page)}


def _failure(code: str | None, message: str | None) -> responses.KnowledgeDocumentFailure | None:
    if code is None:
        return None
    return {"code": cast("Any", code if code in _FAILURES else "internal"), "message": message or ""}


def search_result(found: Found) -> responses.KnowledgeSearchResult:
    return {
        "query": found.query[:2000],
        "mode": cast("Any", _SAID[found.mode]),
        "items": [_passage(each) for each in found.passages],
    }


def _passage(passage: Passage) -> responses.KnowledgePassage:
    return {
        "chunkId": str(passage.chunk_id),
        "documentId": str(passage.document_id),
        "title": passage.title,
        "text": passage.text,
        "page": passage.citation.page,
        "position": passage.ordinal,
        "score": passage.score,
    }


# --- webpages --------------------------------------------------------------------------------------------------


def added_webpage(ctx: Ctx, crawled: Crawled) -> Reply:
    location = f"{ctx.base_path}/api/webpages/{crawled.webpage.id}"
    return Reply(webpage(ctx, crawled), headers={"Location": location})


def webpage(ctx: Ctx, crawled: Crawled) -> responses.Webpage:
    parts: list[responses.WebpagePart] = [
        {
            "url": part.url,
            "title": part.title,
            "httpStatus": part.http_status,
            "sizeBytes": part.size,
            "crawledAt": timestamp(part.crawled_at),
        }
        for part in crawled.parts
        if part.crawled_at is not None
    ]
    return {**webpage_summary(ctx, crawled), "text": crawled.text, "pages": parts}


def webpage_summary(ctx: Ctx, crawled: Crawled, known: Known | None = None) -> responses.WebpageSummary:
    held = crawled.webpage
    failure: responses.WebpageFailure | None = None
    if held.failure_code is not None:
        failure = {"code": cast("Any", held.failure_code), "message": held.failure or ""}
    return {
        "id": str(held.id),
        "url": held.url,
        "title": held.title,
        "status": cast("Any", held.state),
        "knowledgeBaseId": None if held.collection_id is None else str(held.collection_id),
        "depth": held.depth,
        "maxPages": held.max_pages,
        "pageCount": crawled.page_count,
        "refresh": cast("Any", held.refresh),
        "tags": held.tags[:10],
        "error": failure,
        "addedBy": person(ctx, held.added_by, known),
        "lastCrawledAt": timestamp(held.last_crawled_at),
        "nextCrawlAt": timestamp(held.next_crawl_at),
        "createdAt": timestamp(held.created_at),
    }


def webpage_page(ctx: Ctx, page: OffsetPage, found: Page[Crawled]) -> responses.WebpagePage:
    known = among(ctx, (each.webpage.added_by for each in found.items))
    return {"items": [webpage_summary(ctx, each, known) for each in found.items], **page_of(found, page)}
