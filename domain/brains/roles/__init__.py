"""The roles of the chain, as data: `ROLES[name]` says what a role is for, how it is asked, what it must answer with and
what its failure means. Their order and how long each may take stand in `domain.brains.plan`.
"""

from __future__ import annotations

from domain.brains.roles import architect, boundary_keeper, devil, librarian, listener, scorer, triage
from domain.brains.roles.role import Role

ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        triage.ROLE,
        listener.ROLE,
        architect.ROLE,
        devil.ROLE,
        scorer.ROLE,
        boundary_keeper.ROLE,
        librarian.ROLE,
    )
}

__all__ = ["ROLES", "Role"]
