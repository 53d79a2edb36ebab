"""Pages of a listing: by offset or by cursor. The edge builds the request, a verb answers with a `Page`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OffsetPage:
    """`limit` items from `offset`. Bounds are the contract's."""

    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True)
class CursorPage:
    """`limit` items after an opaque `cursor` (None: from the start)."""

    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """What a verb answers. `total` is None where it is not counted; `next_cursor` is None on the last page."""

    items: Sequence[T]
    total: int | None = None
    next_cursor: str | None = None
