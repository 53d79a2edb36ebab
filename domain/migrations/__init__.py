"""The schema's history. `upgrade(url)` is safe to call from several processes at once, at every start.

Revisions are linear and hand-written (`versions/NNNN_name.py`); `check(url)` compares what they made with the models.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, NullPool, create_engine, text

from domain.kernel.db import adapted
from domain.kernel.models import Base
from domain.startup import load_tables

LOCK = 0x7468616C776567  # "thalweg": one migrating process at a time


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`. Each revision is one transaction; done ones stay done."""
    with _connected(url) as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.commit()
        try:
            command.upgrade(_config(connection), revision)
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
            connection.commit()


def downgrade(url: str, revision: str) -> None:
    """Go back to `revision` (`base`: an empty schema). For development: it drops data."""
    with _connected(url) as connection:
        command.downgrade(_config(connection), revision)
        connection.commit()


def current(url: str) -> str | None:
    """The revision of the database at `url`; None for an empty one."""
    with _connected(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The newest revision that this program knows."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def check(url: str) -> list[str]:
    """What differs between the database and the models, one line each; empty when they agree."""
    with _connected(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return [str(difference) for difference in compare_metadata(context, metadata())]


def metadata() -> MetaData:
    """The metadata with every table of the platform in it."""
    load_tables()
    return Base.metadata


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    options: dict[str, Any] = {
        "options": "-c timezone=UTC -c lock_timeout=60000",
        "application_name": "thalweg-migrate",
    }
    engine = create_engine(adapted(url), poolclass=NullPool, use_native_hstore=False, connect_args=options)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
