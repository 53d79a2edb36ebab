"""Search: by words, by meaning, or both ranked together. Who may see what is part of each query.

    found = knowledge.search(ctx, "How did revenue develop?", limit=5)
    for passage in found.passages: passage.score, passage.snippet, passage.citation

What a caller cannot see is not reached, not counted and not ranked. Agents call the same function with their user's
context.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Float, Select, Uuid, any_, bindparam, case, cast, null
from sqlalchemy.dialects.postgresql import ARRAY

from domain import audit
from domain.inference import Vector
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid, NotFound
from domain.kernel.organisation_filter import kept
from domain.knowledge import access, asking, collections, embedding, ranking, rules, wording
from domain.knowledge.asking import vector_of as vector_of
from domain.knowledge.filters import Scope, Shape, entries, reached, shape_of, values_of
from domain.knowledge.models import Chunk, Collection, CollectionEntry, Document, DocumentVersion
from domain.knowledge.ranking import Fit
from domain.knowledge.rules import Mode


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a passage stands: enough to find the place again, and to say it to a reader."""

    document_id: UUID
    version_id: UUID
    version: int
    chunk_id: UUID
    title: str
    page: int | None
    heading: str | None
    position: Mapping[str, Any]
    url: str | None

    @property
    def sheet(self) -> str | None:
        """Of a workbook: the sheet it begins on."""
        return self.position.get("sheet")

    @property
    def cells(self) -> str | None:
        """Of a workbook or CSV: the range on that sheet, like `B2:D40`."""
        return self.position.get("cells")


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that was found. `highlights` are stretches of `text`; `snippet` is the part of it to show."""

    chunk_id: UUID
    document_id: UUID
    collection_id: UUID
    collection_kind: str
    personal: bool
    external_id: str | None
    filename: str
    title: str
    kind: str
    tags: Sequence[str]
    attributes: Mapping[str, Any]
    ordinal: int
    text: str
    score: float
    similarity: float | None
    highlights: Sequence[tuple[int, int]]
    snippet: str
    citation: Citation


@dataclass(frozen=True, slots=True)
class Found:
    """`mode` is how it was looked for: `text` where meaning was asked for and no model is set up."""

    query: str
    mode: Mode
    passages: Sequence[Passage]
    pending_documents: int
    took: float
    """Seconds."""


def search(
    ctx: Ctx,
    query: str,
    *,
    mode: Mode | None = "hybrid",
    collections: Sequence[UUID] | None = None,
    documents: Sequence[UUID] | None = None,
    filters: Mapping[str, Any] | None = None,
    collection_kinds: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    research: bool = False,
    limit: int = 10,
    min_score: float | None = 0.0,
    highlight: bool = True,
    action: str | None = None,
    vector: Vector | Mapping[str, Vector] | None = None,
    eyes: access.Viewer | None = None,
) -> Found:
    """The passages that fit `query` best, at most `limit` (1 to 50), with scores from 0 to 1 that never rise.

    `filters` is an attribute filter in OpenAI's shape. `mode` and `min_score` None: as the one collection that is
    searched has it. `action`: leave an audit entry of that name. `vector`: the question's by the built-in model, or by
    several models by their names, where the caller has made them before a transaction began (`asking`): inside one no
    provider is asked, and what its model has made is found by its words. `eyes`: another's than the caller's. Raises
    `NotFound` for a collection or document that they cannot see, and `Invalid`.
    """
    started = time.monotonic()
    asked = asking.cleaned(query)
    if not 1 <= limit <= 50:
        raise Invalid("limit: 1 to 50.")
    scope = Scope(collections, collection_kinds, documents, kinds, sources, tags, filters, since, until, research)
    # The models first, before the transaction's first statement.
    vectors: Mapping[str, Vector] = {}
    if vector is not None:
        vectors = vector if isinstance(vector, Mapping) else {embedding.built_in(): vector}
    elif mode != "text":
        vectors = asking.vectors_of(ctx, asked, scope, eyes)
    eyes = eyes or access.viewer(ctx)
    _known(ctx, scope, eyes)
    own_way = _settings(ctx, scope) if mode is None or min_score is None else rules.Settings()
    mode = own_way.search_mode if mode is None else mode
    min_score = own_way.min_score if min_score is None else min_score
    shape, values = shape_of(scope, eyes), values_of(scope, eyes, ctx.now())
    fits: dict[UUID, Fit] = {}
    rankings: list[list[UUID]] = []
    with ranking.planned(ctx):
        reach = ranking.reach(ctx, asked, shape, values)
        if not vectors or (reach.models and not any(model in vectors for model, _ in reach.models)):
            mode = "text"
        if mode != "text":
            rankings += ranking.by_meaning(ctx, shape, values, reach, vectors, fits)
        words = reach.words(ctx) if mode != "semantic" or highlight else []
        if mode != "semantic":
            rankings.append(ranking.by_words(ctx, shape, values, reach, words, max(20, 2 * limit), fits))
    fused = rules.fused(*rankings)
    order = sorted(fused, key=lambda each: (-fused[each], -fits[each].best, each))[: 3 * limit + 20]
    rows: dict[UUID, Any] = {}
    kept: list[UUID] = []
    for some in (order[:limit], order[limit:]):  # mostly the first ones do
        if len(kept) == limit:
            break
        rows |= _rows(ctx, shape, values, some, vectors if mode != "text" else {}, fits)
        kept += [each for each in some if each in rows and fits[each].best >= max(min_score, 1e-9)]
    kept = kept[:limit]
    passages = _passages(ctx, kept, rows, fits, words if highlight else [])
    _used(ctx, scope)
    found = Found(asked, mode, passages, reach.pending, time.monotonic() - started)
    if action is not None:
        record(ctx, action, scope.collections, found)
    return found


def in_reach(ctx: Ctx, documents: Sequence[UUID], eyes: access.Viewer, *, research: bool = False) -> set[UUID]:
    """Those of the documents that `eyes` can see at this moment."""
    scope = Scope(documents=documents, research=research)
    there = entries(scope, eyes, ctx.now(), CollectionEntry.document_id).distinct()
    return set(ctx.session.scalars(there)) if documents else set()


def _known(ctx: Ctx, scope: Scope, eyes: access.Viewer) -> None:
    wanted = set(scope.collections or ())
    if wanted and len(collections.get_many(ctx, list(wanted), eyes)) < len(wanted):
        raise NotFound("There is no such collection.")
    if scope.documents:
        there = entries(Scope(documents=scope.documents), eyes, ctx.now(), CollectionEntry.document_id).distinct()
        if len(ctx.session.scalars(there).all()) < len(set(scope.documents)):
            raise NotFound("There is no such document.")


def _settings(ctx: Ctx, scope: Scope) -> rules.Settings:
    """Of the one collection that is searched; the usual ones where there are several."""
    if scope.collections is None or len(scope.collections) != 1:
        return rules.Settings()
    return rules.Settings.of(ctx.session.get_one(Collection, scope.collections[0]).settings)


# --- what was found -------------------------------------------------------------------------------------------


def _rows(
    ctx: Ctx,
    shape: Shape,
    values: Mapping[str, Any],
    order: Sequence[UUID],
    vectors: Mapping[str, Vector],
    fits: Mapping[UUID, Fit],
) -> dict[UUID, Any]:
    """The passages and where they stand, asked under the same conditions once more. Where only words have led to one
    of them, how near it is by meaning is asked with it."""
    if not order:
        return {}
    missing = vectors if any(fits[each].similarity is None for each in order) else {}
    models = tuple((model, len(vector)) for model, vector in missing.items())
    asked = {**values, "passages": list(order)}
    for number, (model, vector) in enumerate(missing.items()):
        asked |= {f"model_{number}": model, f"vector_{number}": ranking.told(vector)}
    found = {row.id: row for row in ctx.session.execute(kept(ctx.session, _placed(shape, models)), asked)}
    for chunk_id, row in found.items():
        if row.away is not None:
            fits[chunk_id].similarity = ranking.similarity(row.away)
    return found


@lru_cache(maxsize=256)
def _placed(shape: Shape, models: Sequence[tuple[str, int]]) -> Select[Any]:
    away: Any = cast(null(), Float)
    for number, (_, dimensions) in enumerate(models):
        if hasattr(Chunk, f"embedding_{dimensions}"):
            made = Chunk.model == bindparam(f"model_{number}")
            away = case((made, ranking.distance(dimensions, f"vector_{number}")), else_=away)
    return (
        reached(
            shape,
            Chunk.id,
            Chunk.document_id,
            Chunk.version_id,
            Chunk.ordinal,
            Chunk.text,
            Chunk.heading,
            Chunk.page,
            Chunk.position,
            Chunk.configuration,
            Document.filename,
            Document.title,
            Document.kind,
            Document.tags,
            Document.url,
            Document.attributes,
            CollectionEntry.collection_id,
            CollectionEntry.external_id,
            CollectionEntry.attributes.label("own_attributes"),
            Collection.kind.label("collection_kind"),
            Collection.owner_id.label("collection_owner"),
            DocumentVersion.number.label("version"),
            away.label("away"),
        )
        .join(Chunk, Chunk.index_id == CollectionEntry.index_id)
        .join(DocumentVersion, DocumentVersion.id == Chunk.version_id)
        .where(Chunk.id == any_(bindparam("passages", type_=ARRAY(Uuid()))))
        .order_by((CollectionEntry.collection_id == Document.home_id).asc(), CollectionEntry.id.desc())
    )


def _passages(
    ctx: Ctx,
    kept: Sequence[UUID],
    rows: Mapping[UUID, Any],
    fits: Mapping[UUID, Fit],
    words: Sequence[wording.Words],
) -> list[Passage]:
    marks: dict[UUID, list[tuple[int, int]]] = {each: [] for each in kept}
    for each in words:
        mine = [chunk_id for chunk_id in kept if str(rows[chunk_id].configuration) == each.configuration]
        found = wording.marked(ctx, each, [rows[chunk_id].text for chunk_id in mine])
        marks |= dict(zip(mine, found, strict=True))
    scores = rules.falling([round(fits[each].best, 4) for each in kept])
    return [_passage(rows[each], score, fits[each], marks[each]) for each, score in zip(kept, scores, strict=True)]


def _passage(row: Any, score: float, fit: Fit, marks: Sequence[tuple[int, int]]) -> Passage:
    start, end = wording.snippet(row.text, marks)
    return Passage(
        chunk_id=row.id,
        document_id=row.document_id,
        collection_id=row.collection_id,
        collection_kind=row.collection_kind,
        personal=row.collection_owner is not None,
        external_id=row.external_id,
        filename=row.filename,
        title=row.title,
        kind=row.kind,
        tags=row.tags,
        attributes=row.attributes | row.own_attributes,
        ordinal=row.ordinal,
        text=row.text,
        score=score,
        similarity=fit.similarity,
        highlights=marks[:50],
        snippet=row.text[start:end],
        citation=Citation(
            row.document_id,
            row.version_id,
            row.version,
            row.id,
            row.title,
            row.page,
            row.heading,
            row.position,
            row.url,
        ),
    )


def _used(ctx: Ctx, scope: Scope) -> None:
    """A search keeps a vector store from expiring."""
    if scope.collections is not None and len(scope.collections) == 1:
        collection = ctx.session.get(Collection, scope.collections[0])
        if collection is not None and collection.kind == "vector_store":
            collections.touch(ctx, collection)


def record(ctx: Ctx, action: str, named_collections: Sequence[UUID] | None, found: Found) -> None:
    """That somebody searched. What was asked is not kept: a question can say more than its asker wants on record."""
    named = [str(each) for each in named_collections or ()]
    audit.record(
        ctx,
        action,
        resource_type=action.partition(".")[0],
        resource_id=named[0] if len(named) == 1 else None,
        details={"mode": found.mode, "results": len(found.passages), "collections": named[:50]},
    )
