"""The extractive assistant: it says nothing of its own. It ranks, groups and quotes what it is given, and says so.

Deterministic: the same task has the same answer. Works without a key, a network or a language model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from domain.inference.ports import Completion, Deadline, Passage, Point, Task, Usage, Vector

KNOWN = 0.40
"""Similarity from which a passage of memory or of a document counts as an answer. Measured on MiniLM: unrelated texts
lie below 0.25, texts on the same subject above 0.4."""
FITS = 0.30
"""Similarity from which a passage speaks about a point."""
QUOTES = 3
PER_SECTION = 4
SAME = 0.92
"""Two passages that are one."""


class Extractive:
    name = "extractive"

    def warm(self) -> None:
        """Nothing to load."""

    def complete(self, task: Task, deadline: Deadline) -> Completion:
        deadline.check()
        data = _answer(task) if task.kind == "answer" else _challenge(task)
        return Completion(data, Usage(self.name))


# --- the answer -----------------------------------------------------------------------------------


def _answer(task: Task) -> dict[str, object]:
    remembered = [p for p in task.passages if p.kind == "memory" and p.score >= KNOWN]
    read = [p for p in task.passages if p.kind == "document" and p.score >= KNOWN]
    told = [p for p in task.passages if p.kind == "input" and not p.asks]
    asked = [p for p in task.passages if p.kind == "input" and p.asks]
    quotes = _diverse([*remembered, *read], QUOTES)
    own = _diverse(told, 2)
    sections = []
    if asked:
        sections.append(_section("What is asked", asked[:PER_SECTION]))
    if remembered:
        sections.append(_section("What is remembered", _diverse(remembered, PER_SECTION + 2)))
    if read:
        sections.append(_section("What documents say", _diverse(read, PER_SECTION)))
    grouped = _by_point(task.points, told)
    covered = _covered(task.points, [*told, *asked, *remembered, *read])
    sections += [_section(point.heading, passages) for point, passages in grouped]
    rest = [p for p in told if not any(p in passages for _, passages in grouped)]
    if rest:
        sections.append(_section("Also said", _diverse(rest, PER_SECTION)))
    open_questions = [point.question for point in task.points if point.heading not in covered]
    return {"answer": _opening(quotes, own, asked), "sections": sections[:8], "open_questions": open_questions}


def _opening(quotes: Sequence[Passage], own: Sequence[Passage], asked: Sequence[Passage]) -> str:
    if quotes:
        groups = (("From memory: ", "memory"), ("From documents: ", "document"))
        kept = [(lead, [p for p in quotes if p.kind == kind]) for lead, kind in groups]
        text = " ".join(lead + " ".join(_quoted(p) for p in passages) for lead, passages in kept if passages)
        return text + (" The input adds: " + " ".join(_quoted(p) for p in own[:1]) if own else "")
    if own:
        return "Memory holds nothing close to this. The input itself says: " + " ".join(_quoted(p) for p in own)
    if asked:
        return "Memory holds nothing that answers this: " + " ".join(_quoted(p) for p in asked[:1])
    return "Memory holds nothing close to this, and the input says nothing that could be quoted."


def _quoted(passage: Passage) -> str:
    place = f" ({passage.place})" if passage.place else ""
    return f"“{passage.text}”{place} [{passage.id}]"


def _section(heading: str, passages: Sequence[Passage]) -> dict[str, object]:
    return {
        "heading": heading,
        "text": "\n".join(_quoted(p) for p in passages),
        "cites": [p.id for p in passages],
    }


def _diverse(passages: Sequence[Passage], count: int) -> list[Passage]:
    """The best `count`, leaving out what repeats a better one (maximal marginal relevance, ties by order)."""
    chosen: list[Passage] = []
    waiting = sorted(passages, key=lambda p: -_worth(p))
    while waiting and len(chosen) < count:
        best = max(
            waiting, key=lambda p: 0.75 * _worth(p) - 0.25 * max((_closeness(p, c) for c in chosen), default=0.0)
        )
        waiting.remove(best)
        if all(_closeness(best, c) < SAME for c in chosen):
            chosen.append(best)
    return chosen


def _worth(passage: Passage) -> float:
    return passage.score * (0.7 + 0.3 * passage.trust)


def _by_point(points: Sequence[Point], told: Sequence[Passage]) -> list[tuple[Point, list[Passage]]]:
    """Each passage under the point it speaks about most, if it speaks about one."""
    groups: dict[str, list[Passage]] = {}
    for passage in told:
        scored = [(_fit(passage, point), point.heading) for point in points]
        if scored and (best := max(scored))[0] >= FITS:
            groups.setdefault(best[1], []).append(passage)
    return [(p, _diverse(groups[p.heading], PER_SECTION)) for p in points if p.heading in groups]


def _covered(points: Sequence[Point], passages: Sequence[Passage]) -> set[str]:
    return {point.heading for point in points if any(_fit(passage, point) >= FITS for passage in passages)}


def _fit(passage: Passage, point: Point) -> float:
    said = bool(point.cue) and re.search(point.cue, passage.text, re.IGNORECASE) is not None
    return max(0.0, _dot(passage.vector, point.vector)) + (FITS if said else 0.0)


def _closeness(a: Passage, b: Passage) -> float:
    return 1.0 if a.text == b.text else _dot(a.vector, b.vector)


def _dot(a: Vector | None, b: Vector | None) -> float:
    return 0.0 if a is None or b is None else float(np.dot(a, b))


# --- the objections -------------------------------------------------------------------------------

_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|probably|possibly|I think|I guess|not sure|might|seems?|apparently|supposedly|roughly)\b", re.I
)
_ABSOLUTE = re.compile(
    r"\b(?:always|never|every ?one|nobody|guarantee[ds]?|impossible|certainly|without (?:any )?risk|100 ?%)\b", re.I
)
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|cannot|without|isn't|aren't|wasn't|don't|doesn't|didn't|won't|can't|shouldn't)\b", re.I
)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,:/-]\d+)*%?")
_DATE = re.compile(r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December|"
                   r"Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)\b", re.I)  # fmt: skip
CONTRADICTS = 0.62
"""Similarity from which two passages speak of the same thing, so that a difference between them is a contradiction."""
STALE_DAYS = 180.0
UNSURE = 0.5


def _challenge(task: Task) -> dict[str, object]:
    cited = set(task.draft.get("cited", ()))
    used = [p for p in task.passages if p.id in cited]
    memory = [p for p in used if p.kind == "memory"]
    known = [p for p in used if p.kind != "input"]
    objections: list[tuple[str, str]] = []

    def object_(severity: str, text: str) -> None:
        objections.append((severity, text))

    if not known and any(p.asks for p in task.passages):
        object_("high", "A question is put and nothing remembered answers it: the answer only repeats the input.")
    elif not known:
        object_("medium", "The answer rests on the input alone; nothing remembered supports it.")
    elif len(known) == 1:
        what = "remembered passage" if memory else "passage of a document"
        object_("medium", f"The answer rests on a single {what} [{known[0].id}].")
    for one, other, why in _contradictions(used):
        object_("high", f"[{one.id}] and [{other.id}] do not agree: {why}.")
    for p in memory:
        if p.contested:
            object_("high", f"[{p.id}] is contested.")
        elif p.trust < UNSURE:
            object_("medium", f"[{p.id}] was itself remembered with little confidence ({p.trust:.2f}).")
        if p.age_days > STALE_DAYS:
            object_("low", f"[{p.id}] is {int(p.age_days)} days old and may no longer hold.")
    hedged = [p for p in used if _HEDGE.search(p.text)]
    if hedged:
        object_(
            "low",
            "Said with reservation, quoted as if it were certain: " + ", ".join(f"[{p.id}]" for p in hedged[:5]) + ".",
        )
    absolute = [p for p in used if not p.asks and _ABSOLUTE.search(p.text)]
    if absolute:
        object_("low", "Claims more than can be shown: " + ", ".join(f"[{p.id}]" for p in absolute[:5]) + ".")
    missing = list(task.draft.get("open_questions", ()))
    if missing:
        severity = "medium" if len(missing) > 1 else "low"
        object_(severity, "Left open: " + " ".join(missing[:4]))
    return {"objections": [{"text": text, "severity": severity} for severity, text in objections[:8]]}


def _contradictions(passages: Sequence[Passage]) -> list[tuple[Passage, Passage, str]]:
    found = []
    for one, other in combinations([p for p in passages if not p.asks][:24], 2):
        if one.text == other.text or _closeness(one, other) < CONTRADICTS:
            continue
        if bool(_NEGATION.search(one.text)) != bool(_NEGATION.search(other.text)):
            found.append((one, other, "one denies what the other says"))
            continue
        figures = set(_NUMBER.findall(one.text)), set(_NUMBER.findall(other.text))
        dates = {d.lower() for d in _DATE.findall(one.text)}, {d.lower() for d in _DATE.findall(other.text)}
        if all(figures) and figures[0].isdisjoint(figures[1]):
            found.append((one, other, "they give different figures"))
        elif all(dates) and dates[0].isdisjoint(dates[1]):
            found.append((one, other, "they give different dates"))
    return found[:3]
