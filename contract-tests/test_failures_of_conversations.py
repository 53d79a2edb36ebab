"""Every failure that a contract of agents, conversations, brains, memory and models declares is reached: each
operation, each 4xx and 5xx, one request that is answered so, in the surface's own error body.

What fails alike everywhere is provoked by what the contract says of the operation (`recipes/provoking.py`); what is
particular stands in `recipes/failures_*.py`. A status that is declared and cannot be reached fails this test, unless it
has a reason in `EVERYWHERE`.
"""

from __future__ import annotations

from typing import Any

DECLARED_FAILURES_OF = {
    "thallus": {"chat", "conversations", "agents", "agent-access", "model-settings", "memories"},
    "thalian": {"ai-chat"},
    "beeflow": {"agents", "marketplace", "conversations", "chat", "skills", "voice", "guardrails", "tickets"},
    "starter": {"chat", "agents", "conversations", "tools"},
    "thalium": {"brains"},
}
"""The tags whose operations are asked; conftest makes a test of each status that they declare."""


def test_a_declared_failure_is_reached(declared_failure: tuple[Any, int], failing: Any) -> None:
    failing(*declared_failure)
