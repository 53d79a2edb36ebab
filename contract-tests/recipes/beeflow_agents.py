"""Bee Flow: agents, skills and the Marketplace, made and published as partners do it."""

from __future__ import annotations

import itertools
from typing import Any

import httpx

from recipes.beeflow_knowledge import base
from recipes.world import Call, Person, World, recipe

_numbers = itertools.count(1)
SHELF = {"category": "legal", "tagline": "Finds the clause that answers your question.", "tags": ["contracts", "legal"]}
DRAFT = {
    "instructions": "You check contracts against our playbook. Quote the clause that an answer rests on.",
    "description": "Answers questions about supplier contracts.",
}


def asked(world: World, who: Person, method: str, path: str, **more: Any) -> dict[str, Any]:
    reply = httpx.request(method, f"{world.url}/beeflow/api{path}", headers=who.headers(), timeout=30, **more)
    assert reply.is_success, reply.text
    body: dict[str, Any] = reply.json()
    return body


def named(start: str = "Contract desk") -> str:
    """A name that nothing has yet."""
    return f"{start} {next(_numbers)}"


def agent(world: World, who: Person, **more: Any) -> str:
    return str(asked(world, who, "POST", "/agents", json={"name": named(), **DRAFT, **more})["id"])


def published(world: World, who: Person, shelf: dict[str, Any] | None = None, **more: Any) -> str:
    made = agent(world, who, **more)
    asked(world, who, "POST", f"/agents/{made}/publish", json=SHELF | (shelf or {}))
    return made


def offered(world: World, name: str) -> dict[str, Any]:
    """A skill of the Marketplace."""
    reply = httpx.get(f"{world.url}/beeflow/api/marketplace/skills", params={"q": name}, timeout=30)
    [found] = reply.json()["items"]
    return dict(found)


def installed(world: World, who: Person, name: str = "Number checker", **more: Any) -> str:
    wanted = offered(world, name)
    body = {"marketplaceId": wanted["id"], "permissions": wanted["permissions"], **more}
    return str(asked(world, who, "POST", "/skills", json=body)["id"])


def group_with(world: World, who: Person, *members: Person) -> str:
    made = asked(world, who, "POST", "/organisation/groups", json={"name": named("Lawyers")})
    for each in members:
        path = f"/organisation/groups/{made['id']}/members"
        asked(world, who, "POST", path, json={"userId": str(each.account_id)})
    return str(made["id"])


def about(world: World, **more: Any) -> Call:
    """A call about an agent."""
    who = world.person("beeflow")
    return Call(path={"id": agent(world, who)}, who=who, **more)


# --- agents ------------------------------------------------------------------------------------------------


@recipe("beeflow", "listAgents")
def list_agents(world: World) -> Call:
    who = world.person("beeflow")
    agent(world, who)
    known = agent(world, who, name="Penalty finder")

    def check(reply: httpx.Response) -> None:
        [found] = reply.json()["items"]
        assert (found["id"], found["canEdit"], found["owner"]["displayName"]) == (known, True, "Ada Lovelace")

    return Call(query={"q": "penalty", "mine": "true", "visibility": "private"}, who=who, check=check)


@recipe("beeflow", "createAgent")
def create(world: World) -> Call:
    who = world.person("beeflow")
    group, base_id, skill = group_with(world, who), base(world, who), installed(world, who)
    body = {
        "name": "Contract desk",
        **DRAFT,
        "avatarUrl": "https://cloud.lovelace.example/avatars/contract-desk.png",
        "temperature": 0.2,
        "maxOutputTokens": 2000,
        "welcomeMessage": "Which contract is it about?",
        "starterPrompts": ["Which notice period does this contract have?", "List all penalties."],
        "knowledgeBaseIds": [base_id],
        "skillIds": [skill],
        "tools": ["search_documents", "calculator"],
        "guardrails": {"dlpMode": "block", "dlpFailureMode": "fail_closed", "privacyShield": "strict"},
        "visibility": "group",
        "groupIds": [group],
    }

    def check(reply: httpx.Response) -> None:
        made = reply.json()
        assert {name: made[name] for name in body} == body
        assert (made["copiedFrom"], made["publication"], made["canEdit"]) == (None, None, True)
        assert reply.headers["location"].endswith(f"/beeflow/api/agents/{made['id']}")

    return Call(json=body, who=who, check=check)


