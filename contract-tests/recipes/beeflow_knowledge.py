"""Bee Flow: knowledge bases and webpages. What a call is about is made and uploaded as partners do it."""

from __future__ import annotations

import itertools
from typing import Any

import httpx

from recipes.world import Call, Person, World, recipe

_numbers = itertools.count(1)
WORDS = "# Contract {}\n\nEither party may terminate this contract with three months notice."


def asked(world: World, who: Person, method: str, path: str, **more: Any) -> dict[str, Any]:
    reply = httpx.request(method, f"{world.url}/beeflow/api{path}", headers=who.headers(), timeout=30, **more)
    assert reply.is_success, reply.text
    body: dict[str, Any] = reply.json()
    return body


def base(world: World, who: Person, **more: Any) -> str:
    made = asked(world, who, "POST", "/knowledge", json={"name": f"Contracts {next(_numbers)}", **more})
    return str(made["id"])


def file() -> dict[str, Any]:
    return {"file": ("contract.md", WORDS.format(next(_numbers)).encode(), "text/markdown")}


def added(world: World, who: Person, base_id: str) -> str:
    made = asked(world, who, "POST", f"/knowledge/{base_id}/documents", files=file(), data={"title": "Babbage"})
    return str(made["id"])


def page(world: World, who: Person, **more: Any) -> str:
    url = f"https://docs.lovelace.example/handbook/{next(_numbers)}"
    return str(asked(world, who, "POST", "/webpages", json={"url": url, **more})["id"])


def about(world: World, **more: Any) -> Call:
    """A call about a knowledge base with a document."""
    who = world.person("beeflow")
    base_id = base(world, who)
    added(world, who, base_id)
    return Call(path={"id": base_id}, who=who, **more)


# --- knowledge bases ---------------------------------------------------------------------------------------


@recipe("beeflow", "listKnowledgeBases")
def list_bases(world: World) -> Call:
    who = world.person("beeflow")
    base(world, who)
    known = base(world, who, description="What suppliers signed.")

    def check(reply: httpx.Response) -> None:
        assert [each["id"] for each in reply.json()["items"]] == [known]

    return Call(query={"q": "suppliers", "visibility": "private", "mine": "true"}, who=who, check=check)


@recipe("beeflow", "createKnowledgeBase")
def create(world: World) -> Call:
    who = world.person("beeflow")
    group = asked(world, who, "POST", "/organisation/groups", json={"name": f"Buyers {next(_numbers)}"})["id"]
    settings = {"chunkSize": 1600, "chunkOverlap": 300, "searchMode": "semantic"}
    body = {"name": "Supplier contracts", "visibility": "group", "groupIds": [group], "settings": settings}

    def check(reply: httpx.Response) -> None:
        made = reply.json()
        assert made["settings"] == {**settings, "minScore": 0}
        assert (made["groupIds"], made["status"], made["canEdit"]) == ([group], "ready", True)
        assert reply.headers["location"].endswith(f"/beeflow/api/knowledge/{made['id']}")

    return Call(json=body, who=who, check=check, once=True)


@recipe("beeflow", "getKnowledgeBase")
def get(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert (reply.json()["documentCount"], reply.json()["owner"]["displayName"]) == (1, "Ada Lovelace")

    return about(world, check=check)


@recipe("beeflow", "updateKnowledgeBase")
def update(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        made = reply.json()
        assert made["settings"] == {"chunkSize": 800, "chunkOverlap": 200, "searchMode": "keyword", "minScore": 0.2}
        assert (made["name"], made["visibility"], made["language"]) == ("Contracts", "public", "en")

    settings = {"chunkSize": 800, "searchMode": "keyword", "minScore": 0.2}
    body = {"name": "Contracts", "visibility": "public", "language": "en", "settings": settings}
    return about(world, json=body, check=check)


@recipe("beeflow", "deleteKnowledgeBase")
def delete(world: World) -> Call:
    return about(world, once=True)


@recipe("beeflow", "listKnowledgeDocuments")
def list_documents(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        [known] = reply.json()["items"]
        assert (known["title"], known["filename"], known["source"]) == ("Babbage", "contract.md", "upload")

    return about(world, query={"q": "babbage"}, check=check)


@recipe("beeflow", "addKnowledgeDocument")
def add_document(world: World) -> Call:
    who = world.person("beeflow")
    form = {"title": "Babbage", "description": "The contract.", "tags": ["contracts", "legal"]}

    def check(reply: httpx.Response) -> None:
        assert reply.json()["tags"] == ["contracts", "legal"]

    return Call(files=file(), form=form, path={"id": base(world, who)}, who=who, check=check, once=True)


@recipe("beeflow", "removeKnowledgeDocument")
def remove_document(world: World) -> Call:
    who = world.person("beeflow")
    base_id = base(world, who)
    return Call(path={"id": base_id, "docId": added(world, who, base_id)}, who=who, once=True)


@recipe("beeflow", "searchKnowledgeBase")
def search(world: World) -> Call:
    return about(world, json={"query": "Which notice period does the contract have?", "limit": 5})


@recipe("beeflow", "reindexKnowledgeBase")
def reindex(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.json()["documents"] == 1

    return about(world, check=check, once=True)


# --- webpages ------------------------------------------------------------------------------------------------


@recipe("beeflow", "listWebpages")
def list_webpages(world: World) -> Call:
    who = world.person("beeflow")
    base_id = base(world, who)
    page(world, who)
    known = page(world, who, knowledgeBaseId=base_id, tags=["leave"])

    def check(reply: httpx.Response) -> None:
        assert [each["id"] for each in reply.json()["items"]] == [known]

    return Call(query={"q": "leave", "knowledgeBaseId": base_id}, who=who, check=check)


@recipe("beeflow", "addWebpage")
def add_webpage(world: World) -> Call:
    who = world.person("beeflow")
    body = {
        "url": "https://docs.lovelace.example/handbook",
        "knowledgeBaseId": base(world, who),
        "depth": 2,
        "maxPages": 50,
        "refresh": "weekly",
    }
    return Call(json=body, who=who, once=True)


@recipe("beeflow", "getWebpage")
def get_webpage(world: World) -> Call:
    who = world.person("beeflow")
    return Call(path={"id": page(world, who)}, who=who)


@recipe("beeflow", "deleteWebpage")
def delete_webpage(world: World) -> Call:
    who = world.person("beeflow")
    return Call(path={"id": page(world, who)}, who=who, once=True)
