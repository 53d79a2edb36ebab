"""Vector stores as a whole: attaching within what the tenant may have, and searches that answer files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from domain.kernel.context import Ctx
from domain.kernel.errors import Forbidden, PaymentRequired
from domain.knowledge import collections, searching, vector_files
from domain.knowledge.documents import Filed
from domain.knowledge.rules import Chunking
from domain.knowledge.searching import Passage

KIND = "vector_store"
PASSAGES = 50
"""That a search looks at; the files are those that they stand in."""


@dataclass(frozen=True, slots=True)
class Match:
    """A file that fits, by its passages, the best first."""

    passages: Sequence[Passage]

    @property
    def best(self) -> Passage:
        return self.passages[0]


def attach(
    ctx: Ctx,
    store_id: UUID,
    file_id: str,
    *,
    attributes: Mapping[str, Any] | None = None,
    chunking: Chunking | None = None,
) -> Filed:
    """`vector_files.attach`, where a full plan is a `Forbidden` like every other bound of a tenant."""
    try:
        return vector_files.attach(ctx, store_id, file_id, attributes=attributes, chunking=chunking)
    except PaymentRequired as full:
        raise Forbidden(full.message, **full.facts) from None


def search(
    ctx: Ctx,
    store_id: UUID,
    query: str,
    *,
    filters: Mapping[str, Any] | None = None,
    words: bool = True,
    min_score: float = 0.0,
    limit: int = 10,
) -> list[Match]:
    """The files whose passages come nearest, at most `limit` (1 to 50). `words`: by meaning and by words, else by
    meaning alone. A store that has expired holds nothing any more.

    Raises `NotFound`, `Invalid`.
    """
    found = searching.search(
        ctx,
        query,
        mode="hybrid" if words else "semantic",
        min_score=min_score,
        collections=[store_id],
        filters=filters,
        limit=PASSAGES,
        highlight=False,
    )
    # After the search, which asks the embedder before the transaction's first statement.
    collections.find(ctx, store_id, KIND)
    files: dict[UUID, list[Passage]] = {}
    for passage in found.passages:
        files.setdefault(passage.document_id, []).append(passage)
    return [Match(passages) for passages in list(files.values())[:limit]]
