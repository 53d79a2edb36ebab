"""What storage promises for later is done by the real runner."""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from domain import storage
from domain.kernel.errors import Unavailable
from domain.kernel.ledger import Ledger
from domain.kernel.outbox import Job
from workers.registry import load_jobs
from workers.runner import Outcome, Runner


@pytest.fixture
def runner(database: Any) -> Runner:
    return Runner(database, Ledger(database.url.render_as_string(hide_password=False)), load_jobs())


def promised(world: Any, name: str, object_id: UUID) -> list[Job]:
    with world.database.context(None, None, platform=True) as ctx:
        found = select(Job).where(Job.name == name, Job.args["object_id"].astext == str(object_id)).order_by(Job.id)
        return list(ctx.session.scalars(found))


def test_a_deletion_ends_with_the_bytes_gone(world: Any, runner: Runner) -> None:
    with world.context() as ctx:
        stored = storage.put(ctx, io.BytesIO(b"kept"), name="kept.txt", purpose="document")
    with world.context() as ctx:
        storage.delete(ctx, stored.id)
    [job] = promised(world, "storage.purge", stored.id)
    assert runner.run(job.id) is Outcome.DONE
    assert world.blobs() == set()
    assert runner.run(job.id) is Outcome.NOTHING


def test_a_deletion_that_fails_is_tried_again(folder: Any, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with folder.context() as ctx:
        stored = storage.put(ctx, io.BytesIO(b"kept"), name="kept.txt", purpose="document")
    with folder.context() as ctx:
        storage.delete(ctx, stored.id)
    [job] = promised(folder, "storage.purge", stored.id)

    def away(key: str) -> None:
        raise Unavailable("The file storage failed.")

    monkeypatch.setattr(folder.store, "delete", away)
    assert runner.run(job.id) is Outcome.RETRIED
    [job] = promised(folder, "storage.purge", stored.id)
    assert (job.state, job.last_error, job.max_attempts) == ("pending", "The file storage failed.", 20)


def test_an_announced_file_is_looked_for_until_it_comes(bucket: Any) -> None:
    with bucket.context() as ctx:
        announced = storage.announce(ctx, name="a.txt", media_type="text/plain", size=4)
    [first] = promised(bucket, "storage.settle", announced.stored.id)
    assert first.args["look"] == 0
    assert first.available_at > first.created_at


def test_the_sweeper_runs_every_hour() -> None:
    assert load_jobs().crons["storage.sweep"].expression == "17 * * * *"
