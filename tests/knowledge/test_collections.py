"""Collections, knowledge bases and vector stores: names, owners, moving, deleting, OpenAI's shape."""

from __future__ import annotations

import io
import itertools
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select

from domain import knowledge, storage
from domain.kernel.clock import FixedClock
from domain.kernel.context import SystemActor
from domain.kernel.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable
from domain.kernel.pages import OffsetPage
from domain.knowledge import access
from domain.knowledge.models import Chunk, Collection, Document
from domain.storage.models import StoredObject


def names(world, actor, kind="collection", **more):
    with world.ctx(actor) as ctx:
        return [each.collection.name for each in knowledge.list_collections(ctx, kind, OffsetPage(), **more).items]


def test_a_person_has_a_general_collection_from_the_start_and_it_stays(world):
    ada = world.person()
    world.collection(ada, name="Contracts")
    assert names(world, ada, scope="personal") == ["General", "Contracts"]
    with world.ctx(ada) as ctx:
        general = knowledge.default(ctx)
        for forbidden in (
            lambda: knowledge.delete_collection(ctx, general.id),
            lambda: knowledge.update_collection(ctx, general.id, name="Else"),
        ):
            with pytest.raises(Conflict):
                forbidden()
        changed = knowledge.update_collection(ctx, general.id, name="General", description="All")
        assert changed.collection.description == "All"


def test_names_are_unique_for_an_owner_whatever_their_case(world):
    ada, bob = world.person(), world.person()
    world.collection(ada, name="Contracts")
    with pytest.raises(Conflict):
        world.collection(ada, name=" contracts ")
    world.collection(bob, name="Contracts")
    other = world.collection(ada, name="Letters")
    with world.ctx(ada) as ctx, pytest.raises(Conflict):
        knowledge.update_collection(ctx, other, name="CONTRACTS")


def test_a_personal_collection_is_nobody_elses_not_even_an_administrators(world, admin):
    ada, bob = world.person(), world.person()
    mine = world.collection(ada, name="Diary")
    for permissions in (frozenset(), admin):
        with world.ctx(bob, permissions) as ctx:
            with pytest.raises(NotFound):
                knowledge.get(ctx, mine)
            with pytest.raises(NotFound):
                knowledge.update_collection(ctx, mine, description="x")


def test_another_organisation_cannot_tell_that_a_collection_exists(world, make_world, admin):
    shared = world.collection(world.person(), name="Ours", personal=False)
    other = make_world()
    with other.ctx(other.person(), admin) as ctx, pytest.raises(NotFound):
        knowledge.get(ctx, shared)


def test_members_read_what_the_organisation_shares_and_administrators_change_it(world, admin):
    ada, bob = world.person(), world.person()
    shared = world.collection(ada, name="Policies", personal=False)
    with world.ctx(bob) as ctx:
        assert not knowledge.get(ctx, shared).may_edit
        with pytest.raises(Forbidden):
            knowledge.delete_collection(ctx, shared)
        with pytest.raises(Forbidden):
            knowledge.create(ctx, "collection", "More", personal=False)
    with pytest.raises(Forbidden), world.ctx(bob) as ctx:
        knowledge.upload(ctx, io.BytesIO(b"x"), filename="a.txt", collection_id=shared)
    with world.ctx(bob, admin) as ctx:
        assert knowledge.get(ctx, shared).may_edit


def test_deleting_a_personal_collection_moves_its_documents_to_the_default_one(world):
    ada = world.person()
    box = world.collection(ada, name="Box")
    kept = world.upload(ada, b"Words to keep.", "a.txt", collection_id=box)
    double = world.upload(ada, b"Words twice.", "b.txt", collection_id=box)
    first = world.upload(ada, b"Words twice.", "b.txt")
    world.settle()
    with world.ctx(ada) as ctx:
        knowledge.delete_collection(ctx, box)
    world.settle()
    with world.ctx(ada) as ctx:
        general = knowledge.default(ctx).id
        listed = {
            each.document.id: each for each in knowledge.list_documents(ctx, OffsetPage(), scope="personal").items
        }
        assert set(listed) == {kept, first}
        assert all(each.collection.id == general for each in listed.values())
        assert ctx.session.get(Document, double) is None
    assert world.search(ada, "words to keep").passages[0].document_id == kept


