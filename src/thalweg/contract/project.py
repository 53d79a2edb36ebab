"""`[tool.thalweg]` of pyproject.toml: which surfaces there are and where their files live."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thalweg.contract.findings import ContractError, Finding, Place

EXTENSIONS = "extensions.schema.json"
EXCEPTIONS = "lint-exceptions.yaml"


@dataclass(frozen=True)
class Project:
    """A spec-first project. Folders are absolute; `handlers` is an importable package name and a folder of `root`."""

    root: Path
    surfaces: dict[str, str]
    """Surface key to base path."""
    contracts: Path
    generated: Path
    handlers: str = "handlers"
    application: str = "handlers.app"
    """Module with `platform(settings)`: what the edge asks of the domain."""
    commands: str | None = None
    """Module with a Typer `app`: the platform's own commands."""
    workers: str = "workers.main"
    """Module with `run_worker(settings, queues)` and `run_scheduler(settings)`."""
    released: Path = Path("openapi/released")
    inventory: Path | None = None
    limits: dict[str, Any] = field(default_factory=dict)
    handler_types: dict[str, str] = field(default_factory=dict)
    """Types for scaffolded functions, as `module:Name`: `context`, `offset`, `cursor`. Missing ones become Any."""

    def base_path(self, surface: str) -> str:
        """Where a surface is served; a surface that is not declared yet goes by its name."""
        return self.surfaces.get(surface, f"/{surface}")

    def source(self, surface: str) -> Path:
        """The surface's entry document."""
        return self.contracts / surface / "openapi.yaml"

    @property
    def handlers_folder(self) -> Path:
        return self.root.joinpath(*self.handlers.split("."))

    @property
    def extensions(self) -> Path:
        """The schema of the legal `x-*` keys."""
        return self.contracts / EXTENSIONS

    @property
    def exceptions(self) -> Path:
        """The named list of places where a lint rule is not followed, and why."""
        return self.contracts / EXCEPTIONS

    def chosen(self, names: list[str] | None) -> list[str]:
        """The surfaces a command works on: `names`, or all declared ones.

        A contract that is being written may be named before it is declared. Raises `ContractError` on an unknown one.
        """
        unknown = [name for name in names or [] if name not in self.surfaces and not self.source(name).is_file()]
        if unknown:
            known = ", ".join(self.surfaces) or "none"
            raise ContractError(
                Finding(
                    "project",
                    f"no surface is named {', '.join(unknown)}",
                    f"known: {known}; add it to [tool.thalweg.surfaces]",
                    Place("pyproject.toml", 1),
                )
            )
        return list(dict.fromkeys(names)) if names else list(self.surfaces)


def find(start: Path | None = None) -> Project:
    """The project that `start` lies in; not given: THALWEG_ROOT (which ./thalweg sets), or the working directory.

    Raises `ContractError` where no parent folder has a pyproject.toml with a `[tool.thalweg]` table.
    """
    here = (start or Path(os.environ.get("THALWEG_ROOT") or Path.cwd())).resolve()
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            try:
                table = tomllib.loads(file.read_text("utf-8")).get("tool", {}).get("thalweg")
            except tomllib.TOMLDecodeError as error:
                raise ContractError(
                    Finding("project", f"not TOML: {error}", "correct the syntax", Place(str(file), 1))
                ) from None
            if isinstance(table, dict):
                return read(folder, table)
    raise ContractError(
        Finding(
            "project",
            f"no pyproject.toml with [tool.thalweg] at or above {here}",
            "run this inside the project, or add the table",
            Place("pyproject.toml", 1),
        )
    )


def read(root: Path, table: dict[str, Any]) -> Project:
    """The project that a `[tool.thalweg]` table describes. Raises `ContractError` on a malformed table."""

    def wrong(message: str, fix: str) -> ContractError:
        return ContractError(Finding("project", message, fix, Place("pyproject.toml", 1)))

    surfaces = table.get("surfaces", {})
    if not isinstance(surfaces, dict) or not surfaces:
        raise wrong("[tool.thalweg.surfaces] is empty", 'add a line such as: shop = "/shop"')
    for name, base in surfaces.items():
        if not name.isidentifier() or name != name.lower():
            raise wrong(f"surface {name!r} is not a lower-case Python name", "rename the surface")
        if not isinstance(base, str) or not base.startswith("/") or base.endswith("/"):
            raise wrong(f"surface {name}: base path {base!r}", "write it with a leading and without a trailing slash")
    inventory = table.get("inventory")
    return Project(
        root=root,
        surfaces=dict(surfaces),
        contracts=root / table.get("contracts", "openapi"),
        generated=root / table.get("generated", "generated"),
        handlers=table.get("handlers", "handlers"),
        application=table.get("application", "handlers.app"),
        commands=table.get("commands"),
        workers=table.get("workers", "workers.main"),
        released=root / table.get("released", "openapi/released"),
        inventory=root / inventory if inventory else None,
        limits={**_declared_limits(root / table.get("contracts", "openapi"), surfaces), **table.get("limits", {})},
        handler_types=dict(table.get("handler-types", {})),
    )


def _declared_limits(contracts: Path, surfaces: dict[str, str]) -> dict[str, Any]:
    """The numbers of the limits that each surface names, from the `limits.toml` beside its document."""
    declared: dict[str, Any] = {}
    for surface in surfaces:
        file = contracts / surface / "limits.toml"
        if file.is_file():
            declared.update(tomllib.loads(file.read_text("utf-8")))
    return declared
