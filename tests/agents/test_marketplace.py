"""What stands in the marketplace of agents, what is copied from it, and what stays its publisher's."""

from __future__ import annotations

import threading
from collections import Counter
from uuid import uuid4

import pytest
from sqlalchemy import update

from domain import agents, billing, identity
from domain.agents import access, builtin, skills
from domain.agents.models import AgentVersion, MarketplaceAgent
from domain.kernel.context import AnonymousActor, SystemActor
from domain.kernel.errors import Forbidden, Invalid, NotFound, PaymentRequired, Unprocessable
from domain.kernel.pages import OffsetPage

SHELF = {"category": "support", "tagline": "Depot questions"}
SHIPPED = builtin.published()


def made(office, owner, **more):
    given = {"name": "Depot guide", "instructions": "Answer briefly.", "description": "Knows the depot."} | more
    with office.ctx(owner) as ctx:
        return agents.create_agent(ctx, **given)


def listed(office, **more):
    with office.database.context(AnonymousActor(), None, surface="beeflow") as ctx:
        return agents.list_marketplace(ctx, **more)


# --- the shelves ---------------------------------------------------------------------------------------


def test_what_comes_with_the_platform_and_what_people_publish_stand_on_one_shelf(office):
    ada, mark = office.person(), uuid4().hex[:6]
    one = made(office, ada, name=f"Aardvark {mark}", description="Knows figures.")
    with office.ctx(ada) as ctx:
        agents.publish_agent(ctx, one.id, category="finance", tagline="Ants", tags=["sums"])
    finance = listed(office, category="finance", sort="name", page=OffsetPage(100))
    names = [each.name for each in finance.items]
    assert names.index(f"Aardvark {mark}") < names.index("Figure checker")
    assert finance.total == len(names)
    ours = next(each for each in finance.items if each.name == "Figure checker")
    assert (ours.publisher, ours.verified, ours.tagline) == (None, True, "Finds the sum that does not add up.")
    theirs = next(each for each in finance.items if each.id == one.id)
    assert theirs.verified is False
    for words in (mark, f"ants {mark.upper()}", f"sums {mark}", f"aardvark figures {mark}"):
        assert [each.id for each in listed(office, search=words).items] == [one.id], words
    for words in (f"{mark} lion", f'{mark} "', f"{mark} ["):
        assert listed(office, search=words).items == [], words
    newest = listed(office, sort="newest", page=OffsetPage(100)).items
    assert [e.published_at for e in newest] == sorted((e.published_at for e in newest), reverse=True)


def test_pages_of_the_shelf_lack_nothing_and_repeat_nothing(office):
    ada = office.person()
    for number in range(4):
        agent = made(office, ada, name=f"Page {number}")
        with office.ctx(ada) as ctx:
            agents.publish_agent(ctx, agent.id, **SHELF)
    for sort in ("popular", "newest", "name"):
        total = listed(office, sort=sort).total
        seen = [
            each.id
            for start in range(0, total, 3)
            for each in listed(office, sort=sort, page=OffsetPage(3, start)).items
        ]
        assert len(seen) == total == len(set(seen)), sort
        assert {agent.id for agent in SHIPPED} <= set(seen)


def test_every_copy_counts_of_the_platforms_agents_too(make_office):
    publisher, other = make_office(), make_office()
    ada, eve = publisher.person(), other.person()
    agent = made(publisher, ada, visibility="private")
    with publisher.ctx(ada) as ctx:
        agents.publish_agent(ctx, agent.id, **SHELF)
    ours = builtin.agents()["web_scout"]

    def copies():
        return {each.id: each.copies for each in listed(publisher, page=OffsetPage(100)).items}

    before = copies()
    for source in (agent.id, agent.id, ours.id):
        with other.ctx(eve) as ctx:
            agents.duplicate_agent(ctx, source)
    after = copies()
    assert (after[agent.id] - before[agent.id], after[ours.id] - before[ours.id]) == (2, 1)
    with publisher.admin() as ctx:
        shown = access.list_platform_agents(ctx, search="web_scout").items
        assert [each.access for each in shown] == ["allow"]


