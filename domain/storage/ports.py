"""What a blob store must be able to do: `drivers/folder.py` and `drivers/s3.py` do.

Keys come from `rules.key_of`. A store raises `Unavailable` when it cannot be reached, `NotFound` for a key it does not
have, and nothing else on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Link:
    """An address for one act on one object. Whoever has it can do it: never logged."""

    url: str = field(repr=False)
    method: str
    headers: Mapping[str, str]
    seconds: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One blob as the store lists it."""

    key: str
    size: int
    modified: datetime


@runtime_checkable
class Sealed(Protocol):
    """A readable whose content lies whole in a private file that nobody writes to any more, and whose SHA-256 was
    taken while it was written: it need not be read to be kept."""

    sealed_path: str
    sealed_digest: bytes


class BlobWriter(Protocol):
    """Takes the bytes of one blob. Until `commit` returns nothing is to be seen under its key; then all of it is,
    whatever dies. An `abort` (also after a failure, also twice) leaves nothing."""

    def write(self, piece: bytes) -> None: ...

    def adopt(self, path: str) -> bool:
        """Make the file at `path` the blob, in place of what was written, without copying it. The file keeps its
        name, which its owner may remove. False: that cannot be done here, nothing has changed."""
        ...

    def commit(self) -> None: ...

    def abort(self) -> None: ...


class BlobStore(Protocol):
    bucket: str
    """The name that wire shapes show for it."""

    native_links: bool
    """Whether clients can be sent to the store itself. If not, the platform serves its own signed addresses."""

    def writer(self, key: str) -> BlobWriter:
        """Replaces what is under the key."""
        ...

    def open(self, key: str) -> BinaryIO:
        """A seekable reader. Raises `NotFound`."""
        ...

    def size(self, key: str) -> int | None:
        """None: there is no such blob."""
        ...

    def path(self, key: str) -> Path | None:
        """The blob as a local file, to be read only; None where the store has no local files."""
        ...

    def delete(self, key: str) -> None:
        """Drop it; that it is not there is fine."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Put the blob under another key as well, whole or not at all. Raises `NotFound`."""
        ...

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """All blobs whose key begins so."""
        ...

    def clear(self, before: datetime) -> int:
        """Drop what unfinished writes left behind before that moment; how many."""
        ...

    def upload_link(self, key: str, media_type: str, size: int, sha256: bytes | None, seconds: int) -> Link:
        """Only with `native_links`."""
        ...

    def download_link(self, key: str, name: str, media_type: str, seconds: int) -> Link:
        """Only with `native_links`."""
        ...

    def check(self) -> None:
        """Raises `Unavailable` when files cannot be written and read just now."""
        ...
