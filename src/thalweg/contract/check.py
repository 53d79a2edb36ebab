"""`thalweg contract check`: what is committed is what the contracts say."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from thalweg.contract.findings import Finding, Place, in_order
from thalweg.contract.generate import Generated, generate
from thalweg.contract.handlers import compare
from thalweg.contract.project import Project

_FIX = "run `thalweg contract generate`"


def check(project: Project, surfaces: Sequence[str]) -> list[Finding]:
    """Drift between sources and generated files, and between operations and handler functions.

    Raises `ContractError` where a bundle cannot be made.
    """
    findings: list[Finding] = []
    for made in generate(project, surfaces):
        findings += drift(project, made)
        findings += compare(project, made.manifest)
    if len(surfaces) == len(project.surfaces):
        findings += _strangers(project)
    return in_order(findings)


def drift(project: Project, made: Generated) -> list[Finding]:
    """Generated files that are missing, that differ (with the first line that does), or that nothing generates."""
    folder = project.generated / made.surface
    findings = []
    for name, content in made.files.items():
        file = folder / name
        shown = file.relative_to(project.root).as_posix()
        if not file.exists():
            findings.append(Finding("drift", f"{shown} is missing", _FIX, Place(shown, 1)))
        elif (found := file.read_bytes()) != content:
            line = _first_difference(found, content)
            findings.append(
                Finding("drift", f"{shown} is not what the contract says from line {line} on", _FIX, Place(shown, line))
            )
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.name not in made.files and file.name != "__pycache__":
            shown = file.relative_to(project.root).as_posix()
            findings.append(Finding("drift", f"nothing generates {shown}", "remove it", Place(shown, 1)))
    return findings


def _first_difference(found: bytes, wanted: bytes) -> int:
    left, right = found.splitlines(), wanted.splitlines()
    for number, (one, other) in enumerate(zip(left, right, strict=False), 1):
        if one != other:
            return number
    return min(len(left), len(right)) + 1


def _strangers(project: Project) -> list[Finding]:
    """Generated folders of surfaces that are gone, with a guess at what they are called now."""
    findings = []
    for folder in sorted(project.generated.iterdir()) if project.generated.is_dir() else ():
        if folder.is_dir() and folder.name not in project.surfaces and (folder / "bundle.json").exists():
            shown = folder.relative_to(project.root).as_posix()
            near = difflib.get_close_matches(folder.name, project.surfaces, 1)
            said = f"{shown} belongs to no surface" + (f" (renamed to {near[0]}?)" if near else "")
            findings.append(Finding("drift", said, "remove the folder", Place(shown, 1)))
    return findings
