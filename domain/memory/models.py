"""The table `ring_entry`. A trigger (migration 0003) keeps what a leaf says from ever changing."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.db import Base, Identified, OrganisationOwned, Timestamped
from domain.memory.address import Ltree

DIMENSIONS = 384

Ring = Literal["session", "entity", "institutional"]
Level = Literal["root", "branch", "leaf"]
EntryStatus = Literal["active", "contested", "archived"]
Source = Literal["chain", "direct_write", "seeding", "calibrator", "reclassification", "conversation"]
Kind = Literal["statement", "question", "answer", "guidance"]


class RingEntry(Identified, OrganisationOwned, Timestamped, Base):
    """One thing remembered."""

    __tablename__ = "ring_entry"
    __table_args__ = (
        CheckConstraint("ring IN ('session', 'entity', 'institutional')", name="ring"),
        CheckConstraint("level IN ('root', 'branch', 'leaf')", name="level"),
        CheckConstraint("status IN ('active', 'contested', 'archived')", name="status"),
        CheckConstraint(
            "source IN ('chain', 'direct_write', 'seeding', 'calibrator', 'reclassification', 'conversation')",
            name="source",
        ),
        CheckConstraint("category IN ('MEMORIES', 'PREFERENCES', 'FACTS', 'PATTERNS')", name="category"),
        CheckConstraint("importance >= 0 AND importance <= 1", name="importance"),
        CheckConstraint("kind IN ('statement', 'question', 'answer', 'guidance')", name="kind"),
        CheckConstraint("nlevel(address_key) = 4", name="four_levels"),
        CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence"),
        CheckConstraint("ring <> 'session' OR session_id IS NOT NULL", name="session"),
        CheckConstraint("ring <> 'entity' OR entity_id IS NOT NULL", name="entity"),
        CheckConstraint("level <> 'leaf' OR superseded_by IS NULL", name="leaf"),
        Index("uq_ring_entry_dedupe_key", "organisation_id", "dedupe_key", unique=True),
        Index("ix_ring_entry_brain", "organisation_id", "brain_id", "ring", "id"),
        Index("ix_ring_entry_session", "brain_id", "session_id", postgresql_where=text("ring = 'session'")),
        Index("ix_ring_entry_entity", "brain_id", "entity_id", postgresql_where=text("entity_id IS NOT NULL")),
        Index("ix_ring_entry_user", "user_id", "id", postgresql_where=text("user_id IS NOT NULL")),
        Index("ix_ring_entry_address_key", "address_key", postgresql_using="gist"),
        Index(
            "ix_ring_entry_embedding",
            "embedding",
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "vector_cosine_ops"},
        ),
    )

    brain_id: Mapped[UUID | None] = mapped_column()
    """Whose memory; NULL for what an organisation remembers outside any brain. No foreign key: brains stand above."""
    ring: Mapped[Ring] = mapped_column(String(16))
    session_id: Mapped[str | None] = mapped_column(String(128))
    entity_id: Mapped[str | None] = mapped_column(String(128))
    address_key: Mapped[str] = mapped_column(Ltree())
    level: Mapped[Level] = mapped_column(String(8))
    status: Mapped[EntryStatus] = mapped_column(String(12), default="active")
    source: Mapped[Source] = mapped_column(String(20))
    role: Mapped[str | None] = mapped_column(String(64))
    kind: Mapped[Kind] = mapped_column(String(12))
    """Only statements are evidence. Questions and answers tell what was talked about; guidance is the baseline's."""
    text: Mapped[str] = mapped_column(Text)
    content: Mapped[dict[str, Any]] = mapped_column(default=dict)
    confidence: Mapped[float] = mapped_column()
    embedding: Mapped[Any] = mapped_column(VECTOR(DIMENSIONS), deferred=True, nullable=True)
    """NULL only for what a person wrote and no worker has looked at yet (see `personal`)."""
    superseded_by: Mapped[UUID | None] = mapped_column(ForeignKey("ring_entry.id", ondelete="SET NULL"), index=True)
    trace_id: Mapped[UUID | None] = mapped_column()
    """The invocation that wrote it."""
    dedupe_key: Mapped[str | None] = mapped_column(String(200))
    """An entry is written once for each key, however often its writer is run."""
    user_id: Mapped[UUID | None] = mapped_column()
    """The person it is about, and the only one who may read it; NULL for what brains remember."""
    category: Mapped[str | None] = mapped_column(String(12))
    importance: Mapped[float | None] = mapped_column()
    conversation_id: Mapped[UUID | None] = mapped_column()
    """The conversation it was drawn from."""
    use_count: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """Answers that it helped with."""
    last_used_at: Mapped[datetime | None] = mapped_column()


class ForgottenMemory(Identified, OrganisationOwned, Base):
    """That something drawn from a conversation was deleted, so that it is not drawn again: a digest, no text."""

    __tablename__ = "forgotten_memory"
    __table_args__ = (Index("ix_forgotten_memory_user", "user_id", "conversation_id"),)

    user_id: Mapped[UUID] = mapped_column()
    conversation_id: Mapped[UUID] = mapped_column()
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column()
