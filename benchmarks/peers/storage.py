"""One read and one write in one transaction, through SQLAlchemy's ORM, on the same two tables.

`Store` and `AsyncStore` are what one writes with plain SQLAlchemy, the organisation in the query. Ours (`peers.ours`)
goes through the kernel's `Database` and its organisation filter. Pools are of the same size.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import create_engine, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from sqlalchemy.types import DateTime

from peers import work

POOL = {"pool_size": 16, "max_overflow": 0}
"""One connection for each of our threads. Overflow is opened and closed again all the time under full load."""

TABLES = """
    CREATE TABLE bench_project (id uuid PRIMARY KEY, organisation_id uuid NOT NULL, name text NOT NULL);
    CREATE TABLE bench_item (
        id uuid PRIMARY KEY, organisation_id uuid NOT NULL, project_id uuid NOT NULL,
        name text NOT NULL, description text, kind text NOT NULL, priority int NOT NULL, amount_minor bigint NOT NULL,
        tags jsonb NOT NULL, contact jsonb NOT NULL, created_at timestamptz NOT NULL
    );
"""


class Plain(DeclarativeBase):
    pass


class Project(Plain):
    __tablename__ = "bench_project"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[UUID]
    name: Mapped[str]


class Item(Plain):
    __tablename__ = "bench_item"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[UUID]
    project_id: Mapped[UUID]
    name: Mapped[str]
    description: Mapped[str | None]
    kind: Mapped[str]
    priority: Mapped[int]
    amount_minor: Mapped[int]
    tags: Mapped[list[str]] = mapped_column(JSONB)
    contact: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


def _project(project_id: UUID) -> Any:
    return select(Project).where(Project.id == project_id, Project.organisation_id == work.ORGANISATION)


def _item(body: Any, project: Project) -> tuple[dict[str, Any], Item]:
    answer = work.created(body)
    return answer, Item(organisation_id=work.ORGANISATION, **{**answer, "project_id": project.id})


class Store:
    def __init__(self, url: str) -> None:
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), **POOL)
        self._sessions = sessionmaker(engine, expire_on_commit=False)

    def keep(self, body: Any) -> dict[str, Any]:
        with self._sessions.begin() as session:
            project = session.scalars(_project(body.project_id)).one()
            answer, item = _item(body, project)
            session.add(item)
        return answer


class AsyncStore:
    def __init__(self, url: str) -> None:
        from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), **POOL)
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    async def keep(self, body: Any) -> dict[str, Any]:
        async with self._sessions.begin() as session:
            project = (await session.scalars(_project(body.project_id))).one()
            answer, item = _item(body, project)
            session.add(item)
        return answer
