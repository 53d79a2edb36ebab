"""Tables of support: tickets, what was said in each, and where an organisation's numbers have got to."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.models import Base, Identified, OrganisationOwned, Timestamped


class TicketDesk(OrganisationOwned, Base):
    """The last number that an organisation has given. Locked while a mail comes in: of two that come at once, the
    second one finds what the first has made."""

    __tablename__ = "ticket_desk"

    organisation_id: Mapped[UUID] = mapped_column(
        ForeignKey("organisation.id", ondelete="CASCADE"), primary_key=True, sort_order=-10
    )
    last_number: Mapped[int] = mapped_column(Integer)

    __organisation_index__: ClassVar[bool] = False


class Ticket(Identified, OrganisationOwned, Timestamped, Base):
    """Something to take care of."""

    __tablename__ = "ticket"

    number: Mapped[int] = mapped_column(Integer)
    subject: Mapped[str] = mapped_column(String(998))
    status: Mapped[str] = mapped_column(String(8), default="open")
    priority: Mapped[str] = mapped_column(String(8))
    priority_given: Mapped[bool]
    """Somebody said how urgent it is: no model judges it."""
    source: Mapped[str] = mapped_column(String(8))
    requester_email: Mapped[str | None] = mapped_column(String(254))
    """Who asks; NULL where a program does, and after an erasure."""
    requester_name: Mapped[str | None] = mapped_column(String(200))
    assignee_id: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"), index=True)
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"), index=True)
    """Who handed it in: answers are suggested from what that person may see."""
    finding_id: Mapped[UUID | None]
    """The finding that an agent has opened it for."""
    message_count: Mapped[int] = mapped_column(Integer)
    round: Mapped[int] = mapped_column(Integer)
    """Counts what a model has to read: one more with each mail."""
    judged_round: Mapped[int] = mapped_column(Integer, default=0, server_default=sql("0"))
    """The round that category, language, summary and suggestion speak of."""
    category: Mapped[str | None] = mapped_column(String(64))
    language: Mapped[str | None] = mapped_column(String(35))
    summary: Mapped[str | None] = mapped_column(String(2000))
    suggestion_state: Mapped[str | None] = mapped_column(String(12))
    """NULL where no answer is wanted."""
    suggestion: Mapped[dict[str, Any] | None]
    """`{text, confidence, citations: [{document_id, title, snippet}], collections: [id], model}`."""
    suggested_at: Mapped[datetime | None]

    __organisation_index__: ClassVar[bool] = False
    __table_args__ = (
        CheckConstraint("status IN ('open', 'pending', 'solved', 'closed')", name="status"),
        CheckConstraint("priority IN ('low', 'normal', 'high', 'urgent')", name="priority"),
        CheckConstraint("source IN ('mail', 'tool')", name="source"),
        CheckConstraint("suggestion_state IN ('pending', 'completed', 'failed')", name="suggestion_state"),
        UniqueConstraint("organisation_id", "number", name="uq_ticket_organisation_id_number"),
        Index("ix_ticket_listing", "organisation_id", "updated_at", "id"),
    )


class TicketMessage(Identified, OrganisationOwned, Base):
    """A mail of a ticket, or what an agent has written into it."""

    __tablename__ = "ticket_message"

    ticket_id: Mapped[UUID] = mapped_column(ForeignKey("ticket.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    """From 1, in the order in which they were handed in."""
    sender_email: Mapped[str | None] = mapped_column(String(254))
    sender_name: Mapped[str | None] = mapped_column(String(200))
    subject: Mapped[str] = mapped_column(String(998))
    content: Mapped[str] = mapped_column(Text)
    message_id: Mapped[str | None] = mapped_column(String(998))
    message_key: Mapped[str | None] = mapped_column(String(64))
    """A digest of the `Message-ID`, which may be longer than an index takes."""
    received_at: Mapped[datetime]
    created_at: Mapped[datetime]
    search: Mapped[Any] = mapped_column(TSVECTOR, nullable=True, deferred=True)

    __table_args__ = (
        UniqueConstraint("ticket_id", "position", name="uq_ticket_message_ticket_id_position"),
        Index(
            "uq_ticket_message_message_key",
            "organisation_id",
            "message_key",
            unique=True,
            postgresql_where=sql("message_key IS NOT NULL"),
        ),
        Index("ix_ticket_message_search", "search", postgresql_using="gin"),
    )
