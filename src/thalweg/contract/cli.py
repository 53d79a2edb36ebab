"""`thalweg contract ...`: the contracts from source files to everything that is made of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from thalweg.contract import project as projects
from thalweg.contract.findings import ContractError, Finding
from thalweg.contract.project import Project

if TYPE_CHECKING:
    from thalweg.contract.diff import Comparison

app = typer.Typer(
    name="contract",
    help="The published contracts: lint, bundle, generate, check, diff, coverage, publish, clients, pages.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Surfaces = Annotated[
    list[str] | None, typer.Option("--surface", "-s", help="Only this surface; may be given several times.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
Root = Annotated[
    Path | None, typer.Option("--project", help="The project's folder.", show_default="THALWEG_ROOT, here or above")
]


@contextmanager
def _opened(folder: Path | None, names: list[str] | None, as_json: bool) -> Iterator[tuple[Project, list[str]]]:
    """The project and the chosen surfaces; a contract that cannot be read ends the command with its findings."""
    try:
        found = projects.find(folder)
        yield found, found.chosen(names)
    except ContractError as error:
        _report(error.findings, as_json)
        raise typer.Exit(1) from None


def _report(findings: Sequence[Finding], as_json: bool) -> None:
    if as_json:
        print(json.dumps([one.as_json() for one in findings], indent=2))
        return
    if not findings:
        return
    if not out.is_terminal:
        for one in findings:
            out.print(f"{_plain(str(one))}", soft_wrap=True)
        return
    for file, group in groupby(findings, key=lambda one: one.place.file):
        out.print(f"[bold]{_plain(file)}[/]")
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 1))
        table.add_column(justify="right", style="cyan", no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        for one in group:
            colour = "red" if one.severity == "error" else "yellow"
            table.add_row(
                str(one.place.line), f"[{colour}]{one.rule}[/]", f"{_plain(one.message)}\n[dim]{_plain(one.fix)}[/]"
            )
        out.print(table)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


@app.command()
def lint(
    surface: Surfaces = None,
    as_json: AsJson = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules and leave.")] = False,
    external: Annotated[bool, typer.Option("--external", help="Ask Spectral and Redocly too (needs Node.js).")] = False,
    project: Root = None,
) -> None:
    """Hold the contracts against the rules of style and strictness."""
    from thalweg.contract.lint import lint as run
    from thalweg.contract.rules import load

    if rules:
        table = Table("rule", "what it wants", box=None)
        for one in load().values():
            table.add_row(f"[cyan]{one.name}[/]", _plain(one.what))
        out.print(table)
        return
    with _opened(project, surface, as_json) as (found, chosen):
        started = time.perf_counter()
        findings = run(found, chosen)
        if external:
            from thalweg.contract.external import lint as ask

            with err.status("Spectral and Redocly"):
                findings += ask(found, chosen)
        _report(findings, as_json)
        counts = Counter(one.severity for one in findings)
        if not as_json:
            seconds = time.perf_counter() - started
            verdict = "[green]clean[/]" if not findings else ", ".join(f"{n} {word}(s)" for word, n in counts.items())
            others = ", Spectral, Redocly" if external else ""
            err.print(f"{len(chosen)} surface(s), {len(load())} rules{others}, {seconds:.1f} s: {verdict}")
        if counts["error"] or (strict and findings):
            raise typer.Exit(1)


@app.command()
def bundle(
    surface: Surfaces = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder for <surface>.json; default: stdout.")
    ] = None,
    project: Root = None,
) -> None:
    """Put each surface's files together into one document with internal references."""
    from thalweg.contract.bundle import bundle as run
    from thalweg.contract.sources import Library

    with _opened(project, surface, False) as (found, chosen):
        if output is None and len(chosen) != 1:
            err.print("several surfaces: choose one with --surface, or a folder with --output")
            raise typer.Exit(2)
        library = Library(found.root)
        for name in chosen:
            made = run(name, found.source(name), library)
            if output is None:
                print(made.json().decode(), end="")
                continue
            output.mkdir(parents=True, exist_ok=True)
            (output / f"{name}.json").write_bytes(made.json())
            err.print(f"{output / name}.json: {len(made.operations())} operations from {len(made.files)} files")


