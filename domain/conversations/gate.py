"""Lets only a few turns of a process get to their model at the same time.

Until its model speaks a turn is a dozen short transactions. Where hundreds come at once, each waiting for a connection
in each of them, all get on slowly and some hardly at all, while the time of each runs. One after the other, each is
quick, and the others' time has not begun.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

AT_ONCE = 8
"""Fewer than a worker has connections."""
WAKES = 1.0
"""Seconds between two moments at which the job's own time limit can interrupt whoever waits."""

_places = threading.BoundedSemaphore(AT_ONCE)


@contextmanager
def through() -> Iterator[Callable[[], None]]:
    """Wait for a place. It is given up by calling what is handed out, once or often, or at the end."""
    while not _places.acquire(timeout=WAKES):
        pass
    left = threading.Lock()

    def leave() -> None:
        if left.acquire(blocking=False):
            _places.release()

    try:
        yield leave
    finally:
        leave()
