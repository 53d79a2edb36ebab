"""Requests that take their time, and waiting for what they bring about: `Aside`, `soon`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx


class Aside:
    """A request that takes its time, in a thread."""

    def __init__(self, ask: Callable[[], httpx.Response]) -> None:
        self._replies: list[httpx.Response] = []
        self._thread = threading.Thread(target=lambda: self._replies.append(ask()), daemon=True)
        self._thread.start()

    def reply(self) -> httpx.Response:
        self._thread.join(60)
        assert self._replies, "no answer came"
        return self._replies[0]


def soon(ask: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `ask` answers, once it is something."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return answer