def test_the_agents_of_an_organisation_that_closes_leave_the_shelf(make_office):
    office, other = make_office(), make_office()
    ada, mark = office.person(), uuid4().hex[:8]
    agent = made(office, ada, name=mark)
    with office.ctx(ada) as ctx:
        agents.publish_agent(ctx, agent.id, **SHELF)
    with other.ctx(other.person()) as ctx:
        assert agents.read_agent(ctx, agent.id).publisher_id == office.organisation_id
    with office.admin() as ctx:
        identity.close_organisation(ctx)
    assert listed(office, search=mark).items == []
    with other.ctx(other.person()) as ctx:
        for act in (agents.read_agent, agents.duplicate_agent):
            with pytest.raises(NotFound):
                act(ctx, agent.id)


# --- what is published ----------------------------------------------------------------------------------


def test_what_is_published_stays_as_it_was_until_it_is_published_again(make_office):
    office, other = make_office(), make_office()
    ada, eve = office.person(), other.person()
    agent = made(office, ada, name="First", instructions="One")
    with office.ctx(ada) as ctx:
        agents.publish_agent(ctx, agent.id, **SHELF, share_instructions=True)
        agents.update_agent(ctx, agent.id, name="Second", instructions="Two")

    def seen():
        with other.ctx(eve) as ctx:
            shown = agents.read_agent(ctx, agent.id)
            return shown.name, shown.shown_instructions, shown.publication.version

    assert seen() == ("First", "One", 1)
    with office.ctx(ada) as ctx:
        agents.publish_agent(ctx, agent.id, **SHELF)
    assert seen() == ("Second", None, 2)


def test_what_is_the_organisations_is_not_published_with_it(make_office):
    office, other = make_office(), make_office()
    group = office.group()
    ada = office.person("Ada", (group,))
    with office.ctx(ada) as ctx:
        wanted = skills.list_marketplace_skills(ctx, search="minutes").items[0]
        skill = skills.install_skill(ctx, wanted.id, permissions=[])
    agent = made(
        office, ada, skill_ids=[skill.id], group_ids=[group], visibility="group", tools=["calculator"],
        guardrails={"dlp_mode": "block"},
    )  # fmt: skip
    with office.ctx(ada) as ctx:
        agents.publish_agent(ctx, agent.id, **SHELF)
    with other.ctx(other.person()) as ctx:
        shown = agents.read_agent(ctx, agent.id)
        copy = agents.duplicate_agent(ctx, agent.id)
    for each in (shown, copy):
        assert (each.skill_ids, each.group_ids, dict(each.guardrails), each.tools) == ((), (), {}, ("calculator",))
    assert (shown.owner_id, shown.publisher_id, shown.visibility) == (None, office.organisation_id, "organisation")


def test_secret_instructions_are_not_shown_by_any_way_round(make_office):
    """Neither by copying the copy, nor by changing them and taking an earlier version back."""
    office, other = make_office(), make_office()
    ada, eve = office.person(), other.person()
    agent = made(office, ada, instructions="Secret recipe")
    with office.ctx(ada) as ctx:
        agents.publish_agent(ctx, agent.id, **SHELF)
    with other.ctx(eve) as ctx:
        assert agents.read_agent(ctx, agent.id).shown_instructions is None
        copy = agents.duplicate_agent(ctx, agent.id)
        assert agents.duplicate_agent(ctx, copy.id).shown_instructions is None
        assert agents.update_agent(ctx, copy.id, name="Mine").shown_instructions is None
        assert agents.update_agent(ctx, copy.id, instructions="My own").shown_instructions == "My own"
        restored = agents.restore_version(ctx, copy.id, 1)
        assert (restored.instructions, restored.shown_instructions) == ("Secret recipe", None)
        with pytest.raises(Forbidden):
            agents.publish_agent(ctx, copy.id, **SHELF)


