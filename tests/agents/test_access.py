"""Four tiers of access: the table of who wins, and what follows of it."""

from __future__ import annotations

import itertools

import pytest

from domain import agents
from domain.agents import access, overrides, own_settings
from domain.agents.rules import Settings, effective
from domain.kernel.errors import Forbidden, Invalid, NotFound
from domain.kernel.pages import OffsetPage

MATRIX = [
    # platform, organisation, groups, user -> allowed, decided by
    (None, "inherit", (), "inherit", True, "default"),
    ("allow", "inherit", (), "inherit", True, "platform"),
    ("deny", "inherit", (), "inherit", False, "platform"),
    ("deny", "allow", (), "inherit", True, "organisation"),
    ("allow", "deny", (), "inherit", False, "organisation"),
    ("allow", "allow", ("deny",), "inherit", False, "group"),
    ("deny", "deny", ("allow",), "inherit", True, "group"),
    ("deny", "deny", ("deny", "allow"), "inherit", True, "group"),
    ("allow", "allow", ("deny", "inherit"), "inherit", False, "group"),
    ("deny", "deny", ("inherit", "inherit"), "inherit", False, "organisation"),
    ("allow", "allow", ("allow",), "deny", False, "user"),
    ("deny", "deny", ("deny",), "allow", True, "user"),
    (None, "inherit", ("inherit",), "deny", False, "user"),
]


@pytest.mark.parametrize(("platform", "organisation", "groups", "user", "allowed", "decider"), MATRIX)
def test_the_most_specific_tier_that_says_something_wins(platform, organisation, groups, user, allowed, decider):
    found = effective(Settings(platform, organisation, groups, user))
    assert (found.allowed, found.decided_by) == (allowed, decider)


def test_no_combination_is_left_undecided():
    for platform, organisation, one, two, user in itertools.product(
        (None, "allow", "deny"), *[("allow", "deny", "inherit")] * 4
    ):
        said = Settings(platform, organisation, (one, two), user)
        found = effective(said)
        if user != "inherit":
            assert found.allowed == (user == "allow")
        without = effective(said, without="user")
        assert without == effective(Settings(platform, organisation, (one, two)))


def test_settings_of_all_tiers_reach_the_user(office):
    office.surface = "thallus"
    finance, sales = office.group("Finance"), office.group("Sales")
    ada, bob = office.person("Ada", (finance, sales)), office.person("Bob")
    with office.admin() as ctx:
        access.set_organisation_agent(ctx, "data_analyst", access="deny", model_tier="fast")
        access.set_group_agent(ctx, finance, "data_analyst", access="allow", reason="they need it")
    with office.ctx(ada) as ctx:
        assert access.allowed(ctx, agents.find_agent(ctx, "data_analyst")).model_tier == "fast"
    with office.ctx(bob) as ctx, pytest.raises(Forbidden) as refused:
        access.allowed(ctx, agents.find_agent(ctx, "data_analyst"))
    assert refused.value.facts["decided_by"] == "organisation"
    with office.admin() as ctx:
        made = access.set_user_agent(ctx, ada, "data_analyst", access="deny", reason="asked for it")
        assert (made.effective.allowed, made.effective.decided_by) == (False, "user")
        assert [(g.name, said) for g, said in made.groups] == [("Finance", "allow"), ("Sales", "inherit")]
        (override,) = overrides.list_overrides(ctx).items
        assert (override.person.name, override.without.allowed, override.without.decided_by) == ("Ada", True, "group")
        ((person, theirs),) = overrides.search_overrides(ctx, "ada").items
        assert (person.id, len(theirs)) == (ada, 1)
        access.set_user_agent(ctx, ada, "data_analyst", access="inherit")
        assert overrides.list_overrides(ctx).total == 0
    with office.ctx(ada) as ctx:
        listed = own_settings.list_offered(ctx, "thallus", page=OffsetPage(100))
        assert "data_analyst" in {o.agent.key for o in listed.items}
    with office.ctx(bob) as ctx:
        listed = own_settings.list_offered(ctx, "thallus", page=OffsetPage(100))
        assert "data_analyst" not in {o.agent.key for o in listed.items}
        assert {"planner", "triage", "security_assistant"}.isdisjoint({o.agent.key for o in listed.items})


def test_what_a_tier_sets_is_shown_beside_what_would_hold_without_it(office):
    with office.admin() as ctx:
        made = access.set_organisation_agent(ctx, "writer", access="deny")
    assert (made.access, made.effective.allowed, made.inherited.allowed) == ("deny", False, True)
    with office.admin() as ctx:
        page = access.list_managed_agents(ctx, access="deny", page=OffsetPage(10))
        assert [a.agent.key for a in page.items] == ["writer"]
        assert access.list_managed_agents(ctx, search="contradictions passages").total == 1


def test_the_platform_counts_the_organisations_that_say_otherwise(make_office):
    one, other = make_office(), make_office()
    for office, said in ((one, "deny"), (other, "allow"), (one, "inherit")):
        with office.admin() as ctx:
            access.set_organisation_agent(ctx, "researcher", access=said)
    with one.admin() as ctx:
        changed = access.set_platform_agent(ctx, "researcher", access="allow", model_tier="large", max_iterations=20)
        (shown,) = access.list_platform_agents(ctx, search="researcher").items
    assert (changed.organisation_overrides, changed.max_iterations, changed.timeout_seconds) == (1, 20, 120)
    assert shown.model_tier == "large"
    with one.admin() as ctx:
        access.set_platform_agent(ctx, "researcher", access="allow")


def test_nothing_is_set_for_what_there_is_not(office):
    ghost = office.person()
    office.directory.members.clear()
    with office.admin() as ctx:
        for act in (
            lambda: access.set_organisation_agent(ctx, "nobody", access="deny"),
            lambda: access.set_platform_agent(ctx, "nobody", access="deny"),
            lambda: access.set_group_agent(ctx, ghost, "writer", access="deny"),
            lambda: access.set_user_agent(ctx, ghost, "writer", access="deny"),
        ):
            with pytest.raises(NotFound):
                act()
        with pytest.raises(Invalid):
            access.set_organisation_agent(ctx, "writer", access="maybe")


def test_one_organisation_does_not_see_the_settings_of_another(make_office):
    one, other = make_office(), make_office()
    with one.admin() as ctx:
        access.set_organisation_agent(ctx, "writer", access="deny")
    with other.ctx(other.person()) as ctx:
        assert access.allowed(ctx, agents.find_agent(ctx, "writer")).effective.decided_by == "default"


def test_own_settings_narrow_and_an_empty_save_resets_them(office):
    office.surface = "thallus"
    ada = office.person()
    with office.ctx(ada) as ctx:
        assert own_settings.get_settings(ctx, "assistant").is_default
        with pytest.raises(Invalid):
            own_settings.save_settings(ctx, "assistant", disabled_tools=["send_mail"])
        saved = own_settings.save_settings(ctx, "assistant", disabled_tools=["calculator"], model_tier="large")
        assert not saved.is_default
        offered = {t.tool.name: t for t in own_settings.tools_of(ctx, "assistant")}
        assert not offered["calculator"].enabled
        assert offered["create_ticket"].needs_confirmation
        assert own_settings.save_settings(ctx, "assistant").is_default
    with office.ctx(office.person("Bob")) as ctx:
        assert own_settings.get_settings(ctx, "assistant").is_default
