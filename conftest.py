"""The servers that tests stand on, for every test folder of the project.

Every run (and every xdist worker) has a Postgres cluster and a Valkey of its own, made on first use, in a temporary
folder, killed with the run. A module gets a fresh database, cloned from one that was migrated once.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis
from psycopg import sql

from domain.startup import load_tables
from thalweg.embedded.postgres import Postgres
from thalweg.embedded.valkey import Valkey

if TYPE_CHECKING:
    from domain.kernel.db import Database

load_tables()  # as every process does: a test that uses one context writes rows that point into others

_TEMPLATE = "thalweg_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def installation_keys() -> None:
    """Keys for stored secrets and cursors, as every process has them after its start."""
    from domain.kernel import crypto

    crypto.use(crypto.KeyRing({"test": crypto.KeyRing.new_key()}))


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder for servers: passable, unlike pytest's own, because as root the database runs as another user."""
    folder = Path(tempfile.mkdtemp(prefix="thalweg-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> Iterator[Postgres]:
    """A running cluster. `postgres.url_of(name)` is the URL of a database in it."""
    server = Postgres(server_folder / "postgres", volatile=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres: Postgres) -> str:
    """The name of a database with the platform's schema and no rows, to be cloned."""
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
    try:
        from domain.migrations import upgrade
    except ImportError:  # a checkout of the toolkit alone
        return _TEMPLATE
    upgrade(postgres.url_of(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture(scope="module")
def database_url(postgres: Postgres, migrated_template: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh, migrated database for this module; dropped afterwards, whoever is still connected."""
    stem = re.sub(r"\W+", "_", Path(str(request.path)).stem)[:40]
    name = sql.Identifier(f"{stem}_{os.getpid()}_{next(_numbers)}")
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(name, sql.Identifier(migrated_template))
        )
    yield postgres.url_of(name._obj[0])
    # As superuser: nobody else may send away an autovacuum worker that happens to be at work there.
    with psycopg.connect(postgres.superuser_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[Database]:
    """The kernel's Database on `database_url`."""
    from domain.kernel.db import Database

    opened = Database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture(scope="session")
def valkey_server(server_folder: Path) -> Iterator[Valkey]:
    """A running Valkey that keeps nothing on disk."""
    server = Valkey(server_folder / "valkey", volatile=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey_url(valkey_server: Valkey) -> str:
    """Its URL, for `redis.from_url` (sync and async)."""
    return valkey_server.url


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    """A client of an emptied Valkey."""
    client = redis.Redis.from_url(valkey_url)
    client.flushall()
    yield client
    client.close()
