"""`thalweg contract coverage`: how far each surface is, from the inventory of its seed to an answer under fuzzing."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from thalweg.contract import handlers, manifest
from thalweg.contract.bundle import bundle
from thalweg.contract.project import Project
from thalweg.contract.sources import Library
from thalweg.naming import snake_case

FUZZ = Path("reports/fuzz.json")
"""Written by the contract tests: a list of `{surface, operation_id, statuses}`."""

UNTAGGED = "(not declared)"


@dataclass(slots=True)
class Row:
    """Counts of one tag of a surface."""

    surface: str
    tag: str
    inventory: int = 0
    declared: int = 0
    implemented: int = 0
    not_implemented: int = 0
    """Functions that only answer 501."""
    reached: int = 0
    """Operations that answered something under fuzzing."""
    succeeded: int = 0
    """Operations that answered a 2xx under fuzzing."""


@dataclass(slots=True)
class Coverage:
    rows: list[Row]
    undeclared: list[str] = field(default_factory=list)
    """`surface METHOD path` of the inventory that no contract has."""
    unlisted: list[str] = field(default_factory=list)
    """`surface METHOD path` of the contracts that the inventory does not have."""
    fuzzed: bool = False
    """Whether there is a report of the contract tests."""

    def totals(self) -> list[Row]:
        """One row a surface."""
        sums: dict[str, Row] = {}
        for row in self.rows:
            total = sums.setdefault(row.surface, Row(row.surface, "all"))
            for name in ("inventory", "declared", "implemented", "not_implemented", "reached", "succeeded"):
                setattr(total, name, getattr(total, name) + getattr(row, name))
        return list(sums.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": [asdict(row) for row in self.rows],
            "totals": [asdict(row) for row in self.totals()],
            "undeclared": self.undeclared,
            "unlisted": self.unlisted,
            "fuzzed": self.fuzzed,
        }


def coverage(
    project: Project, surfaces: Sequence[str], report: Path | None = None, *, generated: bool = False
) -> Coverage:
    """Count operations by surface and tag. A surface without sources yet counts by its inventory alone.

    `generated` reads what was generated instead of the sources: a hundred times faster, and right where they agree.
    """
    listed = inventory(project)
    answers, fuzzed = _answers(report or project.root / FUZZ)
    library = Library(project.root)
    rows: dict[tuple[str, str], Row] = {}
    found = Coverage([], fuzzed=fuzzed)

    def row(surface: str, tag: str) -> Row:
        return rows.setdefault((surface, tag), Row(surface, tag))

    for surface in surfaces:
        wanted = dict.fromkeys(listed.get(surface, ()))
        entries: Sequence[Mapping[str, Any]] = ()
        kept = project.generated / surface / "operations.json"
        if generated and kept.exists():
            entries = json.loads(kept.read_bytes())["operations"]
        elif project.source(surface).exists():
            document = bundle(surface, project.source(surface), library).document
            made, _ = manifest.build(surface, project.base_path(surface), project.handlers, document)
            entries = made["operations"]
        modules, _ = handlers.read(project, surface)
        for entry in entries:
            counted = row(surface, entry["tag"])
            counted.declared += 1
            key = (entry["method"], _template(entry["path"]))
            if key in wanted:
                del wanted[key]
                counted.inventory += 1
            elif listed:
                found.unlisted.append(f"{surface} {entry['method']} {entry['path']}")
            function = modules.get(snake_case(entry["tag"]), {}).get(snake_case(entry["operation_id"]))
            if function is not None and function.not_implemented:
                counted.not_implemented += 1
            elif function is not None:
                counted.implemented += 1
            statuses = answers.get((surface, entry["operation_id"]), ())
            counted.reached += bool(statuses)
            counted.succeeded += any(str(status).startswith("2") for status in statuses)
        for method, path in wanted:
            row(surface, UNTAGGED).inventory += 1
            found.undeclared.append(f"{surface} {method} {path}")
    found.rows = list(rows.values())
    return found


def inventory(project: Project) -> dict[str, list[tuple[str, str]]]:
    """Method and path template of every listed operation, by surface. A line that stands twice counts once."""
    listed: dict[str, list[tuple[str, str]]] = {}
    if project.inventory is None or not project.inventory.exists():
        return listed
    with project.inventory.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            known = listed.setdefault(line["surface"], [])
            key = (line["method"].upper(), _template(line["path"]))
            if key not in known:
                known.append(key)
    return listed


def _template(path: str) -> str:
    """The path without a query and without the names of variables, however they are written (`{id}`, `:id`, `<id>`)."""
    path = path.split("?")[0].rstrip("/") or "/"
    return re.sub(r"\{[^/{}]*\}|(?<=/):[^/]+|<[^/<>]+>", "{}", path)


def _answers(report: Path) -> tuple[dict[tuple[str, str], Sequence[Any]], bool]:
    if not report.exists():
        return {}, False
    content = json.loads(report.read_text("utf-8"))
    return {(one["surface"], one["operation_id"]): one.get("statuses", ()) for one in content}, True
