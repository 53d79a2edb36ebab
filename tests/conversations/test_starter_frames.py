"""What Starter makes of a turn's events: frames that keep the contract, whatever happens in the turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from domain import conversations
from domain.conversations import events, tool_calls
from domain.inference import Refused, TimedOut
from domain.kernel.errors import DomainError, LimitExceeded, Unavailable
from handlers.starter import wire_chat as wire
from handlers.starter import wire_conversations
from thalweg.edge.application import Event
from thalweg.edge.problem import CODES
from thalweg.edge.schema import Compiler

BUNDLE = Path(__file__).resolve().parents[2] / "generated" / "starter" / "bundle.json"
SCHEMAS = {
    "raw_response": "ChatRawResponse",
    "run_item": "ChatRunItem",
    "agent_update": "ChatAgentUpdate",
    "lifecycle": "ChatLifecycle",
    "usage": "ChatUsage",
    "error": "ChatError",
}


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    return Compiler(json.loads(BUNDLE.read_bytes()))


@pytest.fixture
def tenant(make_world):
    return make_world("starter")


@pytest.fixture
def shown(compiler):
    """The frames of a turn's events, each held against its schema."""

    def show(happened: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
        watching = wire.Watching(str(uuid4()), "triage")
        frames = [
            frame for number, (name, data) in enumerate(happened, 1) for frame in watching(Event(number, name, data))
        ]
        for frame in frames:
            schema = compiler.compile({"$ref": f"#/components/schemas/{SCHEMAS[frame.name]}"}, "response")
            assert schema.violations(frame.data) == (), frame
            assert frame.data["kind"] == frame.name
        found = [dict(frame.data) for frame in frames]
        assert [each["sequence_number"] for each in found] == list(range(1, len(found) + 1))
        assert [each["is_terminal"] for each in found] == [False] * (len(found) - 1) + [True]
        return found

    return show


def data(**given: Any) -> dict[str, Any]:
    return {"at": "2026-11-02T09:30:00.000Z", "agent": "triage", "depth": 0, "message": "", **given}


def test_every_event_of_a_turn_with_tools_and_a_handoff_keeps_the_contract(tenant, script, shown, call):
    wide = call("calculator", 2, **{f"p{n}": n for n in range(60)})
    script([call("calculator", 1, expression="6*7"), wide, call("x" * 100, 3)], "It is 42.")
    turn_id = tenant.start("Write a function in Python that multiplies 6 and 7.")
    frames = shown(tenant.run(turn_id))
    assert [f["event"] for f in frames if f["kind"] == "lifecycle"] == [
        "run_started", "handoff", "agent_start", "llm_start", "llm_end",
        "tool_start", "tool_end", "tool_start", "tool_end", "tool_start", "tool_end",
        "llm_start", "llm_end", "agent_end",
    ]  # fmt: skip
    outputs = [f["payload"] for f in frames if f.get("run_item_type") == "tool_call_output_item"]
    assert outputs[0] != outputs[1]
    assert "error" in outputs[1]
    assert "error" in outputs[2]
    assert next(f["agent_used"] for f in frames if f["kind"] == "raw_response") == "code_assistant"
    assert frames[-1]["payload"] == {"requests": 2, "input_tokens": 20, "output_tokens": 7, "total_tokens": 27}
    assert (frames[-1]["response_text"], frames[-1]["response_id"]) == ("It is 42.", "resp_1")


def test_a_summary_of_the_reasoning_is_shown_as_it_comes_and_as_a_step(tenant, bound, shown, script):
    class Thoughtful(type(script("Forty-two."))):
        def generate(self, request, deadline, emit):
            for words in ("First I ", "multiply."):
                emit("reasoning", words)
            return super().generate(request, deadline, emit)

    bound(Thoughtful(["Forty-two."]))
    turn_id = tenant.start("How much is it?")
    frames = shown(tenant.run(turn_id))
    thoughts = "".join(f["reasoning_delta"] or "" for f in frames if f["kind"] == "raw_response")
    (item,) = [f for f in frames if f.get("run_item_type") == "reasoning_item"]
    assert thoughts == item["response_text"] == "First I multiply."
    with tenant.ctx() as ctx:
        steps = wire_conversations.steps(ctx, tenant.turn(turn_id).conversation_id, None)["items"]
    assert [(s["run_item_type"], s["reasoning_text"]) for s in steps] == [
        ("user_message_item", None),
        ("reasoning_item", "First I multiply."),
        ("message_output_item", None),
    ]


def test_a_call_that_waits_for_a_yes_says_so(shown):
    call = {"tool": "create_ticket", "call_id": "call_1"}
    frames = shown(
        [
            (events.TOOL_STARTED, data(**call, arguments={"title": "Leak"}, title="Create a ticket")),
            (
                events.CONFIRMATION_REQUIRED,
                data(**call, arguments={}, confirmation_id=str(uuid4()), expires_at="2026-11-02T09:35:00.000Z"),
            ),
            (events.CANCELLED, data(response="")),
        ]
    )
    output = next(f for f in frames if f.get("run_item_type") == "tool_call_output_item")
    assert output["payload"] == {"status": "waiting_for_confirmation", "expires_at": "2026-11-02T09:35:00.000Z"}


@pytest.mark.parametrize("end", ["done", "cancelled"])
def test_a_call_that_was_interrupted_is_one_that_failed_with_that_reason(shown, end):
    call = {"tool": "run_python", "call_id": "call_1"}
    why = tool_calls.INTERRUPTED if end == "done" else f"The call was cancelled. {tool_calls.DOUBT}"
    frames = shown(
        [
            (events.TOOL_STARTED, data(**call, arguments={"code": "print(1)"}, title="Run Python")),
            (events.TOOL_ERROR, data(**call, outcome="failure", duration_ms=0, error=why)),
            (events.CANCELLED, data(response="")),
        ]
    )
    output = next(f for f in frames if f.get("run_item_type") == "tool_call_output_item")
    assert output["payload"] == {"error": why}
    points = [(f["event"], f["payload"]) for f in frames if f["kind"] == "lifecycle" and f["tool_name"] == "run_python"]
    assert points == [("tool_start", None), ("tool_end", {"outcome": "failure", "duration_ms": 0})]


def test_a_run_that_is_cancelled_ends_with_what_was_said(shown):
    spent = {"model": "m", "response_id": None, "input_tokens": 7, "output_tokens": 3, "stop": "end", "duration_ms": 1}
    frames = shown(
        [
            (events.TURN_STARTED, data(mode="ask", turn_id="1", conversation_id="2")),
            (events.LLM_COMPLETED, data(**spent, reasoning=None)),
            (events.TEXT_DELTA, data(delta="Half an ", step="ask/0")),
            (events.CANCELLED, data(agent=None, response="Half an ")),
        ]
    )
    assert [f.get("event") for f in frames if f["kind"] == "lifecycle"][-1] == "cancelled"
    assert (frames[-1]["kind"], frames[-1]["response_text"]) == ("usage", "Half an ")
    assert frames[-1]["payload"]["total_tokens"] == 10


@pytest.mark.parametrize(
    "name", [events.PROGRESS, events.MODE_CHOSEN, events.CITATION, events.PLAN_CREATED, "unheard_of"]
)
def test_what_starter_has_no_word_for_is_left_out(shown, name):
    frames = shown([(name, data()), (events.CANCELLED, data(response=""))])
    assert [f["kind"] for f in frames] == ["lifecycle", "usage"]


@pytest.mark.parametrize(
    ("problem", "said", "status", "word"),
    [
        (Unavailable("The model is away.", retry_after=30), "model_unavailable", 503, "model_unavailable"),
        (Refused("No access.", reason="no_access"), "model_unavailable", 502, "model_unavailable"),
        (LimitExceeded("Slow down.", retry_after=7), "model_unavailable", 429, "model_unavailable"),
        (TimedOut(), "timed_out", 503, "timed_out"),
        (RuntimeError("/srv/secret"), "internal", 500, None),
    ],
)
def test_a_run_that_fails_is_told_with_a_word_and_a_status(tenant, script, shown, problem, said, status, word):
    script(problem)
    turn_id = tenant.start("Hello")
    frames = shown(tenant.run(turn_id))
    assert (frames[-1]["kind"], frames[-1]["payload"]["code"]) == ("error", said)
    assert "secret" not in str(frames)
    with tenant.ctx() as ctx, pytest.raises(DomainError) as failed:
        wire.answer(conversations.result(ctx, turn_id))
    assert CODES[failed.value.code][0] == status
    assert failed.value.facts.get("reason") == word
    assert failed.value.facts["conversation_id"] == str(tenant.turn(turn_id).conversation_id)
    if status in (429, 503) and word == "model_unavailable":
        assert failed.value.facts["retry_after"] > 0


def test_whoever_has_waited_too_long_is_told_where_the_answer_will_stand(tenant):
    turn = tenant.turn(tenant.start("Hello"))
    pending = wire.answered(turn.id)
    assert pending.replay == {"kind": "starter_answer", "id": str(turn.id)}
    with tenant.ctx() as ctx, pytest.raises(Unavailable) as late:
        pending.timed_out(ctx)
    assert late.value.facts["reason"] == "timed_out"
    assert late.value.facts["conversation_id"] == str(turn.conversation_id)


def test_a_turn_that_failed_leaves_its_steps_behind_its_question(tenant, script, call):
    script([call("calculator", 1, expression="6*7")], Unavailable("The model is away."))
    first = tenant.start("Start")
    tenant.run(first)
    conversation_id = tenant.turn(first).conversation_id
    script("Fine.")
    tenant.ask("Again", conversation_id=conversation_id)
    with tenant.ctx() as ctx:
        steps = wire_conversations.steps(ctx, conversation_id, None)["items"]
    assert [(s["sequence_no"], s["run_item_type"]) for s in steps] == [
        (1, "user_message_item"),
        (2, "tool_call_item"),
        (3, "tool_call_output_item"),
        (4, "user_message_item"),
        (5, "message_output_item"),
    ]


def test_a_stream_of_an_erased_conversation_ends(tenant, script):
    script("Fine.")
    turn_id = tenant.start("Hello")
    turn = tenant.turn(turn_id)
    kept = wire.streamed(turn).replay
    tenant.run(turn_id)
    with tenant.ctx() as ctx:
        assert wire.streaming(kept).history(ctx, 0)[-1].name == events.COMPLETE
        conversations.delete_conversation(ctx, turn.conversation_id, for_good=True)
    with tenant.ctx() as ctx:
        (end,) = wire.streaming(kept).history(ctx, 0)
    frames = list(wire.Watching(kept["conversation_id"], kept["agent"])(end))
    assert [(f.name, f.data["is_terminal"]) for f in frames] == [("lifecycle", False), ("usage", True)]
