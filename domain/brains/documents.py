"""The documents of a brain's organisation, as the architect's tool: what everybody in the organisation may see, across
all surfaces.

`look_up` searches for the invocation, `quotable` chooses the stretches that an answer may quote, `missing` says which
documents are no longer to be seen. A brain has no person behind it and its answers are read by whoever asks, so what is
personal or a group's own is not reached; nor are collections that are not to be drawn on unasked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import event, text

from domain import knowledge
from domain.brains import triage
from domain.brains.state import State
from domain.inference import Deadline, Embedder, TimedOut, Vector, sentences
from domain.kernel.context import Ctx, Work

T = TypeVar("T")
Slowly = Callable[[Callable[[Deadline], T]], T]
"""Runs a slow step outside any transaction, and leaves it behind when its time is over."""

LOOKED_AT = 8
"""Passages of the search that are looked at."""
NEAR = 0.25
"""Scores below are texts that have nothing to do with each other (measured on MiniLM, see the extractive driver)."""
QUOTED = 6
STRETCH = 280
"""Characters of a stretch, as far as its sentences allow."""
WEIGHED = 3
"""Stretches of a passage that are embedded: those with most of the question's words."""
NAMED = 0.2
"""Added to the similarity of a passage that holds all words of the question: vectors alone confuse like with same."""
WHOLE = 0.9
"""A stretch is at least this close as the passage it stands in."""


@dataclass(frozen=True, slots=True)
class Quotable:
    """A stretch of a document. `source` is what partners read of where it stands."""

    source: Mapping[str, Any]
    place: str
    text: str
    score: float
    vector: Vector


def look_up(work: Work, state: State, slowly: Slowly[Any], deadline: Deadline) -> list[dict[str, Any]]:
    """The passages nearest to the input, the best first. Raises whatever the search or the database raise."""
    if state.text is None:
        return []
    about = triage.focus(state.text)
    models = knowledge.asking.models_in_reach(work.transaction, knowledge.access.EVERYBODY, research=True)
    if not models:
        return []
    vectors = slowly(lambda limit: knowledge.asking.vectors_by(models, about, limit))
    with work.transaction() as ctx:
        _bound(ctx, deadline)
        found = knowledge.search(
            ctx,
            _words(state.text, about),
            vector=vectors,
            eyes=knowledge.access.EVERYBODY,
            research=True,
            limit=LOOKED_AT,
            min_score=NEAR,
            highlight=False,
        )
        comparable = knowledge.asking.by_the_built_in(models)
        return [_found(passage, comparable) for passage in found.passages]


def warm() -> None:
    """Load what a search needs, so that the first invocation of a process does not wait for it."""
    _ = knowledge.search, knowledge.asking, knowledge.access


def missing(ctx: Ctx, ids: Sequence[str]) -> set[str]:
    """Those of the documents that were deleted or withdrawn since."""
    wanted = [UUID(each) for each in dict.fromkeys(ids)]
    there = knowledge.in_reach(ctx, wanted, knowledge.access.EVERYBODY, research=True)
    return {str(each) for each in wanted if each not in there}


def quotable(
    found: Sequence[Mapping[str, Any]], question: str, heading: Vector, embedder: Embedder, deadline: Deadline
) -> list[Quotable]:
    """The stretches that bear on the question, one of each passage, the closest first."""
    wanted = triage.keywords(question)
    candidates = [(passage, stretch) for passage in found for stretch in _weighed(passage["text"], wanted)]
    vectors = embedder.embed([stretch.text for _, stretch in candidates], deadline)
    best: dict[str, tuple[float, Quotable]] = {}
    for (passage, stretch), vector in zip(candidates, vectors, strict=True):
        alike, named = float(vector @ heading), NAMED * share(wanted, stretch.text)
        known = best.get(passage["chunk_id"])
        if known is None or alike + named > known[0]:
            source = passage["source"]
            if stretch.heading is not None:
                source = {**source, "heading": stretch.heading[:500]}
            score = min(1.0, max(0.0, max(alike, WHOLE * passage["similarity"]) + named))
            best[passage["chunk_id"]] = alike + named, Quotable(source, place(source), stretch.text, score, vector)
    return sorted((q for _, q in best.values() if q.score >= NEAR), key=lambda q: -q.score)[:QUOTED]


