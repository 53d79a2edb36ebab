"""Tables of the audit chain. Rows outlive their organisation, so nothing here is tied to it by a foreign key."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.models import Base, Identified, Scoped


class AuditHead(Scoped, Base):
    """Where an organisation's chain ends, and where what retention has left of it begins."""

    __tablename__ = "audit_head"

    organisation_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    previous: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    base_sequence: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Last entry that retention removed (0: none)."""
    base_hash: Mapped[bytes | None] = mapped_column(LargeBinary)


class AuditEntry(Identified, Scoped, Base):
    """One link. A trigger refuses UPDATE always, and DELETE outside of the retention verb."""

    __tablename__ = "audit_entry"

    sequence: Mapped[int] = mapped_column(BigInteger)
    action: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[str | None] = mapped_column(Text)
    resource_type: Mapped[str | None] = mapped_column(Text)
    resource_id: Mapped[str | None] = mapped_column(Text)
    correlation_id: Mapped[str | None] = mapped_column(Text)
    surface: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    user_agent: Mapped[str | None] = mapped_column(Text)
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    # `json`, not `jsonb`: the text that was hashed comes back as it was written.
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    prev_hash: Mapped[bytes] = mapped_column(LargeBinary)
    row_hash: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (
        UniqueConstraint("organisation_id", "sequence"),
        CheckConstraint("outcome IN ('success', 'failure', 'partial', 'denied')", name="outcome"),
        Index("ix_audit_entry_organisation_id_created_at", "organisation_id", "created_at"),
        Index("ix_audit_entry_organisation_id_action", "organisation_id", "action", "sequence"),
        Index("ix_audit_entry_organisation_id_actor_id", "organisation_id", "actor_id", "sequence"),
        Index("ix_audit_entry_organisation_id_resource", "organisation_id", "resource_type", "resource_id", "sequence"),
        Index("ix_audit_entry_organisation_id_correlation_id", "organisation_id", "correlation_id"),
    )
    __organisation_index__: ClassVar[bool] = False
