"""Choosing by likeness: which of several descriptions a text is nearest to. The vectors of descriptions are made once a
process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from domain import inference
from domain.inference import Deadline, Vector

_known: dict[tuple[str, ...], Vector] = {}
_lock = threading.Lock()


def nearest(text: str, choices: Mapping[str, Sequence[str]], deadline: Deadline) -> list[tuple[str, float]]:
    """The names of `choices` with how near the nearest of their examples is to `text`, the nearest first."""
    examples = tuple(example for each in choices.values() for example in each)
    embedder = inference.drivers().embedder
    with _lock:
        vectors = _known.get(examples)
    if vectors is None:
        vectors = embedder.embed(examples, deadline)
        with _lock:
            if len(_known) > 64:
                _known.clear()
            _known[examples] = vectors
    near = vectors @ embedder.embed([text[:1000]], deadline)[0]
    scored = []
    at = 0
    for name, each in choices.items():
        scored.append((name, round(float(near[at : at + len(each)].max()), 4)))
        at += len(each)
    return sorted(scored, key=lambda pair: -pair[1])
