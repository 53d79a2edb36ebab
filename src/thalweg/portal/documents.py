"""The contracts as downloads: 3.0.3 and 3.1.0, JSON and YAML, each made once when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from thalweg.portal.assets import Asset, squeeze

__all__ = ["Documents", "Download"]

_JSON = "application/vnd.oai.openapi+json"
_YAML = "application/vnd.oai.openapi"


@dataclass(frozen=True, slots=True)
class Download:
    """One file that can be had, before it is made."""

    surface: str
    name: str
    openapi: str
    """The version of the Specification: 3.0.3 or 3.1.0."""
    form: str
    """JSON or YAML."""
    media_type: str


class Documents:
    """The published files of some surfaces, from their bundles."""

    def __init__(self, bundles: Mapping[str, Path]) -> None:
        """`bundles`: surface to the bundle's file, as `thalweg contract generate` writes it."""
        self._bundles = dict(bundles)
        self.downloads: dict[str, Download] = {}
        for surface in bundles:
            for openapi, suffix in (("3.0.3", ""), ("3.1.0", "-3.1")):
                for form, media_type in (("json", _JSON), ("yaml", _YAML)):
                    name = f"{surface}{suffix}.{form}"
                    self.downloads[name] = Download(surface, name, openapi, form.upper(), media_type)
        self._made: dict[str, Asset] = {}
        self._lock = threading.Lock()

    def of(self, surface: str) -> list[Download]:
        """The files of one surface."""
        return [one for one in self.downloads.values() if one.surface == surface]

    def get(self, name: str) -> Asset | None:
        """The file, or None where there is none of that name."""
        wanted = self.downloads.get(name)
        if wanted is None:
            return None
        made = self._made.get(name)
        if made is None:
            with self._lock:  # a large document takes a second: not twice
                made = self._made.get(name)
                if made is None:
                    made = self._made[name] = squeeze(name, wanted.media_type, self._make(wanted))
        return made

    def _make(self, wanted: Download) -> bytes:
        # Read from the file: the documents that the process serves by are shared, and others may have added to them.
        from thalweg.contract.bundle import as_json
        from thalweg.contract.publish import as_yaml
        from thalweg.contract.upgrade import upgrade

        content = self._bundles[wanted.surface].read_bytes()
        if wanted.openapi == "3.0.3" and wanted.form == "JSON":
            return content
        document: dict[str, Any] = orjson.loads(content)
        if wanted.openapi == "3.1.0":
            document = upgrade(document)
        write: Callable[[dict[str, Any]], bytes] = as_json if wanted.form == "JSON" else as_yaml
        return write(document)
