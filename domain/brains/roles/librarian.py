"""Librarian: writes what the completed roles have learnt into the rings. Runs whatever became of the others."""

from __future__ import annotations

import re
from typing import Any

from domain import memory
from domain.brains import boundaries, rules
from domain.brains.roles.role import Role
from domain.brains.state import State
from domain.inference import Deadline, Drivers, Sentence, sentences
from domain.kernel.context import Ctx

STATEMENTS = 6
FOR_GOOD = 5
KEPT = 2_000
"""Characters of one entry."""
READ = 2_000
"""Sentences of the input that are looked at."""
SHORTEST = 12
"""Characters; less says nothing that could be understood later."""
REPORTED = 0.7
"""How sure the brain is of what a caller tells it."""
HEDGED = 0.45
SURE = 0.7
"""A statement this sure is kept for good when it was sent to be kept, or when the answer it is in passed the gate."""


def _think(state: State, drivers: Drivers, deadline: Deadline) -> list[memory.NewEntry]:
    """Slow part: what to write, with vectors."""
    return memory.prepare(learnt(state), deadline)


def learnt(state: State) -> list[memory.NewEntry]:
    """What completed roles leave behind; nothing when the boundary keeper blocked."""
    guard = state.said("boundary_keeper")
    text = state.text
    if (guard is not None and guard["verdict"] == "block") or boundaries.blocked(text or "", state.blocked_terms):
        return []
    entries: list[memory.NewEntry] = []
    if text is not None and state.said("triage") is not None:
        told, asked = _sorted(text)
        for number, (statement, confidence) in enumerate(told[:STATEMENTS], start=1):
            entries.append(_entry(state, "session", "triage", number, statement, confidence, "statement", "leaf"))
            if state.entity_id is not None:
                entries.append(_entry(state, "entity", "triage", number, statement, confidence, "statement", "branch"))
        if asked:
            entries.append(_entry(state, "session", "triage", STATEMENTS + 1, asked[0], 1.0, "question", "leaf"))
        if _may_be_kept_for_good(state):
            for number, (statement, confidence) in enumerate(told[:FOR_GOOD], start=1):
                kept = boundaries.without_personal_data(statement)
                if confidence >= SURE:
                    entries.append(
                        _entry(state, "institutional", "triage", number, kept, confidence, "statement", "branch")
                    )
    answer = state.said("architect")
    if answer is not None and answer["answer"]:
        confidence = round(float(answer["confidence"]) / 100, 4)
        entries.append(_entry(state, "session", "architect", 1, answer["answer"], confidence, "answer", "leaf"))
    return entries


def _sorted(text: str) -> tuple[list[tuple[str, float]], list[str]]:
    """Statements with how sure they are, and questions; in the order they were said, each once.

    A sentence that leans on the one before ("It stopped because ...") is kept together with it: alone, nobody could
    find or understand it.
    """
    told: dict[str, float] = {}
    asked: dict[str, None] = {}
    before: Sentence | None = None
    for sentence in sentences(text, READ):
        if sentence.asks:
            asked[sentence.text] = None
        elif len(sentence.text) >= SHORTEST and not rules.reads_like_an_instruction(sentence.text):
            whole = sentence.text
            if before is not None and _LEANS.match(whole) and sentence.end - before.start <= KEPT:
                told.pop(before.text, None)
                whole = text[before.start : sentence.end]
                sentence = Sentence(before.start, sentence.end, whole)
            told[whole] = HEDGED if rules.hedged(whole) else REPORTED
        before = sentence
    return list(told.items()), list(asked)


_LEANS = re.compile(
    r"(?:it|its|they|their|he|she|his|her|this|that|these|those|so|then|therefore|however|but|and)\b", re.I
)


def _may_be_kept_for_good(state: State) -> bool:
    """It was sent to be kept, or its answer passed; guardrails held, and no grave objection was raised."""
    if state.failed("boundary_keeper"):
        return False
    devil = state.said("devil")
    if devil is not None and any(each["severity"] == "high" for each in devil["objections"]):
        return False
    score = state.said("scorer")
    return state.intent == "knowledge_ingestion" or (score is not None and score["gate"] == "pass")


def _entry(
    state: State, ring: str, role: str, number: int, text: str, confidence: float, kind: str, level: str
) -> memory.NewEntry:
    return memory.NewEntry(
        ring=ring,
        address_key=state.address_key,
        text=text[:KEPT],
        kind=kind,
        brain_id=state.brain_id,
        session_id=state.session_id if ring == "session" else None,
        entity_id=state.entity_id if ring in ("session", "entity") else None,
        level=level,
        source="chain",
        role=role,
        confidence=confidence,
        trace_id=state.trace_id,
        dedupe_key=f"{state.trace_id}:{role}:{ring}:{number}",
    )


def _note(ctx: Ctx, state: State, entries: list[memory.NewEntry]) -> dict[str, Any]:
    return {"written": [str(entry_id) for entry_id in memory.write(ctx, entries)]}


ROLE = Role(
    name="librarian",
    purpose="Writes what the completed roles have learnt into the memory rings.",
    runs_on="memory",
    failure="The ring write was not committed; memory is not updated.",
    think=_think,
    note=_note,
)
