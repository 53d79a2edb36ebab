"""Every combination of what four tiers can say of an agent, with up to three groups a user, through the tables: what
the verbs answer for each user against a list of results that was written down beforehand."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import pytest

from domain import agents
from domain.agents import access, own_settings
from domain.kernel.errors import Forbidden
from domain.kernel.pages import OffsetPage

PLATFORM = {"researcher": None, "document_analyst": "allow", "writer": "deny"}
"""Three agents alike, so that every state of the platform's tier is there at once."""
TOGETHER = {
    (): "inherit",
    ("allow",): "allow",
    ("deny",): "deny",
    ("inherit",): "inherit",
    ("allow", "allow"): "allow",
    ("allow", "deny"): "allow",
    ("allow", "inherit"): "allow",
    ("deny", "deny"): "deny",
    ("deny", "inherit"): "deny",
    ("inherit", "inherit"): "inherit",
    ("allow", "deny", "inherit"): "allow",
    ("deny", "deny", "allow"): "allow",
    ("deny", "deny", "inherit"): "deny",
}
"""What a user's groups set -> what that says together: any `allow` wins, else any `deny`."""
DECIDES = {
    # user, groups together, organisation, platform -> allowed, decided by
    ("inherit", "inherit", "inherit", None): (True, "default"),
    ("inherit", "inherit", "inherit", "allow"): (True, "platform"),
    ("inherit", "inherit", "inherit", "deny"): (False, "platform"),
    **{("inherit", "inherit", "allow", p): (True, "organisation") for p in (None, "allow", "deny")},
    **{("inherit", "inherit", "deny", p): (False, "organisation") for p in (None, "allow", "deny")},
    **{
        ("inherit", "allow", o, p): (True, "group")
        for o in ("allow", "deny", "inherit")
        for p in (None, "allow", "deny")
    },
    **{
        ("inherit", "deny", o, p): (False, "group")
        for o in ("allow", "deny", "inherit")
        for p in (None, "allow", "deny")
    },
    **{
        (own, g, o, p): (own == "allow", "user")
        for own in ("allow", "deny")
        for g in ("allow", "deny", "inherit")
        for o in ("allow", "deny", "inherit")
        for p in (None, "allow", "deny")
    },
}


def test_the_list_of_results_is_whole() -> None:
    assert len(DECIDES) == 3 * 3 * 3 * 3


@pytest.fixture
def crowd(office: Any) -> dict[UUID, tuple[tuple[str, ...], str]]:
    """A user for each combination of groups and own setting. A group says the same of all three agents."""
    office.surface = "thallus"
    groups = {(said, n): office.group(f"{said} {n}") for said in ("allow", "deny", "inherit") for n in (1, 2)}
    people = {}
    for sayings, own in itertools.product(TOGETHER, ("allow", "deny", "inherit")):
        seen: dict[str, int] = {}
        inside = []
        for said in sayings:
            seen[said] = seen.get(said, 0) + 1
            inside.append(groups[said, seen[said]])
        people[office.person("Ada", tuple(inside))] = (sayings, own)
    with office.admin() as ctx:
        for key in PLATFORM:
            for (said, _), group in groups.items():
                access.set_group_agent(ctx, group, key, access=said)
            for user, (_, own) in people.items():
                access.set_user_agent(ctx, user, key, access=own)
    return people


@pytest.mark.parametrize("organisation", ["allow", "deny", "inherit"])
def test_every_combination_of_the_four_tiers_is_kept_everywhere(office: Any, crowd: Any, organisation: str) -> None:
    with office.admin() as ctx:
        for key, said in PLATFORM.items():
            if said is not None:
                access.set_platform_agent(ctx, key, access=said)
            access.set_organisation_agent(ctx, key, access=organisation)
    for user, (sayings, own) in crowd.items():
        expected = {k: DECIDES[own, TOGETHER[sayings], organisation, p] for k, p in PLATFORM.items()}
        with office.ctx(user) as ctx:
            found = access.held(ctx, [agents.find_agent(ctx, key) for key in PLATFORM], user)
            told = {k: (h.effective.allowed, h.effective.decided_by) for k, h in found.items()}
            assert told == expected, (sayings, own)
            listed = {o.agent.key for o in own_settings.list_offered(ctx, "thallus", page=OffsetPage(100)).items}
            assert listed & set(PLATFORM) == {k for k, (may, _) in expected.items() if may}
            for key, (may, decider) in expected.items():
                agent = agents.find_agent(ctx, key)
                if may:
                    access.allowed(ctx, agent)
                    continue
                for act in (access.allowed, own_settings.usable):
                    with pytest.raises(Forbidden) as refused:
                        act(ctx, agent)
                    assert refused.value.facts == {"reason": "agent_denied", "decided_by": decider}
                for ask in (own_settings.get_settings, own_settings.tools_of, own_settings.save_settings):
                    with pytest.raises(Forbidden):
                        ask(ctx, key)
        with office.admin() as ctx:
            page = access.list_user_agents(ctx, user, page=OffsetPage(100))
            shown = {a.agent.key: a for a in page.items if a.agent.key in PLATFORM}
            for key, result in expected.items():
                each = shown[key]
                assert (each.effective.allowed, each.effective.decided_by) == result
                assert (each.platform, each.organisation, each.user) == (PLATFORM[key] or "allow", organisation, own)
                assert sorted(said for _, said in each.groups) == sorted(sayings)


@pytest.mark.parametrize(
    ("organisation", "group", "inherited", "effective"),
    [
        ("inherit", "inherit", (False, "platform"), (False, "platform")),
        ("inherit", "allow", (False, "platform"), (True, "group")),
        ("inherit", "deny", (False, "platform"), (False, "group")),
        ("allow", "deny", (True, "organisation"), (False, "group")),
        ("allow", "inherit", (True, "organisation"), (True, "organisation")),
        ("deny", "allow", (False, "organisation"), (True, "group")),
    ],
)
def test_a_group_shows_what_it_inherits_and_what_comes_of_its_own_word(
    office: Any, organisation: str, group: str, inherited: tuple[bool, str], effective: tuple[bool, str]
) -> None:
    finance, others = office.group(), office.group("Others")
    with office.admin() as ctx:
        access.set_platform_agent(ctx, "writer", access="deny")
        access.set_organisation_agent(ctx, "writer", access=organisation)
        access.set_group_agent(ctx, others, "writer", access="allow" if group == "deny" else "deny")
        made = access.set_group_agent(ctx, finance, "writer", access=group)
        (listed,) = access.list_managed_agents(ctx, group_id=finance, search="puts found answer").items
    assert made == listed
    assert (made.inherited.allowed, made.inherited.decided_by) == inherited
    assert (made.effective.allowed, made.effective.decided_by) == effective
    assert (made.tier, made.access) == ("group", group)
