"""What the sweeper deletes besides jobs: rows that have had their time, a batch a transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from domain import audit, notifications
from domain.kernel import idempotency
from domain.kernel.context import Ctx, SystemActor
from domain.kernel.db import Database
from workers.sweeper import Purge

ACTOR = SystemActor("sweeper")


def purges(database: Database, *, audit_days: int) -> Mapping[str, Purge]:
    """Deletions by the name they are counted under. Each answers how many rows went, and is called until none do.

    `audit_days` is how long audit entries are kept; 0 is for good.
    """

    def as_platform(verb: Callable[[Ctx], int]) -> Purge:
        def act() -> int:
            with database.context(ACTOR, None, frozenset({"admin"}), platform=True) as ctx:
                return verb(ctx)

        return act

    found: dict[str, Purge] = {
        "idempotency_records": as_platform(idempotency.purge_expired),
        "mails": as_platform(notifications.purge),
    }
    if audit_days:
        found["audit_entries"] = lambda: _audit_entries(database, timedelta(days=audit_days))
    return found


def _audit_entries(database: Database, kept: timedelta) -> int:
    """A batch from every chain that has something to lose, each in a transaction of its own: the head is locked."""
    before = datetime.now(UTC) - kept
    with database.context(ACTOR, None, frozenset({"admin"}), platform=True) as ctx:
        chains = audit.due(ctx, before)
    gone = 0
    for organisation in chains:
        with database.context(ACTOR, organisation, frozenset({"admin"}), platform=organisation is None) as ctx:
            gone += audit.purge(ctx, before)
    return gone
