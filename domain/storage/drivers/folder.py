"""Blobs in a folder: written aside, flushed to disk, then renamed into place in one step."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from domain.kernel.errors import NotFound, Unavailable
from domain.storage.ports import Entry, Link

_ASIDE = ".incoming"
_PIECE = 1024 * 1024


class FolderStore:
    """`BlobStore` on a local or shared file system."""

    bucket = "files"
    native_links = False

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._aside = self._root / _ASIDE

    def writer(self, key: str) -> FolderWriter:
        return FolderWriter(self._place(key), self._aside)

    def open(self, key: str) -> BinaryIO:
        with _reported():
            return self._place(key).open("rb")

    def size(self, key: str) -> int | None:
        try:
            with _reported():
                return self._place(key).stat().st_size
        except NotFound:
            return None

    def path(self, key: str) -> Path | None:
        return self._place(key)

    def delete(self, key: str) -> None:
        with suppress(NotFound), _reported():
            place = self._place(key)
            place.unlink()
            with suppress(OSError):  # the last one of its organisation takes the folders with it
                place.parent.rmdir()
                place.parent.parent.rmdir()

    def copy(self, source: str, target: str) -> None:
        writer = self.writer(target)
        try:
            with self.open(source) as blob:
                while piece := blob.read(_PIECE):
                    writer.write(piece)
            writer.commit()
        finally:
            writer.abort()

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """In the order of the file system. A blob that goes meanwhile is left out."""
        with _reported():
            for folder, names, files in os.walk(self._root):
                if folder == str(self._root):
                    names[:] = [name for name in names if name != _ASIDE]
                for file in files:
                    path = Path(folder, file)
                    key = path.relative_to(self._root).as_posix()
                    if not key.startswith(prefix):
                        continue
                    with suppress(FileNotFoundError):
                        found = path.stat()
                        yield Entry(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def clear(self, before: datetime) -> int:
        dropped = 0
        with _reported():
            for left in self._aside.glob("*") if self._aside.is_dir() else ():
                with suppress(FileNotFoundError):
                    if left.stat().st_mtime < before.timestamp():
                        left.unlink()
                        dropped += 1
        return dropped

    def upload_link(self, key: str, media_type: str, size: int, sha256: bytes | None, seconds: int) -> Link:
        raise NotImplementedError("a folder has no addresses of its own")

    def download_link(self, key: str, name: str, media_type: str, seconds: int) -> Link:
        raise NotImplementedError("a folder has no addresses of its own")

    def check(self) -> None:
        with _reported():
            self._aside.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self._aside / f"check-{uuid4()}"
            probe.write_bytes(b"thalweg")
            try:
                if probe.read_bytes() != b"thalweg":
                    raise Unavailable("The file storage does not keep what is written to it.")
            finally:
                probe.unlink(missing_ok=True)

    def _place(self, key: str) -> Path:
        place = self._root / key
        if not key or ".." in place.parts or place.is_relative_to(self._aside) or not place.is_relative_to(self._root):
            raise ValueError("not a key of this store")  # keys are made of ids: this is a bug, never a caller
        return place


class FolderWriter:
    """`BlobWriter`: a file of its own until `commit` gives it its name."""

    def __init__(self, place: Path, aside: Path) -> None:
        self._place = place
        self._lock = threading.Lock()  # an abandoned request may abort while a thread still writes for it
        self._done = False
        with _reported():
            aside.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path = aside / uuid4().hex
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            self._file = os.fdopen(handle, "wb", buffering=0)

    def write(self, piece: bytes) -> None:
        with self._lock, _reported():
            if self._done:
                raise Unavailable("The upload was given up.")
            view = memoryview(piece)
            while len(view):
                view = view[self._file.write(view) :]

    def adopt(self, path: str) -> bool:
        with self._lock:
            if self._done:
                raise Unavailable("The upload was given up.")
            linked = self._path.with_name(uuid4().hex)
            try:
                os.link(path, linked, follow_symlinks=False)
            except (OSError, NotImplementedError):  # another file system, or one without hard links
                return False
            with _reported():
                try:
                    file = os.fdopen(os.open(linked, os.O_RDWR | os.O_NOFOLLOW), "rb+", buffering=0)
                    linked.chmod(0o600)
                    os.utime(linked)  # for the sweeper, which goes by age: a new blob, however long it was spooled
                    linked.replace(self._path)
                except BaseException:
                    linked.unlink(missing_ok=True)
                    raise
                self._file.close()
                self._file = file
            return True

    def commit(self) -> None:
        with self._lock, _reported():
            if self._done:
                raise Unavailable("The upload was given up.")
            os.fsync(self._file.fileno())
            self._file.close()
            _into_place(self._path, self._place)
            self._done = True

    def abort(self) -> None:
        with self._lock:
            if self._done:
                return
            self._done = True
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def _into_place(source: Path, place: Path) -> None:
    """Rename, and have the folders remember it when the power fails."""
    for _ in range(3):
        made = not place.parent.is_dir()
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            source.replace(place)
            break
        except FileNotFoundError:
            # a delete next door may have taken the empty folder away in between
            if not source.exists():
                raise
    else:
        raise Unavailable("The file storage is busy.")
    _flush(place.parent)
    if made:
        _flush(place.parent.parent)
        _flush(place.parent.parent.parent)


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _reported() -> Iterator[None]:
    """File system errors as the domain's; the path in them stays here."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound("The file is not there.") from None
    except OSError as error:
        raise Unavailable(f"The file storage failed ({error.strerror or type(error).__name__}).") from None
