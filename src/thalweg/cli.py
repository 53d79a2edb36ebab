"""The command line. `main()` is what ./thalweg and `python -m thalweg` run.

Commands of the toolkit stand here and import what they need when they are called, so that `--help` is quick; the
platform's own join from the modules that `[tool.thalweg]` names. Exit status: 0 done, 1 failed, 2 wrong use or
settings.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from thalweg.installation import InstallationError, platform_modules, project_root, provided, reachable

if TYPE_CHECKING:
    from thalweg.settings import Settings

__all__ = ["app", "main"]

err = Console(stderr=True, highlight=False)
out = Console(highlight=False)

app = typer.Typer(
    name="thalweg",
    help="Five published API contracts, one domain. Begin with: ./thalweg up",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="8080")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")]
Data = Annotated[Path | None, typer.Option(help="Folder for databases, files and logs.", show_default=".data")]
Surfaces = Annotated[list[str] | None, typer.Option("--surface", help="Serve only this one; may be repeated.")]
Parent = Annotated[int | None, typer.Option(hidden=True)]


@app.command()
def up(
    port: Port = None,
    data: Data = None,
    surface: Surfaces = None,
    host: Host = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes for each queue.", show_default="1")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show all that the processes log.")] = False,
) -> None:
    """Start everything: databases, API, workers, scheduler. Ctrl-C stops it."""
    from thalweg import running

    root = project_root()
    _check_surfaces(root, surface)
    given = {"port": port, "data_dir": data, "surfaces": surface, "host": host, "worker_processes": workers}
    settings = running.settings_for_up(root, given)
    raise SystemExit(running.up(settings, root, verbose=verbose))


@app.command()
def serve(
    port: Port = None,
    host: Host = None,
    surface: Annotated[
        list[str] | None,
        typer.Option("--surface", help="Serve only this one, at the root of the port; may be repeated."),
    ] = None,
    processes: Annotated[int | None, typer.Option(help="API processes.", show_default="1")] = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    parent: Parent = None,
) -> None:
    """Serve the API alone, for production. Needs a database and a Redis or Valkey server (see `doctor`)."""
    from thalweg import running

    root = project_root()
    _check_surfaces(root, surface)
    given = {"port": port, "host": host, "surfaces": surface, "api_processes": processes}
    raise SystemExit(running.serve(_settings(root, **given), root, fd=fd, parent=parent))


@app.command()
def worker(
    queue: Annotated[
        list[str] | None, typer.Option("--queue", help="Work on this queue; may be repeated.", show_default="all")
    ] = None,
    processes: Annotated[int | None, typer.Option(help="Processes for each queue.", show_default="1")] = None,
    parent: Parent = None,
) -> None:
    """Run background jobs, one process for each queue."""
    from thalweg import running

    root = project_root()
    settings = _settings(root, queues=queue, worker_processes=processes)
    raise SystemExit(running.work(settings, root, parent=parent))


@app.command()
def scheduler(parent: Parent = None) -> None:
    """Hand jobs to the workers: relay, scheduler and sweeper. One is enough; several do no harm."""
    from thalweg import running

    root = project_root()
    raise SystemExit(running.schedule(_settings(root), root, parent=parent))


@app.command()
def doctor(
    data: Data = None, as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False
) -> None:
    """Check each component and say what to do. Works when nothing runs; ends with 1 when something is broken."""
    from thalweg import doctor as doctors

    raise SystemExit(doctors.run(project_root(), {"data_dir": data}, out, as_json=as_json))


@app.command(hidden=True)
def prepare(url: str) -> None:
    """What `up` runs before it starts the rest: migrations, and what a new user should read."""
    root = project_root()
    typer.echo(provided(root, "commands", "prepare")(_settings(root), url), nl=False)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True}, add_help_option=False)
def test(context: typer.Context) -> None:
    """Run all checks: lint, types, imports, contract, unit, integration, fuzz. Arguments go to tox (-e unit)."""
    import os

    launcher = str(project_root() / "thalweg")  # it knows how to get the test runner
    os.execv(sys.executable, [sys.executable, launcher, "test", *context.args])  # noqa: S606


def _settings(root: Path, **overrides: Any) -> Settings:
    from thalweg.config import load

    return load(root=root, overrides=overrides)


def _check_surfaces(root: Path, names: list[str] | None) -> None:
    if names:
        from thalweg.contract import project as projects

        projects.find(root).chosen(names)


def _said(error: BaseException) -> Callable[[], None]:
    """How to tell a person of an error, by its kind."""
    from thalweg.config import SettingsError

    if isinstance(error, SettingsError):
        many = "These settings are" if len(error.problems) > 1 else "A setting is"

        def show() -> None:
            err.print(f"[red]{many} wrong.[/] docs/configuration.md describes them all.")
            for problem in error.problems:
                err.print(f"  [bold]{problem.origin}[/]: {problem.message}", markup=True, soft_wrap=True)

        return show
    return lambda: err.print("[red]It did not work.[/]", str(error), soft_wrap=True)


def _expected() -> tuple[type[BaseException], ...]:
    """Errors that are explained by their text; all others are faults of ours and shown with their trace."""
    kinds: list[type[BaseException]] = [InstallationError]
    for module, name in (
        ("thalweg.embedded.process", "EmbeddedError"),
        ("thalweg.embedded.supervisor", "UpError"),
        ("thalweg.contract.findings", "ContractError"),
    ):
        if module in sys.modules:  # what was not imported was not raised
            kinds.append(getattr(sys.modules[module], name))
    return tuple(kinds)


def _join(called: str) -> None:
    """Adds the commands that stand elsewhere, as far as `called` (or the list of all) needs them."""
    if called in {command.callback.__name__ for command in app.registered_commands if command.callback}:
        return
    text = "The published contracts: lint, bundle, generate, check, diff, coverage, publish."
    if called == "contract":
        app.add_typer(importlib.import_module("thalweg.contract.cli").app, name="contract", help=text)
        return
    app.add_typer(typer.Typer(help=text, callback=lambda: None), name="contract")  # its name, for the list
    try:
        modules = platform_modules(project_root(), "commands")
    except Exception as error:  # a platform that does not import must not take `doctor` away
        err.print("[yellow]The platform's own commands are missing:[/]", str(error), soft_wrap=True)
        return
    for module in modules:
        app.registered_commands += module.app.registered_commands
        app.registered_groups += module.app.registered_groups


def main() -> None:
    """Runs the command line and ends the process."""
    with contextlib.suppress(InstallationError):  # said by the command that needs the project
        reachable(project_root())
    _join(sys.argv[1] if len(sys.argv) > 1 else "")
    try:
        app(prog_name="./thalweg")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:  # `| head`
        raise SystemExit(0) from None
    except ValueError as error:
        if type(error).__name__ != "SettingsError":
            raise
        _said(error)()
        raise SystemExit(2) from None
    except Exception as error:
        if not isinstance(error, _expected()):
            raise
        _said(error)()
        raise SystemExit(1) from None
