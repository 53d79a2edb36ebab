"""Thallus' documents on the running platform: upload, wait, ask, get the cited passage; a killed worker."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import openpyxl
import pytest
from recipes import Person, World
from recipes.thallus_chat import answered

from domain import knowledge

ROOT = Path(__file__).parents[1]
BASE = "/thallus/api/v1/documents"


def upload(world: World, who: Person, name: str, content: bytes, **form: str) -> httpx.Response:
    return httpx.post(
        f"{world.url}{BASE}/upload",
        files={"file": (name, content, "application/octet-stream")},
        data=form,
        headers=who.headers(),
        timeout=60,
    )


def ended(world: World, who: Person, document_id: str, seconds: float = 60.0) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        told: dict[str, Any] = httpx.get(f"{world.url}{BASE}/{document_id}/status", headers=who.headers()).json()
        if told["status"] in ("completed", "failed"):
            return told
        time.sleep(0.2)
    raise AssertionError(f"the document is still {told}")


def test_what_is_uploaded_is_found_with_its_place_and_comes_back_as_it_was(reading: Any, world: World) -> None:
    who = world.person("thallus")
    content = (ROOT / "docs" / "operations.md").read_bytes()
    made = upload(world, who, "operations.md", content, title="Running it")
    assert made.status_code == 201, made.text
    document = made.json()
    assert made.headers["location"].endswith(f"{BASE}/{document['id']}")
    told = ended(world, who, document["id"])
    assert (told["status"], told["progress"], told["error"]) == ("completed", 100, None), told
    found = httpx.post(
        f"{world.url}{BASE}/query",
        json={"query": "Which PostgreSQL extensions are needed?"},
        headers=who.headers(),
        timeout=30,
    ).json()
    best = found["results"][0]
    assert found["search_type"] == "hybrid"
    assert best["document_id"] == document["id"]
    assert "PostgreSQL" in [best["text"][span["start"] : span["end"]] for span in best["highlights"]]
    assert best["citation"]["snippet"] in best["text"]
    chunks = httpx.get(f"{world.url}{BASE}/{document['id']}/chunks", headers=who.headers()).json()
    assert chunks["total"] == told["chunk_count"] > 1
    assert best["chunk_id"] in [chunk["id"] for chunk in chunks["items"]]
    part = httpx.get(f"{world.url}{BASE}/{document['id']}/download", headers=who.headers() | {"Range": "bytes=5-24"})
    assert (part.status_code, part.content) == (206, content[5:25])
    again = upload(world, who, "again.md", content)
    assert again.status_code == 409
    assert again.json()["details"]["document_id"] == document["id"]


def test_a_passage_of_a_workbook_is_shown_with_its_sheet_and_cells_wherever_it_is_cited(
    reading: Any, world: World
) -> None:
    who = world.person("thallus")
    document_id = upload(world, who, "depots.xlsx", _workbook()).json()["id"]
    assert ended(world, who, document_id)["status"] == "completed"
    chunks = httpx.get(f"{world.url}{BASE}/{document_id}/chunks", headers=who.headers()).json()["items"]
    place = {"sheet": "Depots", "cells": "A2:D4"}
    assert [{"sheet": chunk["sheet"], "cells": chunk["cells"]} for chunk in chunks] == [place]
    question = "Who is in charge of the depot in Leeds?"
    asked = {"query": question, "search_type": "text"}
    found = httpx.post(f"{world.url}{BASE}/query", json=asked, headers=who.headers(), timeout=30).json()
    cited = found["results"][0]["citation"]
    assert {"sheet": cited["sheet"], "cells": cited["cells"]} == place
    (told,) = answered(world, who, question)["citations"]
    assert (told["document_id"], told["sheet"], told["cells"], told["page"]) == (document_id, "Depots", "A2:D4", None)

    plain = upload(world, who, "opening.csv", b"Depot,Opens\nLeeds,six\nYork,seven\n").json()["id"]
    assert ended(world, who, plain)["status"] == "completed"
    (chunk,) = httpx.get(f"{world.url}{BASE}/{plain}/chunks", headers=who.headers()).json()["items"]
    assert (chunk["sheet"], chunk["cells"]) == (None, "A1:B3")


def _workbook() -> bytes:
    """A table that begins in B2 and has a remark in front of it."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Depots"
    for row in (("", "Depot", "Manager", "Places"), ("", "Leeds", "Mary Somerville", 40), ("new", "York", "", "")):
        sheet.append(row)
    sheet.insert_rows(1)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


