"""A world for knowledge: an organisation with people, a blob store in a folder, and jobs that run without a queue."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from domain import billing, identity, inference, knowledge
from domain.inference import Drivers
from domain.kernel.context import Actor, Ctx, SystemActor, UserActor
from domain.kernel.db import Database
from domain.kernel.outbox import Job
from tests.fakes import FakeWork, Killed, Telling, store_in

_names = itertools.count()
READER = frozenset(
    {"documents:read", "documents:write", "documents:delete", "knowledge:read", "knowledge:write", "knowledge:delete"}
)
ADMIN = READER | {"documents:manage", "organisation:manage", "vector_stores:write", "vector_stores:delete"}


@dataclass
class World:
    database: Database
    organisation_id: UUID
    streams: dict[str, dict[int, tuple[str, dict[str, Any]]]] = field(default_factory=dict)

    @contextmanager
    def ctx(self, actor: Actor | None = None, permissions: frozenset[str] = READER) -> Iterator[Ctx]:
        with self.database.context(actor or SystemActor("test"), self.organisation_id, permissions) as ctx:
            yield ctx

    def person(self) -> UserActor:
        from domain.identity.models import Account

        name = f"person{next(_names)}-{uuid4().hex[:6]}@example.org"
        with self.database.context(SystemActor("test"), None, platform=True) as ctx:
            account = Account(email=name, email_key=name, name="A person", source="signup")
            ctx.session.add(account)
            ctx.session.flush()
            return UserActor(account.id)

    def collection(self, actor: Actor, kind: str = "collection", name: str | None = None, **more: Any) -> UUID:
        with self.ctx(actor, ADMIN) as ctx:
            return knowledge.create(ctx, kind, name or f"Collection {next(_names)}", **more).collection.id

    def upload(self, actor: Actor, content: bytes | Path, filename: str, **more: Any) -> UUID:
        source = content if isinstance(content, Path) else io.BytesIO(content)
        with self.ctx(actor, ADMIN) as ctx:
            return knowledge.upload(ctx, source, filename=filename, **more).document.id

    def jobs(self) -> list[Job]:
        with self.database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            query = select(Job).where(
                Job.organisation_id == self.organisation_id, Job.state == "pending", Job.name.startswith("knowledge.")
            )
            return list(ctx.session.scalars(query.order_by(Job.id)))

    def work(self, **more: Any) -> FakeWork:
        return Telling(self.database, self.organisation_id, published=self.streams, **more)

    def run(self, job: Job, work: FakeWork | None = None) -> None:
        """Run one promised job as its runner would, and mark it done."""
        work = work or self.work()
        try:
            call(work, job.name, job.args)
            assert work.done, f"{job.name} did not say that it was done"
        finally:
            if work.done:
                self._mark(job)

    def _mark(self, job: Job) -> None:
        with self.database.context(SystemActor("test"), None, platform=True) as ctx:
            found = ctx.session.get(Job, job.id)
            assert found is not None
            found.state = "done"

    def settle(self) -> int:
        """Run jobs until none is left; how many there were."""
        count = 0
        while jobs := self.jobs():
            for job in jobs:
                self.run(job)
                count += 1
                assert count < 500, "jobs promise each other without an end"
        return count

    def taken_in(self, actor: Actor, content: bytes | Path, filename: str, **more: Any) -> knowledge.Filed:
        document_id = self.upload(actor, content, filename, **more)
        self.settle()
        return self.filed(actor, document_id)

    def filed(self, actor: Actor, document_id: UUID, **more: Any) -> knowledge.Filed:
        with self.ctx(actor) as ctx:
            return knowledge.find(ctx, document_id, **more)

    def search(self, actor: Actor, query: str, **more: Any) -> knowledge.Found:
        with self.ctx(actor) as ctx:
            return knowledge.search(ctx, query, **more)


def call(work: FakeWork, name: str, args: Mapping[str, Any]) -> None:
    ids = {key: UUID(value) for key, value in args.items() if key.endswith("_id")}
    match name:
        case "knowledge.index":
            knowledge.ingestion.index(work, ids["entry_id"])
        case "knowledge.embed":
            knowledge.ingestion.embed(work, ids["entry_id"], args.get("waits", 0))
        case "knowledge.reindex":
            knowledge.upkeep.run_reindex(work, ids["collection_id"])
        case "knowledge.purge":
            knowledge.upkeep.purge(work, **ids)
        case "knowledge.crawl":
            knowledge.crawling.crawl(work, ids["webpage_id"], args["crawl"])
        case _:
            raise AssertionError(f"nobody told the tests how to run {name}")


@pytest.fixture(scope="session")
def drivers() -> Drivers:
    """The real drivers, loaded once."""
    made = inference.configure({})
    made.embedder.warm()
    return made


@pytest.fixture(autouse=True)
def _bound(drivers: Drivers, tmp_path: Path) -> Iterator[None]:
    inference.bind(drivers)
    store_in(tmp_path)
    yield
    inference.bind(drivers)


@pytest.fixture
def make_world(database: Database) -> Callable[[], World]:
    def make() -> World:
        name = f"world-{next(_names)}-{uuid4().hex[:6]}"
        with database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            organisation_id = identity.create_organisation(ctx, name=name, slug=name).id
        with database.context(SystemActor("test"), organisation_id, frozenset({"admin"})) as ctx:
            for product in ("thallus", "beeflow", "starter"):
                billing.subscribe(ctx, "enterprise", product)
        return World(database, organisation_id)

    return make


@pytest.fixture
def world(make_world: Callable[[], World]) -> World:
    return make_world()


@pytest.fixture
def killed() -> type[BaseException]:
    return Killed


@pytest.fixture
def admin() -> frozenset[str]:
    return ADMIN
