"""Starter: containers, and the agents that work in them."""

from __future__ import annotations

import itertools
from typing import Any

import httpx

from recipes.world import Call, Person, World, recipe

_numbers = itertools.count(1)
AGENT = "code_assistant"


def container(world: World, who: Person, **more: Any) -> str:
    """The id of one that was made."""
    body = {"name": f"box-{next(_numbers)}", **more}
    made = httpx.post(f"{world.url}/starter/api/v1/containers", json=body, headers=who.headers(), timeout=20)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def about(world: World, **more: Any) -> Call:
    who = world.person("starter")
    return Call(path={"container_id": container(world, who)}, who=who, **more)


@recipe("starter", "createContainer")
def create(world: World) -> Call:
    def check(reply: httpx.Response) -> None:
        made = reply.json()
        assert (made["status"], made["memory_limit"], made["metadata"]) == ("running", "1g", {"team": "growth"})
        assert made["expires_after"] == {"anchor": "last_active_at", "minutes": 45}
        assert made["openai_id"].startswith("cntr_")
        assert reply.headers["location"].endswith(f"/starter/api/v1/containers/{made['id']}")

    body = {
        "name": "analysis-sandbox",
        "memory_limit": "1g",
        "expires_after": {"anchor": "last_active_at", "minutes": 45},
        "metadata": {"team": "growth"},
    }
    return Call(json=body, check=check, once=True)


@recipe("starter", "listContainers")
def list_containers(world: World) -> Call:
    who = world.person("starter")
    first, second = container(world, who), container(world, who)

    def check(reply: httpx.Response) -> None:
        assert [each["id"] for each in reply.json()["items"]] == [second, first]

    return Call(who=who, check=check)


@recipe("starter", "getContainer")
def get(world: World) -> Call:
    return about(world)


@recipe("starter", "deleteContainer")
def delete(world: World) -> Call:
    return about(world, once=True)


@recipe("starter", "bindAgentContainer")
def bind(world: World) -> Call:
    who = world.person("starter")
    return Call(json={"container_id": container(world, who)}, path={"agent_key": AGENT}, who=who)


@recipe("starter", "unbindAgentContainer")
def unbind(world: World) -> Call:
    return Call(path={"agent_key": AGENT})
