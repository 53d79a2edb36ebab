"""The agents and skills that come with the platform, from the `.toml` files beside this one. Read once a process."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid5

from domain.agents.spec import Agent

FOLDER = Path(__file__).parent
NAMESPACE = UUID("0193a1c4-5e10-7bd2-9c4e-2f6b1a7d8e90")
"""Of the ids of what comes with the platform: the same on every installation."""


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
    return Agent(id=identifier("agent", given["key"]), builtin=True, **given)
