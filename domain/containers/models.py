"""Tables of containers: what there is, and which agent works in which."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, String
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.models import Base, Identified, OrganisationOwned, Timestamped


class Container(Identified, OrganisationOwned, Timestamped, Base):
    """A workspace in which agents run code. The row stays when the workspace is gone."""

    __tablename__ = "container"

    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    name_key: Mapped[str] = mapped_column(String(400))
    driver: Mapped[str] = mapped_column(String(16))
    external_id: Mapped[str | None] = mapped_column(String(128))
    """What its driver calls it; NULL until the driver has made it."""
    memory: Mapped[str] = mapped_column(String(4))
    state: Mapped[str] = mapped_column(String(12))
    rest_minutes: Mapped[int] = mapped_column(Integer)
    file_ids: Mapped[list[Any]] = mapped_column(default=list, server_default=sql("'[]'::jsonb"))
    """Stored objects that are put in from the start."""
    notes: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=sql("'{}'::jsonb"))
    failure: Mapped[str | None] = mapped_column(String(500))
    last_active_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    """NULL once it is gone."""
    deleted_at: Mapped[datetime | None]

    __organisation_index__: ClassVar[bool] = False
    __table_args__ = (
        CheckConstraint("state IN ('creating', 'running', 'expired', 'error', 'deleted')", name="state"),
        CheckConstraint("memory IN ('1g', '4g', '16g', '64g')", name="memory"),
        Index("ix_container_listing", "organisation_id", "id"),
        Index(
            "uq_container_name",
            "organisation_id",
            "name_key",
            unique=True,
            postgresql_where=sql("state IN ('creating', 'running')"),
        ),
        Index("ix_container_expires_at", "expires_at", postgresql_where=sql("expires_at IS NOT NULL")),
    )


class ContainerBinding(OrganisationOwned, Base):
    """The container in which an agent of the organisation works."""

    __tablename__ = "container_binding"

    organisation_id: Mapped[UUID] = mapped_column(
        ForeignKey("organisation.id", ondelete="CASCADE"), primary_key=True, sort_order=-10
    )
    agent_key: Mapped[str] = mapped_column(String(128), primary_key=True)
    container_id: Mapped[UUID] = mapped_column(ForeignKey("container.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]

    __organisation_index__: ClassVar[bool] = False
