"""What changed since the last release, and how far each surface is: computed once, from the files of the project."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from thalweg.contract.coverage import Coverage
    from thalweg.contract.diff import Comparison
    from thalweg.contract.project import Project

__all__ = ["History"]


class History:
    """For some surfaces. The comparing is imported when it is first asked for."""

    def __init__(self, project: Project, surfaces: Sequence[str]) -> None:
        self._project = project
        self._surfaces = surfaces
        self._lock = threading.Lock()
        self._changes: dict[str, Comparison] | None = None
        self._coverage: tuple[float, Coverage] | None = None

    def changes(self) -> Mapping[str, Comparison]:
        """Each surface as it is served beside its last release."""
        with self._lock:
            if self._changes is None:
                self._changes = {surface: self._compare(surface) for surface in self._surfaces}
            return self._changes

    def coverage(self) -> Coverage:
        """Operations listed, declared, implemented and reached. Counted again when there is a new fuzzing report."""
        from thalweg.contract.coverage import FUZZ, coverage

        report = self._project.root / FUZZ
        with self._lock:
            at = report.stat().st_mtime if report.exists() else 0.0
            if self._coverage is None or self._coverage[0] != at:
                self._coverage = (at, coverage(self._project, list(self._surfaces), generated=True))
            return self._coverage[1]

    def _compare(self, surface: str) -> Comparison:
        from thalweg.contract.diff import Comparison, compare

        # From the file: the process's own document is shared with what serves by it.
        now = orjson.loads((self._project.generated / surface / "bundle.json").read_bytes())
        present = str(now["info"]["version"])
        file = self._project.released / f"{surface}.json"
        if not file.exists():
            return Comparison(surface, None, present, [])
        before = orjson.loads(file.read_bytes())
        return Comparison(surface, str(before["info"]["version"]), present, compare(before, now))
