"""What containers are like: sizes, states, times of rest. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

MEMORY: Final = {"1g": 1 << 30, "4g": 4 << 30, "16g": 16 << 30, "64g": 64 << 30}
"""The tiers, and their bytes."""
DEFAULT_MEMORY: Final = "1g"
LIVE: Final = ("creating", "running")
"""States in which a container counts: it holds its name and one of the tenant's places."""
MOST: Final = 10
"""Of one tenant."""
REST: Final = 20
"""Minutes of rest after which a container goes away where nothing else is said."""
CODE: Final = 100_000
"""Characters of a program."""


def name_key(name: str) -> str:
    """Two names with the same key are the same name."""
    return " ".join(name.split()).casefold()


def over(now: datetime, minutes: int) -> datetime:
    """When a container that was used at `now` goes away."""
    return now + timedelta(minutes=minutes)
