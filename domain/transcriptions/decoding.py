"""Samples of a recording, decoded in a child process and read as they are needed."""

from __future__ import annotations

import importlib.util
import io
import os
import selectors
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.kernel.errors import Unprocessable

RATE = 16_000
SECOND = RATE * 2
"""Bytes."""
CHILD = Path(__file__).with_name("decoder_child.py")
SILENCE = 180.0
"""Seconds in which the child has to give something; what it skips takes its time too."""


class Unreadable(Unprocessable):
    default = "The recording cannot be decoded. It may be damaged, or hold no sound."


def possible() -> bool:
    """Whether recordings can be decoded here (the extra `speech` brings what it needs)."""
    return importlib.util.find_spec("av") is not None


class Samples:
    """A recording from a position on. `seconds`: what its container says of its length, None where it does not."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._held = bytearray()
        self._ended = False
        self.seconds: float | None = None
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        self._ready = selectors.DefaultSelector()
        self._ready.register(child.stdout, selectors.EVENT_READ)

    def ahead(self, seconds: float) -> tuple[bytes, bool]:
        """The next `seconds` (or what is left) without going on, and whether nothing follows. Raises `Unreadable`."""
        wanted = int(seconds * RATE) * 2
        end = time.monotonic() + SILENCE
        assert self._child.stdout is not None
        while not self._ended and len(self._held) <= wanted:
            if not self._ready.select(max(0.0, end - time.monotonic())):
                raise Unreadable("The recording takes too long to decode.")
            piece = self._child.stdout.read(1 << 20)
            if piece is None:
                continue
            end = time.monotonic() + SILENCE
            if piece:
                self._held += piece
            else:
                self._ended = True
                self._judge()
        self._learn()
        return bytes(self._held[:wanted]), self._ended and len(self._held) <= wanted

    def advance(self, seconds: float) -> None:
        del self._held[: int(seconds * RATE) * 2]

    def close(self) -> None:
        self._ready.close()
        for stream in (self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()
        self._child.kill()
        self._child.wait()

    def _learn(self) -> None:
        if self.seconds is None and self._child.stderr is not None:
            os.set_blocking(self._child.stderr.fileno(), False)
            line = self._child.stderr.readline(64) or b""
            try:
                said = float(line)
            except ValueError:
                return
            self.seconds = said if 0 < said < 1e7 else None

    def _judge(self) -> None:
        if self._child.wait(10) != 0 and not self._held:
            raise Unreadable


@contextmanager
def samples(path: Path, format_: str, position: float) -> Iterator[Samples]:
    """Decode a recording from `position` (seconds) on, sample by sample: a position means the same in each attempt."""
    # Nothing of this process's environment goes along: it may hold keys.
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join([str(CHILD.parents[2]), *(entry for entry in sys.path if entry)])
    with path.open("rb") as source:
        child = subprocess.Popen(
            [sys.executable, "-P", str(CHILD), format_, f"{position:.6f}"],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    reader = Samples(child)
    try:
        yield reader
    finally:
        reader.close()


def as_wav(samples_: bytes) -> bytes:
    """Samples as a file that any speech model takes."""
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples_)
    return made.getvalue()
