"""What a crash in the middle of a tool's call comes to: reading is repeated, writing is done exactly once, and what has
an effect outside is begun at most once, whoever runs the turn and however often."""

from __future__ import annotations

import threading
import time
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from domain import audit, conversations
from domain.agents import tools
from domain.agents.tools import Tool, ToolProblem, ToolResult
from domain.containers import Outcome
from domain.conversations import tool_calls
from domain.kernel.errors import Unavailable
from domain.kernel.outgoing import UpstreamFailed

CODE = "print(6 * 7)"
AGENT = {"agent": "code_assistant"}


class Boundaries:
    """Kills at the nth boundary."""

    def __init__(self, at, killed):
        self.left, self.killed = at, killed

    def __call__(self, point):
        self.left -= 1
        if self.left == 0:
            raise self.killed(point)


@pytest.fixture
def world(make_world):
    return make_world("starter")


@pytest.fixture
def programs():
    """What `run_python` was begun with. `programs.then` says what happens meanwhile, and may raise."""

    class Programs(list):
        then = staticmethod(lambda: None)

    begun = Programs()

    def runs(transaction, agent_key, code, *, seconds, beat):
        begun.append(code)
        begun.then()
        return Outcome("done", "42\n", "", 0.1)

    tools.bind_python(runs)
    yield begun
    tools.bind_python(None)


@pytest.fixture
def computing(script, call):
    """A model that has a program run, once, and says `Done.` to whatever came of it."""
    return script(lambda request: "Done." if request.messages[-1].role == "tool" else [call("run_python", code=CODE)])


def dying(world, turn_id, killed, die=lambda point: None):
    work = world.work(die=die)
    with pytest.raises(killed):
        conversations.run(work, turn_id)
    work.die = lambda point: None
    return work


def of(events, name):
    return [data for each, data in events if each == name]


def kept(world, turn_id):
    with world.ctx() as ctx:
        return [(each.name, each.data) for each in conversations.events_after(ctx, turn_id)]


def on_record(world, turn_id):
    with world.ctx(permissions=frozenset({"admin"})) as ctx:
        entries = ctx.session.scalars(select(audit.AuditEntry).where(audit.AuditEntry.action == "tool_call"))
        return [
            (each.outcome, each.details["effect"], each.details.get("interrupted", False))
            for each in entries
            if each.resource_id == str(turn_id)
        ]


def test_every_tool_says_what_its_effect_is():
    effects = {tool.name: tool.effect for tool in tools.all_tools() if tool.category != "security"}
    assert effects == {
        "calculator": "read",
        "create_ticket": "write",
        "current_time": "read",
        "fetch_page": "read",
        "query_data": "read",
        "run_python": "outside",
        "search_documents": "read",
        "search_memory": "read",
    }
    assert {tool.effect for tool in tools.all_tools() if tool.category == "security"} == {"write"}


@pytest.mark.parametrize(
    ("name", "part"),
    [("calculator", "acts"), ("calculator", "writes"), ("create_ticket", "reads"), ("create_ticket", "acts"),
     ("run_python", "reads"), ("run_python", "writes")],
)  # fmt: skip
def test_a_working_part_for_another_effect_is_refused(name, part):
    before = tools.get(name)
    with pytest.raises(ValueError, match="its working part is for"):
        tools.provide(name, **{part: lambda *given: ToolResult("")})
    with pytest.raises(ValueError, match="its working part is for"):
        tools.register(
            Tool("of_its_own", "", "", {"type": "object"}, effect=before.effect, **{part: lambda *given: None})
        )
    assert tools.get(name) is before


def test_killed_at_any_boundary_code_has_run_at_most_once_and_the_turn_ends_whole(world, programs, computing, killed):
    boundary, came = 0, set()
    while True:
        boundary += 1
        programs.clear()
        turn_id = world.start("Compute", **AGENT)
        work = world.work(die=Boundaries(boundary, killed))
        try:
            conversations.run(work, turn_id)
            died = False
        except killed:
            died = True
        work.die = lambda point: None
        conversations.run(work, turn_id)
        events = world.check(work)
        assert len(programs) <= 1
        assert events[-1][0] == "complete"
        assert events[-1][1]["response"] == "Done."
        assert len(of(events, "tool_started")) == 1
        ends = [name for name, _ in events if name in ("tool_completed", "tool_error")]
        assert len(ends) == 1
        assert ends == ["tool_completed"] or of(events, "tool_error")[0]["error"] == tool_calls.INTERRUPTED
        assert len(on_record(world, turn_id)) == 1
        came.add((len(programs), ends[0]))
        if not died:
            break
    # Done and told, done and not known, not done and not known; never done and repeated.
    assert came == {(1, "tool_completed"), (1, "tool_error"), (0, "tool_error")}


