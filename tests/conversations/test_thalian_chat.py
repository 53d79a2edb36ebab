"""Actions of Thalian's assistant from the request to its answer, with actions that can be carried out: what the
contract says of both tiers, and that its shapes are the tools' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from domain import agents, conversations
from domain.agents import confirmations, tools
from domain.agents.tools import ToolProblem, ToolResult, security
from domain.identity import roles
from domain.inference import Refused
from domain.kernel.errors import Conflict, Forbidden, Invalid, LimitExceeded, NotFound, Unavailable
from generated.thalian import requests
from handlers.thalian import ai_chat, wire_chat
from thalweg.edge.schema import Compiler

BUNDLE = json.loads((Path(__file__).parents[2] / "generated" / "thalian" / "bundle.json").read_bytes())
SUSPEND = {"platform": "okta", "user_email": "alice@example.com", "reason": "Impossible travel."}
FINDING = "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"


@pytest.fixture(scope="module")
def fits():
    schema = BUNDLE["paths"]["/api/ai-chat"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    compiled = Compiler(BUNDLE).compile(schema, "response")

    def check(reply: Any) -> Any:
        assert compiled.violations(json.loads(json.dumps(reply))) == ()
        return reply

    return check


@pytest.fixture
def world(make_world, monkeypatch):
    made = make_world("thalian")
    # The people of these tests have no account of their own to be asked for what they prefer.
    monkeypatch.setattr(wire_chat.turns, "preferences", lambda ctx: {})
    made.permissions = roles.permissions_of("thalian", "analyst")
    return made


@pytest.fixture
def done():
    """What was carried out; the two actions work as long as the test."""
    carried: list[tuple[str, dict[str, Any]]] = []

    def working(name):
        def write(ctx, run, given):
            if given.get("reason") == "refuse":
                raise ToolProblem("Okta refused to suspend the last super administrator.")
            carried.append((name, dict(given)))
            return ToolResult("Done.", {"done": True})

        return write

    names = ("suspend_user", "snooze_finding")
    for name in names:
        tools.provide(name, writes=working(name))
    yield carried
    for name in names:
        tools.provide(name, writes=None)


def send(world, message, fits, **more):
    """The request as the handler takes it, and its answer once the turn is over."""
    body = requests.ChatRequest.model_validate({"workspaceId": str(world.organisation_id), "message": message, **more})
    with world.ctx(base_path="/thalian") as ctx:
        pending = ai_chat.send_chat_message(ctx, body)
        (turn_id,) = {turn.id for turn, _, _ in conversations.active(ctx, "thalian") if turn.ended_at is None}
    world.run(turn_id)
    with world.ctx() as ctx:
        assert pending.ready(ctx)
        return fits(pending.then(ctx))


def test_a_risky_action_comes_back_with_a_token_and_is_carried_out_with_it(world, script, call, done, fits):
    script([call("suspend_user", **SUSPEND)], "I can suspend Alice. Please confirm.")
    asked = send(world, "Suspend Alice.", fits)
    (proposed,) = asked["toolCalls"]
    assert (proposed["name"], proposed["input"], proposed["requiresConfirmation"]) == ("suspend_user", SUSPEND, True)
    assert asked["stop_reason"] == "tool_use"
    assert done == []
    script("Alice is suspended.")
    approved = send(world, "Suspend Alice.", fits, confirmationToken=proposed["confirmationToken"])
    assert done == [("suspend_user", SUSPEND)]
    assert approved["stop_reason"] == "end_turn"
    assert approved["toolCalls"] == [
        {"id": proposed["id"], "name": "suspend_user", "input": SUSPEND, "requiresConfirmation": False}
    ]
    with pytest.raises(NotFound):
        send(world, "Suspend Alice.", fits, confirmationToken=proposed["confirmationToken"])
    assert len(done) == 1


def test_saying_yes_is_no_token(world, script, call, done, fits):
    script([call("suspend_user", **SUSPEND)], "Please confirm.")
    session = str(uuid4())
    send(world, "Suspend Alice.", fits, sessionId=session)
    script("What do you mean?")
    assert "toolCalls" not in send(world, "yes", fits, sessionId=session)
    assert done == []


def test_a_harmless_action_is_done_at_once(world, script, call, done, fits):
    given = {"finding_id": FINDING, "days": 14}
    script([call("snooze_finding", **given)], "Snoozed for two weeks.")
    told = send(world, "Snooze it.", fits)
    assert done == [("snooze_finding", given)]
    assert told["toolCalls"] == [
        {"id": "call_1", "name": "snooze_finding", "input": given, "requiresConfirmation": False}
    ]
    assert told["stop_reason"] == "end_turn"


def test_what_was_refused_misnamed_or_only_looked_up_is_told_in_words_alone(world, script, call, done, fits):
    script(
        [
            call("snooze_finding", 1, finding_id="not an id", days=14),
            call("snooze_finding", 2, finding_id=FINDING, days=9000),
            call("current_time", 3),
            call("no_such_tool", 4, anything=["at", "all"]),
        ],
        "None of that.",
    )
    told = send(world, "Do it all.", fits)
    assert ("toolCalls" in told, told["response"], done) == (False, "None of that.", [])


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_an_action_needs_its_permission_whoever_asks_the_assistant(world, script, call, done, fits, role):
    world.permissions = roles.permissions_of("thalian", role)
    script([call("suspend_user", 1, **SUSPEND), call("snooze_finding", 2, finding_id=FINDING, days=1)], "You may not.")
    assert "toolCalls" not in send(world, "Suspend Alice.", fits)
    assert done == []


def test_a_refusal_of_the_platform_after_the_approval_is_not_told_as_done(world, script, call, done, fits):
    script([call("suspend_user", **{**SUSPEND, "reason": "refuse"})], "Please confirm.")
    (proposed,) = send(world, "Suspend Alice.", fits)["toolCalls"]
    model = script("Okta would not.")
    told = send(world, "Suspend Alice.", fits, confirmationToken=proposed["confirmationToken"])
    assert ("toolCalls" in told, done) == (False, [])
    assert "last super administrator" in model.asked[0].messages[-1].text


def test_an_action_that_was_carried_out_is_told_although_the_model_fails_after_it(world, script, call, done, fits):
    given = {"finding_id": FINDING, "days": 14}
    script([call("snooze_finding", **given)], Refused("The model's provider knows no such model."))
    told = send(world, "Snooze it.", fits)
    assert done == [("snooze_finding", given)]
    assert [(each["name"], each["input"]) for each in told["toolCalls"]] == [("snooze_finding", given)]
    assert "knows no such model" in told["response"]
    script(Refused("The model's provider knows no such model."))
    with pytest.raises(Unavailable):
        send(world, "Snooze it again.", fits)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("model_unavailable", Unavailable),
        ("timed_out", Unavailable),
        ("rate_limited", LimitExceeded),
        ("dlp_blocked", Forbidden),
        ("refused", Invalid),
    ],
)
def test_every_end_of_a_turn_has_its_answer(code, error):
    problem = wire_chat._problem("error", {"code": code, "error": "Because.", "retry_after": None})
    assert (type(problem), problem.message) == (error, "Because.")
    inside = wire_chat._problem("error", {"code": "internal", "error": "Stack trace", "retry_after": None})
    assert (inside.code, "Stack" in inside.message) == ("internal", False)
    assert isinstance(wire_chat._problem("cancelled", {}), Conflict)


# --- the shapes ------------------------------------------------------------------------------------------------


def plain(node: Any) -> Any:
    """A schema without what is for readers, its references in place."""
    while isinstance(node, dict) and "$ref" in node:
        target: Any = BUNDLE
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    if isinstance(node, list):
        return [plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    named = {name: plain(each) for name, each in node.items() if name not in ("description", "example")}
    if named.get("format") == "int32":
        del named["format"]
    if named.get("format") == "uuid":  # the contract bounds the text too
        return {"type": "string", "format": "uuid"}
    return named


def test_every_tool_takes_what_the_contract_tells_of_it():
    union = plain(BUNDLE["components"]["schemas"]["ToolCall"])["oneOf"]
    declared = {each["properties"]["name"]["enum"][0]: each["properties"]["input"] for each in union}
    assert set(declared) == wire_chat.SHOWN
    for name, shape in declared.items():
        tool = tools.get(name)
        assert tool is not None
        own = plain(dict(tool.parameters))
        if not own["required"]:
            del own["required"]
        assert own == shape, name
        assert tool.confirmation == (name in security.CONFIRMED)
    assert set(declared) <= set(agents.builtin.agents()["security_assistant"].tools)


def test_a_token_has_the_form_that_the_contract_says():
    shape = BUNDLE["components"]["schemas"]["ConfirmationToken"]
    compiled = Compiler(BUNDLE).compile(shape, "response")
    assert all(compiled.violations(confirmations.token(uuid4())) == () for _ in range(200))
