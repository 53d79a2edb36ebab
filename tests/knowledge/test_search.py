"""Search: what is found, by whom, how it is ranked, marked and cited."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from domain import knowledge
from domain.kernel.context import ApiKeyActor, SystemActor
from domain.kernel.errors import Invalid, NotFound, Unprocessable
from domain.knowledge import ranking, rules, wording

LEAVE = (
    b"# Leave\n\nWhoever wants to leave the company gives notice three months ahead.\n\n"
    b"# Holidays\n\nEverybody has thirty days of holidays a year."
)
KITCHEN = b"The kitchen is cleaned on Fridays. Please do not leave dishes in the sink."
VERTRAG = (
    "Der Vertrag kann mit einer Frist von drei Monaten zum Ende des Jahres gekündigt werden. Die Kündigungen sind "
    "schriftlich an die Verwaltung zu richten und werden von ihr bestätigt."
).encode()


@pytest.fixture
def ada(world):
    actor = world.person()
    for content, name in ((LEAVE, "leave.md"), (KITCHEN, "kitchen.txt"), (VERTRAG, "vertrag.txt")):
        world.taken_in(actor, content, name)
    return actor


def test_meaning_finds_what_words_do_not(world, ada):
    asked = "How long before quitting do I have to tell my employer?"
    assert world.search(ada, asked, mode="semantic").passages[0].filename == "leave.md"
    assert world.search(ada, asked, mode="hybrid").passages[0].filename == "leave.md"


def test_words_are_found_by_their_stem_in_the_documents_language(world, ada):
    found = world.search(ada, "Kündigung", mode="text")
    assert [each.filename for each in found.passages] == ["vertrag.txt"]
    best = found.passages[0]
    assert [best.text[start:end] for start, end in best.highlights] == ["Kündigungen"]
    assert world.search(ada, "cleaning kitchens", mode="text").passages[0].filename == "kitchen.txt"
    assert world.search(ada, "the of and", mode="text").passages == []


def test_highlights_and_snippets_point_into_the_text(world, ada):
    filed = world.taken_in(ada, Path("docs/operations.md"), "operations.md")
    found = world.search(ada, "PostgreSQL extensions", documents=[filed.document.id])
    assert found.passages
    for each in found.passages:
        assert each.snippet in each.text
        for start, end in each.highlights:
            assert each.text[start:end].lower().startswith(("postgresql", "extension"))
    assert found.passages[0].highlights


def test_scores_never_rise_and_the_threshold_holds(world, ada):
    for mode in ("hybrid", "semantic", "text"):
        found = world.search(ada, "notice months leave Frist", mode=mode, limit=50)
        scores = [each.score for each in found.passages]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        some = world.search(ada, "notice months leave Frist", mode=mode, min_score=0.4)
        assert all(each.score >= 0.4 for each in some.passages)
        assert len(some.passages) <= len(scores)


def test_a_citation_says_where_a_passage_stands(world, ada):
    pdf = Path("/usr/share/doc/shared-mime-info/shared-mime-info-spec.pdf")
    if not pdf.exists():
        pytest.skip("the documentation of shared-mime-info is not on this machine")
    # Some of its pages: embedding all of them takes longer than the test is worth.
    import pypdf

    writer = pypdf.PdfWriter()
    writer.append(pypdf.PdfReader(pdf), pages=(1, 5))
    some = io.BytesIO()
    writer.write(some)
    filed = world.taken_in(ada, some.getvalue(), "mime.pdf")
    best = world.search(
        ada, "Where do applications install their MIME packages directory?", documents=[filed.document.id]
    )
    citation = best.passages[0].citation
    assert citation.document_id == filed.document.id
    assert citation.version == 1
    assert 1 <= citation.page <= filed.document.page_count
    assert citation.heading
    assert citation.position["end"] > citation.position["start"]


def test_what_one_may_not_see_is_neither_found_nor_counted(world, ada, make_world):
    bob = world.person()
    world.upload(ada, b"A secret about notice that is still to be read.", "secret.txt")
    mine = world.search(bob, "notice three months leave")
    assert mine.passages == []
    assert mine.pending_documents == 0
    assert world.search(ada, "notice").pending_documents == 1
    stranger = make_world()
    assert stranger.search(stranger.person(), "notice three months leave").passages == []
    with world.ctx(ada) as ctx:
        general = knowledge.default(ctx).id
    for hidden in ({"collections": [general]}, {"documents": [world.search(ada, "notice").passages[0].document_id]}):
        with pytest.raises(NotFound):
            world.search(bob, "notice", **hidden)


def test_what_the_organisation_shares_is_found_by_every_member_and_by_its_keys(world, ada, admin):
    bob = world.person()
    shared = world.collection(ada, name="Policies", personal=False)
    world.upload(ada, b"Travel by train is paid for in first class.", "travel.txt", collection_id=shared)
    world.settle()
    assert [each.filename for each in world.search(bob, "train travel").passages] == ["travel.txt"]
    key = ApiKeyActor(bob.user_id)
    assert [each.filename for each in world.search(key, "train travel").passages] == ["travel.txt"]
    with world.ctx(ada, admin) as ctx:
        knowledge.update_collection(ctx, shared, include_in_research=False)
    assert world.search(bob, "train travel", research=True).passages == []
    assert world.search(bob, "train travel").passages


def test_a_group_sees_what_is_shared_with_it_alone(world, ada):
    from uuid import uuid4

    from domain.identity.models import GroupMember, UserGroup

    bob, eve = world.person(), world.person()
    with world.ctx() as ctx:
        group = UserGroup(name="Team", name_key="team")
        ctx.session.add(group)
        ctx.session.flush()
        ctx.session.add(GroupMember(group_id=group.id, account_id=bob.user_id, created_at=ctx.now()))
        team = group.id
    with pytest.raises(Unprocessable):
        world.collection(ada, "knowledge_base", visibility="group", group_ids=[uuid4()])
    base = world.collection(ada, "knowledge_base", visibility="group", group_ids=[team])
    world.upload(ada, b"The team meets on Mondays at nine.", "team.txt", collection_id=base, kind="knowledge_base")
    world.settle()
    assert world.search(bob, "When does the team meet?").passages
    assert world.search(eve, "When does the team meet?").passages == []


def test_filters_narrow_before_ranking(world, ada):
    found = world.search(ada, "leave", kinds=["txt"])
    assert {each.kind for each in found.passages} == {"txt"}
    base = world.collection(ada, "knowledge_base")
    world.upload(ada, LEAVE, "l.md", collection_id=base, kind="knowledge_base", tags=["people"])
    world.settle()
    assert {each.collection_id for each in world.search(ada, "leave", tags=["people"]).passages} == {base}
    assert {each.collection_id for each in world.search(ada, "leave", collections=[base]).passages} == {base}
    assert world.search(ada, "leave", tags=["nobody"]).passages == []
    with world.ctx(ada) as ctx:
        now = ctx.now()
    assert world.search(ada, "leave", until=now - timedelta(hours=1)).passages == []
    assert world.search(ada, "leave", since=now - timedelta(hours=1)).passages


def test_a_document_in_two_reachable_collections_is_found_once(world, ada):
    hits = world.search(ada, "kitchen dishes sink", mode="text").passages
    assert len({each.chunk_id for each in hits}) == len(hits) == 1


def test_without_an_embedding_model_it_is_searched_by_words_and_said_so(world, ada, drivers):
    from dataclasses import replace

    from domain import inference
    from domain.kernel.errors import Unavailable

    class Away:
        name, dimensions = "minilm", 384

        def embed(self, texts, deadline=None):
            raise Unavailable

    inference.bind(replace(drivers, embedder=Away()))
    found = world.search(ada, "kitchen dishes")
    assert found.mode == "text"
    assert found.passages[0].filename == "kitchen.txt"


@pytest.mark.parametrize(
    "query",
    [
        "'; DROP TABLE chunk; --",
        "a & | ! <-> :*",
        "\\' \\\\",
        "\x00notice\ud800",
        "🙈" * 50,
        "notice " * 2000,
        "((((",
        "'" * 99,
    ],
)
def test_hostile_questions_are_questions(world, ada, query):
    for mode in ("hybrid", "text", "semantic"):
        assert world.search(ada, query, mode=mode).passages is not None


def test_an_empty_question_is_refused(world, ada):
    for query in ("", "  \n", "\x00"):
        with pytest.raises(Invalid):
            world.search(ada, query)


def test_the_graph_and_the_exact_comparison_find_the_same(world, ada, monkeypatch):
    for name in ("docs/architecture.md", "docs/operations.md", "docs/brains.md", "docs/contracts.md"):
        world.taken_in(ada, Path(name), Path(name).name)
    asked = "What happens to a job when its worker dies?"
    exact = [each.chunk_id for each in world.search(ada, asked, mode="semantic").passages]
    monkeypatch.setattr(rules, "exactly", lambda *_: False)
    walked = [each.chunk_id for each in world.search(ada, asked, mode="semantic").passages]
    assert len(set(exact) & set(walked)) >= 9


def test_a_search_leaves_the_audit_entry_that_is_asked_for_without_the_question(world, ada):
    from sqlalchemy import select

    from domain.audit.models import AuditEntry

    with world.ctx(ada) as ctx:
        knowledge.search(ctx, "a private question", action="document.search")
    with world.ctx(ada) as ctx:
        entry = ctx.session.scalars(select(AuditEntry).where(AuditEntry.action == "document.search")).one()
        assert "private" not in str(entry.details)


def test_a_walk_that_meets_too_few_is_made_good_by_comparing_all(world, ada, monkeypatch):
    world.taken_in(ada, Path("docs/operations.md"), "operations.md")
    asked = "What happens to a job when its worker dies?"
    exact = [each.chunk_id for each in world.search(ada, asked, mode="semantic").passages]
    monkeypatch.setattr(rules, "exactly", lambda *_: False)
    monkeypatch.setattr(ranking, "_SETTINGS", text("SELECT set_config('hnsw.max_scan_tuples', '1', true)"))
    assert [each.chunk_id for each in world.search(ada, asked, mode="semantic").passages] == exact


def test_words_are_found_alike_in_little_and_in_much(world, ada, monkeypatch):
    world.taken_in(ada, Path("docs/operations.md"), "operations.md")
    for asked in ("kitchen", "PostgreSQL extensions of a database that is backed up", "to the job its worker"):
        little = world.search(ada, asked, mode="text")
        with monkeypatch.context() as patch:
            patch.setattr(rules, "EXACT", 0)
            much = world.search(ada, asked, mode="text")
        assert little.passages
        assert [(each.chunk_id, each.score) for each in much.passages] == [
            (each.chunk_id, each.score) for each in little.passages
        ]


def test_what_is_hidden_takes_no_place_among_the_candidates_of_a_walk(world, ada, monkeypatch):
    monkeypatch.setattr(rules, "exactly", lambda *_: False)
    monkeypatch.setattr(ranking, "CANDIDATES", 2)
    bob = world.person()
    for number in range(3):
        world.upload(ada, f"Leave number {number}: notice is given three months ahead.".encode(), f"{number}.txt")
    shared = world.collection(ada, personal=False)
    world.upload(ada, b"Travel by train is paid for in first class.", "travel.txt", collection_id=shared)
    world.settle()
    found = world.search(bob, "How many months of notice before leaving?", mode="semantic")
    assert [each.filename for each in found.passages] == ["travel.txt"]


def test_later_questions_of_a_connection_are_planned_for_themselves(world, ada):
    """A plan that is kept for all questions looks words up anew for each document: 100 times as long, in much."""
    with world.ctx(ada) as ctx:
        with ranking.planned(ctx):
            assert ctx.session.scalar(text("SHOW plan_cache_mode")) == "force_custom_plan"
        knowledge.search(ctx, "kitchen dishes")
        assert ctx.session.scalar(text("SHOW plan_cache_mode")) == "auto"
        assert ctx.session.scalar(text("SHOW enable_sort")) == "on"


EVERYDAY = {"one": 0.2, "two": 0.3, "three": 0.2, "four": 0.25, "five": 0.4}


@pytest.mark.parametrize(
    ("common", "passages", "of_all", "at_once"),
    [
        (EVERYDAY, 100_000, 100_000, [4]),  # any three of them would be in more passages than are looked at
        (EVERYDAY, 1_000, 100_000, [4]),
        (EVERYDAY, 10_000, 10_000, [3]),
        (EVERYDAY, 100, 100, [2]),
        ({}, 100_000, 100_000, [2]),  # rare words: few passages have two of them
        ({"one": 0.01, "two": 0.02, "three": 0.2, "four": 0.25, "five": 0.4}, 10_500, 10_500, [3, 2]),
    ],
)
def test_as_many_words_are_looked_for_at_once_as_enough_passages_may_have(common, passages, of_all, at_once):
    lexemes = ("one", "two", "three", "four", "five")
    *together, wide = wording.Words("english", lexemes, common).steps(passages, of_all)
    assert [each.split(" | ")[0].count("&") + 1 for each in together] == at_once
    assert "&" not in wide


def test_a_question_of_few_words_is_looked_for_as_a_whole_first():
    assert wording.Words("english", ("one",), {}).steps(1_000, 1_000) == ["'one'"]
    assert wording.Words("english", ("one", "two"), {}).steps(1_000, 1_000) == ["('one' & 'two')", "'one' | 'two'"]


def test_a_passage_of_the_usual_size_keeps_its_vector_in_its_row(world, ada):
    """In another table it costs each comparison a second look, which is most of what comparing takes."""

    def elsewhere():
        with world.database.context(SystemActor("test"), None, platform=True) as ctx:
            size = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'chunk' AND relkind = 'r'"
            return ctx.session.scalar(text(size))

    before = elsewhere()
    world.taken_in(ada, Path("docs/operations.md"), "operations.md")
    assert elsewhere() == before


@pytest.mark.parametrize(
    ("reach", "total", "exactly"),
    [(4_000, 10_000_000, True), (9_000, 111_000, True), (20_000, 111_000, False), (90_000, 10_000_000, False)],
)
def test_all_is_compared_where_a_walk_would_visit_too_much(reach, total, exactly):
    assert rules.exactly(reach, total, ranking.CANDIDATES) is exactly