@pytest.mark.parametrize("times", [1, 2])
def test_a_call_that_died_in_the_middle_is_told_of_as_interrupted(world, programs, computing, killed, times):
    def dies():
        raise killed

    programs.then = dies
    turn_id = world.start("Compute", **AGENT)
    work = dying(world, turn_id, killed)
    for _ in range(times - 1):
        work = dying(world, turn_id, killed, Boundaries(8, killed))
    conversations.run(work, turn_id)
    assert programs == [CODE]
    events = world.check(work)
    (error,) = of(events, "tool_error")
    assert (error["outcome"], error["error"], error["tool"]) == ("failure", tool_calls.INTERRUPTED, "run_python")
    assert error["call_id"] == of(events, "tool_started")[0]["call_id"]
    assert computing.asked[-1].messages[-1].text == tool_calls.INTERRUPTED
    (told,) = events[-1][1]["tool_calls"]
    assert (told["status"], told["error"]) == ("failed", tool_calls.INTERRUPTED)
    assert on_record(world, turn_id) == [("partial", "outside", True)]


def test_a_model_that_is_told_of_an_interruption_may_look_and_try_again(world, programs, script, call, killed):
    def dies():
        programs.then = lambda: None
        raise killed

    def answer(request):
        last = request.messages[-1]
        if last.role != "tool":
            return [call("run_python", code=CODE)]
        return [call("run_python", 2, code="print(1)")] if last.text == tool_calls.INTERRUPTED else "It is 42."

    script(answer)
    programs.then = dies
    turn_id = world.start("Compute", **AGENT)
    work = dying(world, turn_id, killed)
    conversations.run(work, turn_id)
    assert programs == [CODE, "print(1)"]
    events = world.check(work)
    assert [name for name, _ in events if name.startswith("tool_")] == [
        "tool_started", "tool_error", "tool_started", "tool_completed",
    ]  # fmt: skip
    assert events[-1][1]["response"] == "It is 42."


def test_a_tool_that_is_gone_meanwhile_is_not_said_to_have_done_nothing(world, programs, computing, killed):
    def dies():
        raise killed

    programs.then = dies
    turn_id = world.start("Compute", **AGENT)
    work = dying(world, turn_id, killed)
    tools.bind_python(None)
    conversations.run(work, turn_id)
    assert of(world.check(work), "tool_error")[0]["error"] == tool_calls.INTERRUPTED


def test_a_call_that_was_refused_before_a_crash_is_begun_with_its_intent_when_it_is_not_after(
    world, programs, computing, killed
):
    """Announced and refused, killed; then the tool is there: what it does now must be known to the next run."""
    runs = tools.get("run_python").acts
    tools.provide("run_python")
    turn_id = world.start("Compute", **AGENT)

    def die(point):
        if point == "before a commit" and of(kept(world, turn_id), "tool_started"):
            raise killed

    work = dying(world, turn_id, killed, die)
    assert not of(kept(world, turn_id), "tool_error")
    tools.provide("run_python", acts=runs)

    def dies():
        raise killed

    programs.then = dies
    dying(world, turn_id, killed)
    conversations.run(work, turn_id)
    assert programs == [CODE]
    events = kept(world, turn_id)
    assert len(of(events, "tool_started")) == 1
    assert of(events, "tool_error")[0]["error"] == tool_calls.INTERRUPTED


def test_a_run_that_was_taken_over_before_a_call_begins_nothing(world, programs, script, call):
    turn_id = None

    def answer(request):
        world.set(turn_id, run_id=uuid4())
        return [call("run_python", code=CODE)]

    script(answer)
    turn_id = world.start("Compute", **AGENT)
    conversations.run(world.work(), turn_id)
    assert programs == []
    assert not of(kept(world, turn_id), "tool_started")


def test_who_takes_over_while_code_runs_does_not_begin_it_too(world, programs, computing):
    """The first worker is not dead, only slow: it has lost its lease, and what it comes to is nobody's any more."""
    second = world.work()
    turn_id = world.start("Compute", **AGENT)

    successor = threading.Thread(target=conversations.run, args=(second, turn_id))

    def taken_over():
        successor.start()
        successor.join(30)

    programs.then = taken_over
    conversations.run(world.work(), turn_id)
    successor.join(30)  # the first one stops as soon as it sees that the turn is not its own any more
    assert not successor.is_alive()
    assert programs == [CODE]
    events = world.check(second)
    assert events[-1][1]["response"] == "Done."
    assert [name for name, _ in kept(world, turn_id)] == [name for name, _ in events]
    assert of(events, "tool_error")[0]["error"] == tool_calls.INTERRUPTED


