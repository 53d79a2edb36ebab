"""Turns survive: a worker that dies, a Valkey that is away, a database transaction that fails."""

from __future__ import annotations

import pytest

from domain import conversations
from domain.agents import tools
from domain.agents.tools import ToolResult

DEPOT = {"Depot handbook": "The depot opens at six in the morning. It is closed on Sundays. Forklifts need a licence."}


class Dies:
    """Kills at the nth boundary."""

    def __init__(self, at, killed):
        self.left, self.killed = at, killed

    def __call__(self, point):
        self.left -= 1
        if self.left == 0:
            raise self.killed


def test_a_turn_that_is_killed_at_any_boundary_ends_as_if_nothing_had_happened(world, searchable, killed):
    searchable(world, DEPOT)
    whole = world.ask("When does the depot open?")
    boundary, survived = 0, 0
    while True:
        boundary += 3  # every third: 40 runs rather than 120
        turn_id = world.start("When does the depot open?")
        work = world.work(die=Dies(boundary, killed))
        try:
            conversations.run(work, turn_id)
            died = False
        except killed:
            died = True
        work.die = lambda point: None
        conversations.run(work, turn_id)
        events = world.check(work)
        assert events[-1][0] == "complete"
        assert [n for n, _ in events].count("complete") == 1
        assert events[-1][1]["response"] == whole["response"]
        assert "".join(d["delta"] for n, d in events if n == "text_delta") == whole["response"]
        assert [n for n, _ in events].count("tool_completed") == [n for n, _ in whole["events"]].count("tool_completed")
        if not died:
            break
        survived += 1
    assert survived > 8


def test_a_generating_model_goes_on_behind_the_words_that_were_out(world, script, killed):
    text = "The quick brown fox jumps over the lazy dog and runs away into the dark forest. " * 3
    model = script(text, pace=0.03)
    turn_id = world.start("Tell me a story")
    seen = 0

    def die(point):
        nonlocal seen
        if point == "before a publication":
            seen += 1
            if seen == 12:
                raise killed

    work = world.work(die=die)
    with pytest.raises(killed):
        conversations.run(work, turn_id)
    work.die = lambda point: None
    conversations.run(work, turn_id)
    events = world.check(work)
    assert events[-1][1]["response"] == text
    assert "".join(d["delta"] for n, d in events if n == "text_delta") == text
    assert text.startswith(model.asked[-1].partial)
    assert model.asked[-1].partial


def test_a_writing_tool_works_once_however_often_the_turn_is_run(world, script, call, killed):
    made = []

    def create(ctx, run, given):
        made.append(ctx)
        from domain import memory

        memory.remember(ctx, run.user_id, f"Ticket: {given['title']}")
        return ToolResult("Ticket 1 is open.", {"id": 1})

    before = tools.get("create_ticket")
    tools.provide("create_ticket", writes=create)
    try:
        with world.ctx() as ctx:
            from domain.agents import own_settings

            own_settings.save_settings(ctx, "assistant", confirm_writes=False)
        calls = [call("create_ticket", title="Door", description="The door is broken")]
        script(lambda request: "Done." if request.messages[-1].role == "tool" else calls)
        turn_id = world.start("Create a ticket")
        for boundary in range(1, 60, 2):
            work = world.work(die=Dies(boundary, killed))
            try:
                conversations.run(work, turn_id)
                break
            except killed:
                continue
    finally:
        tools.provide("create_ticket", writes=before.writes)
    from domain import memory

    with world.ctx() as ctx:
        kept = memory.list_memories(ctx, world.user_id)
    assert [m.text for m in kept.items] == ["Ticket: Door"]
    assert world.turn(turn_id).state == "completed"


def test_without_valkey_the_events_are_in_the_database_and_are_published_later(world):
    turn_id = world.start("What is 6*7?")
    work = world.work(valkey_away=True)
    conversations.run(work, turn_id)
    assert work.stream == {}
    assert world.jobs("conversations.announce") == [{"turn_id": str(turn_id)}]
    later = world.work()
    conversations.announce(later, turn_id)
    assert world.check(later)[-1][1]["response"] == "6*7 = 42"


def test_a_job_that_fails_for_good_ends_its_turn_visibly(world):
    turn_id = world.start("Hello")
    with world.ctx() as ctx:
        conversations.give_up(ctx, turn_id, "The worker stopped without an answer.")
    with world.ctx() as ctx:
        events = conversations.events_after(ctx, turn_id)
        result = conversations.result(ctx, turn_id)
    assert [e.name for e in events] == ["error"]
    assert (result.name, result.final["code"]) == ("error", "internal")
    assert "worker" not in str(result.final)
    world.start("The next one")


def test_a_fault_of_our_own_ends_the_turn_and_says_nothing_of_itself(world, script):
    script(RuntimeError("secret detail of /srv/app"))
    done = world.ask("Hello")
    assert (done["name"], done["code"]) == ("error", "internal")
    assert "secret" not in str(done["events"])


def test_a_turn_in_a_conversation_that_is_deleted_meanwhile_stops(world, script):
    script("word " * 300, pace=0.03)
    turn_id = world.start("Talk")
    conversation_id = world.turn(turn_id).conversation_id
    state = {}

    def delete(point):
        if point == "before a publication" and not state:
            state["done"] = True
            with world.ctx() as ctx:
                conversations.delete_conversation(ctx, conversation_id)

    work = world.work(die=delete)
    conversations.run(work, turn_id)
    assert work.done
    assert world.check(work)[-1][0] == "cancelled"
