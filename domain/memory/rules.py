"""How near a remembered entry is to a request, and how much a brain is surprised. Pure; published in docs/brains.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

RELEVANT = 0.35
"""Cosine similarity from which an entry bears on a text. MiniLM: unrelated texts stay below 0.25,
paraphrases lie above 0.5."""
RING_WEIGHT = {"session": 1.0, "entity": 0.8, "institutional": 0.6}
HALF_LIFE_DAYS = {"session": 1.0, "entity": 30.0, "institutional": 180.0}
STATUS_WEIGHT = {"active": 1.0, "contested": 0.6, "archived": 0.0}
SEED_WEIGHT = 0.6
"""The baseline guides; it is not knowledge of the matter, and real entries go before it."""


@dataclass(frozen=True, slots=True)
class Nearness:
    similarity: float
    proximity: float
    recency: float
    score: float


def proximity(one: str, other: str) -> float:
    """Shared leading levels of two address keys, as a share of four."""
    shared = 0
    for a, b in zip(one.split("."), other.split("."), strict=False):
        if a != b:
            break
        shared += 1
    return shared / 4


def nearness(
    *, similarity: float, proximity: float, ring: str, age_days: float, confidence: float, status: str, seeded: bool
) -> Nearness:
    """score = similarity 60 %, address 15 %, ring 10 %, recency 5 %, confidence 10 %; less if contested or seeded."""
    similar = min(1.0, max(0.0, similarity))
    recency = math.pow(0.5, max(0.0, age_days) / HALF_LIFE_DAYS[ring])
    weighed = 0.6 * similar + 0.15 * proximity + 0.1 * RING_WEIGHT[ring] + 0.05 * recency + 0.1 * confidence
    factor = STATUS_WEIGHT[status] * (SEED_WEIGHT if seeded else 1.0)
    return Nearness(round(similar, 4), proximity, round(recency, 4), round(weighed * factor, 4))


def prediction_error(relevant: int) -> float:
    """How little was to be expected: 0.9 with no entry that bears on it, 0.6 up to 5, 0.3 up to 20, 0.1 above."""
    if relevant <= 0:
        return 0.9
    if relevant <= 5:
        return 0.6
    return 0.3 if relevant <= 20 else 0.1
