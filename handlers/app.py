"""The platform as the edge sees it: callers, transactions, idempotency, over the domain."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from domain import billing, brains, identity, startup, storage
from domain.kernel import idempotency
from domain.kernel.db import Database
from domain.kernel.errors import DomainError
from domain.kernel.pages import CursorPage, OffsetPage
from handlers import callers, console
from handlers.files import Files
from thalweg.edge.application import Caller, Credential, Facts, Pending, StoredReply, Stream
from thalweg.edge.guard import Cors
from thalweg.heartbeats import Pulse

if TYPE_CHECKING:
    from flask import Blueprint
    from redis import Redis

    from thalweg.config import Settings
    from thalweg.edge.pool import Pool


class Platform:
    """Implements `thalweg.edge.application.Application`."""

    errors: tuple[type[Exception], ...] = (DomainError,)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        startup.prepare(settings)
        assert settings.database_url is not None
        self.database = Database(
            settings.database_url.reveal(),
            pool_size=settings.database_pool,
            max_overflow=settings.database_overflow,
            application_name="thalweg-api",
        )
        self.idempotency = idempotency.Idempotency(StoredReply)
        assert settings.redis_url is not None
        brains.bind_pulse(Pulse(partial(_valkey, settings.redis_url.reveal())))
        self._stopping = threading.Event()
        self._unheed: Callable[[], None] = lambda: None

    def start(self, forget: Callable[[str | None], None]) -> None:
        console.setup.announce(self.database)
        self._unheed = identity.revocations.heed(forget)
        threading.Thread(
            target=identity.revocations.listen,
            args=(self.database, forget),
            kwargs={"stop": self._stopping},
            name="revocations",
            daemon=True,
        ).start()

    def close(self) -> None:
        self._stopping.set()
        self._unheed()
        self.database.dispose()

    def mounts(self, pool: Pool) -> dict[str, Files]:
        """Paths beside the contracts that take or answer more than is held in memory."""
        return {storage.PATH: Files(self.database, pool, Cors(frozenset(self.settings.cors_origins)))}

    def blueprints(self) -> tuple[Blueprint, ...]:
        """Pages beside the contracts."""
        return (
            console.captcha.blueprint,
            console.keys.blueprint(self.database),
            console.account.blueprint(self.database),
            console.saml.blueprint(self.database),
            console.workspace.blueprint(),
            console.pictures.blueprint(self.database),
        )

    def gauges(self) -> Mapping[str, tuple[str, Callable[[], float]]]:
        """What of the platform's own `/metrics` shows."""
        return {
            "thalweg_database_connections_in_use": ("Database connections lent out", lambda: self.database.in_use),
            "thalweg_database_connections_most": ("Database connections there may be", lambda: self.database.most),
        }

    # --- callers ----------------------------------------------------------------------------------

    def anonymous(self, facts: Facts) -> Caller:
        return callers.anonymous(facts)

    def authenticate(self, credential: Credential, facts: Facts) -> tuple[Caller, float]:
        return callers.authenticate(self.database, credential, facts)

    def admit(self, caller: Caller, facts: Facts) -> Caller:
        return callers.admit(caller, facts)

    def entitled(self, caller: Caller, plan: str, facts: Facts) -> None:
        with self.transaction(caller, facts) as ctx:
            billing.entitled(ctx, plan, product=facts.surface)

    # --- transactions -------------------------------------------------------------------------------

    def transaction(self, caller: Caller, facts: Facts) -> AbstractContextManager[Any]:
        assert isinstance(caller, callers.Signed)
        return self.database.context(
            caller.actor,
            caller.organisation_id,
            caller.permissions,
            request_id=facts.request_id,
            address=facts.address,
            user_agent=facts.user_agent,
            surface=facts.surface,
            base_path=facts.base_path,
            presented=caller.presented,
        )

    def page(self, style: str, limit: int, offset: int, cursor: str | None) -> CursorPage | OffsetPage:
        return CursorPage(limit, cursor) if style == "cursor" else OffsetPage(limit, offset)

    def reopen(self, stream: Mapping[str, Any]) -> Stream | Pending:
        module, _, name = _REOPENED[stream["kind"]].partition(":")
        reopened: Stream | Pending = getattr(import_module(module), name)(stream)
        return reopened


def _valkey(url: str) -> Redis:
    from redis import Redis  # late: few requests ask, and the library weighs 15 MiB

    return Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)


_REOPENED: Mapping[str, str] = {
    "invocation": "handlers.thalium.wire:reopened",
    "vector_store_file": "handlers.starter.wire_vector_stores:reading",
    "starter_answer": "handlers.starter.wire_chat:answering",
    "starter_stream": "handlers.starter.wire_chat:streaming",
    "chat_task": "handlers.thallus.wire_conversations:answering",
    "assistant_message": "handlers.thalian.wire_chat:answering",
    "beeflow_chat": "handlers.beeflow.wire_conversations:reopened",
    "beeflow_voice": "handlers.beeflow.wire_conversations:reopened",
}
"""What an idempotency record keeps of a stream, or of work that is waited for, to what makes the stream or the
wait of it. Imported when it is asked for: a start should not wait for the wires of all surfaces."""


def platform(settings: Settings) -> Platform:
    """The platform behind the edge, on the database that `settings` name."""
    return Platform(settings)
