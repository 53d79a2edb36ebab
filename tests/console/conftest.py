"""The platform with its mail, as processes on servers of this run, and the browser of the portal's tests."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain import identity
from domain.kernel import crypto
from domain.kernel.context import AnonymousActor, SystemActor
from domain.kernel.db import Database
from domain.startup import load_tables
from thalweg.contract import project
from thalweg.embedded.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]
KEYS = f"test:{crypto.KeyRing.new_key()}"
PASSWORD = "Staple-orbit-lantern-42"


def _portal(name: str) -> Any:
    """A module of the portal's tests: they have the browser."""
    spec = importlib.util.spec_from_file_location(f"portal_{name}", ROOT / "tests" / "portal" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"portal_{name}"] = module
    spec.loader.exec_module(module)
    return module


_shared = _portal("conftest")
browser, tab = _shared.browser, _shared.tab


@pytest.fixture(scope="session")
def contrast() -> str:
    """A script that lists texts without enough contrast."""
    return str(_portal("test_browser").CONTRAST)


@dataclass
class Console:
    """A running platform, and the mails that it sends."""

    url: str
    database: Database
    logs: Path

    def mailed(self, address: str, subject: str, *, seconds: float = 60.0) -> list[str]:
        """The links of the newest mail to an address whose subject has a word in it, from the mailbox."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for mail in httpx.get(f"{self.url}/mailbox", timeout=20).json()["mails"]:
                if mail["to"] == address and re.search(subject, mail["subject"], re.IGNORECASE):
                    found = httpx.get(f"{self.url}/mailbox/{mail['id']}", timeout=20).json()["links"]
                    return [str(link) for link in found]
            time.sleep(0.3)
        logs = "".join(log.read_text(errors="replace")[-1500:] for log in self.logs.glob("*.log"))
        raise AssertionError(f"no mail {subject!r} to {address}:\n{logs}")

    def person(self, email: str, *, verified: bool = True) -> Any:
        """An account with an organisation of its own."""
        with self.database.context(AnonymousActor("127.0.0.1"), None, surface="thallus") as ctx:
            account = identity.accounts.make(
                ctx, email=email, name="Ada Lovelace", source="signup", password=PASSWORD, verified=verified
            )
            organisation = identity.accounts.give_own_organisation(ctx, account)
            return account.id, organisation

    def context(self, organisation_id: Any = None, **more: Any) -> Any:
        identity.links.configure(self.url)  # another platform of the run may have been started since
        return self.database.context(SystemActor("tests"), organisation_id, **more)


def wide() -> str:
    """The limits of every contract, out of the way: all callers here have one address."""
    import tomllib

    names = []
    for surface in project.find(ROOT).surfaces:
        declared = tomllib.loads((ROOT / "openapi" / surface / "limits.toml").read_text())
        names += [name for name, limit in declared.items() if "rate" in limit]
    return ",".join(f"{name}=100000/minute" for name in names)


@pytest.fixture(scope="session")
def consoles(
    postgres: Any, migrated_template: str, server_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Console]]:
    """Start a platform on a fresh database: `make(name, *processes, **settings)`. It ends with the run."""
    import psycopg

    load_tables()
    started: list[subprocess.Popen[bytes]] = []
    databases: list[Database] = []
    stores: list[Valkey] = []

    def make(name: str, *processes: tuple[str, ...], **settings: str) -> Console:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://localhost:{port}"
        base = f"{name}_{os.getpid()}"
        with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{base}" TEMPLATE "{migrated_template}" STRATEGY file_copy')
        folder = tmp_path_factory.mktemp(name)
        # Its own: workers of another platform on the same server would take what rings for this one.
        stores.append(Valkey(server_folder / f"{name}-valkey", volatile=True))
        given = {
            "environment": "test",
            "database_url": postgres.url_of(base),
            "redis_url": stores[-1].start(),
            "secret_keys": KEYS,
            "public_url": url,
            "data_dir": str(folder / "data"),
            "response_mismatch": "raise",
            "captcha_difficulty": "50",
            "signup_policy": "public",
            "limits": wide(),
            "failed_sign_ins_per_address": "1000000",
            **settings,
        }
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("THALWEG_")},
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            **{f"THALWEG_{key.upper()}": value for key, value in given.items()},
        }
        for arguments in (("serve", "--port", str(port)), *processes):
            command = [sys.executable, "-m", "thalweg", *arguments, "--parent", str(os.getpid())]
            with (folder / f"{arguments[0]}-{arguments[-1]}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
                )
        databases.append(Database(postgres.url_of(base)))
        end = time.monotonic() + 240
        while time.monotonic() < end:
            try:
                httpx.get(f"{url}/account", timeout=5)
                return Console(url, databases[-1], folder)
            except httpx.TransportError:
                time.sleep(0.2)
        raise AssertionError((folder / f"serve-{port}.log").read_text(errors="replace")[-4000:])

    yield make
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
    for database in databases:
        database.dispose()
    for store in stores:
        store.stop()


@pytest.fixture(autouse=True)
def as_the_platform() -> Iterator[None]:
    """What a test prepares by calling verbs is signed and encrypted as the running platform does it."""
    before = crypto._ring
    crypto.use(crypto.KeyRing(dict([KEYS.split(":", 1)])))
    yield
    crypto.use(before)


@pytest.fixture(scope="session")
def console(consoles: Callable[..., Console]) -> Console:
    """All surfaces, with the processes that send mails."""
    return consoles("console", ("worker", "--queue", "default"), ("worker", "--queue", "interactive"), ("scheduler",))
