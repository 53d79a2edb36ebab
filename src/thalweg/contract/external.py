"""`thalweg contract lint --external`: Spectral and Redocly as second and third opinions.

Both read the copy that is published (3.0.3, where streams are typed by their events), with the settings of
`spectral.yaml` and `redocly.yaml` beside the contracts where these exist, their recommended rules where not. What they
say is shown at the line of the source that it is about; a place that `lint-exceptions.yaml` exempts from the same rule
of ours is exempt from theirs.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from thalweg.contract import tools
from thalweg.contract.bundle import Bundle, as_json, bundle
from thalweg.contract.findings import ContractError, Finding, Place, Severity, in_order
from thalweg.contract.lint import exceptions
from thalweg.contract.project import Project
from thalweg.contract.publish import type_streams
from thalweg.contract.sources import Library, escape, place_of, place_of_child

SAME: dict[str, str] = {"redocly/no-ambiguous-paths": "path-ambiguous", "redocly/no-identical-paths": "path-ambiguous"}
"""Their rules that mean what one of ours means."""

DEFAULTS = {"spectral": "extends: ['spectral:oas']\n", "redocly": "extends: [recommended]\n"}


def lint(project: Project, surfaces: Sequence[str]) -> list[Finding]:
    """What Spectral and Redocly find in `surfaces`, sorted by file and line.

    Raises `ContractError` when Node.js or the tools cannot be had, or a bundle cannot be made.
    """
    tools.need("node")
    library = Library(project.root)
    made = {name: bundle(name, project.source(name), library) for name in surfaces}
    with tempfile.TemporaryDirectory(prefix="thalweg-lint-") as place:
        folder = Path(place)
        for name, one in made.items():
            published = json.loads(one.json())
            type_streams(published)
            (folder / f"{name}.json").write_bytes(as_json(published))
        found = [*_spectral(project, made, folder), *_redocly(project, made, folder)]
    exempt = {(one.rule, one.surface, one.pointer) for one in exceptions(project, library)}
    return in_order(one for one in found if (SAME.get(one.rule, ""), one.surface, one.pointer) not in exempt)


def _spectral(project: Project, made: dict[str, Bundle], folder: Path) -> Iterator[Finding]:
    settings = _settings(project, "spectral", folder)
    files = [f"{name}.json" for name in made]
    command = ["spectral", "lint", "--ruleset", str(settings), "--format", "json", "--quiet", *files]
    done = tools.npx(["spectral"], *command, "--fail-severity", "hint", folder=folder)
    for one in _json(done.stdout, "Spectral", done.returncode, done.stderr):
        surface = Path(one["source"]).stem
        severity = ("error", "warning", "warning", "warning")[one["severity"]]
        yield _finding(made[surface], f"spectral/{one['code']}", one["message"], one["path"], severity)


def _redocly(project: Project, made: dict[str, Bundle], folder: Path) -> Iterator[Finding]:
    settings = _settings(project, "redocly", folder)
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    for name in made:
        command = ["redocly", "lint", f"{name}.json", "--config", str(settings), "--format", "json"]
        done = tools.npx(["redocly"], *command, "--max-problems", "1000", folder=folder, env=quiet)
        report = _json(done.stdout, "Redocly", done.returncode, done.stderr)
        for one in report["problems"]:
            pointer = one["location"][0].get("pointer", "#/").removeprefix("#/")
            path = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/") if part]
            severity = "error" if one["severity"] == "error" else "warning"
            yield _finding(made[name], f"redocly/{one['ruleId']}", one["message"], path, severity)


def _settings(project: Project, tool: str, folder: Path) -> Path:
    file = project.contracts / f"{tool}.yaml"
    if not file.is_file():
        file = folder / f"{tool}.yaml"
        file.write_text(DEFAULTS[tool])
    return file


def _json(text: str, tool: str, code: int, errors: str) -> Any:
    # Both may print a line of their own before the report.
    start = min((at for at in (text.find("["), text.find("{")) if at >= 0), default=-1)
    if start < 0 and code == 0:
        return [] if tool == "Spectral" else {"problems": []}
    try:
        return json.JSONDecoder().raw_decode(text[start:])[0]
    except ValueError:
        said = " ".join((errors or text).split())[-800:] or "it said nothing"
        raise ContractError(Finding("tool", f"{tool} failed ({code}): {said}", "correct what it names")) from None


def _finding(made: Bundle, rule: str, message: str, path: Sequence[Any], severity: str) -> Finding:
    node: Any = made.document
    place = place_of(node, Place(made.files[0].name, 1))
    pointer: list[str | int] = []
    for part in path:
        key = int(part) if isinstance(node, list) and str(part).isdigit() else str(part)
        place = place_of_child(node, key, place)
        pointer.append(key)
        try:
            node = node[key]
        except (KeyError, IndexError, TypeError):
            break
    kind: Severity = "error" if severity == "error" else "warning"
    text = " ".join(message.split())
    return Finding(rule, text, "see the tool's page on the rule", place, escape(tuple(pointer)), kind, made.surface)
