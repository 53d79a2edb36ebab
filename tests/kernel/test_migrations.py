"""The history builds what the models say, from several processes at once and back."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import make_url

from domain import migrations
from domain.kernel.ids import new_id
from thalweg.embedded.postgres import Postgres


@pytest.fixture
def empty(postgres: Postgres, database_url: str) -> Iterator[str]:
    name = f"empty_{new_id().hex}"
    admin = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield make_url(admin).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(postgres.superuser_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_models_and_migrations_agree(database_url: str) -> None:
    assert migrations.current(database_url) == migrations.head()
    assert migrations.check(database_url) == []


def test_several_processes_may_upgrade_at_once(empty: str) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            migrations.upgrade(empty)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert migrations.current(empty) == migrations.head()


def test_the_history_goes_back_to_nothing_and_forth_again(empty: str) -> None:
    assert migrations.current(empty) is None
    migrations.upgrade(empty)
    migrations.downgrade(empty, "base")
    assert migrations.current(empty) is None
    migrations.upgrade(empty)
    assert migrations.check(empty) == []
