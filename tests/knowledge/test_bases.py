"""Knowledge bases: sizes in characters, their own way of searching, who may publish; addresses as they are kept."""

from __future__ import annotations

import pytest

from domain import knowledge
from domain.kernel.errors import Forbidden, Invalid, NotFound, Unprocessable
from domain.knowledge.bases import Tuning, in_characters
from domain.knowledge.rules import Chunking
from domain.knowledge.webpages import normal

OWN = frozenset({"knowledge:read", "knowledge:write", "knowledge:delete"})
ADMIN = OWN | {"documents:write", "organisation:manage"}


def made(world, actor, **more):
    with world.ctx(actor, ADMIN) as ctx:
        return knowledge.bases.create(ctx, more.pop("name", "Manuals"), **more)


def changed(world, actor, base_id, permissions=ADMIN, **more):
    with world.ctx(actor, permissions) as ctx:
        return knowledge.bases.update(ctx, base_id, **more)


def test_a_small_passage_gets_a_small_overlap_and_one_named_alone_keeps_the_other(world):
    actor = world.person()
    assert made(world, actor, tuning=Tuning(size=200)).settings.chunking == Chunking("characters", 200, 40)
    base = made(world, actor, name="Second")
    assert base.settings.chunking == Chunking("characters", 1_000, 200)
    after = changed(world, actor, base.collection.id, tuning=Tuning(overlap=100, search_mode="text"))
    assert (after.settings.chunking, after.settings.search_mode) == (Chunking("characters", 1_000, 100), "text")
    with pytest.raises(Unprocessable):
        changed(world, actor, base.collection.id, tuning=Tuning(overlap=1_000))


def test_a_base_measured_in_tokens_says_its_sizes_in_characters():
    assert in_characters(Chunking("tokens", 220, 30)) == Chunking("characters", 880, 120)
    assert in_characters(Chunking("tokens", 16, 15)) == Chunking("characters", 200, 60)
    assert in_characters(Chunking("characters", 300, 50)) == Chunking("characters", 300, 50)


def test_a_base_cannot_lose_its_name_or_the_groups_that_it_is_for(world):
    actor = world.person()
    base_id = made(world, actor).collection.id
    for broken in ({"name": "  "}, {"visibility": "group"}, {"visibility": "group", "group_ids": []}):
        with pytest.raises(Invalid):
            changed(world, actor, base_id, **broken)


def test_only_who_may_manage_the_organisation_publishes(world):
    actor = world.person()
    base_id = made(world, actor).collection.id
    with pytest.raises(Forbidden):
        changed(world, actor, base_id, OWN, visibility="public")
    assert changed(world, actor, base_id, visibility="public").collection.visibility == "public"
    renamed = changed(world, actor, base_id, OWN, name="Public manuals", visibility="public")
    assert renamed.collection.name == "Public manuals"


def test_a_collection_of_another_kind_is_no_base_and_no_store(world):
    actor = world.person()
    other = world.collection(actor)
    with world.ctx(actor) as ctx:
        for look in (knowledge.bases.search, knowledge.stores.search):
            with pytest.raises(NotFound):
                look(ctx, other, "words")
        with pytest.raises(NotFound):
            knowledge.bases.remove_document(ctx, other, other)


def test_an_address_is_kept_as_rfc_3986_writes_it():
    assert normal("http://Example.com/ü b?q=ä|x#top") == "http://example.com/%C3%BC%20b?q=%C3%A4%7Cx"
    assert normal("http://example.com/%zz%41") == "http://example.com/%25zz%41"
    with pytest.raises(Unprocessable):
        normal("http://example.com/" + "a" * 2_048)
    with pytest.raises(Unprocessable):
        normal("http://exämple.com/")
