"""Which mode a question needs, by its likeness to examples."""

from __future__ import annotations

from domain.conversations import events
from domain.conversations.modes.similar import nearest
from domain.conversations.turn_state import State

EXAMPLES = {
    "ask": (
        "What is our refund policy?",
        "When does the office open?",
        "Who is responsible for the depot?",
        "What does this document say about warranty?",
        "Thanks, that is all.",
        "How do I reset my password?",
        "What is 12 times 7?",
        "Summarise this document",
    ),
    "research": (
        "Compare the offers of our suppliers and recommend one",
        "Show me Q4 revenue by region and explain the differences",
        "Write a report on what we know about the new regulation",
        "What are the advantages and disadvantages of each option?",
        "Collect everything about the merger from all our documents",
        "Give me an overview of the market, the competitors and the risks",
    ),
    "investigate": (
        "Why did revenue drop in March?",
        "Find out what causes the delays in delivery",
        "What is the root cause of the outage last night?",
        "Why do customers cancel after two months?",
        "Investigate why the invoices do not match the orders",
        "What could explain the rise in complaints?",
    ),
}
SURE = 0.45
"""Likeness from which more than `ask` is begun: minutes of work are not spent on a doubt."""
AHEAD = 0.03
"""How much nearer it has to be than `ask`."""


def decided(state: State) -> str:
    kept = state.journal.done("mode")
    if kept is None:
        ranked = nearest(state.question, EXAMPLES, state.deadline)
        likeness = dict(ranked)
        name, best = ranked[0]
        mode = name if name == "ask" or (best >= SURE and best - likeness["ask"] >= AHEAD) else "ask"
        kept = {"mode": mode, "confidence": best}
        with state.journal.writing() as writer:
            writer.step("mode", dict(kept))
            writer.event(events.MODE_CHOSEN, message=f"Working in mode {mode}", mode=mode, confidence=best)
    return str(kept["mode"])
