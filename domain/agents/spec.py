"""An agent as everybody above the tables sees it, wherever it comes from: a file of the platform, or a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Publication:
    """How an agent stands in the marketplace."""

    category: str
    tagline: str
    tags: tuple[str, ...]
    share_instructions: bool
    version: int
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Agent:
    """`key` names it for programs, `id` for references. `instructions` are what the model is told; what may be shown of
    them is `shown_instructions`."""

    id: UUID
    key: str
    name: str
    description: str
    instructions: str = field(repr=False)
    category: str = "general"
    model: str | None = None
    """A model's name on this server; None leaves it to tier and platform."""
    tier: str | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    welcome_message: str | None = None
    starter_prompts: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    knowledge_base_ids: tuple[UUID, ...] = ()
    skill_ids: tuple[UUID, ...] = ()
    guardrails: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """`dlp_mode`, `dlp_failure_mode`, `privacy_shield`; what is absent or None the organisation decides."""
    visibility: str = "organisation"
    group_ids: tuple[UUID, ...] = ()
    owner_id: UUID | None = None
    surfaces: frozenset[str] = frozenset()
    """Where it is offered; empty: everywhere."""
    modes: tuple[str, ...] = ("ask",)
    required_services: tuple[str, ...] = ()
    handoffs: tuple[str, ...] = ()
    """Agents that may take over from it, by key."""
    max_iterations: int = 12
    timeout_seconds: int = 120
    builtin: bool = False
    hidden: bool = False
    """Works behind the scenes: no list shows it."""
    avatar_url: str | None = None
    instructions_hidden: bool = False
    copied_from: UUID | None = None
    publication: Publication | None = None
    publisher_id: UUID | None = None
    """Whose it is, where it is read from the marketplace: the other organisation's."""
    publisher: str | None = None
    """Its name."""
    version: int = 1
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def shown_instructions(self) -> str | None:
        """None where its publisher keeps them to himself."""
        return None if self.instructions_hidden else self.instructions
