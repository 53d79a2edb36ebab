"""The words of many turns, written together: whole, in order, and nobody held up by anybody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, select

from domain import conversations
from domain.conversations import scribe as scribes
from domain.conversations.engine import _begun
from domain.conversations.journal import Cancelled, Ended, Journal
from domain.conversations.models import Turn, TurnEvent
from domain.conversations.scribe import scribe
from domain.kernel.errors import Invalid, Unavailable


@pytest.fixture
def journals(world: Any) -> Iterator[Callable[[int], list[Journal]]]:
    """So many turns that have begun and that the scribe keeps; nobody is woken."""
    with ExitStack() as stack:

        def make(number: int) -> list[Journal]:
            made = []
            for _ in range(number):
                with world.ctx(uuid4()) as ctx:
                    turn_id = conversations.start(ctx, "Talk").id
                begun = _begun(world.work(), turn_id)
                assert begun is not None
                stack.enter_context(begun.kept(lambda: None))
                made.append(begun)
            return made

        yield make


def say(journal: Journal, words: str, step: str = "a") -> None:
    journal.say(words, agent=None, depth=0, step=step)


def written(world: Any, journal: Journal) -> str:
    with world.ctx() as ctx:
        rows = ctx.session.scalars(
            select(TurnEvent).where(TurnEvent.turn_id == journal.turn_id).order_by(TurnEvent.number)
        ).all()
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    return "".join(row.data["delta"] for row in rows if row.name == "text_delta")


def until(true: Callable[[], Any], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@contextmanager
def locked(world: Any, journal: Journal) -> Iterator[None]:
    with world.database.session(None, platform=True) as session:
        session.execute(select(Turn.id).where(Turn.id == journal.turn_id).with_for_update())
        yield


def test_words_of_many_turns_are_one_transaction(
    world: Any, journals: Callable[[int], list[Journal]], monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = journals(20)
    monkeypatch.setattr(scribes, "LOOK", 1000.0)
    say(turns[0], "first")
    until(lambda: written(world, turns[0]))
    commits: list[Any] = []

    def note(connection: Any) -> None:
        commits.append(connection)

    event.listen(world.database.engine, "commit", note)
    try:
        with turns[0].lock:  # its own transaction is open: it goes with a later round
            for journal in turns:
                say(journal, "one ")
                say(journal, "two ")
            until(lambda: not any(journal.talking for journal in turns[1:]))
            assert turns[0].talking
    finally:
        event.remove(world.database.engine, "commit", note)
    assert len(commits) <= 3  # a round may have begun before the last of them had spoken
    until(lambda: not turns[0].talking)
    assert [written(world, journal) for journal in turns] == ["firstone two ", *["one two "] * 19]
    for journal in turns:
        assert "".join(data["delta"] for name, data in journal.work.stream.values() if name == "text_delta") == written(
            world, journal
        )


def test_words_of_two_steps_stay_apart_and_in_order(world: Any, journals: Callable[[int], list[Journal]]) -> None:
    (journal,) = journals(1)
    with journal.lock:
        for words, step in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "x")):
            say(journal, words, step)
    until(lambda: not journal.talking)
    deltas = [(data["step"], data["delta"]) for name, data in journal.work.stream.values() if name == "text_delta"]
    assert "".join(delta for _, delta in deltas) == "abcd"
    assert [step for step, _ in deltas] in (["x", "y", "x"], ["x", "x", "y", "x"])
    assert (journal.said("x"), journal.said("y"), journal.response()) == ("abd", "c", "abdc")


def test_a_row_that_somebody_holds_keeps_nobody_elses_words_back(
    world: Any, journals: Callable[[int], list[Journal]]
) -> None:
    held, free = journals(2)
    with locked(world, held):
        say(held, "late")
        say(free, "early")
        until(lambda: written(world, free) == "early")
        assert held.talking
        assert held.response() == "late"
    until(lambda: written(world, held) == "late")


def test_words_that_cannot_be_stored_end_their_own_turn_alone_and_at_once(
    world: Any, journals: Callable[[int], list[Journal]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scribes, "PATIENCE", 1000.0)
    wrong, right = journals(2)
    with wrong.lock, right.lock:
        say(wrong, "a\x00b")
        say(right, "fine")
    until(lambda: written(world, right) == "fine" and wrong.problem)
    with pytest.raises(Invalid):
        wrong.check()
    right.check()


def test_a_database_that_is_away_for_a_moment_costs_no_word(
    world: Any, journals: Callable[[int], list[Journal]], monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = journals(3)
    monkeypatch.setattr(scribes, "AGAIN", 0.05)
    away = threading.Event()
    away.set()
    tried: list[int] = []

    def refuse(*_: Any) -> None:
        if away.is_set() and threading.current_thread().name == "turn-scribe":
            tried.append(1)
            raise Unavailable("The database is not available right now.")

    event.listen(world.database.engine, "before_cursor_execute", refuse)
    try:
        for number in range(5):
            for journal in turns:
                say(journal, f"{number} ")
            time.sleep(0.02)
        until(lambda: len(tried) > 2)
        assert [written(world, journal) for journal in turns] == [""] * 3
        away.clear()
        until(lambda: not any(journal.talking for journal in turns))
    finally:
        event.remove(world.database.engine, "before_cursor_execute", refuse)
    assert [written(world, journal) for journal in turns] == ["0 1 2 3 4 "] * 3
    for journal in turns:
        journal.check()


def test_a_database_that_stays_away_ends_the_run(
    world: Any, journals: Callable[[int], list[Journal]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (journal,) = journals(1)
    monkeypatch.setattr(scribes, "AGAIN", 0.05)
    monkeypatch.setattr(scribes, "PATIENCE", 0.2)

    def refuse(*_: Any) -> None:
        if threading.current_thread().name == "turn-scribe":
            raise Unavailable("The database is not available right now.")

    event.listen(world.database.engine, "before_cursor_execute", refuse)
    try:
        say(journal, "kept")
        until(lambda: journal.problem is not None)
    finally:
        event.remove(world.database.engine, "before_cursor_execute", refuse)
    with pytest.raises(Unavailable):
        journal.check()
    assert journal.response() == "kept"


def test_a_run_that_somebody_else_has_taken_over_writes_nothing_more(
    world: Any, journals: Callable[[int], list[Journal]]
) -> None:
    before, other = journals(2)
    after = _begun(world.work(), before.turn_id)
    assert after is not None
    say(before, "of the dead")
    say(other, "of the living")
    until(lambda: written(world, other))
    until(lambda: before.problem is not None)
    with pytest.raises(Ended):
        before.check()
    assert written(world, after) == ""


def test_a_wish_to_stop_is_seen_by_the_turn_that_is_meant(world: Any, journals: Callable[[int], list[Journal]]) -> None:
    meant, other = journals(2)
    assert meant._actor is not None
    with world.ctx(meant._actor.user_id) as ctx:
        conversations.cancel(ctx, meant.turn_id)
    until(lambda: meant.problem is not None)
    with pytest.raises(Cancelled):
        meant.check()
    say(other, "on")
    until(lambda: written(world, other) == "on")
    other.check()


def test_a_process_without_turns_has_no_scribe(
    world: Any, journals: Callable[[int], list[Journal]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scribes, "LINGER", 0.1)
    begun = _begun(world.work(), world.start("Talk"))
    assert begun is not None
    for _ in range(2):  # it ends, and begins again
        with begun.kept(lambda: None):
            until(lambda: _scribes() == 1)
        until(lambda: _scribes() == 0)
    assert not scribe._running


def _scribes() -> int:
    return sum(thread.name == "turn-scribe" for thread in threading.enumerate())
