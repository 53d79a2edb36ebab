"""`run_python`: code that an agent has written, run in its container (`domain.containers`), bound at start-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from domain.agents.tools.registry import Tool, ToolProblem, ToolResult, ToolRun, provide, register
from domain.containers import Gone, Outcome
from domain.inference import TimedOut
from domain.kernel.context import Ctx

LONGEST = 20_000
"""Characters of a program that a model may write."""
SECONDS = 90.0
SPARE = 3.0
"""Seconds of the call's that are not the program's: for what comes before and after it."""
SHOWN = 8_000
"""Characters of each output that are told of; of a longer one, its beginning and end."""
ENDINGS = {
    "done": "The program has ended.",
    "failed": "The program ended with an error.",
    "killed": "The program was killed: it went beyond a limit, most often that of processor time.",
    "timeout": "The program was stopped: its time was over.",
    "flood": "The program was stopped: it wrote without end.",
}


class Runs(Protocol):
    """How code is run: in the container of an agent, or in a fresh one where it has none."""

    def __call__(
        self,
        transaction: Callable[[], AbstractContextManager[Ctx]],
        agent_key: str,
        code: str,
        *,
        seconds: float,
        beat: Callable[[], None],
    ) -> Outcome: ...


register(
    Tool(
        "run_python",
        "Run Python",
        "Runs a Python program and answers what it prints. There is no network. Files that it leaves in the current "
        "folder are there in the next run when the agent has a container. Print what you want to know.",
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["code"],
            "properties": {
                "code": {"type": "string", "minLength": 1, "maxLength": LONGEST, "description": "The whole program."}
            },
        },
        effect="outside",
        category="code",
        seconds=SECONDS,
        surfaces=frozenset({"starter"}),  # whose tenants have containers
    )
)


def bind_python(runs: Runs | None) -> None:
    """Give `run_python` its working part; None takes it away.

    Its effect is `outside`: files of a container are not rows, and a program that ran twice would append to them twice.
    """
    if runs is None:
        provide("run_python", acts=None)
        return

    def run_python(run: ToolRun, given: Mapping[str, Any]) -> ToolResult:
        def beat() -> None:
            if run.deadline.over:
                raise TimedOut

        try:
            outcome = runs(
                run.transaction, run.agent, given["code"], seconds=run.deadline.remaining() - SPARE, beat=beat
            )
        except Gone as gone:
            raise ToolProblem(gone.message) from None
        return _told(outcome)

    provide("run_python", acts=run_python)


def _told(outcome: Outcome) -> ToolResult:
    parts = [ENDINGS[outcome.ending]]
    for title, content in (("Output", outcome.stdout), ("Errors", outcome.stderr)):
        if content.strip():
            parts.append(f"{title}:\n{_shortened(content.rstrip())}")
    if outcome.ending == "done" and not outcome.stdout.strip():
        parts.append("It printed nothing.")
    if outcome.cut:
        parts.append("More was written than is kept.")
    if outcome.lost:
        parts.append("Its files did not fit into the container: none of this run's were kept.")
    if outcome.changed and not outcome.lost:
        parts.append("Files written: " + ", ".join(each.path for each in outcome.changed))
    data = {
        "ending": outcome.ending,
        "seconds": round(outcome.seconds, 3),
        "stdout": _shortened(outcome.stdout),
        "stderr": _shortened(outcome.stderr),
        "files": [{"path": each.path, "size_bytes": each.size} for each in outcome.changed],
        "files_kept": not outcome.lost,
    }
    return ToolResult("\n\n".join(parts), data)


def _shortened(text: str) -> str:
    text = text.replace("\0", "\ufffd")  # no database takes it
    if len(text) <= SHOWN:
        return text
    return f"{text[: SHOWN // 2]}\n[... {len(text) - SHOWN:,} characters ...]\n{text[-SHOWN // 2 :]}"
