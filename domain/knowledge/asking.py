"""Vectors of a question, one by each embedding model of what is in reach: made before the transaction that searches.

Which models those are stands in the database, so where providers' models are set up it is looked up first, in a
transaction that is over before a provider is asked. A model that nothing in reach was made with is not asked: its
provider does not read the question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from uuid import UUID

from sqlalchemy import or_, select

from domain import inference
from domain.inference import Deadline, Vector
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations
from domain.kernel.errors import Invalid, Unavailable
from domain.knowledge import access, embedding
from domain.knowledge.filters import Scope, entries
from domain.knowledge.models import Collection, CollectionEntry, PassageIndex

MAX_QUESTION = 4_096
PATIENCE = 10.0
"""Seconds for the vectors of a question, by all models together."""


def cleaned(query: str) -> str:
    """The question as it is asked. Raises `Invalid` where there is nothing in it."""
    asked = inference.clean(query)[0].strip()[:MAX_QUESTION]
    if not asked:
        raise Invalid("query: there is nothing to look for in it.", field="query")
    return asked


def vector_of(query: str) -> Vector | None:
    """The question's vector by the platform's own embedder; None while that cannot be asked. Slow: outside any
    transaction, where one is about to be opened for more than a search. Raises `Invalid`."""
    try:
        return embedding.of_question(inference.drivers().embedder, cleaned(query), Deadline(PATIENCE))
    except Unavailable:
        return None


def vectors_of(ctx: Ctx, query: str, scope: Scope, eyes: access.Viewer | None = None) -> dict[str, Vector]:
    """By the models of what `scope` reaches. Called before the transaction's first statement; where one is open
    already, providers are left out. Raises `Invalid`."""
    return _vectors(ctx, query, lambda: _in_scope(ctx, scope, eyes or access.viewer(ctx)))


def vectors_for(ctx: Ctx, query: str, base_ids: Sequence[UUID]) -> dict[str, Vector]:
    """The same for knowledge bases, at home or public ones of other organisations."""
    return _vectors(ctx, query, lambda: _of_bases(ctx, base_ids))


def question(
    transaction: Callable[[], AbstractContextManager[Ctx]],
    query: str,
    base_ids: Sequence[UUID] = (),
    deadline: Deadline | None = None,
) -> Vector | Mapping[str, Vector]:
    """What `search` and `marketplace.answers` take as `vector`, for callers that open transactions of their own:
    `transaction` is one that is over before a model is asked."""
    deadline = deadline or Deadline(PATIENCE)
    if not embedding.several():
        return embedding.of_question(inference.drivers().embedder, cleaned(query), deadline)
    with transaction() as ctx:
        models = _of_bases(ctx, base_ids) if base_ids else _in_scope(ctx, Scope(), access.viewer(ctx))
    return embedding.of_question_by(models, cleaned(query), Deadline(min(PATIENCE, deadline.remaining())))


def models_in_reach(
    transaction: Callable[[], AbstractContextManager[Ctx]], eyes: access.Viewer, *, research: bool = False
) -> list[str]:
    """The models that what `eyes` can see was made with; `transaction` is opened only where there are several."""
    if not embedding.several():
        return [embedding.built_in()]
    with transaction() as ctx:
        return _in_scope(ctx, Scope(research=research), eyes)


def by_the_built_in(models: Sequence[str]) -> bool:
    """Whether similarities are those of the platform's own embedder, and of no other."""
    return list(models) == [embedding.built_in()]


def vectors_by(models: Sequence[str], query: str, deadline: Deadline) -> dict[str, Vector]:
    """The question's vectors by those of `models` that answer. Slow: outside any transaction. Raises `Invalid`."""
    return embedding.of_question_by(models, cleaned(query), Deadline(min(PATIENCE, deadline.remaining())))


def _vectors(ctx: Ctx, query: str, reached: Callable[[], list[str]]) -> dict[str, Vector]:
    asked, models = cleaned(query), [embedding.built_in()]
    if embedding.several() and not ctx.session.in_transaction():
        models = reached() or models
        ctx.session.rollback()  # it has read; nothing slow runs while a connection is held
    return embedding.of_question_by(models, asked, Deadline(PATIENCE))


def _in_scope(ctx: Ctx, scope: Scope, eyes: access.Viewer) -> list[str]:
    query = entries(scope, eyes, ctx.now(), PassageIndex.model).join(
        PassageIndex, PassageIndex.id == CollectionEntry.index_id
    )
    return sorted(ctx.session.scalars(query.distinct()))


def _of_bases(ctx: Ctx, base_ids: Sequence[UUID]) -> list[str]:
    query = (
        select(PassageIndex.model)
        .join(CollectionEntry, CollectionEntry.index_id == PassageIndex.id)
        .join(Collection, Collection.id == CollectionEntry.collection_id)
        .where(
            Collection.id.in_(list(base_ids)),
            Collection.deleted_at.is_(None),
            or_(Collection.organisation_id == ctx.organisation_id, Collection.visibility == "public"),
        )
        .distinct()
    )
    with across_organisations(ctx) as wide:
        return sorted(wide.session.scalars(query))
