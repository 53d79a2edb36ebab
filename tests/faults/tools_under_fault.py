"""The worker and the scheduler of tests/faults/test_tools_survive.py: `python tools_under_fault.py worker|scheduler`.

The worker's model calls the tool that the question names, `run_python` or `create_ticket`, and then says what it was
told of the call. The question also names the moment of the call in which the worker dies of `kill -9`, once for each
question: what happened is in the folder `TOOLS_UNDER_FAULT`, one line a program that has run.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from domain import containers, inference, startup, support
from domain.containers import Outcome
from domain.conversations import events
from domain.conversations.journal import Journal
from domain.inference import ChatRequest, Deadline, End, ToolCall, Usage
from thalweg.config import load
from workers.main import run_scheduler, run_worker
from workers.sweeper import Rhythm

FOLDER = Path(os.environ["TOOLS_UNDER_FAULT"])
asked: list[str] = []
"""The question that is being answered: one at a time."""


class Calling:
    name = "calling"
    capable = False

    def generate(self, request: ChatRequest, deadline: Deadline, emit: Any) -> End:
        last = request.messages[-1]
        if last.role == "tool":
            emit("text", f"I was told: {last.text}"[len(request.partial) :])
            return End(Usage(self.name, 1, 1))
        asked[:] = [last.text]
        given = {"code": last.text} if "run_python" in last.text else {"title": last.text, "description": "A door."}
        return End(Usage(self.name, 1, 1), (ToolCall("call_1", last.text.split()[0], given),), "tools")


def dies(moment: str) -> None:
    """kill -9 of this very process, where the question wants it and it has not died of it before."""
    if asked and f"dies {moment}" in asked[0]:
        try:
            (FOLDER / f"died of {asked[0]}").touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def run(transaction: Any, agent_key: str, code: str, *, seconds: float, beat: Any) -> Outcome:
    """In the place of a sandbox, which not every machine has."""
    dies("before")
    with (FOLDER / "ran").open("a") as ran:
        ran.write(f"{code}\n")
    if "in the middle" in code:
        while not (FOLDER / "go on").exists():  # whoever watches kills us
            beat()
            time.sleep(0.05)
    dies("after")
    return Outcome("done", "42\n", "", 0.1)


opens = support.open_ticket


def open_ticket(*given: Any, **more: Any) -> Any:
    dies("before")
    made = opens(*given, **more)
    dies("after")
    return made


publishes = Journal.publish


def publish(journal: Journal, written: Any, **more: Any) -> None:
    """Called when what was written is committed."""
    if any(name == events.TOOL_COMPLETED for _, name, _ in written):
        dies("stored")
    publishes(journal, written, **more)


def bind_models(settings: Any) -> None:
    drivers = inference.configure({})
    inference.bind(replace(drivers, chats={**drivers.chats, drivers.default: Calling()}))


if __name__ == "__main__":
    if sys.argv[1] == "scheduler":
        sys.exit(run_scheduler(load(), rhythm=Rhythm(sweep=0.5, lost_after=1.5)))
    startup.bind_models = bind_models
    containers.run = run  # type: ignore[assignment]
    containers.available = lambda: True
    support.open_ticket = open_ticket
    Journal.publish = publish  # type: ignore[assignment,method-assign]
    sys.exit(run_worker(load(), ["interactive"], lease=3.0))
