"""Writing, listing, erasing: rings, leaves, dedupe keys, path patterns, pages."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text as sql
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from domain import memory
from domain.kernel.errors import Conflict, Invalid, NotFound
from domain.kernel.pages import CursorPage
from domain.memory.address import check_pattern
from domain.memory.models import RingEntry

KEYS = [
    "compliance_check.org.suppliers.audit",
    "compliance_check.project.security.certificate",
    "diagnosis.project.software.checkout",
    "diagnosis.entity.facilities.pump",
    "planning.org.people.hiring",
]


@pytest.fixture
def filled(shelf):
    for key in KEYS:
        shelf.write(f"Something at {key}", key)
    return shelf


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("compliance_check.*", {0, 1}),
        ("*.org.*", {0, 4}),
        ("*.suppliers|software.*", {0, 2}),
        ("diagnosis.*{2}.checkout|pump", {2, 3}),
        ("*.!org.*{2}", {1, 2, 3}),
        ("*.audit", {0}),
        ("COMPLIANCE_CHECK@.*", {0, 1}),
        ("comp*.*", {0, 1}),
        ("*", {0, 1, 2, 3, 4}),
        ("diagnosis", {2, 3}),
        ("diagnosis.project", {2}),
        ("planning.org.people.hiring", {4}),
        ("nothing.*", set()),
    ],
)
def test_a_path_pattern_selects_by_address(filled, pattern, found):
    assert set(filled.texts(address_key=pattern)) == {f"Something at {KEYS[n]}" for n in found}


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        ".",
        "a..b",
        "a.",
        "{",
        "a{",
        "a{1",
        "*{2,1}",
        "*{65536}",
        "a{,}",
        "|",
        "a|",
        "!",
        "%",
        "a b",
        "é",
        "a\x00",
        "a'",
        "a" * 300,
        "!*",
        "a**b",
    ],
)
def test_what_is_no_path_pattern_is_invalid_and_harms_nothing(filled, pattern):
    with filled.ctx() as ctx:
        with pytest.raises(Invalid):
            memory.list_entries(ctx, filled.brain_id, address_key=pattern)
        assert memory.list_entries(ctx, filled.brain_id).total == len(KEYS)


@given(st.text(alphabet="ab_*%|!@{},.01\u00e9 ", min_size=1, max_size=12))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_accepted_pattern_is_one_to_postgres(shelf, pattern):
    try:
        check_pattern(pattern)
    except Invalid:
        return
    with shelf.ctx() as ctx:
        ctx.session.execute(sql("SELECT CAST(:pattern AS lquery)"), {"pattern": pattern})


def test_pages_cover_everything_once_newest_first(shelf):
    ids = [shelf.write(f"Entry number {n}") for n in range(25)]
    seen, cursor = [], None
    with shelf.ctx() as ctx:
        while True:
            page = memory.list_entries(ctx, shelf.brain_id, page=CursorPage(limit=7, cursor=cursor))
            assert page.total == 25
            seen += [e.id for e in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert seen == ids[::-1]


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "AAAA", "é", "A" * 400, "\x00"])
def test_a_cursor_of_something_else_is_invalid(shelf, cursor):
    with shelf.ctx() as ctx, pytest.raises(Invalid):
        memory.list_entries(ctx, shelf.brain_id, page=CursorPage(cursor=cursor))


def test_filters_by_ring_session_and_entity_are_joined(shelf):
    shelf.write("in session a", ring="session", session_id="a", level="leaf")
    shelf.write("in session b", ring="session", session_id="b", level="leaf")
    shelf.write("about x", ring="entity", entity_id="x")
    assert shelf.texts(ring="session") == ["in session b", "in session a"]
    assert shelf.texts(session_id="a") == ["in session a"]
    assert shelf.texts(entity_id="x") == ["about x"]
    assert shelf.texts(ring="session", entity_id="x") == []
    with shelf.ctx() as ctx, pytest.raises(Invalid):
        memory.list_entries(ctx, shelf.brain_id, ring="nose")


@pytest.mark.parametrize(
    "field", ["text", "confidence", "address_key", "level", "role", "superseded_by", "session_id", "kind"]
)
def test_a_leaf_never_changes(shelf, field):
    leaf = shelf.write("What was said", ring="session", session_id="s", level="leaf")
    value = {"confidence": 0.1, "address_key": KEYS[0], "level": "branch", "superseded_by": leaf, "kind": "answer"}
    with pytest.raises(DBAPIError), shelf.ctx() as ctx:
        ctx.session.execute(update(RingEntry).where(RingEntry.id == leaf).values({field: value.get(field, "other")}))
    assert shelf.texts() == ["What was said"]


def test_whether_a_leaf_is_believed_can_change_and_it_can_be_erased(shelf):
    leaf = shelf.write("What was said", ring="session", session_id="s", level="leaf")
    with shelf.ctx() as ctx:
        assert memory.contest(ctx, leaf).status == "contested"
    with shelf.ctx() as ctx:
        assert memory.forget(ctx, shelf.brain_id, session_id="s") == 1
    assert shelf.texts() == []


def test_a_dedupe_key_is_written_once(shelf):
    first = shelf.write("Once", dedupe_key="trace:architect")
    again = shelf.write("Once", dedupe_key="trace:architect")
    assert first == again
    assert shelf.texts() == ["Once"]


def test_the_same_dedupe_key_of_another_organisation_is_another(make_shelf):
    one, other = make_shelf(), make_shelf()
    assert one.write("Once", dedupe_key="k") != other.write("Once", dedupe_key="k")


def test_a_branch_that_says_the_same_takes_the_place_of_the_older_one(shelf):
    old = shelf.write("The canteen closes at two.")
    new = shelf.write("The canteen closes at two.")
    shelf.write("The depot opens at six.")
    with shelf.ctx() as ctx:
        entry = memory.get_entry(ctx, old)
        assert (entry.status, entry.superseded_by) == ("archived", new)
        with pytest.raises(Conflict):
            memory.contest(ctx, old)
    recalled = [e.id for e in shelf.recall("When does the canteen close?").entries]
    assert recalled[0] == new
    assert old not in recalled


def test_seeding_twice_gives_33_entries_three_for_each_intent(shelf):
    for _ in range(2):
        with shelf.ctx() as ctx:
            memory.seed(ctx, shelf.brain_id)
    with shelf.ctx() as ctx:
        page = memory.list_entries(ctx, shelf.brain_id, page=CursorPage(limit=100))
    assert page.total == 33
    intents = [e.address_key.split(".")[0] for e in page.items]
    assert all(intents.count(intent) == 3 for intent in memory.INTENTS)
    assert len({e.text for e in page.items}) == 33
    assert {e.level for e in page.items} == {"root"}
    assert {e.source for e in page.items} == {"seeding"}


def test_coverage_counts_what_was_learnt_under_each_path(filled):
    with filled.ctx() as ctx:
        memory.seed(ctx, filled.brain_id)
        by_intent = {c.path: c for c in memory.coverage(ctx, filled.brain_id, 1)}
        by_scope = {c.path: c.entry_count for c in memory.coverage(ctx, filled.brain_id, 2)}
    assert {p: c.entry_count for p, c in by_intent.items()} == {"compliance_check": 2, "diagnosis": 2, "planning": 1}
    assert by_intent["planning"].average_confidence == 0.7
    assert by_scope["compliance_check.org"] == 1


@pytest.mark.parametrize(
    "key", ["a.b.c.d", "diagnosis.org.x", "diagnosis.org.x.y.z", "diagnosis.org.X.y", "diagnosis.org..y", ""]
)
def test_an_address_key_has_four_known_levels(shelf, key):
    with pytest.raises(Invalid):
        shelf.write("text", key)


def test_another_organisations_entries_do_not_exist(make_shelf):
    mine, theirs = make_shelf(), make_shelf()
    entry = mine.write("The vault code is with the notary.")
    with theirs.ctx() as ctx:
        with pytest.raises(NotFound):
            memory.get_entry(ctx, entry)
        assert memory.get_many(ctx, [entry, uuid4()]) == []
        assert memory.list_entries(ctx, mine.brain_id).total == 0
        assert memory.forget(ctx, mine.brain_id) == 0
    assert theirs.recall("Where is the vault code?", brain_id=mine.brain_id).entries == ()
    assert mine.texts() == ["The vault code is with the notary."]
