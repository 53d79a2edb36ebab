"""What the toolchain has to say about a contract: one finding, where it stands and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a source file. `file` is relative to the project's root; `line` counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


NOWHERE = Place("-", 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule. `pointer` is a JSON pointer into the bundled document (empty for a whole file)."""

    rule: str
    message: str
    fix: str
    place: Place = NOWHERE
    pointer: str = ""
    severity: Severity = "error"
    surface: str = ""

    def as_json(self) -> dict[str, Any]:
        out = asdict(self)
        out["file"], out["line"] = self.place.file, self.place.line
        del out["place"]
        return out

    def __str__(self) -> str:
        return f"{self.place} {self.rule}: {self.message} ({self.fix})"


class ContractError(Exception):
    """The sources cannot be read or put together. `findings` says why, at least one."""

    def __init__(self, findings: Sequence[Finding] | Finding) -> None:
        self.findings = [findings] if isinstance(findings, Finding) else list(findings)
        super().__init__("\n".join(str(one) for one in self.findings))

    def __reduce__(self) -> tuple[type[ContractError], tuple[list[Finding]]]:
        # Surfaces are generated in processes of their own; the default would rebuild the error from its text.
        return type(self), (self.findings,)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Sorted by file and line, without doubles: two operations that share a schema report it once."""
    unique = {(one.rule, one.place, one.message): one for one in findings}
    return sorted(unique.values(), key=lambda one: (one.place, one.rule, one.message))
