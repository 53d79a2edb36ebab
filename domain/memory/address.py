"""Address keys: `intent.scope.domain.specificity`, a real `ltree` path of exactly four levels.

`AddressKey.parse` checks one, `Ltree` stores it, `matches` filters by one. Labels are `[a-z0-9_]+`; the first two
levels are closed lists (schema of the seed's product, section 003 of the facts).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal
from sqlalchemy.dialects.postgresql import base as postgresql
from sqlalchemy.types import UserDefinedType

from domain.kernel.errors import Invalid

INTENTS = (
    "specification",
    "change_request",
    "diagnosis",
    "verification",
    "risk_assessment",
    "retrospective",
    "planning",
    "knowledge_retrieval",
    "compliance_check",
    "knowledge_ingestion",
    "intent_clarification",
)
SCOPES = ("org", "project", "entity", "global")
LEVELS = 4

_LABEL = re.compile(r"[a-z0-9_]{1,60}\Z")
_PATTERN = re.compile(r"[A-Za-z0-9_*|!@%{},.]{1,256}\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*\Z")
_LEVEL = re.compile(
    r"(?:!?(?:\w+[*@%]*)(?:\|\w+[*@%]*)*|\*)(?:\{(?:(\d{1,5})(?:,(\d{0,5}))?|,(\d{1,5}))\})?\Z", re.ASCII
)
_MAX_REPEAT = 65535
"""LQUERY's own bound on `{n,m}`."""


@dataclass(frozen=True, slots=True)
class AddressKey:
    intent: str
    scope: str
    domain: str
    specificity: str

    @classmethod
    def parse(cls, text: str) -> AddressKey:
        """Raises `Invalid` unless `text` has four good levels."""
        parts = text.split(".")
        if len(parts) != LEVELS or not all(_LABEL.match(part) for part in parts):
            raise Invalid("An address key has four levels: intent.scope.domain.specificity, each of [a-z0-9_].")
        if parts[0] not in INTENTS or parts[1] not in SCOPES:
            raise Invalid("The address key's intent or scope is unknown.")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.intent}.{self.scope}.{self.domain}.{self.specificity}"


def label(text: str, fallback: str = "general") -> str:
    """`text` as one level of a path: lower case, `[a-z0-9_]`, at most 60 characters."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60].strip("_") or fallback


class Ltree(UserDefinedType[str]):
    """PostgreSQL's `ltree`. Values are plain strings."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_: Any) -> str:
        return "LTREE"


class Lquery(UserDefinedType[str]):
    """A pattern over paths."""

    cache_ok = True
    render_bind_cast = True

    def get_col_spec(self, **_: Any) -> str:
        return "LQUERY"


# Reflection (and with it the comparison of models and migrations) knows the type by this name.
postgresql.ischema_names["ltree"] = Ltree


def matches(column: Any, pattern: str) -> ColumnElement[bool]:
    """Filter by path: an `lquery` pattern, or a plain path, which selects everything under it too.

    Raises `Invalid` for what is neither.
    """
    check_pattern(pattern)
    if _PLAIN.match(pattern):
        return within(column, pattern)
    condition: ColumnElement[bool] = column.op("~", is_comparison=True)(cast(literal(pattern, Text), Lquery))
    return condition


def within(column: Any, path: str) -> ColumnElement[bool]:
    """At or under `path`."""
    condition: ColumnElement[bool] = column.op("<@", is_comparison=True)(cast(literal(path, Text), Ltree))
    return condition


def first_levels(column: Any, count: int) -> ColumnElement[str]:
    """The path's first `count` levels, as text."""
    return cast(func.subpath(column, 0, count), Text)


def check_pattern(pattern: str) -> None:
    """Raise `Invalid` where PostgreSQL would not read `pattern` as an lquery. Never asks PostgreSQL: an error there
    would end the caller's transaction."""
    if not _PATTERN.match(pattern):
        raise Invalid("address_key: not a path pattern. Allowed are letters, digits and _ * | ! @ % { } , .")
    for level in _levels(pattern):
        found = _LEVEL.match(level)
        if found is None:
            raise Invalid(f"address_key: the level {level!r} is not one of a path pattern.")
        low, high = found[1] or "0", found[2] or found[3] or str(_MAX_REPEAT)
        if found[1] and found[2] is None:
            high = low
        if int(low) > int(high) or int(high) > _MAX_REPEAT:
            raise Invalid("address_key: a repetition {n,m} needs n <= m <= 65535.")


def _levels(pattern: str) -> list[str]:
    return pattern.split(".")
