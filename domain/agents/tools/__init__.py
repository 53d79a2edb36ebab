"""Tools of agents: `get`, `all_tools`, `names`; `provide` and `bind_search` at start-up; `ToolRun` and `ToolResult`."""

from domain.agents.tools import builtin, security
from domain.agents.tools.registry import (
    Found,
    Tool,
    ToolProblem,
    ToolResult,
    ToolRun,
    all_tools,
    get,
    names,
    provide,
    register,
)
from domain.agents.tools.working import Searches, bind_search

__all__ = [
    "Found",
    "Searches",
    "Tool",
    "ToolProblem",
    "ToolResult",
    "ToolRun",
    "all_tools",
    "bind_search",
    "builtin",
    "get",
    "names",
    "provide",
    "register",
    "security",
]
