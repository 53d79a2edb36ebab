"""Roles: who may do what on each surface, held against the contracts and against the level that the seeds give each
operation (contract-tests/inventory.tsv)."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from domain.identity import roles, rules
from domain.kernel.errors import Forbidden

ROOT = Path(__file__).parents[2]
SURFACES = ("thallus", "thalian", "beeflow", "starter")
LADDER = ("owner", "admin", "analyst", "agent", "member", "auditor", "viewer")
OPERATOR = "superadmin"


def operations(surface: str) -> Iterator[Mapping[str, Any]]:
    manifest = json.loads((ROOT / "generated" / surface / "operations.json").read_bytes())
    yield from manifest["operations"]


def permissions_in(surface: str) -> frozenset[str]:
    """Every `x-permission` of a contract."""
    asked = (operation["extensions"].get("x-permission") for operation in operations(surface))
    return frozenset(permission for permission in asked if permission is not None)


def granted_on(surface: str) -> frozenset[str]:
    return frozenset[str]().union(
        *roles.GRANTS.get(surface, {}).values(),
        *(granted.get(surface, frozenset()) for granted in roles.PLATFORM_GRANTS.values()),
        *roles.KEY_GRANTS.get(surface, {}).values(),
        rules.SCOPES["thalium"] if surface == "thalium" else (),
    )


def levels(surface: str) -> Iterator[tuple[str, str, str, str | None]]:
    """Method, path, the seed's level, and the permission that the contract asks for; operations with a session."""
    with (ROOT / "contract-tests" / "inventory.tsv").open() as file:
        stated = {
            (row["method"], row["path"]): row["auth"]
            for row in csv.DictReader(file, delimiter="\t")
            if row["surface"] == surface
        }
    for operation in operations(surface):
        known = stated.get((operation["method"], operation["path"]))
        if operation["security"] and known is not None:
            permission = operation["extensions"].get("x-permission")
            yield operation["method"], operation["path"], known, permission


def may(surface: str, permission: str | None, role: str, platform_role: str | None = None) -> bool:
    return permission is None or permission in roles.permissions_of(surface, role, platform_role)


# --- grants and contracts ------------------------------------------------------------------------------------

UNUSED: Mapping[tuple[str, str], str] = {
    ("beeflow", "agents:manage"): "decided by the verb: who may change agents that belong to others",
    ("starter", "support:*"): "the wildcard that the seed gives operators: it stands for every permission there is",
    ("thalian", "app_policies:write"): "decided by the verb: the operation is a key's, with `mcp:write`",
    ("thalian", "remediation:approve"): "decided by the verb: it tells who needs no second approver in execute-action",
}
"""Grants that no operation asks for, and why they are there."""
RESERVED = {"memory:write", "memory:admin", "audit:read", "config:write", "admin"}
"""Scopes of Thalium's seed for which it lists no operation: keys carry them, nothing asks for them yet."""


@pytest.mark.parametrize("surface", [*SURFACES, "thalium"])
def test_every_permission_that_a_contract_asks_for_is_somebodys(surface: str) -> None:
    assert permissions_in(surface) - granted_on(surface) == set()


@pytest.mark.parametrize("surface", [*SURFACES, "thalium"])
def test_every_grant_is_asked_for_by_an_operation_or_has_a_reason(surface: str) -> None:
    extra = granted_on(surface) - permissions_in(surface)
    reasons = {permission for known, permission in UNUSED if known == surface}
    assert extra == (RESERVED if surface == "thalium" else reasons)


def test_every_rung_has_a_name_and_grants_on_every_surface_and_every_name_a_rung() -> None:
    assert set(roles.ROLES) == set(LADDER)
    for surface in SURFACES:
        assert set(roles.NAMES[surface]) == set(roles.GRANTS[surface]) == set(LADDER)
        assert set(roles.NAMES[surface].values()) <= set(roles.GIVEN[surface])
        for name, rung in roles.GIVEN[surface].items():
            assert roles.called(surface, rung) == name or (surface, name) == ("starter", "editor")
        assert set(roles.GIVEN[surface].values()) <= set(LADDER)


