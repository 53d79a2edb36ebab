"""Models as a foundation: vectors from text, language tasks, speech, images. Every other context asks here.

`configure(settings)` at start-up, `drivers()` in use, `bind(...)` in tests, `warm()` in long-lived workers.
"""

from domain.inference.ports import (
    Completion,
    Deadline,
    Embedder,
    ImageDescriber,
    InvalidOutput,
    LanguageModel,
    Passage,
    Point,
    Task,
    TimedOut,
    Transcriber,
    Usage,
    Vector,
)
from domain.inference.registry import Drivers, bind, configure, drivers
from domain.inference.sentences import Sentence, clean, sentences

__all__ = [
    "Completion",
    "Deadline",
    "Drivers",
    "Embedder",
    "ImageDescriber",
    "InvalidOutput",
    "LanguageModel",
    "Passage",
    "Point",
    "Sentence",
    "Task",
    "TimedOut",
    "Transcriber",
    "Usage",
    "Vector",
    "bind",
    "clean",
    "configure",
    "drivers",
    "sentences",
    "warm",
]


def warm() -> None:
    """Load the models in use: what a worker of the `interactive` queue does before it takes its first job."""
    drivers().warm()
