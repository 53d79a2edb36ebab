"""A jail to try, and a world with containers: an organisation, a blob store, a folder for workspaces, jobs by hand."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from domain import containers, identity, storage
from domain.kernel.confine import jail
from domain.kernel.context import Actor, Ctx, SystemActor, UserActor
from domain.kernel.db import Database
from domain.kernel.outbox import Job
from tests.fakes import FakeWork, store_in

_names = itertools.count()


@pytest.fixture
def confined() -> None:
    """Skips where this machine's kernel lets nobody make a sandbox; what is refused then is tested elsewhere."""
    able = jail.support()
    if not able.possible:
        pytest.skip(f"no sandbox on this machine: {able.why}")


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine whose kernel refuses namespaces."""
    why = "the kernel refused to make namespaces (Operation not permitted)."
    monkeypatch.setattr(jail, "support", lambda: jail.Support(False, why))

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("something was run without a sandbox")

    monkeypatch.setattr(jail, "_run", never)
    return why


@dataclass
class World:
    database: Database
    organisation_id: UUID
    folder: Path
    actor: Actor

    @contextmanager
    def ctx(self) -> Iterator[Ctx]:
        with self.database.context(self.actor, self.organisation_id, frozenset({"admin"})) as ctx:
            yield ctx

    @contextmanager
    def platform(self) -> Iterator[Ctx]:
        with self.database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            yield ctx

    def platform_work(self) -> FakeWork:
        return FakeWork(self.database, None)

    def container(self, name: str | None = None, **more: Any) -> UUID:
        with self.ctx() as ctx:
            return containers.create(ctx, name or f"box-{next(_names)}", **more).id

    def bound(self, agent: str = "code_assistant", **more: Any) -> UUID:
        made = self.container(**more)
        with self.ctx() as ctx:
            containers.bind(ctx, agent, made)
        return made

    def run(self, code: str, agent: str = "code_assistant", seconds: float = 10.0, **more: Any) -> containers.Outcome:
        enter: Callable[[], AbstractContextManager[Ctx]] = self.ctx
        return containers.run(enter, agent, code, seconds=seconds, **more)

    def state(self, container_id: UUID) -> str:
        with self.platform() as ctx:
            found = ctx.session.get(containers.Container, container_id)
            assert found is not None
            return found.state

    def stored(self, content: bytes, name: str) -> str:
        with self.ctx() as ctx:
            return str(storage.put(ctx, io.BytesIO(content), name=name, purpose="object").id)

    def jobs(self) -> list[Job]:
        with self.platform() as ctx:
            query = select(Job).where(
                Job.organisation_id == self.organisation_id, Job.state == "pending", Job.name.startswith("containers.")
            )
            return list(ctx.session.scalars(query.order_by(Job.id)))

    def settle(self) -> list[str]:
        """Run promised jobs until none is left; their names."""
        ran = []
        while jobs := self.jobs():
            for job in jobs:
                work = FakeWork(self.database, self.organisation_id)
                if job.name == "containers.prepare":
                    containers.prepare(work, UUID(job.args["container_id"]))
                else:
                    containers.discard(work, **job.args)
                assert work.done
                ran.append(job.name)
                with self.platform() as ctx:
                    found = ctx.session.get(Job, job.id)
                    assert found is not None
                    found.state = "done"
        return ran


@pytest.fixture
def bound_containers(tmp_path: Path) -> Callable[..., None]:
    def bind(setting: str = "local", **more: Any) -> None:
        given: dict[str, Any] = {"folder": tmp_path / "containers", "memory": "4g", "seconds": 10, "megabytes": 8}
        containers.configure(setting, **(given | more))

    return bind


@pytest.fixture
def make_world(database: Database, tmp_path: Path, bound_containers: Callable[..., None]) -> Callable[[], World]:
    bound_containers()
    store_in(tmp_path)

    def make() -> World:
        from domain.identity.models import Account

        name = f"boxes-{next(_names)}-{uuid4().hex[:6]}"
        with database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            organisation_id = identity.create_organisation(ctx, name=name, slug=name).id
            email = f"{name}@example.org"
            account = Account(email=email, email_key=email, name="A person", source="signup")
            ctx.session.add(account)
            ctx.session.flush()
            actor = UserActor(account.id)
        return World(database, organisation_id, tmp_path / "containers", actor)

    return make


@pytest.fixture
def world(make_world: Callable[[], World]) -> World:
    return make_world()
