"""How good the quoting assistant's answers are, over the project's own documents (docs/conversations.md has them)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from domain.inference import Deadline, Source
from domain.inference.drivers.chat_extractive import ExtractiveChat

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("brains.md", "thalium.md", "operations.md", "architecture.md", "contracts.md")
PASSAGES = 8
"""That a search brings for a question."""


@pytest.fixture(scope="module")
def passages(drivers):
    found = []
    for name in DOCUMENTS:
        text = (ROOT / "docs" / name).read_text("utf-8")
        parts = re.split(r"\n(?=#)|\n\n", text)
        chunk = ""
        for part in parts:
            if len(chunk) + len(part) > 900 and chunk:
                found.append((name, chunk))
                chunk = ""
            chunk += part + "\n\n"
        found.append((name, chunk))
    return found, drivers.embedder.embed([text for _, text in found])


@pytest.fixture(scope="module")
def outcomes(drivers, passages):
    found, vectors = passages
    quoting = ExtractiveChat(lambda: drivers.embedder)
    rows = []
    for question in tomllib.loads((Path(__file__).parent / "questions.toml").read_text("utf-8"))["question"]:
        near = vectors @ drivers.embedder.embed([question["text"]])[0]
        best = near.argsort()[::-1][:PASSAGES]
        sources = [Source(n, *found[i], float(near[i])) for n, i in enumerate(best, start=1)]
        quotes = quoting.quotes(question["text"], sources, Deadline(20))
        rows.append((question["text"], question.get("span"), [q.text for q in quotes], [q.worth for q in quotes]))
    return rows


def test_most_answers_hold_the_words_that_answer(outcomes):
    asked = [(q, span, " ".join(quotes)) for q, span, quotes, _ in outcomes if span]
    right = [q for q, span, text in asked if span.lower() in text.lower()]
    assert len(right) / len(asked) >= 0.7, [(q, text[:120]) for q, span, text in asked if q not in right]


def test_what_nothing_supports_is_nearly_always_refused(outcomes):
    unanswerable = [(q, " ".join(quotes)) for q, span, quotes, _ in outcomes if not span]
    refused = [q for q, text in unanswerable if not text]
    assert len(refused) / len(unanswerable) >= 0.9, [(q, text) for q, text in unanswerable if text]


def test_every_answer_is_made_of_quotes(outcomes, passages):
    everything = plain("\n".join(text for _, text in passages[0]))
    for _, _, quotes, _ in outcomes:
        for quote in quotes:
            assert plain(quote) in everything


def plain(text):
    """Without what tables, lists and broken lines put between words."""
    return re.sub(r"[\s|:*>-]+", " ", text).strip()
