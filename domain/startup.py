"""What every process does before it calls a verb: know all tables, and bind the model drivers."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import domain
from domain import inference
from domain.kernel import crypto


class Secret(Protocol):
    def reveal(self) -> str: ...


class PlatformSettings(Protocol):
    """What the domain reads of the platform's settings (docs/configuration.md)."""

    @property
    def secret_keys(self) -> Sequence[Secret]: ...
    @property
    def model(self) -> str: ...
    @property
    def vision_model(self) -> str | None: ...
    @property
    def embeddings(self) -> str: ...
    @property
    def speech(self) -> str: ...
    @property
    def openai_api_key(self) -> Secret | None: ...
    @property
    def openai_base_url(self) -> str | None: ...
    @property
    def anthropic_api_key(self) -> Secret | None: ...
    @property
    def anthropic_base_url(self) -> str | None: ...


def prepare(settings: PlatformSettings) -> None:
    """Raises `ValueError` that names the setting that the domain cannot use."""
    load_tables()
    unlock(settings)
    bind_models(settings)


def bind_models(settings: PlatformSettings) -> None:
    """Bind the model drivers that the settings name. Raises `ValueError` that names the setting that is wrong."""
    inference.configure(_inference(settings))


def unlock(settings: PlatformSettings) -> None:
    """Bind the keys that encrypt stored secrets and sign cursors. Raises `ValueError` for a key that is none."""
    keys = dict(key.reveal().split(":", 1) for key in settings.secret_keys)
    crypto.use(crypto.KeyRing(keys))


def load_tables() -> None:
    """Import the tables of every context: a foreign key into another context resolves in any process."""
    root = Path(domain.__path__[0])
    # By file, not by walking packages: a walk imports every package it passes, migrations with all of Alembic too.
    for path in sorted({*(root / "kernel").glob("[!_]*.py"), *root.rglob("models.py")}):
        importlib.import_module(".".join(("domain", *path.relative_to(root).with_suffix("").parts)))


def _inference(settings: PlatformSettings) -> dict[str, Any]:
    driver, _, name = settings.model.partition(":")
    chosen: dict[str, Any] = {"model": driver, "embeddings": settings.embeddings, "speech": settings.speech}
    if name:
        chosen[f"{driver}_model"] = name
    if settings.vision_model is not None:
        if settings.vision_model != settings.model:
            raise ValueError("vision_model: has to be the same as `model`; another one cannot be used beside it yet")
        chosen["images"] = True
    for provider in ("openai", "anthropic"):
        key: Secret | None = getattr(settings, f"{provider}_api_key")
        chosen[f"{provider}_api_key"] = None if key is None else key.reveal()
        chosen[f"{provider}_base_url"] = getattr(settings, f"{provider}_base_url")
    return chosen
