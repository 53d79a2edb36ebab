"""What a sign-in costs beside the hash of the password: one transaction, and as few round trips as it can do with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

MOST = {"thallus": 5, "beeflow": 5, "starter": 5}
"""Statements of a sign-in with the right password."""


@contextmanager
def counted(database: Any) -> Iterator[tuple[list[str], list[None]]]:
    """The statements that are sent meanwhile, and a mark for each commit."""
    statements: list[str] = []
    commits: list[None] = []

    def sent(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    def done(_c: Any) -> None:
        commits.append(None)

    engine = database.engine
    event.listen(engine, "before_cursor_execute", sent)
    event.listen(engine, "commit", done)
    try:
        yield statements, commits
    finally:
        event.remove(engine, "before_cursor_execute", sent)
        event.remove(engine, "commit", done)


@pytest.mark.parametrize("surface", MOST)
def test_a_sign_in_is_one_transaction_of_few_statements(people: Any, surface: str) -> None:
    email = people.register()
    for _ in range(2):  # what a process makes and reads once: keys
        people.sign_in(email, surface)
    with counted(people.database) as (statements, commits):
        people.sign_in(email, surface)
    assert len(commits) == 1
    assert len(statements) <= MOST[surface], "\n".join(statements)