def place(source: Mapping[str, Any]) -> str:
    """Where it stands, for a reader: `Handbook, page 3` or `Prices, sheet 2026, A2:C9`."""
    parts = [str(source["title"])]
    first, last = source["page"], source["last_page"]
    if first is not None:
        parts.append(f"page {first}" if last in (None, first) else f"pages {first}-{last}")
    if source["sheet"] is not None:
        parts.append(f"sheet {source['sheet']}")
    if source["cells"] is not None:
        parts.append(str(source["cells"]))
    if source["seconds"] is not None:
        minutes, seconds = divmod(int(source["seconds"]), 60)
        parts.append(f"at {minutes}:{seconds:02}")
    if len(parts) == 1 and source["heading"] is not None and source["heading"] != source["title"]:
        parts.append(str(source["heading"]))
    return " ".join(", ".join(parts).split())[:200]


def share(wanted: frozenset[str], said: str) -> float:
    """Of the question's words, those that are in what was said."""
    return len(wanted & triage.keywords(said)) / len(wanted) if wanted else 0.0


def _words(whole: str, about: str) -> str:
    """What is looked for by its words: the questions, where they name something."""
    asked = " ".join(each.text for each in sentences(whole, triage.SENTENCES) if each.asks)[: triage.LEAD]
    return asked if len(triage.keywords(asked)) > 1 else about


def _bound(ctx: Ctx, deadline: Deadline) -> None:
    """No statement of this transaction runs past the deadline, and none begins behind it."""
    connection = ctx.session.connection()
    milliseconds = max(1, int(deadline.remaining() * 1000))
    connection.execute(text("SELECT set_config('statement_timeout', :limit, true)"), {"limit": str(milliseconds)})

    def check(*_: Any) -> None:
        if deadline.over:
            raise TimedOut

    event.listen(connection, "before_cursor_execute", check)


def _found(passage: knowledge.Passage, comparable: bool) -> dict[str, Any]:
    """`comparable`: its similarity is by the model that weighs everything else here; another's is no common measure."""
    at = passage.citation.position
    cells, sheet, seconds = passage.citation.cells, passage.citation.sheet, at.get("seconds")
    url = passage.citation.url
    return {
        "chunk_id": str(passage.chunk_id),
        "text": passage.text,
        "similarity": float(passage.similarity or 0.0) if comparable else 0.0,
        "source": {
            "id": str(passage.document_id),
            "title": passage.title[:300],
            "page": passage.citation.page,
            "last_page": at.get("last_page", passage.citation.page),
            "heading": None if passage.citation.heading is None else passage.citation.heading[:500],
            "sheet": None if sheet is None else sheet[:255],
            "cells": None if cells is None else cells[:64],
            "seconds": None if seconds is None else round(float(seconds), 3),
            "url": None if url is None or len(url) > 2048 else url,
        },
    }


@dataclass(frozen=True, slots=True)
class _Stretch:
    """`heading` is the one above it within its passage, where there is one."""

    text: str
    heading: str | None


def _weighed(passage: str, wanted: frozenset[str]) -> list[_Stretch]:
    """The stretches of a passage that hold most of the question's words, in its order."""
    stretches = _stretches(passage)
    order = sorted(range(len(stretches)), key=lambda n: (-share(wanted, stretches[n].text), n))
    return [stretches[n] for n in sorted(order[:WEIGHED])]


def _stretches(passage: str) -> list[_Stretch]:
    """Neighbouring sentences together, word for word: one alone often leans on the one before."""
    blocks = list(_BLOCK.finditer(passage))
    found: list[_Stretch] = []
    heading: str | None = None
    start = end = 0

    def cut() -> None:
        nonlocal start, end
        if end:
            found.append(_Stretch(passage[start:end], heading))
        start = end = 0

    for block, following in zip_longest(blocks, blocks[1:]):
        if following is not None and _heads(block[0], following[0]):
            cut()
            heading = block[0].strip()
            continue
        for sentence in sentences(block[0], 200):
            if end and block.start() + sentence.end - start > STRETCH:
                cut()
            start = start if end else block.start() + sentence.start
            end = block.start() + sentence.end
        if end - start >= STRETCH // 4:
            cut()
    cut()
    return found or [_Stretch(each.text, None) for each in sentences(passage, 1)]


_BLOCK = re.compile(r"\S[^\n]*(?:\n[^\n]*\S[^\n]*)*")
_ENDED = re.compile(r"[.!?:;,…]['\"”’)]*$")


def _heads(block: str, following: str) -> bool:
    """A line of its own that ends like no sentence, above prose or another heading."""

    def line(text: str) -> bool:
        return "\n" not in text and len(text) <= 120 and not _ENDED.search(text)

    return line(block) and (line(following) or _ENDED.search(following) is not None)
