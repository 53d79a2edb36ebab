"""Knowledge as jobs: through the outbox, the ledger and the real runner; reading inside a confined worker's child."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from domain import knowledge
from domain.kernel.confine import bounds
from domain.kernel.ledger import Ledger
from domain.knowledge.extraction import sandbox
from domain.knowledge.extraction.blocks import Unreadable
from workers.registry import load_jobs
from workers.runner import Outcome, Runner


class Published:
    def __init__(self) -> None:
        self.events: dict[str, dict[int, str]] = {}

    def publish(self, channel, number, event, data, *, later=False):
        self.events.setdefault(channel, {})[number] = event

    def flush(self, *, again=True):
        pass

    def close(self):
        pass


@pytest.fixture
def runner(database):
    url = str(database.url.render_as_string(hide_password=False))
    return Runner(database, Ledger(url), load_jobs(), publisher=Published())


def test_an_upload_runs_through_its_jobs_and_is_found(world, runner):
    ada = world.person()
    document_id = world.upload(ada, Path("README.md"), "README.md")
    names = []
    while jobs := world.jobs():
        names.append(jobs[0].name)
        assert runner.run(jobs[0].id) is Outcome.DONE
        assert runner.run(jobs[0].id) is Outcome.NOTHING
    assert names == ["knowledge.index", "knowledge.embed"]
    assert world.filed(ada, document_id).entry.state == "completed"
    events = runner._publisher.events[knowledge.channel(document_id)]
    assert events[max(events)] == "document.completed"


def test_a_file_that_cannot_be_read_is_no_failed_job_but_a_failed_document(world, runner):
    ada = world.person()
    document_id = world.upload(ada, b"%PDF-1.7 no", "broken.pdf")
    assert runner.run(world.jobs()[0].id) is Outcome.DONE
    assert world.filed(ada, document_id).entry.failure_code == "unreadable"
    assert world.jobs() == []


def test_reading_works_within_the_limits_of_a_forked_worker(tmp_path):
    (tmp_path / "a.md").write_text("# Head\n\nWords.")
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.7 no")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            bounds.bound(memory=bounds.mapped() + (768 << 20), seconds=61, files=256, file_bytes=1 << 30)
            assert sandbox.read(tmp_path / "a.md", "md").characters > 5
            try:
                sandbox.read(tmp_path / "b.pdf", "pdf")
            except Unreadable:
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
