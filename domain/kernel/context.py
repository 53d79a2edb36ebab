"""Context first: who acts, for which organisation, with which permissions, in which transaction.

Every verb takes a `Ctx` as its first argument. A request or a simple job has one; a job with slow steps is handed a
`Work` and opens a `Ctx` for each short transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from domain.kernel.clock import Clock, SystemClock
from domain.kernel.errors import Forbidden

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from domain.kernel.crypto import Secret
    from domain.kernel.db import Database


@dataclass(frozen=True, slots=True)
class AnonymousActor:
    """A caller of a public operation."""

    address: str | None = None
    kind: str = field(default="anonymous", init=False)


@dataclass(frozen=True, slots=True)
class UserActor:
    user_id: UUID
    session_id: UUID | None = None
    kind: str = field(default="user", init=False)


@dataclass(frozen=True, slots=True)
class ApiKeyActor:
    key_id: UUID
    user_id: UUID | None = None
    kind: str = field(default="api_key", init=False)


@dataclass(frozen=True, slots=True)
class ServiceAccountActor:
    account: str
    token_id: UUID | None = None
    kind: str = field(default="service_account", init=False)


@dataclass(frozen=True, slots=True)
class ConnectorActor:
    instance_id: str
    kind: str = field(default="connector", init=False)


@dataclass(frozen=True, slots=True)
class SystemActor:
    """The platform itself: a job, the scheduler, an operator at the command line."""

    reason: str = "system"
    kind: str = field(default="system", init=False)


Actor = AnonymousActor | UserActor | ApiKeyActor | ServiceAccountActor | ConnectorActor | SystemActor


def actor_name(actor: Actor) -> str:
    """An actor as one word for a record: `user:<id>`, `api_key:<id>`, `service_account:<name>`, `system`, ..."""
    match actor:
        case UserActor():
            return f"user:{actor.user_id}"
        case ApiKeyActor():
            return f"api_key:{actor.key_id}"
        case ServiceAccountActor():
            return f"service_account:{actor.account}"
        case ConnectorActor():
            return f"connector:{actor.instance_id}"
        case _:
            return actor.kind


@dataclass(slots=True)
class Ctx:
    """What a verb may know of its caller, and the session of its transaction.

    `organisation_id` is None only for public operations and for the platform itself; the session then refuses
    organisation-owned rows (see `domain.kernel.db`).
    """

    actor: Actor
    organisation_id: UUID | None
    permissions: frozenset[str]
    session: Session
    request_id: str = "-"
    clock: Clock = field(default_factory=SystemClock)
    address: str | None = None
    user_agent: str | None = None
    surface: str | None = None
    base_path: str = ""
    """What the surface's paths lie under on this server, for cookies and addresses in answers."""
    presented: Secret | None = None
    """A credential that the caller showed and the verb itself has to judge, such as a refresh token in a cookie."""

    def now(self) -> datetime:
        """Shorthand for `clock.now()`."""
        return self.clock.now()

    def require(self, permission: str) -> None:
        """Raise `Forbidden` (fact `required_scope`) unless the caller holds `permission`."""
        if permission not in self.permissions and "admin" not in self.permissions:
            raise Forbidden(required_scope=permission)

    @property
    def organisation(self) -> UUID:
        """The organisation, for verbs that need one. Raises `Forbidden` where there is none."""
        if self.organisation_id is None:
            raise Forbidden("This needs an organisation.", reason="organisation_missing")
        return self.organisation_id


class Work(Protocol):
    """A running job's hold on the platform (implemented by `workers.runner`).

    Each `transaction()` first checks, with the job's row locked, that this process still owns the job, so two workers
    never both commit a step. `complete()` belongs into the transaction of the last effect: effect and "done" are one.
    """

    job_id: UUID
    attempt: int
    """1 on the first run."""

    @property
    def database(self) -> Database:
        """Where it works: what lies in one database may be written together."""
        ...

    def transaction(self) -> AbstractContextManager[Ctx]:
        """A short transaction as the job's organisation; commits on leaving, rolls back on an exception."""
        ...

    def platform(self) -> AbstractContextManager[Ctx]:
        """A short transaction as the platform that does not ask for the job's lease: for what several jobs of a process
        write together, each fenced by something of its own."""
        ...

    def complete(self, ctx: Ctx, result: Mapping[str, Any] | None = None) -> None:
        """Mark the job done within `ctx`'s transaction."""
        ...

    def heartbeat(self) -> None:
        """Extend the lease. Raises `workers.runner.LeaseLost` when another worker has taken the job over."""
        ...

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        """Append event `number` (from 1, without gaps) to a stream. Publishing a number twice is harmless."""
        ...

    def publish_later(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        """The same with the next event that is published by this process, or with `publish_rest`."""
        ...

    def publish_rest(self) -> None:
        """Publish what waits for it."""
        ...

    def remaining(self) -> float:
        """Seconds until the soft time limit."""
        ...
