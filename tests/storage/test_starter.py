"""Starter's four operations, as its handlers answer them to a caller in a tenant."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from openapi_schema_validator import OAS30Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from domain import conversations, storage
from domain.kernel.context import ApiKeyActor
from domain.kernel.errors import Invalid, NotFound, PaymentRequired
from domain.kernel.pages import OffsetPage
from generated.starter import requests
from handlers.starter import storage as operations

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = json.loads((ROOT / "generated/starter/bundle.json").read_bytes())
REGISTRY = Registry().with_resource("urn:starter", DRAFT4.create_resource(DOCUMENT))
TEXT = b"the contract\n" * 30


def fits(schema: str, body: Any) -> None:
    reference = {"$ref": f"urn:starter#/components/schemas/{schema}"}
    errors = [e.message for e in OAS30Validator(reference, registry=REGISTRY).iter_errors(body)]
    assert errors == []


def ask(world: Any, **wishes: Any) -> tuple[dict[str, Any], str]:
    """Announce a file: the body, and the `Location`."""
    given = {"filename": "acme-2026.txt", "mime_type": "text/plain", "size_bytes": len(TEXT), **wishes}
    with world.context(surface="starter") as ctx:
        reply = operations.create_upload_url(ctx, requests.StoragePresignUploadRequest(**given))
    fits("StoragePresignUploadResponse", reply.body)
    return reply.body, reply.headers["Location"]


def arrive(world: Any, object_id: Any) -> None:
    """The bytes come, as the route or the store takes them."""
    with world.context() as ctx:
        receiving = storage.receive(ctx, storage.Claim(storage.UPLOAD, world.organisation_id, object_id))
    receiving.take(TEXT)
    staged = receiving.whole()
    with world.context() as ctx:
        storage.received(ctx, receiving, staged)


def spoken(world: Any, tenant: UUID | None = None, surface: str = "starter", agent: str = "triage") -> UUID:
    """A conversation with an agent."""
    somebody, tenant = ApiKeyActor(uuid4(), None), tenant or world.organisation_id
    with world.database.context(somebody, tenant, surface=surface) as ctx:
        return conversations.create_conversation(ctx, agent=agent).id


def listed(world: Any, **more: Any) -> dict[str, Any]:
    with world.context() as ctx:
        page: Any = operations.list_objects(ctx, more.pop("page", OffsetPage(20, 0)), **more)
    fits("StorageObjectListResponse", page)
    return page  # type: ignore[no-any-return]


def test_from_announcement_to_deletion(folder: Any) -> None:
    conversation = spoken(folder)
    body, location = ask(folder, conversation_id=conversation, agent_key="data_analyst", metadata={"team": "growth"})
    assert (body["method"], body["expires_in_seconds"]) == ("PUT", 900)
    assert body["headers"] == {"Content-Type": "text/plain"}
    assert body["object_key"] == f"{folder.organisation_id}/{body['object_id']}"
    assert location == f"{body['object_id']}/download-url"
    [item] = listed(folder)["items"]
    assert (item["status"], item["filename"], item["agent_key"]) == ("pending_upload", "acme-2026.txt", "data_analyst")
    with folder.context() as ctx, pytest.raises(NotFound):
        operations.get_download_url(ctx, storage_id(body))
    arrive(folder, storage_id(body))
    [item] = listed(folder, conversation_id=conversation)["items"]
    assert (item["status"], item["size_bytes"], item["conversation_id"]) == ("ready", len(TEXT), str(conversation))
    assert listed(folder, conversation_id=uuid4())["items"] == []
    with folder.context() as ctx:
        link: Any = operations.get_download_url(ctx, storage_id(body))
    fits("StoragePresignDownloadResponse", link)
    assert (link["object_id"], link["method"]) == (body["object_id"], "GET")
    with folder.context() as ctx:
        operations.delete_object(ctx, storage_id(body))
    assert listed(folder)["items"] == []
    with folder.context() as ctx:
        for operation in (operations.get_download_url, operations.delete_object):
            with pytest.raises(NotFound):
                operation(ctx, storage_id(body))


def storage_id(body: dict[str, Any]) -> Any:
    return UUID(body["object_id"])


def test_pages_lead_on_until_the_last(folder: Any) -> None:
    for number in range(5):
        ask(folder, filename=f"{number}.txt")
    first = listed(folder, page=OffsetPage(2, 0))
    assert ([i["filename"] for i in first["items"]], first["next_offset"]) == (["4.txt", "3.txt"], 2)
    last = listed(folder, page=OffsetPage(2, 4))
    assert ([i["filename"] for i in last["items"]], last["next_offset"]) == (["0.txt"], None)


def test_more_than_512_mib_and_unknown_types_are_broken_requests(folder: Any) -> None:
    for wrong in ({"size_bytes": (512 << 20) + 1}, {"mime_type": "application/x-msdownload"}):
        with pytest.raises(Invalid):
            ask(folder, **wrong)
    ask(folder, size_bytes=512 << 20)


def test_a_file_is_for_a_conversation_of_the_tenant_and_an_agent_that_there_is(folder: Any) -> None:
    stranger, elsewhere = spoken(folder, folder.found()), spoken(folder, surface="thallus", agent="assistant")
    for unknown in (uuid4(), stranger, elsewhere):
        with pytest.raises(NotFound):
            ask(folder, conversation_id=unknown)
    for key in ("nobody", "assistant"):
        with pytest.raises(NotFound):
            ask(folder, agent_key=key)
    assert listed(folder)["items"] == []


def test_a_full_tenant_is_told_so(folder: Any) -> None:
    with folder.context() as ctx:
        storage.set_quota(ctx, 100)
    with pytest.raises(PaymentRequired):
        ask(folder)


def test_what_other_contexts_keep_is_not_among_the_objects(folder: Any) -> None:
    with folder.context() as ctx:
        private = storage.put(ctx, io.BytesIO(TEXT), name="private.txt", purpose="document")
    assert listed(folder)["items"] == []
    with folder.context() as ctx:
        for operation in (operations.get_download_url, operations.delete_object):
            with pytest.raises(NotFound):
                operation(ctx, private.id)


def test_on_s3_the_address_is_the_stores_own(bucket: Any) -> None:
    body, _ = ask(bucket)
    assert "X-Amz-Signature" in body["upload_url"]
    assert body["headers"]["Content-Length"] == str(len(TEXT))
    assert body["bucket"] == bucket.store.bucket
