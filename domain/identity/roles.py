"""Roles: one ladder for all surfaces, each surface's own names for its rungs, and what each name may do there.

A membership holds a rung. What a surface calls it, and the permissions (`x-permission` of that surface's contract) that
come with it, are tables below. Permissions of one name may be granted differently by two surfaces, as their seeds say:
a Bee Flow user deletes their own conversations, a Starter member deletes none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from domain.kernel.errors import Forbidden

ROLES: Mapping[str, int] = MappingProxyType(
    {"owner": 60, "admin": 50, "analyst": 40, "agent": 30, "member": 20, "auditor": 15, "viewer": 10}
)
"""Role -> rank. Only lower ranks can be given or changed, and nobody raises themselves."""

MANAGERS = frozenset({"owner", "admin"})
"""Who administers an organisation. Each organisation keeps at least one of them."""

SUPERADMIN, SUPPORT = "superadmin", "support"
"""Platform roles: of the people who run the platform, across organisations."""

NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "thallus": {
            "owner": "admin",
            "admin": "admin",
            "analyst": "user",
            "agent": "user",
            "member": "user",
            "auditor": "user",
            "viewer": "user",
        },
        "thalian": {
            "owner": "super_admin",
            "admin": "admin",
            "analyst": "security_analyst",
            "agent": "agent",
            "member": "viewer",
            "auditor": "auditor",
            "viewer": "viewer",
        },
        "beeflow": {
            "owner": "admin",
            "admin": "admin",
            "analyst": "user",
            "agent": "user",
            "member": "user",
            "auditor": "user",
            "viewer": "user",
        },
        "starter": {
            "owner": "owner",
            "admin": "admin",
            "analyst": "member",
            "agent": "member",
            "member": "member",
            "auditor": "viewer",
            "viewer": "viewer",
        },
    }
)
"""Surface -> rung -> what that surface calls it."""

GIVEN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "thallus": {"admin": "admin", "user": "member"},
        "thalian": {
            "super_admin": "owner",
            "admin": "admin",
            "security_analyst": "analyst",
            "agent": "agent",
            "auditor": "auditor",
            "viewer": "viewer",
        },
        "beeflow": {"admin": "admin", "user": "member"},
        "starter": {"owner": "owner", "admin": "admin", "member": "member", "editor": "member", "viewer": "viewer"},
    }
)
"""Surface -> its name for a role -> the rung that is meant when somebody is given it there."""


def _every(resources: str, acts: str) -> frozenset[str]:
    return frozenset(f"{resource}:{act}" for resource in resources.split() for act in acts.split())


_THALLUS_READ = _every("agents billing conversations data documents integrations memories workflows", "read")
_THALLUS_USER = (
    _THALLUS_READ
    | _every("agents conversations data documents integrations memories workflows", "write")
    | _every("data documents memories workflows", "delete")
)
_THALLUS_ADMIN = _THALLUS_USER | _every("agents data documents team billing", "manage") | {"audit:read"}

_STARTER_READ = _every("conversations tools vector_stores containers storage", "read")
_STARTER_MEMBER = _STARTER_READ | {"conversations:write"}
_STARTER_ADMIN = (
    _STARTER_MEMBER
    | {"conversations:delete", "billing:read", "billing:manage", "support:read"}
    | _every("vector_stores containers storage", "write delete")
    | _every("service_accounts tenants", "manage")
)
_STARTER_OPERATOR = _STARTER_ADMIN | {"auth:signup_requests", "auth:invites", "status:manage"}

_BEEFLOW_USER = (
    _every("agents automations conversations knowledge skills webpages", "read write delete")
    | _every("transcriptions tickets", "read write")
    | {"chat:write"}
)
_BEEFLOW_ADMIN = (
    _BEEFLOW_USER
    | _every("users health guardrails", "read")
    | _every("agents signup groups integrations privacy license organisation users", "manage")
)

_THALIAN_VIEWER = frozenset({"assistant:write"})
_THALIAN_AUDITOR = _THALIAN_VIEWER | {"audit:read"}
_THALIAN_AGENT = _THALIAN_VIEWER | {"analysis:write", "remediation:write", "audit:read"}
_THALIAN_ANALYST = _THALIAN_AGENT | {"remediation:approve", "app_policies:write"}
_THALIAN_ADMIN = _THALIAN_ANALYST | {
    "integrations:write",
    "integrations:manage",
    "billing:manage",
    "workspace:admin",
    "api_keys:read",
    "api_keys:manage",
}

GRANTS: Mapping[str, Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "thallus": {
            "owner": _THALLUS_ADMIN,
            "admin": _THALLUS_ADMIN,
            "analyst": _THALLUS_USER,
            "agent": _THALLUS_USER,
            "member": _THALLUS_USER,
            "auditor": _THALLUS_READ | {"audit:read"},
            "viewer": _THALLUS_READ,
        },
        "thalian": {
            "owner": _THALIAN_ADMIN,
            "admin": _THALIAN_ADMIN,
            "analyst": _THALIAN_ANALYST,
            "agent": _THALIAN_AGENT,
            "member": _THALIAN_VIEWER,
            "auditor": _THALIAN_AUDITOR,
            "viewer": _THALIAN_VIEWER,
        },
        "beeflow": {
            "owner": _BEEFLOW_ADMIN,
            "admin": _BEEFLOW_ADMIN,
            "analyst": _BEEFLOW_USER,
            "agent": _BEEFLOW_USER,
            "member": _BEEFLOW_USER,
            "auditor": frozenset(p for p in _BEEFLOW_USER if p.endswith(":read")),
            "viewer": frozenset(p for p in _BEEFLOW_USER if p.endswith(":read")),
        },
        "starter": {
            "owner": _STARTER_ADMIN,
            "admin": _STARTER_ADMIN,
            "analyst": _STARTER_MEMBER,
            "agent": _STARTER_MEMBER,
            "member": _STARTER_MEMBER,
            "auditor": _STARTER_READ,
            "viewer": _STARTER_READ,
        },
    }
)
"""Surface -> rung -> the permissions of that surface's contract."""

