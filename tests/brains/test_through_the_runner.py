"""Chains as jobs: through the outbox, the ledger and the real runner."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import text as sql

from domain import brains
from domain.kernel import outbox
from domain.kernel.ledger import Ledger
from workers.registry import load_jobs
from workers.runner import Outcome, Runner

TEXT = "Remember that Nordwind Logistics delivers on Tuesdays. Who signs for it?"


class Published:
    def __init__(self) -> None:
        self.events: dict[int, str] = {}

    def publish(self, channel, number, event, data, *, later=False):
        self.events[number] = event


@pytest.fixture
def runner(database):
    published = Published()
    made = Runner(
        database, Ledger(str(database.url.render_as_string(hide_password=False))), load_jobs(), publisher=published
    )
    made.published = published
    return made


def job_of(world, trace, name="brains.run"):
    with world.ctx(frozenset({"admin"})) as ctx:
        return next(
            j for j in outbox.list_jobs(ctx).items if j.name == name and j.args == {"invocation_id": str(trace)}
        )


def test_a_promised_chain_is_run_once_and_marked_done(world, runner):
    trace = world.start(TEXT)
    job = job_of(world, trace)
    assert runner.run(job.id) is Outcome.DONE
    assert runner.run(job.id) is Outcome.NOTHING
    assert [runner.published.events[n] for n in sorted(runner.published.events)][-1] == "full.artifact"
    assert job_of(world, trace).state == "done"


def test_a_worker_that_lost_its_lease_commits_nothing_and_the_next_one_ends_the_chain(world, runner, spoil, database):
    from domain.brains.roles import ROLES

    original = ROLES["devil"].think
    trace = world.start(TEXT)
    job = job_of(world, trace)
    stolen = []

    def steal(state, drivers, deadline):
        if not stolen:
            stolen.append(True)
            with database.engine.begin() as connection:
                connection.execute(
                    sql("UPDATE job SET state = 'pending', lease_token = NULL, lease_until = NULL WHERE id = :id"),
                    {"id": job.id},
                )
        return original(state, drivers, deadline)

    spoil("devil", think=steal)
    assert runner.run(job.id) is Outcome.LOST
    with world.ctx() as ctx:
        assert brains.get_invocation(ctx, trace).state == "running"
    assert runner.run(job.id) is Outcome.DONE
    with world.ctx() as ctx:
        events = [e.name for e in brains.events_after(ctx, trace)]
    assert events == ["fast.triage", "chain.novel", "fast.artifact", "full.artifact"]
    statements = [e.text for e in world.memory(ring="session") if e.kind == "statement"]
    assert len(statements) == len(set(statements)) == 1


def test_a_job_out_of_attempts_ends_the_stream_and_its_end_is_announced(world, runner, monkeypatch):
    trace = world.start(TEXT)
    job = job_of(world, trace)

    def broken(work, args):
        raise psycopg.OperationalError("gone")

    spec = runner.registry.jobs["brains.run"]
    from dataclasses import replace

    monkeypatch.setitem(runner.registry.jobs, "brains.run", replace(spec, function=broken, max_attempts=1))
    with world.database.engine.begin() as connection:
        connection.execute(sql("UPDATE job SET max_attempts = 1 WHERE id = :id"), {"id": job.id})
    assert runner.run(job.id) is Outcome.FAILED
    with world.ctx() as ctx:
        assert brains.get_invocation(ctx, trace).artifact["status"] == "failed"
    assert runner.run(job_of(world, trace, "brains.announce").id) is Outcome.DONE
    assert [runner.published.events[n] for n in sorted(runner.published.events)] == ["chain.partial", "full.artifact"]
