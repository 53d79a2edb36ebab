"""Boundary keeper: blocked terms, length, personal data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.brains import boundaries, rules
from domain.brains.roles.role import Role
from domain.brains.state import State
from domain.inference import Deadline, Drivers


def _think(state: State, drivers: Drivers, deadline: Deadline) -> dict[str, Any]:
    text = state.text or ""
    findings: list[boundaries.Finding] = []
    answered = spoken(state)
    hits = boundaries.blocked("\n".join([text, *answered]), state.blocked_terms)
    if hits:
        findings.append(boundaries.Finding("blocked_term", hits))
    deadline.check()
    if len(text) > boundaries.MAX_UNREMARKED:
        findings.append(boundaries.Finding("length", 1))
    if state.removed_characters:
        findings.append(boundaries.Finding("control_characters", state.removed_characters))
    if rules.reads_like_an_instruction(text):
        findings.append(boundaries.Finding("instruction_in_input", 1))
    misled = rules.instructing(state.said("architect"))
    if misled:
        findings.append(boundaries.Finding("instruction_in_document", misled))
    findings += boundaries.personal_data("\n".join([text, *answered]))
    verdict = "block" if hits else ("warn" if findings else "pass")
    return {"verdict": verdict, "findings": [{"rule": f.rule, "count": min(f.count, 1_000_000)} for f in findings]}


def spoken(state: State) -> list[str]:
    """Everything the roles have said so far that a partner would read."""
    answer, devil = state.said("architect"), state.said("devil")
    said: list[str] = []
    if answer is not None:
        said += [answer["answer"], *answer["open_questions"], *(each["quote"] for each in answer["citations"])]
        said += [
            each["document"][part] or "" for each in _documents(answer) for part in ("title", "heading", "sheet", "url")
        ]
        said += [part for each in answer["sections"] for part in (each["heading"], each["text"])]
    if devil is not None:
        said += [each["text"] for each in devil["objections"]]
    return said


def _documents(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in answer["citations"] if each["kind"] == "document"]


ROLE = Role(
    name="boundary_keeper",
    purpose="Holds input and answer against the brain's boundaries: blocked terms, length, personal data.",
    runs_on="rules",
    failure="The guardrails were not applied; surface the answer for human review.",
    think=_think,
)
