"""What an input asks for and where it belongs: intent, scope, domain, specificity, by resemblance and by cue words.

Runs on the embedder alone, in tens of milliseconds: comparing with examples is right more often than a small language
model, and always gives the same answer.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from domain.brains import intents
from domain.inference import Deadline, Embedder, Sentence, Vector, sentences
from domain.memory import AddressKey, label

LEAD = 600
"""Characters from the start of an input that say what it is about."""
SENTENCES = 2_000
"""Sentences looked at for the questions in them; a longer input has had its say."""
TERMS = 16
SAYS_SOMETHING = 5
"""Words from which a statement that resembles nothing is still one that can be kept."""
TEMPERATURE = 0.06


@dataclass(frozen=True, slots=True)
class Reading:
    address: AddressKey
    confidence: float
    vector: Vector


def focus(text: str) -> str:
    """The part of `text` that stands for it: its beginning and its first questions."""
    if len(text) <= LEAD:
        return text
    lead = text[:LEAD]
    asked = [s.text for s in sentences(text[LEAD:], SENTENCES) if s.text.endswith("?")]
    return " ".join([lead, *asked[:3]])


def read(text: str, entity_id: str | None, embedder: Embedder, deadline: Deadline) -> Reading:
    """Classify `text`. Deterministic."""
    about = focus(text)
    vector = embedder.embed([about], deadline)[0]
    parts = sentences(about)
    intent, confidence = _intent(about, parts, vector, embedder, deadline)
    scope = _scope(about, entity_id)
    domain = _domain(about, vector, embedder, deadline)
    return Reading(
        AddressKey(intent, scope, domain, _specificity(about, domain, vector, embedder, deadline)), confidence, vector
    )


def _intent(
    about: str, parts: list[Sentence], vector: Vector, embedder: Embedder, deadline: Deadline
) -> tuple[str, float]:
    examples = [(name, example) for name, group in intents.EXAMPLES.items() for example in group]
    known = embedder.embed([example for _, example in examples], deadline)
    # The input as a whole, and the one sentence that asks: a long story before a short question must not hide it.
    asked = [part.text for part in parts if part.asks][:3]
    views = np.vstack([vector[None, :], embedder.embed(asked, deadline)]) if asked else vector[None, :]
    likeness = (views @ known.T).max(axis=0)
    scores: dict[str, float] = {}
    best = 0.0
    for name in intents.EXAMPLES:
        alike = sorted(
            (float(s) for s, (owner, _) in zip(likeness, examples, strict=True) if owner == name), reverse=True
        )
        best = max(best, alike[0])
        scores[name] = 0.7 * alike[0] + 0.3 * sum(alike[:3]) / 3
        if intents.CUES[name].search(about):
            scores[name] += intents.CUE
    if parts and not any(part.asks for part in parts):
        scores["knowledge_ingestion"] += intents.TOLD
        for name in intents.ASKED:
            scores[name] -= intents.NOT_ASKED
    if best < intents.UNCLEAR and not any(cue.search(about) for cue in intents.CUES.values()):
        told = not any(part.asks for part in parts) and len(about.split()) >= SAYS_SOMETHING
        return "knowledge_ingestion" if told else "intent_clarification", round(max(0.0, best), 4)
    top = max(scores.values())
    weights = {name: math.exp((score - top) / TEMPERATURE) for name, score in scores.items()}
    chosen = max(scores, key=lambda name: (scores[name], -list(scores).index(name)))
    return chosen, round(weights[chosen] / sum(weights.values()), 4)


def _scope(about: str, entity_id: str | None) -> str:
    for name, cue in intents.SCOPE_CUES:
        if name == "project" and cue.search(about):
            return name
    if entity_id is not None:
        return "entity"
    for name, cue in intents.SCOPE_CUES:
        if cue.search(about):
            return name
    return "global"


def _domain(about: str, vector: Vector, embedder: Embedder, deadline: Deadline) -> str:
    terms = [(name, term) for name, group in intents.DOMAINS.items() for term in group]
    likeness = embedder.embed([term for _, term in terms], deadline) @ vector
    text = " " + " ".join(_stem(word) for word in re.findall(r"[a-z0-9-]+", about.lower())) + " "
    scores: dict[str, float] = {}
    for name in intents.DOMAINS:
        alike = sorted((float(s) for s, (owner, _) in zip(likeness, terms, strict=True) if owner == name), reverse=True)
        named = sum(1 for term in intents.DOMAINS[name] if f" {' '.join(map(_stem, term.split()))} " in text)
        scores[name] = (alike[0] + alike[1]) / 2 + intents.NAMED * min(named, 3)
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= intents.KNOWN_DOMAIN else "general"


_FUNCTION = intents.COMMON - intents.CALENDAR
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]{3,29}")


def _specificity(about: str, domain: str, vector: Vector, embedder: Embedder, deadline: Deadline) -> str:
    """The word that says most: near to the whole, repeated, and not the domain's own name."""
    words = [word.lower() for word in _WORD.findall(about)]
    words = [word for word in words if word not in intents.COMMON and _stem(word) != _stem(domain)]
    words = [word for word in words if not word.endswith(("ed", "ing"))] or words
    if not words:
        return "general"
    counted = Counter(words)
    candidates = list(dict.fromkeys(words))[:TERMS]
    likeness = embedder.embed(candidates, deadline) @ vector
    worth = [float(s) + 0.05 * min(counted[w] - 1, 4) for s, w in zip(likeness, candidates, strict=True)]
    return label(_stem(candidates[int(np.argmax(worth))]))


def keywords(text: str) -> frozenset[str]:
    """The words and figures of `text` that say something, without inflection."""
    found = re.findall(r"[a-z0-9][a-z0-9-]+", text.lower())
    return frozenset(_stem(w) for w in found if (len(w) > 3 or w[0].isdigit()) and w not in _FUNCTION)


def _stem(word: str) -> str:
    """Without the plural's s, so that one thing and many have one address."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
