"""Revocations reach every process at once: a Postgres notification in the revoking transaction.

A process may remember that a key was good. It runs `listen()` in a thread and forgets what it is told to. Its own
revocations it has forgotten before anybody can have their answer (`heed`); those of others come about a millisecond
after their commit.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal
from uuid import UUID

import psycopg
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from domain.kernel.context import Ctx
from domain.kernel.db import Database

CHANNEL = "thalweg_revocation"
EVERYTHING = "*"
Kind = Literal["key", "session", "user", "service"]
_PAYLOAD = re.compile(r"(?:key|session|user|service):[0-9a-f-]{36}")
BEAT = 10.0
"""Seconds without a notification after which the connection is tried."""

_WAITING = "identity.revocations"

_log = logging.getLogger(__name__)
_heeding: list[Callable[[str | None], None]] = []


def announce(ctx: Ctx, kind: Kind | None = None, holder: UUID | None = None) -> None:
    """Tell every process to forget what it knows of a holder (without one: of everybody), when this commits.

    Kinds: `key` (an API key), `session` (one sign-in), `user` (a person, with all sessions and keys), `service` (a
    service account's token).
    """
    payload = EVERYTHING if kind is None else f"{kind}:{holder}"
    ctx.session.execute(select(func.pg_notify(CHANNEL, payload)))
    session = ctx.session
    waiting: list[str] | None = session.info.get(_WAITING)
    if waiting is None:
        waiting = session.info[_WAITING] = []
        event.listen(session, "after_commit", _committed)
    waiting.append(payload)


def heed(callback: Callable[[str | None], None]) -> Callable[[], None]:
    """Call `callback` for each revocation of this process itself, in the thread that commits it, as `listen` does: when
    the verb's transaction is over, it has been called. Answers what ends that."""
    _heeding.append(callback)

    def ends() -> None:
        with suppress(ValueError):  # it has ended
            _heeding.remove(callback)

    return ends


def _committed(session: Session) -> None:
    if session.in_nested_transaction():  # a savepoint's end is no commit
        return
    waiting: list[str] = session.info[_WAITING]
    for callback in tuple(_heeding):
        for payload in waiting:
            _tell(callback, _holder(payload))
    waiting.clear()


def listen(
    database: Database,
    callback: Callable[[str | None], None],
    *,
    stop: threading.Event | None = None,
    retry: float = 1.0,
) -> None:
    """Call `callback("<kind>:<id>")` for each revocation, until `stop` is set. Blocks: run it in a thread of its own.

    `callback(None)` means: forget everything. It comes at the start, whenever the connection was lost (what was
    announced meanwhile is not told again), and on every failed attempt to get it back, `retry` seconds apart: without a
    connection nothing may be remembered for longer than that. An exception from `callback` is logged and does not end
    the listening.
    """
    stop = stop or threading.Event()
    while not stop.is_set():
        try:
            with psycopg.connect(
                _dsn(database),
                autocommit=True,
                application_name="thalweg-revocations",
                connect_timeout=5,
                keepalives_idle=30,
            ) as connection:
                connection.execute(f"LISTEN {CHANNEL}")
                _tell(callback, None)  # after LISTEN: nothing can fall between
                _follow(connection, callback, stop)
        except psycopg.Error as lost:
            _log.warning("revocations: connection lost (%s), trying again", type(lost).__name__)
            _tell(callback, None)
            stop.wait(retry)


def _follow(connection: psycopg.Connection, callback: Callable[[str | None], None], stop: threading.Event) -> None:
    quiet = 0.0
    while not stop.is_set():
        heard = False
        # Half a second, so that `stop` is seen soon.
        for notice in connection.notifies(timeout=0.5):
            heard = True
            _tell(callback, _holder(notice.payload))
            if stop.is_set():
                return
        quiet = 0.0 if heard else quiet + 0.5
        if quiet >= BEAT:
            connection.execute("SELECT 1")
            quiet = 0.0


def _holder(payload: str) -> str | None:
    return payload if _PAYLOAD.fullmatch(payload) else None  # "*", or something not understood: forget everything


def _tell(callback: Callable[[str | None], None], holder: str | None) -> None:
    try:
        callback(holder)
    except Exception:
        _log.exception("revocations: the callback failed")


def _dsn(database: Database) -> str:
    return database.url.set(drivername="postgresql").render_as_string(hide_password=False)
