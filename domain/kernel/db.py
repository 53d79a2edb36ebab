"""The database: one engine a process, one transaction a request or job, rows kept apart by organisation.

    database = Database("postgresql://...")
    with database.context(actor, organisation_id) as ctx:      # commits on leaving, rolls back on an exception
        ctx.session.scalars(select(ApiKey))                    # this organisation's rows only

What keeps organisations apart stands in `domain.kernel.organisation_filter`; `acting_for` lends a public or platform
context one organisation.
"""

from __future__ import annotations

import os
import select as polling
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, cast
from uuid import UUID

import orjson
import psycopg
from sqlalchemy import Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from domain.kernel import organisation_filter
from domain.kernel.clock import Clock, SystemClock
from domain.kernel.context import Actor, Ctx
from domain.kernel.crypto import Secret
from domain.kernel.errors import DomainError, Invalid, Unavailable
from domain.kernel.models import Base, Identified, OrganisationOwned, Scoped, Timestamped, UtcDateTime
from domain.kernel.organisation_filter import OrganisationBreach, OrganisationSession, lent

__all__ = [
    "Base",
    "Database",
    "Identified",
    "OrganisationBreach",
    "OrganisationOwned",
    "OrganisationSession",
    "Scoped",
    "Timestamped",
    "UtcDateTime",
    "across_organisations",
    "acting_for",
    "adapted",
]

TIMEOUTS = {
    "statement_timeout": 30_000,
    "lock_timeout": 10_000,
    "idle_in_transaction_session_timeout": 60_000,
    "client_connection_check_interval": 2_000,  # a statement whose process has died lets go of its locks
}
"""Milliseconds, set on every connection: nothing slow runs inside a transaction (architecture, kernel rules)."""


def adapted(url: str) -> URL:
    """`url` for psycopg 3: `postgres://` and `postgresql://` are accepted beside `postgresql+psycopg://`."""
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "postgresql+psycopg":
        raise ValueError(f"the database must be PostgreSQL, not {parsed.drivername!r}")
    return parsed


