"""This installation: where the project lies, what it names in `[tool.thalweg]`, its keys, and its running stores."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import importlib
import os
import secrets
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thalweg.config_fields import Secret
from thalweg.settings import Settings

__all__ = [
    "InstallationError",
    "connected",
    "own_keys",
    "platform_modules",
    "project_root",
    "provided",
    "table",
    "with_keys",
]


class InstallationError(RuntimeError):
    """The project around the toolkit is not as it should be; the text says what to do."""


def project_root() -> Path:
    """The folder of the platform: THALWEG_ROOT (which ./thalweg sets), or the first one with `[tool.thalweg]` from the
    working directory upwards. Raises InstallationError.
    """
    given = os.environ.get("THALWEG_ROOT")
    here = Path(given) if given else Path.cwd()
    for folder in (here, *here.parents):
        if table(folder):
            return folder
    raise InstallationError(f"No pyproject.toml with [tool.thalweg] at or above {here}. Run this inside the project.")


def table(root: Path) -> Mapping[str, Any]:
    """`[tool.thalweg]`, or nothing where there is none."""
    with contextlib.suppress(OSError, tomllib.TOMLDecodeError):
        found = tomllib.loads((root / "pyproject.toml").read_text("utf-8")).get("tool", {}).get("thalweg", {})
        if isinstance(found, dict):
            return found
    return {}


def platform_modules(root: Path, key: str) -> list[Any]:
    """The modules that `[tool.thalweg]` names under `key` (one, or a list), imported. Raises InstallationError."""
    names = table(root).get(key, [])
    found = []
    reachable(root)
    for name in [names] if isinstance(names, str) else names:
        try:
            found.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise  # the module is there, and lacks something itself
            raise InstallationError(
                f"[tool.thalweg] {key} in pyproject.toml names {name!r}, which is missing."
            ) from error
    return found


def provided(root: Path, key: str, name: str) -> Any:
    """The attribute `name` of the first of these modules that has it. Raises InstallationError."""
    for module in platform_modules(root, key):
        if hasattr(module, name):
            return getattr(module, name)
    raise InstallationError(f"No module that [tool.thalweg] {key} names in pyproject.toml has {name!r}.")


def reachable(root: Path) -> None:
    """Puts the platform's packages on the import path."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))


def own_keys(data: Path) -> tuple[Secret, ...]:
    """The encryption keys that this installation made for itself (`<data>/secret.keys`), made on first use."""
    path = data / "secret.keys"
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        with (
            contextlib.suppress(FileExistsError),
            os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file,
        ):
            file.write(f"k1:{key}\n")
    return tuple(Secret(line) for line in path.read_text(encoding="ascii").split() if line)


def with_keys(settings: Settings) -> Settings:
    """The settings with the installation's own keys, unless an operator has given others."""
    return settings if settings.secret_keys else dataclasses.replace(settings, secret_keys=own_keys(settings.data_dir))


@contextlib.contextmanager
def connected(settings: Settings, *, valkey: bool = False) -> Iterator[Settings]:
    """The settings with a database (and Valkey, if asked for) to talk to, for a command: the configured one, the one
    that `thalweg up` runs on this data folder, or else the embedded one, started for as long as the command takes.
    Raises InstallationError when there is none.
    """
    from thalweg.embedded.postgres import Postgres
    from thalweg.embedded.process import FolderInUseError
    from thalweg.embedded.valkey import Valkey

    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        if settings.database_url is None:
            if not (settings.data_dir / "postgres" / "cluster").exists():
                raise InstallationError(
                    f"There is no database in {settings.data_dir} yet. Start Thalweg once (./thalweg up), name its "
                    "data folder with --data, or set THALWEG_DATABASE_URL."
                )
            postgres = Postgres(settings.data_dir / "postgres")
            try:
                found["database_url"] = Secret(postgres.start())
                stack.callback(postgres.stop)
            except FolderInUseError:
                found["database_url"] = Secret(postgres.join())
        if valkey and settings.redis_url is None:
            server = Valkey(settings.data_dir / "valkey")
            try:
                found["redis_url"] = Secret(server.start())
                stack.callback(server.stop)
            except FolderInUseError:
                found["redis_url"] = Secret(server.url)
        yield dataclasses.replace(with_keys(settings), **found)
