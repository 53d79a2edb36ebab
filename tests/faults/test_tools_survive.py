"""Calls of tools survive `kill -9` of their worker, at each moment of a call: code has run at most once, a ticket is
there exactly once, and the turn ends whole, with the truth about the call.

The real worker and scheduler on real servers; a stand-in for the sandbox says how often code has run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest

from domain import billing, conversations, identity
from domain.conversations.tool_calls import INTERRUPTED
from domain.kernel.context import SystemActor, UserActor
from tests.faults.house import House, kill

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).with_name("tools_under_fault.py")
PERMISSIONS = frozenset({"conversations:read", "conversations:write", "chat:write", "assistant:write"})
TOLD = "I was told: "


class Office(House):
    """A worker that answers turns, and a scheduler."""

    PARTS: ClassVar = {"worker": (), "scheduler": ()}

    def settings(self) -> Mapping[str, str]:
        self.seen = self.folder / "seen"
        self.seen.mkdir()
        return {"TOOLS_UNDER_FAULT": str(self.seen), "THALWEG_INTERACTIVE_THREADS": "2"}

    def furnish(self) -> None:
        with self.ctx() as ctx:
            self.organisation = identity.create_organisation(ctx, name="Office", slug="office").id
        with self.database.context(SystemActor("test"), self.organisation, frozenset({"admin"})) as ctx:
            for product in ("starter", "thalian"):
                billing.subscribe(ctx, "enterprise", product)
        self.person = uuid4()

    def command(self, name: str) -> list[str]:
        return [sys.executable, str(PROGRAM), name]

    def enter(self, surface: str) -> Any:
        return self.database.context(UserActor(self.person), self.organisation, PERMISSIONS, surface=surface)

    def ran(self) -> list[str]:
        return (self.seen / "ran").read_text().splitlines() if (self.seen / "ran").exists() else []

    def died(self, question: str) -> bool:
        return (self.seen / f"died of {question}").exists()

    def start(self, question: str, surface: str, **more: Any) -> UUID:
        with self.enter(surface) as ctx:
            return conversations.start(ctx, question, mode="ask", **more).id

    def ended(self, surface: str, turn_id: UUID) -> list[tuple[str, dict[str, Any]]]:
        """The events of a turn, once it has ended, held against what every stream promises."""
        until(lambda: self.ask(f"SELECT 1 FROM turn WHERE id = '{turn_id}' AND ended_at IS NOT NULL"))
        with self.enter(surface) as ctx:
            told = [(each.number, each.name, dict(each.data)) for each in conversations.events_after(ctx, turn_id)]
        assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
        assert [name in conversations.TERMINAL for _, name, _ in told] == [False] * (len(told) - 1) + [True]
        return [(name, data) for _, name, data in told]


def until(true: Any, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def of_tools(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [name for name, _ in events if name.startswith("tool_")]


@pytest.fixture(scope="module")
def house() -> Iterator[Office]:
    with Office.standing() as house:
        yield house


@pytest.mark.parametrize(
    ("moment", "ran", "known"),
    [("before", 0, False), ("in the middle", 1, False), ("after", 1, False), ("stored", 1, True)],
)
def test_code_has_run_at_most_once_and_the_model_is_told_what_is_known(
    house: Office, moment: str, ran: int, known: bool
) -> None:
    question = f"run_python that dies {moment}"
    turn_id = house.start(question, "starter", agent="code_assistant")
    if moment == "in the middle":
        until(lambda: question in house.ran())
        kill(house.children["worker"])
    events = house.ended("starter", turn_id)
    assert moment == "in the middle" or house.died(question)
    assert house.ran().count(question) == ran
    assert events[-1][0] == "complete"
    told = "The program has ended.\n\nOutput:\n42" if known else INTERRUPTED
    assert events[-1][1]["response"] == TOLD + told
    assert "".join(data["delta"] for name, data in events if name == "text_delta") == TOLD + told
    assert of_tools(events) == ["tool_started", "tool_completed" if known else "tool_error"]
    assert house.ask(f"SELECT attempts FROM job WHERE args->>'turn_id' = '{turn_id}' AND name LIKE '%answer'") == [(2,)]


@pytest.mark.parametrize("moment", ["before", "after", "stored"])
def test_a_ticket_is_opened_exactly_once(house: Office, moment: str) -> None:
    question = f"create_ticket that dies {moment}"
    turn_id = house.start(question, "thalian")
    events = house.ended("thalian", turn_id)
    assert house.died(question)
    ((number,),) = house.ask(f"SELECT number FROM ticket WHERE subject = '{question}'")
    assert events[-1][0] == "complete"
    assert events[-1][1]["response"] == f"{TOLD}Ticket {number} is open: {question}"
    assert of_tools(events) == ["tool_started", "tool_completed"]
    audited = f"SELECT count(*) FROM audit_entry WHERE resource_id = '{turn_id}' AND action = 'tool_call'"
    assert house.ask(audited) == [(1,)]
