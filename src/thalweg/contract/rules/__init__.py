"""The lint rules: small pure functions over a `View` of one bundled document.

A rule yields a `Breach` for each place that breaks it; the runner (`thalweg.contract.lint`) adds rule, file and line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

from thalweg.contract.findings import Severity
from thalweg.contract.rules.view import Breach, View

Check = Callable[[View], Iterator[Breach]]


@dataclass(frozen=True, slots=True)
class Rule:
    """`what` is the line of the documentation."""

    name: str
    what: str
    check: Check
    severity: Severity = "error"


RULES: dict[str, Rule] = {}


def rule(name: str, what: str, *, severity: Severity = "error") -> Callable[[Check], Check]:
    """Register a rule under `name`."""

    def register(check: Check) -> Check:
        if name in RULES:
            raise ValueError(f"two rules are named {name}")
        RULES[name] = Rule(name, what, check, severity)
        return check

    return register


def load() -> dict[str, Rule]:
    """Every rule, in the order of the documentation."""
    for name in ("document", "operations", "parameters", "responses", "schemas", "bounds", "examples", "extensions"):
        import_module(f"{__name__}.{name}")
    return RULES
