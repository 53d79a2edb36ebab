"""Which blob store this process uses, and within which limits: bound once at start-up from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from domain.storage.ports import BlobStore


class StorageSettings(Protocol):
    @property
    def blob_url(self) -> str | None: ...
    @property
    def data_dir(self) -> Path: ...
    @property
    def base_url(self) -> str: ...
    @property
    def storage_quota_bytes(self) -> int: ...
    @property
    def storage_file_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Bound:
    store: BlobStore
    base_url: str
    """Where the platform's own signed addresses begin."""
    quota: int | None
    """Bytes an organisation may keep where nothing else is agreed; None: no limit."""
    largest: int
    """Bytes of the largest file."""


_bound: Bound | None = None


def bind(settings: StorageSettings) -> None:
    """Use the store that the settings name. Raises `ValueError` that names the setting that is wrong."""
    global _bound
    _bound = Bound(
        store=_store(settings),
        base_url=settings.base_url,
        quota=settings.storage_quota_bytes or None,
        largest=settings.storage_file_bytes,
    )


def bound() -> Bound:
    """Raises `RuntimeError` when `bind()` was not called."""
    if _bound is None:
        raise RuntimeError("no blob store: call domain.storage.bind() at start-up (setting `blob_url`)")
    return _bound


def bucket() -> str:
    """The name of where files are kept, for wire shapes."""
    return bound().store.bucket


def check() -> None:
    """Raises `Unavailable` when files cannot be written and read just now. Blocks."""
    bound().store.check()


def _store(settings: StorageSettings) -> BlobStore:
    from domain.storage.drivers.folder import FolderStore

    if settings.blob_url is None:
        return FolderStore(settings.data_dir / "files")
    parts = urlsplit(settings.blob_url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise ValueError("blob_url: a file URL names a folder of this machine: file:///folder")
        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        from domain.storage.drivers.s3 import S3Store  # the SDK takes a second to import

        return S3Store(parts.netloc, parts.path.strip("/"))
    raise ValueError(f"blob_url: there is no store for {parts.scheme}://")
