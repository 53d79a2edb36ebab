"""What the sweeper deletes besides jobs: what has had its time, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from domain import audit, identity, notifications
from domain.audit.chain import PLATFORM
from domain.kernel.clock import FixedClock
from domain.kernel.context import SystemActor
from workers.purging import purges

NOW = datetime.now(UTC)


def entries(database, organisation, count, age):
    clock = FixedClock(NOW - age)
    platform = organisation is None
    for _ in range(count):
        with database.context(SystemActor("test"), organisation, platform=platform, clock=clock) as ctx:
            audit.record(ctx, "test.happened")


def kept(database, organisation):
    """Whether the chain verifies, and how many of the entries are left in it."""
    with database.context(SystemActor("test"), organisation, platform=organisation is None) as ctx:
        verified = audit.verify(ctx)
    with database.session(None, platform=True) as session:
        left = session.execute(
            text("SELECT count(*) FROM audit_entry WHERE action = 'test.happened' AND organisation_id = :id"),
            {"id": organisation or PLATFORM},
        )
        return verified, left.scalar()


def test_audit_entries_go_from_the_beginning_of_every_chain_and_the_rest_still_verifies(database, as_platform):
    with as_platform() as ctx:
        one = identity.create_organisation(ctx, name="One").id
        two = identity.create_organisation(ctx, name="Two").id
    with database.session(None, platform=True) as session:  # what making them left is of today, and would stand first
        session.execute(text("SELECT set_config('thalweg.audit_retention', 'on', true)"))
        session.execute(text("DELETE FROM audit_entry"))
        session.execute(text("DELETE FROM audit_head"))
    for organisation in (one, two, None):
        entries(database, organisation, 3, timedelta(days=40))
        entries(database, organisation, 2, timedelta(days=5))
    assert "audit_entries" not in purges(database, audit_days=0)
    purge = purges(database, audit_days=30)["audit_entries"]
    assert purge() == 9
    assert purge() == 0
    for organisation in (one, two, None):
        verified, left = kept(database, organisation)
        assert left == 2
        assert verified.intact, verified


def test_mails_that_have_had_their_time_go(database, as_platform):
    with as_platform() as ctx:
        old = notifications.send_mail(ctx, "waitlist_joined", "ada@example.com", facts={})
        new = notifications.send_mail(ctx, "waitlist_joined", "ada@example.com", facts={})
        for mail, age in ((old, 40), (new, 1)):
            ctx.session.execute(
                text("UPDATE mail SET state = 'sent', facts = NULL, sent_at = :at WHERE id = :id"),
                {"at": NOW - timedelta(days=age), "id": mail},
            )
    purge = purges(database, audit_days=0)["mails"]
    assert purge() == 1
    assert purge() == 0
    with as_platform() as ctx:
        assert [mail.id for mail in notifications.list_mails(ctx).items] == [new]
