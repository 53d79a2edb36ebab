"""Bytes on their way into the store, and who looks after them until a row does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID

import structlog
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from domain.kernel.context import Ctx
from domain.kernel.errors import DomainError, TooLarge, Unprocessable
from domain.kernel.ids import new_id
from domain.storage import binding, rules
from domain.storage.ports import BlobWriter, Sealed
from domain.storage.sniffing import HEAD, is_container, of_head, sniff

log = structlog.get_logger("thalweg.storage")

PIECE = 256 * 1024
"""Bytes that are read and written at a time."""


@dataclass(frozen=True, slots=True)
class Staged:
    """Bytes that are in the store and belong to nobody yet. `keep` them, or let the sweeper have them."""

    blob_id: UUID
    organisation_id: UUID
    key: str
    size: int
    sha256: bytes
    found: str | None
    """What the bytes were found to be (`sniffing.sniff`)."""


class Incoming:
    """Bytes on their way into the store: counted, summed up and capped while they come. Under a key of their own, so
    that two uploads for one object never meet."""

    def __init__(self, organisation_id: UUID, *, max_bytes: int | None = None) -> None:
        bound = binding.bound()
        self.organisation_id = organisation_id
        self.blob_id = new_id()
        self.key = rules.key_of(organisation_id, self.blob_id)
        self.size = 0
        self._head = b""
        self._most = min(bound.largest, bound.largest if max_bytes is None else max_bytes)
        self._store = bound.store
        self._seal = hashlib.sha256()
        self._adopted: bytes | None = None
        """The sum of what was taken over as a file."""
        self._committed = False
        self._writer: BlobWriter = self._store.writer(self.key)

    def take(self, piece: bytes) -> None:
        """Raises `TooLarge` before more than the cap is written."""
        self._count(len(piece))
        if len(self._head) < HEAD:
            self._head += bytes(piece[: HEAD - len(self._head)])
        self._seal.update(piece)
        self._writer.write(piece)

    def take_from(self, source: BinaryIO) -> None:
        """Everything from where the source stands. A sealed file is taken over without being read, where the store can:
        to copy 50 MiB and to sum them up again is what other requests would wait for."""
        if isinstance(source, Sealed) and self.size == 0 and source.tell() == 0:
            self._count(os.fstat(source.fileno()).st_size)
            if self._writer.adopt(source.sealed_path):
                self._head = source.read(HEAD)
                self._adopted = source.sealed_digest
                return
            self.size = 0
        while piece := source.read(PIECE):
            self.take(piece)

    def finish(self) -> Staged:
        """Everything is there: into its place, and judged."""
        self._writer.commit()
        self._committed = True
        if is_container(self._head):
            with self._store.open(self.key) as stored:
                found = sniff(stored, self.size)
        else:
            found = of_head(self._head, whole=self.size <= len(self._head))
        return Staged(self.blob_id, self.organisation_id, self.key, self.size, self.digest, found)

    @property
    def digest(self) -> bytes:
        """SHA-256 of what has come so far."""
        return self._seal.digest() if self._adopted is None else self._adopted

    def _count(self, size: int) -> None:
        self.size += size
        if self.size > self._most:
            raise TooLarge(f"The file is larger than {self._most} bytes.", max_bytes=self._most)

    def abort(self) -> None:
        """Leave nothing. Never raises: what cannot be dropped now is the sweeper's."""
        with suppress(DomainError):
            self._writer.abort()
        if self._committed:
            drop(self.key)


def accept(found: str, claimed: str | None, allowed: Collection[str] | None) -> None:
    """Raise `Unprocessable` unless bytes that are `found` are what is claimed, and allowed."""
    if not rules.agree(found, claimed):
        raise Unprocessable(
            f"The content is {found} and not {rules.canonical(claimed)}.", media_type=found, claimed=claimed
        )
    if allowed is not None and found not in allowed:
        raise Unprocessable(f"Files of type {found} are not taken here.", media_type=found)


# --- bytes of a transaction that does not commit ------------------------------------------------------

_STAGED = "storage.staged"


def look_after(ctx: Ctx, key: str) -> None:
    """Drop the bytes under `key` when the transaction does not come to its commit."""
    session = ctx.session
    waiting: set[str] | None = session.info.get(_STAGED)
    if waiting is None:
        waiting = session.info[_STAGED] = set()
        event.listen(session, "before_commit", _committing)
        event.listen(session, "after_transaction_end", _ended)
    waiting.add(key)


def _committing(session: Session) -> None:
    # A commit whose answer is lost may have happened: from here on only the sweeper, which sees, may drop the bytes.
    if not session.in_nested_transaction():  # a savepoint's end is no commit
        session.info[_STAGED].clear()


def _ended(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        waiting: set[str] = session.info[_STAGED]
        for key in waiting:
            drop(key)
        waiting.clear()


def drop(key: str) -> None:
    """Drop bytes that no row speaks of. Never raises: what cannot be dropped now is the sweeper's."""
    try:
        binding.bound().store.delete(key)
    except DomainError as problem:
        log.warning("blob left to the sweeper", key=key, reason=problem.message)
