"""Files that come in: kept in memory while small, spooled to disk beyond that, sealed with SHA-256 on the way.

The name that a client gives is for people: it is cleaned for display and never becomes part of a path.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import threading
import time
import unicodedata
from dataclasses import dataclass, field
from hashlib import sha256
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path
from typing import BinaryIO

IN_MEMORY = 64 * 1024
"""Bytes of a file that stay in memory before it moves to disk."""
_BATCH = 512 * 1024
_SHARE = 4.0
"""How many times as long as a batch takes to write the next one waits for: large uploads together have a quarter of
the process at most. Beside files of 50 MiB the p99 of everybody else is about twice what it is alone
(benchmarks/README.md)."""
_LONGEST_TURN = 0.005
"""Seconds. However busy the process is, uploads go on: a hundred files of 50 MiB at once must be there before the time
for their bodies is over."""
_PREFIX = "upload-"
_NAME_LENGTH = 255


class Spooled(BufferedReader):
    """The content of a spooled upload: whole, no longer written to, its sum known. What keeps it need not read it: a
    store on the same file system links the file (`domain.storage.ports.Sealed`)."""

    def __init__(self, path: str, digest: bytes) -> None:
        super().__init__(FileIO(path))
        self.sealed_path = path
        self.sealed_digest = digest
        """SHA-256."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One received file. Readable until the request is over: whoever wants to keep it copies it."""

    name: str
    """The client's file name made fit for display (`file` when it gave none). Never use it as a path."""
    media_type: str
    """What the client says it is: a claim."""
    size: int
    """Bytes."""
    sha256: str
    """Hexadecimal."""
    path: str | None = None
    """Where it is spooled; None while `data` holds it."""
    data: bytes | None = field(default=None, repr=False)

    def open(self) -> BinaryIO:
        """The content, from its beginning."""
        return BytesIO(self.data or b"") if self.path is None else Spooled(self.path, bytes.fromhex(self.sha256))

    def close(self) -> None:
        """Remove the spooled file. The edge does this when the request is over."""
        if self.path is not None:
            Path(self.path).unlink(missing_ok=True)


class _Turns:
    """Large uploads write one after the other, a batch in each turn, with a rest for everybody else between turns.

    Turns are given out beforehand, in the order in which they are asked for; nothing is held or locked meanwhile. Only
    the event loop asks. What one batch has taken is the measure for the turns after it.
    """

    def __init__(self) -> None:
        self._next = 0.0
        self._length = 0.0

    async def take(self) -> None:
        now = time.monotonic()
        begins = max(now, self._next)
        self._next = begins + self._length
        if begins > now:
            await asyncio.sleep(begins - now)

    def took(self, seconds: float) -> None:
        self._length = min(_SHARE * seconds, _LONGEST_TURN)


_turns = _Turns()


class Sink:
    """Takes the bytes of one file as they come. Disk work and hashing happen in a thread, half a megabyte at a time."""

    __slots__ = ("_file", "_gone", "_held", "_lock", "_path", "_pending", "_seal", "_spool_dir", "size")

    def __init__(self, spool_dir: str) -> None:
        self._spool_dir = spool_dir
        self._pending: list[bytes] = []
        self._held = 0
        self._file: BinaryIO | None = None
        self._path = ""
        self._seal = sha256()
        # a cancelled request is abandoned while a thread may still be writing for it
        self._lock = threading.Lock()
        self._gone = False
        self.size = 0

    def write(self, piece: bytes) -> None:
        self._pending.append(piece)
        self._held += len(piece)
        self.size += len(piece)

    async def relieve(self) -> None:
        """Move what is held to disk when it has become much."""
        if self._held >= _BATCH:
            await _turns.take()
            began = time.monotonic()
            await asyncio.to_thread(self._spool)
            _turns.took(time.monotonic() - began)

    async def finish(self, name: str | None, media_type: str) -> Upload:
        if self._file is None and self.size <= IN_MEMORY:
            data = b"".join(self._pending)
            return Upload(display_name(name), media_type, self.size, sha256(data).hexdigest(), data=data)
        path = await asyncio.to_thread(self._close)
        return Upload(display_name(name), media_type, self.size, self._seal.hexdigest(), path=path)

    def _spool(self) -> None:
        with self._lock:
            self._write()

    def _write(self) -> None:
        if self._gone:
            return
        if self._file is None:
            os.makedirs(self._spool_dir, mode=0o700, exist_ok=True)
            handle, self._path = tempfile.mkstemp(prefix=_PREFIX, dir=self._spool_dir)  # readable by its owner only
            self._file = os.fdopen(handle, "wb")
        batch = b"".join(self._pending)
        self._pending.clear()
        self._held = 0
        self._seal.update(batch)
        self._file.write(batch)

    def _close(self) -> str:
        with self._lock:
            self._write()
            if self._file is not None:
                self._file.close()
            return self._path

    def abandon(self) -> None:
        """Throw away what came, on the way out of a failed request."""
        with self._lock:
            self._gone = True
            if self._file is not None:
                self._file.close()
                Path(self._path).unlink(missing_ok=True)


# --- names -----------------------------------------------------------------------------------------

# control characters, and the marks that turn the direction of text around and so can fake an extension
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def display_name(name: str | None) -> str:
    """The last step of whatever path the client sent, without what cannot be seen, at most 255 characters."""
    if not name:
        return "file"
    bare = re.split(r"[\\/]", unicodedata.normalize("NFC", name))[-1]
    bare = _UNSEEN.sub("", bare).strip(" .")
    if len(bare) > _NAME_LENGTH:
        stem, dot, extension = bare.rpartition(".")
        kept = dot + extension if dot and len(extension) <= 16 else ""
        bare = (stem if kept else bare)[: _NAME_LENGTH - len(kept)] + kept
    return bare or "file"


def sweep(spool_dir: str, older_than: float = 24 * 3600.0) -> int:
    """Remove spooled files that a crash left behind, older than so many seconds. Answers how many."""
    removed = 0
    limit = time.time() - older_than
    folder = Path(spool_dir)
    if not folder.is_dir():
        return 0
    for path in folder.glob(_PREFIX + "*"):
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
                removed += 1
        except FileNotFoundError:  # another process was faster
            continue
    return removed
