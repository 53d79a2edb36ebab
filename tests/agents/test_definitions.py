"""Agents as data: made, shared, changed, versioned, copied, published; and skills."""

from __future__ import annotations

from uuid import uuid4

import pytest

from domain import agents
from domain.agents import skills
from domain.kernel.context import AnonymousActor
from domain.kernel.errors import Conflict, Forbidden, NotFound, PaymentRequired, Unprocessable


def made(office, owner, **more):
    given = {"name": "Depot guide", "instructions": "Answer briefly.", "description": "Knows the depot."} | more
    with office.ctx(owner) as ctx:
        return agents.create_agent(ctx, **given)


def sees(office, user, agent_id):
    with office.ctx(user) as ctx:
        try:
            agents.get_agent(ctx, agent_id)
        except NotFound:
            return False
        return True


def test_visibility_is_the_owners_the_groups_or_everybodys(office):
    finance = office.group()
    ada, bob, eve = office.person("Ada", (finance,)), office.person("Bob", (finance,)), office.person("Eve")
    private = made(office, ada)
    group = made(office, ada, visibility="group", group_ids=[finance])
    everybody = made(office, ada, visibility="organisation")
    assert [sees(office, u, private.id) for u in (ada, bob, eve)] == [True, False, False]
    assert [sees(office, u, group.id) for u in (ada, bob, eve)] == [True, True, False]
    assert [sees(office, u, everybody.id) for u in (ada, bob, eve)] == [True, True, True]
    with office.ctx(eve) as ctx:
        assert [a.id for a in agents.list_agents(ctx).items] == [everybody.id]
    with office.admin() as ctx:
        assert agents.list_agents(ctx).total == 3


def test_names_for_programs_are_unique_and_none_of_the_platforms(office):
    ada = office.person()
    keys = [made(office, ada, name=name).key for name in ("Assistant", "Assistant", "7 Çà!", "Depot")]
    assert keys == ["assistant_2", "assistant_3", "agent_7", "depot"]


def test_only_owner_and_administrators_change_an_agent(office):
    ada, bob = office.person(), office.person("Bob")
    agent = made(office, ada, visibility="organisation")
    with office.ctx(bob) as ctx, pytest.raises(Forbidden):
        agents.update_agent(ctx, agent.id, name="Mine")
    with office.admin() as ctx:
        assert agents.update_agent(ctx, agent.id, name="Ours").name == "Ours"
    with office.ctx(ada) as ctx, pytest.raises(Forbidden):
        agents.update_agent(ctx, agents.builtin.agents()["assistant"].id, name="Mine")


def test_every_change_is_a_version_that_can_come_back(office):
    ada = office.person()
    agent = made(office, ada, instructions="One")
    with office.ctx(ada) as ctx:
        agents.update_agent(ctx, agent.id, instructions="Two", temperature=0.5)
        restored = agents.restore_version(ctx, agent.id, 1)
        versions = agents.list_versions(ctx, agent.id)
    assert (restored.instructions, restored.version) == ("One", 3)
    assert [v.number for v in versions] == [3, 2, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"tools": ["no_such_tool"]},
        {"model": "gpt-99"},
        {"group_ids": [str(uuid4())]},
        {"skill_ids": [str(uuid4())]},
    ],
)
def test_an_agent_names_nothing_that_its_maker_cannot_see(office, wrong):
    with office.ctx(office.person()) as ctx, pytest.raises(Unprocessable):
        agents.create_agent(ctx, name="X", instructions="Y", **wrong)


def test_a_tier_has_room_for_so_many_agents(make_office):
    office = make_office("community")
    ada = office.person()
    made(office, ada)
    made(office, ada)
    with office.ctx(ada) as ctx, pytest.raises(PaymentRequired) as full:
        agents.create_agent(ctx, name="Third", instructions="x")
    assert full.value.facts["reason"] == "tier_limit"


