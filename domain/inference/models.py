"""The tables of inference: a person's own provider and models, and trials of keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.models import Base, Identified, OrganisationOwned, Timestamped


class ModelSetting(Identified, OrganisationOwned, Timestamped, Base):
    """Whose keys work for a person. Absent: the platform's."""

    __tablename__ = "model_setting"
    __table_args__ = (
        CheckConstraint("status IN ('ok', 'invalid', 'unchecked')", name="status"),
        UniqueConstraint("organisation_id", "user_id", name="uq_model_setting_organisation_id_user_id"),
    )
    __organisation_index__: ClassVar[bool] = False

    user_id: Mapped[UUID] = mapped_column(index=True)
    provider: Mapped[str | None] = mapped_column(String(20))
    """None: only the terms were accepted, and the platform's models work."""
    secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    key_hint: Mapped[str | None] = mapped_column(String(32))
    address: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """`base_url`, `endpoint`, `api_version`, `project_id`, `location`: what is no secret."""
    models: Mapped[dict[str, Any]] = mapped_column(default=dict)
    embedding_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    embedding: Mapped[dict[str, Any] | None] = mapped_column()
    """`provider`, `address`, `key_hint`, `model`, `dimensions`."""
    status: Mapped[str] = mapped_column(String(10), default="unchecked")
    disclaimer_accepted_at: Mapped[datetime | None] = mapped_column()
    validated_at: Mapped[datetime | None] = mapped_column()
    saved_at: Mapped[datetime | None] = mapped_column()


class ModelTrial(Identified, OrganisationOwned, Timestamped, Base):
    """Keys on trial: a worker sends a very short completion to each model. The secrets go when it is over."""

    __tablename__ = "model_trial"
    __table_args__ = (CheckConstraint("state IN ('queued', 'done')", name="state"),)

    user_id: Mapped[UUID] = mapped_column(index=True)
    save: Mapped[bool] = mapped_column(default=False)
    """Whether what works becomes the person's setting."""
    state: Mapped[str] = mapped_column(String(8), default="queued")
    provider: Mapped[str] = mapped_column(String(20))
    given: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed JSON of what is tried."""
    checks: Mapped[list[Any]] = mapped_column(default=list)
    accepted: Mapped[bool] = mapped_column(default=False)
    ended_at: Mapped[datetime | None] = mapped_column()