def test_deleting_a_shared_collection_deletes_its_documents_and_their_files(world, admin):
    ada = world.person()
    shared = world.collection(ada, name="Old", personal=False)
    document_id = world.upload(ada, b"Old words.", "a.txt", collection_id=shared)
    world.settle()
    with world.ctx(ada, admin) as ctx:
        knowledge.delete_collection(ctx, shared)
    assert world.search(ada, "old words").passages == []
    world.settle()
    with world.ctx() as ctx:
        assert ctx.session.get(Document, document_id) is None
        assert ctx.session.get(Collection, shared) is None
        assert ctx.session.scalar(select(func.count(Chunk.id)).where(Chunk.document_id == document_id)) == 0
        ready = select(func.count(StoredObject.id)).where(StoredObject.state == "ready")
        assert ctx.session.scalar(ready) == 0


def test_documents_move_within_their_scope_alone(world, admin):
    ada = world.person()
    box, shared = world.collection(ada, name="Box"), world.collection(ada, name="Shared", personal=False)
    document_id = world.upload(ada, b"Words that move.", "a.txt")
    world.settle()
    with world.ctx(ada, admin) as ctx:
        assert knowledge.move(ctx, document_id, box).collection.id == box
        with pytest.raises(Conflict) as refused:
            knowledge.move(ctx, document_id, shared)
        assert refused.value.facts["reason"] == "scope_mismatch"
    world.upload(ada, b"Words that move.", "b.txt")
    with world.ctx(ada) as ctx, pytest.raises(Conflict) as refused:
        knowledge.move(ctx, document_id, None)
    assert refused.value.facts["reason"] == "duplicate_document"
    assert world.search(ada, "words that move", collections=[box]).passages


@pytest.mark.parametrize("kind", ["knowledge_base", "vector_store"])
def test_what_stands_in_a_knowledge_base_or_a_vector_store_does_not_move_out_of_it(world, admin, kind):
    ada = world.person()
    place, other = world.collection(ada, kind=kind, name="Here"), world.collection(ada, kind=kind, name="There")
    document_id = world.upload(ada, b"Words that stay.", "a.txt", collection_id=place, kind=kind)
    for target in (None, other):
        with world.ctx(ada, admin) as ctx, pytest.raises(Conflict) as refused:
            knowledge.move(ctx, document_id, target)
        assert refused.value.facts["reason"] == "scope_mismatch"
    assert world.filed(ada, document_id).collection.id == place


def test_the_original_comes_back_as_it_was(world):
    ada = world.person()
    document_id = world.upload(ada, b"Exactly these bytes.", "a.txt")
    with world.ctx(ada) as ctx:
        filed, stored = knowledge.original(ctx, document_id)
        assert filed.document.filename == "a.txt"
        with storage.open(ctx, stored) as reader:
            assert reader.read() == b"Exactly these bytes."


def test_a_name_that_the_bytes_do_not_bear_out_is_refused(world):
    ada = world.person()
    for content, name in (
        (b"MZ\x90\x00\x03\x00\x00\x00\x04\x00", "a.pdf"),
        (b"%PDF-1.7\n", "a.docx"),
        (b"plain words", "a.pdf"),
        (b"plain words", "a.exe"),
        (b"plain words", "noname"),
        (b"\x89PNG\r\n\x1a\n", "a.txt"),
        (b"<html></html>", "a.html"),  # read, but not taken in a collection
    ):
        with pytest.raises(knowledge.NotTaken):
            world.upload(ada, content, name)
    with world.ctx() as ctx:
        assert ctx.session.scalar(select(func.count(StoredObject.id))) == 0


