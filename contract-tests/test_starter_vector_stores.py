"""Starter's vector stores on the running platform: attach, wait, search by attributes, detach; what is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from recipes import Person, World
from recipes.starter_vector_stores import store, stored
from sqlalchemy import update

from domain import knowledge
from domain.knowledge.models import Collection

ROOT = Path(__file__).parents[1]
QUESTION = "Which PostgreSQL extensions are needed?"


def ask(world: World, who: Person, method: str, path: str, **more: Any) -> httpx.Response:
    headers = who.headers() | more.pop("headers", {})
    url = f"{world.url}/starter/api/v1/vector-stores{path}"
    return httpx.request(method, url, headers=headers, timeout=60, **more)


def attach(world: World, who: Person, store_id: str, file_id: str, **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    return ask(world, who, "POST", f"/{store_id}/files", json={"file_id": file_id, **more}, headers=headers)


def found(world: World, who: Person, store_id: str, query: str = QUESTION, **more: Any) -> list[dict[str, Any]]:
    reply = ask(world, who, "POST", f"/{store_id}/search", json={"query": query, **more})
    assert reply.status_code == 200, reply.text
    data: list[dict[str, Any]] = reply.json()["data"]
    return data


def document(world: World, who: Person, name: str) -> str:
    return stored(world, who, (ROOT / name).read_bytes(), Path(name).name)


def test_a_file_is_attached_found_by_meaning_and_attributes_and_detached(reading: Any, world: World) -> None:
    who = world.person("starter")
    store_id = store(world, who)
    manual, licence = document(world, who, "docs/operations.md"), document(world, who, "LICENSE")
    sizes = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}
    made = attach(world, who, store_id, manual, attributes={"department": "it", "year": 2026, "current": True})
    assert (made.status_code, made.json()["status"], made.json()["last_error"]) == (201, "completed", None), made.text
    assert made.headers["location"].endswith(f"/{store_id}/files/{manual}")
    assert made.json()["usage_bytes"] > 0
    assert attach(world, who, store_id, manual).status_code == 409
    other = attach(world, who, store_id, licence, attributes={"department": "legal"}, chunking_strategy=sizes).json()
    assert (other["status"], other["chunking_strategy"]) == ("completed", sizes)

    best = found(world, who, store_id)[0]
    assert (best["file_id"], best["filename"]) == (manual, "operations.md")
    assert best["attributes"] == {"department": "it", "year": 2026, "current": True}
    assert "PostgreSQL" in best["content"][0]["text"]
    assert found(world, who, store_id, ranking_options={"ranker": "none"})[0]["file_id"] == manual
    assert len(found(world, who, store_id, max_num_results=1)) == 1
    assert found(world, who, store_id, "words that stand nowhere", ranking_options={"score_threshold": 0.99}) == []

    def files(kind: str, key: str, value: Any) -> set[str]:
        wanted = {"type": kind, "key": key, "value": value}
        return {each["file_id"] for each in found(world, who, store_id, "licence of the software", filters=wanted)}

    assert files("eq", "department", "legal") == {licence}
    assert files("ne", "department", "legal") == {manual}
    assert files("in", "department", ["it", "sales"]) == {manual}
    assert files("nin", "department", ["it"]) == {licence}
    assert files("gte", "year", 2026) == {manual}
    assert files("gt", "year", 2026) == set()
    assert files("eq", "current", True) == {manual}
    assert files("eq", "year", "2026") == set()
    either = {
        "type": "or",
        "filters": [
            {"type": "eq", "key": "department", "value": "legal"},
            {"type": "lt", "key": "year", "value": 2000},
        ],
    }
    assert {each["file_id"] for each in found(world, who, store_id, filters=either)} == {licence}
    nested = {"type": "and", "filters": [either, {"type": "ne", "key": "department", "value": "sales"}]}
    assert {each["file_id"] for each in found(world, who, store_id, filters=nested)} == {licence}

    def deep(levels: int) -> dict[str, Any]:
        return {"type": "or", "filters": [deep(levels - 1)]} if levels else nested

    assert {each["file_id"] for each in found(world, who, store_id, filters=deep(6))} == {licence}
    for levels in (7, 90):
        refused = ask(world, who, "POST", f"/{store_id}/search", json={"query": QUESTION, "filters": deep(levels)})
        assert refused.status_code == 400, refused.text

    viewer = world.person("starter", organisation_id=who.organisation_id, role="viewer")
    assert found(world, viewer, store_id)[0]["file_id"] == manual
    assert attach(world, viewer, store_id, manual).status_code == 403
    stranger = world.person("starter")
    assert ask(world, stranger, "POST", f"/{store_id}/search", json={"query": QUESTION}).status_code == 404
    assert ask(world, stranger, "GET", f"/{store_id}/files/{manual}").status_code == 404
    assert attach(world, stranger, store(world, stranger), manual).status_code == 404

    told = ask(world, who, "GET", f"/{store_id}").json()
    assert (told["status"], told["usage_bytes"]) == ("ready", made.json()["usage_bytes"] + other["usage_bytes"])
    listed = ask(world, who, "GET", f"/{store_id}/files", params={"status": "completed"}).json()
    assert [each["openai_file_id"] for each in listed["items"]] == [licence, manual]
    assert ask(world, who, "DELETE", f"/{store_id}/files/{manual}").status_code == 204
    assert manual not in [each["file_id"] for each in found(world, who, store_id)]
    assert ask(world, who, "GET", f"/{store_id}/files/{manual}").status_code == 404
    assert attach(world, who, store_id, manual).json()["status"] == "completed", "the file itself stays"
    assert ask(world, who, "DELETE", f"/{store_id}").status_code == 204
    assert ask(world, who, "GET", f"/{store_id}").status_code == 404
    down = httpx.get(f"{world.url}/starter/api/v1/storage/objects/{manual}/download-url", headers=who.headers())
    assert down.status_code == 200


def test_the_same_key_waits_for_the_same_reading_and_attaches_once(reading: Any, world: World) -> None:
    who = world.person("starter")
    store_id, file_id = store(world, who), stored(world, who)
    key = {"Idempotency-Key": str(uuid4())}
    first = attach(world, who, store_id, file_id, headers=key)
    again = attach(world, who, store_id, file_id, headers=key)
    assert (first.status_code, first.json()["status"]) == (201, "completed")
    assert (again.status_code, again.json(), again.headers["location"]) == (
        201,
        first.json(),
        first.headers["location"],
    )
    assert attach(world, who, store_id, file_id, headers=key, poll=False).status_code == 422
    assert ask(world, who, "GET", f"/{store_id}/files").json()["total"] == 1


def test_a_file_that_cannot_be_read_fails_with_a_reason(reading: Any, world: World) -> None:
    who = world.person("starter")
    store_id = store(world, who)
    broken = stored(world, who, b"%PDF-1.7\n1 0 obj\n<<", "broken.pdf", "application/pdf")
    told = attach(world, who, store_id, broken).json()
    assert told["status"] == "failed"
    assert "damaged" in told["last_error"]
    assert ask(world, who, "GET", f"/{store_id}").json()["status"] == "error"
    assert found(world, who, store_id) == []


def test_a_store_that_nobody_uses_expires_and_holds_nothing_any_more(reading: Any, world: World) -> None:
    who = world.person("starter")
    store_id = store(world, who, expires_after={"anchor": "last_active_at", "days": 1})
    file_id = document(world, who, "docs/operations.md")
    assert attach(world, who, store_id, file_id).json()["status"] == "completed"
    with world.platform() as ctx:
        past = ctx.now() - timedelta(minutes=1)
        ctx.session.execute(update(Collection).where(Collection.id == UUID(store_id)).values(expires_at=past))
        knowledge.upkeep.expire(ctx)
    told = ask(world, who, "GET", f"/{store_id}").json()
    assert (told["status"], told["expires_at"]) == ("expired", None)
    assert found(world, who, store_id) == []
    assert attach(world, who, store_id, file_id).status_code == 404


def test_what_is_refused_and_how(running: Any, world: World) -> None:
    who = world.person("starter")
    store_id, file_id = store(world, who, name="one"), stored(world, who)
    sizes = {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 401}
    for strategy in ({"type": "static"}, {"type": "auto", "static": sizes}, {"type": "static", "static": sizes}):
        assert attach(world, who, store_id, file_id, chunking_strategy=strategy).status_code == 422, strategy
    for unknown in (str(UUID(int=7)), "file-9aB3xK"):
        assert attach(world, who, store_id, unknown).status_code == 404
        assert ask(world, who, "GET", f"/{store_id}/files/{unknown}").status_code == 404
    taken = ask(world, who, "POST", "", json={"name": "One"})
    assert (taken.status_code, taken.json()["details"]["code"]) == (409, "name_taken")
    for number in range(9):
        store(world, who, name=f"more-{number}")
    full = ask(world, who, "POST", "", json={"name": "eleventh"})
    assert (full.status_code, full.json()["details"]["limit"]) == (403, "10")
    assert ask(world, who, "GET", "", params={"limit": 3}).json()["total"] == 10