@pytest.mark.parametrize("words", ["\x1c", "\u2028", "\x85", "\u202e"])
def test_a_question_in_which_nothing_is_left_to_read_is_a_fault_of_its_field(
    running: Any, world: World, words: str
) -> None:
    who = world.person("thallus")
    for path, body, field in (
        ("documents/query", {"query": words}, "query"),
        ("memories", {"content": words}, "content"),
        ("chat", {"message": words}, "message"),
    ):
        reply = httpx.post(f"{world.url}/thallus/api/v1/{path}", json=body, headers=who.headers(), timeout=30)
        assert (reply.status_code, reply.json()["error"]) == (422, "validation_error"), (path, reply.text)
        assert reply.json()["details"][0]["loc"] == ["body", field]


def test_a_file_that_is_not_what_it_says_is_refused_and_a_broken_one_fails_with_a_reason(
    reading: Any, world: World
) -> None:
    who = world.person("thallus")
    assert upload(world, who, "a.pdf", b"MZ\x90\x00\x03\x00\x00\x00").status_code == 415
    assert upload(world, who, "a.exe", b"words").status_code == 415
    document = upload(world, who, "broken.pdf", b"%PDF-1.7\n1 0 obj\n<<").json()
    told = ended(world, who, document["id"])
    assert (told["status"], told["error"]["code"]) == ("failed", "unreadable")
    assert "damaged" in told["error"]["message"]


def test_a_worker_that_is_killed_while_it_reads_costs_no_document(reading: Any, world: World) -> None:
    who = world.person("thallus")
    ids = [upload(world, who, f"{n}.md", f"# Part {n}\n\nWords of part {n}.".encode()).json()["id"] for n in range(6)]
    reading.kill("worker-untrusted")
    reading.start("worker-untrusted", "worker", "--queue", "untrusted")
    for document_id in ids:
        told = ended(world, who, document_id)
        assert (told["status"], told["chunk_count"]) == ("completed", 1), told


def test_a_download_of_what_the_storage_has_lost_is_an_answer_and_of_what_is_damaged_has_no_end(
    running: Any, world: World
) -> None:
    who = world.person("thallus")
    content = b"Nobody reads so much of it at once.\n" * 40_000
    known = upload(world, who, "long.txt", content).json()["id"]
    address = f"{world.url}/thallus/api/v1/documents/{known}/download"
    with world.acting(who) as ctx:
        stored = knowledge.original(ctx, UUID(known))[1]
    [blob] = world.data_dir.rglob(stored.key)

    def told() -> list[str]:
        return [line for line in running.log("api").splitlines() if str(stored.id) in line]

    blob.write_bytes(content[:-1] + b"!")
    with httpx.stream("GET", address, headers=who.headers(), timeout=30) as reply:
        assert (reply.status_code, reply.headers["content-length"]) == (200, str(len(content)))
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
            reply.read()
    [line] = told()
    assert "stored object is damaged" in line
    assert '"error"' in line
    assert httpx.get(address, headers=who.headers() | {"Range": "bytes=0-7"}).content == content[:8]

    blob.unlink()
    for headers in ({}, {"Range": "bytes=0-7"}):
        lost = httpx.get(address, headers=who.headers() | headers, timeout=30)
        assert lost.status_code == 503
        assert lost.json()["message"] == "The stored content is missing."
    assert httpx.head(address, headers=who.headers(), timeout=30).status_code == 503
    assert len(told()) == 4
    assert all("stored object is missing" in line for line in told()[1:])
    assert "Exception in ASGI" not in running.log("api")
    assert "without completing response" not in running.log("api")
