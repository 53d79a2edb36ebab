"""The passages nearest to a question by meaning, and those with its words: two rankings of what may be seen.

Permissions and filters are part of each query. A statement is made once for a shape of asking (`filters.Shape`) and
planned for each question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import Float, Select, Text, bindparam, case, cast, column, func, literal, select, table, text
from sqlalchemy.dialects.postgresql import ARRAY, REGCONFIG, TSQUERY

from domain.inference import Vector
from domain.kernel.context import Ctx
from domain.kernel.organisation_filter import kept
from domain.knowledge import rules, wording
from domain.knowledge.filters import Shape, reached_passages
from domain.knowledge.models import Chunk, CollectionEntry, PassageIndex

CANDIDATES = 60
"""Of each ranking, before they are fused."""
SAMPLE = 1_000
"""Passages with words of the question that are ranked; a question of everyday words has more, and the first will do."""
CONFIGURATIONS = 6
_SETTINGS = text(
    "SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_sort', 'off', true), "
    "set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', '400', true), "
    "set_config('hnsw.max_scan_tuples', '8000', true)"
)
"""One plan for all questions and scopes suits none: it took 100 times as long. And the planner takes the graph for more
costly than it is, and would sort all of an organisation that has a tenth of it."""
_USUAL = text("SELECT set_config('plan_cache_mode', 'auto', true), set_config('enable_sort', 'on', true)")
_CATALOGUE = table("pg_class", column("relname", Text), column("relkind", Text), column("reltuples", Float))


@dataclass(slots=True)
class Fit:
    """How well a passage fits, from 0 to 1: by meaning, where that is known, and by words."""

    similarity: float | None = None
    words: float = 0.0

    @property
    def best(self) -> float:
        return max(self.similarity or 0.0, self.words)


@dataclass(frozen=True, slots=True)
class Reach:
    """What there is to search: passages by model and by configuration, and documents that are not there yet."""

    models: dict[tuple[str, int], int] = field(default_factory=dict)
    configurations: dict[str, int] = field(default_factory=dict)
    lexemes: dict[str, Sequence[str]] = field(default_factory=dict)
    """Of the question, by configuration."""
    graphs: dict[int, int] = field(default_factory=dict)
    """Passages of all organisations by the size of their vectors, as PostgreSQL last counted them."""
    pending: int = 0

    @property
    def passages(self) -> int:
        return sum(self.configurations.values())

    @property
    def of_all(self) -> int:
        """Passages of all organisations, as far as they are made as those in reach are."""
        return max(sum(self.graphs.values()), self.passages)

    def words(self, ctx: Ctx) -> list[wording.Words]:
        """Of the question in the configurations that most passages have."""
        most = sorted(self.configurations, key=lambda each: -self.configurations[each])[:CONFIGURATIONS]
        return [wording.of(ctx, self.lexemes[each], each) for each in most]


@contextmanager
def planned(ctx: Ctx) -> Iterator[None]:
    """Statements inside are planned for each question, and walk the graph."""
    ctx.session.execute(_SETTINGS)
    yield
    ctx.session.execute(_USUAL)


def reach(ctx: Ctx, question: str, shape: Shape, values: Mapping[str, Any]) -> Reach:
    found = Reach()
    pending = 0
    for row in ctx.session.execute(kept(ctx.session, _reach(shape)), {**values, "question": question}):
        pending += row.pending
        if row.model is not None:
            model = row.model, row.dimensions
            found.models[model] = found.models.get(model, 0) + int(row.passages)
            at = row.configuration
            found.configurations[at] = found.configurations.get(at, 0) + int(row.passages)
            found.lexemes[at] = row.lexemes
            found.graphs[row.dimensions] = int(row.graph or 0)
    return replace(found, pending=pending)


@lru_cache(maxsize=256)
def _reach(shape: Shape) -> Select[Any]:
    counted = (
        reached_passages(
            shape,
            PassageIndex.model,
            PassageIndex.dimensions,
            PassageIndex.configuration,
            func.coalesce(func.sum(PassageIndex.chunk_count), 0).label("passages"),
            func.count(case((CollectionEntry.state.in_(("pending", "processing")), 1))).label("pending"),
        )
        .outerjoin(PassageIndex, PassageIndex.id == CollectionEntry.index_id)
        .group_by(PassageIndex.model, PassageIndex.dimensions, PassageIndex.configuration)
        .subquery()
    )
    lexemes = func.tsvector_to_array(
        func.to_tsvector(cast(counted.c.configuration, REGCONFIG), bindparam("question", type_=Text))
    )
    graph = select(func.max(_CATALOGUE.c.reltuples)).where(  # several: one in each schema
        _CATALOGUE.c.relname == func.concat("ix_chunk_embedding_", counted.c.dimensions), _CATALOGUE.c.relkind == "i"
    )
    return select(counted, lexemes.label("lexemes"), graph.scalar_subquery().label("graph"))


def _in_reach(shape: Shape, *, first: bool) -> Any:
    """The condition on passages. `first`: what is in reach is read, and of that what else is asked for. Otherwise what
    else is asked for is found first and looked up in what is in reach, of which `IS TRUE` makes the planner note all
    index ids in a hash, once; as a join it would go through them for each passage, or the other way around."""
    condition = Chunk.index_id.in_(reached_passages(shape, CollectionEntry.index_id))
    return condition if first else condition.is_(True)


# --- by meaning ---------------------------------------------------------------------------------------------


def by_meaning(
    ctx: Ctx,
    shape: Shape,
    values: Mapping[str, Any],
    reach: Reach,
    vectors: Mapping[str, Vector],
    fits: dict[UUID, Fit],
) -> list[list[UUID]]:
    """A ranking for each model: the distances of two models are no common measure, so neither is sorted into the
    other's. What was made with a model that could not be asked is found by its words."""
    rankings = []
    for (model, dimensions), count in sorted(reach.models.items()):
        if model not in vectors or len(vectors[model]) != dimensions:
            continue
        asked = {**values, "model": model, "vector": told(vectors[model]), "most": CANDIDATES}
        exactly = rules.exactly(count, reach.graphs[dimensions], CANDIDATES)
        near = sorted(_nearest(ctx, shape, asked, dimensions, count, exactly))[:CANDIDATES]
        for away, chunk_id in near:
            fits.setdefault(chunk_id, Fit()).similarity = similarity(away)
        rankings.append([chunk_id for _, chunk_id in near])
    return rankings


