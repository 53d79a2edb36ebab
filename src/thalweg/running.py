"""The commands that run: everything at once (`up`), and its parts singly (`serve`, `work`, `schedule`)."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel

from thalweg.config import environment_of, load
from thalweg.embedded.supervisor import Part, Plan, Supervisor, listen
from thalweg.installation import own_keys, provided, reachable, table
from thalweg.settings import Settings

__all__ = ["schedule", "serve", "settings_for_up", "up", "work"]

err = Console(stderr=True, highlight=False)
out = Console(highlight=False)


def settings_for_up(root: Path, given: Mapping[str, Any]) -> Settings:
    """The settings of `up`: as anywhere, but a development installation unless told otherwise."""
    return load(root=root, overrides=given, defaults={"environment": "development"})


def up(settings: Settings, root: Path, *, verbose: bool = False) -> int:
    """Runs everything under one supervisor until Ctrl-C. Returns the exit status."""
    keys = settings.secret_keys or own_keys(settings.data_dir)
    environment = _environment(
        root,
        environment=settings.environment,
        data_dir=settings.data_dir,
        host=settings.host,
        surfaces=settings.surfaces,
        secret_keys=keys,
        api_processes=1,  # each process is a child of the supervisor's own
        worker_processes=1,
    )
    environment["PROMETHEUS_MULTIPROC_DIR"] = str(_emptied(settings.data_dir / "metrics"))
    parts = [*_api(settings), *_workers(settings), Part("scheduler", ["scheduler"])]
    plan = Plan(
        root=root,
        data=settings.data_dir,
        host=settings.host,
        port=settings.port,
        parts=parts,
        prepare=["prepare"],
        environment=environment,
        start_postgres=settings.database_url is None,
        start_valkey=settings.redis_url is None,
        verbose=verbose,
    )

    def ready(url: str, said: str) -> None:
        address = settings.public_url or url
        text = f"[bold]Portal[/]   [link={address}]{address}[/]\n[bold]Data[/]     {settings.data_dir}"
        text += f"\n[bold]Logs[/]     {settings.data_dir / 'logs'}\n\nCtrl-C stops it."
        err.print(Panel(text, title="Thalweg is running", title_align="left", border_style="green", expand=False))
        if said.strip():
            sys.stdout.write(f"\n{said.strip()}\n\n")  # plain: it is there to be copied
            sys.stdout.flush()

    return Supervisor(plan, tell=_tell, ready=ready).run()


def serve(settings: Settings, root: Path, *, fd: int | None = None, parent: int | None = None) -> int:
    """One API process, or several under a supervisor. `fd` is a listening socket that was inherited."""
    settings.need("database_url", "redis_url")
    if settings.environment == "production":
        settings.need("secret_keys")
    if fd is None and settings.api_processes > 1:
        environment = _environment(
            root, host=settings.host, port=settings.port, surfaces=settings.surfaces, api_processes=1
        )
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(_emptied(settings.data_dir / "metrics"))
        return _several(root, _api(settings), environment, settings)
    from thalweg.sparing import spare

    spare()  # before the libraries are imported that import what is spared
    from thalweg.server import serve as run

    _begin(settings, parent)
    if fd is not None:
        return run(settings, root, listener=socket.socket(fileno=fd))
    listener = listen(settings.host, settings.port)
    host, port = listener.getsockname()[:2]
    _tell("api", f"listening on {host} port {port}")
    return run(settings, root, listener=listener)


def work(settings: Settings, root: Path, *, parent: int | None = None) -> int:
    """One worker process for one queue, or one for each of several under a supervisor."""
    settings.need("database_url", "redis_url")
    if len(settings.queues) > 1 or settings.worker_processes > 1:
        return _several(root, _workers(settings), _environment(root, worker_processes=1), settings)
    _begin(settings, parent)
    return int(_part(root, "run_worker")(settings, list(settings.queues)))


def schedule(settings: Settings, root: Path, *, parent: int | None = None) -> int:
    """Relay, scheduler and sweeper in this process."""
    settings.need("database_url", "redis_url")
    _begin(settings, parent)
    return int(_part(root, "run_scheduler")(settings))


def _begin(settings: Settings, parent: int | None) -> None:
    """What every process of the platform does first."""

    from thalweg import logs  # late: a server is spared some of what it imports

    logs.configure(settings.log_level, settings.log_format)
    if parent is not None:
        from thalweg.leash import follow

        follow(parent)


def _part(root: Path, name: str) -> Callable[..., Any]:
    reachable(root)
    if not table(root).get("workers"):
        signal.pause()  # a platform without background work
    found: Callable[..., Any] = provided(root, "workers", name)
    return found


def _several(root: Path, parts: Sequence[Part], environment: Mapping[str, str], settings: Settings) -> int:
    patience = settings.shutdown_seconds + 5.0
    plan = Plan(
        root=root,
        parts=parts,
        environment=environment,
        host=settings.host,
        port=settings.port,
        api_seconds=patience,
        work_seconds=patience,
    )
    return Supervisor(plan, tell=_tell, ready=lambda url, _: _tell("api", f"answers on {url}") if url else None).run()


def _api(settings: Settings) -> list[Part]:
    count = settings.api_processes
    return [Part("api" if count == 1 else f"api-{number}", ["serve"], serves=True) for number in range(1, count + 1)]


def _workers(settings: Settings) -> list[Part]:
    return [
        Part(f"worker-{queue}{f'-{number}' if number > 1 else ''}", ["worker", "--queue", queue])
        for queue in settings.queues
        for number in range(1, settings.worker_processes + 1)
    ]


def _environment(root: Path, **settings: Any) -> dict[str, str]:
    """What children see: our own environment, these settings on top, and the platform on the import path."""
    paths = [str(root), str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    search = os.pathsep.join(dict.fromkeys(path for text in paths for path in text.split(os.pathsep)))
    return {**os.environ, **environment_of(settings), "THALWEG_ROOT": str(root), "PYTHONPATH": search}


def _emptied(folder: Path) -> Path:
    """A folder for the numbers of all processes (see thalweg.edge.observe), without those of the last run."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.db"):
        old.unlink(missing_ok=True)
    return folder


def _tell(who: str, text: str) -> None:
    err.print(f"[dim]{who:>18}[/]  {_plain(text)}", soft_wrap=True)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape("".join(letter for letter in text if letter.isprintable() or letter in "\n\t"))
