"""Slow work beside the journal: a model speaks, or a tool reads, in a thread, while the turn goes on writing what has
come and looking whether it is to stop."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from domain import inference
from domain.conversations.gate import WAKES
from domain.conversations.journal import Journal
from domain.inference import ChatModel, ChatRequest, Deadline, End, TimedOut
from domain.kernel.errors import Unavailable

T = TypeVar("T")

NEWS = "news"
"""Comes among the words when the journal has something to say."""

LEFT_BEHIND = 16
"""Threads that heed no deadline and that a process bears; past it, slow work fails at once."""
HEEDED = 3.0
"""Seconds in which work that was told to stop has stopped. Until then it is none of those: when many turns beside each
other are cancelled at once, the next one's work must not fail for it."""
_left: dict[threading.Thread, float] = {}
"""When each was told to stop."""
_lock = threading.Lock()


def speak(
    model: ChatModel,
    request: ChatRequest,
    deadline: Deadline,
    journal: Journal,
    take: Callable[[str, str], None],
) -> End:
    """Let `model` answer; `take(kind, words)` gets its words in this thread.

    Raises what the model raises, and `Cancelled` or `Ended` from the journal, after telling the model to stop.
    """
    words: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def work() -> End:
        return inference.generate(model, request, deadline, lambda kind, text: words.put((kind, text)))

    return beside(work, deadline, journal, words, take)


def beside(
    work: Callable[[], T],
    deadline: Deadline,
    journal: Journal,
    words: queue.SimpleQueue[tuple[str, str]] | None = None,
    take: Callable[[str, str], None] = lambda kind, text: None,
) -> T:
    """Run `work` in a thread until it ends or `deadline` is over. Raises as `speak`."""
    with _lock:
        for thread in [each for each in _left if not each.is_alive()]:
            del _left[thread]
        told_by = time.monotonic() - HEEDED
        if sum(told <= told_by for told in _left.values()) >= LEFT_BEHIND:
            raise Unavailable("Too much slow work is under way.", retry_after=10)
    said = words or queue.SimpleQueue()
    box: list[T] = []
    problems: list[BaseException] = []

    def run() -> None:
        try:
            box.append(work())
        except BaseException as problem:
            problems.append(problem)
        finally:
            said.put(("", ""))

    thread = threading.Thread(target=run, name="turn-work", daemon=True)
    thread.start()
    try:
        with journal.kept(lambda: said.put((NEWS, ""))):
            while True:
                try:
                    kind, text = said.get(timeout=min(WAKES, max(0.01, deadline.remaining())))
                except queue.Empty:
                    if not deadline.over:
                        continue
                    thread.join(0.6)  # most work looks at its deadline often
                    if thread.is_alive():
                        with _lock:
                            _left[thread] = time.monotonic()
                        raise TimedOut from None
                    continue
                journal.check()
                if not kind:
                    break
                if kind != NEWS:
                    take(kind, text)
    except BaseException:
        deadline.cancel()
        if thread.is_alive():
            with _lock:
                _left[thread] = time.monotonic()
        raise
    if problems:
        raise problems[0]
    return box[0]


def within(seconds: float, outer: Deadline) -> Deadline:
    """A deadline of its own that ends with the outer one at the latest."""
    return Deadline(min(seconds, outer.remaining()))