def similarity(away: float) -> float:
    """Of a cosine distance."""
    return max(0.0, min(1.0, 1 - away))


def told(vector: Vector) -> str:
    """A vector as the database reads it."""
    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def distance(dimensions: int, parameter: str = "vector") -> Any:
    """From passages' vectors of that size to the one in the parameter (`told`)."""
    held = getattr(Chunk, f"embedding_{dimensions}")
    return held.cosine_distance(cast(bindparam(parameter, type_=Text), HALFVEC(dimensions)))


def _nearest(
    ctx: Ctx, shape: Shape, asked: Mapping[str, Any], dimensions: int, count: int, exactly: bool
) -> list[tuple[float, UUID]]:
    if not exactly:
        walked = _pairs(ctx, _walk(shape, dimensions), asked)
        if len(walked) == CANDIDATES or count > rules.EXACT_MOST:
            return walked
        # What is in reach lies far from the question, behind more of others' than the walk may visit.
    return _pairs(ctx, _every(shape, dimensions), asked)


@lru_cache(maxsize=256)
def _walk(shape: Shape, dimensions: int) -> Select[Any]:
    away = distance(dimensions)
    query = select(away.label("away"), Chunk.id).where(Chunk.model == bindparam("model"))
    return query.where(_in_reach(shape, first=False)).order_by(away).limit(bindparam("most"))


