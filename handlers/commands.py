"""The platform's own commands: `thalweg key`, `brain`, `account`, `invite`, `demo`, `db`; what `up` and `doctor` ask.

Everything is imported when a command runs, so that `thalweg --help` is quick.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from handlers import commands_people

if TYPE_CHECKING:
    from domain.brains import Brain
    from domain.kernel.context import Ctx
    from domain.kernel.db import Database
    from thalweg.doctor import Check
    from thalweg.settings import Settings

app = typer.Typer()
key = typer.Typer(help="API keys.", no_args_is_help=True)
brain = typer.Typer(help="Brains.", no_args_is_help=True)
db = typer.Typer(help="The database.", no_args_is_help=True)
app.add_typer(key, name="key")
app.add_typer(brain, name="brain")
app.add_typer(db, name="db")
app.add_typer(commands_people.account, name="account")
app.add_typer(commands_people.invite, name="invite")

DEMO = "demo"
SCOPES = ("invoke", "memory:read")
EXAMPLE = "Our supplier raised prices by 12 percent and deliveries slip by two weeks. Should we look for another one?"

Organisation = Annotated[str, typer.Option("--organisation", "-o", help="The organisation, by its slug.")]
Data = Annotated[Path | None, typer.Option(help="The data folder of the installation.", show_default=".data")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


# --- thalweg key ------------------------------------------------------------------------------------------------------


@key.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for, such as: nightly import.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="May be repeated.", show_default=", ".join(SCOPES))
    ] = None,
    organisation: Organisation = DEMO,
    create_organisation: Annotated[bool, typer.Option("--create", help="Make the organisation if need be.")] = False,
    days: Annotated[
        int | None, typer.Option(min=1, help="It expires after so many days.", show_default="never")
    ] = None,
    data: Data = None,
) -> None:
    """Make a key and print it. It is shown once: only its digest is stored."""
    from datetime import timedelta

    from domain import identity

    with _organisation(organisation, data, create=create_organisation) as ctx:
        expires = None if days is None else ctx.now() + timedelta(days=days)
        made, plain = identity.issue_api_key(ctx, name, list(scope or SCOPES), expires_at=expires)
        typer.echo(f"{made.name} ({made.id}): keep it now, it is not shown again.", err=True)
    typer.echo(plain)  # alone on standard output, and only once it is committed


@key.command("list")
def list_keys(organisation: Organisation = DEMO, as_json: AsJson = False, data: Data = None) -> None:
    """An organisation's keys, newest first. The keys themselves are not stored."""
    from domain import identity
    from domain.kernel.pages import CursorPage

    rows: list[dict[str, Any]] = []
    with _organisation(organisation, data) as ctx:
        cursor: str | None = None
        while True:
            page = identity.list_api_keys(ctx, CursorPage(100, cursor))
            for found in page.items:
                state = "revoked" if found.revoked_at else "active"
                if state == "active" and found.expires_at and found.expires_at <= ctx.now():
                    state = "expired"
                rows.append(
                    {
                        "id": str(found.id),
                        "name": found.name,
                        "scopes": " ".join(sorted(found.scopes)),
                        "state": state,
                        "created": f"{found.created_at:%Y-%m-%d %H:%M}Z",
                        "expires": f"{found.expires_at:%Y-%m-%d}" if found.expires_at else "never",
                    }
                )
            cursor = page.next_cursor
            if cursor is None:
                break
    _show(rows, as_json, "There are no keys. Make one: ./thalweg key create NAME")


@key.command("revoke")
def revoke_key(
    key_id: Annotated[UUID, typer.Argument(metavar="ID")], organisation: Organisation = DEMO, data: Data = None
) -> None:
    """Revoke a key for good. It is refused from this moment on."""
    from domain import identity

    with _organisation(organisation, data) as ctx:
        name = identity.revoke_api_key(ctx, key_id).name
    typer.echo(f"{name} ({key_id}) is revoked.")


# --- thalweg brain ----------------------------------------------------------------------------------------------------


@brain.command("create")
def create_brain(
    name: Annotated[str, typer.Argument()],
    slug: Annotated[str | None, typer.Option(help="Its short name.", show_default="made of the name")] = None,
    blocked: Annotated[list[str] | None, typer.Option("--block", help="A term that no answer may contain.")] = None,
    organisation: Organisation = DEMO,
    data: Data = None,
) -> None:
    """Make a brain and print its id."""
    from domain import brains

    with _organisation(organisation, data) as ctx:
        made = brains.create_brain(ctx, name, slug=slug, blocked_terms=list(blocked or ())).id
    typer.echo(str(made))


