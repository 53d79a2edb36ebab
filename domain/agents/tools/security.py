"""The actions of the security workspace, declared as its contract names them. The posture context provides them; until
it does they are listed as unavailable.

Actions of the first list are done at once, those of the second wait for a confirmation (seed rules of the chat). The
effect of all is `write`: what is to happen on a platform is stored, and promised in the outbox, with the call's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.agents.tools.registry import Tool, register

_UUID = {"type": "string", "format": "uuid"}
_EMAIL = {"type": "string", "format": "email", "maxLength": 320}
_PLATFORM = {"type": "string", "minLength": 2, "maxLength": 64, "pattern": "^[a-z][a-z0-9_]*$"}
_APP = {"type": "string", "minLength": 1, "maxLength": 200}
_REASON = {"type": "string", "minLength": 1, "maxLength": 1000}
_HOST = {"type": "string", "minLength": 1, "maxLength": 255}
_PERSON = {"platform": _PLATFORM, "user_email": _EMAIL}

AT_ONCE: Mapping[str, tuple[str, tuple[str, ...], Mapping[str, Any]]] = {
    "acknowledge_finding": (
        "Marks a finding as being worked on.",
        ("finding_id",),
        {"finding_id": _UUID, "note": _REASON},
    ),
    "dismiss_finding": (
        "Dismisses a finding, with a reason.",
        ("finding_id", "reason"),
        {"finding_id": _UUID, "reason": _REASON},
    ),
    "snooze_finding": (
        "Puts a finding off for some days.",
        ("finding_id", "days"),
        {"finding_id": _UUID, "days": {"type": "integer", "minimum": 1, "maximum": 90}},
    ),
    "star_finding": (
        "Puts a star on a finding, or takes it off.",
        ("finding_id",),
        {"finding_id": _UUID, "starred": {"type": "boolean"}},
    ),
    "sanction_app": ("Sanctions an application.", ("app_name",), {"app_name": _APP, "reason": _REASON}),
    "trigger_sync": (
        "Synchronises connected platforms.",
        (),
        {"platforms": {"type": "array", "maxItems": 200, "items": _PLATFORM}},
    ),
}
CONFIRMED: Mapping[str, tuple[str, tuple[str, ...], Mapping[str, Any]]] = {
    "suspend_user": (
        "Suspends a person's account on a platform.",
        ("platform", "user_email"),
        {**_PERSON, "reason": _REASON},
    ),
    "force_password_change": ("Makes a person choose a new password.", ("platform", "user_email"), _PERSON),
    "revoke_sessions": ("Signs a person out everywhere on a platform.", ("platform", "user_email"), _PERSON),
    "revoke_oauth_token": (
        "Takes back what a person has granted to an application.",
        ("platform", "user_email", "app_name"),
        {**_PERSON, "app_name": _APP},
    ),
    "contain_host": (
        "Cuts a host off from the network.",
        ("platform", "host_id"),
        {"platform": _PLATFORM, "host_id": _HOST, "hostname": _HOST},
    ),
    "block_app": ("Blocks an application.", ("app_name",), {"app_name": _APP, "reason": _REASON}),
    "create_access_review": (
        "Starts a review of who may use what.",
        ("title", "reviewer_emails"),
        {
            "title": {"type": "string", "minLength": 1, "maxLength": 255},
            "reviewer_emails": {"type": "array", "minItems": 1, "maxItems": 20, "items": _EMAIL},
            "app_name": _APP,
            "due_in_days": {"type": "integer", "minimum": 1, "maximum": 90},
        },
    ),
}

PERMISSIONS: Mapping[str, str] = {
    "sanction_app": "app_policies:write",
    "block_app": "app_policies:write",
    "trigger_sync": "integrations:write",
}
"""What a person's role has to hold for an action, where it is not `remediation:write`: as for the same act without the
assistant."""


def _declare(actions: Mapping[str, tuple[str, tuple[str, ...], Mapping[str, Any]]], *, confirmed: bool) -> None:
    for name, (description, required, properties) in actions.items():
        register(
            Tool(
                name,
                name.replace("_", " ").capitalize(),
                description,
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": list(required),
                    "properties": dict(properties),
                },
                effect="write",
                permission=PERMISSIONS.get(name, "remediation:write"),
                confirmation=confirmed,
                category="security",
                surfaces=frozenset({"thalian"}),
            )
        )


_declare(AT_ONCE, confirmed=False)
_declare(CONFIRMED, confirmed=True)
