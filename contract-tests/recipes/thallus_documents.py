"""Thallus: documents, collections and those of the organisation. What a call is about is uploaded as partners do it."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import httpx

from domain import knowledge
from recipes.world import Call, Person, World, recipe

_numbers = itertools.count(1)
WORDS = "# Leave\n\nWhoever leaves gives notice three months ahead. This is text number {}."


def file(name: str = "leave.md") -> dict[str, Any]:
    return {"file": (name, WORDS.format(next(_numbers)).encode(), "text/markdown")}


def uploaded(world: World, who: Person, path: str = "upload", **form: Any) -> dict[str, Any]:
    reply = httpx.post(
        f"{world.url}/thallus/api/v1/documents/{path}", files=file(), data=form, headers=who.headers(), timeout=30
    )
    assert reply.status_code == 201, reply.text
    body: dict[str, Any] = reply.json()
    return body


def collection(world: World, who: Person, *, personal: bool = True) -> UUID:
    with world.acting(who) as ctx:
        return knowledge.create(ctx, "collection", f"Box {next(_numbers)}", personal=personal).collection.id


def about(world: World, **more: Any) -> Call:
    """A call about a document that its caller has uploaded."""
    who = world.person("thallus")
    return Call(path={"document_id": uploaded(world, who)["id"]}, who=who, **more)


@recipe("thallus", "uploadDocument")
def upload(world: World) -> Call:
    return Call(files=file(), form={"title": "Leave", "description": "Who leaves, and how."}, once=True)


@recipe("thallus", "listDocuments")
def list_documents(world: World) -> Call:
    who = world.person("thallus")
    known = uploaded(world, who)["id"]

    def check(reply: httpx.Response) -> None:
        assert [each["id"] for each in reply.json()["items"]] == [known]

    return Call(query={"search": "leave", "file_type": "md"}, who=who, check=check)


@recipe("thallus", "getDocument")
def get(world: World) -> Call:
    return about(world)


@recipe("thallus", "deleteDocument")
def delete(world: World) -> Call:
    return about(world, once=True)


@recipe("thallus", "getDocumentStatus")
def status(world: World) -> Call:
    return about(world)


@recipe("thallus", "downloadDocument")
def download(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.content.startswith(b"# Leave")
        assert "leave.md" in reply.headers["content-disposition"]

    return about(world, check=check)


@recipe("thallus", "listDocumentChunks")
def chunks(world: World) -> Call:
    return about(world)


@recipe("thallus", "moveDocument")
def move(world: World) -> Call:
    who = world.person("thallus")
    box = collection(world, who)
    return Call(json={"collection_id": str(box)}, path={"document_id": uploaded(world, who)["id"]}, who=who)


@recipe("thallus", "queryDocuments")
def query(world: World) -> Call:
    who = world.person("thallus")
    uploaded(world, who)
    return Call(json={"query": "How long before leaving is notice given?", "limit": 5}, who=who)


@recipe("thallus", "listCollections")
def list_collections(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.json()["items"][0]["is_default"] is True

    return Call(check=check)


@recipe("thallus", "createCollection")
def create_collection(world: World) -> Call:
    return Call(json={"name": "Contracts", "description": "Signed ones."}, once=True)


@recipe("thallus", "getCollection")
def get_collection(world: World) -> Call:
    who = world.person("thallus")
    return Call(path={"collection_id": str(collection(world, who))}, who=who)


@recipe("thallus", "updateCollection")
def update_collection(world: World) -> Call:
    who = world.person("thallus")
    body = {"name": "Signed contracts", "description": None, "include_in_research": False}
    return Call(json=body, path={"collection_id": str(collection(world, who))}, who=who)


@recipe("thallus", "deleteCollection")
def delete_collection(world: World) -> Call:
    who = world.person("thallus")
    return Call(path={"collection_id": str(collection(world, who))}, who=who, once=True)


@recipe("thallus", "listOrganizationCollections")
def list_organization_collections(world: World) -> Call:
    return Call()


@recipe("thallus", "createOrganizationCollection")
def create_organization_collection(world: World) -> Call:
    return Call(json={"name": "Policies"}, once=True)


@recipe("thallus", "deleteOrganizationCollection")
def delete_organization_collection(world: World) -> Call:
    who = world.person("thallus")
    return Call(path={"collection_id": str(collection(world, who, personal=False))}, who=who, once=True)


@recipe("thallus", "uploadOrganizationDocument")
def upload_organization_document(world: World) -> Call:
    who = world.person("thallus")
    shared = collection(world, who, personal=False)
    return Call(files=file(), form={"collection_id": str(shared)}, who=who, once=True)
