"""What the guardrails took out of a question stays out: of later turns, of branches, and of everything written down."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from domain import conversations
from domain.conversations import Prior
from domain.conversations.guardrails import recognise
from domain.conversations.models import GuardrailEvent, TurnStep

IBAN = "DE89 3704 0044 0532 0130 00"
PAY = f"Pay {IBAN} today."


def shown(model):
    """What the model was last shown, the question last."""
    return [message.text for message in model.asked[-1].messages]


def conversation_of(world, turn_id):
    return world.turn(turn_id).conversation_id


def test_a_branch_of_an_allowed_prompt_shows_the_model_the_redacted_one(make_world, script):
    world = make_world("beeflow")
    model = script("Fine.")
    turn_id = world.start(PAY)
    world.run(turn_id)
    with world.ctx() as ctx:
        conversations.decide(ctx, turn_id, "allow")
    world.run(turn_id)
    origin = conversation_of(world, turn_id)
    world.run(world.start("And then?", conversation_id=origin))
    assert shown(model)[0] == PAY, "its person has let it through"
    with world.ctx() as ctx:
        branch = conversations.branch_conversation(ctx, origin, turn_id).id
    world.run(world.start("Otherwise?", conversation_id=branch))
    assert shown(model)[0] == "Pay [iban] today."
    with world.ctx() as ctx:
        assert conversations.list_messages(ctx, branch).items[0].content == PAY, "it is the person's own"


def test_what_was_said_before_there_was_a_guard_is_hidden_from_the_model_and_stays_with_the_person(
    make_world, script, monkeypatch
):
    world = make_world("beeflow")
    model = script("Fine.")
    with monkeypatch.context() as patch:
        patch.setattr("domain.conversations.guardrails.policy.entitled", lambda ctx, surface: False)
        turn_id = world.start(PAY)
        assert world.run(turn_id)[-1][0] == "complete"
    conversation_id = conversation_of(world, turn_id)
    world.run(world.start("And then?", conversation_id=conversation_id))
    assert shown(model)[0] == "Pay [iban] today."
    with world.ctx() as ctx:
        assert conversations.list_messages(ctx, conversation_id).items[0].content == PAY


@pytest.mark.parametrize("failure", ["fail_open", "fail_closed"])
def test_a_guard_that_fails_on_what_was_said_before_does_as_it_is_told(make_world, script, monkeypatch, failure):
    world = make_world("beeflow", guardrails={"dlp_failure_mode": failure})
    script("Fine.")
    turn_id = world.start("Hello there.")
    world.run(turn_id)
    real = recognise.find

    def find(text, **more):
        if "Hello" in text:
            raise RuntimeError("broken")
        return real(text, **more)

    monkeypatch.setattr(recognise, "find", find)
    name, last = world.run(world.start("And then?", conversation_id=conversation_of(world, turn_id)))[-1]
    assert (name, last.get("code")) == (("complete", None) if failure == "fail_open" else ("error", "dlp_blocked"))


def test_what_is_brought_along_is_rewritten_once_and_noted_once(make_world, script, killed):
    world = make_world("beeflow")
    model = script("Fine.")
    turn_id = world.start("And then?", prior=[Prior("user", PAY), Prior("assistant", f"{IBAN} it is.")])
    deaths = iter([True])

    def die(point):
        if point == "after a commit" and model.asked and next(deaths, False):
            raise killed

    work = world.work(die=die)
    with pytest.raises(killed):
        conversations.run(work, turn_id)
    conversations.run(work, turn_id)
    conversation_id = conversation_of(world, turn_id)
    world.run(world.start("And now?", conversation_id=conversation_id))
    assert shown(model)[:2] == ["Pay [iban] today.", "[iban] it is."]
    with world.ctx() as ctx:
        said = [m.content for m in conversations.list_messages(ctx, conversation_id).items]
        assert said[:2] == ["Pay [iban] today.", "[iban] it is."]
        assert ctx.session.scalars(select(GuardrailEvent.action_taken)).all() == ["redact"]


@pytest.mark.parametrize("end", ["cancel", "expire", "block"])
def test_neither_title_preview_search_nor_steps_keep_what_was_not_let_through(make_world, script, end):
    world = make_world("beeflow")
    script("Never.")
    turn_id = world.start(f"{PAY} Thanks.")
    world.run(turn_id)
    with world.ctx() as ctx:
        if end == "cancel":
            conversations.cancel(ctx, turn_id)
        elif end == "block":
            conversations.decide(ctx, turn_id, "block")
    if end == "expire":
        with world.ctx() as ctx:
            now = ctx.now()
        world.set(turn_id, waiting_until=now)
        with world.ctx() as ctx:
            conversations.expire(ctx, turn_id)
    if end == "block":
        world.run(turn_id)
    with world.ctx() as ctx:
        [kept] = conversations.list_conversations(ctx).items
        assert (kept.title, kept.last_message) == ("Pay [iban] today", "Pay [iban] today. Thanks.")
        assert conversations.list_conversations(ctx, search="DE89").items == []
        assert not [step for step in ctx.session.scalars(select(TurnStep)) if IBAN in str(step.output)]
        assert ctx.session.scalars(select(GuardrailEvent.action_taken)).all() == ["block"]