@pytest.mark.parametrize("surface", SURFACES)
def test_a_higher_rung_may_all_that_a_lower_one_may(surface: str) -> None:
    """Except that an auditor stands beside the ladder: reads the trail, and does nothing that a member does."""
    climbing = [role for role in reversed(LADDER) if role != "auditor"]
    for lower, higher in itertools.pairwise(climbing):
        assert roles.GRANTS[surface][lower] <= roles.GRANTS[surface][higher], (lower, higher)
    assert roles.GRANTS[surface]["viewer"] <= roles.GRANTS[surface]["auditor"] <= roles.GRANTS[surface]["admin"]
    assert roles.GRANTS[surface]["owner"] <= roles.permissions_of(surface, "owner", OPERATOR)


@pytest.mark.parametrize("surface", SURFACES)
def test_who_only_looks_changes_nothing(surface: str) -> None:
    looking = roles.GRANTS[surface]["viewer"] | roles.GRANTS[surface]["auditor"]
    changing = {permission for permission in looking if not permission.endswith(":read")}
    # Asking the assistant is the one thing that the seed lets a Thalian viewer do.
    assert changing == ({"assistant:write"} if surface == "thalian" else set())


# --- what the seeds say --------------------------------------------------------------------------------------


def test_thallus_levels_are_those_of_the_seed() -> None:
    holders = {"User": ("member", None), "Admin": ("admin", None), "Superadmin": ("member", OPERATOR)}
    without = {"Admin": ("member", None), "Superadmin": ("owner", None)}
    seen = set()
    for method, path, level, permission in levels("thallus"):
        if level in holders:
            seen.add(level)
            assert may("thallus", permission, *holders[level]), (method, path, permission)
        if level in without:
            assert permission is not None, (method, path)
            assert not may("thallus", permission, *without[level]), (method, path, permission)
    assert seen == set(holders)


def test_bee_flow_levels_are_those_of_the_seed() -> None:
    counted = {"U": 0, "A": 0}
    for method, path, level, permission in levels("beeflow"):
        if level == "U":
            assert may("beeflow", permission, "member"), (method, path, permission)
        if level == "A":
            assert permission is not None, (method, path)
            assert not may("beeflow", permission, "member"), (method, path, permission)
            assert may("beeflow", permission, "admin"), (method, path, permission)
        if level in counted:
            counted[level] += 1
    assert counted == {"U": 72, "A": 29}


THALIAN_RANKS = {
    "Viewer": ("viewer", "member", "auditor", "agent", "analyst", "admin", "owner"),
    "Auditor": ("auditor", "agent", "analyst", "admin", "owner"),
    "Agent": ("agent", "analyst", "admin", "owner"),
    "Admin": ("admin", "owner"),
}
"""The seed's least rank for an operation -> the rungs that have it (its order: Super Admin, Admin, Security Analyst,
Agent, Auditor, Viewer)."""


def test_thalian_ranks_are_those_of_the_seed() -> None:
    seen = set()
    for method, path, level, permission in levels("thalian"):
        if level in THALIAN_RANKS:
            seen.add(level)
            allowed = {role for role in LADDER if may("thalian", permission, role)}
            assert allowed == set(THALIAN_RANKS[level]), (method, path, permission, allowed)
        elif level in ("read", "write"):
            scopes = {scope for scope, granted in roles.KEY_GRANTS["thalian"].items() if permission in granted}
            assert scopes == ({"read", "write"} if level == "read" else {"write"}), (method, path)
    assert seen == set(THALIAN_RANKS)


def test_thalian_approves_from_security_analyst_up() -> None:
    for permission in ("remediation:approve", "app_policies:write"):
        assert {role for role in LADDER if may("thalian", permission, role)} == {"analyst", "admin", "owner"}


STARTER_SCOPES: Mapping[str, frozenset[str]] = {
    "owner": frozenset(
        [
            "conversations:read",
            "conversations:write",
            "conversations:delete",
            "tools:read",
            "billing:read",
            "billing:manage",
            "support:read",
        ]
    ),
    "member": frozenset(["conversations:read", "conversations:write", "tools:read"]),
    "viewer": frozenset(["conversations:read", "tools:read"]),
}
"""The scopes of a role as the seed's documentation has them; administrators have an owner's."""
STARTER_BY_ROLE = {"vector_stores", "containers", "storage", "service_accounts", "tenants"}
"""What the seed ties to the role itself (viewers read, owners and administrators change): permissions here."""
STARTER_OPERATORS = {"auth:signup_requests", "auth:invites", "status:manage"}


