"""Investigation: explanations are set up, looked into one by one, and supported or dropped; the person may steer.

After the first look the turn pauses for a word of direction (`rules.STEERING_TIME`) and frees its worker; without one
it goes on by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import select

from domain import inference
from domain.conversations import events, rules
from domain.conversations.agent_loop import AgentRun, Said
from domain.conversations.models import MessageRow, Turn
from domain.conversations.modes.research import Step, _equipped, write
from domain.conversations.turn_state import State
from domain.conversations.waiting import Waits
from domain.inference.drivers.chat_extractive import ExtractiveChat
from domain.inference.drivers.extractive import _NEGATION as DENIES

MOST = 4
"""Explanations that are looked into."""
OPEN = 0.5
"""How likely an explanation looks before it was looked into."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    id: str
    statement: str
    status: str = "open"
    confidence: float = OPEN

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def play(state: State) -> None:
    first = _look(state)
    hypotheses = _set_up(state, first)
    word = _steering(state, hypotheses)
    if word:
        hypotheses = _steered(state, hypotheses, word)
    findings = {"look": first}
    steps = [Step("look", state.question[:500], "researcher")]
    for each in list(hypotheses):
        said = _check(state, each, word)
        judged = _judged(state, each, said)
        hypotheses = [judged if h.id == each.id else h for h in hypotheses]
        _tell(state, f"judged/{each.id}", hypotheses)
        findings[each.id] = said
        steps.append(Step(each.id, each.statement[:500], "researcher"))
    write(state, steps, findings)


def _look(state: State) -> Said:
    run = AgentRun(state, _equipped(state, "researcher"), "look", depth=1, step_id="look", loud=False)
    return run.work(state.question)


def _set_up(state: State, first: Said) -> list[Hypothesis]:
    kept = state.journal.done("hypotheses")
    if kept is None:
        statements = _thought_of(state, first) or _quoted(state)
        kept = {"statements": statements[:MOST]}
        with state.journal.writing() as writer:
            writer.step("hypotheses", dict(kept))
            found = _fresh(kept["statements"])
            writer.event(
                events.HYPOTHESES_UPDATED,
                message=f"{len(found)} explanations to look into",
                hypotheses=[h.as_json() for h in found],
            )
    return _fresh(kept["statements"])


def _fresh(statements: Sequence[str]) -> list[Hypothesis]:
    return [Hypothesis(f"h{n}", text[:2000]) for n, text in enumerate(statements, start=1)]


def _thought_of(state: State, first: Said) -> list[str]:
    equipped = _equipped(state, "planner")
    if not getattr(equipped.model, "capable", False):
        return []
    asked = (
        f"Question: {state.question}\n\nFound so far:\n{first.text[:6000]}\n\nName two to {MOST} explanations that "
        'could be checked against documents. Answer with JSON: {"hypotheses": ["...", "..."]}.'
    )
    said = AgentRun(state, equipped, "supposing", depth=1, loud=False).work(asked)
    try:
        given = json.loads(said.text[said.text.index("{") : said.text.rindex("}") + 1])["hypotheses"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return [str(each).strip() for each in given if str(each).strip()] if isinstance(given, list) else []


def _quoted(state: State) -> list[str]:
    """What the passages themselves offer as explanations: the sentences nearest to the question."""
    quoting = ExtractiveChat(lambda: inference.drivers().embedder)
    return [quote.text for quote in quoting.quotes(state.question, state.sources.for_model(), state.deadline)]


def _steering(state: State, hypotheses: Sequence[Hypothesis]) -> str | None:
    """A word of direction, if the person gives one in time."""
    kept = state.journal.done("steered")
    if kept is None:
        if not hypotheses or state.options.get("steering") is False:
            return None
        with state.journal.work.transaction() as ctx:
            decision = ctx.session.scalar(select(Turn.decision).where(Turn.id == state.turn_id))
        if decision is None or "text" not in decision:
            raise Waits(
                "steering",
                rules.STEERING_TIME,
                events.STEERING_REQUIRED,
                message="Which of these should be looked into first? Say a word, or wait.",
                question="Which of these should be looked into first, or is there another explanation?",
                hypotheses=[h.as_json() for h in hypotheses],
            )
        kept = {"text": decision["text"]}
        with state.journal.writing() as writer:
            writer.step("steered", dict(kept))
            writer.event(events.STEERED, message="Going on", text=kept["text"])
            writer.ctx.session.get_one(Turn, state.turn_id).decision = None
            writer.ctx.session.get_one(MessageRow, state.turn_id).status = "streaming"
    return None if kept["text"] is None else str(kept["text"])


def _steered(state: State, hypotheses: Sequence[Hypothesis], word: str) -> list[Hypothesis]:
    """What the person says is an explanation of its own, and the first to be looked into."""
    own = Hypothesis("h0", word[:2000], confidence=OPEN + 0.1)
    result = [own, *hypotheses][: MOST + 1]
    _tell(state, "steered_hypotheses", result)
    return result


def _check(state: State, hypothesis: Hypothesis, word: str | None) -> Said:
    run = AgentRun(
        state,
        _equipped(state, "researcher"),
        f"check/{hypothesis.id}",
        depth=1,
        step_id=hypothesis.id,
        loud=False,
        instructions=f"The person has said: {word}" if word else "",
    )
    return run.work(f"{hypothesis.statement} {state.question}"[:2000])


def _judged(state: State, hypothesis: Hypothesis, said: Said) -> Hypothesis:
    """Supported by passages of at least two sources, refuted where they deny it, else inconclusive."""
    key = f"judged/{hypothesis.id}/as"
    kept = state.journal.done(key)
    if kept is None:
        quoting = ExtractiveChat(lambda: inference.drivers().embedder)
        quotes = quoting.quotes(hypothesis.statement, state.sources.for_model(said.sources), state.deadline)
        backing = [q for q in quotes if bool(DENIES.search(q.text)) == bool(DENIES.search(hypothesis.statement))]
        against = len(quotes) - len(backing)
        others = {q.source.number for q in backing if q.text.strip() != hypothesis.statement.strip()}
        if against > len(backing):
            status, confidence = "refuted", 0.15
        elif backing and (others or len({q.source.number for q in backing}) > 1):
            status, confidence = "supported", min(0.9, 0.55 + 0.1 * len(backing))
        else:
            status, confidence = "inconclusive", 0.4 if backing else 0.25
        kept = {"status": status, "confidence": round(confidence, 2)}
        with state.journal.writing() as writer:
            writer.step(key, dict(kept))
    return replace(hypothesis, status=str(kept["status"]), confidence=float(kept["confidence"]))


def _tell(state: State, key: str, hypotheses: Sequence[Hypothesis]) -> None:
    if state.journal.done(key) is not None:
        return
    left = sum(h.status in ("open", "supported") for h in hypotheses)
    with state.journal.writing() as writer:
        writer.step(key, {})
        writer.event(
            events.HYPOTHESES_UPDATED,
            message=f"{left} of {len(hypotheses)} explanations left",
            hypotheses=[h.as_json() for h in hypotheses],
        )
