"""An account that is erased takes what was the person's own with it, whichever context keeps it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from domain import identity
from domain.kernel.context import SystemActor
from domain.memory import personal
from workers.jobs import identity as jobs


def test_memories_go_with_the_account(people: Any) -> None:
    signed_in = people.sign_in(people.register())
    with people.as_person(signed_in) as ctx:
        personal.remember(ctx, signed_in.account.id, "Prefers tea.", category="PREFERENCES")
    with people.as_person(signed_in) as ctx:
        identity.accounts.request_deletion(ctx, "thallus", password="Staple-orbit-lantern-42", confirmed=False)
    people.clock.advance(timedelta(days=31))
    with people.database.context(SystemActor(), None, platform=True, clock=people.clock) as ctx:
        jobs.erase(ctx, {"account_id": str(signed_in.account.id)})
    organisation = signed_in.belonging.organisation_id
    with people.database.context(SystemActor(), organisation) as ctx:
        assert personal.memory_stats(ctx, signed_in.account.id).total == 0
