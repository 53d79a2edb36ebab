"""What tests of survival stand on: `House`, the platform's processes on real servers, all of which can be killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from sqlalchemy import text

from domain import migrations
from domain.kernel import crypto
from domain.kernel.context import SystemActor
from domain.kernel.db import Database
from domain.kernel.errors import Unavailable
from domain.startup import load_tables
from thalweg.embedded.postgres import Postgres
from thalweg.embedded.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]


class House:
    """Processes, started again when they die, on a Postgres and a Valkey of their own. A test says which (`PARTS`, by
    name what `thalweg` is called with), how they are set up (`settings`), and what is there before them (`furnish`)."""

    PARTS: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres, self.valkey = Postgres(folder / "postgres"), Valkey(folder / "valkey")
        self.database_url = self.postgres.start()
        migrations.upgrade(self.database_url)
        load_tables()
        self.database = Database(self.database_url)
        self.key = crypto.KeyRing.new_key()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("THALWEG_")},
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
            "THALWEG_ENVIRONMENT": "test",
            "THALWEG_DATABASE_URL": self.database_url,
            "THALWEG_REDIS_URL": self.valkey.start(),
            "THALWEG_SECRET_KEYS": f"test:{self.key}",
            "THALWEG_DATA_DIR": str(folder / "data"),
            **self.settings(),
        }
        self.log_path = folder / "processes.log"
        self.log = self.log_path.open("ab")
        self.furnish()
        self.children = {name: self._spawn(name) for name in self.PARTS}
        self.closing = threading.Event()
        self.supervisor = threading.Thread(target=self._supervise, daemon=True)
        self.supervisor.start()

    @classmethod
    @contextmanager
    def standing(cls) -> Iterator[Self]:
        # Not pytest's folder: it is private, and Postgres runs as a user of its own where we are root.
        with tempfile.TemporaryDirectory(prefix="thalweg-faults-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o755)
            house = cls(Path(folder))
            try:
                yield house
            finally:
                house.close()

    def settings(self) -> Mapping[str, str]:
        """Of the environment, beside those that all have."""
        return {}

    def furnish(self) -> None:
        """What is in the database before the processes start."""

    def command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "thalweg", *self.PARTS[name], "--parent", str(os.getpid())]

    def close(self) -> None:
        self.closing.set()
        self.supervisor.join()
        for child in self.children.values():
            child.kill()
            child.wait()
        self.database.dispose()
        self.valkey.stop()
        self.postgres.stop()
        self.log.close()

    def ctx(self) -> Any:
        return self.database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query, as soon as the database answers."""
        for _ in range(100):
            try:
                with self.ctx() as ctx:
                    return [tuple(row) for row in ctx.session.execute(text(query)).all()]
            except Unavailable:
                time.sleep(0.1)
        raise AssertionError("the database did not come back")

    def strike_server(self, server: Postgres | Valkey, chance: random.Random) -> None:
        """Kill a server; after up to half a second it is back where it was."""
        kill(server.process)
        server.stop()
        time.sleep(chance.uniform(0, 0.5))
        name = "THALWEG_DATABASE_URL" if server is self.postgres else "THALWEG_REDIS_URL"
        assert server.start() == self.environment[name]

    def _supervise(self) -> None:
        while not self.closing.wait(0.1):
            for name, child in list(self.children.items()):
                if child.poll() is not None:
                    self.children[name] = self._spawn(name)

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(name), cwd=ROOT, env=self.environment, stdout=self.log, stderr=self.log)


def kill(process: subprocess.Popen[bytes] | None) -> None:
    """kill -9, and wait until it is gone."""
    assert process is not None
    process.send_signal(signal.SIGKILL)
    process.wait()
