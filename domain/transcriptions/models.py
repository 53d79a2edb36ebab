"""Tables of transcriptions: what is recognised piece by piece, and the bots that bring recordings."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, String, Text
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.models import Base, Identified, OrganisationOwned, Timestamped


class Transcription(Identified, OrganisationOwned, Timestamped, Base):
    """A recording on its way to text and notes. The recording itself goes when the text is there."""

    __tablename__ = "transcription"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    """Whose it is: nobody else reads it."""
    title: Mapped[str] = mapped_column(String(300))
    source: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(12))
    wanted_language: Mapped[str | None] = mapped_column(String(35))
    """BCP 47, as the caller said."""
    notes_wanted: Mapped[bool]
    notes_language: Mapped[str | None] = mapped_column(String(35))
    vocabulary: Mapped[list[Any]] = mapped_column(default=list, server_default=sql("'[]'::jsonb"))
    knowledge_base_id: Mapped[UUID | None] = mapped_column(ForeignKey("collection.id", ondelete="SET NULL"), index=True)
    document_id: Mapped[UUID | None] = mapped_column(ForeignKey("document.id", ondelete="SET NULL"), index=True)
    """The text in the knowledge base."""
    blob_id: Mapped[UUID | None]
    """The recording, in `domain.storage`; NULL before it is there and after it is gone."""
    media_type: Mapped[str | None] = mapped_column(String(128))
    size: Mapped[int | None] = mapped_column(BigInteger)
    begun_at: Mapped[datetime]
    """When it was handed in, or the meeting began."""
    language: Mapped[str | None] = mapped_column(String(35))
    duration: Mapped[float | None]
    """Seconds; first what the file says, in the end what was heard."""
    position: Mapped[float] = mapped_column(default=0.0, server_default=sql("0"))
    """Seconds that are recognised and stored: where the next attempt goes on."""
    content: Mapped[str | None] = mapped_column(Text)
    """All that was said; NULL until it is there."""
    turns: Mapped[list[Any] | None]
    """`[start, end, name]` of who spoke when, where the meeting's service told; gone with the recording."""
    notes: Mapped[dict[str, Any] | None]
    """`{summary, topics, decisions, tasks: [{text, assignee, due}], model}`."""
    failure_code: Mapped[str | None] = mapped_column(String(32))
    failure: Mapped[str | None] = mapped_column(String(2000))
    completed_at: Mapped[datetime | None]
    event_number: Mapped[int] = mapped_column(default=0, server_default=sql("0"))
    events: Mapped[list[Any]] = mapped_column(default=list, server_default=sql("'[]'::jsonb"))

    __organisation_index__: ClassVar[bool] = False
    __table_args__ = (
        CheckConstraint("source IN ('upload', 'meet_bot')", name="source"),
        CheckConstraint("state IN ('recording', 'pending', 'processing', 'completed', 'failed')", name="state"),
        Index("ix_transcription_listing", "organisation_id", "user_id", "id"),
        Index("ix_transcription_user_id", "user_id"),
    )


class TranscriptionSegment(OrganisationOwned, Base):
    """Something said without a break. Written once, in the order in which it was said."""

    __tablename__ = "transcription_segment"

    transcription_id: Mapped[UUID] = mapped_column(ForeignKey("transcription.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    started: Mapped[float]
    ended: Mapped[float]
    """Seconds from the start of the recording."""
    speaker: Mapped[str | None] = mapped_column(String(200))
    """The name, where the meeting's service told who spoke."""
    content: Mapped[str] = mapped_column(Text)

    __organisation_index__: ClassVar[bool] = False
    __table_args__ = (Index("ix_transcription_segment_organisation_id", "organisation_id"),)


class MeetingBot(Identified, OrganisationOwned, Timestamped, Base):
    """A bot that a person has sent to a meeting, at the service that runs it."""

    __tablename__ = "meeting_bot"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    transcription_id: Mapped[UUID] = mapped_column(ForeignKey("transcription.id", ondelete="CASCADE"), index=True)
    meeting_url: Mapped[str] = mapped_column(String(2048))
    meeting_key: Mapped[str] = mapped_column(String(64))
    """A digest of the meeting itself, without what differs between two links to it."""
    platform: Mapped[str] = mapped_column(String(16))
    bot_name: Mapped[str] = mapped_column(String(60))
    announce: Mapped[bool]
    join_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(12))
    service: Mapped[str] = mapped_column(String(12))
    service_id: Mapped[str | None] = mapped_column(String(200))
    """What the service calls it; NULL until it has answered."""
    reserved_at: Mapped[datetime]
    """When the service was last asked for it."""
    recalled: Mapped[bool] = mapped_column(default=False, server_default=sql("false"))
    """It was told to leave."""
    joined_at: Mapped[datetime | None]
    left_at: Mapped[datetime | None]
    misses: Mapped[int] = mapped_column(SmallInteger, default=0, server_default=sql("0"))
    """Looks in a row that the service did not answer usefully."""

    __organisation_index__: ClassVar[bool] = False
    __table_args__ = (
        CheckConstraint(
            "state IN ('scheduled', 'joining', 'waiting', 'recording', 'leaving', 'ended', 'failed')", name="state"
        ),
        Index(
            "uq_meeting_bot_meeting",
            "organisation_id",
            "user_id",
            "meeting_key",
            unique=True,
            postgresql_where=sql("state NOT IN ('ended', 'failed')"),
        ),
    )
