"""Which roles run, in which order and for how long: `role_config`, checked. Pure.

    {"roles": ["architect", "devil"], "timeouts": {"devil": 5}, "model": "extractive"}

Every part may be left out. An invocation's own goes before the brain's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from domain.kernel.errors import Invalid

ORDER = ("triage", "listener", "architect", "devil", "scorer", "boundary_keeper", "librarian")
TIMEOUTS = {
    "triage": 5.0,
    "listener": 5.0,
    "architect": 30.0,
    "devil": 20.0,
    "scorer": 5.0,
    "boundary_keeper": 5.0,
    "librarian": 10.0,
}
"""Seconds a role may take by default."""
MEDIUM_TIMEOUT = 45.0
"""The triage's, when it has to hear or see first."""
MIN_TIMEOUT, MAX_TIMEOUT = 0.001, 60.0
NEEDS_ARCHITECT = ("devil", "scorer")


@dataclass(frozen=True, slots=True)
class Plan:
    roles: tuple[str, ...]
    timeouts: Mapping[str, float]
    model: str | None = None

    def timeout(self, role: str, input_type: str) -> float:
        default = MEDIUM_TIMEOUT if role == "triage" and input_type != "text" else TIMEOUTS[role]
        return self.timeouts.get(role, default)


class _RoleConfig(Schema):
    class Meta:
        unknown = RAISE

    roles = fields.List(fields.String(validate=validate.OneOf(ORDER)), validate=validate.Length(1, len(ORDER)))
    timeouts = fields.Dict(
        keys=fields.String(validate=validate.OneOf(ORDER)),
        values=fields.Float(validate=validate.Range(MIN_TIMEOUT, MAX_TIMEOUT)),
    )
    model = fields.String(validate=validate.Length(1, 60))


def checked(asked: Mapping[str, Any] | None, *, blocked_terms: bool = False) -> Plan:
    """Raises `Invalid` with what is wrong. With `blocked_terms`, the boundary keeper cannot be left out."""
    try:
        config: dict[str, Any] = _RoleConfig().load(dict(asked or {}))
    except ValidationError as wrong:
        raise Invalid(f"role_config: {_words(wrong.messages_dict)}") from None
    named = config.get("roles")
    roles = ORDER if named is None else _ordered(named)
    for position, role in enumerate(roles):
        if role in NEEDS_ARCHITECT and "architect" not in roles[:position]:
            raise Invalid(f"role_config.roles: {role} needs architect before it.")
    if blocked_terms and "boundary_keeper" not in roles:
        raise Invalid("role_config.roles: this brain has blocked terms, so boundary_keeper cannot be left out.")
    return Plan(roles, dict(config.get("timeouts", {})), config.get("model"))


def merged(asked: Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """An invocation's `role_config` over its brain's."""
    own = dict(asked or {})
    together = {**defaults, **own}
    if isinstance(own.get("timeouts"), Mapping) and isinstance(defaults.get("timeouts"), Mapping):
        together["timeouts"] = {**defaults["timeouts"], **own["timeouts"]}
    return together


def _ordered(named: list[str]) -> tuple[str, ...]:
    if len(set(named)) != len(named):
        raise Invalid("role_config.roles: each role once.")
    if "triage" in named[1:]:
        raise Invalid("role_config.roles: triage is always first.")
    if "librarian" in named[:-1]:
        raise Invalid("role_config.roles: librarian is always last.")
    between = [role for role in named if role not in ("triage", "librarian")]
    return ("triage", *between, "librarian")


def _words(messages: Any, path: str = "") -> str:
    if isinstance(messages, Mapping):
        return " ".join(_words(each, f"{path}.{key}" if path else str(key)) for key, each in messages.items())
    return (
        f"{path}: {' '.join(str(each) for each in messages)}" if isinstance(messages, list) else f"{path}: {messages}"
    )
