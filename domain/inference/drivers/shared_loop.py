"""The event loop that the calls of a process to its providers share.

A loop of its own for each call is a thread that parses, a selector and a pool of helpers for each turn that streams;
here they are one thread, and whoever asked waits without holding anything up. Started with the first call, again in a
process that was forked.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

WAKES = 1.0
"""Seconds between two moments at which whoever waits can be interrupted."""

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_process = 0


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine` comes to, on the shared loop, which it must never block. An exception in the thread that waits
    cancels it."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _running())
    try:
        while not concurrent.futures.wait([future], timeout=WAKES).done:
            pass
    except BaseException:
        future.cancel()
        raise
    return future.result()


def _running() -> asyncio.AbstractEventLoop:
    global _loop, _process
    with _lock:
        if _loop is None or _process != os.getpid():
            _loop, _process = asyncio.new_event_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name="providers", daemon=True).start()
        return _loop


def _unlock() -> None:
    """Another thread may have held the lock at the moment of the fork."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)
