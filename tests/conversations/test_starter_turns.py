"""Conversations that are an organisation's: who goes on with them, what is not remembered, and how they are erased; and
guardrails of usage."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from domain import agents, billing, conversations
from domain.billing import guardrails
from domain.conversations.models import Conversation, MessageRow, Turn
from domain.kernel.context import SystemActor
from domain.kernel.errors import Conflict, Forbidden, LimitExceeded, NotFound, PaymentRequired
from domain.kernel.outbox import Job
from domain.kernel.pages import CursorPage, OffsetPage
from domain.memory.models import RingEntry

THEIRS = {"whose": "organisation"}


@pytest.fixture
def tenant(make_world):
    return make_world("starter")


@pytest.fixture
def guarded():
    yield lambda *given: guardrails.configure("starter", given)
    guardrails.configure("starter", ())


def erase(world, conversation_id):
    with world.database.context(SystemActor("job"), world.organisation_id, frozenset({"admin"})) as ctx:
        return conversations.erase(ctx, conversation_id)


def rows(world, model, conversation_id):
    with world.database.context(SystemActor("test"), world.organisation_id, frozenset({"admin"})) as ctx:
        column = model.id if model is Conversation else model.conversation_id
        return ctx.session.scalar(select(func.count()).select_from(model).where(column == conversation_id))


def test_anybody_of_the_organisation_goes_on_where_conversations_are_shared(tenant, make_world, script):
    script("First.", "Second.", "Third.")
    first = tenant.ask("One?")
    colleague, stranger = uuid4(), make_world("starter")
    with tenant.ctx(user_id=colleague) as ctx:
        turn_id = conversations.start(ctx, "Two?", conversation_id=first["conversation_id"]).id
    assert tenant.run(turn_id)[-1][1]["response"] == "Second."
    with tenant.ctx() as ctx:
        said = conversations.last_messages(ctx, first["conversation_id"], **THEIRS)
        assert [m.content for m in said] == ["One?", "First.", "Two?", "Second."]
        with pytest.raises(NotFound):
            conversations.get_turn(ctx, turn_id)  # whose answer it is, it stays
    with stranger.ctx() as ctx, pytest.raises(NotFound):
        conversations.start(ctx, "Three?", conversation_id=first["conversation_id"])


def test_what_was_said_on_a_personal_surface_is_no_organisations(tenant, script):
    script("Fine.")
    shared = tenant.ask("Hello")["conversation_id"]
    with tenant.ctx(surface="thallus") as ctx:
        own = conversations.start(ctx, "Just me").conversation_id
    with tenant.ctx(user_id=uuid4()) as ctx:
        found = conversations.list_conversations(ctx, page=CursorPage(10), **THEIRS).items
        assert [str(each.id) for each in found] == [shared]
        assert conversations.search_conversations(ctx, "just", **THEIRS).items == []
        for refused in (
            lambda: conversations.get_conversation(ctx, own, **THEIRS),
            lambda: conversations.delete_conversation(ctx, own, **THEIRS),
            lambda: conversations.start(ctx, "And me", conversation_id=own),
        ):
            with pytest.raises(NotFound):
                refused()
    with tenant.ctx(surface="thallus") as ctx:
        assert conversations.spoken_with(ctx, "triage") == (None, 0)
    with tenant.ctx() as ctx:
        assert conversations.spoken_with(ctx, "triage")[1] == 1


def test_nothing_is_drawn_from_a_shared_conversation(tenant, script):
    script("Noted.")
    done = tenant.ask("Please remember that I live in Lyon. I prefer amounts in euros.")
    conversations.digest(tenant.work(), done["message_id"])
    with tenant.ctx() as ctx:
        kept = select(func.count()).select_from(RingEntry).where(RingEntry.organisation_id == tenant.organisation_id)
        assert ctx.session.scalar(kept) == 0
        near = conversations.search_conversations(
            ctx, "Where is my home?", vector=conversations.meaning_of("Where is my home? Lyon"), **THEIRS
        )
    assert [str(hit.conversation.id) for hit in near.items] == [done["conversation_id"]]


def test_an_agent_that_answered_after_a_handoff_took_part(tenant, script):
    script("Done.")
    handed = tenant.ask("Write a function in Python that adds two numbers.")
    assert (handed["agent_used"], handed["handoff_occurred"]) == ("code_assistant", True)
    plain = tenant.ask("Hello there")
    with tenant.ctx() as ctx:
        for listed in (
            conversations.list_conversations(ctx, agent="code_assistant", page=CursorPage(5), **THEIRS).items,
            [h.conversation for h in conversations.search_conversations(ctx, "done", agent="code_assistant").items],
        ):
            assert [str(each.id) for each in listed] == [handed["conversation_id"]]
        both = conversations.list_conversations(ctx, agent="triage", page=OffsetPage(5), **THEIRS)
    assert {str(each.id) for each in both.items} == {handed["conversation_id"], plain["conversation_id"]}


def test_an_idle_conversation_is_erased_at_once(tenant, script):
    script("Fine.")
    conversation_id = tenant.ask("Hello")["conversation_id"]
    with tenant.ctx(user_id=uuid4()) as ctx:
        conversations.delete_conversation(ctx, conversation_id, for_good=True, **THEIRS)
        with pytest.raises(NotFound):
            conversations.delete_conversation(ctx, conversation_id, for_good=True, **THEIRS)
    assert [rows(tenant, model, conversation_id) for model in (Conversation, MessageRow, Turn)] == [0, 0, 0]
    assert tenant.jobs("conversations.erase") == []


def test_a_conversation_under_way_is_hidden_its_watchers_told_and_then_erased(tenant, script):
    script("word " * 300, pace=0.03)
    turn_id = tenant.start("Talk")
    conversation_id = tenant.turn(turn_id).conversation_id
    seen = []

    def delete(point):
        if point == "before a publication" and not seen:
            seen.append(point)
            with tenant.ctx() as ctx:
                conversations.delete_conversation(ctx, conversation_id, for_good=True, **THEIRS)
            assert erase(tenant, conversation_id) is False, "not while somebody works on it"

    work = tenant.work(die=delete)
    conversations.run(work, turn_id)
    assert work.stream[max(work.stream)][0] == "cancelled"
    with tenant.ctx() as ctx:
        with pytest.raises(NotFound):
            conversations.get_conversation(ctx, conversation_id, **THEIRS)
        assert conversations.events_after(ctx, turn_id), "whoever comes back to the stream finds its end"
    assert tenant.jobs("conversations.erase") == [{"conversation_id": str(conversation_id)}] * 2
    assert erase(tenant, conversation_id) is True
    assert [rows(tenant, model, conversation_id) for model in (Conversation, MessageRow, Turn)] == [0, 0, 0]
    assert erase(tenant, conversation_id) is True, "a second time is harmless"


def test_a_turn_nobody_works_on_ends_with_its_conversation_and_is_announced(tenant):
    turn_id = tenant.start("Talk")
    conversation_id = tenant.turn(turn_id).conversation_id
    with tenant.ctx() as ctx:
        conversations.delete_conversation(ctx, conversation_id, for_good=True, **THEIRS)
    assert {"turn_id": str(turn_id)} in tenant.jobs("conversations.announce")
    with tenant.database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
        due, now = ctx.session.execute(
            select(Job.available_at, func.now()).where(
                Job.name == "conversations.erase", Job.organisation_id == tenant.organisation_id
            )
        ).one()
    assert timedelta(seconds=20) < due - now < timedelta(seconds=40)
    with tenant.ctx() as ctx:
        assert conversations.result(ctx, turn_id).name == "cancelled"
    assert erase(tenant, conversation_id) is True


def test_a_hidden_conversation_that_was_brought_back_is_not_erased(tenant, script):
    script("Fine.")
    conversation_id = tenant.ask("Hello")["conversation_id"]
    with tenant.ctx() as ctx:
        ctx.session.execute(update(Conversation).where(Conversation.id == conversation_id).values(deleted_at=None))
    assert erase(tenant, conversation_id) is True
    assert rows(tenant, Conversation, conversation_id) == 1


def test_only_agents_of_the_surface_are_offered(tenant):
    with tenant.ctx() as ctx:
        assert agents.own_settings.get_offered(ctx, "starter", "triage").agent.handoffs
        for unknown in ("assistant", "planner", "nobody"):
            with pytest.raises(NotFound):
                agents.own_settings.get_offered(ctx, "starter", unknown)
    with tenant.ctx(permissions=frozenset({"admin"})) as ctx:
        agents.access.set_organisation_agent(ctx, "code_assistant", access="deny")
    with tenant.ctx() as ctx, pytest.raises(Forbidden):
        agents.own_settings.get_offered(ctx, "starter", "code_assistant")


# --- usage -----------------------------------------------------------------------------------------------------


@pytest.fixture
def on_plan(make_world):
    def make(plan):
        world = make_world("starter")
        with world.database.context(SystemActor("test"), world.organisation_id, frozenset({"admin"})) as ctx:
            billing.subscribe(ctx, plan, "starter")
        return world

    return make


def used(world):
    with world.ctx() as ctx:
        return [each.used for each in billing.usage(ctx, "starter") if each.metric == "starter.messages"]


def test_use_is_counted_and_not_bounded_without_guardrails(on_plan, script):
    script("Fine.")
    world = on_plan("starter")
    for _ in range(3):
        world.ask("Hello")
    assert used(world) == [3]


def test_a_guardrail_refuses_what_is_over_and_counts_nothing_of_it(on_plan, guarded, script):
    script("Fine.")
    guarded("starter=2", "enterprise=unlimited")
    world = on_plan("starter")
    for _ in range(2):
        world.ask("Hello")
    with pytest.raises(LimitExceeded) as refused:
        world.start("And again")
    assert refused.value.facts["reason"] == "usage_limit_exceeded"
    assert 1 <= refused.value.facts["retry_after"] <= 31 * 86_400
    assert used(world) == [2]
    with world.ctx() as ctx:
        assert conversations.list_conversations(ctx).total == 2
    free = on_plan("enterprise")
    for _ in range(3):
        free.ask("Hello")


def test_a_plan_that_the_guardrails_do_not_know_is_an_error_of_the_policy(on_plan, make_world, guarded):
    guarded("starter=2")
    world = on_plan("pro")
    with pytest.raises(PaymentRequired) as refused:
        world.start("Hello")
    assert refused.value.facts["reason"] == "usage_policy_configuration_error"
    thallus = make_world("thallus")
    assert thallus.start("Hello")


@pytest.mark.parametrize("given", [("nothing=1",), ("starter=1", "starter=2"), ("starter=many",)])
def test_guardrails_name_plans_once_and_with_a_number(given):
    with pytest.raises(ValueError, match=r"plan|invalid literal"):
        guardrails.configure("starter", given)


def test_a_conversation_has_one_answer_under_way_whoever_asks(tenant):
    conversation_id = tenant.turn(tenant.start("One")).conversation_id
    with tenant.ctx(user_id=uuid4()) as ctx, pytest.raises(Conflict) as busy:
        conversations.start(ctx, "Two", conversation_id=conversation_id)
    assert busy.value.facts["reason"] == "turn_active"
