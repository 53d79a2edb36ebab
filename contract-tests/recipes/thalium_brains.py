"""Thalium: a brain, and keys of its organisation. Its callers are keys; what holds for every operation that people
call is tested of it apart (test_thalium, test_tenancy, ...), so these are for the failures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from domain import brains, identity
from recipes.world import Call, Person, World, recipe


def keyholder(world: World, scope: str = "admin", *, plan: str | None = None) -> Person:
    """Somebody new with a key of that scope, in an organisation of their own."""
    who = world.person("thalium", plan=plan)
    with world.platform(who.organisation_id) as ctx:
        return replace(who, key=identity.issue_api_key(ctx, f"test {scope}", [scope])[1])


def brain(world: World, who: Person) -> UUID:
    """The id of one that was made."""
    with world.platform(who.organisation_id) as ctx:
        return brains.create_brain(ctx, name="Test brain", slug="test").id


def about(world: World, who: Person | None = None, **more: Any) -> Call:
    """A call about a brain of somebody's."""
    who = who or keyholder(world)
    return Call(path={"brainId": brain(world, who)}, who=who, **more)


def question(**changes: Any) -> dict[str, Any]:
    """What is sent to a brain."""
    content = {"type": "text", "content": "Which supplier must be audited before March, and why?"}
    return {"session_id": "onboarding-42", "input": content, **changes}


@recipe("thalium", "invokeBrain")
def invoke(world: World) -> Call:
    return about(world, json=question())


@recipe("thalium", "getBrainStatus")
def get_status(world: World) -> Call:
    return about(world)


@recipe("thalium", "listBrainMemory")
def list_memory(world: World) -> Call:
    return about(world, query={"ring": "institutional", "limit": 10})
