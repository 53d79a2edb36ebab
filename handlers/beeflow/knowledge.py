"""knowledge."""

from __future__ import annotations

from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.pages import OffsetPage
from generated.beeflow import requests, responses
from thalweg.edge.problem import not_implemented


def list_knowledge_bases(
    ctx: Ctx, page: OffsetPage, q: str | None = None, visibility: str | None = None, mine: bool | None = None
) -> responses.KnowledgeBasePage:
    """List knowledge bases."""
    raise not_implemented()


def create_knowledge_base(ctx: Ctx, body: requests.KnowledgeBaseCreate) -> responses.KnowledgeBase:
    """Create a knowledge base."""
    raise not_implemented()


def get_knowledge_base(ctx: Ctx, id: UUID) -> responses.KnowledgeBase:
    """Read a knowledge base."""
    raise not_implemented()


def update_knowledge_base(ctx: Ctx, id: UUID, body: requests.KnowledgeBaseUpdate) -> responses.KnowledgeBase:
    """Change a knowledge base."""
    raise not_implemented()


def delete_knowledge_base(ctx: Ctx, id: UUID) -> None:
    """Delete a knowledge base."""
    raise not_implemented()


def list_knowledge_documents(
    ctx: Ctx, id: UUID, page: OffsetPage, q: str | None = None, status: str | None = None
) -> responses.KnowledgeDocumentPage:
    """List the documents of a knowledge base."""
    raise not_implemented()


def add_knowledge_document(ctx: Ctx, id: UUID, body: requests.KnowledgeDocumentUpload) -> responses.KnowledgeDocument:
    """Add a document to a knowledge base."""
    raise not_implemented()


def remove_knowledge_document(ctx: Ctx, id: UUID, doc_id: UUID) -> None:
    """Take a document out of a knowledge base."""
    raise not_implemented()


def search_knowledge_base(ctx: Ctx, id: UUID, body: requests.KnowledgeSearch) -> responses.KnowledgeSearchResult:
    """Search a knowledge base."""
    raise not_implemented()


def reindex_knowledge_base(ctx: Ctx, id: UUID) -> responses.KnowledgeReindex:
    """Read all documents anew."""
    raise not_implemented()
