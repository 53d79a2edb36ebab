"""Idempotency keys: a repeated request gets the first one's reply, and its effect happens once.

The record is written in the handler's own transaction, so effect and record are one. While that transaction runs, an
advisory lock on the key tells a second caller to come back later. `Idempotency` has the shape that the edge asks for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, SmallInteger, Text, and_, delete, func, literal, select, true
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.errors import IdempotencyInFlight, IdempotencyMismatch
from domain.kernel.models import Base, OrganisationOwned

KEPT = timedelta(hours=24)


class Reply(Protocol):
    """A finished reply. `stream` is what a streamed one needs to be tailed again (JSON), None for all others."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def stream(self) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A `Reply` as it was kept."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    stream: Mapping[str, Any] | None = None


R = TypeVar("R", bound=Reply)


class Idempotency(Generic[R]):
    """Records per organisation, operation and key; of a caller without an organisation, per network address.

    `make(status, headers, body, stream)` builds the caller's reply type (`Kept` will do).
    """

    def __init__(self, make: Callable[[int, tuple[tuple[str, str], ...], bytes, Mapping[str, Any] | None], R]) -> None:
        self._make = make

    def begin(self, ctx: Ctx, operation: str, key: str, fingerprint: bytes) -> R | None:
        """None: go ahead, the key is held until the transaction ends. A reply: send it again.

        Raises `IdempotencyMismatch` (same key, other request) or `IdempotencyInFlight` (the first is still running).
        """
        key = _own(ctx, key)
        held, record = self._look(ctx, operation, key)
        if record is None and not held:
            raise IdempotencyInFlight(retry_after=1)
        if record is None:
            return None
        if record.fingerprint != fingerprint:
            raise IdempotencyMismatch
        headers = tuple((name, value) for name, value in record.headers)
        body = crypto.ring().decrypt_bytes(record.body, _place(ctx.organisation_id, operation, key))
        return self._make(record.status, headers, body, record.stream)

    def record(self, ctx: Ctx, operation: str, key: str, fingerprint: bytes, reply: Reply) -> None:
        """Keep the reply for 24 hours, in the caller's transaction.

        Raises `IdempotencyInFlight` if another transaction kept one since `begin()`: this one must not commit.
        """
        key = _own(ctx, key)
        table, whose = _table(ctx)
        now = ctx.now()
        values = {
            "fingerprint": fingerprint,
            "status": reply.status,
            "headers": [list(header) for header in reply.headers],
            # A reply may hold a secret that is shown once, such as a new key.
            "body": crypto.ring().encrypt_bytes(reply.body, _place(ctx.organisation_id, operation, key)),
            "stream": None if reply.stream is None else dict(reply.stream),
            "created_at": now,
            "expires_at": now + KEPT,
        }
        statement = insert(table).values(operation=operation, key=key, **whose, **values)
        kept = ctx.session.execute(
            statement.on_conflict_do_update(
                index_elements=[*whose, "operation", "key"],
                set_=values,
                where=table.expires_at <= now,  # only what has expired gives way
            ).returning(table.key)
        ).scalar()
        if kept is None:
            raise IdempotencyInFlight(retry_after=1)

    def _look(self, ctx: Ctx, operation: str, key: str) -> tuple[bool, _Record | None]:
        """Try the lock and read the record, in one round trip.

        The statement's snapshot may be older than the lock: a record that was committed in between is not seen here.
        Then `record()` finds it and the late transaction ends in `IdempotencyInFlight` with nothing done.
        """
        table, _ = _table(ctx)
        lock = func.pg_try_advisory_xact_lock(_lock(ctx.organisation_id, operation, key))
        one = select(literal(1).label("one")).subquery()
        row = ctx.session.execute(
            select(lock, table)
            .select_from(one)
            .outerjoin(
                table,
                and_(
                    true(),
                    table.operation == operation,
                    table.key == key,
                    table.expires_at > ctx.now(),
                ),
            )
        ).one()
        return row[0], row[1]


def purge_expired(ctx: Ctx, *, limit: int = 10_000) -> int:
    """Delete up to `limit` expired records of all organisations, and all of strangers; how many. Needs a platform
    context."""
    strangers = ctx.session.execute(
        delete(StrangersRecord)
        .where(StrangersRecord.expires_at <= ctx.now())
        .returning(StrangersRecord.key)
        .execution_options(synchronize_session=False)
    ).all()
    expired = (
        select(IdempotencyRecord.organisation_id, IdempotencyRecord.operation, IdempotencyRecord.key)
        .where(IdempotencyRecord.expires_at <= ctx.now())
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )
    gone = ctx.session.execute(
        delete(IdempotencyRecord)
        .where(
            IdempotencyRecord.organisation_id == expired.c.organisation_id,
            IdempotencyRecord.operation == expired.c.operation,
            IdempotencyRecord.key == expired.c.key,
        )
        .returning(IdempotencyRecord.key)
        .execution_options(synchronize_session=False)
    ).all()
    return len(gone) + len(strangers)


def _own(ctx: Ctx, key: str) -> str:
    """A stranger's key is one of their address: nobody meets the keys of others."""
    return key if ctx.organisation_id is not None else f"{ctx.address or ''} {key}"


def _table(ctx: Ctx) -> tuple[type[_Record], dict[str, UUID]]:
    """Where the caller's records are, and what of their primary key is the organisation."""
    if ctx.organisation_id is None:
        return StrangersRecord, {}
    return IdempotencyRecord, {"organisation_id": ctx.organisation_id}


def _lock(organisation_id: UUID | None, *parts: str) -> int:
    """A signed 64-bit lock number. Two keys on one number only cost a needless 409."""
    text = "\x00".join(["idempotency", str(organisation_id), *parts])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


class _Record:
    """What is kept of a reply."""

    operation: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(SmallInteger)
    headers: Mapped[list[Any]] = mapped_column(JSONB)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    stream: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class IdempotencyRecord(_Record, OrganisationOwned, Base):
    __tablename__ = "idempotency_record"

    organisation_id: Mapped[UUID] = mapped_column(
        ForeignKey("organisation.id", ondelete="CASCADE"), primary_key=True, sort_order=-10
    )

    __table_args__ = (Index("ix_idempotency_record_expires_at", "expires_at"),)
    __organisation_index__: ClassVar[bool] = False


class StrangersRecord(_Record, Base):
    """Of a caller without an organisation: somebody who signs up."""

    __tablename__ = "strangers_idempotency_record"

    __table_args__ = (Index("ix_strangers_idempotency_record_expires_at", "expires_at"),)


def _place(organisation_id: UUID | None, operation: str, key: str) -> str:
    return f"idempotency_record:{organisation_id}:{operation}:{key}"