@app.command()
def generate(
    surface: Surfaces = None,
    handlers: Annotated[
        bool, typer.Option("--handlers", help="Also write missing handler functions, which answer 501.")
    ] = False,
    project: Root = None,
) -> None:
    """Write bundle, models and manifest of each surface into the generated package."""
    from thalweg.contract.generate import generate as run

    with _opened(project, surface, False) as (found, chosen):
        started = time.perf_counter()
        for made in run(found, chosen):
            folder = found.generated / made.surface
            changed = made.write(folder)
            said = f"changed: {', '.join(changed)}" if changed else "up to date"
            err.print(f"[cyan]{made.surface}[/]: {said}")
            if handlers:
                from thalweg.contract.scaffold import scaffold

                for file, functions in scaffold(found, made.manifest).items():
                    err.print(f"  {file}: {len(functions)} function(s) that answer 501")
        err.print(f"{time.perf_counter() - started:.1f} s")


@app.command()
def check(surface: Surfaces = None, as_json: AsJson = False, project: Root = None) -> None:
    """Fail unless generated files and handler functions are what the contracts say."""
    from thalweg.contract.check import check as run

    with _opened(project, surface, as_json) as (found, chosen):
        started = time.perf_counter()
        findings = run(found, chosen)
        _report(findings, as_json)
        if not as_json:
            verdict = "[green]everything agrees[/]" if not findings else f"[red]{len(findings)} disagreement(s)[/]"
            err.print(f"{len(chosen)} surface(s), {time.perf_counter() - started:.1f} s: {verdict}")
        if findings:
            raise typer.Exit(1)


@app.command()
def diff(
    surface: Surfaces = None,
    as_json: AsJson = False,
    accept: Annotated[bool, typer.Option("--accept", help="Take the present contracts as released.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show harmless changes too.")] = False,
    project: Root = None,
) -> None:
    """Compare with the last release; fail on a breaking change that the version does not announce."""
    from thalweg.contract import diff as diffs

    with _opened(project, surface, as_json) as (found, chosen):
        compared = diffs.diff(found, chosen)
        if as_json:
            print(json.dumps([one.as_json() for one in compared], indent=2))
        for one in compared if not as_json else ():
            _show_comparison(one, everything)
        if not all(one.allowed for one in compared):
            raise typer.Exit(1)
        if accept:
            for file in diffs.accept(found, chosen):
                err.print(f"{file}: taken as released")


def _show_comparison(one: Comparison, everything: bool) -> None:
    if one.released is None:
        out.print(f"[cyan]{one.surface}[/] {one.present}: nothing was released yet")
        return
    counts = ", ".join(f"{number} {word}" for word, number in one.counts().items() if number) or "no change"
    out.print(f"[cyan]{one.surface}[/] {one.released} -> {one.present}: {counts}")
    table = Table(box=None, show_header=False, pad_edge=False)
    colours = {"breaking": "red", "warning": "yellow", "info": "dim"}
    for change in one.changes:
        if everything or change.verdict != "info":
            table.add_row(f"[{colours[change.verdict]}]{change.verdict}[/]", _plain(change.where), _plain(change.what))
    out.print(table)
    if not one.allowed:
        out.print(f"[red]raise info.version to {one.needed}, or take the breaking changes back[/]")


