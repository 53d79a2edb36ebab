"""The service in Litestar with its own kind of model (msgspec structs), the quickest that it has.

Litestar does not hold an answer against its annotation, so the handlers build it with `msgspec.convert`, which does.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Litestar, delete, get, patch, post
from litestar.params import Parameter

from peers import contract, storage, work

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Description = Annotated[str, msgspec.Meta(max_length=2000)] | None
Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=30)]
Priority = Annotated[int, msgspec.Meta(ge=1, le=5)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Tags = Annotated[list[Tag], msgspec.Meta(max_length=10)]
Limit = Annotated[int, Parameter(ge=1, le=100)]
Offset = Annotated[int, Parameter(ge=0, le=100_000)]
Revision = Annotated[int | None, Parameter(ge=0, le=1_000_000)]


class Word(msgspec.Struct, forbid_unknown_fields=True):
    word: Annotated[str, msgspec.Meta(max_length=40)]


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    reason: Annotated[str, msgspec.Meta(max_length=500)]


def build(*, database_url: str | None) -> Litestar:
    handlers: list[Any] = [_word("health"), _word("version")]
    for resource in contract.RESOURCES:
        handlers += _resource(resource)
    if database_url is not None:
        handlers.append(_stored(storage.AsyncStore(database_url)))
    return Litestar(handlers, openapi_config=None, logging_config=None)


def _word(name: str) -> Any:
    @get(f"/v1/{name}")
    async def word() -> Word:
        return Word(name)

    return word


def _models(resource: str) -> Any:
    kinds = Literal[contract.kinds(resource)]  # type: ignore[valid-type]

    class Contact(msgspec.Struct, forbid_unknown_fields=True):
        name: Name
        phone: Annotated[str, msgspec.Meta(max_length=30)] | None = None

    class Create(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
        project_id: UUID
        name: Name
        description: Description = None
        kind: kinds  # type: ignore[valid-type]
        priority: Priority
        amount_minor: Amount
        tags: Tags = []
        contact: Contact

    class Update(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
        project_id: UUID | None = None
        name: Name | None = None
        description: Description = None
        kind: kinds | None = None  # type: ignore[valid-type]
        priority: Priority | None = None
        amount_minor: Amount | None = None
        tags: Tags | None = None
        contact: Contact | None = None

    class Item(Create, kw_only=True):
        id: UUID
        created_at: datetime

    class Page(msgspec.Struct, forbid_unknown_fields=True):
        items: Annotated[list[Item], msgspec.Meta(max_length=100)]
        total: Annotated[int, msgspec.Meta(ge=0)]

    return Create, Update, Item, Page


def _resource(resource: str) -> list[Any]:
    Create, Update, Item, Page = _models(resource)
    base, one = f"/v1/{resource}", f"/v1/{resource}/{{item_id:uuid}}"

    @get(base)
    async def list_(limit: Limit = 50, offset: Offset = 0) -> Page:
        return msgspec.convert({"items": [], "total": 0}, Page)

    @post(base)
    async def create(data: Create) -> Item:
        return msgspec.convert(work.created(data), Item)

    @get(one)
    async def get_(item_id: UUID, expand: Literal["none", "contact"] = "none", revision: Revision = None) -> Item:
        return msgspec.convert(work.shown(item_id, expand, revision), Item)

    @patch(one)
    async def update(item_id: UUID, data: Update) -> Item:
        return msgspec.convert(work.shown(item_id, "none", None), Item)

    @delete(one)
    async def delete_(item_id: UUID) -> None:
        return None

    @post(one + "/archive", status_code=200)
    async def archive(item_id: UUID, data: Reason) -> Item:
        return msgspec.convert(work.shown(item_id, "none", None), Item)

    return [list_, create, get_, update, delete_, archive]


def _stored(store: storage.AsyncStore) -> Any:
    Create, _, Item, _ = _models(contract.MIDDLE)

    @post("/v1/stored")
    async def create(data: Create) -> Item:
        return msgspec.convert(await store.keep(data), Item)

    return create
