"""What narrows a search, as conditions of the query: collections, documents, kinds, tags, dates and attributes.

A statement is made once for each `Shape` of asking and takes the values as parameters: making it costs as much as the
database takes to answer it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Select, Text, and_, any_, bindparam, cast, func, literal, not_, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from domain.kernel.models import UtcDateTime
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


_OF_ENTRIES: Mapping[str, Any] = {
    "collections": CollectionEntry.collection_id,
    "collection_kinds": Collection.kind,
    "documents": CollectionEntry.document_id,
}
_OF_DOCUMENTS: Mapping[str, Any] = {"kinds": Document.kind, "sources": Document.source}
_VALUES = (*_OF_ENTRIES, *_OF_DOCUMENTS, "tags", "since", "until")


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a scope is given, and whose eyes look: all that the statement depends on."""

    given: frozenset[str]
    eyes: access.Kind
    attributes: str | None = None
    """The filter itself, as JSON: its depth and types make the statement another one."""


def shape_of(scope: Scope, eyes: access.Viewer) -> Shape:
    """Raises `Invalid` for a filter that is none."""
    given = {name for name in _VALUES if getattr(scope, name) is not None and (name != "tags" or scope.tags)}
    if scope.research:
        given.add("research")
    wanted = rules.checked_filter(scope.attributes)
    told = None if wanted is None else orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS).decode()
    return Shape(frozenset(given), eyes.kind, told)


def values_of(scope: Scope, eyes: access.Viewer, now: datetime) -> dict[str, Any]:
    """The parameters of a statement of that shape. What is over at the moment `now` is out of reach."""
    found = access.values(eyes) | {"in_now": now}
    for name in _VALUES:
        value = getattr(scope, name)
        if value is not None:
            found[f"in_{name}"] = value if isinstance(value, datetime) else list(value)
    return found


def reached(shape: Shape, *columns: Any) -> Select[Any]:
    """`columns` of the entries in reach, with parameters: what may be seen and what is wanted, in one condition."""
    return (
        _listed(shape, *columns)
        .join(Document, Document.id == CollectionEntry.document_id)
        .where(Document.deleted_at.is_(None), *_of_documents(shape))
    )


def reached_passages(shape: Shape, *columns: Any) -> Select[Any]:
    """The same for looking among passages, without documents where the shape says nothing of them: that is half of what
    it costs, and what is deleted has no entries (`deleting`). What is shown is asked for by `reached`."""
    wanted = _of_documents(shape)
    if not wanted:
        return _listed(shape, *columns)
    return _listed(shape, *columns).join(Document, Document.id == CollectionEntry.document_id).where(*wanted)


def _listed(shape: Shape, *columns: Any) -> Select[Any]:
    wanted = [column == _among(name, column) for name, column in _OF_ENTRIES.items() if name in shape.given]
    if "research" in shape.given:
        wanted.append(Collection.include_in_research.is_(True))
    return (
        select(*columns)
        .select_from(CollectionEntry)
        .join(Collection, Collection.id == CollectionEntry.collection_id)
        .where(access.seen_by(shape.eyes), access.lasting(bindparam("in_now", type_=UtcDateTime())), *wanted)
    )


def _of_documents(shape: Shape) -> list[ColumnElement[bool]]:
    wanted = [column == _among(name, column) for name, column in _OF_DOCUMENTS.items() if name in shape.given]
    if "tags" in shape.given:
        wanted.append(Document.tags.overlap(bindparam("in_tags", type_=ARRAY(Text))))
    if "since" in shape.given:
        wanted.append(Document.created_at >= bindparam("in_since", type_=UtcDateTime()))
    if "until" in shape.given:
        wanted.append(Document.created_at < bindparam("in_until", type_=UtcDateTime()))
    if shape.attributes is not None:
        wanted.append(matching(orjson.loads(shape.attributes)))
    return wanted


def _among(name: str, column: Any) -> ColumnElement[Any]:
    return any_(bindparam(f"in_{name}", type_=ARRAY(column.type)))


def entries(scope: Scope, eyes: access.Viewer, now: datetime, *columns: Any) -> Select[Any]:
    """The same with the values in it."""
    return reached(shape_of(scope, eyes), *columns).params(values_of(scope, eyes, now))


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