@lru_cache(maxsize=256)
def _every(shape: Shape, dimensions: int) -> Select[Any]:
    # The sum keeps the planner from the graph, which answers in its order and never with all. It stands in both places
    # in the same words, so that each distance is worked out once.
    away = distance(dimensions) + literal(0.0, Float)
    query = select(away.label("away"), Chunk.id).where(Chunk.model == bindparam("model"))
    return query.where(_in_reach(shape, first=True)).order_by(away).limit(bindparam("most"))


def _pairs(ctx: Ctx, query: Any, asked: Mapping[str, Any]) -> list[tuple[float, UUID]]:
    return [
        (float(away), chunk_id)
        for away, chunk_id in ctx.session.execute(kept(ctx.session, query), asked)
        if away is not None
    ]


# --- by words -----------------------------------------------------------------------------------------------


def by_words(
    ctx: Ctx,
    shape: Shape,
    values: Mapping[str, Any],
    reach: Reach,
    words: Sequence[wording.Words],
    wanted: int,
    fits: dict[UUID, Fit],
) -> list[UUID]:
    """From passages with many of the words to such with few, until `wanted` are found."""
    best: dict[UUID, float] = {}
    query = kept(ctx.session, _with_words(shape, small=reach.passages <= rules.EXACT))
    for each in words:
        if not each.lexemes:
            continue
        asked = {**values, "configuration": each.configuration, "any": each.any, "each": each.quoted}
        for step in each.steps(reach.configurations[each.configuration], reach.of_all):
            rows = ctx.session.execute(query, {**asked, "step": step, "sample": SAMPLE, "most": CANDIDATES}).all()
            top = max((rank for _, _, rank in rows), default=0.0) or 1.0
            for chunk_id, hits, rank in rows:
                share = hits / len(each.lexemes)
                best[chunk_id] = max(best.get(chunk_id, 0.0), share * (0.6 + 0.4 * rank / top))
            if len(best) >= wanted:
                break
    order = sorted(best, key=lambda chunk_id: (-best[chunk_id], chunk_id))[:CANDIDATES]
    for chunk_id in order:
        fits.setdefault(chunk_id, Fit()).words = best[chunk_id]
    return order


@lru_cache(maxsize=256)
def _with_words(shape: Shape, *, small: bool) -> Select[Any]:
    """Passages that match the parameter `step`, how many of the question's words (`each`) are in them, and PostgreSQL's
    rank by `any` of them. `small`: so little is in reach that all of it is read, which is faster than to look among
    everybody's words."""
    matches = Chunk.tsv.bool_op("@@")(cast(bindparam("step", type_=Text), TSQUERY))
    some = (
        select(Chunk.id, Chunk.tsv)
        .where(
            matches.is_(True) if small else matches,  # `IS TRUE` keeps the planner from the index of words
            Chunk.configuration == cast(bindparam("configuration", type_=Text), REGCONFIG),
            _in_reach(shape, first=small),
        )
        .limit(bindparam("sample"))
        .subquery()
    )
    rank = func.ts_rank(some.c.tsv, cast(bindparam("any", type_=Text), TSQUERY), 1)
    # The best by PostgreSQL's rank, and only of those how many of the words are in them: each look unpacks the vector.
    top = (
        select(some.c.id, some.c.tsv, rank.label("rank"))
        .order_by(rank.desc(), some.c.id)
        .limit(bindparam("most"))
        .subquery()
    )
    lexemes = func.unnest(cast(bindparam("each", type_=ARRAY(Text)), ARRAY(TSQUERY)))
    each = lexemes.table_valued(column("lexeme", TSQUERY)).render_derived()
    hits = select(func.count()).select_from(each).where(top.c.tsv.bool_op("@@")(each.c.lexeme)).scalar_subquery()
    return select(top.c.id, hits.label("hits"), top.c.rank)
