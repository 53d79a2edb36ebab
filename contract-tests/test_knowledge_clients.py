"""Documents, by the clients that a partner would generate: upload, poll, search, download. What each call takes and
answers are the client's own types.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from recipes import Person, World
from recipes.partner import Partner, partners

ROOT = Path(__file__).resolve().parents[1]
NAME = "operations.md"
CONTENT = (ROOT / "docs" / NAME).read_bytes()
QUESTION = "Which PostgreSQL extensions are needed?"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Reader(Partner):
    def signed_in(self, who: Person) -> Any:
        return self.holder(who.token)

    def __call__(self, operation: str, who: Any, *path: Any, status: int, **given: Any) -> Any:
        """Call `tag.operation`; what it answered, as the client's own type, once its status is the expected one."""
        reply = self.reply(operation, who, *path, **given)
        assert reply.status_code == HTTPStatus(status), reply.content
        return reply.parsed

    def file(self, name: str = NAME, content: bytes = CONTENT) -> Any:
        return super().file(name, content)


@pytest.fixture(scope="module")
def partner(reading: Any, made: Path) -> Callable[[str], Reader]:
    return partners(Reader, made, reading.url)


def polled(ask: Callable[[], Any], seconds: float = 90.0) -> Any:
    """What the client is told once the reading has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        told = ask()
        if told is not None and str(told.status) in ("completed", "failed"):
            assert str(told.status) == "completed", told
            return told
        time.sleep(0.3)
    raise AssertionError(f"it is still {told}")


def test_thallus_documents(partner: Callable[[str], Reader], world: World) -> None:
    thallus, person = partner("thallus"), world.person("thallus")
    who = thallus.signed_in(person)
    form = thallus.models.DocumentUpload(file=thallus.file(), title="Running it")
    document = thallus("documents.upload_document", who, body=form, status=201)
    assert (document.filename, document.title, document.sha256) == (
        NAME,
        "Running it",
        hashlib.sha256(CONTENT).hexdigest(),
    )
    told = polled(lambda: thallus("documents.get_document_status", who, document.id, status=200))
    assert (told.progress, told.error) == (100, None)

    question = thallus.body("DocumentQuery", {"query": QUESTION, "limit": 3})
    found = thallus("documents.query_documents", who, body=question, status=200)
    best = found.results[0]
    assert (best.document_id, "PostgreSQL" in best.text) == (document.id, True)
    assert best.citation.snippet in best.text
    chunks = thallus("documents.list_document_chunks", who, document.id, status=200)
    assert best.chunk_id in [each.id for each in chunks.items]

    assert thallus("documents.download_document", who, document.id, status=200).payload.read() == CONTENT
    part = thallus("documents.download_document", who, document.id, range_="bytes=10-29", status=206)
    assert part.payload.read() == CONTENT[10:30]

    stranger = thallus.signed_in(world.person("thallus"))
    for operation in ("get_document", "get_document_status", "download_document", "delete_document"):
        hidden = thallus(f"documents.{operation}", stranger, document.id, status=404)
        assert type(hidden).__name__ == "Error", operation
    assert thallus("documents.query_documents", stranger, body=question, status=200).results == []
    thallus("documents.delete_document", who, document.id, status=204)
    thallus("documents.download_document", who, document.id, status=404)


def test_bee_flow_knowledge_bases(partner: Callable[[str], Reader], world: World) -> None:
    beeflow, person = partner("beeflow"), world.person("beeflow")
    who = beeflow.signed_in(person)
    base = beeflow(
        "knowledge.create_knowledge_base",
        who,
        body=beeflow.body("KnowledgeBaseCreate", {"name": "Manuals"}),
        status=201,
    )
    form = beeflow.models.KnowledgeDocumentUpload(file=beeflow.file(), title="Running it", tags=["manual", "it"])
    added = beeflow("knowledge.add_knowledge_document", who, base.id, body=form, status=202)
    assert (added.filename, added.tags) == (NAME, ["manual", "it"])

    def listed() -> Any:
        page = beeflow("knowledge.list_knowledge_documents", who, base.id, status=200)
        return next((each for each in page.items if each.id == added.id), None)

    assert polled(listed).chunk_count > 1
    question = beeflow.body("KnowledgeSearch", {"query": QUESTION, "tags": ["manual"]})
    found = beeflow("knowledge.search_knowledge_base", who, base.id, body=question, status=200)
    assert (found.items[0].document_id, found.items[0].title) == (added.id, "Running it")
    assert any("PostgreSQL" in each.text for each in found.items[:3])

    stranger = beeflow.signed_in(world.person("beeflow"))
    hidden = beeflow("knowledge.search_knowledge_base", stranger, base.id, body=question, status=404)
    assert type(hidden).__name__ == "Error"
    beeflow("knowledge.remove_knowledge_document", who, base.id, added.id, status=204)
    assert beeflow("knowledge.search_knowledge_base", who, base.id, body=question, status=200).items == []


def test_starter_vector_stores(partner: Callable[[str], Reader], world: World) -> None:
    starter, person = partner("starter"), world.person("starter")
    who = starter.signed_in(person)
    wish = {"filename": NAME, "mime_type": "text/markdown", "size_bytes": len(CONTENT)}
    link = starter("storage.create_upload_url", who, body=starter.body("StoragePresignUploadRequest", wish), status=201)
    sent = httpx.request(str(link.method), link.upload_url, content=CONTENT, headers=link.headers.to_dict(), timeout=60)
    assert sent.status_code == HTTPStatus.OK, sent.text

    wish = {"name": "manuals", "expires_after": {"anchor": "last_active_at", "days": 7}}
    store = starter(
        "vector_stores.create_vector_store", who, body=starter.body("VectorStoreCreateRequest", wish), status=201
    )
    wish = {"file_id": str(link.object_id), "poll": False, "attributes": {"department": "it", "year": 2026}}
    file = starter.body("VectorStoreFileCreateRequest", wish)
    starter("vector_stores.attach_vector_store_file", who, store.id, body=file, status=201)
    name = str(link.object_id)
    told = polled(lambda: starter("vector_stores.get_vector_store_file", who, store.id, name, status=200))
    assert (told.last_error, told.attributes.to_dict()) == (None, {"department": "it", "year": 2026})

    wish = {"query": QUESTION, "filters": {"type": "eq", "key": "department", "value": "it"}}
    question = starter.body("VectorStoreSearchRequest", wish)
    found = starter("vector_stores.search_vector_store", who, store.id, body=question, status=200)
    assert (found.data[0].file_id, found.data[0].filename) == (name, NAME)
    assert "PostgreSQL" in found.data[0].content[0].text

    down = starter("storage.get_download_url", who, link.object_id, status=200)
    assert httpx.get(down.download_url, timeout=60).content == CONTENT
    stranger = starter.signed_in(world.person("starter"))
    starter("storage.get_download_url", stranger, link.object_id, status=404)
    starter("vector_stores.search_vector_store", stranger, store.id, body=question, status=404)
    starter("vector_stores.detach_vector_store_file", who, store.id, name, status=204)
    assert starter("vector_stores.search_vector_store", who, store.id, body=question, status=200).data == []
    assert isinstance(link.object_id, UUID)
