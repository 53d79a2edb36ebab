"""A reader that holds what it reads against the SHA-256 that was taken when the bytes came."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

import structlog

from domain.kernel.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = structlog.get_logger("thalweg.storage")


class Damaged(Unavailable):
    """What the store answers is not what was put into it."""

    default = "The stored content is damaged."


class Missing(Damaged, NotFound):
    """The store has nothing where something was put. To a caller it is a fault of the platform's (`Unavailable`); who
    works on something that may be deleted meanwhile expects it as `NotFound`."""

    default = "The stored content is missing."


class Reader(io.RawIOBase):
    """Seekable, read-only. Bytes that were read in order from the first to the last are verified: the last of them are
    not handed out when the whole is not what it should be (`Damaged`). Reading from the middle verifies nothing.

    `label` and `key` say in the log whose bytes these are, and where they should be.
    """

    def __init__(
        self, opener: Callable[[], BinaryIO], size: int, sha256: bytes, label: str = "", key: str = ""
    ) -> None:
        self._opener = opener
        self._source: BinaryIO | None = None
        self._at = 0
        self._label = label
        self._key = key
        self._expected = sha256
        self._seal: hashlib._Hash | None = hashlib.sha256()
        self.size = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("a negative position")
        if base + offset != self._at:
            self._at = base + offset
            # from the start again: a new sum; anywhere else: none
            self._seal = hashlib.sha256() if self._at == 0 else None
            if self._source is not None:
                self._source.seek(self._at)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._at >= self.size or not len(view):
            return 0
        try:
            if self._source is None:
                self._source = self._opener()
                if self._at:
                    self._source.seek(self._at)
            piece = self._source.read(min(len(view), self.size - self._at))
        except NotFound:
            log.error("stored object is missing", object=self._label, key=self._key)
            raise Missing() from None
        if not piece:
            raise self._damaged("it ends early")
        if self._seal is not None:
            self._seal.update(piece)
            if self._at + len(piece) == self.size and (self._seal.digest() != self._expected or self._source.read(1)):
                raise self._damaged("its sum is another")
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        super().close()

    def _damaged(self, how: str) -> Damaged:
        log.error("stored object is damaged", object=self._label, key=self._key, how=how)
        return Damaged()
