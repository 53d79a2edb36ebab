"""Two organisations, made by the verbs, and two tables that only these tests have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import ForeignKey, Table, Text, create_engine
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain import identity
from domain.kernel.context import SystemActor
from domain.kernel.db import Base, Database, Identified, OrganisationOwned, Timestamped, adapted


class Shelf(Identified, Timestamped, OrganisationOwned, Base):
    __tablename__ = "test_shelf"
    name: Mapped[str] = mapped_column(Text)
    books: Mapped[list[Book]] = relationship(back_populates="shelf")


class Book(Identified, OrganisationOwned, Base):
    __tablename__ = "test_book"
    shelf_id: Mapped[UUID] = mapped_column(ForeignKey("test_shelf.id"))
    title: Mapped[str] = mapped_column(Text)
    shelf: Mapped[Shelf] = relationship(back_populates="books")


# Out of the platform's metadata at once: the comparison of models and migrations must not see them.
TABLES: list[Table] = [Shelf.__table__, Book.__table__]  # type: ignore[list-item]
for table in TABLES:
    Base.metadata.remove(table)


@dataclass
class World:
    database: Database
    ours: UUID
    theirs: UUID
    our_shelf: UUID
    their_shelf: UUID
    Shelf: Any = Shelf
    Book: Any = Book


@pytest.fixture(scope="session", autouse=True)
def secret_keys() -> Iterator[None]:
    from domain.kernel import crypto

    before = crypto._ring
    crypto.use(crypto.KeyRing({"test": crypto.KeyRing.new_key()}))
    yield
    crypto.use(before)


@pytest.fixture(scope="module")
def world(database: Database) -> World:
    engine = create_engine(adapted(database.url.render_as_string(hide_password=False)))
    with engine.begin() as connection:
        for table in TABLES:
            table.create(connection)
    engine.dispose()
    ids = []
    for name in ("ours", "theirs"):
        with database.context(SystemActor(), None, platform=True) as ctx:
            organisation = identity.create_organisation(ctx, name=name)
        with database.session(organisation.id) as session:
            shelf = Shelf(name="shelf")
            session.add(shelf)
            session.flush()
            session.add_all([Book(shelf_id=shelf.id, title="one"), Book(shelf_id=shelf.id, title="two")])
        ids.append((organisation.id, shelf.id))
    return World(database, ids[0][0], ids[1][0], ids[0][1], ids[1][1])
