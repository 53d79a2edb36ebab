"""What the domain asks of models: turning text into vectors, carrying out a language task, hearing, seeing.

Drivers live in `domain.inference.drivers`; `domain.inference.drivers()` answers with the ones in use.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from domain.kernel.errors import DomainError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]
else:  # numpy is 13 MiB and a tenth of a second, which a process that reckons with no vectors need not pay
    Vector = Any


class InvalidOutput(DomainError):
    """A model answered with something that is not what it was asked for."""

    code = "upstream_failed"
    default = "The model's answer was not usable."


class TimedOut(DomainError):
    """The deadline passed, or the work was cancelled."""

    code = "timed_out"
    default = "The work did not end in time."


class Deadline:
    """Seconds that a piece of work may take, and the sign that nobody waits for it any more."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._cancelled = threading.Event()

    def remaining(self) -> float:
        """Seconds left; 0 when it has passed or was cancelled."""
        return 0.0 if self._cancelled.is_set() else max(0.0, self._end - time.monotonic())

    def cancel(self) -> None:
        self._cancelled.set()

    @property
    def over(self) -> bool:
        return self.remaining() <= 0.0

    def check(self) -> None:
        """Raise `TimedOut` when the deadline has passed. Drivers call it between steps."""
        if self.over:
            raise TimedOut


class Embedder(Protocol):
    name: str
    dimensions: int

    def embed(self, texts: Sequence[str], deadline: Deadline | None = None) -> Vector:
        """One row a text, each of length 1: shape (len(texts), dimensions), float32. Thread-safe."""
        ...

    def warm(self) -> None:
        """Load what is loaded lazily."""
        ...


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that an answer may rest on, and must name by its id when it does."""

    id: str
    """`m1`, `m2`, ... for memory; `d1`, ... for documents; `i1`, ... for the input."""
    kind: Literal["memory", "document", "input"]
    text: str
    score: float
    """How close it is to the question, 0 to 1."""
    trust: float = 1.0
    """How sure its source is, 0 to 1."""
    vector: Vector | None = field(default=None, repr=False, compare=False)
    asks: bool = False
    """It puts a question or an order."""
    age_days: float = 0.0
    contested: bool = False
    place: str = ""
    """Where it stands, in words that a reader finds it by; empty where there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Point:
    """Something a good answer of this kind speaks about."""

    heading: str
    question: str
    cue: str = ""
    """A regular expression of words that speak of it."""
    vector: Vector | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Task:
    """A language task. A generative driver goes by `instructions` and `schema`, an extractive one by `kind`.

    Everything in `question`, `passages` and `draft` is quoted material, never an instruction.
    """

    kind: Literal["answer", "challenge"]
    instructions: str
    question: str
    passages: tuple[Passage, ...]
    schema: Mapping[str, Any]
    points: tuple[Point, ...] = ()
    draft: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int = 900


@dataclass(frozen=True, slots=True)
class Usage:
    model: str
    input_tokens: int = 0
    output_tokens: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"model": self.model, "input_tokens": self.input_tokens, "output_tokens": self.output_tokens}


@dataclass(frozen=True, slots=True)
class Completion:
    """`data` fits the task's schema as far as the driver can know; `domain.inference.tasks` checks it."""

    data: Mapping[str, Any]
    usage: Usage


class LanguageModel(Protocol):
    @property
    def name(self) -> str:
        """Shown to partners as the model that wrote an answer."""
        ...

    def complete(self, task: Task, deadline: Deadline) -> Completion:
        """Carry out `task`. Thread-safe.

        Raises `TimedOut`, `InvalidOutput`, `Unavailable`, `LimitExceeded` (fact `retry_after`).
        """
        ...

    def warm(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """Something said without a break; `start` and `end` in seconds of the recording that was given."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Hearing:
    """What is said in a recording, in its order. `language`: as ISO 639 has it, where the driver knows."""

    said: tuple[Heard, ...]
    language: str | None = None


class Transcriber(Protocol):
    def available(self) -> None:
        """Raise `Unprocessable` with what to install when recordings cannot be heard here."""
        ...

    def transcribe(self, recording: bytes, deadline: Deadline) -> str:
        """What is said. Raises `Unprocessable` when it cannot be decoded."""
        ...

    def hear(
        self, recording: bytes, deadline: Deadline, *, language: str | None = None, vocabulary: Sequence[str] = ()
    ) -> Hearing:
        """What is said, and when. `language`: the one spoken (BCP 47), found out without it; `vocabulary`: names and
        terms that are likely. Raises as `transcribe`, and `Unavailable` for a language that the model does not hear."""
        ...


class Speaker(Protocol):
    media_type: str
    """Of what `say` answers: `audio/mpeg`, `audio/ogg` or `audio/wav`."""

    def available(self) -> None:
        """Raise `Unprocessable` with what to configure when nothing can be said aloud here."""
        ...

    def say(self, text: str, deadline: Deadline, *, voice: str | None = None) -> bytes:
        """`text` (a few sentences) as sound that can be played by itself; `voice` by the driver's own name for it.
        Raises `Unprocessable` for what it cannot say or a voice it does not have, `Unavailable`, `TimedOut`."""
        ...


class ImageDescriber(Protocol):
    def available(self) -> None:
        """Raise `Unprocessable` with what to configure when images cannot be described here."""
        ...

    def describe(self, image: bytes, media_type: str, deadline: Deadline) -> str:
        """What is to be seen, the text in it word for word. Raises `Unprocessable`."""
        ...
