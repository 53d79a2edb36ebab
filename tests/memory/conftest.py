"""An organisation with a brain's id, and entries that are quickly written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain import identity, inference, memory
from domain.kernel.context import Ctx, SystemActor
from domain.kernel.db import Database

_names = itertools.count()


@dataclass
class Shelf:
    database: Database
    organisation_id: UUID
    brain_id: UUID = field(default_factory=uuid4)

    @contextmanager
    def ctx(self) -> Iterator[Ctx]:
        with self.database.context(SystemActor("test"), self.organisation_id, frozenset({"admin"})) as ctx:
            yield ctx

    def write(self, text: str, address: str = "knowledge_ingestion.org.general.general", **more: Any) -> UUID:
        given = {"ring": "institutional", "brain_id": self.brain_id, "confidence": 0.7} | more
        entries = memory.prepare([memory.NewEntry(address_key=address, text=text, **given)])
        with self.ctx() as ctx:
            return memory.write(ctx, entries)[0]

    def recall(self, text: str, **more: Any) -> memory.Recall:
        vector = inference.drivers().embedder.embed([text])[0]
        with self.ctx() as ctx:
            return memory.recall(ctx, more.pop("brain_id", self.brain_id), vector, **more)

    def texts(self, **filters: Any) -> list[str]:
        with self.ctx() as ctx:
            return [e.text for e in memory.list_entries(ctx, self.brain_id, **filters).items]


@pytest.fixture
def make_shelf(database: Database) -> Callable[[], Shelf]:
    def make() -> Shelf:
        name = f"shelf-{next(_names)}-{uuid4().hex[:6]}"
        with database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            return Shelf(database, identity.create_organisation(ctx, name=name, slug=name).id)

    return make


@pytest.fixture
def shelf(make_shelf: Callable[[], Shelf]) -> Shelf:
    return make_shelf()
