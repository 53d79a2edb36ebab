"""What is remembered about a person: theirs alone, never twice, and gone when they say so."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import select

from domain import inference, memory
from domain.inference import Deadline
from domain.kernel.errors import Conflict, Invalid, NotFound
from domain.memory import personal
from domain.memory.models import RingEntry


def vector(text):
    return inference.drivers().embedder.embed([text])[0]


def drawn(text, category="FACTS", importance=0.6):
    return memory.Drawn(text, category, importance, vector(text))


@pytest.fixture
def ada():
    return uuid4()


def texts(shelf, user, **more):
    with shelf.ctx() as ctx:
        return [m.text for m in memory.list_memories(ctx, user, **more).items]


def test_a_memory_is_seen_corrected_and_forgotten_by_its_person_alone(shelf, ada):
    bob = uuid4()
    with shelf.ctx() as ctx:
        kept = memory.remember(ctx, ada, "I prefer short answers", category="PREFERENCES", importance=0.8)
    with shelf.ctx() as ctx:
        for act in (memory.get_memory, memory.delete_memory):
            with pytest.raises(NotFound):
                act(ctx, bob, kept.id)
        assert memory.list_memories(ctx, bob).total == 0
    with shelf.ctx() as ctx:
        changed = memory.update_memory(ctx, ada, kept.id, content="I prefer long answers")
        assert (changed.text, changed.importance, changed.source) == ("I prefer long answers", 0.8, "manual")
        memory.delete_memory(ctx, ada, kept.id)
    assert texts(shelf, ada) == []


def test_the_very_same_is_a_conflict_that_names_it(shelf, ada):
    with shelf.ctx() as ctx:
        kept = memory.remember(ctx, ada, "We ship on Fridays.")
    with shelf.ctx() as ctx, pytest.raises(Conflict) as same:
        memory.remember(ctx, ada, "  we ship  on fridays")
    assert same.value.facts == {"reason": "duplicate", "memory_id": str(kept.id)}


@pytest.mark.parametrize(
    ("content", "more"), [("", {}), ("x" * 4001, {}), ("fine", {"category": "GOSSIP"}), ("fine", {"importance": 1.5})]
)
def test_what_makes_no_sense_is_refused(shelf, ada, content, more):
    with shelf.ctx() as ctx, pytest.raises(Invalid):
        memory.remember(ctx, ada, content, **more)


def test_what_means_the_same_is_kept_once_and_ones_own_words_stay(shelf, ada):
    conversation = uuid4()
    with shelf.ctx() as ctx:
        memory.remember(ctx, ada, "The depot in Turku opens at six.")
    memory.complete_vectors(shelf.ctx, ada, Deadline(10))
    with shelf.ctx() as ctx:
        memory.draw(
            ctx, ada, conversation, [drawn("The depot in Turku opens at six o'clock."), drawn("I live in Lyon.")]
        )
        memory.draw(ctx, ada, conversation, [drawn("I live in Lyon, France.", importance=0.9)])
    assert sorted(texts(shelf, ada)) == ["I live in Lyon, France.", "The depot in Turku opens at six."]
    with shelf.ctx() as ctx:
        (lyon,) = memory.list_memories(ctx, ada, source="conversation").items
    assert (lyon.importance, lyon.conversation_id) == (0.9, conversation)


def test_what_was_deleted_is_not_drawn_from_its_conversation_again(shelf, ada):
    conversation = uuid4()
    with shelf.ctx() as ctx:
        (made,) = memory.draw(ctx, ada, conversation, [drawn("I am allergic to nuts.")])
        memory.delete_memory(ctx, ada, made)
    with shelf.ctx() as ctx:
        assert memory.draw(ctx, ada, conversation, [drawn("I am allergic to nuts.")]) == []
        assert len(memory.draw(ctx, ada, uuid4(), [drawn("I am allergic to nuts.")])) == 1


def test_what_was_corrected_does_not_come_back_as_it_was(shelf, ada):
    conversation = uuid4()
    with shelf.ctx() as ctx:
        (made,) = memory.draw(ctx, ada, conversation, [drawn("I live in Lyon, on the left bank of the river.")])
        memory.update_memory(ctx, ada, made, content="I moved to Oslo in spring.")
    memory.complete_vectors(shelf.ctx, ada, Deadline(10))
    with shelf.ctx() as ctx:
        again = [drawn("I live in Lyon, on the left bank of the river."), drawn("I moved to Oslo in the spring.")]
        assert memory.draw(ctx, ada, conversation, again) == []
        (kept,) = memory.list_memories(ctx, ada).items
    assert (kept.id, kept.text, kept.source) == (made, "I moved to Oslo in spring.", "manual")


def test_memories_of_people_stand_in_the_rings_own_store(shelf, ada):
    """One table: what a brain learns and what a person has said, told apart by whose it is."""
    with shelf.ctx() as ctx:
        said = memory.remember(ctx, ada, "I prefer short answers.", category="PREFERENCES")
        (heard,) = memory.draw(ctx, ada, uuid4(), [drawn("I live in Lyon.")])
        rows = {row.id: row for row in ctx.session.scalars(select(RingEntry))}
        assert set(rows) >= {said.id, heard}
        for each in (said.id, heard):
            assert rows[each].user_id == ada
            assert rows[each].address_key.startswith("knowledge_ingestion.entity.person.")
        pattern = "knowledge_ingestion.entity.person.*"
        listed = memory.list_entries(ctx, None, address_key=pattern).items
        assert {said.id, heard} & {each.id for each in listed} == set(), "a brain is not shown them"


def test_recall_brings_what_bears_on_a_text_the_more_important_first(shelf, ada):
    with shelf.ctx() as ctx:
        memory.remember(ctx, ada, "My favourite coffee is espresso.", importance=0.2)
        memory.remember(ctx, ada, "I only drink decaffeinated coffee.", importance=1.0)
        memory.remember(ctx, ada, "The server room is in the basement.")
    assert memory.complete_vectors(shelf.ctx, ada, Deadline(10)) == 3
    assert memory.complete_vectors(shelf.ctx, ada, Deadline(10)) == 0
    with shelf.ctx() as ctx:
        found = memory.recall_personal(ctx, ada, vector("Which coffee do I drink?"))
        memory.mark_used(ctx, ada, [found[0].id])
    assert found[0].text == "I only drink decaffeinated coffee."
    assert "server" not in str(found)
    with shelf.ctx() as ctx:
        assert memory.get_memory(ctx, ada, found[0].id).use_count == 1


def test_brains_never_recall_what_belongs_to_a_person(shelf, ada):
    with shelf.ctx() as ctx:
        memory.draw(ctx, ada, uuid4(), [drawn("The vault code is 4711.")])
        for given in ({}, {"entity_id": f"user:{ada}"}):
            assert memory.recall(ctx, None, vector("What is the vault code?"), **given).entries == ()


def test_statistics_and_filters_tell_the_same(shelf, ada):
    with shelf.ctx() as ctx:
        memory.remember(ctx, ada, "I like tea", category="PREFERENCES", importance=0.4)
        memory.remember(ctx, ada, "I like coffee", category="PREFERENCES", importance=0.8)
        memory.draw(ctx, ada, uuid4(), [drawn("I live in Lyon.", importance=0.6)])
        stats = memory.memory_stats(ctx, ada)
        empty = memory.memory_stats(ctx, uuid4())
    assert (stats.total, stats.manual, stats.from_conversations, stats.average_importance) == (3, 2, 1, 0.6)
    assert [(c.category, c.count) for c in stats.by_category] == [
        ("MEMORIES", 0), ("PREFERENCES", 2), ("FACTS", 1), ("PATTERNS", 0),
    ]  # fmt: skip
    assert (empty.total, empty.average_importance, empty.oldest_at) == (0, None, None)
    assert texts(shelf, ada, min_importance=0.7) == ["I like coffee"]
    assert texts(shelf, ada, category="FACTS") == ["I live in Lyon."]
    assert texts(shelf, ada, search="TEA") == ["I like tea"]
    assert texts(shelf, ada, search="100%_") == []
    assert texts(shelf, ada, search="zzz", vector=vector("In which city do I live?"))[:1] == ["I live in Lyon."]
    assert texts(shelf, ada, sort="importance")[0] == "I like coffee"


def test_past_the_limit_the_least_important_unused_makes_room(shelf, ada, monkeypatch):
    monkeypatch.setattr(personal, "MOST", 3)
    with shelf.ctx() as ctx:
        for number, importance in enumerate((0.1, 0.9, 0.2, 0.8)):
            made = memory.remember(ctx, ada, f"Fact {number}", importance=importance)
            if number == 0:
                memory.mark_used(ctx, ada, [made.id])
    assert sorted(texts(shelf, ada)) == ["Fact 0", "Fact 1", "Fact 3"]


def test_an_erased_account_leaves_nothing(shelf, ada):
    with shelf.ctx() as ctx:
        memory.remember(ctx, ada, "I was here")
        (made,) = memory.draw(ctx, ada, uuid4(), [drawn("I live in Lyon.")])
        memory.delete_memory(ctx, ada, made)
        assert memory.forget_person(ctx, ada) == 1
    assert texts(shelf, ada) == []
