"""The service behind this edge: assembled as an API process is, on an application of a few lines.

Handlers get generated-style pydantic models and answer wire shapes (strings for ids and times), as real ones do.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from connexion.resolver import Resolution, Resolver
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

import domain.identity  # noqa: F401 - its organisation table is what owned rows point at
from domain.kernel.context import AnonymousActor, Ctx
from domain.kernel.db import Base, Database, Identified, OrganisationOwned
from peers import contract, models, storage, work
from thalweg.edge.exchange import Services
from thalweg.edge.flaskhost import FlaskHost, HostFlask
from thalweg.edge.guard import Cors
from thalweg.edge.limits import Limits
from thalweg.edge.observe import Observer
from thalweg.edge.plan import Surface
from thalweg.edge.pool import Pool
from thalweg.edge.schema import Compiler
from thalweg.edge.security import Authenticator
from thalweg.edge.serve import Document, assemble, quiet_heap
from thalweg.edge.sse import StreamOptions
from thalweg.edge.tails import Tails
from thalweg.naming import snake_case

THREADS = 16  # the default of `api_threads`


class BenchProject(Base, Identified, OrganisationOwned):
    __tablename__ = "bench_project"
    name: Mapped[str]


class BenchItem(Base, Identified, OrganisationOwned):
    __tablename__ = "bench_item"
    project_id: Mapped[UUID]
    name: Mapped[str]
    description: Mapped[str | None]
    kind: Mapped[str]
    priority: Mapped[int]
    amount_minor: Mapped[int]
    tags: Mapped[list[Any]] = mapped_column(JSONB)
    contact: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


@dataclass(slots=True)
class Anyone:
    key: str
    organisation_id: UUID | None = work.ORGANISATION
    permissions: frozenset[str] = frozenset()

    @property
    def user_key(self) -> str:
        return self.key


class Platform:
    """Implements what these operations need of `thalweg.edge.application.Application`."""

    errors: tuple[type[Exception], ...] = ()
    idempotency: Any = None

    def __init__(self, database_url: str | None) -> None:
        self.database = None if database_url is None else Database(database_url, **storage.POOL)

    def anonymous(self, facts: Any) -> Anyone:
        return Anyone(f"address:{facts.address}")

    def transaction(self, caller: Any, facts: Any) -> Any:
        if self.database is None:
            return nullcontext()
        return self.database.context(
            AnonymousActor(facts.address),
            caller.organisation_id,
            request_id=facts.request_id,
            address=facts.address,
            user_agent=facts.user_agent,
            surface=facts.surface,
        )


def wire(item: dict[str, Any]) -> dict[str, Any]:
    return {
        **item,
        "id": str(item["id"]),
        "project_id": str(item["project_id"]),
        "created_at": item["created_at"].isoformat().replace("+00:00", "Z"),
    }


class Handlers:
    """By the first word of the operation id."""

    @staticmethod
    def list(ctx: Any, limit: int, offset: int) -> Any:
        return {"items": [], "total": 0}

    @staticmethod
    def create(ctx: Any, body: Any) -> Any:
        return wire(work.created(body))

    @staticmethod
    def get(ctx: Any, id: UUID, expand: str, revision: int | None) -> Any:
        return wire(work.shown(id, expand, revision))

    @staticmethod
    def update(ctx: Any, id: UUID, body: Any) -> Any:
        return wire(work.shown(id, "none", None))

    @staticmethod
    def delete(ctx: Any, id: UUID) -> None:
        return None

    @staticmethod
    def archive(ctx: Any, id: UUID, body: Any) -> Any:
        return wire(work.shown(id, "none", None))

    @staticmethod
    def word(ctx: Any) -> Any:
        return {"word": "fine"}

    @staticmethod
    def store(ctx: Ctx, body: Any) -> Any:
        project = ctx.session.scalars(select(BenchProject).where(BenchProject.id == body.project_id)).one()
        item = work.created(body)
        ctx.session.add(BenchItem(**{**item, "project_id": project.id}))
        return wire(item)


class ByVerb(Resolver):  # type: ignore[misc]
    def resolve(self, operation: Any) -> Resolution:
        verb = snake_case(operation.operation_id).partition("_")[0]
        word = operation.operation_id in ("getHealth", "getVersion")
        return Resolution(getattr(Handlers, "word" if word else verb), operation.operation_id)


class Envelope:
    @staticmethod
    def status(problem: Any) -> int:
        status: int = problem.status
        return status

    @staticmethod
    def body(problem: Any, request_id: str) -> dict[str, Any]:
        return {"error": problem.code, "message": problem.message}


class Application:
    """The ASGI application with a lifespan that does what an API process does when it has started."""

    def __init__(self, *, database_url: str | None, access_log: bool) -> None:
        platform: Any = Platform(database_url)
        self.pool = Pool(THREADS)
        redis_url = "redis://127.0.0.1:1/0"  # no operation here has a limit or a stream: never spoken to
        self.services = Services(
            application=platform,
            pool=self.pool,
            host=FlaskHost(HostFlask("bench"), self.pool),
            authenticator=Authenticator(platform, self.pool),
            limits=Limits(redis_url, {}),
            streams=Tails(redis_url, self.pool, StreamOptions()),
            observer=Observer(_Says("info" if access_log else "warning")),
            cors=Cors(),
            spool_dir=tempfile.gettempdir(),
        )
        bundle = contract.document(stored=database_url is not None)
        surface = Surface("bench", "", Envelope, Compiler(bundle), self._model)
        self.edge, _ = assemble(self.services, [Document(bundle, surface, ByVerb())])
        self.edge.plan_all()

    @staticmethod
    def _model(operation_id: str) -> type[BaseModel] | None:
        verb, _, rest = snake_case(operation_id).partition("_")
        if verb not in ("create", "update", "store"):
            return None
        create, update, *_ = models.of(contract.MIDDLE if verb == "store" else rest)
        model: type[BaseModel] = update if verb == "update" else create
        return model

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.edge(scope, receive, send)
            return
        await receive()
        self.services.observer.start()
        with quiet_heap():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        self.services.observer.stop()
        self.pool.close()
        await send({"type": "lifespan.shutdown.complete"})


@dataclass(frozen=True)
class _Says:
    log_level: str
