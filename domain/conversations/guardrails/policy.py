"""What the guardrails do in a turn: the agent's own setting, else the organisation's, else nothing but to strip what is
invisible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from domain import billing, identity
from domain.kernel.context import Ctx
from domain.kernel.errors import DomainError

Mode = Literal["ask", "auto_redact", "block"]


@dataclass(frozen=True, slots=True)
class Policy:
    """`dlp`: whether prompts and answers are looked at. `shield`: off, standard, strict or custom."""

    dlp: bool = False
    mode: str = "ask"
    fails_open: bool = True
    shield: str = "off"
    threshold: float = 0.7
    terms: tuple[str, ...] = ()


def merged(organisation: Mapping[str, Any], agent: Mapping[str, Any], *, entitled: bool) -> Policy:
    """What holds, from the organisation's settings (snake_case, as identity keeps them) and the agent's. Pure."""

    def said(name: str) -> Any:
        value = agent.get(name)
        return organisation.get(name) if value is None else value

    mode = said("dlp_mode") or "ask"
    failure = said("dlp_failure_mode") or ("fail_closed" if mode == "block" else "fail_open")
    given = organisation.get("privacy_shield_threshold")
    return Policy(
        dlp=entitled,
        mode=mode,
        fails_open=failure == "fail_open",
        shield=said("privacy_shield") or "off",
        threshold=0.7 if given is None else float(given),
        terms=tuple(str(term) for term in organisation.get("custom_terms") or ()),
    )


def of_turn(ctx: Ctx, agent_guardrails: Mapping[str, Any], surface: str) -> Policy:
    """The policy of a turn of `ctx`'s organisation. DLP comes with a plan; where the surface sells none, it is off."""
    settings = identity.get_organisation(ctx).settings.get("guardrails") or {}
    return merged(settings, agent_guardrails, entitled=entitled(ctx, surface))


def entitled(ctx: Ctx, surface: str) -> bool:
    try:
        billing.entitled(ctx, "dlp", surface)
    except (billing.UnknownPlan, DomainError):
        return False
    return True
