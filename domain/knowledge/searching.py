"""Search: by words, by meaning, or both ranked together. Who may see what is part of each query.

    found = knowledge.search(ctx, "How did revenue develop?", limit=5)
    for passage in found.passages: passage.score, passage.snippet, passage.citation

What a caller cannot see is not reached, not counted and not ranked. Agents call the same function with their user's
context.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Float, Select, Text, bindparam, case, cast, column, func, literal, null, select, text
from sqlalchemy.dialects.postgresql import ARRAY, REGCONFIG, TSQUERY

from domain import audit
from domain.inference import Vector
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid, NotFound
from domain.knowledge import access, asking, collections, embedding, rules, wording
from domain.knowledge.asking import vector_of as vector_of
from domain.knowledge.filters import Scope, entries
from domain.knowledge.models import (
    Chunk,
    Collection,
    CollectionEntry,
    Document,
    DocumentVersion,
    PassageIndex,
)
from domain.knowledge.rules import Mode

CANDIDATES = 60
"""Of each ranking, before they are fused."""
SAMPLE = 1_000
"""Passages with words of the question that are ranked; a question of everyday words has more, and the first will do."""
CONFIGURATIONS = 6
_PLANS = text("SELECT set_config('plan_cache_mode', 'force_custom_plan', true)")
"""For the rest of the transaction. One plan for all questions and scopes suits none: it took 100 times as long."""


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


@dataclass(slots=True)
class _Fit:
    similarity: float | None = None
    words: float = 0.0

    @property
    def best(self) -> float:
        return max(self.similarity or 0.0, self.words)


@dataclass(frozen=True, slots=True)
class _Reach:
    """What there is to search: passages by model and by configuration, and documents that are not there yet."""

    models: dict[tuple[str, int], int] = field(default_factory=dict)
    configurations: dict[str, int] = field(default_factory=dict)
    pending: int = 0


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
    ctx.session.execute(_PLANS)
    eyes = eyes or access.viewer(ctx)
    _known(ctx, scope, eyes)
    own_way = _settings(ctx, scope) if mode is None or min_score is None else rules.Settings()
    mode = own_way.search_mode if mode is None else mode
    min_score = own_way.min_score if min_score is None else min_score
    reach = _reach(ctx, scope, eyes)
    if not vectors or (reach.models and not any(model in vectors for model, _ in reach.models)):
        mode = "text"
    fits: dict[UUID, _Fit] = {}
    rankings: list[list[UUID]] = []
    if mode != "text":
        rankings += _by_meaning(ctx, scope, eyes, reach, vectors, fits)
    words = [wording.of(ctx, asked, each) for each in _configurations(reach)] if mode != "semantic" or highlight else []
    if mode != "semantic":
        rankings.append(_by_words(ctx, scope, eyes, reach, words, fits))
    fused = rules.fused(*rankings)
    order = sorted(fused, key=lambda each: (-fused[each], -fits[each].best, each))[: 3 * limit + 20]
    rows: dict[UUID, Any] = {}
    kept: list[UUID] = []
    for some in (order[:limit], order[limit:]):  # mostly the first ones do
        if len(kept) == limit:
            break
        rows |= _rows(ctx, scope, eyes, some, vectors if mode != "text" else {})
        for chunk_id in some:
            if chunk_id in rows and rows[chunk_id].similarity is not None:
                fits[chunk_id].similarity = max(0.0, min(1.0, 1 - rows[chunk_id].similarity))
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
    there = entries(Scope(documents=documents, research=research), eyes, CollectionEntry.document_id).distinct()
    return set(ctx.session.scalars(there)) if documents else set()


def _known(ctx: Ctx, scope: Scope, eyes: access.Viewer) -> None:
    wanted = set(scope.collections or ())
    if wanted and len(collections.get_many(ctx, list(wanted), eyes)) < len(wanted):
        raise NotFound("There is no such collection.")
    if scope.documents:
        there = entries(Scope(documents=scope.documents), eyes, CollectionEntry.document_id).distinct()
        if len(ctx.session.scalars(there).all()) < len(set(scope.documents)):
            raise NotFound("There is no such document.")


def _settings(ctx: Ctx, scope: Scope) -> rules.Settings:
    """Of the one collection that is searched; the usual ones where there are several."""
    if scope.collections is None or len(scope.collections) != 1:
        return rules.Settings()
    return rules.Settings.of(ctx.session.get_one(Collection, scope.collections[0]).settings)


def _reach(ctx: Ctx, scope: Scope, eyes: access.Viewer) -> _Reach:
    waiting = CollectionEntry.state.in_(("pending", "processing"))
    rows = ctx.session.execute(
        entries(
            scope,
            eyes,
            PassageIndex.model,
            PassageIndex.dimensions,
            PassageIndex.configuration,
            func.coalesce(func.sum(PassageIndex.chunk_count), 0),
            func.count(case((waiting, 1))),
        )
        .outerjoin(PassageIndex, PassageIndex.id == CollectionEntry.index_id)
        .group_by(PassageIndex.model, PassageIndex.dimensions, PassageIndex.configuration)
    ).all()
    reach = _Reach(pending=sum(row[4] for row in rows))
    for model, dimensions, configuration, count, _ in rows:
        if model is not None:
            reach.models[model, dimensions] = reach.models.get((model, dimensions), 0) + int(count)
            reach.configurations[configuration] = reach.configurations.get(configuration, 0) + int(count)
    return reach


def _configurations(reach: _Reach) -> list[str]:
    return sorted(reach.configurations, key=lambda each: -reach.configurations[each])[:CONFIGURATIONS]


def _in_reach(scope: Scope, eyes: access.Viewer, *, first: bool) -> Any:
    """The condition on passages. `first`: what is in reach is read, and of that what else is asked for. Otherwise what
    else is asked for is found first and looked up in what is in reach, of which `IS TRUE` makes the planner note all
    index ids in a hash, once; as a join it would go through them for each passage, or the other way around."""
    reached = Chunk.index_id.in_(entries(scope, eyes, CollectionEntry.index_id))
    return reached if first else reached.is_(True)


# --- by meaning ---------------------------------------------------------------------------------------------

_WALK = text(
    "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', '400', true), "
    "set_config('hnsw.max_scan_tuples', '8000', true), set_config('enable_sort', 'off', true)"
)
"""The planner takes the graph for dearer than it is, and would sort all of an organisation that has a tenth of it."""
_WALKED = text("SELECT set_config('enable_sort', 'on', true)")
_TOTAL = text("SELECT reltuples FROM pg_class WHERE relname = :graph AND relkind = 'i'")


def _by_meaning(
    ctx: Ctx,
    scope: Scope,
    eyes: access.Viewer,
    reach: _Reach,
    vectors: Mapping[str, Vector],
    fits: dict[UUID, _Fit],
) -> list[list[UUID]]:
    """A ranking for each model: the distances of two models are no common measure, so neither is sorted into the
    other's. What was made with a model that could not be asked is found by its words."""
    rankings = []
    for (model, dimensions), count in sorted(reach.models.items()):
        if model not in vectors or len(vectors[model]) != dimensions:
            continue
        near = sorted(_nearest(ctx, scope, eyes, model, dimensions, vectors[model], count))[:CANDIDATES]
        for away, chunk_id in near:
            fits.setdefault(chunk_id, _Fit()).similarity = max(0.0, min(1.0, 1 - away))
        rankings.append([chunk_id for _, chunk_id in near])
    return rankings


