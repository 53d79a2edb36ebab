"""A role: data, and the steps in which it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from domain.brains.state import State
from domain.inference import Deadline, Drivers
from domain.kernel.context import Ctx, Work

Think = Callable[[State, Drivers, Deadline], Any]
Slowly = Callable[[Callable[[Deadline], Any]], Any]
Look = Callable[[Work, State, Slowly, Deadline], Any]
Note = Callable[[Ctx, State, Any], dict[str, Any]]


def as_thought(ctx: Ctx, state: State, thought: Any) -> dict[str, Any]:
    return dict(thought)


class Outdated(Exception):
    """Raised by `note`: what the thought rests on is gone meanwhile. The role works once more."""


@dataclass(frozen=True, slots=True)
class Role:
    name: str
    purpose: str
    runs_on: Literal["embeddings", "memory", "model", "rules"]
    failure: str
    """What it means for the answer when this role failed."""
    think: Think
    """The slow step: no database, a deadline, in a thread that can be left behind. Answers with anything."""
    look: Look | None = None
    """A step before `think`, with a time of its own: looks up material in short transactions, its slow parts outside
    them. When it fails, the role does without (`State.documents` is None)."""
    note: Note = as_thought
    """The short step, in the transaction that records the role's result: reads or writes memory, answers with JSON."""
    needs: tuple[str, ...] = ()
    """Roles without whose result there is nothing to do: if one of them failed, this one is skipped."""
    instructions: str = ""
    """What a generative model is told."""
    output: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of what a model must answer with."""
