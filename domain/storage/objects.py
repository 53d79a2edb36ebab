"""The verbs of stored objects: put (stage, keep), get, list, read, delete, purge."""

from __future__ import annotations

import builtins
import io
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import structlog
from sqlalchemy import select

from domain.kernel.context import ApiKeyActor, Ctx, UserActor, Work
from domain.kernel.errors import NotFound, Unprocessable
from domain.kernel.outbox import enqueue
from domain.kernel.pages import OffsetPage, Page
from domain.storage import binding, incoming, quota, rules
from domain.storage.incoming import PIECE, Incoming, Staged
from domain.storage.models import StoredObject
from domain.storage.reading import Reader

log = structlog.get_logger("thalweg.storage")

BUFFER = 128 * 1024


# --- in -----------------------------------------------------------------------------------------------


def put(
    holder: Ctx | Work,
    source: BinaryIO | str | os.PathLike[str],
    *,
    name: str | None,
    purpose: str,
    media_type: str | None = None,
    max_bytes: int | None = None,
    allowed: Collection[str] | None = None,
    conversation_id: UUID | None = None,
    agent_key: str | None = None,
    notes: Mapping[str, Any] | None = None,
) -> StoredObject:
    """Keep a file: its bytes streamed into the store, its row in the transaction. Ready when this returns.

    `source` is a readable (from where it stands) or a path; `name` is for people; `media_type` is the caller's claim,
    compared with the bytes; `max_bytes` caps it below the installation's largest file; `allowed` are the media types
    taken. The row of a transaction that rolls back goes, and its bytes with it.

    Raises `TooLarge` (fact `max_bytes`), `Unprocessable` for bytes that are not what is claimed or allowed (facts
    `media_type`, `claimed`), `PaymentRequired` when the organisation's storage is full, `Unavailable`.
    """
    known = os.stat(source).st_size if isinstance(source, str | os.PathLike) else 0
    kept_as = partial(
        keep,
        name=name,
        purpose=purpose,
        media_type=media_type,
        allowed=allowed,
        conversation_id=conversation_id,
        agent_key=agent_key,
        notes=notes,
    )
    if isinstance(holder, Ctx):
        if holder.session.in_transaction():
            quota.room(holder, known)
        return kept_as(holder, stage(holder, source, max_bytes=max_bytes))
    with holder.transaction() as ctx:
        quota.room(ctx, known)
        organisation_id = ctx.organisation
    staged = stage(organisation_id, source, max_bytes=max_bytes)
    kept = False
    try:
        with holder.transaction() as ctx:
            kept = True  # from here on the transaction looks after the bytes
            return kept_as(ctx, staged)
    except BaseException:
        if not kept:
            incoming.drop(staged.key)
        raise


def stage(owner: Ctx | UUID, source: BinaryIO | str | os.PathLike[str], *, max_bytes: int | None = None) -> Staged:
    """The slow half of `put`: the bytes into the store, without a statement. `owner` is (or has) the organisation; a
    `Ctx` whose transaction begins later and rolls back drops them.

    Raises `TooLarge`, `Unavailable`; then nothing is left.
    """
    organisation_id = owner.organisation if isinstance(owner, Ctx) else owner
    coming = Incoming(organisation_id, max_bytes=max_bytes)
    try:
        if isinstance(source, str | os.PathLike):
            with builtins.open(source, "rb", buffering=0) as opened:
                coming.take_from(opened)
        else:
            coming.take_from(source)
        staged = coming.finish()
    except BaseException:
        coming.abort()
        raise
    if isinstance(owner, Ctx):
        incoming.look_after(owner, staged.key)
    return staged


def keep(
    ctx: Ctx,
    staged: Staged,
    *,
    name: str | None,
    purpose: str,
    media_type: str | None = None,
    allowed: Collection[str] | None = None,
    conversation_id: UUID | None = None,
    agent_key: str | None = None,
    notes: Mapping[str, Any] | None = None,
) -> StoredObject:
    """The other half: quota and row, in the caller's transaction. Raises as `put`; the staged bytes are dropped when
    this fails or the transaction is rolled back."""
    if staged.organisation_id != ctx.organisation:
        raise ValueError("staged for another organisation")
    shown = rules.display_name(name)
    found = rules.judged(staged.found, shown, media_type)
    try:
        incoming.accept(found, media_type, allowed)
    except Unprocessable:
        incoming.drop(staged.key)  # no statement has begun a transaction yet that would look after them
        raise
    incoming.look_after(ctx, staged.key)
    quota.take(ctx, staged.size)
    stored = StoredObject(
        id=staged.blob_id,
        key=staged.key,
        name=shown,
        purpose=purpose,
        media_type=found,
        claimed_type=rules.canonical(media_type),
        size=staged.size,
        sha256=staged.sha256,
        state=rules.READY,
        account_id=account_of(ctx),
        conversation_id=conversation_id,
        agent_key=agent_key,
        notes=None if notes is None else dict(notes),
        ready_at=ctx.now(),
    )
    ctx.session.add(stored)
    ctx.session.flush()
    return stored


# --- out ----------------------------------------------------------------------------------------------


def get(ctx: Ctx, object_id: UUID, *, purpose: str | None = None, ready: bool = False) -> StoredObject:
    """One object. Raises `NotFound`, also for one that is deleted, or has another purpose, or is not `ready`."""
    found = get_many(ctx, [object_id], purpose=purpose)
    if not found:
        raise NotFound("There is no such file.")
    if ready and not found[0].is_ready:
        raise NotFound("The file was announced, and its bytes are still awaited.")
    return found[0]


