"""Tables of identity: organisations and their API keys."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column, synonym

from domain.kernel.models import Base, Identified, OrganisationOwned, Scoped, Timestamped


class Organisation(Identified, Timestamped, Scoped, Base):
    """The one tenant behind every surface: organisation, workspace and tenant are this row."""

    __tablename__ = "organisation"
    __owner_attribute__: ClassVar[str] = "id"

    organisation_id: Mapped[UUID] = synonym("id")
    name: Mapped[str] = mapped_column(Text)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name_length"),
        CheckConstraint("slug ~ '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$'", name="slug_form"),
    )


class ApiKey(Identified, Timestamped, OrganisationOwned, Base):
    """A key as it may be stored: its digest, and the few first characters by which its owner knows it."""

    __tablename__ = "api_key"

    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    prefix: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_by: Mapped[str | None] = mapped_column(Text)
    requests_per_minute: Mapped[int | None]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("kind IN ('thalium', 'thallus', 'thalian', 'beeflow')", name="kind"),
        CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
        CheckConstraint("requests_per_minute > 0", name="positive_rate"),
        Index("ix_api_key_organisation_id_created_at", "organisation_id", "created_at", "id"),
    )
    __organisation_index__: ClassVar[bool] = False
