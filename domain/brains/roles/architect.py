"""Architect: the structured answer, each part of it citing memory, a document or the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np

from domain import memory
from domain.brains import documents, rules, triage
from domain.brains.roles.role import Outdated, Role
from domain.brains.state import State
from domain.inference import Deadline, Drivers, Passage, Point, Sentence, Task, Vector, sentences, tasks
from domain.kernel.context import Ctx
from domain.kernel.errors import Unprocessable

OWN = 48
"""Sentences of the input that are weighed; of a longer one its beginning, its questions and what is nearest to them."""
READ = 4_000
"""Sentences of the input that are looked at at all."""
FROM_ENTRY = 2
GUIDANCE = 0.5
"""Baseline guidance is quoted only when it fits this well: it is not knowledge of the matter."""

NAMED = documents.NAMED
WHOLE = documents.WHOLE
"""A sentence is at least this close as the entry it stands in: one that leans on another is not lost."""

INSTRUCTIONS = (
    "You are the architect of a chain of roles. Answer the question in a few plain sentences, then in sections with "
    "short headings. Use only the passages. Prefer passages from memory (m1, m2, ...) and documents (d1, d2, ...) to "
    "those of the input (i1, ...). If the passages do not answer the question, say so. Put what would have to be known "
    "into open_questions."
)


def _think(state: State, drivers: Drivers, deadline: Deadline) -> dict[str, Any]:
    text = state.text
    if text is None:
        raise Unprocessable("There is no text to answer.")
    about = triage.focus(text)
    heading = drivers.embedder.embed([about], deadline)[0]
    own, offsets = _of_input(text, heading, drivers, deadline)
    asked = [p.text for p in own if p.asks]
    remembered, sources = _of_memory(state, " ".join(asked) or about, heading, drivers, deadline)
    read, places = _of_documents(state, " ".join(asked) or about, heading, drivers, deadline)
    points = _points(state.intent, drivers, deadline)
    # By turns, so that where a model reads only the beginning neither pushes the other out.
    known = [p for pair in zip_longest(remembered, read) for p in pair if p is not None]
    passages = (*known, *own)
    task = Task(
        kind="answer",
        instructions=INSTRUCTIONS,
        question=" ".join(asked[:6]) or about,
        passages=tuple(replace(p, text=rules.unmarked(p.text), place=rules.unmarked(p.place)) for p in passages),
        schema=tasks.ANSWER,
        points=points,
    )
    model = drivers.language(state.plan.model)
    completion = model.complete(task, deadline)
    material = _Material({p.id: p for p in passages}, offsets, sources, places)
    checked = _checked(tasks.answer(completion.data), material)
    return checked | {
        "usage": completion.usage.as_json(),
        "without": [] if state.documents is not None else ["documents"],
    }


def _note(ctx: Ctx, state: State, thought: dict[str, Any]) -> dict[str, Any]:
    """A document that was deleted or withdrawn while the model thought is not cited."""
    cited = [each["document"]["id"] for each in thought["citations"] if each["kind"] == "document"]
    if documents.missing(ctx, cited):
        raise Outdated
    return thought


@dataclass(frozen=True, slots=True)
class _Material:
    """What the answer may cite, word for word, and where each of it stands."""

    passages: Mapping[str, Passage]
    offsets: Mapping[str, Sentence]
    entries: Mapping[str, Mapping[str, Any]]
    documents: Mapping[str, documents.Quotable]


def _checked(answer: dict[str, Any], material: _Material) -> dict[str, Any]:
    """The answer with only such citations as exist, each with the words it points to."""
    passages = material.passages

    def marked(text: str, cites: Sequence[str]) -> str:
        text = rules.MARK.sub(lambda match: match[0] if match[1] in passages else "", text).strip()
        missing = [c for c in dict.fromkeys(cites) if c in passages and f"[{c}]" not in text]
        return " ".join([text, *(f"[{c}]" for c in missing)])

    sections = [
        {"heading": each["heading"].strip()[:200] or "Answer", "text": marked(each["text"], each["cites"])}
        for each in answer["sections"]
        if each["text"].strip()
    ]
    opening = marked(answer["answer"], ())
    marks = rules.cited([opening, *(each["text"] for each in sections)])
    parts = [opening, *(each["text"] for each in sections)]
    grounding = sum(1 for part in parts if rules.MARK.search(part)) / len(parts)
    citations = [_citation(passages[mark], material) for mark in marks]
    return {
        "answer": opening,
        "sections": sections,
        "citations": citations,
        "open_questions": [question.strip() for question in answer["open_questions"] if question.strip()][:6],
        "unsupported": [each["heading"] for each in sections if not rules.MARK.search(each["text"])],
        "confidence": rules.architect_confidence(_evidence(material, citations, grounding, answer)),
    }


def _citation(passage: Passage, material: _Material) -> dict[str, Any]:
    place, source = material.offsets.get(passage.id), material.entries.get(passage.id)
    document = material.documents.get(passage.id)
    return {
        "id": passage.id,
        "kind": passage.kind,
        "quote": (passage.text if document is None else document.text)[:4000],
        "entry_id": source["id"] if source else None,
        "start": place.start if place else None,
        "end": place.end if place else None,
        "score": round(min(1.0, max(0.0, passage.score)), 4),
        **({} if document is None else {"document": dict(document.source)}),
    }


def _evidence(
    material: _Material, citations: Sequence[dict[str, Any]], grounding: float, answer: dict[str, Any]
) -> rules.Evidence:
    own = [p for p in material.passages.values() if p.kind == "input"]
    known = [each for each in citations if each["kind"] != "input"]
    trusts = [material.passages[each["id"]].trust for each in known]
    return rules.Evidence(
        asks=any(p.asks for p in own),
        tells=any(not p.asks for p in own),
        best=max((each["score"] for each in known), default=0.0),
        trust=sum(trusts) / len(trusts) if trusts else 0.0,
        sources=len({each["entry_id"] or each["document"]["id"] for each in known}),
        grounding=grounding,
        open_points=len(answer["open_questions"]),
    )


def _of_input(
    text: str, heading: Vector, drivers: Drivers, deadline: Deadline
) -> tuple[list[Passage], dict[str, Sentence]]:
    found = sentences(text, READ)
    chosen = _weighed(found)
    vectors = drivers.embedder.embed([s.text for s in chosen], deadline)
    passages = [
        Passage(f"i{n}", "input", s.text, float(v @ heading), vector=v, asks=s.asks)
        for n, (s, v) in enumerate(zip(chosen, vectors, strict=True), start=1)
    ]
    return passages, {p.id: s for p, s in zip(passages, chosen, strict=True)}


def _weighed(found: list[Sentence]) -> list[Sentence]:
    if len(found) <= OWN:
        return found
    keep = dict.fromkeys(range(OWN // 2))
    keep |= dict.fromkeys([n for n, s in enumerate(found) if s.asks][: OWN // 4])
    words = {w for n in keep for w in found[n].text.lower().split() if len(w) > 4}
    near = sorted(
        (n for n in range(len(found)) if n not in keep),
        key=lambda n: (-len(words & set(found[n].text.lower().split())), n),
    )
    keep |= dict.fromkeys(near[: OWN - len(keep)])
    return [found[n] for n in sorted(keep)]


def _of_memory(
    state: State, question: str, heading: Vector, drivers: Drivers, deadline: Deadline
) -> tuple[list[Passage], dict[str, dict[str, Any]]]:
    """The best sentences of the recalled entries. A question that was once asked is no evidence."""
    listener = state.said("listener")
    entries = (
        []
        if listener is None
        else [e for e in listener["entries"] if e["kind"] == "statement" or e["similarity"] >= GUIDANCE]
    )
    parts = [(entry, s) for entry in entries for s in sentences(entry["text"], 40) if not s.text.endswith("?")]
    vectors = drivers.embedder.embed([s.text for _, s in parts], deadline)
    taken: dict[str, int] = {}
    wanted = triage.keywords(question)
    ranked = sorted(
        (
            (
                max(float(v @ heading), WHOLE * entry["similarity"]) + NAMED * documents.share(wanted, s.text),
                entry,
                s,
                v,
            )
            for (entry, s), v in zip(parts, vectors, strict=True)
        ),
        key=lambda each: (-(0.8 * each[0] + 0.2 * each[1]["score"]), each[1]["id"], each[2].start),
    )
    passages: list[Passage] = []
    sources: dict[str, dict[str, Any]] = {}
    for similarity, entry, sentence, vector in ranked:
        if taken.get(entry["id"], 0) >= FROM_ENTRY:
            continue
        taken[entry["id"]] = taken.get(entry["id"], 0) + 1
        name = f"m{len(passages) + 1}"
        sources[name] = entry
        passages.append(
            Passage(
                name,
                "memory",
                sentence.text,
                min(1.0, max(0.0, similarity)),
                trust=float(entry["confidence"]),
                vector=np.asarray(vector),
                age_days=float(entry["age_days"]),
                contested=bool(entry["contested"]),
            )
        )
    return passages, sources


def _of_documents(
    state: State, question: str, heading: Vector, drivers: Drivers, deadline: Deadline
) -> tuple[list[Passage], dict[str, documents.Quotable]]:
    found = documents.quotable(state.documents or (), question, heading, drivers.embedder, deadline)
    places = {f"d{number}": each for number, each in enumerate(found, start=1)}
    passages = [
        Passage(name, "document", " ".join(q.text.split()), q.score, vector=q.vector, place=q.place)
        for name, q in places.items()
    ]
    return passages, places


def _points(intent: str, drivers: Drivers, deadline: Deadline) -> tuple[Point, ...]:
    wanted = [each for each in memory.BASELINE if each.intent == intent]
    vectors = drivers.embedder.embed([f"{each.point}. {each.question}" for each in wanted], deadline)
    return tuple(Point(each.point, each.question, each.cue, v) for each, v in zip(wanted, vectors, strict=True))


ROLE = Role(
    name="architect",
    purpose="Drafts the structured answer, with citations of what was recalled, of documents and of the input.",
    runs_on="model",
    failure="There is no answer; what the other roles found is kept.",
    think=_think,
    look=documents.look_up,
    note=_note,
    instructions=INSTRUCTIONS,
    output=tasks.ANSWER,
)
