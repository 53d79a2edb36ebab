"""How a turn works: `ask` (one agent), `research` (a plan of agents), `investigate` (hypotheses), `auto` (one of
them)."""

from __future__ import annotations

from domain.conversations.modes import ask, auto, investigate, research
from domain.conversations.turn_state import State
from domain.inference import ToolCall


def choose(state: State) -> str:
    """The mode to work in; `auto` is decided by the question."""
    return auto.decided(state) if state.mode == "auto" else state.mode


def play(state: State, mode: str, approved: ToolCall | None = None) -> None:
    """Work until the answer is said. An approved action is an `ask`, whatever the mode."""
    if mode == "research" and approved is None:
        research.play(state)
    elif mode == "investigate" and approved is None:
        investigate.play(state)
    else:
        ask.play(state, approved)


__all__ = ["choose", "play"]
