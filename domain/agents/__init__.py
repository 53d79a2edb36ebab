"""Agents: what they are, who may use them, what they can do.

Definitions (`create_agent`, `get_agent`, `find_agent`, `list_agents`, `update_agent`, `delete_agent`, `list_versions`,
`restore_version`), the marketplace (`publish_agent`, `list_marketplace`, `read_agent`, `duplicate_agent`), access in
four tiers (`access`, `overrides`), a person's own settings (`own_settings`), `tools`, `skills`, `confirmations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.agents import access, builtin, confirmations, overrides, own_settings, rules, skills, tools
    from domain.agents.definitions import (
        create_agent,
        delete_agent,
        find_agent,
        get_agent,
        list_agents,
        list_versions,
        may_edit,
        names_of,
        restore_version,
        update_agent,
    )
    from domain.agents.marketplace import Shelved, duplicate_agent, list_marketplace, publish_agent, read_agent
    from domain.agents.people import Directory, Group, Person, bind_directory, caller, directory
    from domain.agents.spec import Agent, Publication
else:
    __getattr__ = offers(__name__, __file__)

__all__ = [
    "Agent",
    "Directory",
    "Group",
    "Person",
    "Publication",
    "Shelved",
    "access",
    "bind_directory",
    "builtin",
    "caller",
    "confirmations",
    "create_agent",
    "delete_agent",
    "directory",
    "duplicate_agent",
    "find_agent",
    "get_agent",
    "list_agents",
    "list_marketplace",
    "list_versions",
    "may_edit",
    "names_of",
    "overrides",
    "own_settings",
    "publish_agent",
    "read_agent",
    "restore_version",
    "rules",
    "skills",
    "tools",
    "update_agent",
]
