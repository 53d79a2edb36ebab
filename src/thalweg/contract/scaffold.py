"""Handler functions for operations that have none: they answer 501 until somebody writes them."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thalweg.contract.handlers import Entry, arguments, read
from thalweg.contract.project import Project
from thalweg.naming import snake_case

_REFUSE = "from thalweg.edge.problem import not_implemented"


def scaffold(project: Project, manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Add what is missing; existing functions are never touched. Answers the new functions by file."""
    surface = str(manifest["surface"])
    modules, broken = read(project, surface)
    unreadable = {Path(one.place.file).stem for one in broken}
    missing: dict[str, list[Entry]] = {}
    for entry in manifest["operations"]:
        module = snake_case(entry["tag"])
        if module not in unreadable and snake_case(entry["operation_id"]) not in modules.get(module, {}):
            missing.setdefault(module, []).append(entry)
    written: dict[str, list[str]] = {}
    folder = project.handlers_folder / surface
    for module, entries in missing.items():
        file = folder / f"{module}.py"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "__init__.py").exists():
            (folder / "__init__.py").write_text("", "utf-8")
        text = file.read_text("utf-8") if file.exists() else _docstring(project, surface, entries[0]["tag"])
        file.write_text(_extended(text, project, surface, entries), "utf-8")
        written[file.relative_to(project.root).as_posix()] = [snake_case(one["operation_id"]) for one in entries]
        _tidy(file)
    return written


def _docstring(project: Project, surface: str, tag: str) -> str:
    """What the contract says of the tag in its first sentence; the tag's name where it says nothing."""
    file = project.generated / surface / "bundle.json"
    tags = json.loads(file.read_bytes()).get("tags", ()) if file.exists() else ()
    said = next((one.get("description", "") for one in tags if one["name"] == tag), "")
    sentence = re.split(r"(?<=[.!?])\s", " ".join(said.split()), maxsplit=1)[0].translate({34: 39, 92: 47})
    return f'"""{sentence or f"Operations of the tag {tag}."}"""\n'


def _extended(text: str, project: Project, surface: str, entries: list[Entry]) -> str:
    functions = [_function(project, entry) for entry in entries]
    body = "\n\n\n".join(functions)
    types = [line for name, line in _type_imports(project, surface).items() if name in body]
    return _with_imports(text, types).rstrip() + "\n\n\n" + body + "\n"


def _type_imports(project: Project, surface: str) -> dict[str, str]:
    """Import lines by the word that needs them."""
    package = project.generated.relative_to(project.root).as_posix().replace("/", ".")
    lines = {
        "UUID": "from uuid import UUID",
        "datetime": "from datetime import datetime",
        "date | ": "from datetime import date",
        "Any": "from typing import Any",
        "requests.": f"from {package}.{surface} import requests",
        "responses.": f"from {package}.{surface} import responses",
    }
    for path in project.handler_types.values():
        module, _, name = path.partition(":")
        lines[name] = f"from {module} import {name}"
    return lines


def _with_imports(text: str, types: list[str]) -> str:
    """Add the import lines that the text lacks, after its last import."""
    tree = ast.parse(text)
    known = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    wanted = [line for line in ("from __future__ import annotations", _REFUSE, *types) if line.split()[-1] not in known]
    last = 0
    for node in tree.body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Import | ast.ImportFrom) or (is_text and last == 0):
            last = node.end_lineno or last
    lines = text.splitlines()
    future = [line for line in wanted if "__future__" in line]
    rest = [line for line in wanted if "__future__" not in line]
    docstring = tree.body[0].end_lineno or 0 if ast.get_docstring(tree) is not None else 0
    lines[last:last] = ["", *rest] if rest and last == docstring else rest
    lines[docstring:docstring] = ["", *future] if future else []
    return "\n".join(lines)


def _function(project: Project, entry: Entry) -> str:
    _, allowed = arguments(entry)
    types = project.handler_types
    required = [f"ctx: {_short(types.get('context'))}"]
    optional = []
    for parameter in entry["parameters"]:
        if parameter["paging"] or parameter["python"] not in allowed or parameter["in"] not in ("path", "query"):
            continue
        kind = parameter["type"]
        if parameter["required"] or parameter["default"]:
            required.append(f"{parameter['python']}: {kind}")
        else:
            optional.append(f"{parameter['python']}: {kind} | None = None")
    if entry.get("request"):
        model = entry["request"]["model"]
        kind = f"requests.{model}" if model else "Any"
        required.append(f"body: {kind}" + ("" if entry["request"]["required"] else " | None"))
    style = entry["extensions"].get("x-pagination")
    if style:
        required.append(f"page: {_short(types.get(style))}")
    name = snake_case(entry["operation_id"])
    summary = str(entry.get("summary") or name).rstrip(".")
    return (
        f"def {name}({', '.join(required + optional)}) -> {_answer(entry)}:\n"
        f'    """{summary[:1].upper() + summary[1:]}."""\n    raise not_implemented()'
    )


def _short(path: str | None) -> str:
    return path.partition(":")[2] if path else "Any"


def _answer(entry: Entry) -> str:
    names = {
        name for status, content in entry["responses"].items() if status.startswith("2") for name in content.values()
    }
    known = sorted(f"responses.{name}" for name in names if name)
    if None in names or entry["stream"]:
        return "Any"
    return " | ".join(known) or "None"


def _tidy(file: Path) -> None:
    """Sort imports and format, where ruff is at hand; its absence is no error."""
    ruff = shutil.which("ruff")
    if ruff:
        subprocess.run([ruff, "check", "--quiet", "--select", "I", "--fix", str(file)], check=False)
        subprocess.run([ruff, "format", "--quiet", str(file)], check=False)
