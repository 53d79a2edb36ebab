"""Tools in a turn: checked, limited, written down, and asked for where that is needed."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from sqlalchemy import select

from domain import agents, audit, conversations
from domain.agents import tools
from domain.agents.models import Confirmation
from domain.agents.tools import Tool, ToolResult
from domain.kernel.errors import NotFound

BOB = "Suspend user bob@example.org on okta because he left"


def calls_once(script, *calls):
    return script(lambda request: "Done." if request.messages[-1].role == "tool" else list(calls))


def of(done, name):
    return [d for n, d in done["events"] if n == name]


@pytest.fixture
def posture():
    """The posture context's part of two actions, as a list of what was done."""
    done = []

    def act(ctx, run, given):
        done.append((ctx.actor, dict(given)))
        return ToolResult("It is done.", {"ok": True})

    for name in ("suspend_user", "dismiss_finding"):
        tools.provide(name, writes=act)
    yield done
    for name in ("suspend_user", "dismiss_finding"):
        tools.provide(name)


def test_arguments_that_do_not_fit_the_schema_reach_no_tool(world, script, call):
    model = calls_once(script, call("calculator", expression=42), call("calculator", 2, exprezzion="1+1"))
    done = world.ask("Compute")
    errors = of(done, "tool_error")
    assert [e["outcome"] for e in errors] == ["failure", "failure"]
    assert "wrong type" in errors[0]["error"]
    assert "42" not in errors[0]["error"]
    assert "arguments do not fit" in model.asked[-1].messages[-1].text
    assert done["response"] == "Done."


def test_a_tool_that_the_agent_does_not_have_is_none(world, script, call):
    calls_once(script, call("suspend_user", platform="okta", user_email="a@example.org"), call("rm_rf", 2))
    done = world.ask("Do it")
    assert [e["outcome"] for e in of(done, "tool_error")] == ["denied", "denied"]


def test_a_tool_that_takes_too_long_is_left_and_the_turn_goes_on(world, script, call):
    slow = tools.get("calculator")
    tools.provide("calculator", reads=lambda run, given: time.sleep(4) or ToolResult("late"))
    tools.registry._tools["calculator"] = type(slow)(**{**vars(tools.get("calculator")), "seconds": 0.3})
    try:
        calls_once(script, call("calculator", expression="1+1"))
        started = time.monotonic()
        done = world.ask("Compute")
        assert time.monotonic() - started < 3
    finally:
        tools.registry._tools["calculator"] = slow
    assert "did not answer within" in of(done, "tool_error")[0]["error"]
    assert done["name"] == "complete"


def test_a_fault_in_a_tool_says_nothing_of_itself(world, script, call):
    before = tools.get("calculator")
    tools.provide("calculator", reads=lambda run, given: 1 / 0)
    try:
        calls_once(script, call("calculator", expression="1+1"))
        done = world.ask("Compute")
    finally:
        tools.provide("calculator", reads=before.reads)
    assert of(done, "tool_error")[0]["error"] == "The tool failed."


def test_every_call_is_on_the_audit_trail_without_its_arguments(world, script, call):
    calls_once(script, call("calculator", expression="111+222"))
    done = world.ask("Compute")
    with world.ctx(permissions=frozenset({"admin"})) as ctx:
        entries = [
            e
            for e in ctx.session.scalars(select(audit.AuditEntry).where(audit.AuditEntry.action == "tool_call"))
            if e.resource_id == done["message_id"]
        ]
    assert len(entries) == 1
    assert entries[0].details["tool"] == "calculator"
    assert "111" not in str(entries[0].details)


def test_a_tool_acts_as_the_person_and_with_their_rights_alone(make_world, posture, script, call):
    world = make_world("thalian")
    finding = "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"
    calls_once(script, call("dismiss_finding", finding_id=finding, reason="known"))
    world.ask("Dismiss the finding")
    assert posture[0][0].user_id == world.user_id
    world.permissions = frozenset({"assistant:write"})
    done = world.ask("Dismiss the finding")
    assert of(done, "tool_error")[0]["outcome"] == "denied"
    assert len(posture) == 1


