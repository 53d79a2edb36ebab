"""The tables of conversations: what was said, the turns that answer, their numbered events and committed steps."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.models import Base, Identified, OrganisationOwned, Timestamped

DIMENSIONS = 384
ACTIVE = ("queued", "running", "waiting")
_ACTIVE = "state IN ('queued', 'running', 'waiting')"


class Conversation(Identified, OrganisationOwned, Timestamped, Base):
    __tablename__ = "conversation"
    __table_args__ = (
        CheckConstraint("source IN ('chat', 'voice', 'automation', 'embed')", name="source"),
        Index("ix_conversation_owner", "organisation_id", "owner_key", "moved_at", "id"),
        Index("ix_conversation_moved", "organisation_id", "moved_at", "id"),
        Index(
            "uq_conversation_client_id",
            "organisation_id",
            "owner_key",
            "client_id",
            unique=True,
            postgresql_where=text("client_id IS NOT NULL"),
        ),
        Index("ix_conversation_deleted", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
    )
    __organisation_index__: ClassVar[bool] = False

    owner_key: Mapped[str] = mapped_column(String(200))
    """Whose it is: `user:<id>`, `service_account:<name>`, `key:<id>`."""
    user_id: Mapped[UUID | None] = mapped_column(index=True)
    surface: Mapped[str] = mapped_column(String(20))
    source: Mapped[str] = mapped_column(String(12), default="chat")
    title: Mapped[str | None] = mapped_column(String(200))
    title_given: Mapped[bool] = mapped_column(default=False)
    """A person named it; it is not named anew by itself."""
    agent_key: Mapped[str | None] = mapped_column(String(64))
    agent_id: Mapped[UUID | None] = mapped_column(index=True)
    client_id: Mapped[UUID | None] = mapped_column()
    """An id of the client's choice, by which it finds the conversation again."""
    parent_id: Mapped[UUID | None] = mapped_column()
    branch_message_id: Mapped[UUID | None] = mapped_column()
    message_count: Mapped[int] = mapped_column(Integer, default=0)
    last_message: Mapped[str | None] = mapped_column(String(500))
    last_message_at: Mapped[datetime | None] = mapped_column()
    context: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What agents keep for it, such as the one in charge."""
    extracted_up_to: Mapped[int] = mapped_column(Integer, default=0)
    """Position of the last message that memories were drawn from."""
    moved_at: Mapped[datetime] = mapped_column()
    """When something was last said: the order of lists."""
    deleted_at: Mapped[datetime | None] = mapped_column()


class MessageRow(Identified, OrganisationOwned, Timestamped, Base):
    """Something said. An answer has the id of the turn that gives it."""

    __tablename__ = "message"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'assistant', 'system')", name="role"),
        CheckConstraint(
            "status IN ('complete', 'streaming', 'awaiting_decision', 'cancelled', 'blocked', 'failed')", name="status"
        ),
        UniqueConstraint("conversation_id", "position", name="uq_message_conversation_id_position"),
        Index("ix_message_search", "search", postgresql_using="gin"),
        Index(
            "ix_message_embedding",
            "embedding",
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "vector_cosine_ops"},
        ),
    )

    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    """From 1, in the order in which it was said."""
    role: Mapped[str] = mapped_column(String(10))
    content: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20), default="complete")
    mode: Mapped[str | None] = mapped_column(String(12))
    turn_id: Mapped[UUID | None] = mapped_column(index=True)
    agent_key: Mapped[str | None] = mapped_column(String(64))
    model: Mapped[str | None] = mapped_column(String(128))
    input_tokens: Mapped[int | None] = mapped_column(Integer)
    output_tokens: Mapped[int | None] = mapped_column(Integer)
    citations: Mapped[list[Any]] = mapped_column(default=list)
    tool_calls: Mapped[list[Any]] = mapped_column(default=list)
    attachments: Mapped[list[Any]] = mapped_column(default=list)
    structured_output: Mapped[dict[str, Any] | None] = mapped_column()
    search: Mapped[Any] = mapped_column(TSVECTOR, nullable=True, deferred=True)
    embedding: Mapped[Any] = mapped_column(VECTOR(DIMENSIONS), nullable=True, deferred=True)


class Feedback(Identified, OrganisationOwned, Timestamped, Base):
    """Thumbs up or down for an answer, from the person who asked."""

    __tablename__ = "message_feedback"
    __table_args__ = (
        CheckConstraint("rating IN ('up', 'down')", name="rating"),
        UniqueConstraint("message_id", "owner_key", name="uq_message_feedback_message_id_owner_key"),
    )

    message_id: Mapped[UUID] = mapped_column(ForeignKey("message.id", ondelete="CASCADE"))
    owner_key: Mapped[str] = mapped_column(String(200))
    rating: Mapped[str] = mapped_column(String(4))
    comment: Mapped[str | None] = mapped_column(String(2000))


class Turn(Identified, OrganisationOwned, Timestamped, Base):
    """A message on its way to an answer."""

    __tablename__ = "turn"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled')", name="state"),
        CheckConstraint("mode IN ('auto', 'ask', 'research', 'investigate')", name="mode"),
        # Whatever races, the database lets one through.
        Index("uq_turn_conversation_active", "conversation_id", unique=True, postgresql_where=text(_ACTIVE)),
        Index(
            "uq_turn_exclusive",
            "organisation_id",
            "exclusive",
            unique=True,
            postgresql_where=text(f"exclusive IS NOT NULL AND {_ACTIVE}"),
        ),
        Index("ix_turn_owner", "organisation_id", "owner_key", "surface", "created_at"),
        Index("ix_turn_ended", "ended_at", postgresql_where=text("NOT compacted")),
    )

    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"), index=True)
    question_id: Mapped[UUID] = mapped_column()
    owner_key: Mapped[str] = mapped_column(String(200))
    user_id: Mapped[UUID | None] = mapped_column()
    surface: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(10), default="queued")
    exclusive: Mapped[str | None] = mapped_column(String(200))
    """Only one turn under way has this key."""
    mode: Mapped[str] = mapped_column(String(12), default="ask")
    mode_used: Mapped[str | None] = mapped_column(String(12))
    agent_key: Mapped[str] = mapped_column(String(64))
    agent_used: Mapped[str | None] = mapped_column(String(64))
    permissions: Mapped[list[Any]] = mapped_column(default=list)
    """The asker's: tools act with them and no others."""
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    recording: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """What was said aloud; erased when the text is there."""
    run_id: Mapped[UUID | None] = mapped_column()
    """The run that may write: a later one takes over, and the earlier one writes no more."""
    cancel_requested_at: Mapped[datetime | None] = mapped_column()
    waiting_for: Mapped[str | None] = mapped_column(String(12))
    """`dlp` or `steering`."""
    waiting_until: Mapped[datetime | None] = mapped_column()
    decision: Mapped[dict[str, Any] | None] = mapped_column()
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(String(2000))
    retry_after: Mapped[int | None] = mapped_column(Integer)
    stop_reason: Mapped[str | None] = mapped_column(String(12))
    model: Mapped[str | None] = mapped_column(String(128))
    response_id: Mapped[str | None] = mapped_column(String(128))
    input_tokens: Mapped[int] = mapped_column(Integer, default=0)
    output_tokens: Mapped[int] = mapped_column(Integer, default=0)
    requests: Mapped[int] = mapped_column(Integer, default=0)
    tool_calls: Mapped[int] = mapped_column(Integer, default=0)
    agents: Mapped[int] = mapped_column(Integer, default=0)
    compacted: Mapped[bool] = mapped_column(default=False)
    """Its single words and steps have been cleared away; the message holds the answer."""
    started_at: Mapped[datetime | None] = mapped_column()
    ended_at: Mapped[datetime | None] = mapped_column()