def test_overlap_must_be_less_than_the_passage():
    with pytest.raises(Unprocessable):
        knowledge.Chunking("characters", 300, 300)
    with pytest.raises(Unprocessable):
        knowledge.Chunking.static(800, 401)
    assert knowledge.Chunking.static(800, 400).profile == "tokens:800:400:1"


# --- vector stores --------------------------------------------------------------------------------------------


def stored(world, actor, content, name):
    with world.ctx(actor) as ctx:
        return str(storage.put(ctx, io.BytesIO(content), name=name, purpose="object").id)


@pytest.fixture
def store(world):
    actor = world.person()
    return actor, world.collection(actor, "vector_store", name="contracts", personal=False, expires_after_days=30)


def attach(world, actor, store_id, file_id, **more):
    with world.ctx(actor, frozenset({"vector_stores:write", "vector_stores:read"})) as ctx:
        return knowledge.vector_files.attach(ctx, store_id, file_id, **more)


def test_a_stored_file_is_attached_searched_and_detached_and_stays_stored(world, store, admin):
    ada, store_id = store
    file_id = stored(world, ada, b"Either party may terminate with ninety days' notice.", "acme.txt")
    for name in ("", "k" * 65):  # which no filter could name
        with pytest.raises(Invalid):
            attach(world, ada, store_id, file_id, attributes={name: 1})
    attach(world, ada, store_id, file_id, attributes={"year": 2026})
    with pytest.raises(Conflict):
        attach(world, ada, store_id, file_id)
    world.settle()
    best = world.search(ada, "termination notice", collections=[store_id]).passages[0]
    assert (best.external_id, best.attributes) == (file_id, {"year": 2026})
    with world.ctx(ada) as ctx:
        holding = knowledge.get(ctx, store_id)
        assert holding.usage_bytes > 768
        assert holding.state == "ready"
        assert knowledge.vector_files.get(ctx, store_id, file_id).entry.state == "completed"
        assert [e.entry.external_id for e in knowledge.vector_files.list_files(ctx, store_id, OffsetPage()).items] == [
            file_id
        ]
        assert knowledge.vector_files.list_files(ctx, store_id, OffsetPage(), status="cancelled").total == 0
    with world.ctx(ada, admin) as ctx:
        knowledge.vector_files.detach(ctx, store_id, file_id)
    assert world.search(ada, "termination notice", collections=[store_id]).passages == []
    world.settle()
    with world.ctx(ada) as ctx:
        assert ctx.session.scalar(select(func.count(Chunk.id))) == 0
        with storage.open(ctx, storage.get(ctx, UUID(file_id))) as reader:
            assert reader.read().startswith(b"Either party")


def test_sizes_of_a_files_own_are_kept(world, store):
    ada, store_id = store
    words = " ".join(f"Sentence number {number} says something of its own." for number in range(120)).encode()
    file_id = stored(world, ada, words, "long.txt")
    attach(world, ada, store_id, file_id, chunking=knowledge.Chunking.static(100, 50))
    world.settle()
    with world.ctx(ada) as ctx:
        chunks = ctx.session.scalars(select(Chunk).order_by(Chunk.ordinal)).all()
    assert all(chunk.tokens <= 100 for chunk in chunks)
    for before, after in itertools.pairwise(chunks):
        assert after.position["start"] < before.position["end"], "neighbours share nothing"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"type": "eq", "key": "department", "value": "legal"}, {"a"}),
        ({"type": "ne", "key": "department", "value": "legal"}, {"b", "c"}),
        ({"type": "gt", "key": "year", "value": 2024}, {"a"}),
        ({"type": "gte", "key": "year", "value": 2024}, {"a", "b"}),
        ({"type": "lt", "key": "year", "value": 2025.5}, {"b"}),
        ({"type": "lte", "key": "department", "value": "it"}, {"b"}),
        ({"type": "in", "key": "year", "value": [2024, 2026]}, {"a", "b"}),
        ({"type": "nin", "key": "year", "value": [2026]}, {"b", "c"}),
        ({"type": "eq", "key": "signed", "value": True}, {"a"}),
        ({"type": "eq", "key": "year", "value": "2026"}, set()),
        ({"type": "eq", "key": "x' OR 1=1 --", "value": "1"}, set()),
        (
            {
                "type": "and",
                "filters": [
                    {"type": "eq", "key": "department", "value": "legal"},
                    {
                        "type": "or",
                        "filters": [
                            {"type": "eq", "key": "year", "value": 1},
                            {"type": "eq", "key": "signed", "value": True},
                        ],
                    },
                ],
            },
            {"a"},
        ),
    ],
)  # fmt: skip
def test_attributes_filter_as_openai_says(make_world, wanted, found, filtered):
    world, ada, store_id = filtered
    hits = world.search(ada, "notice", collections=[store_id], filters=wanted).passages
    assert {each.filename[0] for each in hits} == found


