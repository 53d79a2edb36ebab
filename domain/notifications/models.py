"""Tables of notifications: mails, from promise to delivery."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.models import Base, Identified, Timestamped

STATES = ("pending", "sending", "sent", "failed")


class Mail(Identified, Timestamped, Base):
    """One mail. Not organisation-owned in the sense of `kernel.db`: mails of public acts have no organisation, and only
    delivery and operators read these rows.

    `facts` is sealed JSON, because it holds links that let someone in; it goes when the mail is delivered.
    """

    __tablename__ = "mail"

    organisation_id: Mapped[UUID | None] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"))
    template: Mapped[str] = mapped_column(String(60))
    language: Mapped[str] = mapped_column(String(8))
    recipient: Mapped[str] = mapped_column(String(254))
    facts: Mapped[bytes | None] = mapped_column(LargeBinary)
    unique_key: Mapped[str | None] = mapped_column(String(200))
    message_id: Mapped[str | None] = mapped_column(String(320))
    state: Mapped[str] = mapped_column(String(10))
    attempts: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None] = mapped_column(Text)
    sent_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("state IN ('pending', 'sending', 'sent', 'failed')", name="state"),
        CheckConstraint("state <> 'sent' OR (facts IS NULL AND sent_at IS NOT NULL)", name="sent_is_wiped"),
        Index(
            "uq_mail_unique_key",
            "organisation_id",
            "unique_key",
            unique=True,
            postgresql_where=text("unique_key IS NOT NULL"),
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_mail_organisation_id", "organisation_id"),
        Index("ix_mail_failed_at", "failed_at", postgresql_where=text("state = 'failed'")),
    )
