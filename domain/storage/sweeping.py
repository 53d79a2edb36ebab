"""Putting right what died half-way: uploads that never came, deletions that were not finished, bytes without a row.

Everything here may run at any time, twice at once, and be killed: it drops only what no row speaks of, long after any
transaction that could still write such a row has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

import structlog
from sqlalchemy import select

from domain import audit, identity
from domain.kernel.context import Work
from domain.kernel.db import acting_for
from domain.kernel.errors import NotFound
from domain.kernel.pages import CursorPage
from domain.storage import binding, rules, transfers
from domain.storage.models import StoredObject
from domain.storage.ports import BlobStore

log = structlog.get_logger("thalweg.storage")

AGE = timedelta(hours=24)
"""How old bytes without a row must be before they are dropped."""
LATE = timedelta(minutes=30)
"""How long after its time a pending or deleted object is left to its own job."""
BATCH = 500
SUSPECT = 100
"""From so many blobs without a row on, that they are more than half of what was found is no leftover but a mistake: a
restored or another database, the folder of another installation. Then only what erased organisations left goes."""


@dataclass(frozen=True, slots=True)
class Swept:
    """How many there were of each."""

    expired: int
    purged: int
    unfinished: int
    orphans: int


def sweep(work: Work, *, age: timedelta = AGE, late: timedelta = LATE) -> Swept:
    """One round over everything, as the platform."""
    with work.transaction() as ctx:
        now = ctx.now()
    expired = _expire(work, now - late)
    purged = _purge(work, now - late)
    store = binding.bound().store
    return Swept(expired, purged, store.clear(now - age), _drop_orphans(work, store, now - age))


def _expire(work: Work, before: datetime) -> int:
    count = 0
    for object_id, organisation_id in _late(work, rules.PENDING, before):
        with work.transaction() as ctx, acting_for(ctx, organisation_id) as lent:
            count += transfers.expire(lent, object_id)
    return count


def _purge(work: Work, before: datetime) -> int:
    store = binding.bound().store
    count = 0
    for object_id, organisation_id in _late(work, rules.DELETED, before):
        with work.transaction() as ctx:
            key = ctx.session.scalar(select(StoredObject.key).where(StoredObject.id == object_id))
        if key is None:
            continue
        store.delete(key)
        store.delete(rules.INCOMING + key)
        with work.transaction() as ctx, acting_for(ctx, organisation_id) as lent:
            row = lent.session.scalar(select(StoredObject).where(StoredObject.id == object_id).with_for_update())
            if row is not None:
                lent.session.delete(row)
                count += 1
    return count


def _late(work: Work, state: str, before: datetime) -> Sequence[tuple[UUID, UUID]]:
    since = StoredObject.expires_at if state == rules.PENDING else StoredObject.deleted_at
    with work.transaction() as ctx:
        rows = ctx.session.execute(
            select(StoredObject.id, StoredObject.organisation_id)
            .where(StoredObject.state == state, since < before)
            .order_by(since)
            .limit(BATCH)
        )
        return [(row[0], row[1]) for row in rows]


def _drop_orphans(work: Work, store: BlobStore, before: datetime) -> int:
    seen = 0
    orphans: list[str] = []
    old = (entry.key for entry in store.entries() if entry.modified < before)
    for keys in _batches(old):
        seen += len(keys)
        orphans += _without_row(work, keys)
        work.heartbeat()
    if len(orphans) >= SUSPECT and len(orphans) * 2 > seen:
        orphans = _of_erased(work, orphans)
        log.error("most blobs have no row: only those of erased organisations are dropped", blobs=seen)
    for keys in _batches(iter(orphans)):
        for key in _without_row(work, keys):  # again: it may have been long
            store.delete(key)
    return len(orphans)


def _of_erased(work: Work, keys: Sequence[str]) -> list[str]:
    """Those of organisations that were here, as the audit trail remembers, and are no more."""
    owners: dict[str, bool] = {}
    for key in keys:
        owner = key.removeprefix(rules.INCOMING).partition("/")[0]
        if owner not in owners:
            owners[owner] = _erased(work, owner)
    return [key for key in keys if owners[key.removeprefix(rules.INCOMING).partition("/")[0]]]


def _erased(work: Work, owner: str) -> bool:
    try:
        organisation_id = UUID(owner)
    except ValueError:
        return False
    with work.transaction() as ctx, acting_for(ctx, organisation_id) as lent:
        try:
            identity.get_organisation(lent)
        except NotFound:
            return bool(audit.find(lent, page=CursorPage(1)).items)
    return False


def _without_row(work: Work, keys: Sequence[str]) -> list[str]:
    real = {key: key.removeprefix(rules.INCOMING) for key in keys}
    with work.transaction() as ctx:
        known = set(ctx.session.scalars(select(StoredObject.key).where(StoredObject.key.in_(real.values()))))
    return [key for key in keys if real[key] not in known]


def _batches(keys: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(keys, BATCH)):
        yield batch
