"""Scorer: the confidence score and the gate decision, by the published formula."""

from __future__ import annotations

from typing import Any

from domain.brains import rules
from domain.brains.roles.role import Role
from domain.brains.state import State
from domain.inference import Deadline, Drivers


def _think(state: State, drivers: Drivers, deadline: Deadline) -> dict[str, Any]:
    answer, devil = state.said("architect"), state.said("devil")
    assert answer is not None  # needs
    risk = None if devil is None else float(devil["risk"])
    confidence = rules.score(float(answer["confidence"]), risk)
    return {"confidence": confidence, "gate": rules.gate(confidence, challenged=devil is not None)}


ROLE = Role(
    name="scorer",
    purpose="Computes the confidence score and the gate decision.",
    runs_on="rules",
    failure="There is no confidence score and no gate decision; do not gate on confidence.",
    think=_think,
    needs=("architect",),
)