@brain.command("list")
def list_brains(organisation: Organisation = DEMO, as_json: AsJson = False, data: Data = None) -> None:
    """An organisation's brains."""
    from domain import brains

    with _organisation(organisation, data) as ctx:
        rows = [
            {
                "id": str(found.id),
                "slug": found.slug,
                "name": found.name,
                "created": f"{found.created_at:%Y-%m-%d %H:%M}Z",
            }
            for found in brains.list_brains(ctx)
        ]
    _show(rows, as_json, "There are no brains. Make one: ./thalweg brain create NAME")


# --- thalweg demo, thalweg db -----------------------------------------------------------------------------------------


@app.command()
def demo(data: Data = None) -> None:
    """Sample data: an organisation, a brain, a fresh key, and a call to try them with."""
    from thalweg.embedded.supervisor import noted

    with _stores(data) as (settings, database):
        url = str(noted(settings.data_dir).get("url") or settings.base_url)
        typer.echo(_welcome(database, url, "demo", always=True))


@db.command("upgrade")
def upgrade_database(data: Data = None) -> None:
    """Bring the database to this version. Safe to repeat, and to run from several machines at once."""
    from domain import migrations

    with _stores(data) as (settings, _):
        assert settings.database_url is not None
        before = migrations.current(settings.database_url.reveal())
        migrations.upgrade(settings.database_url.reveal())
        after = migrations.current(settings.database_url.reveal())
    typer.echo(f"The database is at {after}." if before == after else f"The database went from {before} to {after}.")


# --- what the toolkit asks --------------------------------------------------------------------------------------------


def prepare(settings: Settings, url: str) -> str:
    """Migrates; the first time, makes the demo organisation. Answers what a new user should read, or nothing."""
    from domain import migrations, startup
    from domain.kernel.db import Database

    startup.load_tables()
    assert settings.database_url is not None
    migrations.upgrade(settings.database_url.reveal())
    if settings.environment == "production":
        return ""
    database = Database(settings.database_url.reveal(), pool_size=1, application_name="thalweg prepare")
    try:
        return _welcome(database, url, "first call", always=False)
    finally:
        database.dispose()


def checks(settings: Settings) -> Iterator[Check]:
    """What `doctor` looks at beyond the toolkit's own parts: the schema and the models."""
    if settings.database_url is not None:
        yield _schema(settings.database_url.reveal())
    yield _models(settings)
    yield _speech(settings)
    yield _containers(settings)


def _schema(url: str) -> Check:
    from domain import migrations
    from thalweg.doctor import Check

    try:
        found, wanted = migrations.current(url), migrations.head()
    except Exception as error:  # the database itself has a check of its own
        return Check("schema", "warn", f"cannot be read ({type(error).__name__})", "See the check of the database.")
    if found == wanted:
        return Check("schema", "ok", f"at {found}, the newest")
    return Check("schema", "fail", f"at {found or 'nothing'}, this version needs {wanted}", "Run: ./thalweg db upgrade")


def _models(settings: Settings) -> Check:
    from domain import inference, startup
    from thalweg.doctor import Check

    try:
        startup.bind_models(settings)
        drivers = inference.drivers()
        drivers.warm()
    except ValueError as error:
        return Check("models", "fail", str(error), "docs/configuration.md describes the settings of models.")
    except Exception as error:
        return Check("models", "fail", f"cannot be loaded: {error}", "Reinstall: remove .venv and run ./thalweg again.")
    names = ", ".join(sorted(drivers.languages))
    return Check("models", "ok", f"embeddings and the model {drivers.default!r} load; installed: {names}")


def _speech(settings: Settings) -> Check:
    """Never loads the model: whether it is there is enough, and it is not needed by all."""
    from domain import inference
    from domain.kernel.errors import Unprocessable
    from thalweg.doctor import Check

    if settings.speech == "off":
        return Check("speech", "ok", "off: recordings are refused")
    try:
        inference.drivers().transcriber.available()
    except Unprocessable as missing:
        if settings.speech == "auto":
            return Check(
                "speech", "ok", "not installed: recordings are refused", "To hear them: ./thalweg --extra speech"
            )
        return Check("speech", "fail", "set, and not installed", missing.message)
    return Check("speech", "ok", f"{settings.speech}: recordings are heard")


def _containers(settings: Settings) -> Check:
    """Really runs something in the sandbox, which takes a second."""
    from domain import containers, startup
    from domain.kernel.errors import DomainError
    from thalweg.doctor import Check

    try:
        startup.bind_containers(settings)
        driver = containers.chosen()
        return Check("containers", "ok", f"{driver.name}: {driver.check()}")
    except containers.Off:
        return Check("containers", "ok", "off: agents run no code")
    except ValueError as error:
        return Check("containers", "fail", str(error), "docs/configuration.md describes the settings of containers.")
    except DomainError as error:
        return Check("containers", "warn", error.message, "See docs/containers.md, or set `containers` to off.")


