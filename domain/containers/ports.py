"""What a driver does for containers: make one, fill it, run code in it, drop it. All of it outside of transactions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol
from uuid import UUID

from domain.kernel.errors import DomainError


class Gone(DomainError):
    """The driver has no such container (any more)."""

    code = "gone"
    reason = "container_gone"
    default = "The container is gone, and its files with it. Make another one."


class Declined(DomainError):
    """The driver understood, and will not do it: a repeat would end the same way."""

    code = "unprocessable"
    reason = "container_declined"
    default = "The container could not be made as it was asked for."


@dataclass(frozen=True, slots=True)
class Wanted:
    """A container to be made. `memory` is the tier."""

    id: UUID
    memory: str
    rest_minutes: int


@dataclass(frozen=True, slots=True)
class Left:
    """A file that a run has made or changed; `size` in bytes, None where the driver does not tell."""

    path: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run. `ending`: one of `done` (it ended by itself), `failed` (with an error), `killed` (by the
    limits' doing), `timeout` or `flood` (it was stopped). `lost`: what it left did not fit and was not kept."""

    ending: str
    stdout: str
    stderr: str
    seconds: float
    cut: bool = False
    lost: bool = False
    changed: tuple[Left, ...] = ()
    removed: tuple[str, ...] = ()


class Driver(Protocol):
    """Where containers are. Methods raise `Unavailable` (also `confine.jail.Unconfined`), `Gone`, `Declined`."""

    @property
    def name(self) -> str: ...

    def known_as(self, wanted: Wanted) -> str | None:
        """What a container will be called, where that stands before it is made."""
        ...

    def make(self, wanted: Wanted) -> str:
        """Make it, or find it made by an attempt before; what the driver calls it."""
        ...

    def put(self, external_id: str, name: str, source: BinaryIO, size: int) -> None:
        """Lay a file into it, in place of one of that name."""
        ...

    def run(
        self, external_id: str | None, code: str, *, memory: str, seconds: float, beat: Callable[[], None]
    ) -> Outcome:
        """Run code in it; None: in a fresh one, which is gone afterwards. `beat` is called often, and may raise."""
        ...

    def discard(self, external_id: str) -> None:
        """Drop it and its files; one that is gone already is fine."""
        ...

    def check(self) -> str:
        """What it is, for operators. Raises `Unavailable` where code cannot be run."""
        ...