def get_many(ctx: Ctx, object_ids: Collection[UUID], *, purpose: str | None = None) -> Sequence[StoredObject]:
    """Those of the objects that there are, in no order."""
    query = select(StoredObject).where(StoredObject.id.in_(object_ids), StoredObject.state != rules.DELETED)
    if purpose is not None:
        query = query.where(StoredObject.purpose == purpose)
    return ctx.session.scalars(query).all()


def list(
    ctx: Ctx,
    *,
    page: OffsetPage,
    purpose: str = rules.OBJECT,
    conversation_id: UUID | None = None,
) -> tuple[Page[StoredObject], bool]:
    """A page of the organisation's objects of one purpose, the latest first, and whether there are more."""
    query = select(StoredObject).where(StoredObject.purpose == purpose, StoredObject.state != rules.DELETED)
    if conversation_id is not None:
        query = query.where(StoredObject.conversation_id == conversation_id)
    query = query.order_by(StoredObject.id.desc()).offset(page.offset).limit(page.limit + 1)
    rows = ctx.session.scalars(query).all()
    return Page(rows[: page.limit]), len(rows) > page.limit


def open(holder: Ctx | Work, wanted: UUID | StoredObject) -> io.BufferedReader:
    """A seekable reader of a ready object; close it. `wanted` is an id, or an object that `get` gave (no statement).

    Reading it from beginning to end verifies it: `Damaged` comes instead of the last bytes. Needs no transaction after
    this call. Raises `NotFound`, `Unavailable`; the reader `Missing` where the bytes are gone.
    """
    return io.BufferedReader(reader(_ready(holder, wanted)), BUFFER)


def reader(stored: StoredObject) -> Reader:
    """`open` without a buffer."""
    if not stored.is_ready or stored.sha256 is None:
        raise NotFound("There is no such file.")
    store = binding.bound().store
    return Reader(partial(store.open, stored.key), stored.size, stored.sha256, str(stored.id), stored.key)


@contextmanager
def local_path(holder: Ctx | Work, wanted: UUID | StoredObject) -> Iterator[Path]:
    """The object, verified, as a local file for as long as the context lasts. Never write to it.

    A folder's own file, or a download into a temporary one. Raises `NotFound`, `Damaged` (`Missing`), `Unavailable`.
    """
    stored = _ready(holder, wanted)
    path = binding.bound().store.path(stored.key)
    if path is not None:
        with reader(stored) as source:
            while source.read(PIECE):
                pass
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="thalweg-object-") as copy:
        with reader(stored) as source:
            while piece := source.read(PIECE):
                copy.write(piece)
        copy.flush()
        yield Path(copy.name)


@dataclass(frozen=True, slots=True)
class Content:
    """What a download needs: for the edge's `File`, or for a route of the platform's own."""

    name: str
    media_type: str
    size: int
    etag: str
    """Strong, with its quotes: the SHA-256."""
    modified: float
    opener: partial[io.BufferedReader]
    """A new verifying reader with each call."""


def content(stored: StoredObject) -> Content:
    """The content of a ready object. Raises `NotFound` for one that is not."""
    if stored.ready_at is None or stored.sha256 is None or not stored.is_ready:
        raise NotFound("There is no such file.")
    return Content(
        stored.name,
        stored.media_type,
        stored.size,
        f'"{stored.digest}"',
        stored.ready_at.timestamp(),
        partial(_buffered, stored),
    )


def _buffered(stored: StoredObject) -> io.BufferedReader:
    return io.BufferedReader(reader(stored), BUFFER)


# --- away ---------------------------------------------------------------------------------------------


def delete(ctx: Ctx, object_id: UUID, *, purpose: str | None = None) -> StoredObject:
    """Delete an object: from now on it is not found, its bytes no longer count, and a job drops them after the commit.

    Raises `NotFound`, also when it was deleted before.
    """
    query = select(StoredObject).where(StoredObject.id == object_id, StoredObject.state != rules.DELETED)
    if purpose is not None:
        query = query.where(StoredObject.purpose == purpose)
    stored = ctx.session.scalar(query.with_for_update().execution_options(populate_existing=True))
    if stored is None:
        raise NotFound("There is no such file.")
    forget(ctx, stored)
    return stored


def forget(ctx: Ctx, stored: StoredObject) -> None:
    """Make a row that is locked a deleted one."""
    stored.state = rules.DELETED
    stored.deleted_at = ctx.now()
    ctx.session.flush()
    enqueue(ctx, "storage.purge", {"object_id": str(stored.id)}, max_attempts=20)
    quota.give_back(ctx, stored.size)


def purge(work: Work, object_id: UUID) -> None:
    """Drop the bytes of a deleted object, then its row. Run again, it does what is left to do."""
    with work.transaction() as ctx:
        stored = ctx.session.scalar(select(StoredObject).where(StoredObject.id == object_id))
        if stored is None or stored.state != rules.DELETED:
            work.complete(ctx)
            return
    store = binding.bound().store
    store.delete(stored.key)
    store.delete(rules.INCOMING + stored.key)
    with work.transaction() as ctx:
        row = ctx.session.scalar(select(StoredObject).where(StoredObject.id == object_id).with_for_update())
        if row is not None:
            ctx.session.delete(row)
        work.complete(ctx)


def account_of(ctx: Ctx) -> UUID | None:
    """The user behind the caller, if there is one."""
    return ctx.actor.user_id if isinstance(ctx.actor, UserActor | ApiKeyActor) else None


def _ready(holder: Ctx | Work, wanted: UUID | StoredObject) -> StoredObject:
    if isinstance(wanted, StoredObject):
        return wanted
    if isinstance(holder, Ctx):
        return get(holder, wanted, ready=True)
    with holder.transaction() as ctx:
        return get(ctx, wanted, ready=True)
