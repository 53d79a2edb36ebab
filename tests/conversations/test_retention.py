"""What an organisation has said about how long things are kept, and what every night makes of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update

from domain import audit, billing, conversations
from domain.audit.models import AuditEntry
from domain.conversations.guardrails import record
from domain.conversations.models import Conversation, GuardrailEvent
from domain.kernel.context import SystemActor
from workers.jobs.conversations import retention


@pytest.fixture
def platform(database):
    def context(organisation_id=None):
        return database.context(
            SystemActor("test"), organisation_id, frozenset({"admin"}), platform=organisation_id is None
        )

    return context


def aged(world, platform, days):
    """A conversation and an event of the guardrails that are `days` old."""
    with world.ctx() as ctx:
        made = conversations.create_conversation(ctx, title=f"{days} days")
    with platform(world.organisation_id) as ctx:
        then = ctx.now() - timedelta(days=days)
        ctx.session.execute(update(Conversation).where(Conversation.id == made.id).values(moved_at=then))
        record.write(ctx, user_id=None, agent_id=None, conversation_id=made.id, kind="pii", categories=["iban"],
                     direction="input", action="block")  # fmt: skip
        ctx.session.flush()
        ctx.session.execute(
            update(GuardrailEvent).where(GuardrailEvent.conversation_id == made.id).values(created_at=then)
        )
    return made.id


def left(world, platform):
    with platform(world.organisation_id) as ctx:
        titles = set(ctx.session.scalars(select(Conversation.title)))
        return titles, ctx.session.scalar(select(func.count(GuardrailEvent.id)))


def test_conversations_go_after_the_days_that_the_organisation_has_chosen_and_no_others(make_world, platform):
    world = make_world("beeflow", retention={"conversation_days": 60, "audit_days": 400})
    other = make_world("beeflow")
    for each in (world, other):
        for days in (59, 61, 399, 401):
            aged(each, platform, days)
    work = world.work()
    gone = conversations.retention.keep_to(work)
    assert (gone["conversations"], gone["guardrail_events"], work.done) == (3, 1, True)
    assert left(world, platform) == ({"59 days"}, 3)
    assert left(other, platform) == ({"59 days", "61 days", "399 days", "401 days"}, 4)
    with platform(world.organisation_id) as ctx:
        told = ctx.session.scalars(select(AuditEntry).where(AuditEntry.action == "conversation.purge")).one()
        assert told.details == {"days": 60, "removed": 3}


def test_without_a_choice_conversations_stay_and_the_log_goes_with_the_tier(make_world, platform, database):
    world = make_world("beeflow")
    with platform(world.organisation_id) as ctx:
        billing.subscribe(ctx, "pro", "beeflow")
    for days in (89, 91):
        aged(world, platform, days)
    gone = conversations.retention.keep_to(world.work())
    assert gone == {"guardrail_events": 1}
    assert left(world, platform) == ({"89 days", "91 days"}, 1)


def test_the_audit_trail_goes_only_by_the_organisations_own_word_and_still_verifies(make_world, platform, database):
    chosen, silent = make_world("beeflow", retention={"audit_days": 45}), make_world("beeflow")
    for world in (chosen, silent):
        with platform(world.organisation_id) as ctx:
            for _ in range(3):
                audit.record(ctx, "test.something", resource_type="test")
        with platform() as ctx:  # the chain refuses changes; a test of old entries has to be the clock's
            ctx.session.execute(text("ALTER TABLE audit_entry DISABLE TRIGGER USER"))
            ctx.session.execute(
                text("UPDATE audit_entry SET created_at = now() - interval '46 days' WHERE organisation_id = :id"),
                {"id": world.organisation_id},
            )
            ctx.session.execute(text("ALTER TABLE audit_entry ENABLE TRIGGER USER"))
        conversations.retention.keep_to(world.work())
        with platform(world.organisation_id) as ctx:
            kept = set(ctx.session.scalars(select(AuditEntry.action)))
        assert ("test.something" in kept) == (world is silent)
        assert ("audit.purge" in kept) == (world is chosen)


def test_every_night_each_organisation_with_something_to_lose_gets_one_job(make_world, platform):
    chosen = make_world("beeflow", retention={"conversation_days": 7})
    logged, nothing = make_world("beeflow"), make_world("beeflow", retention={"conversation_days": None})
    aged(logged, platform, 31)
    for _ in range(2):
        with platform() as ctx:
            retention(ctx, {})
    assert [len(world.jobs("conversations.retain")) for world in (chosen, logged, nothing)] == [1, 1, 0]


def test_a_night_that_is_too_short_goes_on_the_next(make_world, platform):
    world = make_world("beeflow", retention={"conversation_days": 1})
    aged(world, platform, 3)
    work = world.work(seconds=5.0)
    assert conversations.retention.keep_to(work)["conversations"] == 0
    assert work.done
    assert conversations.retention.keep_to(world.work())["conversations"] == 1
