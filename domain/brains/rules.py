"""The figures of the chain: how sure the architect may be, how risky an answer is, what the gate decides. Pure.

Published in docs/brains.md; a change here is a change for partners.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SEVERITY_RISK = {"low": 0.06, "medium": 0.16, "high": 0.36}
NEUTRAL = 50.0
PASS, REVIEW = 80.0, 50.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an answer rests on."""

    asks: bool
    """The input puts a question."""
    tells: bool
    """The input states something."""
    best: float
    """Highest closeness of a cited passage of memory or of a document, 0 without one."""
    trust: float
    """Mean confidence of the cited sources: an entry's own, 1 for a document, which is quoted as it stands."""
    sources: int
    """Cited memory entries and documents."""
    grounding: float
    """Share of the answer's parts that cite a passage that exists."""
    open_points: int


def architect_confidence(evidence: Evidence) -> float:
    """0 to 100: 100 x grounding x evidence x (1 - 0.04 x open points).

    evidence of a question: support x (0.8 + 0.2 x breadth), with support = (best - 0.35) / 0.35 in 0..1, times
    (0.7 + 0.3 x trust), and breadth = sources / 3 in 0..1. At least 0.1. An input that only states something is its own
    evidence: 0.65 + 0.35 x support; one that states and asks: the mean of both.
    """
    support = _unit((evidence.best - 0.35) / 0.35) * (0.7 + 0.3 * evidence.trust)
    of_question = max(0.1, support * (0.8 + 0.2 * _unit(evidence.sources / 3)))
    of_statement = 0.65 + 0.35 * support
    if evidence.asks and evidence.tells:
        strength = (of_question + of_statement) / 2
    elif evidence.tells:
        strength = of_statement
    else:
        strength = of_question
    return round(100 * evidence.grounding * strength * (1 - 0.04 * min(evidence.open_points, 5)), 1)


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))


def risk(severities: Iterable[str]) -> float:
    """0 to 100: objections add up like independent chances (low 6 %, medium 16 %, high 36 %)."""
    safe = 1.0
    for severity in severities:
        safe *= 1 - SEVERITY_RISK[severity]
    return round(100 * (1 - safe), 1)


def score(architect: float, devil_risk: float | None) -> float:
    """0.4 x architect + 0.4 x (100 - risk) + 0.2 x 50. Without a devil the risk counts as 50: nobody knows."""
    return round(0.4 * architect + 0.4 * (100 - (NEUTRAL if devil_risk is None else devil_risk)) + 0.2 * NEUTRAL, 1)


def gate(confidence: float, *, challenged: bool) -> str:
    """`pass` from 80, `review` from 50, `block` below. An answer that nobody argued against does not pass."""
    if confidence >= PASS:
        return "pass" if challenged else "review"
    return "review" if confidence >= REVIEW else "block"


_INJECTION = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,40}\b(?:previous|above|prior|all|your|the|earlier)\b[^.\n]{0,40}"
    r"\b(?:instructions?|prompts?|rules?|context|guidelines?)\b"
    r"|\byou are now\b|\bact as (?:an?|the) (?:system|admin|developer)\b|\b(?:system|developer) prompt\b"
    r"|<\|?(?:im_start|im_end|system|endoftext)\|?>|\[/?INST\]",
    re.IGNORECASE,
)


def reads_like_an_instruction(text: str) -> bool:
    """The text tries to speak to the model that reads it."""
    return _INJECTION.search(text) is not None


def instructing(answer: Mapping[str, Any] | None) -> int:
    """How many documents that an answer quotes try to speak to the model that reads them."""
    quoted = [each for each in (answer or {}).get("citations", ()) if each["kind"] == "document"]
    return len({each["document"]["id"] for each in quoted if reads_like_an_instruction(each["quote"])})


def cited(texts: Sequence[str]) -> list[str]:
    """The citation marks in `texts`, each once, in order."""
    return list(dict.fromkeys(mark for text in texts for mark in MARK.findall(text)))


MARK = re.compile(r"\[([mdi][0-9]{1,3})\]")


def unmarked(text: str) -> str:
    """Material with what would read as a citation mark of ours in round brackets: only an answer cites."""
    return MARK.sub(lambda match: f"({match[1]})", text)


_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|probably|possibly|I think|I guess|not sure|might|seems?|apparently|supposedly|roughly)\b", re.I
)


def hedged(text: str) -> bool:
    """It is said with reservation."""
    return _HEDGE.search(text) is not None