def test_agents_that_work_behind_the_scenes_or_on_other_surfaces_are_not_there(office):
    with office.ctx(office.person()) as ctx:
        for key in ("planner", "security_assistant", "researcher"):
            hidden = builtin.agents()[key]
            for act in (agents.get_agent, agents.read_agent, agents.duplicate_agent, agents.delete_agent):
                with pytest.raises(NotFound):
                    act(ctx, hidden.id)
        assert agents.get_agent(ctx, builtin.agents()["policy_desk"].id).builtin


# --- lists ----------------------------------------------------------------------------------------------


def test_the_platforms_agents_stand_behind_ones_own_and_leave_no_gap_between_pages(office):
    ada = office.person()
    mine = [made(office, ada, name=f"Own {number}").id for number in range(3)]
    shipped = [agent.id for agent in builtin.offered("beeflow")]

    def page(limit, offset, **more):
        with office.ctx(ada) as ctx:
            found = agents.list_agents(ctx, builtins=True, page=OffsetPage(limit, offset), **more)
            return [agent.id for agent in found.items], found.total

    everything = [*reversed(mine), *shipped]
    for limit in (1, 2, 4, 50):
        seen = [each for start in range(0, len(everything), limit) for each in page(limit, start)[0]]
        assert seen == everything, limit
    assert page(50, 0)[1] == len(everything)
    assert page(50, 0, mine=True) == ([*reversed(mine)], 3)
    assert page(50, 0, mine=False)[0] == shipped
    assert page(50, 0, visibility="private")[0] == [*reversed(mine)]
    assert page(50, 0, visibility="organisation")[0] == shipped
    assert page(50, 0, search="policies RULES organisation")[0] == []
    assert page(50, 0, search="policies paragraph")[0] == [builtin.agents()["policy_desk"].id]


def test_an_agent_that_is_denied_is_not_listed(office):
    ada, bob = office.person("Ada"), office.person("Bob")
    shared = made(office, ada, visibility="organisation")
    with office.admin() as ctx:
        access.set_user_agent(ctx, bob, shared.key, access="deny")
        access.set_user_agent(ctx, bob, "policy_desk", access="deny")
    for who, there in ((ada, True), (bob, False)):
        with office.ctx(who) as ctx:
            found = {agent.key for agent in agents.list_agents(ctx, builtins=True, page=OffsetPage(100)).items}
        assert ({shared.key, "policy_desk"} <= found) is there
        assert ({shared.key, "policy_desk"} & found != set()) is there


# --- what an agent may say ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"visibility": "group"}, Invalid),
        ({"visibility": "group", "group_ids": []}, Invalid),
        ({"name": "   "}, Invalid),
        ({"instructions": " \n "}, Invalid),
        ({"starter_prompts": ["?"] * 5}, Invalid),
        ({"owner_id": uuid4()}, Invalid),
        ({"tools": ["suspend_user"]}, Unprocessable),
        ({"knowledge_base_ids": [uuid4()]}, Unprocessable),
        ({"avatar_url": "javascript:alert(1)"}, Unprocessable),
        ({"avatar_url": "https:///nowhere"}, Unprocessable),
    ],
)
def test_a_definition_that_does_not_hold_is_refused_when_made_and_when_changed(office, wrong, error):
    ada = office.person()
    agent = made(office, ada)
    with office.ctx(ada) as ctx, pytest.raises(error):
        agents.create_agent(ctx, **({"name": "X", "instructions": "Y"} | wrong))
    with office.ctx(ada) as ctx, pytest.raises(error):
        agents.update_agent(ctx, agent.id, **wrong)
    with office.ctx(ada) as ctx:
        assert agents.get_agent(ctx, agent.id).version == 1