_filtered = {}


@pytest.fixture
def filtered(make_world):
    if not _filtered:
        world = make_world()
        ada = world.person()
        store_id = world.collection(ada, "vector_store", name="all", personal=False)
        for name, attributes in (
            ("a", {"department": "legal", "year": 2026, "signed": True}),
            ("b", {"department": "it", "year": 2024}),
            ("c", {}),
        ):
            attach(
                world,
                ada,
                store_id,
                stored(world, ada, f"Notice of {name}.".encode(), f"{name}.txt"),
                attributes=attributes,
            )
        world.settle()
        _filtered["made"] = (world, ada, store_id)
    return _filtered["made"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "like", "key": "a", "value": "b"},
        {"type": "eq", "key": "", "value": "b"},
        {"type": "eq", "key": "a", "value": {"b": 1}},
        {"type": "in", "key": "a", "value": "b"},
        {"type": "gt", "key": "a", "value": True},
        {"type": "and", "filters": []},
        {"type": "eq", "key": "a", "value": float("nan")},
        {"type": "or", "filters": [{"type": "and", "filters": [{}]}]},
    ],
)
def test_a_filter_that_is_none_is_refused(world, store, wanted):
    ada, store_id = store
    with pytest.raises(Invalid):
        world.search(ada, "notice", collections=[store_id], filters=wanted)


def test_a_tenant_has_ten_vector_stores_at_most(world):
    ada = world.person()
    for number in range(10):
        world.collection(ada, "vector_store", name=f"s{number}", personal=False)
    with pytest.raises(Forbidden):
        world.collection(ada, "vector_store", name="one too many", personal=False)


def test_an_unused_vector_store_expires_and_a_searched_one_does_not(world, store):
    ada, store_id = store
    file_id = stored(world, ada, b"Notice is ninety days.", "acme.txt")
    attach(world, ada, store_id, file_id)
    world.settle()

    def expire(days):
        from datetime import UTC, datetime

        from domain.kernel.clock import FixedClock

        clock = FixedClock(datetime.now(UTC) + timedelta(days=days))
        with world.database.context(SystemActor("cron"), None, platform=True, clock=clock) as ctx:
            return knowledge.upkeep.expire(ctx)

    expire(29)
    with world.ctx(ada) as ctx:
        assert knowledge.get(ctx, store_id).collection.expired_at is None
    assert expire(31) >= 1
    with world.ctx(ada) as ctx:
        assert knowledge.get(ctx, store_id).collection.expired_at is not None
    assert world.search(ada, "notice", collections=[store_id]).passages == []
    world.settle()
    with world.ctx(ada) as ctx:
        for model in (Chunk, Document):
            assert ctx.session.scalar(select(func.count()).select_from(model)) == 0
        assert storage.get(ctx, UUID(file_id)).is_ready
    with pytest.raises(NotFound):
        attach(world, ada, store_id, file_id)


