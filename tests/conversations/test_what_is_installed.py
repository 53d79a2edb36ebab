"""What comes out of the marketplace works in a conversation: a skill's instructions and tools, and a copied agent."""

from __future__ import annotations

from domain import agents
from domain.agents import skills
from domain.kernel.ids import new_id

SHELF = {"category": "finance", "tagline": "Adds things up"}


def installed(world, name="Number checker", **more):
    with world.ctx() as ctx:
        wanted = next(each for each in skills.list_marketplace_skills(ctx).items if each.name == name)
        return skills.install_skill(ctx, wanted.id, permissions=wanted.permissions, **more)


def made(world, **more):
    with world.ctx() as ctx:
        return agents.create_agent(ctx, name="Desk", instructions="Answer at the desk.", **more)


def test_an_agent_with_a_skill_is_told_it_and_uses_its_tool_until_it_is_taken_out(make_world, script, call):
    world = make_world("beeflow")
    skill = installed(world, settings={"currency": "NOK"})
    desk = made(world, skill_ids=[skill.id])
    model = script([call("calculator", expression="12*7")], "It is 84.", "Without.", capable=True)
    done = world.ask("What is 12 times 7?", agent=desk.id)
    first, second = model.asked
    assert "Answer at the desk." in first.instructions
    assert "NOK" in first.instructions, "the skill's instructions, with its settings"
    assert "calculator" in [tool.name for tool in first.tools]
    assert second.messages[-1].text.endswith("= 84")
    assert [each["name"] for each in done["tool_calls"]] == ["calculator"]
    with world.ctx() as ctx:
        skills.uninstall_skill(ctx, skill.id)
    world.ask("And 12 times 8?", agent=desk.id)
    assert "NOK" not in model.asked[-1].instructions
    assert "calculator" not in [tool.name for tool in model.asked[-1].tools]


def test_an_older_version_of_a_skill_says_what_it_said_then(make_world, script):
    world = make_world("beeflow")
    desk = made(world, skill_ids=[installed(world, "Web reader", version="1.0.0").id])
    model = script("Fine.", capable=True)
    world.ask("Hello", agent=desk.id)
    assert "read it with fetch_page" in model.asked[0].instructions
    assert "quote what you rely on" not in model.asked[0].instructions, "that came with 1.1.0"


def test_a_copy_of_another_organisations_agent_works_as_it_was_published(make_world, script):
    publisher, other = make_world("beeflow"), make_world("beeflow")
    desk = made(publisher, description="Adds up.", tools=["calculator"])
    with publisher.ctx() as ctx:
        agents.publish_agent(ctx, desk.id, **SHELF)
        agents.update_agent(ctx, desk.id, instructions="Something else by now.")
    with other.ctx() as ctx:
        copy = agents.duplicate_agent(ctx, desk.id)
    assert copy.instructions_hidden
    model = script("Fine.", capable=True)
    other.ask("Hello", agent=copy.id)
    assert "Answer at the desk." in model.asked[0].instructions
    assert "calculator" in [tool.name for tool in model.asked[0].tools]
    stranger = other.user_id
    other.user_id = new_id()
    try:
        with other.ctx() as ctx:
            assert copy.id not in {each.id for each in agents.list_agents(ctx).items}, "a copy is its maker's own"
    finally:
        other.user_id = stranger
