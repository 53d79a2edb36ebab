"""A world for chains: an organisation with a brain, a job's hold on the platform, and drivers that can be replaced."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from openapi_schema_validator import OAS30Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4
from sqlalchemy import select

from domain import billing, brains, identity, inference, knowledge
from domain.inference import Drivers
from domain.kernel.context import Actor, ApiKeyActor, Ctx, SystemActor, UserActor
from domain.kernel.db import Database
from domain.kernel.outbox import Job
from tests.fakes import Killed, Streaming, store_in

_names = itertools.count()


@dataclass
class FakeWork(Streaming):
    """Keeps what is published in its order, too."""

    published: list[tuple[int, str]] = field(default_factory=list)

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        super().publish(channel, number, event, data)
        self.published.append((number, event))


@dataclass
class World:
    database: Database
    organisation_id: UUID
    brain_id: UUID
    fits: Callable[[str, Any], None] = lambda name, data: None

    @contextmanager
    def ctx(self, permissions: frozenset[str] = frozenset({"invoke", "memory:read"})) -> Iterator[Ctx]:
        with self.database.context(ApiKeyActor(uuid4()), self.organisation_id, permissions) as ctx:
            yield ctx

    def start(self, text: str, *, session: str = "s", **more: Any) -> UUID:
        with self.ctx() as ctx:
            given = {"session_id": session, "input_type": "text", "content": text} | more
            return brains.start(ctx, given.pop("brain_id", self.brain_id), **given).id

    def work(self, **more: Any) -> FakeWork:
        return FakeWork(self.database, self.organisation_id, **more)

    def ask(self, text: str, **more: Any) -> dict[str, Any]:
        """Send `text` through the chain; the full artifact."""
        return self.events(text, **more)[-1][1]

    def events(self, text: str, **more: Any) -> list[tuple[str, dict[str, Any]]]:
        invocation_id = self.start(text, **more)
        work = self.work()
        brains.run(work, invocation_id)
        assert work.done
        assert sorted(work.stream) == list(range(1, len(work.stream) + 1))
        events = [work.stream[number] for number in sorted(work.stream)]
        for name, data in events:
            self.fits(name, data)
        return events

    def memory(self, **filters: Any) -> list[Any]:
        from domain.kernel.pages import CursorPage

        with self.ctx() as ctx:
            return list(brains.list_memory(ctx, self.brain_id, page=CursorPage(limit=500), **filters).items)


@dataclass
class Shelf:
    """Where the documents of a world's organisation stand, read in without a queue."""

    world: World

    @contextmanager
    def ctx(self, actor: Actor | None = None) -> Iterator[Ctx]:
        admin = frozenset({"admin"})
        with self.world.database.context(actor or SystemActor("test"), self.world.organisation_id, admin) as ctx:
            yield ctx

    def person(self) -> UserActor:
        from domain.identity.models import Account

        name = f"reader{next(_names)}-{uuid4().hex[:6]}@example.org"
        with self.world.database.context(SystemActor("test"), None, platform=True) as ctx:
            account = Account(email=name, email_key=name, name="A person", source="signup")
            ctx.session.add(account)
            ctx.session.flush()
            return UserActor(account.id)

    def collection(self, actor: Actor | None = None, kind: str = "collection", **more: Any) -> UUID:
        """The organisation's without an actor, else the actor's own."""
        with self.ctx(actor) as ctx:
            made = knowledge.create(ctx, kind, f"Shelf {next(_names)}", personal=actor is not None, **more)
            return made.collection.id

    def put(
        self,
        content: bytes | Path,
        filename: str = "",
        *,
        collection: UUID | None = None,
        actor: Actor | None = None,
        read: bool = True,
        **more: Any,
    ) -> str:
        """Upload it, and read it in unless told otherwise; the document's id."""
        source: Any = content if isinstance(content, Path) else io.BytesIO(content)
        name = filename or (content.name if isinstance(content, Path) else "notes.md")
        collection = collection or self.collection(actor)
        with self.ctx(actor) as ctx:
            kind = ctx.session.get_one(knowledge.Collection, collection).kind
            filed = knowledge.upload(ctx, source, filename=name, collection_id=collection, kind=kind, **more)
            document = filed.document.id
        if read:
            self.read()
        return str(document)

    def read(self) -> None:
        """Read what waits, as the workers would."""
        verbs: dict[str, Callable[..., None]] = {
            "knowledge.index": knowledge.ingestion.index,
            "knowledge.embed": knowledge.ingestion.embed,
        }
        while jobs := self._waiting():
            for job in jobs:
                work = FakeWork(self.world.database, self.world.organisation_id, seconds=200.0)
                if job.name in verbs:
                    verbs[job.name](work, UUID(job.args["entry_id"]))
                with self.world.database.context(SystemActor("test"), None, platform=True) as ctx:
                    ctx.session.get_one(Job, job.id).state = "done"

    def _waiting(self) -> list[Job]:
        with self.world.database.context(SystemActor("test"), None, platform=True) as ctx:
            query = select(Job).where(
                Job.organisation_id == self.world.organisation_id,
                Job.state == "pending",
                Job.name.startswith("knowledge."),
            )
            return list(ctx.session.scalars(query.order_by(Job.id)))

    def remove(self, document: str) -> None:
        with self.ctx() as ctx:
            knowledge.remove(ctx, UUID(document))


