"""The service in FastAPI, with `def` or `async def` handlers; pydantic models in and out."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import FastAPI, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from peers import contract, storage, work

Name = Annotated[str, Field(min_length=1, max_length=120)]
Description = Annotated[str | None, Field(max_length=2000)]
Tag = Annotated[str, Field(min_length=1, max_length=30)]
Priority = Annotated[int, Field(ge=1, le=5)]
Amount = Annotated[int, Field(ge=0, le=1_000_000_000)]
Tags = Annotated[list[Tag], Field(max_length=10)]
Limit = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0, le=100_000)]
Revision = Annotated[int | None, Query(ge=0, le=1_000_000)]
Expand = Annotated[Literal["none", "contact"], Query()]
Id = Annotated[UUID, Path()]


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Word(Closed):
    word: Annotated[str, Field(max_length=40)]


class Reason(Closed):
    reason: Annotated[str, Field(max_length=500)]


def build(*, asynchronous: bool, database_url: str | None) -> FastAPI:
    app = FastAPI()
    for name in ("health", "version"):
        _word(app, name)
    for resource in contract.RESOURCES:
        _resource(app, resource, asynchronous)
    if database_url is not None and asynchronous:
        _stored_async(app, storage.AsyncStore(database_url))
    elif database_url is not None:
        _stored(app, storage.Store(database_url))
    return app


def _word(app: FastAPI, name: str) -> None:
    @app.get(f"/v1/{name}", response_model=Word)
    def word() -> Any:
        return {"word": name}


def _models(resource: str) -> Any:
    kind = Literal[contract.kinds(resource)]  # type: ignore[valid-type]

    class Contact(Closed):
        name: Name
        phone: Annotated[str | None, Field(max_length=30)] = None

    class Create(Closed):
        project_id: UUID
        name: Name
        description: Description = None
        kind: kind  # type: ignore[valid-type]
        priority: Priority
        amount_minor: Amount
        tags: Tags = []
        contact: Contact

    class Update(Closed):
        project_id: UUID | None = None
        name: Name | None = None
        description: Description = None
        kind: kind | None = None  # type: ignore[valid-type]
        priority: Priority | None = None
        amount_minor: Amount | None = None
        tags: Tags | None = None
        contact: Contact | None = None

    class Item(Create):
        id: UUID
        created_at: datetime

    class Page(Closed):
        items: Annotated[list[Item], Field(max_length=100)]
        total: Annotated[int, Field(ge=0)]

    return Create, Update, Item, Page


def _resource(app: FastAPI, resource: str, asynchronous: bool) -> None:
    Create, Update, Item, Page = _models(resource)
    base, one = f"/v1/{resource}", f"/v1/{resource}/{{id}}"
    if asynchronous:

        @app.get(base, response_model=Page)
        async def list_async(limit: Limit = 50, offset: Offset = 0) -> Any:
            return {"items": [], "total": 0}

        @app.post(base, response_model=Item, status_code=201)
        async def create_async(body: Create) -> Any:
            return work.created(body)

        @app.get(one, response_model=Item)
        async def get_async(id: Id, expand: Expand = "none", revision: Revision = None) -> Any:
            return work.shown(id, expand, revision)

        @app.patch(one, response_model=Item)
        async def update_async(id: Id, body: Update) -> Any:
            return work.shown(id, "none", None)

        @app.delete(one, status_code=204)
        async def delete_async(id: Id) -> None:
            return None

        @app.post(one + "/archive", response_model=Item)
        async def archive_async(id: Id, body: Reason) -> Any:
            return work.shown(id, "none", None)

        return

    @app.get(base, response_model=Page)
    def list_(limit: Limit = 50, offset: Offset = 0) -> Any:
        return {"items": [], "total": 0}

    @app.post(base, response_model=Item, status_code=201)
    def create(body: Create) -> Any:
        return work.created(body)

    @app.get(one, response_model=Item)
    def get(id: Id, expand: Expand = "none", revision: Revision = None) -> Any:
        return work.shown(id, expand, revision)

    @app.patch(one, response_model=Item)
    def update(id: Id, body: Update) -> Any:
        return work.shown(id, "none", None)

    @app.delete(one, status_code=204)
    def delete(id: Id) -> None:
        return None

    @app.post(one + "/archive", response_model=Item)
    def archive(id: Id, body: Reason) -> Any:
        return work.shown(id, "none", None)


def _stored(app: FastAPI, store: storage.Store) -> None:
    Create, _, Item, _ = _models(contract.MIDDLE)

    @app.post("/v1/stored", response_model=Item, status_code=201)
    def create(body: Create) -> Any:
        return store.keep(body)


def _stored_async(app: FastAPI, store: storage.AsyncStore) -> None:
    Create, _, Item, _ = _models(contract.MIDDLE)

    @app.post("/v1/stored", response_model=Item, status_code=201)
    async def create(body: Create) -> Any:
        return await store.keep(body)
