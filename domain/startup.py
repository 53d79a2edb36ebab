"""What every process does before it calls a verb: know all tables, and bind the drivers that the settings
name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import domain
from domain import agents, billing, containers, inference, notifications, storage, transcriptions
from domain.identity import captcha, clients, connector, federation, guard, links, setup, signup, tokens, vault
from domain.identity.connector import ConnectorSettings
from domain.identity.federation.registry import FederationSettings
from domain.kernel import crypto
from domain.kernel.settings import SecretSetting
from domain.storage.binding import StorageSettings


class PlatformSettings(StorageSettings, FederationSettings, ConnectorSettings, Protocol):
    """What the domain reads of the platform's settings (docs/configuration.md)."""

    @property
    def secret_keys(self) -> Sequence[SecretSetting]: ...
    @property
    def model(self) -> str: ...
    @property
    def vision_model(self) -> str | None: ...
    @property
    def embeddings(self) -> Sequence[str]: ...
    @property
    def embeddings_base_url(self) -> str | None: ...
    @property
    def embeddings_api_key(self) -> SecretSetting | None: ...
    @property
    def speech(self) -> str: ...
    @property
    def voice(self) -> str: ...
    @property
    def openai_api_key(self) -> SecretSetting | None: ...
    @property
    def openai_base_url(self) -> str | None: ...
    @property
    def anthropic_api_key(self) -> SecretSetting | None: ...
    @property
    def anthropic_base_url(self) -> str | None: ...
    @property
    def mail_url(self) -> SecretSetting | None: ...
    @property
    def mail_from(self) -> str: ...
    @property
    def meeting_bot(self) -> str | None: ...
    @property
    def meeting_bot_url(self) -> str | None: ...
    @property
    def meeting_bot_key(self) -> SecretSetting | None: ...
    @property
    def containers(self) -> str: ...
    @property
    def containers_memory(self) -> str: ...
    @property
    def containers_seconds(self) -> int: ...
    @property
    def containers_megabytes(self) -> int: ...
    @property
    def guard_setup(self) -> str: ...
    @property
    def environment(self) -> str: ...
    @property
    def signup_policy(self) -> str: ...
    @property
    def starter_usage_guardrails(self) -> Sequence[str]: ...
    @property
    def failed_sign_ins_per_address(self) -> int: ...
    @property
    def service_account_vault(self) -> Sequence[SecretSetting]: ...
    @property
    def geoip_database(self) -> Path | None: ...
    @property
    def captcha(self) -> str: ...
    @property
    def captcha_secret(self) -> SecretSetting | None: ...
    @property
    def captcha_site_key(self) -> str | None: ...
    @property
    def captcha_difficulty(self) -> int: ...


def prepare(settings: PlatformSettings) -> None:
    """Raises `ValueError` that names the setting that the domain cannot use."""
    load_tables()
    unlock(settings)
    bind_models(settings)
    bind_mail(settings)
    bind_captcha(settings)
    bind_identity(settings)
    bind_guardrails(settings)
    storage.bind(settings)
    federation.registry.bind(settings)
    connector.bind(settings)
    bind_meeting_bot(settings)
    bind_containers(settings)


def bind_models(settings: PlatformSettings) -> None:
    """Bind the model drivers that the settings name. Raises `ValueError` that names the setting that is wrong."""
    inference.configure(_inference(settings))


def bind_mail(settings: PlatformSettings) -> None:
    """Bind what carries mails away. Raises `ValueError` that names the setting that is wrong."""
    url = None if settings.mail_url is None else settings.mail_url.reveal()
    notifications.configure(mail_url=url, mail_from=settings.mail_from, folder=settings.data_dir / "mail")


def bind_captcha(settings: PlatformSettings) -> None:
    """Bind what strangers have to solve. Raises `ValueError` that names the setting that is wrong."""
    captcha.configure(
        settings.captcha,
        secret=None if settings.captcha_secret is None else settings.captcha_secret.reveal(),
        site_key=settings.captcha_site_key,
        difficulty=settings.captcha_difficulty,
        production=settings.environment == "production",
    )


def bind_identity(settings: PlatformSettings) -> None:
    """Bind where tokens and links come from. Raises `ValueError` that names the setting that is wrong."""
    tokens.configure(settings.base_url)
    links.configure(settings.base_url)
    clients.configure(settings.geoip_database)
    production = settings.environment == "production"
    setup.configure(token_needed=production if settings.guard_setup == "auto" else settings.guard_setup == "on")
    guard.configure(settings.failed_sign_ins_per_address)
    signup.configure(settings.signup_policy)
    vault.configure(
        [key.reveal() for key in settings.service_account_vault], production=settings.environment == "production"
    )


def bind_guardrails(settings: PlatformSettings) -> None:
    """Bind what tenants may use in a month. Raises `ValueError` that names the setting that is wrong."""
    try:
        billing.guardrails.configure("starter", settings.starter_usage_guardrails)
    except ValueError as wrong:
        raise ValueError(f"starter_usage_guardrails: {wrong}") from None


def bind_meeting_bot(settings: PlatformSettings) -> None:
    """Bind the service that sends bots into meetings. Raises `ValueError` that names the setting that is wrong."""
    key = None if settings.meeting_bot_key is None else settings.meeting_bot_key.reveal()
    transcriptions.configure(settings.meeting_bot, settings.meeting_bot_url, key)


def bind_containers(settings: PlatformSettings) -> None:
    """Bind where agents run code, and give them the tool for it. Raises `ValueError` that names the wrong setting."""
    containers.configure(
        settings.containers,
        folder=settings.data_dir / "containers",
        memory=settings.containers_memory,
        seconds=settings.containers_seconds,
        megabytes=settings.containers_megabytes,
        key=None if settings.openai_api_key is None else settings.openai_api_key.reveal(),
        address=settings.openai_base_url,
    )
    agents.tools.bind_python(containers.run if containers.available() else None)


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
    chosen: dict[str, Any] = {
        "model": driver,
        "embeddings": list(settings.embeddings),
        "embeddings_base_url": settings.embeddings_base_url,
        "embeddings_api_key": None if settings.embeddings_api_key is None else settings.embeddings_api_key.reveal(),
        "speech": settings.speech,
        "voice": settings.voice,
    }
    if name:
        chosen[f"{driver}_model"] = name
    if settings.vision_model is not None:
        if settings.vision_model != settings.model:
            raise ValueError("vision_model: has to be the same as `model`; another one cannot be used beside it yet")
        chosen["images"] = True
    for provider in ("openai", "anthropic"):
        key: SecretSetting | None = getattr(settings, f"{provider}_api_key")
        chosen[f"{provider}_api_key"] = None if key is None else key.reveal()
        chosen[f"{provider}_base_url"] = getattr(settings, f"{provider}_base_url")
    return chosen
