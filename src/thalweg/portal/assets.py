"""Files that pages need, held compressed: styles, scripts, the icon, and the reference viewer out of its package.

An asset is named in a page with the hash of its content, so a browser may keep it for good.
"""

from __future__ import annotations

import gzip
import importlib.util
import threading
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

__all__ = ["Asset", "Assets", "squeeze"]

STATIC = Path(__file__).parent / "static"
VIEWER = "scalar.js"
_VIEWER_PACKAGE = "flask_openapi_scalar"
_VIEWER_FILE = "templates/scalar/js/scalar.standalone.js"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it goes out. Only the compressed form is held: nearly every client takes it."""

    name: str
    media_type: str
    packed: bytes
    """gzip."""
    digest: str
    """SHA-256 of the content, hexadecimal."""

    @property
    def etag(self) -> str:
        return self.digest[:32]

    def plain(self) -> bytes:
        return gzip.decompress(self.packed)


def squeeze(name: str, media_type: str, content: bytes) -> Asset:
    """An asset of `content`. The same bytes give the same asset, on every process."""
    return Asset(name, media_type, gzip.compress(content, 6, mtime=0), sha256(content).hexdigest())


class Assets:
    """All assets by name, made when they are first asked for."""

    def __init__(self) -> None:
        self._files = {path.name: path for path in STATIC.iterdir() if path.suffix in _TYPES}
        viewer = _viewer()
        if viewer is not None:
            self._files[VIEWER] = viewer
        self._made: dict[str, Asset] = {}
        self._lock = threading.Lock()

    @property
    def has_viewer(self) -> bool:
        """Whether the package with the reference viewer is installed."""
        return VIEWER in self._files

    def get(self, name: str) -> Asset | None:
        """The asset, or None where there is no such name."""
        made = self._made.get(name)
        if made is not None:
            return made
        path = self._files.get(name)
        if path is None:
            return None
        with self._lock:
            if name not in self._made:
                self._made[name] = squeeze(name, _TYPES[path.suffix], path.read_bytes())
            return self._made[name]

    def url(self, name: str) -> str:
        """Where a page finds it; changes with the content."""
        asset = self.get(name)
        return f"/assets/{name}?v={asset.etag[:12]}" if asset else f"/assets/{name}"


def _viewer() -> Path | None:
    # The package is a plugin of a framework that we do not use: its file is taken, it is never imported.
    found = importlib.util.find_spec(_VIEWER_PACKAGE)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / _VIEWER_FILE
    return path if path.is_file() else None
