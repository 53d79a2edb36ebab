"""The marketplace of knowledge bases: what organisations have made public, for everybody to find and to answer from.

`list_public` needs no organisation. `reachable` says which knowledge bases somebody may use, at home and of others;
`read` and `answers` use them. Of another organisation nothing is seen but the passages of what it has made public.
"""

from __future__ import annotations

from collections.abc import Collection as Some
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select

from domain.identity import organisations
from domain.inference import Vector
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations, acting_for
from domain.kernel.errors import NotFound
from domain.kernel.models import OrganisationOwned
from domain.kernel.pages import OffsetPage, Page
from domain.knowledge import access, collections, searching
from domain.knowledge.collections import Holding
from domain.knowledge.models import Collection, CollectionEntry, Document
from domain.knowledge.searching import Passage

KIND = "knowledge_base"
WORDS = 10
"""Of a search, and tags of a base that are shown."""


@dataclass(frozen=True, slots=True)
class PublicBase:
    """A knowledge base as everybody sees it. `tags` are those that most of its documents bear."""

    id: UUID
    name: str
    description: str | None
    language: str | None
    tags: tuple[str, ...]
    publisher: str
    documents: int
    updated_at: datetime


def list_public(
    ctx: Ctx,
    *,
    search: str | None = None,
    language: str | None = None,
    sort: str = "popular",
    page: OffsetPage | None = None,
) -> Page[PublicBase]:
    """Public knowledge bases of every organisation that is open, with their `total`.

    `sort`: `popular` (the one with most documents first), `newest` (the last changed first) or `name`. `language` takes
    its regions along: `en` finds `en-GB`.
    """
    page = page or OffsetPage()
    documents = (
        select(func.count(CollectionEntry.id))
        .join(Document, Document.id == CollectionEntry.document_id)
        .where(
            CollectionEntry.collection_id == Collection.id,
            CollectionEntry.state == "completed",
            Document.deleted_at.is_(None),
        )
        .correlate(Collection)
        .scalar_subquery()
    )
    with across_organisations(ctx) as wide:
        publishers = set(wide.session.scalars(select(Collection.organisation_id).where(*_PUBLIC).distinct()))
        names = organisations.names_of(wide, publishers)
        conditions = [*_PUBLIC, Collection.organisation_id.in_(list(names)), *_wanted(search, language)]
        total = wide.session.scalar(select(func.count(Collection.id)).where(*conditions)) or 0
        order: Mapping[str, Any] = {"newest": Collection.updated_at.desc(), "name": Collection.name_key}
        rows = wide.session.execute(
            select(
                Collection.id,
                Collection.name,
                Collection.description,
                Collection.language,
                Collection.organisation_id,
                Collection.updated_at,
                documents.label("documents"),
            )
            .where(*conditions)
            .order_by(order.get(sort, documents.desc()), Collection.id)
            .limit(page.limit)
            .offset(page.offset)
        ).all()
        tags = _tags(wide, [row.id for row in rows])
    shown = [
        PublicBase(
            row.id,
            row.name,
            row.description,
            row.language,
            tags.get(row.id, ()),
            names[row.organisation_id],
            row.documents,
            row.updated_at,
        )
        for row in rows
    ]
    return Page(shown, total=total)


def reachable(ctx: Ctx, ids: Sequence[UUID]) -> list[UUID]:
    """Those of the ids that are knowledge bases which the caller may use: at home, or public ones of others."""
    if not ids:
        return []
    own = {held.id for held in collections.get_many(ctx, ids) if held.kind == KIND}
    away = _elsewhere(ctx, [each for each in ids if each not in own])
    return [each for each in dict.fromkeys(ids) if each in own or each in away]


def existing(ctx: Ctx, ids: Sequence[UUID]) -> list[UUID]:
    """Those of the ids that are knowledge bases of the organisation, whoever may see them, or public ones of others."""
    if not ids:
        return []
    there = select(Collection.id).where(
        Collection.id.in_(ids), Collection.kind == KIND, Collection.deleted_at.is_(None)
    )
    own = set(ctx.session.scalars(there))
    away = _elsewhere(ctx, [each for each in ids if each not in own])
    return [each for each in ids if each in own or each in away]


def read(ctx: Ctx, base_id: UUID) -> tuple[Holding, str | None]:
    """One that the caller may use, and whose it is where that is another organisation. Raises `NotFound`."""
    try:
        return collections.get(ctx, base_id, KIND), None
    except NotFound:
        with visiting(ctx, base_id) as there:
            query = select(Collection).where(Collection.id == base_id, access.visible(access.GUEST))
            held = collections.holdings(there, [there.session.scalars(query).one()])[0]
            return replace(held, may_edit=False), organisations.get_organisation(there).name