def _nearest(
    ctx: Ctx, scope: Scope, eyes: access.Viewer, model: str, dimensions: int, vector: Vector, count: int
) -> list[tuple[float, UUID]]:
    distance = getattr(Chunk, f"embedding_{dimensions}").cosine_distance(vector)
    query = select(distance.label("away"), Chunk.id).where(Chunk.model == model)
    if not rules.exactly(count, lambda: _in_graph(ctx, dimensions), CANDIDATES):
        ctx.session.execute(_WALK)
        walk = query.where(_in_reach(scope, eyes, first=False)).order_by(distance).limit(CANDIDATES)
        walked = _pairs(ctx, walk)
        ctx.session.execute(_WALKED)
        if len(walked) == CANDIDATES or count > rules.EXACT_MOST:
            return walked
        # What is in reach lies far from the question, behind more of others' than the walk may visit.
    # The sum keeps the planner from the graph, which answers in its order and never with all. It stands in both places
    # in the same words, so that each distance is worked out once.
    away = distance + literal(0.0, Float)
    every = select(away.label("away"), Chunk.id).where(Chunk.model == model, _in_reach(scope, eyes, first=True))
    return _pairs(ctx, every.order_by(away).limit(CANDIDATES))


def _pairs(ctx: Ctx, query: Any) -> list[tuple[float, UUID]]:
    return [(float(away), chunk_id) for away, chunk_id in ctx.session.execute(query) if away is not None]


def _in_graph(ctx: Ctx, dimensions: int) -> int:
    """Passages of all organisations with vectors of that size, as PostgreSQL last counted them."""
    return int(ctx.session.execute(_TOTAL, {"graph": f"ix_chunk_embedding_{dimensions}"}).scalar() or 0)


# --- by words -----------------------------------------------------------------------------------------------


def _by_words(
    ctx: Ctx,
    scope: Scope,
    eyes: access.Viewer,
    reach: _Reach,
    words: Sequence[wording.Words],
    fits: dict[UUID, _Fit],
) -> list[UUID]:
    best: dict[UUID, float] = {}
    count = sum(reach.configurations.values())
    for each in words:
        if not each.lexemes:
            continue
        query = _with_words(scope, eyes, each, small=count <= rules.EXACT)
        for step in each.steps:
            rows = ctx.session.execute(query, {"step": step}).all()
            top = max((rank for _, _, rank in rows), default=0.0) or 1.0
            for chunk_id, hits, rank in rows:
                share = hits / len(each.lexemes)
                best[chunk_id] = max(best.get(chunk_id, 0.0), share * (0.6 + 0.4 * rank / top))
            if len(best) >= CANDIDATES:
                break
    order = sorted(best, key=lambda chunk_id: (-best[chunk_id], chunk_id))[:CANDIDATES]
    for chunk_id in order:
        fits.setdefault(chunk_id, _Fit()).words = best[chunk_id]
    return order


