"""The whole platform, running: API, worker and scheduler as processes of their own, on servers of this run.

Replies that break their contract are errors here (`response_mismatch=raise` answers 500 and says so in the log).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from domain import brains, identity
from domain.kernel import crypto
from domain.kernel.context import Ctx, SystemActor
from domain.kernel.db import Database
from domain.startup import load_tables

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Tenant:
    """An organisation with a brain and keys."""

    organisation_id: UUID
    brain_id: UUID
    key: str
    keys: dict[str, str] = field(default_factory=dict)
    """Further keys by what they may: `invoke`, `memory:read`, ..."""

    def headers(self, scope: str | None = None) -> dict[str, str]:
        return {"X-API-Key": self.key if scope is None else self.keys[scope]}


@dataclass
class Running:
    """The platform's address, its database, and its processes by name."""

    url: str
    database: Database
    redis_url: str
    logs: Path
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *arguments: str) -> None:
        log = (self.logs / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "thalweg", *arguments, "--parent", str(os.getpid())],
            cwd=ROOT,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()

    def kill(self, name: str) -> None:
        """kill -9, and wait until it is gone."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def wait(self, seconds: float = 60.0) -> None:
        """Until the API answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.processes["api"].poll() is not None:
                break
            try:
                httpx.get(f"{self.url}/nowhere", timeout=2)
                return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError("the API did not start:\n" + (self.logs / "api.log").read_text()[-4000:])

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def running(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: Any,
    migrated_template: str,
    valkey_url: str,
) -> Iterator[Running]:
    """The platform with everything it needs. Its limits are wide: tests of limits make their own."""
    import psycopg

    folder = tmp_path_factory.mktemp("platform")
    name = f"contract_tests_{os.getpid()}"
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{migrated_template}" STRATEGY file_copy')
    port = _free_port()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("THALWEG_")},
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "THALWEG_ENVIRONMENT": "test",
        "THALWEG_DATABASE_URL": postgres.url_of(name),
        "THALWEG_REDIS_URL": valkey_url,
        "THALWEG_SECRET_KEYS": f"test:{crypto.KeyRing.new_key()}",
        "THALWEG_DATA_DIR": str(folder / "data"),
        "THALWEG_RESPONSE_MISMATCH": "raise",
        "THALWEG_LIMITS": "thalium.invoke=100000/minute,thalium.read=100000/minute",
        "THALWEG_STREAM_HEARTBEAT_SECONDS": "1",
    }
    load_tables()
    platform = Running(
        f"http://127.0.0.1:{port}", Database(postgres.url_of(name)), valkey_url, folder, environment
    )
    platform.start("api", "serve", "--port", str(port))
    platform.start("worker", "worker", "--queue", "interactive")
    platform.start("scheduler", "scheduler")
    try:
        platform.wait()
        yield platform
    finally:
        platform.stop()
        platform.database.dispose()


@pytest.fixture(scope="session")
def tenants(running: Running) -> Callable[..., Tenant]:
    """Make an organisation with a brain, a key for everything and a key for each scope."""
    made = 0

    def make(*, plan: str = "enterprise") -> Tenant:
        nonlocal made
        made += 1
        with running.database.context(SystemActor("tests"), None, platform=True) as ctx:
            organisation = identity.create_organisation(ctx, name=f"Tenant {made}", slug=f"tenant-{made}", plan=plan)
        with running.database.context(SystemActor("tests"), organisation.id) as ctx:
            brain = brains.create_brain(ctx, name="Test brain", slug="test")
            everything = _key(ctx, "admin")
            keys = {scope: _key(ctx, scope) for scope in ("invoke", "memory:read", "audit:read")}
        return Tenant(organisation.id, brain.id, everything, keys)

    return make


def _key(ctx: Ctx, scope: str) -> str:
    return identity.issue_api_key(ctx, f"test {scope}", [scope], "thalium")[1]


@pytest.fixture(scope="session")
def tenant(tenants: Callable[..., Tenant]) -> Tenant:
    """An organisation on the largest plan."""
    return tenants()


@pytest.fixture(scope="session")
def stranger(tenants: Callable[..., Tenant]) -> Tenant:
    """Another organisation."""
    return tenants()
