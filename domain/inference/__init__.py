"""Models as a foundation: vectors from text, language tasks, speech, images. Every other context asks here.

`configure(settings)` at start-up, `drivers()` in use, `bind(...)` in tests, `warm()` in long-lived workers.
"""

from domain.inference import byok
from domain.inference.chat import (
    ChatModel,
    ChatRequest,
    End,
    Message,
    Refused,
    Source,
    ToolCall,
    ToolSpec,
    generate,
    probe,
)
from domain.inference.ports import (
    Completion,
    Deadline,
    Embedder,
    Heard,
    Hearing,
    ImageDescriber,
    InvalidOutput,
    LanguageModel,
    Passage,
    Point,
    Speaker,
    Task,
    TimedOut,
    Transcriber,
    Usage,
    Vector,
)
from domain.inference.registry import Drivers, bind, configure, drivers
from domain.inference.sentences import Sentence, clean, sentences
from domain.inference.tokens import count_tokens

__all__ = [
    "ChatModel",
    "ChatRequest",
    "Completion",
    "Deadline",
    "Drivers",
    "Embedder",
    "End",
    "Heard",
    "Hearing",
    "ImageDescriber",
    "InvalidOutput",
    "LanguageModel",
    "Message",
    "Passage",
    "Point",
    "Refused",
    "Sentence",
    "Source",
    "Speaker",
    "Task",
    "TimedOut",
    "ToolCall",
    "ToolSpec",
    "Transcriber",
    "Usage",
    "Vector",
    "bind",
    "byok",
    "clean",
    "configure",
    "count_tokens",
    "drivers",
    "generate",
    "probe",
    "sentences",
    "warm",
]


def warm() -> None:
    """Load the models in use: what a worker of the `interactive` queue does before it takes its first job."""
    drivers().warm()
