"""One agent answers. One that listens first may hand over to whoever knows best."""

from __future__ import annotations

from domain import agents
from domain.conversations import events
from domain.conversations.agent_loop import AgentRun
from domain.conversations.modes.similar import nearest
from domain.conversations.turn_state import Equipped, State
from domain.inference import Message, ToolCall
from domain.kernel.errors import DomainError

THEIRS = 0.32
"""Likeness of a question and a specialist's field from which the question is theirs."""
_FIELDS = {
    "code_assistant": (
        "Help with a program, source code, a bug or an error message in code",
        "Write a function in Python, JavaScript, SQL or another language",
        "Why does this script raise an exception?",
        "Review this code and explain what it does",
    ),
    "data_analyst": (
        "Analyse figures, tables, revenue, sales or other data",
        "Compare numbers by month, region or product",
        "How many orders did we have last quarter?",
        "Show the trend of costs in a table",
    ),
}


def play(state: State, approved: ToolCall | None = None) -> None:
    equipped = state.agent if approved is not None else _taking_over(state)
    run = AgentRun(state, equipped, "ask", instructions=_guidance(state))
    run.work(state.question, _history(state), approved)


def _taking_over(state: State) -> Equipped:
    agent = state.agent.agent
    if not agent.handoffs:
        return state.agent
    kept = state.journal.done("handoff")
    if kept is None:
        chosen = _chosen(state)
        with state.journal.writing() as writer:
            writer.step("handoff", {"to": chosen})
            if chosen is not None:
                writer.event(
                    events.HANDOFF,
                    agent=agent.key,
                    message=f"{agent.name} hands over to {agents.builtin.agents()[chosen].name}",
                    from_agent=agent.key,
                    to_agent=chosen,
                )
        kept = {"to": chosen}
    if kept["to"] is None:
        return state.agent
    state.handed_over = True
    return state.equip(str(kept["to"]))


def _chosen(state: State) -> str | None:
    """The specialist whose field the question is in, if the asker may talk to them."""
    fields = {}
    for key in state.agent.agent.handoffs:
        known = agents.builtin.agents().get(key)
        if known is not None:
            fields[key] = (*_FIELDS.get(key, ()), f"{known.name}. {known.description}")
    if not fields:
        return None
    name, likeness = nearest(state.question, fields, state.deadline)[0]
    if likeness < THEIRS:
        return None
    try:
        state.equip(name)
    except DomainError:
        return None
    return name


def _history(state: State) -> tuple[Message, ...]:
    """What the agent sees of before: all of it, unless the run says otherwise."""
    if state.handed_over:
        wanted = (state.options.get("handoff_input_filter") or "full") if state.options else "full"
        if wanted == "fresh":
            return ()
        if wanted == "last_turn":
            return state.history[-2:]
    return state.history


def _guidance(state: State) -> str:
    """For models that read: the passages that are known before anything is searched."""
    known = state.sources.for_model()
    if not known:
        return ""
    lines = "\n".join(f"[{s.number}] {s.title}: {s.text}" for s in known)
    return f"Passages that may bear on the question, with their numbers:\n{lines}"
