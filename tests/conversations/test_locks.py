"""Verbs that meet in one conversation at one moment: each ends, whatever the other has locked."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, text

from domain import conversations, storage
from domain.conversations import attachments, journal
from domain.kernel.errors import Conflict

SECRET = "Write to carla.nowak@example.com about DE89370400440532013000."
BLOCKED = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


@pytest.fixture
def meeting(database: Any) -> Iterator[Callable[..., tuple[Any, Any]]]:
    """`meeting(first, after, second)`: `second` begins when `first` has executed a statement that matches `after`, and
    `first` goes on when `second` is over or waits for a lock. What each has answered or raised."""
    listening: list[Callable[..., None]] = []

    def meet(first: Callable[[], Any], after: str, second: Callable[[], Any]) -> tuple[Any, Any]:
        outcomes: list[Any] = [None, None]
        begun, over = threading.Event(), threading.Event()

        def act(place: int, verb: Callable[[], Any]) -> None:
            try:
                outcomes[place] = verb()
            except BaseException as raised:
                outcomes[place] = raised

        def waits() -> bool:
            with database.engine.connect() as connection:
                return bool(connection.scalar(BLOCKED))

        def look(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if threading.current_thread() is one and not begun.is_set() and re.search(after, statement, re.DOTALL):
                begun.set()
                while not over.wait(0.1) and not waits():
                    pass

        one = threading.Thread(target=act, args=(0, first))
        two = threading.Thread(target=act, args=(1, second))
        listening.append(look)
        event.listen(database.engine, "after_cursor_execute", look)
        one.start()
        assert begun.wait(30), "the first verb has not come to where it meets the second"
        two.start()
        two.join(0.05)
        if not two.is_alive():
            over.set()
        threading.Thread(target=lambda: (two.join(), over.set()), daemon=True).start()
        one.join(30)
        two.join(30)
        return outcomes[0], outcomes[1]

    yield meet
    for look in listening:
        event.remove(database.engine, "after_cursor_execute", look)


@pytest.fixture
def files(tmp_path: Any) -> None:
    storage.bind(
        SimpleNamespace(
            blob_url=None, data_dir=tmp_path, base_url="http://x", storage_quota_bytes=0, storage_file_bytes=1 << 20
        )
    )


def verb(world: Any, act: Callable[[Any], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with world.ctx() as ctx:
            return act(ctx)

    return run


def again(world: Any, turn_id: Any, **more: Any) -> Callable[[], Any]:
    """A second message to the turn's conversation."""
    conversation_id = world.turn(turn_id).conversation_id
    return verb(world, lambda ctx: conversations.start(ctx, "And?", conversation_id=conversation_id, **more).id)


def is_busy(outcome: Any, turn_id: Any, reason: str = "turn_active") -> bool:
    return isinstance(outcome, Conflict) and outcome.facts == {"reason": reason, "task_id": str(turn_id)}


@pytest.mark.parametrize("surface", ["thallus", "beeflow"])
def test_a_message_that_comes_while_an_answer_is_written_down_leaves_it_alone(make_world, script, meeting, surface):
    script("It is in Kiel.")
    world = make_world(surface)
    turn_id = world.start("Where is the depot?", mode="ask")
    ended, asked = meeting(lambda: world.run(turn_id), r"^UPDATE turn SET .*mode_used", again(world, turn_id))
    assert is_busy(asked, turn_id), asked
    assert ended[-1][0] == "complete"
    assert world.turn(turn_id).state == "completed"


def test_a_message_elsewhere_that_meets_the_end_of_the_only_task_is_refused_at_once(make_world, script, meeting):
    script("It is in Kiel.")
    world = make_world("thallus")
    turn_id = world.start("Where is the depot?", mode="ask")
    elsewhere = verb(world, lambda ctx: conversations.start(ctx, "And?").id)
    ended, asked = meeting(lambda: world.run(turn_id), r"^UPDATE turn SET .*mode_used", elsewhere)
    assert is_busy(asked, turn_id, "task_active"), asked
    assert ended[-1][0] == "complete"


def test_a_message_that_meets_the_end_of_a_finding_leaves_it_alone(make_world, meeting):
    world = make_world("beeflow")
    turn_id = world.start(SECRET)
    world.run(turn_id)
    world.set(turn_id, waiting_until=world.turn(turn_id).created_at)
    expired, asked = meeting(
        verb(world, lambda ctx: conversations.expire(ctx, turn_id)), r"^UPDATE turn SET", again(world, turn_id)
    )
    assert expired is None
    assert is_busy(asked, turn_id), asked
    assert world.turn(turn_id).error_code == "dlp_expired"


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_a_word_of_direction_that_meets_the_end_of_its_investigation_waits_for_nothing(make_world, meeting, end):
    world = make_world("beeflow")
    turn_id = world.start("Why did it happen?", mode="investigate")
    with world.ctx() as ctx:
        journal.append(ctx, turn_id, "text_delta", delta="So far", step="s")
    world.set(turn_id, state="waiting", waiting_for="steering")
    conversation_id = world.turn(turn_id).conversation_id
    act = {
        "cancel": lambda ctx: conversations.cancel(ctx, turn_id).state,
        "delete": lambda ctx: conversations.delete_conversation(ctx, conversation_id),
    }[end]
    ended, asked = meeting(verb(world, act), r"FROM turn.*FOR UPDATE", again(world, turn_id))
    assert ended in ("cancelled", None), ended
    assert is_busy(asked, turn_id), asked
    assert world.turn(turn_id).state == "cancelled"


def test_a_message_with_a_file_and_the_end_of_one_with_a_file_do_not_wait_for_each_other(make_world, meeting, files):
    world = make_world("beeflow")
    with world.ctx() as ctx:
        kept = [attachments.take(ctx, b"The depot is in Kiel.", "note.txt")]
    turn_id = world.start(SECRET, options={"files": kept})
    world.run(turn_id)
    world.set(turn_id, waiting_until=world.turn(turn_id).created_at)
    conversation_id = world.turn(turn_id).conversation_id

    def ask(ctx: Any) -> Any:
        more = [attachments.take(ctx, b"The depot is in Bonn.", f"{uuid4()}.txt")]
        return conversations.start(ctx, "And?", conversation_id=conversation_id, options={"files": more}).id

    asked, expired = meeting(
        verb(world, ask), "INTO storage_usage", verb(world, lambda ctx: conversations.expire(ctx, turn_id))
    )
    assert is_busy(asked, turn_id), asked
    assert expired is None, repr(expired.__cause__)
    assert world.turn(turn_id).state == "failed"