def test_groups_are_given_by_those_who_are_in_them_and_by_administrators(office):
    sales, finance = office.group("Sales"), office.group("Finance")
    ada = office.person("Ada", (sales,))
    agent = made(office, ada, visibility="group", group_ids=[sales])
    with office.ctx(ada) as ctx, pytest.raises(Unprocessable):
        agents.update_agent(ctx, agent.id, group_ids=[sales, finance])
    with office.admin() as ctx:
        agents.update_agent(ctx, agent.id, group_ids=[sales, finance])
    with office.ctx(ada) as ctx:  # what is there already may stay
        changed = agents.update_agent(ctx, agent.id, name="Other", group_ids=[finance, sales])
        assert set(changed.group_ids) == {sales, finance}
        with pytest.raises(Invalid):
            agents.update_agent(ctx, agent.id, group_ids=[])


@pytest.mark.parametrize(
    ("guardrails", "allowed"),
    [
        ({"privacy_shield": "strict"}, True),
        ({"dlp_mode": "ask"}, True),
        ({"dlp_mode": None, "dlp_failure_mode": None}, True),
        ({"dlp_mode": "block"}, False),
        ({"dlp_mode": "auto_redact"}, False),
        ({"dlp_mode": "ask", "dlp_failure_mode": "fail_open"}, False),
    ],
)
def test_the_check_for_sensitive_data_comes_with_its_tier(make_office, guardrails, allowed):
    office = make_office("pro")
    ada = office.person()
    if allowed:
        kept = {name: value for name, value in guardrails.items() if value is not None}
        assert made(office, ada, guardrails=guardrails).guardrails == kept
    else:
        with pytest.raises(Forbidden) as refused:
            made(office, ada, guardrails=guardrails)
        assert refused.value.facts == {
            "reason": "license_feature_required", "feature": "dlp", "required_tier": "enterprise",
        }  # fmt: skip
    with office.database.context(SystemActor("test"), office.organisation_id, frozenset({"admin"})) as ctx:
        billing.subscribe(ctx, "enterprise", "beeflow")
    made(office, ada, guardrails=guardrails)


def test_what_is_gone_since_is_left_out_of_a_version_that_comes_back(office):
    ada = office.person()
    with office.ctx(ada) as ctx:
        wanted = skills.list_marketplace_skills(ctx, search="minutes").items[0]
        skill = skills.install_skill(ctx, wanted.id, permissions=[])
    agent = made(office, ada, skill_ids=[skill.id], tools=["calculator"])
    with office.ctx(ada) as ctx:
        skills.uninstall_skill(ctx, skill.id)
        assert agents.get_agent(ctx, agent.id).skill_ids == ()
        ctx.session.execute(
            update(AgentVersion)
            .where(AgentVersion.agent_id == agent.id)
            .values(definition=AgentVersion.definition.op("||")({"tools": ["calculator", "gone"], "model": "gone"}))
        )
        restored = agents.restore_version(ctx, agent.id, 1)
        assert (restored.skill_ids, restored.tools, restored.model) == ((), ("calculator",), None)
        with pytest.raises(NotFound):
            agents.restore_version(ctx, agent.id, 9)


# --- at the same time ---------------------------------------------------------------------------------------


def at_once(count, act):
    """Do something `count` times at the same moment; what each came to."""
    gate, outcomes = threading.Barrier(count), []

    def run(number):
        gate.wait()
        try:
            outcomes.append(act(number) or "done")
        except Exception as problem:
            outcomes.append(type(problem).__name__)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(outcomes)


