"""The service in FastAPI, with `def` or `async def` handlers; pydantic models in and out."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import FastAPI, Path, Query

from peers import contract, models, storage, work
from peers.models import Reason, Word

Limit = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0, le=100_000)]
Revision = Annotated[int | None, Query(ge=0, le=1_000_000)]
Expand = Annotated[Literal["none", "contact"], Query()]
Id = Annotated[UUID, Path()]


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


def _resource(app: FastAPI, resource: str, asynchronous: bool) -> None:
    Create, Update, Item, Page = models.of(resource)
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
    Create, _, Item, _ = models.of(contract.MIDDLE)

    @app.post("/v1/stored", response_model=Item, status_code=201)
    def create(body: Create) -> Any:
        return store.keep(body)


def _stored_async(app: FastAPI, store: storage.AsyncStore) -> None:
    Create, _, Item, _ = models.of(contract.MIDDLE)

    @app.post("/v1/stored", response_model=Item, status_code=201)
    async def create(body: Create) -> Any:
        return await store.keep(body)
