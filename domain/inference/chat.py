"""Talking to a language model in turns, streamed: what an agent's loop asks of a driver.

`generate(model, request, deadline, emit)` is the way in: it hands out words as they come, tries again after a fault
that may pass, and goes on behind the words that were already out. Drivers only speak to their model once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from domain.inference.ports import Deadline, Usage
from domain.kernel.errors import DomainError, Unavailable

RETRIES = 3
"""After the first try; then the model counts as away (seed rule of Thalian's chat)."""
BACKOFF = 0.3
"""Seconds before the first retry; doubled for each further one, with a spread of half."""


class Refused(DomainError):
    """The provider understood the request and will not carry it out. Fact `reason`: `invalid_key`, `no_access`,
    `unknown_model`, `quota_exceeded` or `refused`. A repeat would end the same way."""

    code = "upstream_failed"
    default = "The model's provider refused the request."


class Passing(DomainError):
    """A fault that may be gone in a moment: a broken connection, a 5xx, an answer that cannot be read."""

    code = "unavailable"
    default = "The model's provider did not answer as it should."


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    name: str
    description: str
    parameters: Mapping[str, Any]
    """A JSON Schema of an object."""


@dataclass(frozen=True, slots=True)
class Message:
    """What was said. An assistant's message may call tools; a tool's message answers one call."""

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    tool: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A passage that an answer may rest on, and names by `[number]` when it does."""

    number: int
    title: str
    text: str
    score: float = 0.0
    kind: str = "document"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """`messages` end with the user's, or with the answers of the tools that were called for it. `partial`: words of the
    answer that are out already and must not be said again."""

    instructions: str
    messages: tuple[Message, ...]
    question: str
    tools: tuple[ToolSpec, ...] = ()
    sources: tuple[Source, ...] = ()
    temperature: float | None = None
    max_tokens: int | None = None
    partial: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """How a model's answer ended. `calls`: tools to be called before it goes on."""

    usage: Usage
    calls: tuple[ToolCall, ...] = ()
    stop: Literal["end", "tools", "length"] = "end"
    response_id: str | None = None


Emit = Callable[[Literal["text", "reasoning"], str], None]
"""Takes the next words, at once: it is called where the driver reads, which other turns' drivers may do beside it."""


class ChatModel(Protocol):
    @property
    def name(self) -> str:
        """Shown to people as the model that spoke."""
        ...

    def generate(self, request: ChatRequest, deadline: Deadline, emit: Emit) -> End:
        """Speak once. Thread-safe. Looks at `deadline` at least four times a second and stops by `TimedOut`.

        Raises `TimedOut`, `LimitExceeded` (fact `retry_after`), `Refused`, `Passing`, `InvalidOutput`.
        """
        ...


def generate(model: ChatModel, request: ChatRequest, deadline: Deadline, emit: Emit) -> End:
    """Let `model` answer, with up to `RETRIES` further tries.

    What a broken try has said stays said: the next one is asked to go on behind it. Raises `Unavailable` when no try
    went through, else as `ChatModel.generate`.
    """
    said: list[str] = [request.partial]

    def each(kind: Literal["text", "reasoning"], words: str) -> None:
        if kind == "text":
            said.append(words)
        emit(kind, words)

    for attempt in range(RETRIES + 1):
        deadline.check()
        try:
            return model.generate(replace(request, partial="".join(said)), deadline, each)
        except Passing as fault:
            pause = BACKOFF * 2**attempt * random.uniform(1.0, 1.5)  # noqa: S311 - so that callers spread
            if attempt == RETRIES:
                raise Unavailable("The language model is not available right now.", retry_after=30) from fault
            end = time.monotonic() + pause
            while time.monotonic() < end:  # a cancelled turn does not wait it out
                deadline.check()
                time.sleep(min(0.1, max(0.0, end - time.monotonic())))
    raise AssertionError("unreachable")


def probe(model: ChatModel, deadline: Deadline) -> Usage:
    """A very short real completion: whether key and model work. Raises as `ChatModel.generate`; never retries."""
    request = ChatRequest("Answer with the word ok.", (Message("user", "ok?"),), "ok?", max_tokens=16)
    return model.generate(request, deadline, lambda kind, words: None).usage