def test_changes_at_the_same_time_are_all_kept_and_each_is_a_version(office):
    ada = office.person()
    agent = made(office, ada)
    fields = [{"name": "A"}, {"description": "B"}, {"welcome_message": "C"}, {"temperature": 0.5}]

    def change(number):
        with office.ctx(ada) as ctx:
            agents.update_agent(ctx, agent.id, **fields[number])

    assert at_once(4, change) == {"done": 4}
    with office.ctx(ada) as ctx:
        now = agents.get_agent(ctx, agent.id)
        assert [v.number for v in agents.list_versions(ctx, agent.id)] == [5, 4, 3, 2, 1]
    assert (now.name, now.description, now.welcome_message, now.temperature, now.version) == ("A", "B", "C", 0.5, 5)


def test_the_last_place_of_a_tier_is_taken_once(make_office):
    office = make_office("community")
    ada = office.person()
    made(office, ada)

    def make(number):
        with office.ctx(ada) as ctx:
            agents.create_agent(ctx, name="Same name", instructions="x")

    assert at_once(4, make) == {"done": 1, "PaymentRequired": 3}
    with office.ctx(ada) as ctx, pytest.raises(PaymentRequired):
        agents.duplicate_agent(ctx, builtin.agents()["policy_desk"].id)


def test_publishing_and_copying_at_the_same_time_lose_no_count(make_office):
    office, other = make_office(), make_office()
    ada, eve = office.person(), other.person()
    agent = made(office, ada)
    with office.ctx(ada) as ctx:
        agents.publish_agent(ctx, agent.id, **SHELF)

    def act(number):
        if number % 2:
            with office.ctx(ada) as ctx:
                agents.publish_agent(ctx, agent.id, **SHELF)
        else:
            with other.ctx(eve) as ctx:
                agents.duplicate_agent(ctx, agent.id)

    assert at_once(6, act) == {"done": 6}
    with office.ctx(ada) as ctx:
        row = ctx.session.get(MarketplaceAgent, agent.id)
        assert (row.version, row.copies) == (4, 3)


def test_a_skill_is_installed_once_and_counted_once(office):
    people = [office.person() for _ in range(3)]
    with office.ctx(people[0]) as ctx:
        wanted = skills.list_marketplace_skills(ctx, search="policy").items[0]

    def install(number):
        with office.ctx(people[number % 3]) as ctx:
            skills.install_skill(ctx, wanted.id, permissions=wanted.permissions)

    assert at_once(6, install) == {"done": 3, "Conflict": 3}
    with office.ctx(people[0]) as ctx:
        after = skills.list_marketplace_skills(ctx, search="policy").items[0]
        assert after.installs == wanted.installs + 1
        own = skills.list_skills(ctx).items[0]
        skills.uninstall_skill(ctx, own.id)
        assert skills.list_marketplace_skills(ctx, search="policy").items[0].installs == after.installs
    for who in people[1:]:
        with office.ctx(who) as ctx:
            skills.uninstall_skill(ctx, skills.list_skills(ctx).items[0].id)
    with office.ctx(people[0]) as ctx:
        assert skills.list_marketplace_skills(ctx, search="policy").items[0].installs == wanted.installs


@pytest.mark.parametrize("settings", [{"currency": "euro"}, {"currency": "EUR\n"}, {"language": "French"}])
def test_settings_that_a_skill_does_not_have_or_that_do_not_fit_are_refused(office, settings):
    with office.ctx(office.person()) as ctx:
        wanted = skills.list_marketplace_skills(ctx, search="figures").items[0]
        with pytest.raises(Unprocessable):
            skills.install_skill(ctx, wanted.id, permissions=[], settings=settings)


def test_what_the_skills_of_the_platform_say_fits_their_settings_and_permissions():
    needs = {"fetch_page": "web_access", "search_documents": "knowledge_read"}
    for entry in builtin.skills().values():
        for setting in entry.get("settings", {}).values():
            assert {"means", "pattern", "default"} <= set(setting)
        for version in entry["versions"]:
            filled = skills._filled(version["instructions"], entry, {})
            assert "{" not in filled, entry["key"]
            asked = {needs[tool] for tool in version["tools"] if tool in needs}
            assert asked <= set(entry["permissions"]), entry["key"]
