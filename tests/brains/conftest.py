"""A world for chains: an organisation with a brain, a job's hold on the platform, and drivers that can be replaced."""

from __future__ import annotations

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

from domain import billing, brains, identity, inference
from domain.inference import Drivers
from domain.kernel.context import ApiKeyActor, Ctx, SystemActor
from domain.kernel.db import Database

_names = itertools.count()


class Killed(BaseException):
    """What `kill -9` looks like from inside."""


@dataclass
class FakeWork:
    """`domain.kernel.context.Work` without a queue. `die(point)` is asked at every boundary and may raise `Killed`."""

    database: Database
    organisation_id: UUID
    die: Callable[[str], None] = lambda point: None
    stream: dict[int, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    published: list[tuple[int, str]] = field(default_factory=list)
    valkey_away: bool = False
    seconds: float = 100.0
    job_id: UUID = field(default_factory=uuid4)
    attempt: int = 1
    result: Mapping[str, Any] | None = None
    done: bool = False

    @contextmanager
    def transaction(self) -> Iterator[Ctx]:
        self.die("before a transaction")
        with self.database.context(SystemActor("job:brains.run"), self.organisation_id, frozenset({"admin"})) as ctx:
            yield ctx
            self.die("before a commit")
        self.die("after a commit")

    def complete(self, ctx: Ctx, result: Mapping[str, Any] | None = None) -> None:
        self.done, self.result = True, result

    def heartbeat(self) -> None:
        pass

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        self.die("before a publication")
        if self.valkey_away:
            raise ConnectionError("Valkey is away")
        self.published.append((number, event))
        known = self.stream.setdefault(number, (event, dict(data)))
        assert known == (event, dict(data)), "an event number was given twice to different events"

    def remaining(self) -> float:
        return self.seconds


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
            brain_id = brains.create_brain(ctx, "Test brain", **brain).id
        return World(database, organisation_id, brain_id, fits)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


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
