"""Research: a plan of agents that wait for each other, an evaluator that may have it revised, and a writer who cites.

The plan is a DAG. A model that can plan makes it; otherwise the question is divided at its own seams. Steps are run in
an order in which each comes after those it needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from domain.conversations import events
from domain.conversations.agent_loop import AgentRun, Said
from domain.conversations.turn_state import Equipped, State
from domain.inference import Message
from domain.kernel.errors import DomainError

MOST_STEPS = 8
REVISIONS = 2
FINDING = 6000
"""Characters of a step's findings that others are shown."""
_WORKERS = ("researcher", "document_analyst", "data_analyst")


@dataclass(frozen=True, slots=True)
class Step:
    id: str
    title: str
    agent: str
    depends_on: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"depends_on": list(self.depends_on)}


def play(state: State) -> None:
    steps = _plan(state)
    findings: dict[str, Said] = {}
    _carry_out(state, steps, findings)
    for attempt in range(1, REVISIONS + 1):
        missing = _missing(state, attempt, steps, findings)
        if not missing:
            break
        more = _revised(state, attempt, missing, steps)
        _carry_out(state, more, findings)
        steps = [*steps, *more]
    write(state, steps, findings)


def ordered(steps: Sequence[Step]) -> list[Step]:
    """In an order in which every step comes after those it depends on; what waits for a circle or for nothing that
    there is goes last, without waiting. Pure."""
    left = list(steps)
    known = {step.id for step in steps}
    done: set[str] = set()
    result: list[Step] = []
    while left:
        ready = [step for step in left if all(d in done or d not in known for d in step.depends_on)]
        for step in ready or left[:1]:
            result.append(step)
            done.add(step.id)
            left.remove(step)
    return result


def divided(question: str) -> list[str]:
    """The questions that a question is made of: its sentences, and what it sets side by side. Pure."""
    parts: list[str] = []
    for sentence in re.split(r"(?<=[.?!;])\s+|\n+", question):
        sentence = sentence.strip(" ;")
        if not re.search(r"\w{2}", sentence):
            continue
        found = re.match(r"(?i)\s*compare\s+(.+?)\s+(?:and|with|to|versus|vs\.?)\s+(.+?)[.?!]?\s*$", sentence)
        if found:
            parts += [found[1], found[2]]
            continue
        pieces = re.split(
            r",?\s+(?:and|as well as)\s+(?=(?:what|which|who|when|where|why|how|is|are|does|do)\b)", sentence
        )
        parts += [piece.strip() for piece in pieces if re.search(r"\w{2}", piece)]
    unique = list(dict.fromkeys(parts))
    return unique[: MOST_STEPS - 1] or [question]


def write(state: State, steps: Sequence[Step], findings: Mapping[str, Said], key: str = "write") -> None:
    """The writer puts what was found into one answer."""
    writer = _equipped(state, "writer")
    told = "\n\n".join(
        f"Findings on “{step.title}”:\n{findings[step.id].text[:FINDING]}" for step in steps if step.id in findings
    )
    passages = "\n".join(f"[{s.number}] {s.title}: {s.text}" for s in state.sources.for_model())[:40_000]
    guidance = (
        f"{told}\n\nThe passages, by their numbers:\n{passages}" if getattr(writer.model, "capable", False) else ""
    )
    run = AgentRun(state, writer, key, depth=1, step_id=key, instructions=guidance)
    run.work(state.question, _closed(state))


def _closed(state: State) -> Sequence[Message]:
    """The history; the writer has no tools, and the quoting model needs none to quote what was found."""
    return state.history


def _plan(state: State) -> list[Step]:
    kept = state.journal.done("plan")
    if kept is None:
        steps = [_standing_in(state, step) for step in _thought_out(state) or _by_seams(state.question)]
        kept = {"steps": [step.as_json() for step in steps]}
        shown = [*kept["steps"], _writing(state, steps)]
        with state.journal.writing() as writer:
            writer.step("plan", dict(kept))
            writer.event(events.PLAN_CREATED, message=f"Planned {len(steps) + 1} steps", steps=shown)
    return _steps(kept["steps"])


def _by_seams(question: str) -> list[Step]:
    return [
        Step(f"step_{number}", part[:500], "data_analyst" if _FIGURES.search(part) else "researcher")
        for number, part in enumerate(divided(question), start=1)
    ]


_FIGURES = re.compile(r"\b(?:sql|query the|table|per cent|average|sum of|total of|how many rows)\b", re.I)


def _thought_out(state: State) -> list[Step]:
    """A plan of a model that can make one; empty when it cannot, or its plan is none."""
    planner = _equipped(state, "planner")
    if not getattr(planner.model, "capable", False):
        return []
    asked = (
        f"Question: {state.question}\n\nAgents: {', '.join(_WORKERS)}.\n"
        'Answer with JSON: {"steps": [{"id": "step_1", "title": "...", "agent": "...", "depends_on": []}]}, at most '
        f"{MOST_STEPS} steps."
    )
    said = AgentRun(state, planner, "planning", depth=1, loud=False).work(asked)
    return parsed(said.text)