PLATFORM_GRANTS: Mapping[str, Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        SUPERADMIN: {
            "thallus": _THALLUS_ADMIN | {"platform:manage", "audit:manage"},
            "beeflow": _BEEFLOW_ADMIN,
            "thalian": _THALIAN_ADMIN,
            "starter": _STARTER_OPERATOR | {"support:*"},
        },
        SUPPORT: {"starter": _STARTER_OPERATOR | {"support:*"}},
    }
)
"""What people who run the platform may besides, in the organisation that they are signed in to."""

KEY_GRANTS: Mapping[str, Mapping[str, frozenset[str]]] = MappingProxyType(
    {"thalian": {"read": frozenset({"mcp:read"}), "write": frozenset({"mcp:read", "mcp:write"})}}
)
"""Kind of key -> scope -> permissions, for keys that act for an organisation and not for a person."""


def permissions_of(surface: str, role: str, platform_role: str | None = None) -> frozenset[str]:
    """What a member with `role` may on `surface`, with what a platform role adds."""
    own = GRANTS.get(surface, {}).get(role, frozenset())
    return own if platform_role is None else own | PLATFORM_GRANTS[platform_role].get(surface, frozenset())


def read_only(permissions: Iterable[str]) -> frozenset[str]:
    """Those that change nothing, for keys with the scope `read-only`."""
    return frozenset(permission for permission in permissions if permission.endswith(":read"))


def matches(held: Iterable[str], wanted: str) -> bool:
    """Whether `wanted` is among `held`, where `ns:*` holds all of `ns`, and `support:*` everything."""
    have = frozenset(held)
    return wanted in have or "support:*" in have or f"{wanted.partition(':')[0]}:*" in have


def expanded(surface: str, scopes: Iterable[str]) -> frozenset[str]:
    """Scopes, with every permission of a surface that a wildcard among them stands for (see `matches`)."""
    held = frozenset(scopes)
    known = frozenset[str]().union(
        *GRANTS.get(surface, {}).values(), *(granted.get(surface, frozenset()) for granted in PLATFORM_GRANTS.values())
    )
    return held | frozenset(permission for permission in known if matches(held, permission))


def called(surface: str, role: str, platform_role: str | None = None) -> str:
    """What `surface` calls a rung. Thallus alone has a name for the platform's own administrators."""
    if surface == "thallus" and platform_role == SUPERADMIN:
        return "superadmin"
    return NAMES[surface][role]


def must_outrank(actor_role: str, *roles: str) -> None:
    """Raise `Forbidden` unless the actor may give or change each of `roles`: lower ones, and an owner every one."""
    for role in roles:
        if ROLES[role] >= ROLES[actor_role] and actor_role != "owner":
            raise Forbidden("Only lower roles can be given or changed.")
