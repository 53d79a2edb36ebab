"""Who may use an agent: four tiers, the most specific that says something wins. Pure.

Among a user's groups any `allow` wins, else any `deny`; when no tier says anything the agent is allowed (facts of the
product, section 000).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Access = Literal["allow", "deny", "inherit"]
Tier = Literal["platform", "organisation", "group", "user"]
Decider = Literal["platform", "organisation", "group", "user", "default"]

ACCESS = ("allow", "deny", "inherit")
MODEL_TIERS = ("fast", "medium", "large")
CATEGORIES = ("general", "research", "data", "documents", "integrations", "workflows", "system")


@dataclass(frozen=True, slots=True)
class Effective:
    """What holds in the end, and which tier decided it."""

    allowed: bool
    decided_by: Decider


@dataclass(frozen=True, slots=True)
class Settings:
    """What each tier says of one agent, from the widest to the most specific."""

    platform: str | None = None
    organisation: str = "inherit"
    groups: tuple[str, ...] = ()
    user: str = "inherit"


def merged(groups: Iterable[str]) -> Access:
    """What a user's groups say together."""
    said = set(groups)
    return "allow" if "allow" in said else "deny" if "deny" in said else "inherit"


def effective(settings: Settings, *, without: Tier | None = None) -> Effective:
    """What comes of the tiers; of those above and beside `without`, when one is to be left out."""
    tiers: Sequence[tuple[Tier, str | None]] = (
        ("user", settings.user),
        ("group", merged(settings.groups)),
        ("organisation", settings.organisation),
        ("platform", settings.platform),
    )
    for tier, said in tiers:
        if tier != without and said in ("allow", "deny"):
            return Effective(said == "allow", tier)
    return Effective(True, "default")


def first(*given: str | None) -> str | None:
    """The first that says something: for model tiers, from the most specific."""
    return next((value for value in given if value is not None), None)


def key_of(name: str) -> str:
    """A name for programs: `[a-z][a-z0-9_]*`, at most 56 characters."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return (plain if plain[:1].isalpha() else f"agent_{plain}".rstrip("_"))[:56].strip("_") or "agent"
