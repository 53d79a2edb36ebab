"""Child processes that are kept running: their start, their log, their restart after a pause that grows.

`Child` is one of them. It does nothing by itself; the supervisor calls `poll()` and `read()` from its loop, and never
from a thread, because the leash of a child hangs on the thread that started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from thalweg.embedded import process as processes

__all__ = ["Child", "RotatingFile"]

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds between restarts
SETTLED = 30.0  # a child that lived this long starts again at once when it ends


class RotatingFile:
    """An append-only file that is put aside when it has grown: `name`, `name.1`, ... up to `keep`."""

    def __init__(self, path: Path, *, limit: int = 10 * 2**20, keep: int = 3) -> None:
        self.path, self._limit, self._keep = path, limit, keep
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("ab", buffering=0)

    def write(self, chunk: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk must not take the platform down
            self._file.write(chunk)
            if chunk.endswith(b"\n") and self._file.tell() > self._limit:
                self._rotate()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._keep - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            if older.exists():
                older.rename(self.path.with_name(f"{self.path.name}.{number + 1}"))
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))
        self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Child:
    """One process that ought to run. `tell` gets short lines for people. Without a `log` it writes where we do."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: RotatingFile | None
    tell: Callable[[str, str], None]
    verbose: bool = False
    pass_fds: Sequence[int] = ()
    failures: int = 0
    """Ends in a row that came before the child had settled."""
    process: subprocess.Popen[bytes] | None = None
    _began: float = 0.0
    _due: float = 0.0
    _rest: bytes = b""
    _last: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Starts it now. Called from the main thread only."""
        self._began = time.monotonic()
        self._last.clear()
        try:
            self.process = processes.spawn(
                self.argv,
                output=subprocess.PIPE if self.log is not None else None,
                leash=signal.SIGKILL,  # without the supervisor there is no database: nothing left to finish
                env=self.env,
                cwd=self.cwd,
                pass_fds=self.pass_fds,
            )
        except OSError as error:
            self.failures += 1
            self._due = time.monotonic() + self._pause()
            self.tell(self.name, f"could not be started: {error}")
            return
        if self.process.stdout is not None:
            os.set_blocking(self.process.stdout.fileno(), False)

    def poll(self) -> None:
        """Restarts it when it has ended and its pause is over."""
        now = time.monotonic()
        if self.process is None:
            if now >= self._due:
                self.start()
            return
        status = self.process.poll()
        if status is None:
            if self.failures and now - self._began > SETTLED:
                self.failures = 0
            return
        self.read()
        self._close()
        self.failures = self.failures + 1 if now - self._began < SETTLED else 0
        pause = self._pause()
        self._due = now + pause
        self.tell(self.name, f"{_how(status)}; starting it again{f' in {pause:.1f} s' if pause >= 1 else ''}")

    def read(self) -> bool:
        """Moves what it has written into its log; warnings and worse also to the console. False at the end."""
        if self.process is None or self.process.stdout is None or self.log is None:
            return False
        for _ in range(64):  # bounded: one chatty child must not starve the rest
            try:
                chunk = os.read(self.process.stdout.fileno(), 65536)
            except BlockingIOError:
                return True
            except OSError:
                chunk = b""
            if not chunk:
                self.process.stdout.close()  # or the loop would be woken by it for ever
                self.process.stdout = None
                return False
            self.log.write(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._rest = self._rest[-65536:]
            for line in lines:
                self._look_at(line)
        return True

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def due(self) -> float:
        """Seconds until it is to be started again; 0 when it runs."""
        return max(0.0, self._due - time.monotonic()) if self.process is None else 0.0

    def end(self) -> None:
        """Kills it with all that it started. It is not started again."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.read()
            self._close()
        if self.log is not None:
            self.log.close()

    @property
    def last_words(self) -> list[str]:
        return list(self._last)

    def _close(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)  # what it had started itself
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        self._rest = b""

    def _pause(self) -> float:
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** max(0, self.failures - 1)) if self.failures else 0.0

    def _look_at(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if not text:
            return
        self._last = [*self._last[-11:], text]
        if self.verbose:
            self.tell(self.name, text)
        elif text.startswith("{") and ('"warning"' in text or '"error"' in text or '"critical"' in text):
            with contextlib.suppress(ValueError, AttributeError):
                entry = json.loads(text)
                if entry.get("level") in ("warning", "error", "critical"):
                    self.tell(self.name, f"{entry['level']}: {str(entry.get('event', ''))[:200]}")


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"
