"""`thalweg contract lint`: every rule over every surface, minus the named exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from thalweg.contract import grammar
from thalweg.contract.bundle import Bundle, bundle
from thalweg.contract.findings import ContractError, Finding, Place, in_order
from thalweg.contract.project import Project
from thalweg.contract.rules import load
from thalweg.contract.rules.view import View
from thalweg.contract.sources import Library, Mapped, escape, place_of_child

STRUCTURE = "openapi-structure"


@dataclass(frozen=True, slots=True)
class Exempt:
    """One place where a rule is not followed, by surface and pointer, and why."""

    rule: str
    surface: str
    pointer: str
    why: str
    place: Place

    def covers(self, finding: Finding) -> bool:
        return (self.rule, self.surface, self.pointer) == (finding.rule, finding.surface, finding.pointer)


def lint(project: Project, surfaces: Sequence[str]) -> list[Finding]:
    """The findings of `surfaces`, sorted by file and line; empty when all is well.

    A surface that cannot be bundled is reported by what stands in the way; the others are linted all the same.
    """
    library = Library(project.root)
    findings: list[Finding] = []
    bundles: list[Bundle] = []
    for surface in surfaces:
        try:
            bundles.append(bundle(surface, project.source(surface), library))
        except ContractError as error:
            findings += [replace(one, surface=surface) for one in error.findings]
    for made in bundles:
        findings += lint_bundle(project, made)
    whole = len(bundles) >= len(project.surfaces)
    findings += unreached(project, bundles, library, whole=whole)
    exempt = exceptions(project, library)
    kept = [one for one in findings if not any(other.covers(one) for other in exempt)]
    kept += [
        Finding("exception-needed", f"nothing breaks {one.rule} here any more", "remove the entry", one.place)
        for one in exempt
        if one.surface in surfaces and not any(one.covers(finding) for finding in findings)
    ]
    return in_order(kept)


def lint_bundle(project: Project, made: Bundle) -> list[Finding]:
    """What the rules say of one bundle."""
    view = View(made, project)
    rules = load()
    unsound = list(rules[STRUCTURE].check(view))
    findings = []
    for rule in rules.values():
        try:
            breaches = unsound if rule.name == STRUCTURE else list(rule.check(view))
        except (TypeError, AttributeError, KeyError, ValueError):
            # Rules trust the structure of a document. Where it is broken, that finding comes first.
            if not unsound:
                raise
            continue
        findings += [
            Finding(rule.name, one.message, one.fix, one.place, escape(one.pointer), rule.severity, made.surface)
            for one in breaches
        ]
    return findings


def unreached(project: Project, bundles: Sequence[Bundle], library: Library, *, whole: bool) -> list[Finding]:
    """Definitions and files that no reference leads to. Shared folders are judged only when `whole`."""
    reached = {target for made in bundles for target in made.reached}
    read = {path for made in bundles for path in made.files}
    linted = {made.surface for made in bundles}
    findings = []
    undeclared = {
        source.parent.name
        for source in sorted(project.contracts.glob("*/openapi.yaml"))
        if source.parent.name not in project.surfaces
    }
    for name in sorted(undeclared) if whole else ():
        place = Place(library.name(project.source(name)), 1)
        fix = "add it to [tool.thalweg.surfaces]"
        findings.append(Finding("surface-declared", f"{name} is not declared", fix, place, severity="warning"))
    for path in sorted(project.contracts.rglob("*.yaml")):
        folder = path.relative_to(project.contracts).parts[0]
        shared = folder not in project.surfaces and folder not in undeclared
        if path.parent == project.contracts:
            continue  # settings of tools, and the exceptions
        if folder == project.released.name or (shared and not whole):
            continue
        if not shared and folder not in linted:
            continue
        name = library.name(path)
        if path not in read:
            findings.append(
                Finding(
                    "components-used",
                    f"{name} is not used",
                    "refer to it, or remove it",
                    Place(name, 1),
                    severity="warning" if shared else "error",
                )
            )
            continue
        content = library.read(path)
        for pointer, place in _definitions(content, name) if path.name != "openapi.yaml" else ():
            if not any(
                one.file == path and (one.pointer[: len(pointer)] == pointer or one.pointer == ()) for one in reached
            ):
                findings.append(
                    Finding(
                        "components-used",
                        f"{pointer[-1]!r} is not used",
                        "refer to it, or remove it",
                        place,
                        severity="warning" if shared else "error",
                    )
                )
    return findings


def _definitions(content: Any, name: str) -> list[tuple[tuple[str, ...], Place]]:
    if not isinstance(content, Mapped):
        return []
    default = Place(name, 1)
    sections = content.get("components") if isinstance(content.get("components"), Mapped) else content
    prefix: tuple[str, ...] = ("components",) if sections is not content else ()
    if sections and all(key in grammar.GRAMMAR["components"] for key in sections):
        return [
            ((*prefix, section, key), place_of_child(entries, key, default))
            for section, entries in sections.items()
            if isinstance(entries, Mapped)
            for key in entries
        ]
    return [((key,), place_of_child(content, key, default)) for key in content]


def exceptions(project: Project, library: Library) -> list[Exempt]:
    """The entries of `lint-exceptions.yaml`. Raises `ContractError` on an entry that names no reason."""
    if not project.exceptions.exists():
        return []
    content = library.read(project.exceptions)
    name = library.name(project.exceptions)
    found = []
    for index, entry in enumerate(content if isinstance(content, list) else []):
        place = place_of_child(content, index, Place(name, 1))
        keys = ("rule", "surface", "pointer", "why")
        said = {key: entry[key] for key in keys if isinstance(entry.get(key), str)} if isinstance(entry, dict) else {}
        if len(said) < len(keys) or len(said["why"]) < 20:
            raise ContractError(
                Finding(
                    "exception-needed",
                    "an exception needs rule, surface, pointer and why",
                    "explain in a sentence why the rule cannot be followed here",
                    place,
                )
            )
        if said["rule"] not in load():
            raise ContractError(Finding("exception-needed", f"no rule is named {said['rule']}", "correct it", place))
        found.append(Exempt(said["rule"], said["surface"], said["pointer"], said["why"], place))
    return found
