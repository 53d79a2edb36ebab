"""`thalweg contract diff`: does the contract still keep what its last release promised?

specshift compares; what it judges wrongly for contracts as strict as these is corrected here (each correction has a
test that shows the wrong verdict), and `promises` adds what it does not look at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from thalweg.contract import manifest, promises
from thalweg.contract.bundle import bundle
from thalweg.contract.comparable import MEMBER, OTHER, comparable
from thalweg.contract.project import Project
from thalweg.contract.sources import Library

Verdict = Literal["breaking", "warning", "info"]
_RANK = {"breaking": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `where` names operation and place; `judged_by`: specshift, or a rule of ours."""

    verdict: Verdict
    where: str
    what: str
    judged_by: str = "specshift"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A surface now beside its last release. `released` is None where nothing was released yet."""

    surface: str
    released: str | None
    present: str
    changes: Sequence[Change]

    @property
    def breaking(self) -> list[Change]:
        return [change for change in self.changes if change.verdict == "breaking"]

    @property
    def allowed(self) -> bool:
        """Nothing breaks, or the version says so: its major number, and before 1.0 its minor one."""
        return not self.breaking or self.released is None or _parts(self.present) >= _parts(self.needed)

    @property
    def needed(self) -> str:
        """The lowest version that may break what was released (Semantic Versioning 2.0.0, 4 and 8)."""
        major, minor = _parts(self.released or "0.0")[:2]
        return f"{major + 1}.0.0" if major else f"0.{minor + 1}.0"

    def counts(self) -> dict[str, int]:
        """How many changes of each verdict there are."""
        return {verdict: sum(change.verdict == verdict for change in self.changes) for verdict in _RANK}

    def as_json(self) -> dict[str, Any]:
        return {
            "surface": self.surface,
            "released": self.released,
            "present": self.present,
            "allowed": self.allowed,
            "changes": [asdict(change) for change in self.changes],
        }


def diff(project: Project, surfaces: Sequence[str]) -> list[Comparison]:
    """Each surface beside `<released>/<surface>.json`. Raises `ContractError` where a bundle cannot be made."""
    library = Library(project.root)
    out = []
    for surface in surfaces:
        now = json.loads(bundle(surface, project.source(surface), library).json())
        present = str(now.get("info", {}).get("version"))
        file = project.released / f"{surface}.json"
        if not file.exists():
            out.append(Comparison(surface, None, present, []))
            continue
        before = json.loads(file.read_bytes())
        out.append(Comparison(surface, str(before.get("info", {}).get("version")), present, compare(before, now)))
    return out


def accept(project: Project, surfaces: Sequence[str]) -> list[str]:
    """Take the present bundles as released; answers the files that changed."""
    library = Library(project.root)
    project.released.mkdir(parents=True, exist_ok=True)
    changed = []
    for surface in surfaces:
        file = project.released / f"{surface}.json"
        content = bundle(surface, project.source(surface), library).json()
        if not file.exists() or file.read_bytes() != content:
            file.write_bytes(content)
            changed.append(library.name(file))
    return changed


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Every change between two bundled 3.0 documents, the breaking ones first."""
    from specshift import diff_specs

    before, now = comparable(before, now)
    changes = [
        _corrected(Change(one.severity.value, one.location, one.message))
        for one in diff_specs(_flattened(before), _flattened(now)).changes
    ]
    changes += [Change(verdict, where, what, "thalweg") for verdict, where, what in promises.compare(before, now)]
    unique = {(one.where, one.what): one for one in changes}
    return sorted(unique.values(), key=lambda one: (_RANK[one.verdict], one.where, one.what))


def _parts(version: str) -> tuple[int, int, int]:
    found = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", version)
    major, minor, patch = found.groups(default="0") if found else ("0", "0", "0")
    return int(major), int(minor), int(patch)


# --- what specshift is shown -----------------------------------------------------------------------


def _flattened(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as specshift reads it right: it follows references in schemas only, sees no parameters of path items
    and no document-wide security on operations. Stream events become responses of their own."""
    paths: dict[str, Any] = {}
    for path, method, item, operation in manifest.operations(document):
        flat = {key: value for key, value in operation.items() if key not in ("x-stream", "callbacks", "security")}
        flat["parameters"] = manifest.parameters_of(document, item, operation)
        if "requestBody" in operation:
            flat["requestBody"] = manifest.follow(document, operation["requestBody"])[0]
        flat["responses"] = {
            status: manifest.follow(document, response)[0] for status, response in operation["responses"].items()
        }
        for event, schema in (operation.get("x-stream") or {}).get("events", {}).items():
            flat["responses"][f"2xx event {event}"] = {"content": {"application/json": {"schema": schema}}}
        paths.setdefault(path, {})[method] = flat
    return {"openapi": "3.0.3", "info": document["info"], "paths": paths, "components": document.get("components", {})}


# --- where it errs -----------------------------------------------------------------------------------

_Correction = tuple[str, str, Verdict, str]

_CORRECTIONS: tuple[_Correction, ...] = (
    # (pattern of the message, side or "", right verdict, why)
    (r"no longer accepts null", "request", "breaking", "null was accepted and is refused now"),
    (r"no longer accepts null", "response", "info", "a client that copes with null copes without"),
    (r"now accepts a null", "request", "info", "more is accepted"),
    (r"now accepts a null", "response", "breaking", "a client may not expect null"),
    (r"Enum values removed", "response", "info", "a value that no longer comes surprises nobody"),
    (r"New enum values added", "response", "warning", "a client may not expect the value"),
    (r"Enum constraint has been completely removed", "response", "warning", "any value may come now"),
    (r"Constraint '\w+' changed .*stricter", "response", "info", "the promise became stronger"),
    (r"Constraint '\w+' changed .*relaxed", "response", "warning", "larger or smaller values may come"),
    (r"validation pattern|Validation pattern changed", "response", "info", "a client does not validate by it"),
    (r"Additional .* no longer allowed", "response", "info", "the promise became stronger"),
    (r"Additional .* now allowed", "response", "warning", "unknown properties may come"),
    (r"no longer accepted \(removed from the request", "request", "breaking", "closed objects refuse it"),
    (r"^Parameter .* has been removed", "", "breaking", "an undeclared query parameter is refused"),
    (r"^Content type .* no longer offered", "", "breaking", "a client may send or want it"),
    (r"^Format changed", "", "breaking", "the value means something else"),
    (rf"^Field '{MEMBER}' has been removed", "response", "info", "a variant that no longer comes surprises nobody"),
    (rf"^New field added: '{OTHER}'", "response", "breaking", "what was one thing may be another now"),
    (rf"^New field added: '{MEMBER}'", "response", "warning", "a client may not expect the variant"),
    (r"'integer' -> 'number'", "request", "info", "more is accepted"),
    (r"'number' -> 'integer'", "response", "info", "an integer is a number"),
    (r"is now read-only", "request", "breaking", "closed objects refuse it"),
    (r"now read-only|now marked as read-only", "response", "info", "answers do not change"),
)


def _corrected(change: Change) -> Change:
    side = "response" if "> response" in change.where else "request"
    for pattern, only, verdict, why in _CORRECTIONS:
        if only in ("", side) and re.search(pattern, change.what):
            if verdict == change.verdict:
                return change
            return Change(verdict, change.where, f"{change.what.rstrip('.')}: {why}", "thalweg")
    return change
