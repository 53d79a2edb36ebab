"""What several test folders put in the place of the platform's parts: `FakeWork`, `Telling`, `Streaming`, `Killed`,
`store_in`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from domain import storage
from domain.kernel.context import Ctx, SystemActor
from domain.kernel.db import Database


def store_in(folder: Path) -> None:
    """Keep files in a folder, without a quota."""
    storage.bind(
        SimpleNamespace(
            blob_url=None,
            data_dir=folder,
            base_url="http://127.0.0.1:8080",
            storage_quota_bytes=0,
            storage_file_bytes=1 << 30,
        )
    )


class Killed(BaseException):
    """What `kill -9` looks like from inside."""


@dataclass
class FakeWork:
    """`domain.kernel.context.Work` without a queue, of the platform where there is no organisation. `die(point)` is
    asked at every boundary and may raise `Killed`. A transaction within another is refused, as `workers.runner` cannot
    give one; `done` is what was committed."""

    database: Database
    organisation_id: UUID | None
    die: Callable[[str], None] = lambda point: None
    seconds: float = 200.0
    actor: str = "job"
    job_id: UUID = field(default_factory=uuid4)
    attempt: int = 1
    done: bool = False
    result: Mapping[str, Any] | None = None
    open_in: set[int] = field(default_factory=set)
    completing_in: set[int] = field(default_factory=set)

    @property
    def open(self) -> bool:
        """Whether one of its transactions is open."""
        return bool(self.open_in)

    @contextmanager
    def transaction(self) -> Iterator[Ctx]:
        self.die("before a transaction")
        me = threading.get_ident()
        assert me not in self.open_in, "a transaction of this job is open already"
        self.open_in.add(me)
        self.completing_in.discard(me)
        platform = self.organisation_id is None
        try:
            with self.database.context(
                SystemActor(self.actor), self.organisation_id, frozenset({"admin"}), platform=platform
            ) as ctx:
                yield ctx
                self.die("before a commit")
        finally:
            self.open_in.discard(me)
        self.done = self.done or me in self.completing_in
        self.die("after a commit")

    @contextmanager
    def platform(self) -> Iterator[Ctx]:
        self.die("before a transaction")
        with self.database.context(SystemActor(self.actor), None, platform=True) as ctx:
            yield ctx
            self.die("before a commit")
        self.die("after a commit")

    def complete(self, ctx: Ctx, result: Mapping[str, Any] | None = None) -> None:
        assert threading.get_ident() in self.open_in, "a job is done in the transaction of its last effect"
        self.completing_in.add(threading.get_ident())
        self.result = result

    def heartbeat(self) -> None:
        pass

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        raise AssertionError("these jobs publish nothing")

    def publish_later(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        self.publish(channel, number, event, data)

    def publish_rest(self) -> None:
        pass

    def remaining(self) -> float:
        return self.seconds


@dataclass
class Telling(FakeWork):
    """One that publishes: `published` are the events by number, by channel."""

    published: dict[str, dict[int, tuple[str, dict[str, Any]]]] = field(default_factory=dict)

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        self.die("before a publication")
        known = self.published.setdefault(channel, {}).setdefault(number, (event, dict(data)))
        assert known == (event, dict(data)), "an event number was given twice to different events"


@dataclass
class Streaming(FakeWork):
    """One whose events are of a single stream: `stream`, by number. `valkey_away`: nobody can be told."""

    stream: dict[int, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    valkey_away: bool = False

    def publish(self, channel: str, number: int, event: str, data: Mapping[str, Any]) -> None:
        self.die("before a publication")
        if self.valkey_away:
            raise ConnectionError("Valkey is away")
        known = self.stream.setdefault(number, (event, dict(data)))
        assert known == (event, dict(data)), "an event number was given twice to different events"