@pytest.fixture(scope="session")
def drivers() -> Drivers:
    """The real drivers, loaded once."""
    made = inference.configure({})
    brains.warm()
    return made


@pytest.fixture(autouse=True)
def _bound(drivers: Drivers) -> Iterator[None]:
    inference.bind(drivers)
    yield
    inference.bind(drivers)


@pytest.fixture(scope="session")
def fits() -> Callable[[str, Any], None]:
    """Holds an event against its schema in the published contract."""
    bundle = json.loads((Path(__file__).parents[2] / "generated" / "thalium" / "bundle.json").read_text())
    events = bundle["paths"]["/v1/brain/{brainId}/invoke"]["post"]["x-stream"]["events"]
    registry = Registry().with_resource("urn:contract", Resource(bundle, DRAFT4))
    checks = {
        name: OAS30Validator({"$ref": "urn:contract" + schema["$ref"]}, registry=registry)
        for name, schema in events.items()
    }

    def check(name: str, data: Any) -> None:
        checks[name].validate(data)
        assert len(json.dumps(data)) < 2_000_000

    return check


@pytest.fixture
def make_world(database: Database, fits: Callable[[str, Any], None]) -> Callable[..., World]:
    def make(**brain: Any) -> World:
        name = f"world-{next(_names)}-{uuid4().hex[:6]}"
        with database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            organisation_id = identity.create_organisation(ctx, name=name, slug=name).id
        with database.context(SystemActor("test"), organisation_id, frozenset({"admin"})) as ctx:
            billing.subscribe(ctx, "enterprise")
            for product in ("thallus", "beeflow", "starter"):
                billing.subscribe(ctx, "enterprise", product)
            brain_id = brains.create_brain(ctx, "Test brain", **brain).id
        return World(database, organisation_id, brain_id, fits)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture
def make_shelf(tmp_path: Path) -> Callable[[World], Shelf]:
    store_in(tmp_path)
    return Shelf


@pytest.fixture
def shelf(make_shelf: Callable[[World], Shelf], world: World) -> Shelf:
    return make_shelf(world)


@pytest.fixture
def killed() -> type[BaseException]:
    return Killed


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`spoil("devil", think=...)`: replace a step of a role for this test."""
    from domain.brains.roles import ROLES

    def replaced(role: str, **steps: Any) -> None:
        monkeypatch.setitem(ROLES, role, replace(ROLES[role], **steps))

    return replaced
