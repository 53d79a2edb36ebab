"""`kill -9` at every boundary: nothing is lost, nothing is done twice."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import func, select

from domain import brains, inference
from domain.brains.models import InvocationEvent, RoleResult
from domain.brains.plan import ORDER
from domain.kernel.errors import NotFound

TEXT = (
    "Remember that Nordwind Logistics delivers on Tuesdays. It also delivers on Fridays. Who signs for it? "
    "Write to orders@nordwind.example."
)


def boundaries(world) -> list[str]:
    """Every point at which a chain can be killed, found by walking through one."""
    seen: list[str] = []
    work = world.work(die=seen.append)
    brains.run(work, world.start(TEXT, entity_id="supplier:nordwind"))
    return seen


def comparable(events):
    """What must not depend on how often a chain was killed: all but ids and durations."""
    kept = []
    for name, data in events:
        data = {k: v for k, v in data.items() if k not in ("trace_id", "completed_at", "memory", "provenance")}
        if "anchor_trace" in data:
            data["anchor_trace"] = {r: a["status"] for r, a in data["anchor_trace"].items()}
        kept.append((name, data))
    return kept


def test_a_chain_killed_at_any_boundary_resumes_without_a_trace(make_world, killed):
    world = make_world()
    points = boundaries(world)
    assert len(points) > 30
    reference_world = make_world()
    reference = comparable(reference_world.events(TEXT, entity_id="supplier:nordwind"))
    for number in range(len(points)):
        fresh = make_world()
        invocation_id = fresh.start(TEXT, entity_id="supplier:nordwind")
        passed = iter(range(10_000))

        def die(point: str, number: int = number, passed=passed) -> None:
            if next(passed) == number:
                raise killed

        first = fresh.work(die=die)
        with pytest.raises(killed):
            brains.run(first, invocation_id)
        second = fresh.work(stream=first.stream)
        brains.run(second, invocation_id)
        assert second.done
        assert sorted(second.stream) == list(range(1, len(reference) + 1)), points[number]
        assert comparable([second.stream[n] for n in sorted(second.stream)]) == reference, points[number]
        remembered = [(e.ring, e.text) for e in fresh.memory() if e.source == "chain"]
        assert len(remembered) == len(set(remembered)), "remembered twice"
        assert sorted(remembered) == sorted((e.ring, e.text) for e in reference_world.memory() if e.source == "chain")
        with fresh.ctx() as ctx:
            roles = ctx.session.scalars(
                select(RoleResult.role).where(RoleResult.invocation_id == invocation_id).order_by(RoleResult.position)
            ).all()
            assert tuple(roles) == ORDER


def test_a_chain_killed_again_and_again_still_ends(world, killed):
    invocation_id = world.start(TEXT)
    stream = {}
    lives = 0
    while lives < 60:
        lives += 1
        steps = iter(range(10_000))

        def die(point: str, steps=steps) -> None:
            if next(steps) == 12:  # a life in which the longest role, the architect with its search, just ends
                raise killed

        work = world.work(die=die, stream=stream)
        try:
            brains.run(work, invocation_id)
        except killed:
            continue
        break
    assert work.done
    assert lives > 4
    assert [stream[n][0] for n in sorted(stream)] == ["fast.triage", "chain.novel", "fast.artifact", "full.artifact"]


def test_completed_roles_are_not_played_again(world, killed, spoil):
    from domain.brains.roles import ROLES

    played: list[str] = []
    for role in ORDER:
        think = ROLES[role].think

        def counted(state, drivers, deadline, role=role, think=think):
            played.append(role)
            return think(state, drivers, deadline)

        spoil(role, think=counted)
    invocation_id = world.start(TEXT)

    def die(point: str) -> None:
        if played and played[-1] == "devil" and point == "after a commit":
            raise killed

    with pytest.raises(killed):
        brains.run(world.work(die=die), invocation_id)
    brains.run(world.work(), invocation_id)
    assert played == list(ORDER)


def test_a_finished_invocation_that_is_run_again_only_publishes_again(world):
    invocation_id = world.start(TEXT)
    first, second = world.work(), world.work()
    brains.run(first, invocation_id)
    before = len(world.memory())
    brains.run(second, invocation_id)
    assert second.done
    assert second.stream == first.stream
    assert len(world.memory()) == before


def test_a_chain_runs_to_its_end_while_valkey_is_away_and_is_announced_later(world):
    from domain.kernel import outbox

    invocation_id = world.start(TEXT)
    work = world.work(valkey_away=True)
    brains.run(work, invocation_id)
    assert work.done
    assert work.stream == {}
    with world.ctx(frozenset({"admin"})) as ctx:
        assert brains.get_invocation(ctx, invocation_id).state == "complete"
        assert [
            j for j in outbox.list_jobs(ctx).items if j.name == "brains.announce" and str(invocation_id) in str(j.args)
        ]
    later = world.work()
    brains.announce(later, invocation_id)
    assert [later.stream[n][0] for n in sorted(later.stream)][-1] == "full.artifact"


def test_a_job_that_is_given_up_ends_its_stream_visibly(world, fits):
    invocation_id = world.start(TEXT)
    with world.ctx() as ctx:
        brains.give_up(ctx, invocation_id, "the worker stopped without an answer")
    with world.ctx() as ctx:
        events = [(e.name, e.data) for e in brains.events_after(ctx, invocation_id)]
        assert brains.get_invocation(ctx, invocation_id).state == "failed"
    assert [name for name, _ in events] == ["chain.partial", "full.artifact"]
    for name, data in events:
        fits(name, data)
    assert events[-1][1]["status"] == "failed"
    assert "worker" not in str(events), "an internal reason leaked"


def test_giving_up_keeps_what_was_done_and_does_it_once(world, killed):
    invocation_id = world.start(TEXT)
    count = iter(range(10_000))

    def die(point: str) -> None:
        if next(count) == 20:
            raise killed

    with pytest.raises(killed):
        brains.run(world.work(die=die), invocation_id)
    for _ in range(2):
        with world.ctx() as ctx:
            brains.give_up(ctx, invocation_id, "no")
    with world.ctx() as ctx:
        names = [e.name for e in brains.events_after(ctx, invocation_id)]
        assert names.count("full.artifact") == 1
        assert names[0] == "fast.triage"
        assert brains.get_invocation(ctx, invocation_id).state == "partial"


def test_an_invocation_that_is_not_there_is_said_to_be_so(world):
    with pytest.raises(NotFound):
        brains.run(world.work(), uuid4())


def test_a_chain_promised_under_other_rules_runs_with_all_roles(world):
    from sqlalchemy import update

    from domain.brains.models import Invocation

    trace = world.start(TEXT)
    with world.ctx() as ctx:
        ctx.session.execute(update(Invocation).where(Invocation.id == trace).values(role_config={"roles": ["judge"]}))
    work = world.work()
    brains.run(work, trace)
    assert tuple(work.stream[max(work.stream)][1]["anchor_trace"]) == ORDER


def test_event_numbers_have_no_gap_and_no_double(world):
    for text in (TEXT, "Who signs?", "hello"):
        invocation_id = world.start(text)
        brains.run(world.work(), invocation_id)
        with world.ctx() as ctx:
            count, last = ctx.session.execute(
                select(func.count(InvocationEvent.id), func.max(InvocationEvent.number)).where(
                    InvocationEvent.invocation_id == invocation_id
                )
            ).one()
            assert count == last


def test_the_models_are_not_called_inside_a_transaction(world, drivers):
    """Slow work holds no connection: the embedder looks whether one is out."""
    from dataclasses import replace

    checked_out: list[int] = []

    class Watching:
        name, dimensions = "watching", 384

        def embed(self, texts, deadline=None):
            checked_out.append(world.database.engine.pool.checkedout())
            return drivers.embedder.embed(texts, deadline)

        def warm(self):
            pass

    invocation_id = world.start(TEXT)
    inference.bind(replace(drivers, embedder=Watching()))
    brains.run(world.work(), invocation_id)
    assert checked_out
    assert set(checked_out) == {0}
