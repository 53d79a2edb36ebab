"""A world for tickets: an organisation with members, knowledge bases that can be searched, jobs without a queue."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from domain import billing, identity, inference, knowledge, support
from domain.inference import ChatRequest, Deadline, Drivers, End, Usage
from domain.kernel.context import Actor, Ctx, SystemActor, UserActor
from domain.kernel.db import Database
from domain.kernel.outbox import Job
from domain.kernel.pages import OffsetPage
from domain.support import Mail, Shown, Taken
from domain.support.models import Ticket, TicketMessage
from tests.fakes import FakeWork, Killed, Telling, store_in

_names = itertools.count()
PERSON = frozenset({"tickets:read", "tickets:write", "knowledge:read", "knowledge:write"})


class Beating(FakeWork):
    """One that may also die at a heartbeat."""

    def heartbeat(self) -> None:
        self.die("at a heartbeat")


@dataclass
class Script:
    """A language model that answers what it is told, in turn; an exception is raised. Asserts that no transaction of
    `work` is open while it speaks."""

    answers: list[Any]
    name: str = "script"
    capable: bool = True
    asked: list[ChatRequest] = field(default_factory=list)
    work: FakeWork | None = None

    def generate(self, request: ChatRequest, deadline: Deadline, emit: Any) -> End:
        assert self.work is None or not self.work.open_in, "a model speaks inside a transaction"
        self.asked.append(request)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        emit("text", answer)
        return End(Usage(self.name, 10, 5))


@dataclass
class World:
    database: Database
    organisation_id: UUID

    @contextmanager
    def ctx(self, actor: Actor | None = None, permissions: frozenset[str] = PERSON) -> Iterator[Ctx]:
        given = actor or SystemActor("test")
        with self.database.context(given, self.organisation_id, permissions, surface="beeflow") as ctx:
            yield ctx

    def person(self, email: str | None = None, name: str = "Ada Lovelace") -> UserActor:
        address = email or f"person{next(_names)}-{uuid4().hex[:6]}@example.org"
        with self.database.context(SystemActor("test"), None, platform=True) as ctx:
            account = identity.accounts.make(ctx, email=address, name=name, source="signup", verified=True)
            identity.accounts.join(ctx, account, self.organisation_id, "member", source="invite")
            return UserActor(account.id)

    def base(self, actor: Actor, texts: Mapping[str, str], visibility: str = "private") -> UUID:
        """A knowledge base with these pages, ready to be searched."""
        with self.ctx(actor, frozenset({"admin"})) as ctx:
            made = knowledge.create(ctx, "knowledge_base", f"Base {next(_names)}", visibility=visibility)
            base_id = made.collection.id
        for title, words in texts.items():
            with self.ctx(actor, frozenset({"admin"})) as ctx:
                source = io.BytesIO(words.encode())
                knowledge.upload(ctx, source, filename=f"{title}.md", collection_id=base_id, kind="knowledge_base")
        while jobs := self.jobs("knowledge."):
            for job in jobs:
                work = Telling(self.database, self.organisation_id)
                if job.name == "knowledge.index":
                    knowledge.ingestion.index(work, UUID(job.args["entry_id"]))
                elif job.name == "knowledge.embed":
                    knowledge.ingestion.embed(work, UUID(job.args["entry_id"]), job.args.get("waits", 0))
                else:
                    raise AssertionError(job.name)
                self.mark(job)
        return base_id

    def submit(self, actor: Actor, words: str = "The printer is broken.", **more: Any) -> Taken:
        wishes = {name: more.pop(name) for name in ("priority", "assignee_id", "suggest") if name in more}
        given = {"sender_email": "grace@hopper.example", "sender_name": "Grace Hopper", "subject": "Printer", **more}
        with self.ctx(actor) as ctx:
            return support.submit(ctx, mail=Mail(text=words, **given), **wishes)

    def listed(self, actor: Actor | None = None, **more: Any) -> list[Shown]:
        with self.ctx(actor) as ctx:
            return list(support.list_tickets(ctx, OffsetPage(limit=100), **more).items)

    def ticket(self, ticket_id: UUID) -> Ticket:
        with self.ctx() as ctx:
            return ctx.session.scalars(select(Ticket).where(Ticket.id == ticket_id)).one()

    def messages(self, ticket_id: UUID) -> list[TicketMessage]:
        with self.ctx() as ctx:
            query = select(TicketMessage).where(TicketMessage.ticket_id == ticket_id)
            return list(ctx.session.scalars(query.order_by(TicketMessage.position)))

    def jobs(self, prefix: str = "support.") -> list[Job]:
        with self.database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            query = select(Job).where(
                Job.organisation_id == self.organisation_id, Job.state == "pending", Job.name.startswith(prefix)
            )
            return list(ctx.session.scalars(query.order_by(Job.id)))

    def mark(self, job: Job) -> None:
        with self.database.context(SystemActor("test"), None, platform=True) as ctx:
            ctx.session.execute(text("UPDATE job SET state = 'done' WHERE id = :id"), {"id": job.id})

    def work(self, **more: Any) -> FakeWork:
        return Beating(self.database, self.organisation_id, **more)

    def settle(self) -> int:
        """Run the jobs of tickets until none is left; how many there were."""
        count = 0
        while jobs := self.jobs():
            for job in jobs:
                work = self.work()
                support.suggesting.suggest(work, UUID(job.args["ticket_id"]))
                assert work.done, "the job did not say that it was done"
                self.mark(job)
                count += 1
        return count


@pytest.fixture(scope="session")
def drivers() -> Drivers:
    """The real drivers, loaded once."""
    made = inference.configure({})
    made.embedder.warm()
    return made


@pytest.fixture(autouse=True)
def bound(drivers: Drivers, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`bound(model)`: let this model work in the test."""
    inference.bind(drivers)
    store_in(tmp_path)

    def use(model: Any) -> Any:
        inference.bind(replace(drivers, chats={**drivers.chats, "test": model}, default="test"))
        return model

    yield use
    inference.bind(drivers)


@pytest.fixture
def script(bound: Callable[..., Any]) -> Callable[..., Script]:
    return lambda *answers, **more: bound(Script(list(answers), **more))


@pytest.fixture
def make_world(database: Database) -> Callable[[], World]:
    def make() -> World:
        name = f"tickets-{next(_names)}-{uuid4().hex[:6]}"
        with database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            organisation_id = identity.create_organisation(ctx, name=name, slug=name).id
        with database.context(SystemActor("test"), organisation_id, frozenset({"admin"})) as ctx:
            billing.subscribe(ctx, "pro", "beeflow")
        return World(database, organisation_id)

    return make


@pytest.fixture
def world(make_world: Callable[[], World]) -> World:
    return make_world()


@pytest.fixture
def killed() -> type[BaseException]:
    return Killed
