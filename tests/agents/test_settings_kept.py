"""What is set for agents stays whole when several set it at once, when agents go, and when people come and go."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from domain import agents
from domain.agents import access, overrides, own_settings, tiers
from domain.agents.models import AgentRow
from domain.kernel.context import SystemActor
from domain.kernel.errors import Forbidden, NotFound
from domain.kernel.pages import OffsetPage


def at_once(times: int, act: Callable[[int], None]) -> list[BaseException]:
    """Do it in threads that start together; what they raised."""
    start, failed = threading.Barrier(times), list[BaseException]()

    def run(number: int) -> None:
        start.wait()
        try:
            act(number)
        except BaseException as problem:
            failed.append(problem)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return failed


def test_administrators_who_set_the_same_at_once_are_counted_once(office: Any) -> None:
    def act(number: int) -> None:
        with office.admin() as ctx:
            access.set_organisation_agent(ctx, "researcher", access=("allow", "deny")[number % 2])

    assert at_once(6, act) == []
    with office.admin() as ctx:
        (shown,) = access.list_platform_agents(ctx, search="researcher").items
        assert shown.organisation_overrides == 1
        access.set_organisation_agent(ctx, "researcher", access="inherit")
        access.set_organisation_agent(ctx, "researcher", access="inherit")
        (shown,) = access.list_platform_agents(ctx, search="researcher").items
        assert shown.organisation_overrides == 0


def test_one_who_saves_settings_twice_at_once_has_one_of_them(office: Any) -> None:
    office.surface = "thallus"
    ada = office.person()

    def act(number: int) -> None:
        with office.ctx(ada) as ctx:
            own_settings.save_settings(ctx, "assistant", instructions=f"Version {number}")

    assert at_once(6, act) == []
    with office.ctx(ada) as ctx:
        assert own_settings.get_settings(ctx, "assistant").instructions in {f"Version {n}" for n in range(6)}


def test_another_agent_of_the_same_name_inherits_nothing_from_one_that_is_gone(office: Any) -> None:
    ada, bob = office.person("Ada"), office.person("Bob")
    office.surface = "thallus"
    given = {"name": "Depot guide", "instructions": "Answer.", "visibility": "organisation"}
    with office.ctx(ada) as ctx:
        first = agents.create_agent(ctx, **given)
        own_settings.save_settings(ctx, first.key, instructions="In euros.")
    with office.admin() as ctx:
        access.set_organisation_agent(ctx, first.key, access="deny")
        access.set_user_agent(ctx, ada, first.key, access="allow")
    with office.ctx(bob) as ctx, pytest.raises(Forbidden):
        own_settings.usable(ctx, agents.find_agent(ctx, first.key))
    with office.ctx(ada) as ctx:
        agents.delete_agent(ctx, first.id)
    with office.admin() as ctx:
        assert overrides.list_overrides(ctx).total == 0
    with office.ctx(bob) as ctx:
        second = agents.create_agent(ctx, **given)
        assert second.key == first.key
        held, own = own_settings.usable(ctx, second)
        assert (held.effective.decided_by, own.is_default) == ("default", True)
    with office.ctx(ada) as ctx:
        assert own_settings.get_settings(ctx, first.key).is_default


def test_what_somebody_has_switched_off_is_off_where_it_can_be_switched_on_again(office: Any) -> None:
    ada = office.person()
    office.surface = "thallus"
    with office.ctx(ada) as ctx:
        assistant = agents.find_agent(ctx, "assistant")
        own_settings.save_settings(ctx, "assistant", enabled=False)
        with pytest.raises(Forbidden) as refused:
            own_settings.usable(ctx, assistant)
        assert refused.value.facts == {"reason": "agent_disabled"}
        (shown,) = [o for o in own_settings.list_offered(ctx, "thallus").items if o.agent.key == "assistant"]
        assert (shown.enabled, shown.customised) == (False, True)
    with office.ctx(ada, surface="beeflow") as ctx:
        assert own_settings.usable(ctx, assistant)[0].effective.allowed


def test_nobody_has_settings_of_what_they_are_not_shown(office: Any) -> None:
    office.surface = "thallus"
    ada, bob = office.person("Ada"), office.person("Bob")
    with office.ctx(ada) as ctx:
        private = agents.create_agent(ctx, name="Diary", instructions="Answer.")
        listed = {o.agent.key for o in own_settings.list_offered(ctx, "thallus").items}
        assert private.key in listed
        assert own_settings.get_settings(ctx, private.key).is_default
    for who, permissions in ((bob, frozenset[str]()), (bob, frozenset({"admin"}))):
        with office.ctx(who, permissions) as ctx:
            listed = {o.agent.key for o in own_settings.list_offered(ctx, "thallus").items}
            assert private.key not in listed
            for key in (private.key, "planner", "evaluator", "triage", "security_assistant", "nobody"):
                for ask in (own_settings.get_settings, own_settings.tools_of, own_settings.save_settings):
                    with pytest.raises(NotFound):
                        ask(ctx, key)
    with office.admin() as ctx:
        for act in (
            lambda: access.set_organisation_agent(ctx, private.key, access="deny"),
            lambda: access.set_user_agent(ctx, ada, private.key, access="deny"),
        ):
            with pytest.raises(NotFound):
                act()


def test_an_administrator_sees_for_a_user_what_is_shared_with_that_user(office: Any) -> None:
    finance = office.group()
    ada, bob = office.person("Ada", (finance,)), office.person("Bob")
    with office.admin() as ctx:
        guide = agents.create_agent(
            ctx, name="Budget guide", instructions="Answer.", visibility="group", group_ids=[finance]
        )
        for user, sees in ((ada, True), (bob, False)):
            found = access.list_user_agents(ctx, user, search="budget")
            assert [a.agent.key for a in found.items] == ([guide.key] if sees else [])
        assert access.list_managed_agents(ctx, search="budget guide").total == 1


def test_tools_of_another_surface_are_not_offered_and_are_not_counted(office: Any) -> None:
    ada = office.person()
    with office.ctx(ada) as ctx:
        made = agents.create_agent(ctx, name="Guard", instructions="Answer.", tools=["calculator"])
        ctx.session.get_one(AgentRow, made.id).tools = ["calculator", "suspend_user"]
    with office.ctx(ada, surface="thallus") as ctx:
        assert [t.tool.name for t in own_settings.tools_of(ctx, made.key)] == ["calculator"]
        assert own_settings.get_offered(ctx, "thallus", made.key).tool_count == 1
    with office.ctx(ada, surface="thalian") as ctx:
        offered = {t.tool.name: t.reason for t in own_settings.tools_of(ctx, made.key)}
        assert offered == {"calculator": None, "suspend_user": "denied"}


def test_overrides_are_those_of_members_for_agents_that_there_are(office: Any) -> None:
    ada, bob, eve = office.person("Ada"), office.person("Bob"), office.person("Eve")
    with office.admin() as ctx:
        for user, key, said in (
            (ada, "writer", "deny"),
            (ada, "researcher", "allow"),
            (bob, "writer", "deny"),
            (eve, "writer", "allow"),
            (eve, "researcher", "inherit"),
        ):
            access.set_user_agent(ctx, user, key, access=said)
    office.directory.members.pop(bob)
    with office.admin() as ctx:

        def told(**given: Any) -> list[tuple[str, str, str]]:
            page = overrides.list_overrides(ctx, **given)
            assert page.total == len(page.items)
            return [(o.person.name, o.agent.key, o.access) for o in page.items]

        every = {("Ada", "researcher", "allow"), ("Ada", "writer", "deny"), ("Eve", "writer", "allow")}
        assert set(told()) == every
        assert told(agent="writer", access="allow") == [("Eve", "writer", "allow")]
        assert told(agent="nobody") == []
        pages = [overrides.list_overrides(ctx, page=OffsetPage(1, n)) for n in range(4)]
        assert [page.total for page in pages] == [3] * 4
        assert {(o.person.name, o.agent.key, o.access) for page in pages for o in page.items} == every
        assert pages[3].items == []


def test_an_erased_person_leaves_no_settings_behind(office: Any) -> None:
    office.surface = "thallus"
    ada, bob = office.person("Ada"), office.person("Bob")
    for who in (ada, bob):
        with office.ctx(who) as ctx:
            own_settings.save_settings(ctx, "assistant", instructions="My doctor is Dr Grey.")
        with office.admin() as ctx:
            access.set_user_agent(ctx, who, "writer", access="deny", reason="On leave")
    with office.admin() as ctx:
        tiers.forget_person(ctx, ada)
        assert [o.person.id for o in overrides.list_overrides(ctx).items] == [bob]
    for who, default in ((ada, True), (bob, False)):
        with office.ctx(who) as ctx:
            assert own_settings.get_settings(ctx, "assistant").is_default is default
            assert access.held(ctx, [agents.find_agent(ctx, "writer")], who)["writer"].effective.allowed is default


def test_organisations_that_are_gone_are_counted_no_longer(make_office: Any) -> None:
    gone, left = make_office(), make_office()
    for office in (gone, left):
        with office.admin() as ctx:
            access.set_organisation_agent(ctx, "document_analyst", access="deny")
    with left.database.context(SystemActor("test"), None, platform=True) as ctx:
        ctx.session.execute(text("DELETE FROM organisation WHERE id = :id"), {"id": gone.organisation_id})
        tiers.recount(ctx)
    with left.admin() as ctx:
        (shown,) = access.list_platform_agents(ctx, search="document analyst").items
    assert shown.organisation_overrides == 1
