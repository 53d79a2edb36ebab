"""What a surface promises about turns: how many at once, what they count as, how they work. Pure data and rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

MODES = ("auto", "ask", "research", "investigate")
LONGEST_MESSAGE = 200_000
"""Characters: above every surface's own bound."""
HISTORY_MESSAGES = 40
HISTORY_CHARACTERS = 24_000
DECISION_TIME = timedelta(minutes=5)
"""How long a finding waits for a decision, and an action for its confirmation."""
STEERING_TIME = timedelta(minutes=2)
"""How long an investigation waits for a word of direction before it goes on by itself."""
LIMITS = {"ask": 110.0, "research": 240.0, "investigate": 300.0}
"""Seconds that a turn may work, waiting not counted."""


@dataclass(frozen=True, slots=True)
class TurnRules:
    """What holds for a surface's turns."""

    exclusive_per_user: bool = False
    """A person has one turn under way, over all their conversations."""
    most_active: int | None = None
    """Turns a person may have under way at once."""
    metric: str | None = None
    """What a turn counts as in the plan's month."""
    per_day: Mapping[str, int | None] = field(default_factory=dict)
    """Turns a day (UTC) of the organisation, by plan; None: without limit. A plan that is absent has none either."""
    agent: str = "assistant"
    """Whom a turn is for when nobody is named."""
    memory: bool = True
    """Whether what a person has said of themselves is recalled and drawn. Not where others read the answer."""
    shared: bool = False
    """Conversations are the organisation's: who may speak goes on with any of them. Else they are a person's own."""
    confirm_by_token: bool = False
    """A confirmation is given with a token; else by a yes in the conversation."""


SURFACES: Mapping[str, TurnRules] = {
    "thallus": TurnRules(exclusive_per_user=True, metric="thallus.investigations"),
    "beeflow": TurnRules(metric="beeflow.messages", most_active=5),
    "thalian": TurnRules(
        per_day={"free": 25, "pro": 100, "trial": 100, "enterprise": None},
        agent="security_assistant",
        confirm_by_token=True,
    ),
    "starter": TurnRules(metric="starter.messages", most_active=5, agent="triage", memory=False, shared=True),
}


def of_surface(surface: str) -> TurnRules:
    return SURFACES.get(surface, TurnRules())


_YES = re.compile(
    r"\s*(?:yes|yep|yeah|ok|okay|sure|confirm(?:ed)?|approve(?:d)?|go ahead|do it|please do|ja|oui|sí|si)"
    r"(?:[\s,.!]+(?:please|go ahead|do it|confirm(?:ed)?|approve(?:d)?))*[\s.!]*",
    re.IGNORECASE,
)


def affirms(message: str) -> bool:
    """Whether a message is a plain yes to what was asked, and nothing else."""
    return len(message) <= 60 and _YES.fullmatch(message) is not None


def title_of(message: str) -> str:
    """A conversation's name from its first question: its first sentence, at most 80 characters."""
    line = " ".join(message.split())
    end = re.search(r"(?<=[.?!])\s", line)
    if end and end.start() >= 8:
        line = line[: end.start()]
    if len(line) > 80:
        line = line[:79].rsplit(" ", 1)[0].rstrip(",;:") + "…"
    return line.rstrip(".") or "New conversation"


def cited(text: str, known: Mapping[int, Any]) -> list[int]:
    """The numbers in brackets that name a source, in the order in which they first come."""
    found = []
    for group in re.findall(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]", text):
        for number in re.split(r"\s*,\s*", group):
            if int(number) in known and int(number) not in found:
                found.append(int(number))
    return found


def snippet(text: str, answer: str, number: int, longest: int = 600) -> str:
    """The passage as it was used: around the words that the answer quotes from it, else its beginning."""
    at = 0
    text = " ".join(text.split())
    for quote in re.findall(rf"“([^”]+)” \[{number}\]", answer):
        if (found := text.find(quote)) >= 0:
            at = max(0, found - 80)
            break
    piece = text[at : at + longest]
    return ("…" if at else "") + piece.strip() + ("…" if at + longest < len(text) else "")