def parsed(text: str) -> list[Step]:
    """The steps of a plan that a model wrote; what does not fit is left out. Pure."""
    try:
        given = json.loads(text[text.index("{") : text.rindex("}") + 1])["steps"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    steps: list[Step] = []
    for number, each in enumerate(given if isinstance(given, list) else [], start=1):
        if not isinstance(each, dict) or not str(each.get("title") or "").strip():
            continue
        identifier = re.sub(r"[^\w-]", "", str(each.get("id") or ""))[:40] or f"step_{number}"
        if any(step.id == identifier for step in steps):
            identifier = f"{identifier}_{number}"
        agent = str(each.get("agent"))
        waits = each.get("depends_on")
        needs = tuple(str(d)[:64] for d in waits if str(d) != identifier) if isinstance(waits, list) else ()
        steps.append(Step(identifier, str(each["title"])[:500], agent if agent in _WORKERS else "researcher", needs))
    return steps[:MOST_STEPS]


def _carry_out(state: State, steps: Sequence[Step], findings: dict[str, Said]) -> None:
    for number, step in enumerate(ordered(steps)):
        needed = [f"{d}: {findings[d].text[:2000]}" for d in step.depends_on if d in findings]
        guidance = "What earlier steps have found:\n" + "\n".join(needed) if needed else ""
        try:
            equipped = _equipped(state, step.agent)
            run = AgentRun(
                state, equipped, f"step/{step.id}", depth=1, step_id=step.id, loud=False, instructions=guidance
            )
            findings[step.id] = run.work(step.title)
        except DomainError as problem:
            if problem.code in ("timed_out", "rate_limited", "unavailable", "upstream_failed"):
                raise
            findings[step.id] = Said("", "failure")
        _progress(state, step, number, len(steps))


def _progress(state: State, step: Step, number: int, total: int) -> None:
    key = f"progress/{step.id}"
    if state.journal.done(key) is None:
        with state.journal.writing() as writer:
            writer.step(key, {})
            writer.event(
                events.PROGRESS, message=step.title, label=step.title[:500], percent=round(90 * (number + 1) / total)
            )


def _missing(state: State, attempt: int, steps: Sequence[Step], findings: Mapping[str, Said]) -> list[Step]:
    """The evaluator: the steps that have found nothing to rest on."""
    kept = state.journal.done(f"evaluated/{attempt}")
    if kept is None:
        latest = [s for s in steps if s.id.count("_again") == attempt - 1]
        lacking = [s.id for s in latest if not findings[s.id].sources]
        kept = {"missing": lacking}
        with state.journal.writing() as writer:
            writer.step(f"evaluated/{attempt}", kept)
    return [step for step in steps if step.id in kept["missing"]]


def _revised(state: State, attempt: int, missing: Sequence[Step], steps: Sequence[Step]) -> list[Step]:
    more = [
        _standing_in(state, Step(f"{step.id}_again", _other_words(step.title, attempt), "researcher", (step.id,)))
        for step in missing
    ]
    key = f"replanned/{attempt}"
    if state.journal.done(key) is None:
        shown = [*(s.as_json() for s in [*steps, *more]), _writing(state, [*steps, *more])]
        with state.journal.writing() as writer:
            writer.step(key, {})
            writer.event(
                events.REPLAN_TRIGGERED,
                message="The plan is revised",
                reason=f"Nothing was found on {len(missing)} of {len(steps)} questions: they are asked in other words.",
                attempt=attempt,
                steps=shown,
            )
    return more


_SMALL = re.compile(
    r"\b(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|do|does|did|the|a|an|of|for|to|in|on|our|we|us|"
    r"please|show|me|tell|about|explain|describe|give|list|find|and|or|that|this|it)\b",
    re.I,
)


def _other_words(title: str, attempt: int) -> str:
    """The same question as bare words; the second time, as its longest ones."""
    words = re.findall(r"[\w'-]+", _SMALL.sub(" ", title))
    if attempt > 1:
        words = sorted(words, key=len, reverse=True)[:3]
    return " ".join(words) or title


def _writing(state: State, steps: Sequence[Step]) -> dict[str, Any]:
    return _standing_in(state, Step("write", "Write the answer", "writer", tuple(s.id for s in steps))).as_json()


def _steps(rows: Sequence[Mapping[str, Any]]) -> list[Step]:
    return [Step(r["id"], r["title"], r["agent"], tuple(r["depends_on"])) for r in rows]


def _standing_in(state: State, step: Step) -> Step:
    """The step with the agent who is going to do it, so that a plan names nobody who is denied."""
    return replace(step, agent=_equipped(state, step.agent).agent.key)


def _equipped(state: State, key: str) -> Equipped:
    """An agent of the plan; the one who was asked works in place of one that is denied to the asker."""
    try:
        return state.equip(key)
    except DomainError:
        return state.agent