def answers(
    ctx: Ctx,
    query: str,
    base_ids: Sequence[UUID],
    *,
    vector: Vector | Mapping[str, Vector] | None = None,
    limit: int = 10,
) -> list[Passage]:
    """The passages of these knowledge bases that fit best, as far as the caller may use them, the best first.

    `vector` is the question's, made before the transaction began (`asking.question`). Raises `Invalid`.
    """
    own = [held.id for held in collections.get_many(ctx, base_ids)]
    away: dict[UUID, list[UUID]] = {}
    for base_id, publisher in _elsewhere(ctx, [each for each in base_ids if each not in own]).items():
        away.setdefault(publisher, []).append(base_id)
    found: list[Passage] = []
    if own:
        found += searching.search(ctx, query, collections=own, limit=limit, highlight=False, vector=vector).passages
    for publisher, bases in away.items():
        with _at(ctx, publisher) as there:
            found += searching.search(
                there, query, collections=bases, limit=limit, highlight=False, vector=vector, eyes=access.GUEST
            ).passages
    return sorted(found, key=lambda passage: -passage.score)[:limit]


@contextmanager
def visiting(ctx: Ctx, base_id: UUID) -> Iterator[Ctx]:
    """The context of the organisation that has made a knowledge base public, to look at that one with the eyes of a
    `access.GUEST`. Raises `NotFound` where nobody has."""
    publisher = _elsewhere(ctx, [base_id]).get(base_id)
    if publisher is None:
        raise NotFound("There is no such knowledge base.")
    with _at(ctx, publisher) as there:
        yield there


@contextmanager
def _at(ctx: Ctx, publisher: UUID) -> Iterator[Ctx]:
    """Another organisation's context. Nothing that was looked at there stays in the session: a later look by primary
    key must not take it for the caller's own."""
    try:
        with across_organisations(ctx) as wide, acting_for(wide, publisher) as there:
            yield there
    finally:
        for each in list(ctx.session):
            if isinstance(each, OrganisationOwned) and each.organisation_id == publisher:
                ctx.session.expunge(each)


_PUBLIC: tuple[ColumnElement[bool], ...] = (
    Collection.kind == KIND,
    Collection.visibility == "public",
    Collection.deleted_at.is_(None),
    Collection.expired_at.is_(None),
)


def _elsewhere(ctx: Ctx, ids: Some[UUID]) -> dict[UUID, UUID]:
    """Those of the ids that are public, with the organisations whose they are."""
    if not ids:
        return {}
    with across_organisations(ctx) as wide:
        query = select(Collection.id, Collection.organisation_id).where(Collection.id.in_(list(ids)), *_PUBLIC)
        rows = [(row.id, row.organisation_id) for row in wide.session.execute(query)]
        open_ones = organisations.names_of(wide, {publisher for _, publisher in rows})
    return {base_id: publisher for base_id, publisher in rows if publisher in open_ones}


def _wanted(search: str | None, language: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for word in (search or "").split()[:WORDS]:
        tagged = (
            _documents()
            .where(func.array_to_string(Document.tags, " ").icontains(word, autoescape=True))
            .correlate(Collection)
            .exists()
        )
        conditions.append(
            or_(
                Collection.name.icontains(word, autoescape=True),
                func.coalesce(Collection.description, "").icontains(word, autoescape=True),
                tagged,
            )
        )
    if language is not None:
        held = func.lower(Collection.language)
        conditions.append(or_(held == language.lower(), held.startswith(f"{language.lower()}-", autoescape=True)))
    return conditions


def _documents() -> Select[Any]:
    return (
        select(Document.id)
        .join(CollectionEntry, CollectionEntry.document_id == Document.id)
        .where(CollectionEntry.collection_id == Collection.id, Document.deleted_at.is_(None))
    )


def _tags(ctx: Ctx, ids: Sequence[UUID]) -> dict[UUID, tuple[str, ...]]:
    if not ids:
        return {}
    tag = func.unnest(Document.tags).label("tag")
    each = (
        select(CollectionEntry.collection_id.label("base"), tag)
        .join(Document, Document.id == CollectionEntry.document_id)
        .where(CollectionEntry.collection_id.in_(list(ids)), Document.deleted_at.is_(None))
        .subquery()
    )
    rows = ctx.session.execute(
        select(each.c.base, each.c.tag).group_by(each.c.base, each.c.tag).order_by(func.count().desc(), each.c.tag)
    )
    found: dict[UUID, list[str]] = {}
    for base, word in rows:
        if len(found.setdefault(base, [])) < WORDS:
            found[base].append(word)
    return {base: tuple(words) for base, words in found.items()}
