"""`thalweg jobs ...`: what operators do with background jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

if TYPE_CHECKING:
    from domain.kernel.db import Database

app = typer.Typer()
Data = Annotated[Path | None, typer.Option(help="The data folder of the installation.", show_default=".data")]
jobs = typer.Typer(help="Background jobs: what failed, and another try.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")


@jobs.command("list")
def list_(
    state: Annotated[str, typer.Option(help="pending, running, done, failed or all.")] = "failed",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
    data: Data = None,
) -> None:
    """Jobs, newest first; those that failed for good, unless told otherwise."""
    from rich.console import Console
    from rich.table import Column, Table

    from domain.kernel.pages import CursorPage
    from workers import deadletters

    with _database(data) as database:
        found = deadletters.list_jobs(database, state=None if state == "all" else state, page=CursorPage(limit, None))
    out = Console(highlight=False)
    if not found.items:
        out.print(f"No jobs are {state}." if state != "all" else "There are no jobs.")
        return
    table = Table(Column("Id", no_wrap=True), "Job", "Queue", "State", "Tries", "Since (UTC)", "Why")
    for job in found.items:
        since = job.finished_at or job.started_at or job.created_at
        tries = f"{job.attempts}/{job.max_attempts}"
        why = (job.last_error or "").strip().splitlines()
        table.add_row(
            str(job.id), job.name, job.queue, job.state, tries, f"{since:%Y-%m-%d %H:%M}", why[-1] if why else ""
        )
    out.print(table)
    if found.next_cursor:
        out.print(f"There are more: --limit {min(limit * 2, 1000)}")


@jobs.command()
def retry(
    ids: Annotated[list[UUID] | None, typer.Argument(help="Jobs to try again.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that have failed.")] = False,
    data: Data = None,
) -> None:
    """Give failed jobs another chance, with all their tries."""
    from domain.kernel.errors import DomainError
    from domain.kernel.pages import CursorPage
    from workers import deadletters

    if not ids and not everything:
        raise typer.BadParameter("name at least one job, or say --all")
    failed = 0
    with _database(data) as database:
        wanted = list(ids or [])
        while everything and (page := deadletters.list_jobs(database, page=CursorPage(100, None)).items):
            fresh = [job.id for job in page if job.id not in wanted]
            if not fresh:
                break
            wanted += fresh
            for job_id in fresh:
                deadletters.retry(database, job_id)
                typer.echo(f"{job_id} is tried again.")
        for job_id in ids or []:
            try:
                job = deadletters.retry(database, job_id)
            except DomainError as error:
                failed += 1
                typer.echo(f"{job_id}: {error.message}", err=True)
            else:
                typer.echo(f"{job_id} ({job.name}) is tried again.")
    raise typer.Exit(1 if failed else 0)


@contextmanager
def _database(data: Path | None) -> Iterator[Database]:
    from domain.kernel.db import Database
    from thalweg.config import load
    from thalweg.installation import connected, project_root

    with connected(load(root=project_root(), overrides={"data_dir": data})) as settings:
        assert settings.database_url is not None
        database = Database(settings.database_url.reveal(), pool_size=1, application_name="thalweg command")
        try:
            yield database
        finally:
            database.dispose()
