"""Organisations, brains and sessions do not see each other; twenty chains on one brain do not collide."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from domain import brains
from domain.kernel.errors import NotFound

SECRET = "Remember that the vault code of the Aurora plant is stored with notary Halvorsen."


def test_another_organisation_finds_neither_brain_nor_invocation_nor_memory(make_world):
    mine, theirs = make_world(), make_world()
    trace = mine.ask(SECRET)["trace_id"]
    with theirs.ctx() as ctx:
        for verb in (brains.get_brain, brains.status, brains.list_memory):
            with pytest.raises(NotFound):
                verb(ctx, mine.brain_id)
        with pytest.raises(NotFound):
            brains.get_invocation(ctx, trace)
        assert brains.events_after(ctx, trace) == []
        assert mine.brain_id not in [b.id for b in brains.list_brains(ctx)]
    with pytest.raises(NotFound):
        theirs.start("Where is it?", brain_id=mine.brain_id)
    with pytest.raises(NotFound):
        brains.run(theirs.work(), trace)
    artifact = theirs.ask("Where is the vault code of the Aurora plant stored?")
    assert "Halvorsen" not in str(artifact)


def test_another_brain_of_the_organisation_has_its_own_memory(world):
    world.ask(SECRET)
    with world.ctx() as ctx:
        other = brains.create_brain(ctx, "Another").id
    artifact = world.ask("Where is the vault code of the Aurora plant stored?", brain_id=other)
    assert "Halvorsen" not in str(artifact)


def test_an_entity_is_remembered_by_its_id_only(world):
    world.ask("The Aurora plant stops for inspection in week 31. Is that known?", session="a", entity_id="plant:aurora")
    same = world.ask("When does the plant stop for inspection?", session="b", entity_id="plant:aurora")
    other = world.ask("When does the plant stop for inspection?", session="b", entity_id="plant:borealis")
    assert "week 31" in same["answer"]
    assert "week 31" not in str(other)


def test_twenty_chains_on_one_brain_at_once_all_end_and_keep_apart(world):
    facts = [
        f"Remember that container {n:03} belongs to customer {chr(65 + n)}{n} and weighs {n + 11} tons."
        for n in range(20)
    ]
    traces = [world.start(text, session=f"session-{n}") for n, text in enumerate(facts)]

    def run(trace):
        work = world.work()
        brains.run(work, trace)
        return work

    with ThreadPoolExecutor(8) as pool:
        works = list(pool.map(run, traces))
    for n, work in enumerate(works):
        assert work.done
        full = work.stream[max(work.stream)][1]
        assert full["status"] == "complete"
        assert full["session_id"] == f"session-{n}"
    for n in range(20):
        said = [e.text for e in world.memory(session_id=f"session-{n}") if e.kind == "statement"]
        assert said == [facts[n]]
    ids = [entry for work in works for entry in work.stream[max(work.stream)][1]["memory"]["written"]]
    assert len(ids) == len(set(ids))
    with world.ctx() as ctx:
        assert brains.status(ctx, world.brain_id).active_chain_count == 0
