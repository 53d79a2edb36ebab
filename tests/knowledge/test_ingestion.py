"""From bytes to passages: stages, progress, kill -9 at every boundary, versions, plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from domain import billing, knowledge
from domain.kernel.errors import Conflict, PaymentRequired
from domain.kernel.pages import OffsetPage
from domain.knowledge import ingestion, quotas
from domain.knowledge.models import Chunk, CollectionEntry, ExtractedText, PassageIndex

TEXT = Path("docs/architecture.md")


def passages(world, document_id):
    with world.ctx() as ctx:
        rows = ctx.session.execute(
            select(Chunk.ordinal, Chunk.text).where(Chunk.document_id == document_id).order_by(Chunk.ordinal)
        ).all()
    return [(ordinal, text) for ordinal, text in rows]


def test_an_upload_is_read_and_found(world):
    ada = world.person()
    filed = world.taken_in(ada, Path("README.md"), "README.md")
    assert (filed.entry.state, filed.entry.progress, filed.entry.stage) == ("completed", 100, None)
    assert filed.chunks > 3
    assert filed.document.language == "en"
    found = world.search(ada, "Which Python version is needed?")
    assert found.mode == "hybrid"
    best = found.passages[0]
    assert "3.11" in best.text
    assert best.citation.heading == "Two commands"
    with world.ctx(ada) as ctx:
        page = knowledge.passages(ctx, filed.document.id, OffsetPage())
        assert [chunk.ordinal for chunk in page.items] == list(range(filed.chunks))
        assert page.total == filed.chunks


def test_progress_is_told_in_numbered_events_without_a_gap(world):
    ada = world.person()
    filed = world.taken_in(ada, TEXT, "architecture.md")
    stream = world.streams[knowledge.channel(filed.document.id)]
    assert sorted(stream) == list(range(1, len(stream) + 1))
    names = [stream[number][0] for number in sorted(stream)]
    assert names[0] == "document.progress"
    assert names[-1] == "document.completed"
    percent = [stream[number][1]["progress"] for number in sorted(stream)]
    assert percent == sorted(percent)
    with world.ctx(ada) as ctx:
        assert [number for number, _, _ in knowledge.events_after(ctx, filed.document.id, 2)] == sorted(stream)[2:]


def test_killed_at_any_boundary_a_document_ends_complete_with_each_passage_once(make_world, killed, monkeypatch):
    monkeypatch.setattr(ingestion, "BATCH", 4)
    world = make_world()
    ada = world.person()
    seen: list[str] = []
    words = TEXT.read_bytes()[:3_500]
    reference = world.upload(ada, words, "architecture.md")
    while jobs := world.jobs():
        world.run(jobs[0], world.work(die=seen.append))
    expected = passages(world, reference)
    assert len(expected) > ingestion.BATCH
    assert len(seen) > 20
    for number in range(len(seen)):
        document_id = world.upload(world.person(), words, "architecture.md")
        steps = iter(range(10_000))

        def die(point: str, number: int = number, steps=steps) -> None:
            if next(steps) == number:
                raise killed

        attempts = 0
        while jobs := world.jobs():
            attempts += 1
            try:
                world.run(jobs[0], world.work(die=die))
            except killed:
                continue
        where = f"killed {seen[number]} ({number})"
        assert attempts in (2, 3), where
        assert world.filed(None, document_id).entry.failure is None, where
        assert passages(world, document_id) == expected, where
        filed = world.filed(None, document_id)
        assert (filed.entry.state, filed.entry.progress, filed.chunks) == ("completed", 100, len(expected)), where
        stream = world.streams[knowledge.channel(document_id)]
        assert sorted(stream) == list(range(1, len(stream) + 1)), where
        assert stream[max(stream)][0] == "document.completed", where


def test_a_long_document_lets_others_have_the_worker_and_goes_on_in_another_job(world, monkeypatch):
    monkeypatch.setattr(ingestion, "BATCH", 4)
    monkeypatch.setattr(ingestion, "TURN", -1000.0)
    ada = world.person()
    document_id = world.upload(ada, TEXT, "architecture.md")
    count = world.settle()
    assert count > 3
    filed = world.filed(ada, document_id)
    assert [ordinal for ordinal, _ in passages(world, document_id)] == list(range(filed.chunks))


def test_the_models_and_readers_do_not_work_inside_a_transaction(world, drivers, monkeypatch):
    from dataclasses import replace

    from domain import inference
    from domain.knowledge.extraction import sandbox

    out: list[int] = []
    read = sandbox.read

    class Watching:
        name, dimensions = "minilm", 384

        def embed(self, texts, deadline=None):
            out.append(world.database.engine.pool.checkedout())
            return drivers.embedder.embed(texts, deadline)

        def warm(self):
            pass

    def watched(*args, **more):
        out.append(world.database.engine.pool.checkedout())
        return read(*args, **more)

    ada = world.person()
    inference.bind(replace(drivers, embedder=Watching()))
    monkeypatch.setattr(sandbox, "read", watched)
    world.taken_in(ada, b"# One\n\nWords of a document.", "one.md")
    with world.ctx(ada) as ctx:
        knowledge.search(ctx, "words")
    assert len(out) == 3
    assert set(out) == {0}


def test_the_same_bytes_stand_in_a_collection_once_and_the_conflict_names_the_first(world):
    ada, bob = world.person(), world.person()
    first = world.upload(ada, b"Some words.", "a.txt")
    with pytest.raises(Conflict) as conflict:
        world.upload(ada, b"Some words.", "b.txt")
    assert conflict.value.facts == {"reason": "duplicate_document", "document_id": str(first)}
    assert world.upload(bob, b"Some words.", "a.txt") != first
    other = world.collection(ada)
    assert world.upload(ada, b"Some words.", "a.txt", collection_id=other) != first


def test_a_failure_says_why_to_people_and_leaves_nothing_to_find(world):
    ada = world.person()
    filed = world.taken_in(ada, b"%PDF-1.7\nthis is no PDF", "broken.pdf")
    assert (filed.entry.state, filed.entry.failure_code) == ("failed", "unreadable")
    assert "damaged" in filed.entry.failure
    assert filed.chunks == 0
    assert world.search(ada, "this is no PDF").passages == []
    stream = world.streams[knowledge.channel(filed.document.id)]
    assert stream[max(stream)][0] == "document.failed"
    assert stream[max(stream)][1]["error"]["code"] == "unreadable"


def test_a_job_out_of_attempts_ends_in_a_visible_failure_without_internals(world):
    ada = world.person()
    document_id = world.upload(ada, b"Some words.", "a.txt")
    entry = world.filed(ada, document_id).entry
    with world.ctx() as ctx:
        ingestion.give_up(ctx, entry.id, "OperationalError in _read, ingestion.py:104")
    filed = world.filed(ada, document_id)
    assert (filed.entry.state, filed.entry.failure_code) == ("failed", "internal")
    assert "OperationalError" not in filed.entry.failure
    other = world.upload(ada, b"Other words.", "b.txt")
    with world.ctx() as ctx:
        ingestion.give_up(ctx, world.filed(ada, other).entry.id, "Its process ended with code 1: over a memory limit")
    assert world.filed(ada, other).entry.failure_code in ("too_long", "internal")


def test_a_document_deleted_while_it_is_read_is_erased_and_its_jobs_end(world):
    ada = world.person()
    document_id = world.upload(ada, TEXT, "architecture.md")
    world.run(world.jobs()[0])
    with world.ctx(ada) as ctx:
        knowledge.remove(ctx, document_id)
    world.settle()
    with world.ctx() as ctx:
        for model in (Chunk, PassageIndex, CollectionEntry):
            assert (
                ctx.session.scalar(select(func.count()).select_from(model).where(model.document_id == document_id)) == 0
            )
        assert ctx.session.scalar(select(func.count(ExtractedText.version_id))) == 0
    assert world.search(ada, "contracts over one domain").passages == []


def test_new_sizes_are_taken_up_by_indexing_anew_while_the_old_passages_serve(world):
    ada = world.person()
    base = world.collection(
        ada, "knowledge_base", settings=knowledge.Settings(knowledge.Chunking("characters", 1600, 0))
    )
    document_id = world.upload(ada, TEXT, "architecture.md", collection_id=base, kind="knowledge_base")
    world.settle()
    before = passages(world, document_id)
    with world.ctx(ada) as ctx:
        knowledge.update_collection(ctx, base, settings={"chunking": knowledge.Chunking("characters", 400, 0)})
        assert knowledge.reindex(ctx, base).documents == 1
        with pytest.raises(Conflict):
            knowledge.reindex(ctx, base)
    asked = "How is work in the background promised?"
    while jobs := world.jobs():
        found = world.search(ada, asked, collections=[base])
        assert found.passages, f"nothing was found before {jobs[0].name}"
        with world.ctx(ada) as ctx:
            holding = knowledge.get(ctx, base)
            if jobs[0].name != "knowledge.purge":
                assert holding.state == "indexing"
                assert holding.indexing[:2] == (0, 1)
        world.run(jobs[0])
    after = passages(world, document_id)
    assert len(after) > 2 * len(before)
    assert max(len(text) for _, text in after) <= 400
    with world.ctx(ada) as ctx:
        assert knowledge.get(ctx, base).indexing is None
        assert (
            ctx.session.scalar(select(func.count(PassageIndex.id)).where(PassageIndex.document_id == document_id)) == 1
        )


def test_a_collection_may_have_a_model_of_its_own_with_vectors_of_another_size(world, drivers):
    import numpy as np

    from domain import inference

    class Provider:
        name, dimensions = "text-embedding-test", 1536

        def embed(self, texts, deadline=None):
            made = np.zeros((len(texts), 1536), np.float32)
            made[:, :384] = drivers.embedder.embed(texts, deadline)
            return made

        def warm(self):
            pass

    ada = world.person()
    inference.bind(replace(drivers, embedders={"test": Provider()}))
    base = world.collection(ada, "knowledge_base", model="text-embedding-test")
    world.upload(
        ada, b"# Leave\n\nNotice is given three months ahead.", "a.md", collection_id=base, kind="knowledge_base"
    )
    world.upload(ada, b"# Holidays\n\nThere are thirty days of holidays.", "b.md")
    world.settle()
    found = world.search(ada, "How long before leaving must one say so?", mode="semantic")
    assert [each.filename for each in found.passages] == ["a.md", "b.md"]
    with world.ctx(ada) as ctx:
        knowledge.update_collection(ctx, base, model="all-MiniLM-L6-v2")
        knowledge.reindex(ctx, base)
    world.settle()
    assert world.search(ada, "notice", collections=[base]).passages[0].filename == "a.md"
    inference.bind(drivers)
    assert world.search(ada, "notice", collections=[base]).passages


def test_two_entries_with_the_same_sizes_share_their_passages(world):
    """A file that two stores hold is embedded once."""
    ada = world.person()
    first = world.taken_in(ada, b"Words that two collections hold.", "a.txt")
    with world.ctx() as ctx:
        assert ctx.session.scalar(select(func.count(Chunk.id)).where(Chunk.document_id == first.document.id)) == 1


def test_a_plan_bounds_documents_and_passages(world, monkeypatch):
    bounds = {quotas.DOCUMENTS: 2, quotas.STORED_CHUNKS: 3}
    monkeypatch.setattr(quotas, "bound", lambda ctx, kind, metric: bounds.get(metric))
    ada = world.person()
    filed = world.taken_in(ada, TEXT, "architecture.md")
    assert (filed.entry.state, filed.entry.failure_code) == ("failed", "storage_limit_reached")
    assert "room for 3 passages: 0 are there, and this file has" in filed.entry.failure
    assert world.taken_in(ada, b"A few words.", "a.txt").entry.state == "completed"
    with pytest.raises(PaymentRequired) as full:
        world.upload(ada, b"One more.", "b.txt")
    assert full.value.facts["reason"] == "storage_limit_reached"


def test_the_months_passages_are_counted_once_however_often_a_job_is_run(world, killed, monkeypatch):
    consumed: list[int] = []
    monkeypatch.setattr(quotas, "bound", lambda ctx, kind, metric: 100 if metric == quotas.CHUNKS else None)
    monkeypatch.setattr(billing, "consume", lambda ctx, metric, count: consumed.append(count))
    ada = world.person()
    world.upload(ada, b"A few words.", "a.txt")
    world.run(world.jobs()[0])
    job = world.jobs()[0]
    steps = iter(range(1000))

    def die(point: str) -> None:
        if point == "after a commit" and next(steps) == 1:
            raise killed

    with pytest.raises(killed):
        world.run(job, world.work(die=die))
    world.settle()
    assert consumed == [1]
