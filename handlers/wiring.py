"""What every surface writes the same way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, overload

from typing_extensions import TypedDict

from domain.kernel.pages import OffsetPage, Page


class PageOf(TypedDict, closed=True):
    total: int
    limit: int
    offset: int


def page_of(found: Page[Any], page: OffsetPage) -> PageOf:
    """How many there are altogether, and which of them these are."""
    return {"total": found.total or 0, "limit": page.limit, "offset": page.offset}


@overload
def timestamp(moment: datetime) -> str: ...
@overload
def timestamp(moment: None) -> None: ...
def timestamp(moment: datetime | None) -> str | None:
    """UTC, ISO 8601 with `Z`, milliseconds; None stays None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
