"""What narrows a search, as conditions of the query: collections, documents, kinds, tags, dates and attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, cast, func, literal, not_, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from domain.knowledge import access, rules
from domain.knowledge.models import Collection, CollectionEntry, Document


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a search looks. None and empty: everywhere that the caller can see."""

    collections: Sequence[UUID] | None = None
    collection_kinds: Sequence[str] | None = None
    documents: Sequence[UUID] | None = None
    kinds: Sequence[str] | None = None
    """Of files: `pdf`, `docx`, ..."""
    sources: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    """Documents with one of these."""
    attributes: Mapping[str, Any] | None = None
    """A filter in OpenAI's shape (`rules.checked_filter`), over the attributes of a document and of its entry."""
    since: datetime | None = None
    until: datetime | None = None
    research: bool = False
    """Only collections that chats may draw on."""


def entries(scope: Scope, eyes: access.Viewer, *columns: Any) -> Select[Any]:
    """`columns` of the entries in reach: what may be seen and what is wanted, in one condition."""
    query = (
        select(*columns)
        .select_from(CollectionEntry)
        .join(Collection, Collection.id == CollectionEntry.collection_id)
        .join(Document, Document.id == CollectionEntry.document_id)
        .where(access.visible(eyes), Collection.expired_at.is_(None), Document.deleted_at.is_(None))
    )
    return query.where(*_wanted(scope))


def _wanted(scope: Scope) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if scope.collections is not None:
        conditions.append(CollectionEntry.collection_id.in_(list(scope.collections)))
    if scope.collection_kinds is not None:
        conditions.append(Collection.kind.in_(list(scope.collection_kinds)))
    if scope.documents is not None:
        conditions.append(CollectionEntry.document_id.in_(list(scope.documents)))
    if scope.kinds is not None:
        conditions.append(Document.kind.in_(list(scope.kinds)))
    if scope.sources is not None:
        conditions.append(Document.source.in_(list(scope.sources)))
    if scope.tags:
        conditions.append(Document.tags.overlap(list(scope.tags)))
    if scope.since is not None:
        conditions.append(Document.created_at >= scope.since)
    if scope.until is not None:
        conditions.append(Document.created_at < scope.until)
    if scope.research:
        conditions.append(Collection.include_in_research.is_(True))
    if scope.attributes is not None:
        conditions.append(matching(rules.checked_filter(scope.attributes) or {}))
    return conditions


def matching(wanted: Mapping[str, Any]) -> ColumnElement[bool]:
    """A checked filter as a condition. Values compare within their type: 2026 is not "2026". What is absent is unequal
    to everything, and neither greater nor less."""
    kind = wanted["type"]
    if kind in ("and", "or"):
        parts = [matching(each) for each in wanted["filters"]]
        return and_(*parts) if kind == "and" else or_(*parts)
    held = Document.attributes.op("||", return_type=JSONB())(CollectionEntry.attributes)
    found = held.op("->", return_type=JSONB())(literal(wanted["key"]))
    value = wanted["value"]
    if kind in ("in", "nin"):
        any_ = or_(*(found == _json(each) for each in value))
        return func.coalesce(any_, False) if kind == "in" else not_(func.coalesce(any_, False))
    if kind == "eq":
        return func.coalesce(found == _json(value), False)
    if kind == "ne":
        return not_(func.coalesce(found == _json(value), False))
    sign = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}[kind]
    same = func.jsonb_typeof(found) == func.jsonb_typeof(_json(value))
    return func.coalesce(and_(same, found.bool_op(sign)(_json(value))), False)


def _json(value: Any) -> ColumnElement[Any]:
    return cast(literal(value, JSONB()), JSONB)
