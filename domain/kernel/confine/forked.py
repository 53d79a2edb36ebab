"""A task in a forked child, with limits on memory, time, files and output: `answer`.

For readers whose libraries are loaded here already, in the workers of `untrusted` and `fetching`: a fork costs
milliseconds, a fresh process half a second. The child closes what this process has open, and opens no connection,
starts and traces nothing. What is in this process's memory it has too, so it is for the platform's own code on a
stranger's bytes, not for a stranger's code: that goes into `jail`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from domain.kernel.confine import bounds, frames, seccomp


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of memory beyond what the parent has, seconds of work, bytes of the answer."""

    memory: int = 640 << 20
    seconds: float = 120.0
    answer: int = 48 << 20


class Died(Exception):
    """There is no answer. `how`: `late` (its time was over), `flood` (it answered more than it may), `fault` (killed by
    the kernel for a bug, or because memory ran out in native code), `killed` (from outside: by the machine for want of
    memory, or by hand) or `ended`."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


def answer(task: Callable[[], Sequence[bytes]], limits: Limits, beat: Callable[[], None] = lambda: None) -> bytes:
    """What `task` answers in a child. `beat` is called about twice a second, and may raise to end it.

    Raises `Died`. Safe in a process with threads: the child starts none and takes no lock of theirs.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        _be_child(task, limits, theirs)
    os.close(theirs)
    try:
        whole = _collect(ours, limits, beat)
    finally:
        os.close(ours)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    if not whole or status != 0:  # killed in the middle of its answer, it has none
        raise Died(_way(status))
    return whole


def _collect(pipe: int, limits: Limits, beat: Callable[[], None]) -> bytes:
    end = time.monotonic() + limits.seconds
    parts: list[bytes] = []
    size = 0
    while (left := end - time.monotonic()) > 0:
        if not select.select([pipe], [], [], min(0.5, left))[0]:
            beat()
            continue
        piece = os.read(pipe, 1 << 20)
        if not piece:
            return b"".join(parts)
        size += len(piece)
        if size > limits.answer:
            raise Died("flood")
        parts.append(piece)
    raise Died("late")


def _way(status: int) -> str:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return "late"
    # An allocation that fails in native code ends in abort() or a fault, as do bugs that a broken file finds.
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS):
        return "fault"
    # Its own limits end otherwise: it is stopped at `seconds` before its processor time is over.
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return "killed"
    return "ended"


def _be_child(task: Callable[[], Sequence[bytes]], limits: Limits, pipe: int) -> NoReturn:
    try:
        faulthandler.disable()  # a hostile file that kills its reader is no news for the parent's log
        _confine(limits, pipe)
        for piece in task():
            frames.write(pipe, piece)
    except BaseException:
        os._exit(1)  # nothing of the parent's code may run in the child
    os._exit(0)


def _confine(limits: Limits, pipe: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    bounds.silence()
    # The parent's connections and files are nothing to it.
    os.closerange(3, pipe)
    os.closerange(pipe + 1, bounds.most_files())
    sys.setrecursionlimit(2_000)
    bounds.die_with_parent()
    mapped = bounds.mapped()
    bounds.bound(memory=mapped + limits.memory if mapped else None, seconds=int(limits.seconds) + 1)
    seccomp.renounce()