@pytest.mark.parametrize(
    ("problem", "doubted"),
    [
        (RuntimeError("secret of /srv"), True),
        (UpstreamFailed("A server outside did not answer in time."), True),
        (Unavailable("Other code is being run. Try again shortly."), False),
        (ToolProblem("The container is gone."), False),
    ],
)
def test_whether_a_failed_call_may_have_taken_effect_is_said(world, programs, computing, problem, doubted):
    def fails():
        raise problem

    programs.then = fails
    done = world.ask("Compute", **AGENT)
    assert done["name"] == "complete"
    (error,) = of(done["events"], "tool_error")
    assert ("may have taken effect" in error["error"]) is doubted
    assert "secret" not in error["error"]
    assert len(programs) == 1


def test_a_database_that_fails_after_the_effect_leaves_an_interrupted_call(world, programs, computing):
    def fails():
        raise Unavailable from OperationalError("UPDATE", {}, Exception("gone"))

    programs.then = fails
    turn_id = world.start("Compute", **AGENT)
    work = world.work()
    with pytest.raises(Unavailable):
        conversations.run(work, turn_id)
    conversations.run(work, turn_id)
    assert programs == [CODE]
    assert of(world.check(work), "tool_error")[0]["error"] == tool_calls.INTERRUPTED


def test_a_call_that_is_given_up_for_its_time_may_have_taken_effect(world, programs, computing):
    before = tools.get("run_python")
    programs.then = lambda: time.sleep(2)
    tools.registry._tools["run_python"] = type(before)(**{**vars(before), "seconds": 0.3})
    try:
        done = world.ask("Compute", **AGENT)
    finally:
        tools.registry._tools["run_python"] = before
    (error,) = of(done["events"], "tool_error")
    assert error["error"] == f"The tool did not answer within 0.3 seconds. {tool_calls.DOUBT}"
    assert done["response"] == "Done."


def test_a_turn_that_is_cancelled_while_code_runs_keeps_what_may_have_been_done_on_record(world, programs, computing):
    turn_id = world.start("Compute", **AGENT)

    def cancelled():
        with world.ctx() as ctx:
            conversations.cancel(ctx, turn_id)
        time.sleep(3)

    programs.then = cancelled
    events = world.run(turn_id)
    assert [name for name, _ in events][-2:] == ["tool_error", "cancelled"]
    assert of(events, "tool_error")[0]["error"] == f"The call was cancelled. {tool_calls.DOUBT}"
    assert on_record(world, turn_id) == [("partial", "outside", True)]


def test_what_was_done_just_before_a_turn_is_cancelled_stays_on_record(world, programs, computing):
    turn_id = world.start("Compute", **AGENT)

    def cancelled():
        with world.ctx() as ctx:
            conversations.cancel(ctx, turn_id)

    programs.then = cancelled
    events = world.run(turn_id)
    assert events[-1][0] == "cancelled"
    assert on_record(world, turn_id) in ([("success", "outside", False)], [("partial", "outside", True)])
    assert len(of(events, "tool_started")) == 1


def test_reading_is_repeated_and_told_of_once(world, script, call, killed):
    looked = []

    def look(run, given):
        looked.append(given)
        if len(looked) < 3:
            raise killed
        return ToolResult("42")

    before = tools.get("calculator")
    tools.provide("calculator", reads=look)
    try:
        script(lambda request: "Done." if request.messages[-1].role == "tool" else [call("calculator", expression="1")])
        turn_id = world.start("Compute", **AGENT)
        dying(world, turn_id, killed)
        work = dying(world, turn_id, killed)
        conversations.run(work, turn_id)
    finally:
        tools.provide("calculator", reads=before.reads)
    events = kept(world, turn_id)
    assert len(looked) == 3
    assert [name for name, _ in events if name.startswith("tool_")] == ["tool_started", "tool_completed"]


def test_writing_is_done_exactly_once_and_told_of_once(make_world, script, call, killed):
    from domain import support
    from domain.kernel.pages import OffsetPage

    world = make_world("thalian")
    asked = [call("create_ticket", title="The door", description="It is broken.")]
    script(lambda request: "Done." if request.messages[-1].role == "tool" else asked)
    boundary = 0
    while True:
        boundary += 2
        turn_id = world.start("Create a ticket")
        work = world.work(die=Boundaries(boundary, killed))
        try:
            conversations.run(work, turn_id)
            died = False
        except killed:
            died = True
        work.die = lambda point: None
        conversations.run(work, turn_id)
        events = world.check(work)
        assert [name for name, _ in events if name.startswith("tool_")] == ["tool_started", "tool_completed"]
        assert events[-1][0] == "complete"
        if not died:
            break
    with world.ctx(permissions=frozenset({"tickets:read"})) as ctx:
        assert support.list_tickets(ctx, OffsetPage()).total == boundary // 2
