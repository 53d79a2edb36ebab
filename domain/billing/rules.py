"""Pure rules of billing: months, and what a metric's name says."""

from __future__ import annotations

from datetime import UTC, date, datetime


def month_of(moment: datetime) -> date:
    """The first day of the moment's month, in UTC."""
    return moment.astimezone(UTC).date().replace(day=1)


def next_month(month: date) -> datetime:
    """When the counters of the month after `month` begin: its first day, 00:00 UTC."""
    year, number = (month.year + 1, 1) if month.month == 12 else (month.year, month.month + 1)
    return datetime(year, number, 1, tzinfo=UTC)


def product_of(metric: str) -> str:
    """`thalium.invocations` is sold with the plans of `thalium`."""
    product, dot, name = metric.partition(".")
    if not (product and dot and name):
        raise ValueError(f"{metric!r} is no metric: it must read <product>.<name>")
    return product