class Database:
    """A pool of connections to `url`, healed by itself when the server comes back.

    At most `pool_size + max_overflow` connections; the next caller waits `pool_timeout` seconds and then gets
    `Unavailable`. `timeouts` overrides single entries of `TIMEOUTS`.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        max_overflow: int = 5,
        timeouts: dict[str, int] | None = None,
        pool_timeout: float = 10,
        application_name: str = "thalweg",
    ) -> None:
        self.url = adapted(url)
        settings = {**TIMEOUTS, **(timeouts or {}), "timezone": "UTC"}
        self.engine = create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_timeout=pool_timeout,
            query_cache_size=2_000,  # statements of some 400 operations, compiled once
            pool_use_lifo=True,  # the same warm connections again and again; the rest may idle
            use_native_hstore=False,  # spares a catalogue query on each connect
            json_serializer=_json,
            json_deserializer=orjson.loads,
            connect_args={
                "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
                "application_name": application_name,
                "connect_timeout": 5,
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
            },
        )
        self.most = pool_size + max_overflow
        event.listen(self.engine, "checkout", _still_there)
        organisation_filter.guard(self.engine)
        # A forked child must not speak on its parent's sockets.
        if hasattr(os, "register_at_fork"):
            engine = weakref.ref(self.engine)  # the hook cannot be taken back, and must not keep the engine alive
            os.register_at_fork(after_in_child=lambda: _leave_to_parent(engine()))

    @property
    def in_use(self) -> int:
        """Connections that are lent out right now, of at most `most`."""
        return cast(QueuePool, self.engine.pool).checkedout()

    def session(self, organisation_id: UUID | None, *, platform: bool = False) -> AbstractContextManager[Session]:
        """One transaction: commits on a clean exit, rolls back on an exception.

        With `organisation_id`, that organisation's rows and no others. With neither, scoped tables cannot be touched.
        With `platform`, nothing is filtered (operators, schedulers, authentication).
        Database failures leave as `Unavailable`, values that Postgres cannot hold as `Invalid`.
        """
        return _Transaction(self._open(organisation_id, platform))

    def context(
        self,
        actor: Actor,
        organisation_id: UUID | None,
        permissions: frozenset[str] = frozenset(),
        *,
        platform: bool = False,
        clock: Clock | None = None,
        request_id: str = "-",
        address: str | None = None,
        user_agent: str | None = None,
        surface: str | None = None,
        base_path: str = "",
        presented: Secret | None = None,
    ) -> AbstractContextManager[Ctx]:
        """A `Ctx` around a `session()`."""
        session = self._open(organisation_id, platform)
        clock = session.clock = clock or SystemClock()
        ctx = Ctx(
            actor,
            organisation_id,
            permissions,
            session,
            request_id,
            clock,
            address,
            user_agent,
            surface,
            base_path,
            presented,
        )
        return _Transaction(session, ctx)

    def dispose(self) -> None:
        """Close the idle connections. Those in use close when they are returned."""
        self.engine.dispose()

    def _open(self, organisation_id: UUID | None, platform: bool) -> OrganisationSession:
        return OrganisationSession(
            self.engine, expire_on_commit=False, organisation_id=organisation_id, platform=platform
        )


@contextmanager
def acting_for(ctx: Ctx, organisation_id: UUID) -> Iterator[Ctx]:
    """Lend a context without an organisation (public, or the platform's) one, within its transaction.

    Inside, only that organisation's rows exist. Raises `OrganisationBreach` in a context of another organisation.
    """
    session = ctx.session
    assert isinstance(session, OrganisationSession)
    if session.organisation_id not in (None, organisation_id):
        raise OrganisationBreach("a context of one organisation cannot act for another")
    session.flush()
    with lent(session, organisation_id):
        yield replace(ctx, organisation_id=organisation_id)
        session.flush()


@contextmanager
def across_organisations(ctx: Ctx) -> Iterator[Ctx]:
    """Lift the filter within the context's transaction, to find out which organisation somebody belongs to.

    For identity's verbs (sign-in, invitations, tokens, one's own memberships): they select by a digest or by the
    account. And for what an owner has made public (`domain.knowledge.marketplace`): it selects by that. Whatever else
    is found here is shown to nobody before `acting_for` has narrowed the context again.
    """
    session = ctx.session
    assert isinstance(session, OrganisationSession)
    session.flush()
    before = session.organisation_id, session.platform
    session.organisation_id, session.platform = None, True
    try:
        yield replace(ctx, organisation_id=None)
        session.flush()
    finally:
        session.organisation_id, session.platform = before


class _Transaction:
    """The context manager behind `session()` and `context()`: a class, because it is on every request's way."""

    __slots__ = ("_gives", "_session")

    def __init__(self, session: OrganisationSession, gives: Any = None) -> None:
        self._session = session
        self._gives = session if gives is None else gives

    def __enter__(self) -> Any:
        return self._gives

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = error
        if error is None or (isinstance(error, DomainError) and error.kept):
            try:
                self._session.commit()
            except BaseException as raised:
                failure = raised
        try:
            self._session.close()  # rolls back what is still open
        except exc.SQLAlchemyError:  # a dead connection has nothing left to roll back
            self._session.invalidate()
        if failure is None:
            return
        if (said := translated(failure)) is not None:
            raise said from failure
        if failure is not error:
            raise failure


def translated(error: BaseException) -> DomainError | None:
    """The domain error that stands for a database failure, or None where the error should go on as it is."""
    if isinstance(error, exc.TimeoutError):
        return Unavailable("The service is busy. Try again shortly.", retry_after=1)
    if not isinstance(error, exc.DBAPIError):
        return None
    state = getattr(error.orig, "sqlstate", None) or ""
    if isinstance(error.orig, psycopg.DataError):
        return Invalid("A value cannot be stored: it holds a forbidden character or is out of range.")
    if error.connection_invalidated or state[:2] in ("08", "57", "53") or (not state and _lost(error.orig)):
        return Unavailable("The database is not available right now.", retry_after=1)
    if state in ("40001", "40P01", "55P03", "25P03"):
        return Unavailable("The service is busy. Try again shortly.", retry_after=1)
    return None


def _lost(cause: BaseException | None) -> bool:
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _leave_to_parent(engine: Engine | None) -> None:
    if engine is not None:
        engine.dispose(close=False)


def _still_there(connection: Any, record: Any, proxy: Any) -> None:
    """Notice a server that went away while the connection lay in the pool, without a round trip.

    A healthy idle socket has nothing to read. When it has (end of file, or the server's farewell), a real ping decides;
    if that fails, the pool replaces the connection before anyone sees it.
    """
    if connection.closed:
        raise exc.DisconnectionError("closed")
    if _readable(connection.fileno()):
        try:
            connection.execute("SELECT 1")
            connection.rollback()
        except psycopg.Error as lost:
            raise exc.DisconnectionError("the server closed the connection") from lost


def _readable(descriptor: int) -> bool:
    if hasattr(polling, "poll"):
        poll = polling.poll()
        poll.register(descriptor, polling.POLLIN)
        return bool(poll.poll(0))
    return bool(polling.select([descriptor], [], [], 0)[0])  # Windows
