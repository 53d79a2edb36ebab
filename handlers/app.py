"""The platform as the edge sees it: callers, transactions, idempotency, over the domain."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from redis import Redis

from domain import brains, identity, startup
from domain.kernel import idempotency
from domain.kernel.context import Actor, AnonymousActor
from domain.kernel.db import Database
from domain.kernel.errors import DomainError, Forbidden, Unauthenticated
from domain.kernel.pages import CursorPage, OffsetPage
from handlers.thalium import wire as thalium
from thalweg.edge.application import Caller, Credential, Facts, StoredReply, Stream
from thalweg.heartbeats import Pulse

if TYPE_CHECKING:
    from thalweg.config import Settings

REMEMBER_SECONDS = 30.0
"""How long an API process may believe a verified credential. A revocation is heard of at once all the same."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A caller with an account: what the edge needs of it, and the actor that verbs see."""

    key: str
    user_key: str
    actor: Actor
    organisation_id: UUID | None
    permissions: frozenset[str]
    rate_override: str | None = None


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
        brains.bind_pulse(
            Pulse(Redis.from_url(settings.redis_url.reveal(), socket_timeout=1, socket_connect_timeout=1))
        )
        self._stopping = threading.Event()

    def start(self, forget: Callable[[str | None], None]) -> None:
        def heard(key_id: UUID | None) -> None:
            forget(None if key_id is None else f"key:{key_id}")

        threading.Thread(
            target=identity.revocations.listen,
            args=(self.database, heard),
            kwargs={"stop": self._stopping},
            name="revocations",
            daemon=True,
        ).start()

    def close(self) -> None:
        self._stopping.set()
        self.database.dispose()

    # --- callers ----------------------------------------------------------------------------------

    def anonymous(self, facts: Facts) -> Caller:
        address = facts.address or "unknown"
        return Signed(f"address:{address}", f"address:{address}", AnonymousActor(facts.address), None, frozenset())

    def authenticate(self, credential: Credential, facts: Facts) -> tuple[Caller, float]:
        verify = _VERIFIERS.get((facts.surface, credential.scheme))
        if verify is None:
            raise Unauthenticated("This kind of credential is not taken here.")
        return verify(self.database, credential)

    def entitled(self, caller: Caller, plan: str, facts: Facts) -> None:
        raise Forbidden("This operation needs a plan that is not on offer yet.")

    # --- transactions -------------------------------------------------------------------------------

    def transaction(self, caller: Caller, facts: Facts) -> AbstractContextManager[Any]:
        assert isinstance(caller, Signed)
        return self.database.context(
            caller.actor,
            caller.organisation_id,
            caller.permissions,
            request_id=facts.request_id,
            address=facts.address,
            user_agent=facts.user_agent,
            surface=facts.surface,
        )

    def page(self, style: str, limit: int, offset: int, cursor: str | None) -> CursorPage | OffsetPage:
        return CursorPage(limit, cursor) if style == "cursor" else OffsetPage(limit, offset)

    def reopen(self, stream: Mapping[str, Any]) -> Stream:
        return _STREAMS[stream["kind"]](stream)


def _api_key(kind: str) -> Callable[[Database, Credential], tuple[Caller, float]]:
    def verify(database: Database, credential: Credential) -> tuple[Caller, float]:
        known = identity.verify_api_key(database, credential.value, kind)
        key = f"key:{known.key_id}"
        caller = Signed(
            key,
            key,
            known.actor,
            known.organisation_id,
            known.permissions,
            rate_override=_rate(known.requests_per_minute),
        )
        left = math.inf if known.expires_at is None else (known.expires_at - datetime.now(UTC)).total_seconds()
        return caller, min(REMEMBER_SECONDS, left)

    return verify


def _rate(per_minute: int | None) -> str | None:
    return None if per_minute is None else f"{per_minute}/minute"


_VERIFIERS: dict[tuple[str, str], Callable[[Database, Credential], tuple[Caller, float]]] = {
    ("thalium", "apiKey"): _api_key("thalium"),
}
"""(surface, security scheme) to what verifies it."""


_STREAMS: dict[str, Callable[[Mapping[str, Any]], Stream]] = {
    "invocation": lambda kept: thalium.stream(UUID(kept["id"])),
}
"""What an idempotency record keeps of a stream, to the stream."""


def platform(settings: Settings) -> Platform:
    """The platform behind the edge, on the database that `settings` name."""
    return Platform(settings)
