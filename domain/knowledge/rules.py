"""Pure rules of knowledge: settings of collections, filters, fusion of rankings, when to search exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from domain.kernel.errors import Invalid, Unprocessable

Mode = Literal["hybrid", "semantic", "text"]
KINDS = ("collection", "knowledge_base", "vector_store")
VISIBILITIES = ("private", "group", "organisation", "public")
PRODUCTS = {"collection": "thallus", "knowledge_base": "beeflow", "vector_store": "starter"}
"""Whose plans bound a kind of collection."""

CUTTER = 1
"""Raised when the cutter cuts differently, so that old indexes are not taken for new ones."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """Sizes of passages, in `tokens` or `characters`. `overlap` is what neighbours share."""

    unit: Literal["tokens", "characters"] = "tokens"
    size: int = 220
    """Fits, with its heading, into what the built-in embedder sees (256 tokens)."""
    overlap: int = 30

    def __post_init__(self) -> None:
        low, high = (16, 8_192) if self.unit == "tokens" else (100, 20_000)
        if self.unit not in ("tokens", "characters") or not low <= self.size <= high:
            raise Unprocessable(f"The size of a passage has to be {low} to {high} {self.unit}.")
        if not 0 <= self.overlap < self.size:
            raise Unprocessable("The overlap of passages has to be less than their size.")

    @property
    def profile(self) -> str:
        return f"{self.unit}:{self.size}:{self.overlap}:{CUTTER}"

    def stored(self) -> dict[str, Any]:
        return {"unit": self.unit, "size": self.size, "overlap": self.overlap}

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> Chunking:
        return cls(**stored) if stored else cls()

    @classmethod
    def static(cls, max_chunk_size_tokens: int, chunk_overlap_tokens: int) -> Chunking:
        """As OpenAI's vector stores say it. Raises `Unprocessable` (the overlap is at most half of the size)."""
        if chunk_overlap_tokens * 2 > max_chunk_size_tokens:
            raise Unprocessable("chunk_overlap_tokens has to be at most half of max_chunk_size_tokens.")
        return cls("tokens", max_chunk_size_tokens, chunk_overlap_tokens)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a collection's documents are cut, and searched where a search does not say otherwise."""

    chunking: Chunking = field(default_factory=Chunking)
    search_mode: Mode = "hybrid"
    min_score: float = 0.0
    model: str | None = None
    """The embedding model that was chosen for it; None: that of new collections, with the next indexing anew."""

    def stored(self) -> dict[str, Any]:
        stored = {"chunking": self.chunking.stored(), "search_mode": self.search_mode, "min_score": self.min_score}
        return stored if self.model is None else stored | {"model": self.model}

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> Settings:
        stored = stored or {}
        return cls(
            Chunking.of(stored.get("chunking")),
            stored.get("search_mode", "hybrid"),
            stored.get("min_score", 0.0),
            stored.get("model"),
        )


def name_key(name: str) -> str:
    """A name as it is compared: case and runs of blanks make no difference."""
    return " ".join(name.split()).casefold()[:300]


# --- rankings -------------------------------------------------------------------------------------------

K = 60
"""Of reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009."""

T = TypeVar("T")


def fused(*rankings: Sequence[T]) -> dict[T, float]:
    """Reciprocal rank fusion: what stands high in several rankings stands above what stands high in one."""
    scores: dict[T, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, 1):
            scores[item] = scores.get(item, 0.0) + 1 / (K + rank)
    return scores


def falling(fits: Sequence[float]) -> list[float]:
    """Scores for a ranking: how well each item fits, but never more than the one before it."""
    scores: list[float] = []
    for fit in fits:
        scores.append(min(fit, scores[-1]) if scores else fit)
    return scores


EXACT = 4_000
"""Passages in reach up to which every vector is compared: some 5 ms, and the answer is exact."""
EXACT_MOST = 60_000
"""Beyond this the graph is walked, however small a part of it is in reach."""
STEP = 11
"""What a passage costs that a walk visits, in comparisons: it is looked up, and its neighbours are compared."""


def exactly(reach: int, total: int, wanted: int) -> bool:
    """Whether to compare all `reach` vectors instead of walking the graph of `total`.

    The walk visits about `wanted * total / reach` vectors until enough of those in reach were met.
    """
    if reach <= EXACT:
        return True
    if reach > EXACT_MOST:
        return False
    return STEP * max(wanted, 100) * math.ceil(max(total, reach) / reach) > reach


# --- filters of attributes ----------------------------------------------------------------------------------

COMPARISONS = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin")
MAX_DEPTH = 8
MAX_PARTS = 200
LONGEST_NAME = 64
"""Characters of an attribute's name."""


def checked_filter(given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A filter in OpenAI's shape: `{type, key, value}`, or `{type: and | or, filters: [...]}`, nested at will.

    Raises `Invalid`.
    """
    if given is None:
        return None
    _check(given, 0, [0])
    return given


def _check(given: Any, depth: int, parts: list[int]) -> None:
    parts[0] += 1
    if depth > MAX_DEPTH or parts[0] > MAX_PARTS:
        raise Invalid("filters: nested too deeply, or too many.")
    if not isinstance(given, Mapping):
        raise Invalid("filters: not a filter.")
    kind = given.get("type")
    if kind in ("and", "or"):
        inner = given.get("filters")
        if not isinstance(inner, Sequence) or isinstance(inner, str) or not inner:
            raise Invalid(f"filters: `{kind}` joins at least one filter.")
        for each in inner:
            _check(each, depth + 1, parts)
        return
    if kind not in COMPARISONS:
        raise Invalid(f"filters: `type` is and, or, {', '.join(COMPARISONS)}.")
    key, value = given.get("key"), given.get("value")
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_NAME:
        raise Invalid("filters: `key` is the name of an attribute.")
    if kind in ("in", "nin"):
        if not isinstance(value, Sequence) or isinstance(value, str) or not value or not all(map(_plain, value)):
            raise Invalid(f"filters: `{kind}` compares with a list.")
    elif not _plain(value):
        raise Invalid(f"filters: `{kind}` compares with text, a number or a truth value.")
    elif kind in ("gt", "gte", "lt", "lte") and isinstance(value, bool):
        raise Invalid(f"filters: `{kind}` compares numbers or texts.")


def _plain(value: Any) -> bool:
    return isinstance(value, str | bool) or (isinstance(value, int | float) and math.isfinite(value))
