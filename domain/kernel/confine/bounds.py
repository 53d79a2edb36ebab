"""Limits of the calling process, for itself and what it starts: `bound`, `die_with_parent`, `mapped`."""

from __future__ import annotations

import os
import resource
import signal
import sys


def bound(
    *,
    memory: int | None = None,
    seconds: int | None = None,
    file_bytes: int = 0,
    files: int | None = None,
    processes: int | None = None,
) -> None:
    """Set limits that cannot be raised again: bytes of address space, seconds of processor time, bytes of a file that
    is written, open files, processes and threads of this user. No core is dumped."""
    wanted: list[tuple[int, int | None]] = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_NOFILE, files),
    ]
    if sys.platform == "linux":  # elsewhere these are not kept, or not by process
        wanted += [(resource.RLIMIT_AS, memory), (resource.RLIMIT_NPROC, processes)]
        if processes is not None:  # timers and signals of a program live in the kernel's memory
            wanted += [(resource.RLIMIT_SIGPENDING, 4 * processes), (resource.RLIMIT_MEMLOCK, 0)]
    for what, most in wanted:
        if most is not None:
            hard = resource.getrlimit(what)[1]
            limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (limit, limit))


def mapped() -> int:
    """Bytes of address space that this process has by now; 0 where it cannot be told."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it is gone (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def most_files() -> int:
    """A number above that of every open file."""
    try:
        return max((int(name) for name in os.listdir("/proc/self/fd")), default=2) + 1
    except OSError:
        return min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65_536)


def silence() -> None:
    """Standard input, output and error lead nowhere."""
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
