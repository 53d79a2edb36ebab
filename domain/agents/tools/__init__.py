"""Tools of agents: `get`, `all_tools`, `names`; `provide`, `bind_search`, `bind_python` at start-up; `ToolRun` and
`ToolResult`."""

from domain.agents.tools import builtin, security
from domain.agents.tools.python import Runs, bind_python
from domain.agents.tools.registry import (
    Effect,
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
    "Effect",
    "Found",
    "Runs",
    "Searches",
    "Tool",
    "ToolProblem",
    "ToolResult",
    "ToolRun",
    "all_tools",
    "bind_python",
    "bind_search",
    "builtin",
    "get",
    "names",
    "provide",
    "register",
    "security",
]
