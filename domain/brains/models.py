"""The tables of brains: `brain`, `invocation`, `role_result`, `invocation_event`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.db import Base, Identified, OrganisationOwned, Timestamped


class Brain(Identified, OrganisationOwned, Timestamped, Base):
    __tablename__ = "brain"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'archived')", name="status"),
        UniqueConstraint("organisation_id", "slug", name="uq_brain_organisation_id_slug"),
    )

    name: Mapped[str] = mapped_column(String(200))
    slug: Mapped[str] = mapped_column(String(63))
    status: Mapped[str] = mapped_column(String(10), default="active")
    blocked_terms: Mapped[list[Any]] = mapped_column(default=list)
    """Words and phrases that no answer of it may hold."""
    role_config: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Defaults for its invocations, in the shape of an invocation's own."""


class Invocation(Identified, OrganisationOwned, Timestamped, Base):
    """One input on its way through the chain. Its id is the `trace_id` that partners see."""

    __tablename__ = "invocation"
    __table_args__ = (
        CheckConstraint("input_type IN ('text', 'image', 'audio')", name="input_type"),
        CheckConstraint("state IN ('queued', 'running', 'complete', 'partial', 'failed')", name="state"),
        Index("ix_invocation_brain", "organisation_id", "brain_id", "state", "id"),
    )

    brain_id: Mapped[UUID] = mapped_column(ForeignKey("brain.id", ondelete="CASCADE"), index=True)
    session_id: Mapped[str] = mapped_column(String(128))
    entity_id: Mapped[str | None] = mapped_column(String(128))
    input_type: Mapped[str] = mapped_column(String(8))
    input_content: Mapped[str] = mapped_column(Text, deferred=True)
    """The cleaned text, or the medium in base64."""
    removed_characters: Mapped[int] = mapped_column(Integer, default=0)
    """Characters of the input that no store can hold, left out."""
    role_config: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """As asked for; merged with the brain's defaults when it was checked."""
    state: Mapped[str] = mapped_column(String(10), default="queued")
    artifact: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    actor_kind: Mapped[str] = mapped_column(String(20))
    api_key_id: Mapped[UUID | None] = mapped_column()
    user_id: Mapped[UUID | None] = mapped_column()
    started_at: Mapped[datetime | None] = mapped_column()
    ended_at: Mapped[datetime | None] = mapped_column()


class RoleResult(Identified, OrganisationOwned, Base):
    """How a role of an invocation ended. It is written once; a rerun of the chain goes on behind it."""

    __tablename__ = "role_result"
    __table_args__ = (
        CheckConstraint("status IN ('complete', 'failed')", name="status"),
        UniqueConstraint("invocation_id", "role", name="uq_role_result_invocation_id_role"),
    )

    invocation_id: Mapped[UUID] = mapped_column(ForeignKey("invocation.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str | None] = mapped_column(String(200))
    output: Mapped[dict[str, Any]] = mapped_column(default=dict)
    started_at: Mapped[datetime] = mapped_column()
    ended_at: Mapped[datetime] = mapped_column()


class InvocationEvent(Identified, OrganisationOwned, Base):
    """An event of the stream, numbered from 1 without gaps, written with the result it reports."""

    __tablename__ = "invocation_event"
    __table_args__ = (UniqueConstraint("invocation_id", "number", name="uq_invocation_event_invocation_id_number"),)

    invocation_id: Mapped[UUID] = mapped_column(ForeignKey("invocation.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]] = mapped_column()
    created_at: Mapped[datetime] = mapped_column()