@app.command()
def coverage(
    surface: Surfaces = None,
    as_json: AsJson = False,
    tags: Annotated[bool, typer.Option("--tags", help="One line a tag.")] = False,
    report: Annotated[Path | None, typer.Option("--fuzz-report", show_default="reports/fuzz.json")] = None,
    project: Root = None,
) -> None:
    """Count operations: in the inventory, declared, implemented, answering 501, reached by fuzzing."""
    from thalweg.contract.coverage import coverage as run

    with _opened(project, surface, as_json) as (found, chosen):
        counted = run(found, chosen, report)
        if as_json:
            print(json.dumps(counted.as_json(), indent=2))
            return
        table = Table(box=None)
        for heading in ("surface", "tag") if tags else ("surface",):
            table.add_column(heading, style="cyan")
        for heading in ("inventory", "declared", "implemented", "501", "reached", "2xx"):
            table.add_column(heading, justify="right")
        for row in counted.rows if tags else counted.totals():
            numbers = [row.declared, row.implemented, row.not_implemented, row.reached, row.succeeded]
            fuzzed = [_number(one) if counted.fuzzed else "[dim]-[/]" for one in numbers[3:]]
            names = [row.surface, row.tag] if tags else [row.surface]
            table.add_row(*names, _number(row.inventory), *map(_number, numbers[:3]), *fuzzed)
        out.print(table)
        if counted.unlisted:
            out.print(f"[yellow]not in the inventory: {', '.join(counted.unlisted[:10])}[/]")
        if not counted.fuzzed:
            err.print("[dim]no fuzzing report yet: the contract tests write reports/fuzz.json[/]")


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(help="Where the static files go.")],
    surface: Surfaces = None,
    as_json: AsJson = False,
    project: Root = None,
) -> None:
    """Write the documents as static files: 3.0.3 and 3.1.0, JSON and YAML, and an index with their hashes."""
    from thalweg.contract.publish import publish as run

    with _opened(project, surface, as_json) as (found, chosen):
        files = run(found, chosen, folder)
        if as_json:
            print(json.dumps([asdict(one) for one in files], indent=2))
            return
        table = Table(box=None)
        for heading, side in (("file", "left"), ("openapi", "left"), ("bytes", "right"), ("sha256", "left")):
            table.add_column(heading, justify=side)  # type: ignore[arg-type]
        for one in files:
            table.add_row(f"[cyan]{folder / one.file}[/]", one.openapi, f"{one.bytes:,}", one.sha256[:16])
        out.print(table)


@app.command()
def pages(
    files: Annotated[list[Path] | None, typer.Argument(help="Markdown files.", show_default="docs/**/*.md")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a table is not true.")] = False,
    project: Root = None,
) -> None:
    """Write the tables that documents have of the contracts (`<!-- table: tags shop -->`)."""
    from thalweg.contract import pages as documents

    with _opened(project, None, False) as (found, _):
        stale = [page for page in documents.pages(found, files or ()) if page.stale]
        for page in stale:
            if not check:
                documents.write(page)
            out.print(f"{page.file}: {'not true any more' if check else 'written'}", soft_wrap=True)
        if check and stale:
            err.print("[red]run `thalweg contract pages`[/]")
            raise typer.Exit(1)


class ClientLanguage(StrEnum):
    """What clients can be made for."""

    python = "python"
    typescript = "typescript"
    java = "java"


@app.command()
def clients(
    lang: Annotated[list[ClientLanguage], typer.Option("--lang", "-l", help="May be given several times.")],
    surface: Surfaces = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Clients go to OUT/<language>/<surface>.", show_default="clients")
    ] = None,
    as_json: AsJson = False,
    project: Root = None,
) -> None:
    """Make clients: Python (httpx), TypeScript (fetch, needs Node.js), Java (needs Java)."""
    from thalweg.contract.clients import clients as run

    with _opened(project, surface, as_json) as (found, chosen):
        folder, made, started = out_folder or found.root / "clients", [], time.perf_counter()
        with err.status("clients") as status:
            for language in dict.fromkeys(lang):
                for one in run(found, chosen, language.value, folder, status.update):
                    made.append(one)
                    if as_json:
                        continue
                    said = f"{one.changed} changed" if one.changed else "up to date"
                    counts = f"{one.operations} operations, {one.files} files, {said}"
                    err.print(f"[cyan]{_plain(str(one.folder))}[/]: {counts}", soft_wrap=True)
                    for note in one.notes:
                        err.print(f"  [yellow]{_plain(note)}[/]", soft_wrap=True)
        if as_json:
            print(json.dumps([asdict(one) | {"folder": str(one.folder)} for one in made], indent=2))
        else:
            err.print(f"{len(made)} client(s), {time.perf_counter() - started:.1f} s")


def _number(value: int) -> str:
    return str(value) if value else "[dim]0[/]"