def test_what_is_published_is_a_copy_for_everybody_and_keeps_its_secrets(make_office):
    publisher, other = make_office(), make_office()
    ada, eve = publisher.person(), other.person("Eve")
    agent = made(publisher, ada, instructions="Secret recipe", tools=["calculator"], knowledge_base_ids=[])
    shelf = {"category": "support", "tagline": "Depot questions"}
    with publisher.ctx(ada) as ctx:
        agents.publish_agent(ctx, agent.id, **shelf)
        assert agents.publish_agent(ctx, agent.id, **shelf).publication.version == 2
    with publisher.database.context(AnonymousActor(), None) as ctx:
        found = [row for row in agents.list_marketplace(ctx, category="support").items if row.id == agent.id]
    assert len(found) == 1
    with other.ctx(eve) as ctx:
        copy = agents.duplicate_agent(ctx, agent.id)
        assert (copy.name, copy.visibility, copy.copied_from) == ("Depot guide (copy)", "private", agent.id)
        assert copy.instructions == "Secret recipe"  # it works
        assert copy.shown_instructions is None  # and cannot be read
        with pytest.raises(Forbidden):
            agents.publish_agent(ctx, copy.id, **shelf)
    with publisher.ctx(ada) as ctx:
        assert agents.list_marketplace(ctx, search="Depot").items[0].copies >= 1
        agents.delete_agent(ctx, agent.id)
    assert sees(other, eve, copy.id)
    with other.ctx(eve) as ctx, pytest.raises(NotFound):
        agents.duplicate_agent(ctx, agent.id)


def test_an_agent_without_a_description_is_not_published(office):
    ada = office.person()
    agent = made(office, ada, description=None)
    with office.ctx(ada) as ctx, pytest.raises(Unprocessable):
        agents.publish_agent(ctx, agent.id, category="other", tagline="x")


# --- skills -------------------------------------------------------------------------------------------


def offered(office):
    with office.database.context(AnonymousActor(), None) as ctx:
        return {s.name: s for s in skills.list_marketplace_skills(ctx).items}


def test_a_skill_is_installed_with_exactly_what_it_asks_for(office):
    ada = office.person()
    reader = offered(office)["Web reader"]
    with office.ctx(ada) as ctx:
        with pytest.raises(Unprocessable):
            skills.install_skill(ctx, reader.id, permissions=[])
        with pytest.raises(NotFound):
            skills.install_skill(ctx, reader.id, permissions=["web_access"], version="9.9.9")
        installed = skills.install_skill(ctx, reader.id, permissions=["web_access"], version="1.0.0")
    assert (installed.version, installed.latest_version) == ("1.0.0", "1.1.0")
    with office.ctx(ada) as ctx, pytest.raises(Conflict):
        skills.install_skill(ctx, reader.id, permissions=["web_access"])
    assert offered(office)["Web reader"].installs >= 1
    with office.ctx(office.person("Eve")) as ctx:
        assert skills.list_skills(ctx).total == 0
        with pytest.raises(NotFound):
            skills.uninstall_skill(ctx, installed.id)


def test_an_agent_has_the_tools_and_instructions_of_its_skills(office):
    from domain.agents import own_settings

    ada = office.person()
    desk = offered(office)["Number checker"]
    with office.ctx(ada) as ctx:
        skill = skills.install_skill(ctx, desk.id, permissions=[])
    agent = made(office, ada, skill_ids=[skill.id], tools=[])
    with office.ctx(ada) as ctx:
        (tool,) = own_settings.tools_of(ctx, agent.key)
        assert (tool.tool.name, tool.source, tool.source_id) == ("calculator", "skill", str(skill.id))
        assert skills.list_skills(ctx).items[0].agent_count == 1
        skills.uninstall_skill(ctx, skill.id)
        assert own_settings.tools_of(ctx, agent.key) == []


def test_only_administrators_install_for_everybody(office):
    reader = offered(office)["Meeting minutes"]
    with office.ctx(office.person()) as ctx, pytest.raises(Forbidden):
        skills.install_skill(ctx, reader.id, permissions=[], visibility="organisation")
    with office.admin() as ctx:
        skills.install_skill(ctx, reader.id, permissions=[], visibility="organisation")
    with office.ctx(office.person("Eve")) as ctx:
        assert skills.list_skills(ctx).total == 1


def test_what_comes_with_the_platform_is_sound():
    from domain.agents import tools

    known = agents.builtin.agents()
    for agent in known.values():
        assert set(agent.tools) <= tools.names(), agent.key
        assert set(agent.handoffs) <= set(known)
        assert len(agent.starter_prompts) <= 4
    for skill in agents.builtin.skills().values():
        for version in skill["versions"]:
            assert set(version["tools"]) <= tools.names()
