"""Vectors of passages and questions, by the model of their collection.

The built-in embedder sees about 256 tokens; a longer passage is seen in windows, and its vector is their mean.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from domain import inference
from domain.inference import Deadline, Embedder, InvalidOutput, TimedOut, Vector
from domain.kernel.errors import DomainError, LimitExceeded, Unavailable
from domain.kernel.outgoing import UpstreamFailed
from domain.knowledge.models import DIMENSIONS

if TYPE_CHECKING:
    from domain.knowledge.chunking import Passage

BUILT_IN = "all-MiniLM-L6-v2"
"""What partners read for the built-in embedder."""
WINDOW = 240
"""Tokens of one window."""


REST = 15.0
"""Seconds for which a model that did not answer a question is not asked another: searches go by words meanwhile,
instead of each of them waiting for it."""

_resting: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()


def away(problem: DomainError) -> bool:
    """Whether a model could not be asked, or not be used: nothing that lies in the texts."""
    return isinstance(
        problem, Unavailable | LimitExceeded | TimedOut | InvalidOutput | UpstreamFailed | inference.Refused
    ) or (problem.code == "unavailable")


def built_in() -> str:
    """The name of the platform's own embedder, which is always there."""
    return model_of(inference.drivers().embedder)


def default_model() -> str:
    """The name that new collections keep: the first of the setting `embeddings`."""
    return inference.drivers().for_collections or built_in()


def model_of(embedder: Embedder) -> str:
    return BUILT_IN if embedder.name == "minilm" else embedder.name


def several() -> bool:
    """Whether collections may have another model than the built-in one."""
    return bool(_others())


def embedder(model: str) -> Embedder:
    """The embedder that a collection was made for. Raises `Unavailable` that names the model when it is not set up."""
    for each in (inference.drivers().embedder, *_others().values()):
        if model_of(each) == model:
            if each.dimensions not in DIMENSIONS:
                raise Unavailable(f"Vectors of {each.dimensions} numbers cannot be kept here.")
            return each
    raise Unavailable(f"The embedding model {model} is not set up here. See the setting `embeddings`.", model=model)


def known(model: str) -> bool:
    """Whether a model is set up here. Nothing is loaded and nobody is called."""
    try:
        embedder(model)
    except Unavailable:
        return False
    return True


def _others() -> Mapping[str, Embedder]:
    return inference.drivers().embedders


def of_passages(model: Embedder, passages: Sequence[Passage], deadline: Deadline | None = None) -> list[Any]:
    """A vector of length 1 for each passage. Slow: outside any transaction."""
    import numpy as np

    texts: list[str] = []
    spans: list[tuple[int, int]] = []
    for passage in passages:
        windows = _windows(passage.embedded, passage.tokens) if model.name == "minilm" else [passage.embedded]
        spans.append((len(texts), len(texts) + len(windows)))
        texts.extend(windows)
    vectors = model.embed(texts, deadline)
    made = []
    for start, end in spans:
        vector = vectors[start] if end - start == 1 else vectors[start:end].mean(axis=0)
        length = float(np.linalg.norm(vector))
        made.append(vector / length if length > 1e-6 else vector)
    return made


def of_question(model: Embedder, question: str, deadline: Deadline | None = None) -> Vector:
    """The vector of a question. Slow: outside any transaction. Raises `Unavailable`, at once where the model did not
    answer a moment ago."""
    if time.monotonic() < _resting.get(model, 0.0):
        raise Unavailable(f"The embedding model {model_of(model)} does not answer right now.")
    try:
        vector: Vector = model.embed([question], deadline)[0]
    except DomainError as problem:
        if not away(problem):
            raise
        if model is not inference.drivers().embedder:
            _resting[model] = time.monotonic() + REST
        raise Unavailable(problem.message) from problem
    return vector


def of_question_by(models: Sequence[str], question: str, deadline: Deadline) -> dict[str, Vector]:
    """The vectors of a question by each of `models` that can be asked. Slow: outside any transaction."""
    found: dict[str, Vector] = {}
    for model in dict.fromkeys(models):
        try:
            found[model] = of_question(embedder(model), question, deadline)
        except Unavailable:
            continue  # what was made with a model that is away is found by its words
    return found


def _windows(text: str, tokens: int) -> list[str]:
    count = -(-tokens // WINDOW)
    if count <= 1:
        return [text]
    step = -(-len(text) // count)
    windows, start = [], 0
    while start < len(text):
        end = min(start + step, len(text))
        blank = text.rfind(" ", start + step // 2, end)
        if end < len(text) and blank > start:
            end = blank
        windows.append(text[start:end].strip())
        start = end
    return [window for window in windows if window] or [text]
