"""Vectors of passages and questions, by the model of their collection.

The built-in embedder sees about 256 tokens; a longer passage is seen in windows, and its vector is their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from domain import inference
from domain.inference import Deadline, Embedder, Vector
from domain.kernel.errors import Unavailable
from domain.knowledge.models import DIMENSIONS

if TYPE_CHECKING:
    from domain.knowledge.chunking import Passage

BUILT_IN = "all-MiniLM-L6-v2"
"""What partners read for the built-in embedder."""
WINDOW = 240
"""Tokens of one window."""


def default_model() -> str:
    """The name that new collections keep: that of the embedder in use."""
    return model_of(inference.drivers().embedder)


def model_of(embedder: Embedder) -> str:
    return BUILT_IN if embedder.name == "minilm" else embedder.name


def embedder(model: str) -> Embedder:
    """The embedder that a collection was made for. Raises `Unavailable` that names the model when it is not set up."""
    drivers = inference.drivers()
    others: dict[str, Embedder] = getattr(drivers, "embedders", {})
    for each in (drivers.embedder, *others.values()):
        if model_of(each) == model:
            if each.dimensions not in DIMENSIONS:
                raise Unavailable(f"Vectors of {each.dimensions} numbers cannot be kept here.")
            return each
    raise Unavailable(f"The embedding model {model} is not set up here. See the setting `embeddings`.", model=model)


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
    """The vector of a question."""
    vector: Vector = model.embed([question], deadline)[0]
    return vector


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
