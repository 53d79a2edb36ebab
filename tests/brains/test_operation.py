"""What `status` says, from what is really running."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from domain import brains
from domain.brains import operation
from domain.brains.models import Invocation
from domain.kernel.errors import Conflict, Invalid, NotFound


class Alive:
    def __init__(self, count: int) -> None:
        self.count = count

    def workers(self, queue: str) -> int:
        assert queue == "interactive"
        return self.count


@pytest.fixture(autouse=True)
def _pulse():
    before = operation._pulse
    yield
    brains.bind_pulse(before)


def test_a_new_brain_holds_33_baseline_entries_and_knows_nothing(world):
    brains.bind_pulse(Alive(2))
    with world.ctx() as ctx:
        status = brains.status(ctx, world.brain_id)
    assert status.rings == {"session": 0, "entity": 0, "institutional": 33}
    assert status.operational_state == "operational"
    assert (status.workers, status.domain_uncertainty) == (2, 0.9)


def test_without_a_worker_a_brain_is_unavailable(world):
    brains.bind_pulse(Alive(0))
    with world.ctx() as ctx:
        assert brains.status(ctx, world.brain_id).operational_state == "unavailable"


def test_an_invocation_that_waits_makes_it_degraded(world):
    brains.bind_pulse(Alive(1))
    trace = world.start("Who has the key?")
    with world.ctx() as ctx:
        status = brains.status(ctx, world.brain_id)
        assert (status.operational_state, status.queued_chain_count) == ("operational", 1)
        ctx.session.execute(
            update(Invocation).where(Invocation.id == trace).values(created_at=ctx.now() - timedelta(seconds=30))
        )
        status = brains.status(ctx, world.brain_id)
        assert status.operational_state == "degraded"
        assert status.queue_delay == pytest.approx(30, abs=2)


def test_uncertainty_falls_as_the_brain_learns(world):
    world.ask("Remember that the depot in Turku opens at six and closes at four.")
    with world.ctx() as ctx:
        before = brains.status(ctx, world.brain_id).domain_uncertainty
    for _ in range(3):
        world.ask("When does the depot in Turku open?")
    with world.ctx() as ctx:
        assert brains.status(ctx, world.brain_id).domain_uncertainty < before


def test_brains_have_names_slugs_and_checked_settings(world):
    with world.ctx() as ctx:
        brain = brains.create_brain(ctx, "Customer Care (EU)")
        assert brain.slug == "customer-care-eu"
        assert brains.find_brain(ctx, "customer-care-eu") is brain
        with pytest.raises(Conflict):
            brains.create_brain(ctx, "x", slug="customer-care-eu")
        for wrong in (
            {"name": " "},
            {"name": "a\x00"},
            {"name": "x", "slug": "-a"},
            {"name": "x", "blocked_terms": [""]},
        ):
            with pytest.raises(Invalid):
                brains.create_brain(ctx, **wrong)
        with pytest.raises(Invalid):
            brains.create_brain(ctx, "y", role_config={"roles": ["devil"]})
        with pytest.raises(Invalid, match="boundary_keeper"):
            brains.create_brain(ctx, "y", role_config={"roles": ["architect"]}, blocked_terms=["x"])
        changed = brains.update_brain(ctx, brain.id, name="Care", blocked_terms=["Nightingale"])
        assert (changed.name, changed.blocked_terms) == ("Care", ["Nightingale"])
        brains.archive_brain(ctx, brain.id)
        with pytest.raises(NotFound):
            brains.get_brain(ctx, brain.id)
