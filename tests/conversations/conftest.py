"""A world for turns: an organisation with people, a job's hold on the platform, documents that can be searched, and
models that do as they are told."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from domain import agents, billing, conversations, identity, inference
from domain.agents import tools
from domain.agents.tools import Found
from domain.conversations.models import Turn
from domain.inference import ChatRequest, Deadline, Drivers, End, ToolCall, Usage
from domain.kernel.context import Ctx, SystemActor, UserActor
from domain.kernel.db import Database
from domain.kernel.outbox import Job
from tests.fakes import Killed, Streaming

_names = itertools.count()

PERMISSIONS = frozenset(
    {"conversations:read", "conversations:write", "chat:write", "agents:read", "agents:write", "memories:read",
     "mcp:write", "remediation:write"}
)  # fmt: skip


@dataclass
class FakeWork(Streaming):
    """Keeps when what was published, too."""

    times: list[tuple[float, str]] = field(default_factory=list)

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        super().publish(channel, number, event, data)
        self.times.append((time.monotonic(), event))


@dataclass
class Script:
    """A model that says what the test tells it: each answer is a text, calls of tools, or an exception."""

    answers: list[Any]
    name: str = "script"
    capable: bool = False
    pace: float = 0.0
    asked: list[ChatRequest] = field(default_factory=list)

    def generate(self, request: ChatRequest, deadline: Deadline, emit: Any) -> End:
        self.asked.append(request)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, list):
            return End(Usage(self.name, 10, 2), tuple(answer), "tools")
        text = answer.removeprefix(request.partial) if request.partial else answer
        for start in range(0, len(text), 7):
            deadline.check()
            emit("text", text[start : start + 7])
            if self.pace:
                time.sleep(self.pace)
        return End(Usage(self.name, 10, 5), response_id="resp_1")


@dataclass
class World:
    database: Database
    organisation_id: UUID
    user_id: UUID
    surface: str = "thallus"
    documents: list[Found] = field(default_factory=list)
    permissions: frozenset[str] = PERMISSIONS

    @contextmanager
    def ctx(self, user_id: UUID | None = None, **more: Any) -> Iterator[Ctx]:
        given = {"surface": self.surface} | more
        permissions = given.pop("permissions", self.permissions)
        with self.database.context(
            UserActor(user_id or self.user_id), self.organisation_id, permissions, **given
        ) as ctx:
            yield ctx

    def start(self, text: str, **more: Any) -> UUID:
        with self.ctx() as ctx:
            return conversations.start(ctx, text, **more).id

    def work(self, **more: Any) -> FakeWork:
        return FakeWork(self.database, self.organisation_id, **more)

    def run(self, turn_id: UUID, **more: Any) -> list[tuple[str, dict[str, Any]]]:
        """The events, held against the promises that every stream keeps."""
        work = self.work(**more)
        conversations.run(work, turn_id)
        assert work.done
        return self.check(work)

    def check(self, work: FakeWork) -> list[tuple[str, dict[str, Any]]]:
        assert sorted(work.stream) == list(range(1, len(work.stream) + 1)), "numbers have gaps"
        return [work.stream[number] for number in sorted(work.stream)]

    def ask(self, text: str, **more: Any) -> dict[str, Any]:
        """The data of the last event."""
        events = self.run(self.start(text, **more))
        assert [name in conversations.TERMINAL for name, _ in events] == [False] * (len(events) - 1) + [True]
        last = events[-1][1]
        if events[-1][0] == "complete":
            assert last["response"] == "".join(d["delta"] for n, d in events if n == "text_delta")
        return last | {"name": events[-1][0], "events": events}

    def turn(self, turn_id: UUID) -> Turn:
        with self.ctx() as ctx:
            return conversations.get_turn(ctx, turn_id)

    def jobs(self, name: str) -> list[dict[str, Any]]:
        with self.database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            rows = ctx.session.scalars(
                select(Job).where(Job.name == name, Job.organisation_id == self.organisation_id).order_by(Job.id)
            )
            return [dict(row.args) for row in rows]

    def set(self, turn_id: UUID, **values: Any) -> None:
        with self.ctx() as ctx:
            ctx.session.execute(update(Turn).where(Turn.id == turn_id).values(**values))


@pytest.fixture(scope="session")
def drivers() -> Drivers:
    """The real drivers, loaded once."""
    made = inference.configure({})
    conversations.warm()
    return made


@pytest.fixture(autouse=True)
def bound(drivers: Drivers) -> Iterator[Callable[..., Any]]:
    """`bound(model)`: let this model talk in the test."""
    inference.bind(drivers)

    def use(model: Any) -> Any:
        inference.bind(replace(drivers, chats={**drivers.chats, "test": model}, default="test"))
        return model

    yield use
    inference.bind(drivers)


@pytest.fixture
def script(bound: Callable[..., Any]) -> Callable[..., Script]:
    return lambda *answers, **more: bound(Script(list(answers), **more))


@pytest.fixture
def make_world(database: Database) -> Callable[..., World]:
    def make(surface: str = "thallus", plan: str = "enterprise", **settings: Any) -> World:
        name = f"turns-{next(_names)}-{uuid4().hex[:6]}"
        with database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            organisation = identity.create_organisation(ctx, name=name, slug=name)
            organisation.settings = settings
        with database.context(SystemActor("test"), organisation.id, frozenset({"admin"})) as ctx:
            for product in ("thallus", "thalian", "beeflow", "starter"):
                billing.subscribe(ctx, plan, product)
        return World(database, organisation.id, uuid4(), surface)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture
def searchable(drivers: Drivers) -> Iterator[Callable[[World, Mapping[str, str]], None]]:
    """`searchable(world, {title: text})`: what `search_documents` finds, by likeness."""
    kept: dict[UUID, list[tuple[Found, Any]]] = {}

    def search(ctx: Ctx, query: str, *, vector: Any, limit: int, knowledge_base_ids: Sequence[UUID]) -> Sequence[Found]:
        near = [(float(v @ vector), found) for found, v in kept.get(ctx.organisation, ())]
        near.sort(key=lambda pair: -pair[0])
        return [replace(found, score=max(0.0, score)) for score, found in near[:limit] if score > 0.2]

    def fill(world: World, texts: Mapping[str, str]) -> None:
        vectors = drivers.embedder.embed(list(texts.values()))
        kept[world.organisation_id] = [
            (Found("document", title, text, None, title, document_id=uuid4(), chunk_id=uuid4(), page=1), vector)
            for (title, text), vector in zip(texts.items(), vectors, strict=True)
        ]

    before = tools.get("search_documents")
    tools.bind_search(search)
    yield fill
    assert before is not None
    tools.provide("search_documents", reads=before.reads)


@pytest.fixture
def killed() -> type[BaseException]:
    return Killed


@pytest.fixture
def call() -> Callable[..., ToolCall]:
    return lambda name, number=1, **arguments: ToolCall(f"call_{number}", name, arguments)


__all__ = ["agents"]