# --- what these lean on -----------------------------------------------------------------------------------------------


def _welcome(database: Database, url: str, key_name: str, *, always: bool) -> str:
    """Makes the demo organisation, its brain and a key, and tells how to call it. Without `always` only the first
    time: a key is shown when it is made, and never again.
    """
    from domain import brains, identity
    from domain.kernel.context import SystemActor
    from domain.kernel.errors import NotFound

    actor = SystemActor("command line")
    with database.context(actor, None, frozenset({"admin"}), platform=True) as ctx:
        try:
            organisation = identity.find_organisation(ctx, DEMO).id
        except NotFound:
            organisation = identity.create_organisation(ctx, name="Demo", slug=DEMO).id
    with database.context(actor, organisation, frozenset({"admin"})) as ctx:
        if not always and identity.list_api_keys(ctx).items:
            return ""
        found = brains.find_brain(ctx, DEMO)
        if found is None:
            found = brains.create_brain(ctx, "Demo", slug=DEMO)
        _, plain = identity.issue_api_key(ctx, key_name, SCOPES)
        return _how_to_call(url, plain, found)


def _how_to_call(url: str, plain: str, found: Brain) -> str:
    body = {"session_id": "first", "input": {"type": "text", "content": EXAMPLE}}
    call = f"{url}/thalium/v1/brain/{found.id}"
    headers = f"-H 'X-API-Key: {plain}'"
    return (
        f"Your API key (shown this once): {plain}\n\n"
        f"Ask the demo brain:\n\n"
        f"  curl -N {call}/invoke {headers} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}\n\n"
        f"See what it has learnt:\n\n"
        f"  curl '{call}/memory?ring=session' {headers}\n"
    )


@contextmanager
def _stores(data: Path | None) -> Iterator[tuple[Settings, Database]]:
    """Settings and a database for one command: configured, running, or started for as long as it takes."""
    from domain import startup
    from domain.kernel.db import Database
    from domain.kernel.errors import DomainError
    from thalweg.config import load
    from thalweg.installation import connected, project_root

    with connected(load(root=project_root(), overrides={"data_dir": data})) as settings:
        startup.load_tables()
        startup.unlock(settings)
        assert settings.database_url is not None
        database = Database(settings.database_url.reveal(), pool_size=1, application_name="thalweg command")
        try:
            yield settings, database
        except DomainError as error:
            facts = "".join(f" {name}: {value}." for name, value in error.facts.items())
            typer.echo(f"{error.message}{facts}", err=True)
            raise typer.Exit(1) from None
        finally:
            database.dispose()


@contextmanager
def _platform(data: Path | None) -> Iterator[Ctx]:
    """A transaction of the operator's across all organisations. The schema is made first, where there is none."""
    from domain import migrations
    from domain.kernel.context import SystemActor

    with _stores(data) as (settings, database):
        assert settings.database_url is not None
        if migrations.current(settings.database_url.reveal()) is None:
            migrations.upgrade(settings.database_url.reveal())
        with database.context(SystemActor("command line"), None, frozenset({"admin"}), platform=True) as ctx:
            yield ctx


@contextmanager
def _organisation(slug: str, data: Path | None, *, create: bool = False) -> Iterator[Ctx]:
    """A transaction of the operator's in an organisation. The schema is brought up to date first."""
    from domain import identity, migrations
    from domain.kernel.context import SystemActor
    from domain.kernel.errors import NotFound

    actor = SystemActor("command line")
    with _stores(data) as (settings, database):
        assert settings.database_url is not None
        if migrations.current(settings.database_url.reveal()) is None:
            migrations.upgrade(settings.database_url.reveal())
        with database.context(actor, None, frozenset({"admin"}), platform=True) as ctx:
            try:
                found = identity.find_organisation(ctx, slug).id
            except NotFound:
                if not create and slug != DEMO:
                    raise NotFound(f"There is no organisation {slug!r}. Make it with: key create --create.") from None
                found = identity.create_organisation(ctx, name=slug.replace("-", " ").title(), slug=slug).id
        with database.context(actor, found, frozenset({"admin"})) as ctx:
            yield ctx


def _show(rows: list[dict[str, Any]], as_json: bool, otherwise: str) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif not rows:
        typer.echo(otherwise)
    else:
        # An id is there to be copied: it is never cut.
        table = Table(*(Column(name.capitalize(), no_wrap=name == "id") for name in rows[0]))
        for row in rows:
            table.add_row(*row.values())
        Console(highlight=False).print(table)
