"""Tools: what an agent can do, described by JSON Schemas, and who may have it done.

`register` declares one, `provide` gives it its working part (at start-up, by the context that has it), `get`,
`all_tools`. A tool without a working part is listed as unavailable and never offered to a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import jsonschema_rs

from domain.inference import Deadline
from domain.kernel.context import Ctx


class ToolProblem(Exception):
    """A call that cannot be carried out. The text goes to the model and to the person: nothing internal in it."""

    def __init__(self, message: str, outcome: Literal["failure", "denied"] = "failure") -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that a tool brings, and where it stands."""

    kind: Literal["document", "table", "web", "conversation", "memory", "integration"]
    title: str
    text: str
    score: float | None = None
    source_id: str | None = None
    document_id: UUID | None = None
    chunk_id: UUID | None = None
    page: int | None = None
    connection_id: UUID | None = None
    table_name: str | None = None
    sheet: str | None = None
    cells: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`text` is for the model; `data` (JSON) for whoever watches; `found` are passages, which get numbers."""

    text: str
    data: Any = None
    found: tuple[Found, ...] = ()
    attachments: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class ToolRun:
    """What a tool may know of the call. `transaction()` opens a short transaction as the person who asked, with that
    person's permissions: a tool sees what they may see."""

    transaction: Callable[[], AbstractContextManager[Ctx]]
    deadline: Deadline
    now: datetime
    user_id: UUID | None
    conversation_id: UUID | None = None
    turn_id: UUID | None = None
    agent: str = ""
    surface: str = ""
    knowledge_base_ids: tuple[UUID, ...] = ()
    timezone: str = "UTC"


Effect = Literal["read", "write", "outside"]
"""What a call changes, and so what a crash in the middle of it may come to. The engine keeps it, for all tools alike
(docs/decisions/0011-tools-after-a-crash.md).

- `read`: nothing. It is simply repeated.
- `write`: this platform's own data. Exactly once. What a writing tool wants done elsewhere it promises in the outbox.
- `outside`: something that no transaction takes back: code is run, another server is told to do something. At most
  once: a call that was begun and has no result is not repeated; the model is told so and decides.
"""
Reads = Callable[[ToolRun, Mapping[str, Any]], ToolResult]
"""For `read`: runs outside any transaction and changes nothing."""
Writes = Callable[[Ctx, ToolRun, Mapping[str, Any]], ToolResult]
"""For `write`: runs in the transaction that records the call."""
Acts = Callable[[ToolRun, Mapping[str, Any]], ToolResult]
"""For `outside`: runs outside any transaction, once it is committed that it begins. Raises `ToolProblem` only where it
is known how far it came."""


@dataclass(frozen=True)
class Tool:
    name: str
    title: str
    description: str
    parameters: Mapping[str, Any]
    effect: Effect = "read"
    permission: str | None = None
    """What the person has to hold; None: nothing beyond the conversation."""
    confirmation: bool = False
    """Whether somebody has to approve each call, whoever asks."""
    category: str = "general"
    service: str | None = None
    """The connected service that it needs."""
    seconds: float = 20.0
    surfaces: frozenset[str] = frozenset()
    """Where it is offered; empty: everywhere."""
    reads: Reads | None = None
    writes: Writes | None = None
    acts: Acts | None = None
    _check: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for effect, part in (("read", self.reads), ("write", self.writes), ("outside", self.acts)):
            if part is not None and self.effect != effect:
                raise ValueError(f"{self.name}: its effect is {self.effect}, and its working part is for {effect}")

    @property
    def available(self) -> bool:
        return self.reads is not None or self.writes is not None or self.acts is not None

    def problems(self, arguments: Mapping[str, Any]) -> list[str]:
        """What is wrong with `arguments` by the tool's schema, at most five points; the values are not repeated."""
        found = []
        for error in self._check.iter_errors(dict(arguments)):
            where = "/".join(str(part) for part in error.instance_path) or "arguments"
            found.append(f"{where}: {_rule(error)}")
            if len(found) == 5:
                break
        return found


_tools: dict[str, Tool] = {}


def register(tool: Tool) -> Tool:
    """Declare a tool. Raises ValueError for a second one of the name, and for a schema that is none."""
    if tool.name in _tools:
        raise ValueError(f"two tools are called {tool.name}")
    if tool.parameters.get("type") != "object":
        raise ValueError(f"{tool.name}: the parameters must be the schema of an object")
    check = jsonschema_rs.Draft202012Validator(dict(tool.parameters), validate_formats=True)
    _tools[tool.name] = replace(tool, _check=check)
    return _tools[tool.name]


def provide(name: str, *, reads: Reads | None = None, writes: Writes | None = None, acts: Acts | None = None) -> None:
    """Give a declared tool the working part for its effect; None takes it away. Raises KeyError for a tool there is
    not, ValueError for the part of another effect."""
    _tools[name] = replace(_tools[name], reads=reads, writes=writes, acts=acts)


def get(name: str) -> Tool | None:
    return _tools.get(name)


def all_tools() -> Sequence[Tool]:
    """By name."""
    return [_tools[name] for name in sorted(_tools)]


def names() -> frozenset[str]:
    return frozenset(_tools)


def _rule(error: Any) -> str:
    """The rule that was broken, without the value: it may hold something confidential."""
    known = {
        "required": "a required property is missing",
        "additionalProperties": "an unknown property",
        "type": "the wrong type",
        "enum": "not one of the values allowed",
        "format": "not in the format asked for",
        "maxLength": "too long",
        "minLength": "too short",
        "maximum": "too large",
        "minimum": "too small",
    }
    return known.get(error.kind.name, "does not fit the schema")