def test_a_vector_store_holds_nothing_from_the_moment_that_its_time_is_over(world, store, admin):
    """By the clock: the cron that clears away comes up to ten minutes later."""
    ada, store_id = store
    file_id = stored(world, ada, b"Notice is ninety days.", "acme.txt")
    attach(world, ada, store_id, file_id)
    world.settle()
    ends = _expires_at(world, store_id)

    @contextmanager
    def at(moment):
        clock = FixedClock(moment)
        with world.database.context(ada, world.organisation_id, admin, clock=clock) as ctx:
            yield ctx

    with at(ends - timedelta(seconds=1)) as ctx:
        assert not knowledge.get(ctx, store_id, "vector_store").expired
        document_id = knowledge.vector_files.get(ctx, store_id, file_id).document.id
        assert knowledge.in_reach(ctx, [document_id], access.viewer(ctx)) == {document_id}
        assert knowledge.vector_files.list_files(ctx, store_id, OffsetPage()).total == 1
        ctx.session.rollback()
    with at(ends) as ctx:
        held = knowledge.get(ctx, store_id, "vector_store")
        assert (held.expired, held.documents, held.chunks, held.usage_bytes) == (True, 0, 0, 0)
        listed = knowledge.list_collections(ctx, "vector_store", OffsetPage()).items
        assert [each.expired for each in listed if each.collection.id == store_id] == [True]
        assert knowledge.vector_files.list_files(ctx, store_id, OffsetPage()).total == 0
        assert knowledge.in_reach(ctx, [document_id], access.viewer(ctx)) == set()
        for gone in (
            lambda: knowledge.vector_files.get(ctx, store_id, file_id),
            lambda: knowledge.vector_files.detach(ctx, store_id, file_id),
            lambda: knowledge.passages(ctx, document_id, OffsetPage()),
            lambda: knowledge.vector_files.attach(ctx, store_id, file_id),
        ):
            with pytest.raises(NotFound):
                gone()
    for scope in ({"collections": [store_id]}, {"collection_kinds": ["vector_store"]}):
        with at(ends) as ctx:
            assert knowledge.search(ctx, "notice", **scope).passages == []
    with at(ends) as ctx:
        assert knowledge.stores.search(ctx, store_id, "notice") == []
    assert _expires_at(world, store_id) == ends  # being asked does not bring it back
    with world.database.context(SystemActor("cron"), None, platform=True, clock=FixedClock(ends)) as ctx:
        assert knowledge.upkeep.expire(ctx) >= 1
    with at(ends) as ctx:
        assert knowledge.get(ctx, store_id).expired


def _expires_at(world, store_id):
    with world.ctx() as ctx:
        return ctx.session.get_one(Collection, store_id).expires_at


def test_what_is_the_organisations_is_not_refused_for_a_permission_that_its_caller_has(world, admin):
    ada = world.person()
    shared = world.collection(ada, personal=False)
    with world.ctx(ada, admin) as ctx, pytest.raises(Forbidden) as refused:
        knowledge.delete_collection(ctx, shared, "collection", personal=True)
    assert refused.value.facts == {"reason": "organisation_collection"}
    assert "of the organisation" in refused.value.message
    with world.ctx(ada, admin) as ctx:
        knowledge.delete_collection(ctx, shared, "collection", personal=False)


def test_a_file_that_could_not_be_read_is_told_as_such_when_it_comes_again(world):
    ada = world.person()
    place = world.collection(ada)
    for content, name, failed in ((b"Something to read.", "good.txt", False), (b" \n", "empty.txt", True)):
        world.taken_in(ada, content, name, collection_id=place)
        with pytest.raises(Conflict) as twice:
            world.upload(ada, content, name, collection_id=place)
        assert twice.value.message.startswith("The collection has the same file already.")
        assert ("could not be read: delete it" in twice.value.message) is failed
