"""The tool `run_python`, as an agent calls it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from domain import agents, containers
from domain.agents import tools
from domain.agents.tools import ToolProblem, ToolRun
from domain.containers import Left, Outcome
from domain.inference import Deadline, TimedOut
from domain.kernel.confine.jail import Unconfined


@pytest.fixture
def tool() -> Any:
    tools.bind_python(containers.run)
    yield lambda: tools.get("run_python")
    tools.bind_python(None)


@pytest.fixture
def call(world: Any, tool: Any) -> Callable[..., Any]:
    def make(code: str, agent: str = "code_assistant", seconds: float = 20.0) -> Any:
        run = ToolRun(
            world.ctx, Deadline(seconds), datetime.now(UTC), world.actor.user_id, agent=agent, surface="starter"
        )
        return tool().acts(run, {"code": code})

    return make


def test_it_is_offered_where_there_are_containers_and_to_agents_of_starter(tool: Any) -> None:
    assert tool().available
    assert "run_python" in agents.builtin.agents()["code_assistant"].tools
    tools.bind_python(None)
    assert not tool().available


@pytest.mark.parametrize("arguments", [{}, {"code": ""}, {"code": "x" * 20_001}, {"code": 1}, {"code": "1", "a": 2}])
def test_arguments_that_do_not_fit_are_named(tool: Any, arguments: dict[str, Any]) -> None:
    assert tool().problems(arguments)


def test_what_a_program_prints_is_the_answer(call: Callable[..., Any], confined: None) -> None:
    said = call("print(sum(range(101)))")
    assert said.text == "The program has ended.\n\nOutput:\n5050"
    assert (said.data["ending"], said.data["stdout"], said.data["files"]) == ("done", "5050\n", [])


def test_files_are_kept_in_the_agents_container(world: Any, call: Callable[..., Any], confined: None) -> None:
    world.bound()
    said = call("open('report.csv', 'w').write('a,b')")
    assert said.data["files"] == [{"path": "report.csv", "size_bytes": 3}]
    assert "Files written: report.csv" in said.text
    assert "It printed nothing." in said.text
    assert "a,b" in call("print(open('report.csv').read())").text


def test_what_no_database_takes_is_not_told(call: Callable[..., Any], confined: None) -> None:
    said = call("import sys; print('a\\0b'); sys.stdout.buffer.write(b'\\xff\\xed\\xa0\\x80')")
    for text in (said.text, said.data["stdout"]):
        assert "\0" not in text
        assert text.encode()


def test_an_error_is_told_to_the_model(call: Callable[..., Any], confined: None) -> None:
    said = call("1 / 0")
    assert said.text.startswith("The program ended with an error.")
    assert "ZeroDivisionError" in said.text


def test_the_call_ends_in_time(call: Callable[..., Any], confined: None) -> None:
    said = call("while True: pass", seconds=5.0)
    assert said.data["ending"] == "timeout"
    assert 1 < said.data["seconds"] < 4


def test_a_call_that_is_given_up_ends_the_program(world: Any, tool: Any, confined: None) -> None:
    deadline = Deadline(30)
    run = ToolRun(world.ctx, deadline, datetime.now(UTC), None, agent="code_assistant")
    threading.Timer(1.0, deadline.cancel).start()
    with pytest.raises(TimedOut):
        tool().acts(run, {"code": "while True: pass"})


def test_where_there_is_no_sandbox_the_model_is_told_why(call: Callable[..., Any], refusing: str) -> None:
    with pytest.raises(Unconfined, match="namespaces"):
        call("print(1)")


def test_a_container_that_is_gone_is_a_problem_of_the_call(world: Any, call: Callable[..., Any]) -> None:
    made = world.bound()
    with world.platform() as ctx:
        held = ctx.session.get(containers.Container, made)
        held.state, held.expires_at = "expired", None
    with pytest.raises(ToolProblem, match="gone"):
        call("print(1)")


def test_long_outputs_are_shortened_in_the_middle_and_losses_are_told(world: Any) -> None:
    outcome = Outcome("flood", "a" * 9_000 + "end", "", 1.0, cut=True, lost=True, changed=(Left("x", 1),))
    tools.bind_python(lambda *_, **__: outcome)
    run = ToolRun(world.ctx, Deadline(20), datetime.now(UTC), None)
    said = tools.get("run_python").acts(run, {"code": "1"})  # type: ignore[union-attr,misc]
    tools.bind_python(None)
    assert "[... 1,003 characters ...]" in said.text
    assert said.text.count("end\n") == 1
    for told in ("wrote without end", "More was written than is kept.", "did not fit"):
        assert told in said.text
    assert "Files written" not in said.text
