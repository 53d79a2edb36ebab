"""Handler functions and operations, one to one: read from the source text, without importing a handler.

`operationId: createThing` on tag `things` of surface `s` is `create_thing` in `<handlers>/s/things.py`. Besides the
functions of its tag a module holds private ones only (`_name`); `wire.py`, `wire_things.py`, `errors.py` and
`_private.py` are free.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.contract.findings import Finding, Place
from thalweg.contract.project import Project
from thalweg.naming import snake_case

FREE_MODULES = {"__init__", "wire", "errors"}
_NOT_IMPLEMENTED = "not_implemented"

Entry = Mapping[str, Any]
"""One operation of a manifest."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A public function of a handler module."""

    name: str
    module: str
    place: Place
    arguments: list[str]
    asynchronous: bool
    not_implemented: bool
    """It only raises `not_implemented()`, that is, it answers 501."""
    body_models: frozenset[str]
    """Names `X` of `requests.X` in the annotation of `body`."""
    answer_models: frozenset[str]
    """Names `X` of `responses.X` in the return annotation."""


def read(project: Project, surface: str) -> tuple[dict[str, dict[str, Handler]], list[Finding]]:
    """The public functions of a surface's handler modules by module, and modules that cannot be parsed."""
    modules: dict[str, dict[str, Handler]] = {}
    findings = []
    folder = project.handlers_folder / surface
    for file in sorted(folder.glob("*.py")):
        if file.stem in FREE_MODULES or file.stem.startswith(("_", "wire_")):
            continue
        name = file.relative_to(project.root).as_posix()
        try:
            tree = ast.parse(file.read_text("utf-8"), name)
        except SyntaxError as error:
            findings.append(
                Finding("handler-syntax", str(error.msg), "correct the syntax", Place(name, error.lineno or 1))
            )
            continue
        modules[file.stem] = {
            node.name: _handler(node, file.stem, name)
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        }
    return modules, findings


def compare(project: Project, manifest: Mapping[str, Any]) -> list[Finding]:
    """Where functions and operations differ: missing, extra, other arguments, other models."""
    surface = str(manifest["surface"])
    modules, findings = read(project, surface)
    broken = {Path(one.place.file).stem for one in findings}
    folder = (project.handlers_folder / surface).relative_to(project.root).as_posix()
    expected: dict[str, dict[str, Entry]] = {}
    for entry in manifest["operations"]:
        expected.setdefault(snake_case(entry["tag"]), {})[snake_case(entry["operation_id"])] = entry
    for module, entries in expected.items():
        for name, entry in entries.items():
            handler = modules.get(module, {}).get(name)
            if handler is not None:
                findings += _judge(handler, entry)
            elif module not in broken:
                findings.append(
                    Finding(
                        "handler-missing",
                        f"{entry['method']} {entry['path']} has no function {name}",
                        "write it, or run `thalweg contract generate --handlers`",
                        Place(f"{folder}/{module}.py", 1),
                    )
                )
    for module, handlers in modules.items():
        for name, handler in handlers.items():
            if name not in expected.get(module, {}):
                findings.append(
                    Finding(
                        "handler-extra",
                        f"{name} belongs to no operation of tag {module}",
                        "declare the operation, or begin the name with _",
                        handler.place,
                    )
                )
        if module not in expected and not handlers:
            findings.append(
                Finding(
                    "handler-extra",
                    f"no tag is named {module}",
                    "move the code to wire.py or to a module beginning with _",
                    Place(f"{folder}/{module}.py", 1),
                )
            )
    return findings


def _judge(handler: Handler, entry: Entry) -> Iterator[Finding]:
    def finding(rule: str, message: str, fix: str) -> Finding:
        return Finding(rule, f"{handler.name}: {message}", fix, handler.place)

    if handler.asynchronous:
        yield finding("handler-arguments", "handlers are synchronous", "write `def`; the edge owns the event loop")
    needed, allowed = arguments(entry)
    if handler.arguments[:1] != ["ctx"]:
        yield finding("handler-arguments", "the first argument is not ctx", "begin with ctx")
    for name in needed:
        if name not in handler.arguments:
            yield finding("handler-arguments", f"{name!r} is declared and not taken", "take it as an argument")
    for name in handler.arguments[1:]:
        if name not in allowed:
            yield finding("handler-arguments", f"{name!r} is nothing that the contract declares", "remove or rename it")
    model = (entry.get("request") or {}).get("model")
    for name in sorted(handler.body_models - {model}):
        yield finding("handler-models", f"body is annotated requests.{name}", f"the contract says requests.{model}")
    answers = {
        name
        for status, content in entry["responses"].items()
        if status.startswith("2")
        for name in content.values()
        if name
    }
    for name in sorted(handler.answer_models - answers):
        said = ", ".join(f"responses.{one}" for one in sorted(answers)) or "none"
        yield finding("handler-models", f"answers responses.{name}", f"the contract says {said}")


def arguments(entry: Entry) -> tuple[list[str], set[str]]:
    """What the function of an operation must take, and all it may. Headers and cookies are the edge's: optional."""
    needed = []
    allowed = set()
    if entry.get("request"):
        needed.append("body")
    if entry["extensions"].get("x-pagination"):
        needed.append("page")
    for parameter in entry["parameters"]:
        if parameter["paging"]:
            continue
        allowed.add(parameter["python"])
        if parameter["in"] in ("path", "query"):
            needed.append(parameter["python"])
    return needed, allowed | set(needed)


def _handler(node: ast.FunctionDef | ast.AsyncFunctionDef, module: str, file: str) -> Handler:
    args = node.args
    named = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    extra = [one.arg for one in (args.vararg, args.kwarg) if one is not None]
    body = next((one.annotation for one in named if one.arg == "body"), None)
    return Handler(
        node.name,
        module,
        Place(file, node.lineno),
        [one.arg for one in named] + extra,
        isinstance(node, ast.AsyncFunctionDef),
        _only_refuses(node.body),
        frozenset(_models(body, "requests")),
        frozenset(_models(node.returns, "responses")),
    )


def _only_refuses(body: list[ast.stmt]) -> bool:
    statements = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    if len(statements) != 1 or not isinstance(statements[0], ast.Raise):
        return False
    raised = statements[0].exc
    called = raised.func if isinstance(raised, ast.Call) else raised
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return name == _NOT_IMPLEMENTED


def _models(annotation: ast.expr | None, module: str) -> Iterator[str]:
    if annotation is None:
        return
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    for node in ast.walk(annotation):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module:
            yield node.attr