def test_an_action_waits_for_its_token_and_is_done_once(make_world, posture):
    world = make_world("thalian")
    first = world.ask(BOB)
    assert posture == []
    assert first["stop_reason"] == "tool_use"
    (waiting,) = first["tool_calls"]
    assert waiting["requires_confirmation"]
    assert waiting["args"] == {"platform": "okta", "user_email": "bob@example.org", "reason": "he left"}
    token = agents.confirmations.token(
        waiting["confirmation_id"] and __import__("uuid").UUID(waiting["confirmation_id"])
    )
    again = world.ask(BOB, conversation_id=first["conversation_id"], confirmation_token=token)
    assert [given for _, given in posture] == [waiting["args"]]
    assert again["tool_calls"][0]["requires_confirmation"] is False
    assert again["stop_reason"] == "end_turn"
    with world.ctx() as ctx, pytest.raises(NotFound):
        conversations.start(ctx, BOB, conversation_id=first["conversation_id"], confirmation_token=token)


def test_a_token_is_good_for_five_minutes_for_one_person_and_one_conversation(make_world, posture):
    from uuid import UUID, uuid4

    world = make_world("thalian")
    first = world.ask(BOB)
    confirmation_id = UUID(first["tool_calls"][0]["confirmation_id"])
    token = agents.confirmations.token(confirmation_id)
    elsewhere = world.ask("Hello")
    attempts = [
        ({"conversation_id": first["conversation_id"]}, token[:-4] + "AAAA", world.user_id),
        ({"conversation_id": elsewhere["conversation_id"]}, token, world.user_id),
        ({}, token, uuid4()),
        ({}, "nonsense", world.user_id),
    ]
    for more, given, user in attempts:
        with world.ctx(user_id=user) as ctx, pytest.raises(NotFound):
            conversations.start(ctx, BOB, confirmation_token=given, **more)
    with world.ctx() as ctx:
        row = ctx.session.get(Confirmation, confirmation_id)
        row.expires_at = ctx.now() - timedelta(seconds=1)
    with world.ctx() as ctx, pytest.raises(NotFound):
        conversations.start(ctx, BOB, conversation_id=first["conversation_id"], confirmation_token=token)
    assert posture == []


def test_without_tokens_a_plain_yes_approves_what_the_conversation_waits_for(world, script, call):
    opened = []
    before = tools.get("create_ticket")
    tools.provide(
        "create_ticket", writes=lambda ctx, run, given: opened.append(given) or ToolResult("Ticket 7 is open.")
    )
    try:
        first = world.ask('Create a ticket about "the door is broken"')
        assert "Answer yes" in first["response"]
        assert opened == []
        other = world.ask("What is 2+2?", conversation_id=first["conversation_id"])
        assert other["response"] == "2+2 = 4"
        second = world.ask("Yes, go ahead.", conversation_id=first["conversation_id"])
        assert second["response"] == "Ticket 7 is open."
        assert len(opened) == 1
        world.ask("yes", conversation_id=first["conversation_id"])
        assert len(opened) == 1
    finally:
        tools.provide("create_ticket", writes=before.writes)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12*(3+4)", 84),
        ("2^10", 1024),
        ("7/2", 3.5),
        ("20%", 0.2),
        ("17 % 5", 2),
        ("sqrt(16)+pi-pi", 4),
        ("1e3*2", 2000),
    ],
)
def test_the_calculator_computes(expression, value):
    from domain.agents.tools.calculator import evaluate

    assert evaluate(expression) == pytest.approx(value)


@pytest.mark.parametrize(
    "expression",
    ["", "9**9**9**9", "__import__('os')", "(1).__class__", "'a'*10**9", "1/0", "[1]*9", "x", "1;2", "1" * 600,
     "lambda: 1", "open('f')", "10**200", "'text'"],
)  # fmt: skip
def test_the_calculator_refuses_what_is_no_bounded_arithmetic(expression):
    from domain.agents.tools import ToolProblem
    from domain.agents.tools.calculator import evaluate

    started = time.monotonic()
    with pytest.raises(ToolProblem):
        evaluate(expression)
    assert time.monotonic() - started < 1


def test_pages_of_private_addresses_are_not_fetched(world, script, call):
    calls_once(script, call("fetch_page", url="http://127.0.0.1:1/secret"))
    done = world.ask("Read it")
    assert "could not be read" in of(done, "tool_error")[0]["error"]


def test_two_tools_of_one_name_and_schemas_that_are_none_are_refused():
    with pytest.raises(ValueError, match="two tools"):
        tools.register(Tool("calculator", "", "", {"type": "object"}))
    with pytest.raises(ValueError, match="schema of an object"):
        tools.register(Tool("other", "", "", {"type": "string"}))