@pytest.mark.parametrize(
    ("role", "like"),
    [
        ("owner", "owner"),
        ("admin", "owner"),
        ("analyst", "member"),
        ("agent", "member"),
        ("member", "member"),
        ("auditor", "viewer"),
        ("viewer", "viewer"),
    ],
)
def test_starter_scopes_are_those_of_the_seed(role: str, like: str) -> None:
    held = roles.permissions_of("starter", role)
    assert {one for one in held if one.partition(":")[0] not in STARTER_BY_ROLE} == STARTER_SCOPES[like]
    acts = {one.partition(":")[2] for one in held if one.partition(":")[0] in STARTER_BY_ROLE}
    assert acts == ({"read", "write", "delete", "manage"} if like == "owner" else {"read"})
    assert not held & STARTER_OPERATORS


@pytest.mark.parametrize("platform_role", ["superadmin", "support"])
def test_operators_of_starter_have_what_no_tenant_gives(platform_role: str) -> None:
    held = roles.permissions_of("starter", "viewer", platform_role)
    assert held >= STARTER_OPERATORS | {"support:*"}
    assert roles.permissions_of("thallus", "viewer", "support") == roles.permissions_of("thallus", "viewer")


def test_superadmin_is_a_name_on_thallus_alone() -> None:
    assert roles.called("thallus", "member", "superadmin") == "superadmin"
    assert [roles.called(surface, "member", "superadmin") for surface in SURFACES[1:]] == ["viewer", "user", "member"]
    assert "superadmin" not in roles.GIVEN["thallus"], "nobody is made one by an invitation"


# --- giving and changing ---------------------------------------------------------------------------------------


def test_only_lower_rungs_are_given_and_an_owner_gives_all() -> None:
    for giver, given in itertools.product(LADDER, LADDER):
        if giver == "owner" or roles.ROLES[given] < roles.ROLES[giver]:
            roles.must_outrank(giver, given)
        else:
            with pytest.raises(Forbidden):
                roles.must_outrank(giver, given)


def test_of_several_rungs_every_one_has_to_be_lower() -> None:
    with pytest.raises(Forbidden):
        roles.must_outrank("admin", "member", "owner")
    roles.must_outrank("admin", "member", "viewer")


def test_a_read_only_key_has_what_reads_and_nothing_else() -> None:
    for surface, role in itertools.product(SURFACES, LADDER):
        held = roles.permissions_of(surface, role, OPERATOR)
        assert roles.read_only(held) == {permission for permission in held if permission.endswith(":read")}


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        ({"conversations:read"}, "conversations:read", True),
        ({"conversations:read"}, "conversations:write", False),
        ({"conversations:*"}, "conversations:delete", True),
        ({"conversations:*"}, "conversations_export:read", False),
        ({"support:*"}, "billing:manage", True),
        ({"support:read"}, "billing:manage", False),
        ({"*"}, "billing:manage", False),
        ({"*:*"}, "billing:manage", False),
        (set(), "", False),
    ],
)
def test_a_wildcard_covers_its_own_area_and_supports_covers_all(held: set[str], wanted: str, expected: bool) -> None:
    assert roles.matches(held, wanted) is expected


def test_wildcards_are_written_out_before_the_edge_compares_them() -> None:
    assert roles.expanded("starter", {"conversations:*"}) >= {"conversations:read", "conversations:delete"}
    assert roles.expanded("starter", {"support:*"}) >= permissions_in("starter")
    assert roles.expanded("starter", {"conversations:read"}) == {"conversations:read"}
    assert roles.expanded("thallus", {"nothing:*"}) == {"nothing:*"}


@pytest.mark.parametrize(("surface", "role"), [("thalium", "owner"), ("thallus", "superadmin"), ("nowhere", "owner")])
def test_an_unknown_surface_or_role_grants_nothing(surface: str, role: str) -> None:
    assert roles.permissions_of(surface, role) == frozenset()
