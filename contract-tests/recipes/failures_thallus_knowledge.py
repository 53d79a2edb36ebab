"""Thallus: how documents and collections fail."""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx
from sqlalchemy import select

from domain import billing, knowledge
from domain.kernel.ids import new_id
from domain.knowledge import collections
from domain.knowledge.models import CollectionEntry, PassageIndex
from recipes import thallus_documents as documents
from recipes.failures import failure
from recipes.world import Call, Person, World

S = "thallus"
UPLOAD = "/thallus/api/v1/documents/upload"


@failure(S, "uploadDocument", 404)
@failure(S, "uploadOrganizationDocument", 404)
def into_nowhere(world: World) -> Call:
    return Call(files=documents.file(), form={"collection_id": str(uuid4())}, who=world.person("thallus"))


@failure(S, "uploadDocument", 402)
def without_room(world: World) -> Call:
    who = _full(world)
    return Call(files=documents.file(), who=who)


@failure(S, "uploadOrganizationDocument", 402)
def without_room_for_all(world: World) -> Call:
    who = _full(world)
    form = {"collection_id": str(documents.collection(world, who, personal=False))}
    return Call(files=documents.file(), form=form, who=who)


def _full(world: World) -> Person:
    """Somebody whose documents have as many passages as their plan keeps."""
    who = world.person("thallus", plan="starter")
    document_id = UUID(documents.uploaded(world, who)["id"])
    with world.acting(who) as ctx:
        entry = ctx.session.scalars(select(CollectionEntry).where(CollectionEntry.document_id == document_id)).one()
        index = PassageIndex(
            id=new_id(),
            document_id=document_id,
            version_id=entry.version_id,
            profile="tokens",
            chunking={},
            model="all-MiniLM-L6-v2",
            dimensions=384,
            configuration="english",
            state="ready",
            chunk_count=billing.plan_of(ctx, S).limits["thallus.stored_chunks"],
        )
        ctx.session.add(index)
        ctx.session.flush()
        entry.index_id = index.id
    return who


@failure(S, "listDocuments", 404)
def of_an_unknown_collection(world: World) -> Call:
    return Call(query={"collection_id": str(uuid4())}, who=world.person("thallus"))


@failure(S, "downloadDocument", 416)
def past_the_end(world: World) -> Call:
    return documents.about(world, headers={"Range": "bytes=1000000-"})


@failure(S, "queryDocuments", 404)
def among_unknown_ones(world: World) -> Call:
    return Call(json={"query": "notice", "collection_ids": [str(uuid4())]}, who=world.person("thallus"))


@failure(S, "moveDocument", 409)
def to_where_it_is_already(world: World) -> Call:
    """The same bytes stand in the other collection."""
    who = world.person("thallus")
    other = documents.collection(world, who)
    same = {"file": ("same.md", b"# The same\n\nIn two collections.", "text/markdown")}
    ids = [
        httpx.post(f"{world.url}{UPLOAD}", files=same, data=form, headers=who.headers(), timeout=30).json()["id"]
        for form in ({}, {"collection_id": str(other)})
    ]
    return Call(json={"collection_id": str(other)}, path={"document_id": ids[0]}, who=who)


@failure(S, "createCollection", 409)
def of_a_name_that_is_taken(world: World) -> Call:
    return _named_alike(world, personal=True)


@failure(S, "createOrganizationCollection", 409)
def of_a_name_that_all_know(world: World) -> Call:
    return _named_alike(world, personal=False)


def _named_alike(world: World, *, personal: bool) -> Call:
    who = world.person("thallus")
    with world.acting(who) as ctx:
        knowledge.create(ctx, "collection", "Signed  Contracts", personal=personal)
    return Call(json={"name": "signed contracts"}, who=who)


@failure(S, "updateCollection", 409)
def to_a_name_that_is_taken(world: World) -> Call:
    who = world.person("thallus")
    first, second = (documents.collection(world, who) for _ in range(2))
    with world.acting(who) as ctx:
        name = knowledge.get(ctx, first, "collection").collection.name
    return Call(json={"name": name}, path={"collection_id": second}, who=who)


@failure(S, "deleteCollection", 409)
def the_default_one(world: World) -> Call:
    who = world.person("thallus")
    return Call(path={"collection_id": documents.uploaded(world, who)["collection_id"]}, who=who)


@failure(S, "deleteOrganizationCollection", 409)
def the_default_one_of_all(world: World) -> Call:
    who = world.person("thallus")
    with world.acting(who) as ctx:
        return Call(path={"collection_id": collections.default(ctx, personal=False).id}, who=who)
