"""The ground of every table: `Base`, the mixins, and the column types that keep a kernel rule.

A model that belongs to an organisation takes `OrganisationOwned` (or, for the organisation row itself, `Scoped`); the
session then filters it (see `domain.kernel.db`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, MetaData, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.types import TypeDecorator

from domain.kernel.ids import new_id

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz`. A naive value is a bug and raises `ValueError`; values come back in UTC.

    There is no result step: every connection runs with `TimeZone=UTC`, and psycopg then answers `datetime.UTC`.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a timezone was given to the database")
        return value.astimezone(UTC)


class Base(DeclarativeBase):
    """Declarative base. `datetime` means `timestamptz`, `dict` means `jsonb`."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        UUID: Uuid(as_uuid=True),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
    }


class Identified:
    """`id`: a UUIDv7 primary key."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id, sort_order=-20)


class Scoped:
    """Mark of every class whose rows the session filters, by its attribute `organisation_id`.

    `__owner_attribute__` names the column behind that attribute.
    """

    __owner_attribute__: ClassVar[str] = "organisation_id"

    @declared_attr
    @classmethod
    def organisation_id(cls) -> Mapped[UUID]:
        return mapped_column(sort_order=-10)


class OrganisationOwned(Scoped):
    """`organisation_id`: whose row it is. Left empty on a new object, the session fills its own.

    It is indexed, unless `__organisation_index__` is False because another index begins with it.
    """

    __organisation_index__: ClassVar[bool] = True

    @declared_attr
    @classmethod
    def organisation_id(cls) -> Mapped[UUID]:
        return mapped_column(
            ForeignKey("organisation.id", ondelete="CASCADE"), index=cls.__organisation_index__ or None, sort_order=-10
        )


class Timestamped:
    """`created_at` and `updated_at`, written by the session from its clock."""

    created_at: Mapped[datetime] = mapped_column(sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(sort_order=91)
