"""Devil: argues against the answer, and says how risky it would be to rely on it."""

from __future__ import annotations

from typing import Any

from domain.brains import documents, rules
from domain.brains.roles.role import Role
from domain.brains.state import State
from domain.inference import Deadline, Drivers, Passage, Task, tasks
from domain.inference import sentences as split

INSTRUCTIONS = (
    "You are the devil's advocate of a chain of roles. Find what is wrong with the draft: claims without a source, "
    "contradictions between passages, missing information, unstated assumptions. Each objection in one sentence, with "
    "a severity of low, medium or high. If nothing is wrong, answer with an empty list."
)


def _think(state: State, drivers: Drivers, deadline: Deadline) -> dict[str, Any]:
    answer = state.said("architect")
    assert answer is not None  # needs
    passages = _passages(state, answer, drivers, deadline)
    task = Task(
        kind="challenge",
        instructions=INSTRUCTIONS,
        question=(state.text or "")[:4_000],
        passages=passages,
        schema=tasks.CHALLENGE,
        draft={
            "answer": answer["answer"],
            "sections": answer["sections"],
            "cited": [each["id"] for each in answer["citations"]],
            "open_questions": answer["open_questions"],
        },
    )
    completion = drivers.language(state.plan.model).complete(task, deadline)
    objections = [*_own(state, answer), *tasks.challenge(completion.data)["objections"]]
    objections = [{"text": o["text"][:4000], "severity": o["severity"]} for o in objections][:50]
    return {
        "objections": objections,
        "risk": rules.risk(o["severity"] for o in objections),
        "usage": completion.usage.as_json(),
    }


def _own(state: State, answer: Any) -> list[dict[str, str]]:
    """What is objected to whatever the driver says."""
    found = []
    if answer["unsupported"]:
        named = ", ".join(answer["unsupported"][:4])
        found.append({"text": f"Nothing is cited for: {named}.", "severity": "high"})
    if rules.reads_like_an_instruction(state.text or ""):
        found.append(
            {
                "text": "The input holds text that reads like an instruction to the system. It was treated as data.",
                "severity": "medium",
            }
        )
    if rules.instructing(answer):
        found.append(
            {
                "text": "A quoted document holds text that reads like an instruction to the system. It was treated as "
                "data.",
                "severity": "medium",
            }
        )
    return found


def _passages(state: State, answer: Any, drivers: Drivers, deadline: Deadline) -> tuple[Passage, ...]:
    listener = state.said("listener")
    entries = {} if listener is None else {entry["id"]: entry for entry in listener["entries"]}
    vectors = drivers.embedder.embed([each["quote"] for each in answer["citations"]], deadline)
    made = []
    for each, vector in zip(answer["citations"], vectors, strict=True):
        entry = entries.get(each["entry_id"], {})
        made.append(
            Passage(
                each["id"],
                each["kind"],
                each["quote"],
                each["score"],
                trust=float(entry.get("confidence", 1.0)),
                vector=vector,
                asks=each["kind"] == "input" and any(s.asks for s in split(each["quote"], 1)),
                age_days=float(entry.get("age_days", 0.0)),
                contested=bool(entry.get("contested", False)),
                place=documents.place(each["document"]) if each["kind"] == "document" else "",
            )
        )
    return tuple(made)


ROLE = Role(
    name="devil",
    purpose="Argues against the answer and estimates the risk of relying on it.",
    runs_on="model",
    failure="The output was not stress-tested; treat it as unchallenged.",
    think=_think,
    needs=("architect",),
    instructions=INSTRUCTIONS,
    output=tasks.CHALLENGE,
)
