"""What jobs there are: modules in `workers/jobs/` declare them with `@job` and, to run by the clock, `@cron`.

    @job("memory.consolidate", args=Consolidate, soft=60, hard=90)
    def consolidate(work: Work, args: dict) -> None: ...

    @cron("*/5 * * * *")
    @job("memory.expire", simple=True)
    def expire(ctx: Ctx, args: dict) -> None: ...

A job takes a `Work` and opens short transactions; a `simple` job takes a `Ctx` and is one transaction with its "done".
Both are run again after a crash, so both are idempotent.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from croniter import croniter
from marshmallow import RAISE, Schema, ValidationError

from domain.kernel.context import Ctx
from domain.kernel.outbox import QUEUES

F = TypeVar("F", bound=Callable[..., Any])
OnFailed = Callable[[Ctx, dict[str, Any], str], None]


class GiveUp(Exception):
    """Raised by a job that would fail the same way each time: a dead letter at once. Operators read the reason."""


class RetryLater(Exception):
    """Raised by a job to be run again after `seconds`, at the cost of an attempt."""

    def __init__(self, reason: str, *, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


class UnknownJob(Exception):
    """No module declares a job of this name: most often, an older worker during a release."""


class BadArguments(GiveUp):
    """The arguments do not fit the job's schema."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A declared job. Limits are seconds: at `soft`, `SoftLimit` is raised in the job; at `hard` its process dies."""

    name: str
    function: Callable[..., Any]
    queue: str = "default"
    args: Schema | None = None
    soft: float = 60.0
    hard: float = 90.0
    max_attempts: int = 5
    simple: bool = False
    on_failed: OnFailed | None = None
    retry_base: float = 1.0
    retry_cap: float = 300.0
    of_one: int | None = None
    """How many run at once for one organisation: the others of it wait, and those of other organisations do not."""

    def load(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the job takes them. Raises BadArguments."""
        if self.args is None:
            return dict(given)
        try:
            return dict(self.args.load(given))
        except ValidationError as problem:
            fields = problem.normalized_messages()  # type: ignore[no-untyped-call]
            raise BadArguments(f"The arguments do not fit: {_summary(fields)}"[:500]) from problem


@dataclass(frozen=True, slots=True)
class CronSpec:
    """A job that runs by the clock, in UTC, for the platform (no organisation)."""

    name: str
    expression: str
    job: JobSpec
    args: Mapping[str, Any] = field(default_factory=dict)


class Registry:
    """Jobs and cron entries by name."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobSpec] = {}
        self.crons: dict[str, CronSpec] = {}
        self.warmers: dict[str, list[Callable[[], None]]] = {}

    def warm(self, queue: str) -> Callable[[F], F]:
        """Call the function once when a worker of `queue` starts: where long-lived models are loaded."""

        def declare(function: F) -> F:
            self.warmers.setdefault(queue, []).append(function)
            return function

        return declare

    def job(
        self,
        name: str,
        *,
        queue: str = "default",
        args: Schema | type[Schema] | None = None,
        soft: float = 60.0,
        hard: float = 90.0,
        max_attempts: int = 5,
        simple: bool = False,
        on_failed: OnFailed | None = None,
        retry_base: float = 1.0,
        retry_cap: float = 300.0,
        of_one: int | None = None,
    ) -> Callable[[F], F]:
        """Declare a job. `on_failed(ctx, args, reason)` runs in the transaction that makes it a dead letter; `args` are
        then the stored ones, which may be what did not fit the schema. `of_one`: run so many at once for one
        organisation at most."""
        if not 0 < soft <= hard:
            raise ValueError(f"job {name}: the soft limit must be positive and at most the hard limit")
        if queue not in QUEUES:
            raise ValueError(f"job {name}: there is no queue {queue!r}, only {', '.join(QUEUES)}")
        schema = args(unknown=RAISE) if isinstance(args, type) else args

        def declare(function: F) -> F:
            spec = JobSpec(
                name,
                function,
                queue,
                schema,
                soft,
                hard,
                max_attempts,
                simple,
                on_failed,
                retry_base,
                retry_cap,
                of_one,
            )
            if name in self.jobs:
                raise ValueError(f"two jobs are called {name!r}")
            self.jobs[name] = spec
            return function

        return declare

    def cron(
        self, expression: str, *, name: str | None = None, args: Mapping[str, Any] | None = None
    ) -> Callable[[F], F]:
        """Run the job declared just below at the times of `expression` (five fields, UTC)."""
        if not croniter.is_valid(expression):
            raise ValueError(f"not a cron expression: {expression!r}")

        def declare(function: F) -> F:
            spec = next((job for job in self.jobs.values() if job.function is function), None)
            if spec is None:
                raise ValueError(f"@cron stands above @job: {function.__name__} is no job yet")
            entry = name or spec.name
            if entry in self.crons:
                raise ValueError(f"two cron entries are called {entry!r}")
            spec.load(args or {})  # arguments that do not fit are found at start-up
            self.crons[entry] = CronSpec(entry, expression, spec, dict(args or {}))
            return function

        return declare

    def find(self, name: str) -> JobSpec:
        """The declared job. Raises UnknownJob."""
        try:
            return self.jobs[name]
        except KeyError:
            raise UnknownJob(f"This worker knows no job {name!r}.") from None


registry = Registry()
job = registry.job
cron = registry.cron
warm = registry.warm


def load_jobs(package: str = "workers.jobs") -> Registry:
    """Import `package` and every module in it, so that each declares its jobs, and answer with the registry."""
    folder = importlib.import_module(package)
    for module in pkgutil.walk_packages(getattr(folder, "__path__", ()), prefix=f"{package}."):
        importlib.import_module(module.name)
    return registry


def _summary(messages: Mapping[str, Any], path: str = "") -> str:
    """`brain_id: Not a valid UUID.; …` — field names and rules, never the values."""
    parts: list[str] = []
    for key, value in messages.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            parts.append(_summary(value, here))
        else:
            parts.append(f"{here}: {' '.join(str(each) for each in value)}")
    return "; ".join(parts)
