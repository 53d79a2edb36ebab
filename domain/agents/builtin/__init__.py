"""The agents and skills that come with the platform, from the `.toml` files beside this one. Read once a process."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid5

from domain.agents.spec import Agent, Publication

FOLDER = Path(__file__).parent
NAMESPACE = UUID("0193a1c4-5e10-7bd2-9c4e-2f6b1a7d8e90")
"""Of the ids of what comes with the platform: the same on every installation."""

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
"""When an agent came that does not say it itself (`published_at`)."""


def identifier(kind: str, key: str) -> UUID:
    return uuid5(NAMESPACE, f"{kind}:{key}")


@lru_cache(maxsize=1)
def agents() -> Mapping[str, Agent]:
    """By key."""
    found: dict[str, Agent] = {}
    for path in sorted(FOLDER.glob("agents-*.toml")):
        for entry in tomllib.loads(path.read_text("utf-8"))["agent"]:
            agent = _agent(entry)
            if agent.key in found:
                raise ValueError(f"two built-in agents are called {agent.key}")
            found[agent.key] = agent
    return MappingProxyType(found)


@lru_cache(maxsize=1)
def agents_by_id() -> Mapping[UUID, Agent]:
    return MappingProxyType({agent.id: agent for agent in agents().values()})


def offered(surface: str | None) -> list[Agent]:
    """Those that a surface shows (None: any), by name."""
    found = [agent for agent in agents().values() if offers(agent, surface)]
    return sorted(found, key=lambda agent: agent.name)


def offers(agent: Agent, surface: str | None) -> bool:
    """Whether people see a built-in agent on a surface."""
    return not agent.hidden and (surface is None or not agent.surfaces or surface in agent.surfaces)


def published() -> list[Agent]:
    """Those that stand in the marketplace too, to be copied."""
    return [agent for agent in agents().values() if agent.publication is not None]


@lru_cache(maxsize=1)
def skills() -> Mapping[UUID, Mapping[str, Any]]:
    """By id, each as its file says it, with `id`."""
    entries = tomllib.loads((FOLDER / "skills.toml").read_text("utf-8"))["skill"]
    found = {identifier("skill", e["key"]): e | {"id": identifier("skill", e["key"])} for e in entries}
    return MappingProxyType(found)


_LISTS = ("starter_prompts", "tools", "modes", "required_services", "handoffs")


def _agent(entry: Mapping[str, Any]) -> Agent:
    given = dict(entry)
    for name in _LISTS:
        if name in given:
            given[name] = tuple(given[name])
    given["surfaces"] = frozenset(given.get("surfaces", ()))
    given["instructions"] = given["instructions"].strip()
    since = given.pop("published_at", SINCE)
    if shelf := given.pop("publication", None):
        given["publication"] = Publication(
            shelf["category"], shelf["tagline"], tuple(shelf["tags"]), True, shelf.get("version", 1), since
        )
    return Agent(id=identifier("agent", given["key"]), builtin=True, created_at=since, updated_at=since, **given)
