"""Tables of billing: which plan an organisation has, and what it used this month."""

from __future__ import annotations

from datetime import date
from typing import ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel.models import Base, OrganisationOwned, Timestamped


class Subscription(Timestamped, OrganisationOwned, Base):
    """The plan of an organisation for one product. What it means is in `domain.billing.plans`."""

    __tablename__ = "subscription"

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), primary_key=True)
    product: Mapped[str] = mapped_column(Text, primary_key=True)
    plan: Mapped[str] = mapped_column(Text)
    overage: Mapped[bool] = mapped_column(default=False)
    """Whether use past the quota is counted instead of refused."""

    __organisation_index__: ClassVar[bool] = False


class UsageCounter(OrganisationOwned, Base):
    """How much of a metric was used in a month (its first day, UTC)."""

    __tablename__ = "usage_counter"

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisation.id", ondelete="CASCADE"), primary_key=True)
    metric: Mapped[str] = mapped_column(Text, primary_key=True)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    used: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (CheckConstraint("used >= 0", name="not_negative"),)
    __organisation_index__: ClassVar[bool] = False