class TurnEvent(Identified, OrganisationOwned, Base):
    """An event of a turn's stream, numbered from 1 without gaps."""

    __tablename__ = "turn_event"
    __table_args__ = (UniqueConstraint("turn_id", "number", name="uq_turn_event_turn_id_number"),)

    turn_id: Mapped[UUID] = mapped_column(ForeignKey("turn.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]] = mapped_column()
    created_at: Mapped[datetime] = mapped_column()


class TurnStep(Identified, OrganisationOwned, Base):
    """Something a turn has done and need not do again when it is run again."""

    __tablename__ = "turn_step"
    __table_args__ = (UniqueConstraint("turn_id", "key", name="uq_turn_step_turn_id_key"),)

    turn_id: Mapped[UUID] = mapped_column(ForeignKey("turn.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(200))
    output: Mapped[dict[str, Any]] = mapped_column()
    created_at: Mapped[datetime] = mapped_column()


class GuardrailEvent(Identified, OrganisationOwned, Base):
    """Something that the guardrails found, and what was done. The text itself is never kept."""

    __tablename__ = "guardrail_event"
    __table_args__ = (
        CheckConstraint(
            "violation_type IN ('pii', 'custom_term', 'moderation', 'unicode_smuggling')", name="violation_type"
        ),
        CheckConstraint("direction IN ('input', 'output')", name="direction"),
        CheckConstraint("action_taken IN ('block', 'redact', 'alert', 'stripped')", name="action_taken"),
        Index("ix_guardrail_event_time", "organisation_id", "created_at", "id"),
    )
    __organisation_index__: ClassVar[bool] = False

    user_id: Mapped[UUID | None] = mapped_column()
    agent_id: Mapped[UUID | None] = mapped_column()
    conversation_id: Mapped[UUID | None] = mapped_column()
    violation_type: Mapped[str] = mapped_column(String(20))
    categories: Mapped[list[Any]] = mapped_column(default=list)
    direction: Mapped[str] = mapped_column(String(8))
    action_taken: Mapped[str] = mapped_column(String(10))
    source: Mapped[str] = mapped_column(String(12), default="chat")
    model: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column()
