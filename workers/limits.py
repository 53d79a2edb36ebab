"""Time limits of a running job.

Public: `time_limit` (soft: an exception in the job; hard: the process ends), for jobs beside each other `Watch`, which
keeps the same limits in threads; `SoftLimit`, `Interrupted`. What else a process may use: `domain.kernel.confine`.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
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
        raise RuntimeError("signals reach the main thread only: a job in another one is kept by a Watch")

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


class Watch(threading.Thread):
    """The limits of jobs that run beside each other, each in a thread: `limit` in place of `time_limit`.

    An exception reaches a thread between two steps of Python, not in a call that waits: what jobs wait for has
    deadlines of its own, and the hard limit asks nobody. A job in native code that keeps the interpreter lock for
    `STUCK` seconds stops everybody in the process, so that ends it too.
    """

    TICK = 0.2
    STUCK = 60.0

    def __init__(self) -> None:
        super().__init__(name="job-watch", daemon=True)
        self._lock = threading.Lock()
        self._jobs: dict[int, _Watched] = {}
        self._stop_asked = threading.Event()

    @contextmanager
    def limit(self, soft: float, hard: float) -> Iterator[None]:
        """Raise SoftLimit in this thread after `soft` seconds; end the process after `hard`."""
        now, ident = time.monotonic(), threading.get_ident()
        try:
            with self._lock:
                self._jobs[ident] = _Watched(now + soft, now + hard, f"The time limit of {soft:g} s was reached.")
            yield
        finally:
            self.leave(ident)

    def interrupt(self) -> None:
        """Raise Interrupted in every thread that has a limit now."""
        with self._lock:
            for ident in self._jobs:
                _raise_in(ident, Interrupted)

    def run(self) -> None:
        rearm_at = 0.0
        while not self._stop_asked.wait(self.TICK):
            now = time.monotonic()
            if now >= rearm_at:
                rearm_at = now + self.STUCK / 4
                faulthandler.dump_traceback_later(self.STUCK, exit=True)
            with self._lock:
                for ident, job in self._jobs.items():
                    if now >= job.hard:
                        faulthandler.dump_traceback()
                        os._exit(1)
                    if now >= job.soft:
                        job.soft = float("inf")
                        _raise_in(ident, type("SoftLimit", (_Told,), {"told": job.says}))
        faulthandler.cancel_dump_traceback_later()

    def stop(self) -> None:
        self._stop_asked.set()

    def leave(self, ident: int) -> None:
        """From here on nothing is raised any more in the thread; what was asked for and has not come is taken back.

        A thread calls it once more at its end: what is raised may land just where the `finally` above begins.
        """
        while True:
            try:
                with self._lock:
                    self._jobs.pop(ident, None)
                    _raise_in(ident, None)
                return
            except (SoftLimit, Interrupted):
                continue  # it came while the job was leaving: the job is over


class _Watched:
    __slots__ = ("hard", "says", "soft")

    def __init__(self, soft: float, hard: float, says: str) -> None:
        self.soft = soft
        self.hard = hard
        self.says = says


class _Told(SoftLimit):
    """The interpreter makes the exception itself, of a class and without arguments."""

    told = ""

    def __init__(self) -> None:
        super().__init__(self.told)


def _raise_in(ident: int, kind: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), ctypes.py_object(kind) if kind is not None else None
    )
