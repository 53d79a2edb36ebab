"""Time and resource limits of a running job.

Public: `time_limit` (soft: an exception in the job; hard: the process ends), `SoftLimit`, `Interrupted`, `confine`.
"""

from __future__ import annotations

import faulthandler
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class SoftLimit(Exception):
    """Raised inside a job at its soft limit: time to store what there is. At the hard limit nobody asks."""


class Interrupted(BaseException):
    """The worker must go before the job is ready; the job is handed back. Not an Exception: a job that catches
    everything would keep the process alive until it is killed."""


@contextmanager
def time_limit(soft: float, hard: float) -> Iterator[None]:
    """Raise SoftLimit in the main thread after `soft` seconds; end the process after `hard`.

    The hard limit is kept by a C thread (faulthandler), which needs no interpreter lock: a job stuck in native code
    ends too, and leaves the tracebacks of its threads on stderr.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("jobs run in the main thread: signals, and so time limits, reach no other")

    def ring(signum: int, frame: FrameType | None) -> None:
        raise SoftLimit(f"The time limit of {soft:g} s was reached.")

    started = time.monotonic()
    before = signal.signal(signal.SIGALRM, ring)
    faulthandler.dump_traceback_later(hard, exit=True)
    outer, _ = signal.setitimer(signal.ITIMER_REAL, soft)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
        if outer:  # whoever had the timer before gets it back
            signal.setitimer(signal.ITIMER_REAL, max(0.001, outer - (time.monotonic() - started)))


def confine(*, memory: int, cpu: float, files: int = 256, written: int = 1 << 30) -> None:
    """Limit this process for good: address space and largest file in bytes, CPU in seconds, open files."""
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, int(cpu) + 1),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, written),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (limit, limit))
