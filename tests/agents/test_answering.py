"""Agents with knowledge bases, asked through the engine of turns with the quoting assistant: what they cite, whose."""

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
from sqlalchemy import select, update

from domain import agents, audit, billing, conversations, identity, inference, knowledge
from domain.agents import skills
from domain.inference import Drivers
from domain.kernel.context import Ctx, SystemActor, UserActor
from domain.kernel.db import Database
from domain.kernel.errors import NotFound
from domain.kernel.outbox import Job
from domain.kernel.pages import CursorPage, OffsetPage
from tests.fakes import FakeWork, store_in

_numbers = itertools.count()
ADMIN = frozenset({"admin"})
USER = identity.roles.permissions_of("beeflow", "member")
LEAVE = "# Leave\n\nEvery employee of the Lyon depot has thirty-one days of paid leave in a calendar year.\n"
PENSION = "# Pensions\n\nThe company pays nine per cent of the salary into the pension fund of Lisbon.\n"
BASE = knowledge.bases.KIND
QUESTION = "How many days of paid leave does an employee have?"


@dataclass
class Work(FakeWork):
    """A job's hold on the platform, without a queue."""

    events: dict[int, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        self.events[number] = (event, dict(data))


@dataclass
class Firm:
    """An organisation on Bee Flow."""

    database: Database
    id: UUID
    name: str

    @contextmanager
    def ctx(self, who: UUID, permissions: frozenset[str] = USER) -> Iterator[Ctx]:
        with self.database.context(UserActor(who), self.id, permissions, surface="beeflow") as ctx:
            yield ctx

    def person(self) -> UUID:
        with self.database.context(SystemActor("test"), None, platform=True, surface="beeflow") as ctx:
            account = identity.accounts.make(
                ctx, email=f"p{next(_numbers)}-{uuid4().hex[:6]}@example.org", name="Ada", source="signup"
            )
            return account.id

    def base(self, owner: UUID, text: str, **more: Any) -> UUID:
        """A knowledge base with one document that has been read."""
        with self.ctx(owner, USER | ADMIN) as ctx:
            made = knowledge.bases.create(ctx, f"Base {next(_numbers)}", **more).collection.id
            knowledge.upload(
                ctx, io.BytesIO(text.encode()), filename="policy.md", collection_id=made, kind="knowledge_base",
                title="Policy", tags=["policies"],
            )  # fmt: skip
        self._read_in()
        return made

    def _read_in(self) -> None:
        steps = {"knowledge.index": knowledge.ingestion.index, "knowledge.embed": knowledge.ingestion.embed}
        while True:
            with self.database.context(SystemActor("test"), None, ADMIN, platform=True) as ctx:
                mine = (Job.organisation_id == self.id, Job.state == "pending", Job.name.in_(steps))
                jobs = list(ctx.session.scalars(select(Job).where(*mine)))
                ctx.session.execute(update(Job).where(Job.id.in_([job.id for job in jobs])).values(state="done"))
            if not jobs:
                return
            for job in jobs:
                steps[job.name](Work(self.database, self.id), UUID(job.args["entry_id"]))

    def agent(self, owner: UUID, **more: Any) -> agents.Agent:
        given = {"name": "Leave desk", "instructions": "Answer from the policies.", "visibility": "organisation"}
        with self.ctx(owner) as ctx:
            return agents.create_agent(ctx, **(given | more))

    def ask(self, who: UUID, agent: agents.Agent, question: str = QUESTION) -> tuple[str, list[dict[str, Any]]]:
        """The answer, and what it cites."""
        with self.ctx(who) as ctx:
            turn_id = conversations.start(ctx, question, agent=agent.id).id
        work = Work(self.database, self.id)
        conversations.run(work, turn_id)
        told = [work.events[number] for number in sorted(work.events)]
        name, last = told[-1]
        assert name == "complete", told[-1]
        return last["response"], [data for event, data in told if event == "citation"]


@pytest.fixture(scope="module")
def drivers() -> Drivers:
    made = inference.configure({})
    conversations.warm()
    return made


@pytest.fixture(autouse=True)
def _bound(drivers: Drivers, tmp_path: Path) -> None:
    inference.bind(drivers)
    store_in(tmp_path)


@pytest.fixture
def make_firm(database: Database) -> Callable[..., Firm]:
    def make(plan: str = "enterprise") -> Firm:
        name = f"firm-{next(_numbers)}-{uuid4().hex[:6]}"
        with database.context(SystemActor("test"), None, ADMIN, platform=True) as ctx:
            made = identity.create_organisation(ctx, name=name, slug=name).id
        with database.context(SystemActor("test"), made, ADMIN) as ctx:
            billing.subscribe(ctx, plan, "beeflow")
        return Firm(database, made, name)

    return make


@pytest.fixture
def firm(make_firm: Callable[..., Firm]) -> Firm:
    return make_firm()


def test_an_agent_cites_its_knowledge_base_and_nothing_beside_it(firm):
    ada = firm.person()
    leave, pension = firm.base(ada, LEAVE), firm.base(ada, PENSION)
    answer, cited = firm.ask(ada, firm.agent(ada, knowledge_base_ids=[leave]))
    assert "thirty-one days" in answer
    assert [(each["title"], "thirty-one days" in each["snippet"]) for each in cited] == [("Policy", True)]
    answer, cited = firm.ask(ada, firm.agent(ada, knowledge_base_ids=[pension]))
    assert "thirty-one" not in answer
    assert not any("thirty-one" in each["snippet"] for each in cited)


def test_an_agent_shows_nobody_what_they_may_not_see_themselves(firm):
    ada, bob = firm.person(), firm.person()
    private = firm.base(ada, LEAVE)
    desk = firm.agent(ada, knowledge_base_ids=[private])
    assert "thirty-one days" in firm.ask(ada, desk)[0]
    answer, cited = firm.ask(bob, desk)
    assert "thirty-one" not in answer
    assert cited == []
    with firm.ctx(ada) as ctx:
        offered = agents.own_settings.tools_for(ctx, desk)
        assert [(each.tool.name, each.source_id) for each in offered] == [("search_documents", str(private))]
    with firm.ctx(bob) as ctx:
        assert agents.own_settings.tools_for(ctx, desk) == []
    with firm.ctx(ada) as ctx:
        knowledge.bases.update(ctx, private, visibility="organisation")
    assert "thirty-one days" in firm.ask(bob, desk)[0]


def test_an_agent_of_another_organisation_answers_from_what_is_public_and_stops_when_it_is_not(make_firm):
    publisher, reader = make_firm(), make_firm()
    ada, eve = publisher.person(), reader.person()
    shown = publisher.base(ada, LEAVE, visibility="public", language="en")
    hidden = publisher.base(ada, PENSION, visibility="organisation")
    with reader.ctx(eve) as ctx:
        assert knowledge.marketplace.reachable(ctx, [hidden, shown, uuid4()]) == [shown]
    desk = reader.agent(eve, knowledge_base_ids=[shown])
    answer, cited = reader.ask(eve, desk)
    assert "thirty-one days" in answer
    assert [each["title"] for each in cited] == ["Policy"]
    with publisher.ctx(ada, USER | ADMIN) as ctx:
        knowledge.bases.update(ctx, shown, visibility="organisation")
    answer, cited = reader.ask(eve, desk)
    assert "thirty-one" not in answer
    assert cited == []
    with reader.ctx(eve) as ctx:
        assert knowledge.marketplace.reachable(ctx, [shown]) == []


def test_of_another_organisation_a_search_reaches_public_bases_alone(make_firm):
    publisher, reader = make_firm(), make_firm()
    ada, eve = publisher.person(), reader.person()
    shown = publisher.base(ada, LEAVE, visibility="public")
    hidden = publisher.base(ada, PENSION, visibility="organisation")
    with publisher.ctx(ada) as ctx:
        [secret] = knowledge.list_documents(ctx, OffsetPage(50), collection_id=hidden, kind=BASE).items
    with reader.ctx(eve, USER | ADMIN) as ctx:
        found = knowledge.bases.search(ctx, shown, QUESTION)
        assert "thirty-one days" in found.passages[0].text
        assert found.passages[0].collection_id == shown
        with pytest.raises(NotFound):
            knowledge.bases.search(ctx, hidden, QUESTION)
        with pytest.raises(NotFound):
            knowledge.bases.search(ctx, shown, QUESTION, document_ids=[secret.document.id])
        held, whose = knowledge.marketplace.read(ctx, shown)
        assert (held.documents, held.may_edit, whose) == (1, False, publisher.name)
        for refused in (
            lambda: knowledge.bases.update(ctx, shown, name="Mine"),
            lambda: knowledge.delete_collection(ctx, shown, "knowledge_base"),
            lambda: knowledge.list_documents(ctx, OffsetPage(50), collection_id=shown, kind=BASE),
        ):
            with pytest.raises(NotFound):
                refused()
    with publisher.ctx(ada) as ctx:
        actions = [entry.action for entry in _trail(ctx)]
    assert "knowledge_base.search" not in actions
    with reader.ctx(eve) as ctx:
        assert "knowledge_base.search" in [entry.action for entry in _trail(ctx)]


def test_public_bases_are_listed_by_their_words_and_language_with_the_tags_of_their_documents(make_firm):
    publisher = make_firm()
    ada = publisher.person()
    mark = uuid4().hex[:8]
    full = publisher.base(ada, LEAVE, visibility="public", language="en-GB", description=f"Leave {mark}")
    with publisher.ctx(ada, USER | ADMIN) as ctx:
        empty = knowledge.bases.create(
            ctx, "Empty one", visibility="public", language="fr", description=f"Nothing {mark}"
        ).collection.id
        knowledge.bases.create(ctx, "Private one", description=f"Private {mark}")

    def listed(**more: Any) -> list[UUID]:
        with publisher.database.context(SystemActor("anybody"), None) as ctx:
            return [each.id for each in knowledge.marketplace.list_public(ctx, **({"search": mark} | more)).items]

    assert listed() == [full, empty]
    assert listed(sort="newest") == [empty, full]
    assert listed(language="EN") == [full]
    assert listed(language="e") == []
    assert listed(search=f"policies {mark}") == [full]
    with publisher.database.context(SystemActor("anybody"), None) as ctx:
        [shown] = knowledge.marketplace.list_public(ctx, search=f"{mark} leave").items
    assert (shown.tags, shown.publisher, shown.documents) == (("policies",), publisher.name, 1)
    with publisher.ctx(ada, USER | ADMIN) as ctx:
        identity.close_organisation(ctx)
    assert listed() == []


def test_a_tier_without_skills_leaves_an_agent_without_them(firm):
    ada = firm.person()
    with firm.ctx(ada) as ctx:
        wanted = next(s for s in skills.list_marketplace_skills(ctx).items if s.name == "Number checker")
        skill = skills.install_skill(ctx, wanted.id, permissions=[], settings={"currency": "EUR"})
        row = ctx.session.get(agents.skills.Skill, skill.id)
        assert row.instructions.endswith("Amounts that name no currency are in EUR.")
    desk = firm.agent(ada, skill_ids=[skill.id])
    with firm.ctx(ada) as ctx:
        assert [each.available for each in agents.own_settings.tools_for(ctx, desk)] == [True]
        assert len(agents.own_settings.skills_of(ctx, desk)) == 1
    with firm.database.context(SystemActor("test"), firm.id, ADMIN) as ctx:
        billing.subscribe(ctx, "community", "beeflow")
    with firm.ctx(ada) as ctx:
        assert [(each.available, each.reason) for each in agents.own_settings.tools_for(ctx, desk)] == [(False, "tier")]
        assert agents.own_settings.skills_of(ctx, desk) == ()


def _trail(ctx: Ctx) -> Any:
    return audit.find(ctx, page=CursorPage(100)).items
