"""Thallus: how documents and collections fail."""

from __future__ import annotations

from uuid import uuid4

import httpx

from domain import knowledge
from recipes import thallus_documents as documents
from recipes.failures import failure
from recipes.world import Call, World

S = "thallus"
UPLOAD = "/thallus/api/v1/documents/upload"


@failure(S, "uploadDocument", 404)
@failure(S, "uploadOrganizationDocument", 404)
def into_nowhere(world: World) -> Call:
    return Call(files=documents.file(), form={"collection_id": str(uuid4())}, who=world.person("thallus"))


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