def _with_words(scope: Scope, eyes: access.Viewer, words: wording.Words, *, small: bool) -> Select[Any]:
    """Passages that match the parameter `step`, how many of the question's words are in them, and PostgreSQL's rank.
    `small`: so little is in reach that all of it is read, which is faster than to look among everybody's words."""
    matches = Chunk.tsv.bool_op("@@")(cast(bindparam("step", type_=Text), TSQUERY))
    some = (
        select(Chunk.id, Chunk.tsv)
        .where(
            matches.is_(True) if small else matches,  # `IS TRUE` keeps the planner from the index of words
            Chunk.configuration == cast(literal(words.configuration), REGCONFIG),
            _in_reach(scope, eyes, first=small),
        )
        .limit(SAMPLE)
        .subquery()
    )
    rank = func.ts_rank(some.c.tsv, cast(literal(words.any), TSQUERY), 1)
    # The best by PostgreSQL's rank, and only of those how many of the words are in them: each look unpacks the vector.
    top = (
        select(some.c.id, some.c.tsv, rank.label("rank")).order_by(rank.desc(), some.c.id).limit(CANDIDATES).subquery()
    )
    lexemes = func.unnest(cast(literal(words.quoted, ARRAY(Text)), ARRAY(TSQUERY)))
    each = lexemes.table_valued(column("lexeme", TSQUERY)).render_derived()
    hits = select(func.count()).select_from(each).where(top.c.tsv.bool_op("@@")(each.c.lexeme)).scalar_subquery()
    return select(top.c.id, hits.label("hits"), top.c.rank)


# --- what was found -------------------------------------------------------------------------------------------


def _rows(
    ctx: Ctx, scope: Scope, eyes: access.Viewer, order: Sequence[UUID], vectors: Mapping[str, Vector]
) -> dict[UUID, Any]:
    """The passages and where they stand, asked under the same conditions once more; with their distances."""
    if not order:
        return {}
    away: Any = cast(null(), Float)
    for model, vector in vectors.items():
        column = getattr(Chunk, f"embedding_{len(vector)}", None)
        if column is not None:
            away = case((Chunk.model == model, column.cosine_distance(vector)), else_=away)
    query = (
        entries(
            scope,
            eyes,
            Chunk,
            Document,
            CollectionEntry,
            Collection.kind.label("collection_kind"),
            Collection.owner_id.label("collection_owner"),
            DocumentVersion.number.label("version"),
            away.label("similarity"),
        )
        .join(Chunk, Chunk.index_id == CollectionEntry.index_id)
        .join(DocumentVersion, DocumentVersion.id == Chunk.version_id)
        .where(Chunk.id.in_(list(order)))
        .order_by((CollectionEntry.collection_id == Document.home_id).asc(), CollectionEntry.id.desc())
    )
    return {row.Chunk.id: row for row in ctx.session.execute(query)}


def _passages(
    ctx: Ctx,
    kept: Sequence[UUID],
    rows: Mapping[UUID, Any],
    fits: Mapping[UUID, _Fit],
    words: Sequence[wording.Words],
) -> list[Passage]:
    marks: dict[UUID, list[tuple[int, int]]] = {each: [] for each in kept}
    for each in words:
        mine = [chunk_id for chunk_id in kept if str(rows[chunk_id].Chunk.configuration) == each.configuration]
        found = wording.marked(ctx, each, [rows[chunk_id].Chunk.text for chunk_id in mine])
        marks |= dict(zip(mine, found, strict=True))
    scores = rules.falling([round(fits[each].best, 4) for each in kept])
    return [_passage(rows[each], score, fits[each], marks[each]) for each, score in zip(kept, scores, strict=True)]


def _passage(row: Any, score: float, fit: _Fit, marks: Sequence[tuple[int, int]]) -> Passage:
    chunk, document, entry = row.Chunk, row.Document, row.CollectionEntry
    start, end = wording.snippet(chunk.text, marks)
    return Passage(
        chunk_id=chunk.id,
        document_id=document.id,
        collection_id=entry.collection_id,
        collection_kind=row.collection_kind,
        personal=row.collection_owner is not None,
        external_id=entry.external_id,
        filename=document.filename,
        title=document.title,
        kind=document.kind,
        tags=document.tags,
        attributes=document.attributes | entry.attributes,
        ordinal=chunk.ordinal,
        text=chunk.text,
        score=score,
        similarity=fit.similarity,
        highlights=marks[:50],
        snippet=chunk.text[start:end],
        citation=Citation(
            document.id,
            chunk.version_id,
            row.version,
            chunk.id,
            document.title,
            chunk.page,
            chunk.heading,
            chunk.position,
            document.url,
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
