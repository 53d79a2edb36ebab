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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path
from typing import BinaryIO, TypeVar

T = TypeVar("T")

IN_MEMORY = 64 * 1024
"""Bytes of a file that stay in memory before it moves to disk."""
BATCH = 512 * 1024
"""Bytes of an upload that are gathered before a thread sums them up and writes them."""
_CROWDED = 64 * 1024
_HELD = 16 * 1024 * 1024
"""Bytes that all uploads together gather: many at once gather less each, down to `_CROWDED`."""
_FLUSHED = 4 * 1024 * 1024
"""Bytes after which what was written goes to disk. All of 50 MiB flushed at the end kept others waiting for 50 ms."""
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
            _remove(self.path, self.size)


@dataclass(frozen=True, slots=True)
class Pace:
    """How much of the process large uploads have together."""

    share: float
    """A turn is so many times as long as the batch before it took to write."""
    least: float
    """Bytes a second. However busy the process is, uploads go on."""


AMONG_THEMSELVES = Pace(4.0, 100.0 * 1024 * 1024)
BESIDE_OTHERS = Pace(16.0, 25.0 * 1024 * 1024)
"""A batch of half a megabyte takes this process 1.5 to 1.8 ms of CPU, two fifths of it on the loop. At the pace of
`AMONG_THEMSELVES` the p99 of others is two to three times what it is alone, at this one about one and a half times
(benchmarks/README.md)."""
ATTENTION = 1.0
"""Seconds for which uploads keep the slower pace after somebody else was served."""


@dataclass(slots=True)
class Rests:
    """What one request has waited for its turns."""

    seconds: float = 0.0


_rests: ContextVar[Rests | None] = ContextVar("rests", default=None)


def count_rests() -> Rests:
    """Count what the current request waits for its turns from now on: it is not its sender who is late then."""
    rests = Rests()
    _rests.set(rests)
    return rests


class Turns:
    """Large uploads write one after the other, a batch in each turn, with a rest for everybody else between turns.

    Turns are given out beforehand, in the order in which they are asked for; nothing is held or locked meanwhile. Only
    the event loop asks. What one batch has taken is the measure for the turns after it.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self.uploads = 0
        """Large uploads that are under way."""
        self._next = 0.0
        self._length = 0.0
        self._served = float("-inf")

    @property
    def batch(self) -> int:
        """Bytes to gather for a turn."""
        return min(BATCH, max(_CROWDED, _HELD // max(1, self.uploads)))

    def others(self) -> None:
        """Somebody who is not uploading a large file has been served."""
        self._served = self._clock()

    @contextmanager
    def upload(self) -> Iterator[None]:
        """A large upload, while it comes."""
        self.uploads += 1
        try:
            yield
        finally:
            self.uploads -= 1

    async def write(self, size: int, writing: Callable[[], Awaitable[T]]) -> T:
        """Wait for a turn and have `size` bytes written in it; what `writing` answers."""
        await self._take()
        began = self._clock()
        try:
            return await writing()
        finally:
            self._took(size, self._clock() - began)

    async def _take(self) -> None:
        now = self._clock()
        begins = max(now, self._next)
        self._next = begins + self._length
        if begins > now:
            rests = _rests.get()
            if rests is not None:
                rests.seconds += begins - now
            await self._sleep(begins - now)

    def _took(self, size: int, seconds: float) -> None:
        pace = BESIDE_OTHERS if self._clock() - self._served < ATTENTION else AMONG_THEMSELVES
        self._length = min(pace.share * seconds, size / pace.least)


turns = Turns()
"""Those of this process."""


class Sink:
    """Takes the bytes of one file as they come. Disk work and hashing happen in a thread, half a megabyte at a time,
    in turns with other large uploads."""

    __slots__ = (
        "_dirty",
        "_file",
        "_gone",
        "_held",
        "_lock",
        "_path",
        "_pending",
        "_seal",
        "_spool_dir",
        "_turns",
        "size",
    )

    def __init__(self, spool_dir: str) -> None:
        self._spool_dir = spool_dir
        self._pending: list[bytes] = []
        self._held = 0
        self._dirty = 0  # bytes since the last flush
        self._turns: ExitStack | None = None  # of a file that is large
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
        if self._held >= turns.batch:
            if self._turns is None:
                self._turns = ExitStack()
                self._turns.enter_context(turns.upload())
            await turns.write(self._held, partial(asyncio.to_thread, self._spool))

    async def finish(self, name: str | None, media_type: str) -> Upload:
        if self._file is None and self.size <= IN_MEMORY:
            data = b"".join(self._pending)
            return Upload(display_name(name), media_type, self.size, sha256(data).hexdigest(), data=data)
        path = await asyncio.to_thread(self._close)
        self._over()
        return Upload(display_name(name), media_type, self.size, self._seal.hexdigest(), path=path)

    def _spool(self) -> None:
        with self._lock:
            self._write()
            if self._gone or self._file is None or self._dirty < _FLUSHED:
                return
            self._file.flush()
            self._dirty = 0
            handle = os.dup(self._file.fileno())
        try:
            os.fsync(handle)  # without the lock, which `abandon` takes on the event loop
        finally:
            os.close(handle)

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
        self._dirty += len(batch)

    def _close(self) -> str:
        with self._lock:
            self._write()
            if self._file is not None:
                self._file.close()
            return self._path

    def abandon(self) -> None:
        """Throw away what came, on the way out of a failed request."""
        self._over()
        with self._lock:
            self._gone = True
            if self._file is not None:
                self._file.close()
                _remove(self._path, self.size)

    def _over(self) -> None:
        if self._turns is not None:
            self._turns.close()


def _remove(path: str, size: int) -> None:
    """On the event loop a large one in a thread: the last name of a file of 50 MiB takes 20 to 45 ms to go."""
    unlink = partial(Path(path).unlink, missing_ok=True)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        unlink()
        return
    if size > _FLUSHED:
        loop.run_in_executor(None, unlink)
    else:
        unlink()


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
