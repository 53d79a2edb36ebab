"""Starter: vector stores and their files, which are uploaded by signed addresses first."""

from __future__ import annotations

import itertools
from typing import Any

import httpx

from recipes.world import Call, Person, World, recipe

_numbers = itertools.count(1)
WORDS = "Contract {}. Either party may terminate this contract with ninety days notice."


def asked(world: World, who: Person, method: str, path: str, **more: Any) -> dict[str, Any]:
    reply = httpx.request(method, f"{world.url}/starter/api/v1{path}", headers=who.headers(), timeout=40, **more)
    assert reply.is_success, reply.text
    body: dict[str, Any] = reply.json()
    return body


def store(world: World, who: Person, **more: Any) -> str:
    return str(asked(world, who, "POST", "/vector-stores", json={"name": f"store-{next(_numbers)}", **more})["id"])


def stored(
    world: World, who: Person, content: bytes = b"", name: str = "contract.txt", media_type: str = "text/plain"
) -> str:
    """The id of an object in the storage."""
    content = content or WORDS.format(next(_numbers)).encode()
    wanted = {"filename": name, "mime_type": media_type, "size_bytes": len(content)}
    link = asked(world, who, "POST", "/storage/objects/upload-url", json=wanted)
    sent = httpx.put(link["upload_url"], content=content, headers=link["headers"], timeout=30)
    assert sent.is_success, sent.text
    return str(link["object_id"])


def attached(world: World, who: Person, store_id: str, file_id: str, **more: Any) -> dict[str, Any]:
    body = {"file_id": file_id, "poll": False, **more}
    return asked(world, who, "POST", f"/vector-stores/{store_id}/files", json=body)


def about(world: World, *, named: bool = False, **more: Any) -> Call:
    """A call about a store with a file, and with `named` about the file."""
    who = world.person("starter")
    store_id, file_id = store(world, who), stored(world, who)
    attached(world, who, store_id, file_id)
    path = {"vector_store_id": store_id} | ({"file_id": file_id} if named else {})
    return Call(path=path, who=who, **more)


@recipe("starter", "createVectorStore")
def create(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        made = reply.json()
        assert (made["status"], made["usage_bytes"], made["metadata"]) == ("ready", 0, {"team": "legal"})
        assert made["expires_after"] == {"anchor": "last_active_at", "days": 30}
        assert made["expires_at"] > made["last_active_at"]
        assert reply.headers["location"].endswith(f"/starter/api/v1/vector-stores/{made['id']}")

    body = {
        "name": "contracts-2026",
        "description": "Signed supplier contracts",
        "expires_after": {"anchor": "last_active_at", "days": 30},
        "metadata": {"team": "legal"},
    }
    return Call(json=body, check=check, once=True)


@recipe("starter", "listVectorStores")
def list_stores(world: World) -> Call:
    who = world.person("starter")
    first, second = store(world, who), store(world, who)

    def check(reply: httpx.Response) -> None:
        assert [each["id"] for each in reply.json()["items"]] == [second, first]

    return Call(who=who, check=check)


@recipe("starter", "getVectorStore")
def get(world: World) -> Call:
    return about(world)


@recipe("starter", "deleteVectorStore")
def delete(world: World) -> Call:
    return about(world, once=True)


@recipe("starter", "attachVectorStoreFile")
def attach(world: World) -> Call:
    who = world.person("starter")
    attributes = {"department": "legal", "year": 2026, "signed": True, "share": 0.5}
    sizes = {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}
    body = {"file_id": stored(world, who), "attributes": attributes, "chunking_strategy": sizes, "poll": False}

    def check(reply: httpx.Response) -> None:
        made = reply.json()
        assert (made["attributes"], made["chunking_strategy"]) == (attributes, sizes)
        assert made["status"] == "in_progress"

    return Call(json=body, path={"vector_store_id": store(world, who)}, who=who, check=check, once=True)


@recipe("starter", "listVectorStoreFiles")
def list_files(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.json()["total"] == 1

    return about(world, check=check)


@recipe("starter", "getVectorStoreFile")
def get_file(world: World) -> Call:
    return about(world, named=True)


@recipe("starter", "detachVectorStoreFile")
def detach(world: World) -> Call:
    return about(world, named=True, once=True)


@recipe("starter", "searchVectorStore")
def search(world: World) -> Call:
    body = {
        "query": "termination notice period",
        "filters": {"type": "and", "filters": [{"type": "eq", "key": "department", "value": "legal"}]},
        "max_num_results": 5,
        "ranking_options": {"ranker": "auto", "score_threshold": 0.3},
    }
    return about(world, json=body)