@recipe("beeflow", "getAgent")
def get(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        assert reply.json()["instructions"] == DRAFT["instructions"]

    return about(world, check=check)


@recipe("beeflow", "updateAgent")
def update(world: World) -> Call:
    body = {"name": "Contract desk Lyon", "visibility": "organisation", "temperature": None, "tools": ["current_time"]}

    def check(reply: httpx.Response) -> None:
        changed = reply.json()
        assert {name: changed[name] for name in body} == body
        assert changed["instructions"] == DRAFT["instructions"]

    return about(world, json=body, check=check)


@recipe("beeflow", "deleteAgent")
def delete(world: World) -> Call:
    return about(world, once=True)


@recipe("beeflow", "publishAgent")
def publish(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        stands = reply.json()["publication"]
        assert {name: stands[name] for name in SHELF} == SHELF
        assert stands["shareInstructions"] is False

    return about(world, json=SHELF, check=check)


@recipe("beeflow", "duplicateAgent")
def duplicate(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        copy = reply.json()
        assert (copy["name"], copy["visibility"]) == ("Contract desk for Lyon", "private")
        assert reply.headers["location"].endswith(f"/beeflow/api/agents/{copy['id']}")

    return about(world, json={"name": "Contract desk for Lyon"}, check=check)


@recipe("beeflow", "listAgentTools")
def list_tools(world: World) -> Call:
    who = world.person("beeflow")
    base_id, skill = base(world, who), installed(world, who)
    made = agent(world, who, knowledgeBaseIds=[base_id], skillIds=[skill], tools=["current_time"])

    def check(reply: httpx.Response) -> None:
        told = {each["name"]: (each["source"], each["sourceId"], each["available"]) for each in reply.json()["tools"]}
        assert told == {
            "calculator": ("skill", skill, True),
            "current_time": ("builtin", None, True),
            "search_documents": ("knowledge", base_id, True),
        }

    return Call(path={"id": made}, who=who, check=check)


# --- the Marketplace -----------------------------------------------------------------------------------------


@recipe("beeflow", "listMarketplaceAgents")
def marketplace_agents(world: World) -> Call:
    name = named("Clause finder")
    known = published(world, world.person("beeflow"), name=name)

    def check(reply: httpx.Response) -> None:
        [found] = reply.json()["items"]
        assert (found["id"], found["version"], found["copies"], found["tags"]) == (known, 1, 0, SHELF["tags"])

    return Call(query={"q": name, "category": "legal", "sort": "newest"}, public=True, check=check)


@recipe("beeflow", "listMarketplaceKnowledgeBases")
def marketplace_bases(world: World) -> Call:
    name = named("Procurement law")
    known = base(world, world.person("beeflow"), name=name, visibility="public", language="en-GB")

    def check(reply: httpx.Response) -> None:
        [found] = reply.json()["items"]
        assert (found["id"], found["language"], found["documentCount"]) == (known, "en-GB", 0)

    return Call(query={"q": name, "language": "EN", "sort": "name"}, public=True, check=check)


@recipe("beeflow", "listMarketplaceSkills")
def marketplace_skills(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        [found] = reply.json()["items"]
        assert (found["name"], found["version"], found["permissions"]) == ("Web reader", "1.1.0", ["web_access"])
        assert found["publisher"] == {"name": "Bee Flow", "verified": True}

    return Call(query={"category": "research", "q": "pages web"}, public=True, check=check)


# --- skills --------------------------------------------------------------------------------------------------


@recipe("beeflow", "listSkills")
def list_skills(world: World) -> Call:
    who = world.person("beeflow")
    installed(world, who, "Meeting minutes")
    known = installed(world, who, "Web reader", version="1.0.0")

    def check(reply: httpx.Response) -> None:
        [found] = reply.json()["items"]
        assert (found["id"], found["version"], found["latestVersion"]) == (known, "1.0.0", "1.1.0")
        assert [each["name"] for each in found["tools"]] == ["fetch_page"]

    return Call(query={"q": "web"}, who=who, check=check)


@recipe("beeflow", "installSkill")
def install(world: World) -> Call:
    who = world.person("beeflow")
    body = {
        "marketplaceId": offered(world, "Number checker")["id"],
        "version": "1.0.0",
        "permissions": [],
        "visibility": "organisation",
        "settings": {"currency": "EUR"},
    }

    def check(reply: httpx.Response) -> None:
        made = reply.json()
        assert {name: made[name] for name in body} == body
        assert (made["agentCount"], made["installedBy"]["displayName"]) == (0, "Ada Lovelace")

    return Call(json=body, who=who, check=check, once=True)


@recipe("beeflow", "uninstallSkill")
def uninstall(world: World) -> Call:
    who = world.person("beeflow")
    return Call(path={"id": installed(world, who)}, who=who, once=True)
