"""Thallus: agents as people have them, and who may use which. Groups are made by their verbs: Thallus has no operation
for them."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import httpx

from domain.agents import access
from domain.identity import groups
from recipes.world import Call, Person, World, recipe

ADMIN = "/thallus/api/v1/admin/agents"
_numbers = itertools.count(1)


def group_of(world: World, owner: Person, *member_ids: UUID, name: str | None = None) -> UUID:
    """A group of the owner's organisation, with these members."""
    with world.acting(owner) as ctx:
        return groups.create(ctx, name or f"Group {next(_numbers)}", member_ids=member_ids).group.id


def set_for(world: World, owner: Person, user_id: UUID, agent: str = "data_analyst", said: str = "deny") -> None:
    """A setting of a single user."""
    with world.acting(owner) as ctx:
        access.set_user_agent(ctx, user_id, agent, access=said, reason="Finance only")


# --- for those who use agents ---------------------------------------------------------------------


@recipe("thallus", "listAgents")
def list_agents(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        names = [each["name"] for each in reply.json()["items"]]
        assert "assistant" in names
        assert names == sorted(names)
        assert {"planner", "evaluator", "security_assistant"}.isdisjoint(names)

    return Call(check=check)


@recipe("thallus", "listAgentTools")
def list_agent_tools(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        found = {each["name"]: each for each in reply.json()["items"]}
        assert reply.json()["total"] == len(found)
        assert found["calculator"]["available"]
        assert found["create_ticket"]["requires_confirmation"]

    return Call(path={"agent_name": "assistant"}, check=check)


@recipe("thallus", "getAgentSettings")
def get_agent_settings(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.json()["is_default"]

    return Call(path={"agent_name": "assistant"}, check=check)


@recipe("thallus", "updateAgentSettings")
def update_agent_settings(world: World) -> Call:
    saved = {"instructions": "Amounts in euros.", "disabled_tools": ["fetch_page"], "model_tier": "large"}

    def check(reply: httpx.Response) -> None:
        assert reply.json().items() >= saved.items()
        assert not reply.json()["is_default"]

    return Call(path={"agent_name": "assistant"}, json=saved, check=check)


# --- for superadmins and administrators -----------------------------------------------------------


@recipe("thallus", "listPlatformAgents")
def list_platform_agents(world: World) -> Call:
    return Call(query={"search": "data", "category": "data", "access": "allow"}, check=_names("data_analyst"))


@recipe("thallus", "updatePlatformAgent")
def update_platform_agent(world: World) -> Call:
    # Allowed, as without it: what holds for the whole server stays as the other tests know it.
    return Call(path={"agent_name": "document_analyst"}, json={"access": "allow", "model_tier": "medium"})


def _in_organisation(world: World, **more: Any) -> Call:
    who = world.person("thallus")
    path = {"org_id": who.organisation_id, **more.pop("path", {})}
    return Call(path=path, who=who, **more)


@recipe("thallus", "listOrganizationAgents")
def list_organization_agents(world: World) -> Call:
    return _in_organisation(world, query={"search": "data analyst"}, check=_names("data_analyst"))


@recipe("thallus", "updateOrganizationAgent")
def update_organization_agent(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.json()["effective"] == {"allowed": False, "decided_by": "organization"}

    changed = {"access": "deny", "model_tier": "fast"}
    return _in_organisation(world, path={"agent_name": "writer"}, json=changed, check=check)


def _in_group(world: World, agent: str | None = None, **more: Any) -> Call:
    who = world.person("thallus")
    path: dict[str, Any] = {"org_id": who.organisation_id, "group_id": group_of(world, who, who.account_id)}
    return Call(path=path if agent is None else path | {"agent_name": agent}, who=who, **more)


@recipe("thallus", "listGroupAgents")
def list_group_agents(world: World) -> Call:
    return _in_group(world, query={"search": "data analyst"}, check=_names("data_analyst"))


@recipe("thallus", "updateGroupAgent")
def update_group_agent(world: World) -> Call:
    return _in_group(world, "data_analyst", json={"access": "allow", "reason": "Finance works with it"})


@recipe("thallus", "listUserAgents")
def list_user_agents(world: World) -> Call:
    who = world.person("thallus")
    set_for(world, who, who.account_id)
    return Call(path={"user_id": who.account_id}, query={"allowed": "false"}, who=who, check=_names("data_analyst"))


@recipe("thallus", "updateUserAgent")
def update_user_agent(world: World) -> Call:
    who = world.person("thallus")
    path = {"user_id": who.account_id, "agent_name": "data_analyst"}
    return Call(path=path, json={"access": "deny", "reason": "Finance only"}, who=who)


@recipe("thallus", "searchAgentOverrides")
def search_agent_overrides(world: World) -> Call:
    who = world.person("thallus", name="Grace Hopper")
    set_for(world, who, who.account_id)

    def check(reply: httpx.Response) -> None:
        (found,) = reply.json()["items"]
        assert (found["user"]["id"], found["override_count"]) == (str(who.account_id), 1)

    return Call(query={"q": "grace"}, who=who, check=check)


@recipe("thallus", "listAgentOverrides")
def list_agent_overrides(world: World) -> Call:
    who = world.person("thallus")
    set_for(world, who, who.account_id)

    def check(reply: httpx.Response) -> None:
        (found,) = reply.json()["items"]
        assert (found["user"]["id"], found["access"]) == (str(who.account_id), "deny")

    return Call(query={"access": "deny"}, who=who, check=check)


def _names(*names: str) -> Any:
    def check(reply: httpx.Response) -> None:
        assert [each["name"] for each in reply.json()["items"]] == list(names), reply.text

    return check
