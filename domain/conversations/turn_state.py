"""What a running turn knows: the question, the asker, the conversation so far, and what it has spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from domain import agents
from domain.agents import own_settings
from domain.agents.access import Held
from domain.agents.own_settings import OfferedTool, OwnSettings
from domain.agents.spec import Agent
from domain.conversations.guardrails.policy import Policy
from domain.conversations.journal import Journal
from domain.conversations.past import Past
from domain.conversations.sources import Sources
from domain.inference import ChatModel, Deadline, Message
from domain.inference.choice import chat_model
from domain.kernel.context import Ctx


@dataclass(slots=True)
class Spent:
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    agents: int = 0
    response_id: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Equipped:
    """An agent ready to work for the asker."""

    agent: Agent
    held: Held
    own: OwnSettings
    offered: Mapping[str, OfferedTool]
    skills: tuple[str, ...]
    """Their instructions."""
    model: ChatModel


@dataclass
class State:
    journal: Journal
    turn_id: UUID
    conversation_id: UUID
    user_id: UUID | None
    surface: str
    mode: str
    question: str
    past: tuple[Past, ...]
    """What was said before the question."""
    options: Mapping[str, Any]
    agent: Equipped
    policy: Policy
    deadline: Deadline
    now: datetime
    started_at: datetime
    history: tuple[Message, ...] = ()
    """What a model may see of the past."""
    sources: Sources = field(default_factory=Sources)
    spent: Spent = field(default_factory=Spent)
    tool_log: list[dict[str, Any]] = field(default_factory=list)
    """Each call: id, name, status, args, error, and what waits for a confirmation."""
    attachments: list[Mapping[str, Any]] = field(default_factory=list)
    used: str | None = None
    """Key of the agent that gave the answer."""
    handed_over: bool = False
    stop: str = "end_turn"
    memories: list[UUID] = field(default_factory=list)

    def equip(self, key: str) -> Equipped:
        """Another agent, for the same asker. Raises `NotFound`, `Forbidden`."""
        with self.journal.work.transaction() as ctx:
            return equip(self.journal.person(ctx), key, self.options)


def equip(ctx: Ctx, key: str, options: Mapping[str, Any]) -> Equipped:
    """An agent as the caller of `ctx` has it: allowed, with their settings, tools and model."""
    agent = agents.find_agent(ctx, key)
    held, own = own_settings.usable(ctx, agent)
    user = agents.caller(ctx)
    offered = {each.tool.name: each for each in own_settings.tools_for(ctx, agent, own) if each.enabled}
    if options.get("memory") is False:
        offered.pop("search_memory", None)  # who wants no memory has none looked up either
    skills = tuple(f"{skill.name}: {skill.instructions}" for skill in own_settings.skills_of(ctx, agent))
    tier = own.model_tier or held.model_tier
    return Equipped(agent, held, own, offered, skills, chat_model(ctx, user, tier, agent.model))
