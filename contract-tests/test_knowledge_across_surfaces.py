"""One store behind three surfaces: what one adds another finds where permission allows, and nowhere else.

The same people, signed in on Thallus, Bee Flow and Starter. Each place holds a document with a word of its own, and the
tables say who finds which.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import Person, World
from recipes.starter_vector_stores import stored

from domain import knowledge

ROOT = Path(__file__).parents[1]
DOCUMENTS = "/thallus/api/v1/documents"
BASES = "/beeflow/api/knowledge"
STORES = "/starter/api/v1/vector-stores"
WORDS = {
    "thallus, hers": "marmalade",
    "thallus, the organisation's": "thunderstorm",
    "beeflow, private": "accordion",
    "beeflow, the organisation's": "lighthouse",
    "beeflow, a group's": "chandelier",
    "beeflow, public": "caterpillar",
    "starter": "windmill",
}
"""By where a document was added: the word that stands in it alone."""
SHARED = {"thallus, the organisation's", "beeflow, the organisation's", "beeflow, public", "starter"}
FINDS = {
    "ada": set(WORDS),  # who added them
    "bob": SHARED | {"beeflow, a group's"},  # a member, in the group
    "cyd": SHARED,  # a member
    "eve": SHARED,  # an administrator: what is private stays so
    "zoe": set[str](),  # somebody of another organisation
}
ROLES = {"bob": "member", "cyd": "member", "eve": "admin"}


@dataclass(frozen=True)
class Place:
    """Where a document stands: the collection, and the document as its surface calls it."""

    surface: str
    collection: str
    document: str


@dataclass
class House:
    """People by name and surface, and the documents that Ada has added."""

    world: World
    people: dict[tuple[str, str], Person]
    places: dict[str, Place]

    def ask(self, name: str, method: str, path: str, **more: Any) -> httpx.Response:
        """As this person, signed in on the surface that the path is of."""
        who = self.people[name, path.split("/")[1]]
        return httpx.request(method, f"{self.world.url}{path}", headers=who.headers(), timeout=60, **more)

    def made(self, name: str, path: str, **more: Any) -> dict[str, Any]:
        reply = self.ask(name, "POST", path, **more)
        assert reply.is_success, reply.text
        body: dict[str, Any] = reply.json()
        return body

    def thallus_finds(self, name: str, word: str, **more: Any) -> list[dict[str, Any]]:
        """Passages with the word, out of everything that this person reaches."""
        found = self.made(name, f"{DOCUMENTS}/query", json={"query": word, "search_type": "text", "limit": 20, **more})
        return [each for each in found["results"] if word in each["text"]]


def file_of(where: str) -> dict[str, tuple[str, bytes, str]]:
    word = WORDS[where]
    text = f"# Notes\n\nThe {word} stands in this document alone. Nobody else writes of the {word}.\n"
    return {"file": (f"{word}.md", text.encode(), "text/markdown")}


def until(look: Callable[[], Any], seconds: float = 90.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not come")


@pytest.fixture(scope="module")
def house(reading: Any, world: World) -> House:
    ada = world.person("thallus")
    firsts = {"ada": ada, "zoe": world.person("thallus")}
    for name, role in ROLES.items():
        firsts[name] = world.person("thallus", organisation_id=ada.organisation_id, role=role)
    for each in (ada, firsts["zoe"]):
        for surface in ("beeflow", "starter"):
            world.subscribe(each.organisation_id, surface)
    people = {
        (name, surface): world.again(replace(first, surface=surface))
        for name, first in firsts.items()
        for surface in ("thallus", "beeflow", "starter")
    }
    house = House(world, people, {})

    hers = house.made("ada", f"{DOCUMENTS}/upload", files=file_of("thallus, hers"))
    house.places["thallus, hers"] = Place("thallus", hers["collection_id"], hers["id"])
    shared = house.made("ada", f"{DOCUMENTS}/admin/collections", json={"name": "Everybody's"})["id"]
    ours = house.made(
        "ada", f"{DOCUMENTS}/admin/upload", files=file_of("thallus, the organisation's"), data={"collection_id": shared}
    )
    house.places["thallus, the organisation's"] = Place("thallus", shared, ours["id"])

    group = house.made("ada", "/beeflow/api/organisation/groups", json={"name": "Readers"})["id"]
    member = {"userId": str(firsts["bob"].account_id)}
    assert house.ask("ada", "POST", f"/beeflow/api/organisation/groups/{group}/members", json=member).is_success
    visible: dict[str, dict[str, Any]] = {
        "beeflow, private": {"visibility": "private"},
        "beeflow, the organisation's": {"visibility": "organisation"},
        "beeflow, a group's": {"visibility": "group", "groupIds": [group]},
        "beeflow, public": {"visibility": "public"},
    }
    for where, how in visible.items():
        base = house.made("ada", BASES, json={"name": where, **how})["id"]
        added = house.made("ada", f"{BASES}/{base}/documents", files=file_of(where))
        house.places[where] = Place("beeflow", base, added["id"])

    store = house.made("ada", STORES, json={"name": f"store-{uuid4().hex}"})["id"]
    name, content, media_type = file_of("starter")["file"]
    object_id = stored(world, people["ada", "starter"], content, name, media_type)
    house.made("ada", f"{STORES}/{store}/files", json={"file_id": object_id, "poll": False})
    house.places["starter"] = Place("starter", store, object_id)
    assert house.places.keys() == WORDS.keys()
    for where, word in WORDS.items():
        until(lambda word=word: house.thallus_finds("ada", word)), where  # type: ignore[misc]
    return house


@pytest.mark.parametrize("name", FINDS)
def test_thallus_finds_what_every_surface_added_where_permission_allows(house: House, name: str) -> None:
    found = {where for where, word in WORDS.items() if house.thallus_finds(name, word)}
    assert found == FINDS[name]


@pytest.mark.parametrize("name", FINDS)
def test_what_is_found_can_be_opened_and_what_is_not_is_not_there(house: House, name: str) -> None:
    """The place that a citation names: the document, its passages and its bytes; all of them, or none."""
    for where, word in WORDS.items():
        [known] = {each["document_id"] for each in house.thallus_finds("ada", word)}
        wanted = 200 if where in FINDS[name] else 404
        for path in ("", "/status", "/chunks", "/download"):
            reply = house.ask(name, "GET", f"{DOCUMENTS}/{known}{path}")
            assert reply.status_code == wanted, (where, path, reply.text)
        if wanted == 200:
            assert reply.content == file_of(where)["file"][1]
        narrowed = house.ask(name, "POST", f"{DOCUMENTS}/query", json={"query": word, "document_ids": [known]})
        assert narrowed.status_code == wanted, (where, narrowed.text)
        within = {"query": word, "collection_ids": [house.places[where].collection]}
        assert house.ask(name, "POST", f"{DOCUMENTS}/query", json=within).status_code == wanted, where


@pytest.mark.parametrize("name", FINDS)
def test_a_knowledge_base_answers_those_who_may_see_it_with_what_stands_in_it(house: House, name: str) -> None:
    for where, place in house.places.items():
        for asked, word in WORDS.items():
            reply = house.ask(
                name, "POST", f"{BASES}/{place.collection}/search", json={"query": word, "mode": "keyword"}
            )
            guest = name == "zoe" and where == "beeflow, public"  # what is public is for other organisations too
            if place.surface != "beeflow" or not (where in FINDS[name] or guest):
                assert reply.status_code == 404, (where, asked, reply.text)
                break
            assert reply.status_code == 200, reply.text
            found = [each for each in reply.json()["items"] if word in each["text"]]
            assert bool(found) == (asked == where), (where, asked)
            assert {each["documentId"] for each in found} <= {place.document}


@pytest.mark.parametrize("name", FINDS)
def test_a_vector_store_answers_its_tenant_with_what_stands_in_it(house: House, name: str) -> None:
    for where, place in house.places.items():
        for asked, word in WORDS.items():
            reply = house.ask(name, "POST", f"{STORES}/{place.collection}/search", json={"query": word})
            if where != "starter" or name == "zoe":
                assert reply.status_code == 404, (where, asked, reply.text)
                break
            assert reply.status_code == 200, reply.text
            found = [each for each in reply.json()["data"] if word in each["content"][0]["text"]]
            assert bool(found) == (asked == where), (where, asked)
            assert {each["file_id"] for each in found} <= {place.document}


KINDS: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "html": ("text/html", lambda word: f"<html><body><p>The {word} stands in a page.</p></body></html>".encode()),
    "eml": (
        "message/rfc822",
        lambda word: f"From: a@example.org\r\nTo: b@example.org\r\nSubject: News\r\n\r\nOf the {word}.\r\n".encode(),
    ),
    "odt": ("application/vnd.oasis.opendocument.text", lambda word: odt(word)),
    "pptx": ("application/vnd.openxmlformats-officedocument.presentationml.presentation", lambda word: pptx(word)),
    "json": ("application/json", lambda word: f'{{"name": "the {word}"}}'.encode()),
}
"""Kinds of file that Thallus does not take: their media types, and how a file with a word in it is made."""


def odt(word: str) -> bytes:
    names = "urn:oasis:names:tc:opendocument:xmlns"
    text = (
        f'<office:document-content xmlns:office="{names}:office:1.0" xmlns:text="{names}:text:1.0"><office:body>'
        f"<office:text><text:p>The {word} stands in a text.</text:p></office:text></office:body>"
        "</office:document-content>"
    )
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as archive:
        archive.writestr("mimetype", KINDS["odt"][0])
        archive.writestr("content.xml", text)
    return kept.getvalue()


def pptx(word: str) -> bytes:
    from pptx import Presentation

    slides = Presentation()
    slides.slides.add_slide(slides.slide_layouts[1]).shapes.title.text = f"The {word} stands on a slide"
    kept = io.BytesIO()
    slides.save(kept)
    return kept.getvalue()


def test_thallus_names_every_kind_of_file_that_can_be_found() -> None:
    bundle = json.loads((ROOT / "generated/thallus/bundle.json").read_bytes())
    assert set(bundle["components"]["schemas"]["DocumentFileType"]["enum"]) == set(knowledge.KINDS)
    types = bundle["paths"]["/api/v1/documents/{document_id}/download"]["get"]["responses"]
    for status in ("200", "206"):
        assert set(types[status]["content"]) == {kind.media_type for kind in knowledge.KINDS.values()}


@pytest.mark.parametrize("kind", KINDS)
def test_thallus_finds_and_shows_files_of_kinds_that_only_other_surfaces_take(house: House, kind: str) -> None:
    media_type, made = KINDS[kind]
    word = f"zeppelin{kind}"
    content = made(word)
    if kind == "json":  # a vector store's alone
        place = house.places["starter"]
        object_id = stored(house.world, house.people["ada", "starter"], content, "file.json", media_type)
        house.made("ada", f"{STORES}/{place.collection}/files", json={"file_id": object_id, "poll": False})
    else:
        place = house.places["beeflow, the organisation's"]
        upload = {"file": (f"file.{kind}", content, media_type)}
        house.made("ada", f"{BASES}/{place.collection}/documents", files=upload)
    [match] = until(lambda: house.thallus_finds("ada", word))
    assert (match["filename"], match["citation"]["kind"]) == (f"file.{kind}", "document")
    assert [each["document_id"] for each in house.thallus_finds("ada", word, file_types=[kind])] == [
        match["document_id"]
    ]
    assert house.thallus_finds("ada", word, file_types=["pdf", "md"]) == []
    path = f"{DOCUMENTS}/{match['document_id']}"
    for name in ("ada", "cyd"):
        shown = house.ask(name, "GET", path)
        assert shown.status_code == 200, shown.text
        assert (shown.json()["file_type"], shown.json()["media_type"]) == (kind, media_type)
        assert house.ask(name, "GET", f"{path}/status").json()["status"] == "completed"
        assert word in house.ask(name, "GET", f"{path}/chunks").json()["items"][0]["text"]
        download = house.ask(name, "GET", f"{path}/download")
        assert (download.content, download.headers["content-type"].split(";")[0]) == (content, media_type)
        assert download.headers["content-disposition"].startswith("attachment")
    assert house.ask("zoe", "GET", path).status_code == 404
    moved = house.ask("ada", "PUT", f"{path}/move", json={"collection_id": None})
    assert moved.status_code == (403 if kind == "json" else 409), moved.text
    refused = house.ask("ada", "POST", f"{DOCUMENTS}/upload", files={"file": (f"file.{kind}", content, media_type)})
    assert refused.status_code == 415, "what Thallus takes itself is its own list"
    assert house.ask("cyd", "DELETE", path).status_code == 403
    if kind == "json":  # vector stores are changed on Starter alone
        path = f"{STORES}/{house.places['starter'].collection}/files/{object_id}"
    assert house.ask("ada", "DELETE", path).status_code == 204
    assert house.thallus_finds("ada", word) == []


CHANGES: dict[str, tuple[str, Callable[[Place], str], dict[str, Any]]] = {
    "rename": ("PATCH", lambda place: f"{BASES}/{place.collection}", {"json": {"name": "Mine"}}),
    "remove": ("DELETE", lambda place: f"{BASES}/{place.collection}/documents/{place.document}", {}),
    "delete": ("DELETE", lambda place: f"{DOCUMENTS}/{place.document}", {}),
    "detach": ("DELETE", lambda place: f"{STORES}/{place.collection}/files/{place.document}", {}),
}


@pytest.mark.parametrize("name", ["bob", "cyd", "zoe"])
@pytest.mark.parametrize("how", CHANGES)
def test_who_may_find_a_document_may_not_change_it_through_another_surface(house: House, name: str, how: str) -> None:
    method, path, more = CHANGES[how]
    for where, place in house.places.items():
        reply = house.ask(name, method, path(place), **more)
        assert reply.status_code in (403, 404), (where, reply.status_code, reply.text)
    for where, word in WORDS.items():
        assert house.thallus_finds("ada", word), where


def test_what_one_surface_takes_away_no_other_finds_any_more(house: House) -> None:
    """The last of this file: it takes everything away."""
    for where, place in house.places.items():
        word = WORDS[where]
        [known] = {each["document_id"] for each in house.thallus_finds("ada", word)}
        path = {
            "thallus": f"{DOCUMENTS}/{place.document}",
            "beeflow": f"{BASES}/{place.collection}/documents/{place.document}",
            "starter": f"{STORES}/{place.collection}/files/{place.document}",
        }[place.surface]
        assert house.ask("ada", "DELETE", path).status_code == 204, where
        assert house.thallus_finds("ada", word) == [], where
        assert house.ask("ada", "GET", f"{DOCUMENTS}/{known}").status_code == 404, where
