"""Tables of storage: what is stored (`StoredObject`), and how much of it an organisation has (`StorageUsage`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.models import Base, Identified, OrganisationOwned, Timestamped
from domain.storage import rules


class StoredObject(Identified, OrganisationOwned, Timestamped, Base):
    """A file. `pending` until its bytes are there, `ready`, then `deleted` until its bytes are gone; then no row."""

    __tablename__ = "stored_object"

    key: Mapped[str] = mapped_column(String(200))
    """Where the blob store has it: ids alone."""
    name: Mapped[str] = mapped_column(String(256))
    """For people. Never part of a path."""
    purpose: Mapped[str] = mapped_column(String(32))
    """Which context's it is: `object` (uploaded for itself), `document`, ..."""
    media_type: Mapped[str] = mapped_column(String(128))
    """What the bytes say, once they are there; until then, what the caller says."""
    claimed_type: Mapped[str | None] = mapped_column(String(128))
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes; of a pending object, as announced."""
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Of a pending object, what the caller says it will be, if it does."""
    state: Mapped[str] = mapped_column(String(10))
    account_id: Mapped[UUID | None]
    """The user who brought it."""
    conversation_id: Mapped[UUID | None]
    agent_key: Mapped[str | None] = mapped_column(String(64))
    notes: Mapped[dict[str, Any] | None]
    """The caller's own metadata."""
    expires_at: Mapped[datetime | None]
    """Until when a pending object's bytes may come."""
    ready_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __organisation_index__: ClassVar[bool] = False
    __table_args__ = (
        CheckConstraint(f"state IN ('{rules.PENDING}', '{rules.READY}', '{rules.DELETED}')", name="state"),
        CheckConstraint("size >= 0", name="size"),
        CheckConstraint(f"state <> '{rules.READY}' OR sha256 IS NOT NULL", name="sealed"),
        UniqueConstraint("key", name="uq_stored_object_key"),
        Index("ix_stored_object_listing", "organisation_id", "purpose", "id"),
        Index("ix_stored_object_pending", "expires_at", postgresql_where=text("state = 'pending'")),
        Index("ix_stored_object_deleted", "deleted_at", postgresql_where=text("state = 'deleted'")),
    )

    @property
    def is_ready(self) -> bool:
        return self.state == rules.READY

    @property
    def digest(self) -> str:
        """The SHA-256 in hexadecimal. Of a ready object only."""
        assert self.sha256 is not None
        return self.sha256.hex()


class StorageUsage(OrganisationOwned, Base):
    """What an organisation keeps, pending objects included. Changed in the transaction of each object."""

    __tablename__ = "storage_usage"

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    objects: Mapped[int] = mapped_column(BigInteger)
    quota: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes agreed with this organisation; None: what its plan or the installation says."""

    __organisation_index__: ClassVar[bool] = False
    __table_args__ = (CheckConstraint("bytes >= 0 AND objects >= 0", name="not_negative"),)
