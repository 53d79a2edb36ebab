"""`thalweg contract pages`: tables of the contracts inside of documents for people, kept true by a command.

A document marks where one stands; what lies between the marks is written anew:

    <!-- table: tags shop -->
    <!-- end -->

Kinds: `tags` (what there is, and how much of it works), `errors`, `limits`, `streams`, `once` (idempotency keys),
`sizes`. They are made from what is generated, so `thalweg contract generate` comes first.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.contract.coverage import coverage
from thalweg.contract.findings import ContractError, Finding, Place
from thalweg.contract.manifest import follow, operations
from thalweg.contract.project import Project
from thalweg.contract.sources import Library

MARK = re.compile(r"^<!-- table: (?P<kind>\S+) (?P<surface>\S+) -->\n(?P<content>.*?)^<!-- end -->$", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Page:
    """A document, as it is and as it shall be."""

    file: Path
    text: str
    wanted: str

    @property
    def stale(self) -> bool:
        return self.text != self.wanted


def pages(project: Project, files: Sequence[Path] = ()) -> list[Page]:
    """`files`, or every Markdown document in `docs/`, with its tables as the contracts have them now.

    Raises `ContractError` on a mark that names no table or no surface. Nothing is written: see `write`.
    """
    return [_page(project, file) for file in files or sorted((project.root / "docs").rglob("*.md"))]


def write(page: Page) -> None:
    """Bring a document up to date."""
    if page.stale:
        page.file.write_text(page.wanted, "utf-8")


def _page(project: Project, file: Path) -> Page:
    text = file.read_text("utf-8")
    return Page(file, text, MARK.sub(lambda found: _filled(project, file, text, found), text))


def _filled(project: Project, file: Path, text: str, found: re.Match[str]) -> str:
    kind, surface = found["kind"], found["surface"]
    if kind not in _TABLES or surface not in project.surfaces:
        place = Place(Library(project.root).name(file), text[: found.start()].count("\n") + 1)
        known = f"tables: {', '.join(_TABLES)}; surfaces: {', '.join(project.surfaces)}"
        raise ContractError(Finding("pages", f"there is no table {kind} of {surface}", known, place))
    document = json.loads((project.generated / surface / "bundle.json").read_bytes())
    heading, rows = _TABLES[kind](project, surface, document)
    lines = [heading, ["---"] * len(heading), *rows]
    table = "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)
    return f"<!-- table: {kind} {surface} -->\n{table}\n<!-- end -->"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("\\\\|", "\\|")


# --- the tables --------------------------------------------------------------------------------------

Table = tuple[list[str], list[list[str]]]
Document = Mapping[str, Any]


def _tags(project: Project, surface: str, document: Document) -> Table:
    counted = {row.tag: row for row in coverage(project, [surface], generated=True).rows}
    rows = []
    for tag in document["tags"]:
        row = counted[tag["name"]]
        works = {0: "none yet", row.declared: "all"}.get(row.implemented, f"{row.implemented}")
        rows.append([f"`{tag['name']}`", tag["description"].rstrip("."), str(row.declared), works])
    return ["tag", "for", "operations", "work now"], rows


def _errors(project: Project, surface: str, document: Document) -> Table:
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for _, _, _, operation in operations(document):
        for status, declared in operation["responses"].items():
            if status >= "400":
                found[status][_sentence(follow(document, declared)[0]["description"])] += 1
    rows = [[status, max(texts, key=lambda text: texts[text])] for status, texts in sorted(found.items())]
    return ["status", "when"], rows


def _limits(project: Project, surface: str, document: Document) -> Table:
    users: dict[str, list[str]] = defaultdict(list)
    for _, _, _, operation in operations(document):
        named = operation.get("x-limit", [])
        for name in [named] if isinstance(named, str) else named:
            users[name].append(operation["operationId"])
    rows = []
    for name, ids in users.items():
        limit = project.limits[name]
        if "concurrent" in limit:
            much = f"{limit['concurrent']} at once"
        else:
            number, _, span = str(limit["rate"]).partition("/")
            much = f"{int(number):,} {_span(span)}"
        rows.append([f"`{name.removeprefix(f'{surface}.')}`", much, f"each {limit['per']}", _some(ids)])
    return ["limit", "how much", "for", "operations"], rows


def _streams(project: Project, surface: str, document: Document) -> Table:
    rows = []
    for path, method, _, operation in operations(document):
        if declared := operation.get("x-stream"):
            last = declared.get("terminal") or []
            events = ", ".join(f"`{name}`" for name in declared["events"])
            ends = " or ".join(f"`{name}`" for name in last) or "when you leave"
            rows.append([f"`{method.upper()} {path}`", events, ends])
    return ["stream", "events", "ends with"], rows


def _once(project: Project, surface: str, document: Document) -> Table:
    found: dict[str, list[str]] = defaultdict(list)
    for _, _, _, operation in operations(document):
        if operation.get("x-idempotency"):
            found[operation["tags"][0]].append(operation["operationId"])
    return ["tag", "operations"], [[f"`{tag}`", _some(ids, len(ids))] for tag, ids in found.items()]


def _sizes(project: Project, surface: str, document: Document) -> Table:
    found: dict[int, list[str]] = defaultdict(list)
    for _, _, _, operation in operations(document):
        if "x-max-bytes" in operation:
            found[operation["x-max-bytes"]].append(operation["operationId"])
    return ["body", "operations"], [[_bytes(size), _some(found[size])] for size in sorted(found)]


_TABLES: Mapping[str, Callable[[Project, str, Document], Table]] = {
    "tags": _tags,
    "errors": _errors,
    "limits": _limits,
    "streams": _streams,
    "once": _once,
    "sizes": _sizes,
}


def _sentence(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<=[.;])\s", " ".join(text.split()), maxsplit=1)[0].rstrip(".;")


def _some(names: Iterable[str], most: int = 4) -> str:
    listed = list(names)
    shown = ", ".join(f"`{name}`" for name in listed[:most])
    return shown if len(listed) <= most else f"{shown} and {len(listed) - most} more"


def _span(text: str) -> str:
    found = re.fullmatch(r"(\d*)(\w+)", text)
    assert found is not None, "the settings have checked it"
    number, unit = found.groups()
    unit = {"s": "second", "m": "minute", "h": "hour", "d": "day"}.get(unit, unit)
    return f"in {number} {unit}s" if number and number != "1" else f"a {unit}".replace("a hour", "an hour")


def _bytes(size: int) -> str:
    for unit, width in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= width:
            return f"{size / width:.1f} {unit}".replace(".0 ", " ")
    return f"{size} bytes"
