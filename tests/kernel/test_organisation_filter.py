"""No common way of speaking to the database reaches another organisation's rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, exists, func, insert, literal_column, select, text, union_all, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased, joinedload, make_transient_to_detached, selectinload, subqueryload

from domain.kernel import organisation_filter
from domain.kernel.context import SystemActor
from domain.kernel.db import OrganisationBreach, acting_for

Act = Callable[[Session, Any], Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def everything(world: Any) -> tuple[int, int]:
    """(shelves, books) of all organisations."""
    with world.database.session(None, platform=True) as session:
        shelves = session.scalar(select(func.count()).select_from(world.Shelf))
        return shelves, session.scalar(select(func.count()).select_from(world.Book))


def loaded(session: Session, statement: Any) -> list[int]:
    return [len(shelf.books) for shelf in session.scalars(statement).unique()]


READS: dict[str, tuple[Act, Any]] = {
    "entities": (lambda s, w: len(s.scalars(select(w.Shelf)).all()), 1),
    "entities by a column": (lambda s, w: len(s.scalars(select(w.Shelf).where(w.Shelf.name == "shelf")).all()), 1),
    "columns": (lambda s, w: len(s.execute(select(w.Shelf.id, w.Shelf.name)).all()), 1),
    "count": (lambda s, w: s.scalar(select(func.count()).select_from(w.Shelf)), 1),
    "count of a column": (lambda s, w: s.scalar(select(func.count(w.Book.id))), 2),
    "exists": (lambda s, w: s.scalar(select(exists(select(w.Shelf.id).where(w.Shelf.id == w.their_shelf)))), False),
    "subquery": (lambda s, w: len(s.execute(select(select(w.Shelf).subquery())).all()), 1),
    "cte": (lambda s, w: len(s.execute(select(select(w.Shelf.id).cte())).all()), 1),
    "alias": (lambda s, w: len(s.scalars(select(aliased(w.Shelf))).all()), 1),
    "alias of a subquery": (lambda s, w: len(s.scalars(select(aliased(w.Shelf, select(w.Shelf).subquery()))).all()), 1),
    "join": (lambda s, w: len(s.execute(select(w.Book).join(w.Shelf, w.Shelf.name == "shelf")).all()), 2),
    "outer join": (
        lambda s, w: len(s.execute(select(w.Shelf, w.Book).outerjoin(w.Book, w.Book.id.is_not(None))).all()),
        2,
    ),
    "join with an alias": (
        lambda s, w: len(s.execute(select(w.Shelf, a := aliased(w.Shelf)).join(a, a.name == w.Shelf.name)).all()),
        1,
    ),
    "union": (lambda s, w: len(s.execute(union_all(select(w.Shelf.id), select(w.Shelf.id))).all()), 2),
    "in a subquery": (
        lambda s, w: len(s.scalars(select(w.Shelf).where(w.Shelf.id.in_(select(w.Book.shelf_id)))).all()),
        1,
    ),
    "scalar subquery": (
        lambda s, w: s.execute(
            select(w.Shelf.id, select(func.count(w.Book.id)).where(w.Book.title != "").scalar_subquery())
        ).one()[1],
        2,
    ),
    "get": (lambda s, w: s.get(w.Shelf, w.their_shelf), None),
    "get of several": (
        lambda s, w: len(s.scalars(select(w.Shelf).where(w.Shelf.id.in_([w.our_shelf, w.their_shelf]))).all()),
        1,
    ),
    "legacy query": (lambda s, w: s.query(w.Shelf).count(), 1),
    "legacy query by id": (lambda s, w: s.query(w.Shelf).filter_by(id=w.their_shelf).first(), None),
    "joined load": (
        lambda s, w: [len(x.books) for x in s.scalars(select(w.Shelf).options(joinedload(w.Shelf.books))).unique()],
        [2],
    ),
    "selectin load": (
        lambda s, w: [len(x.books) for x in s.scalars(select(w.Shelf).options(selectinload(w.Shelf.books)))],
        [2],
    ),
    "subquery load": (
        lambda s, w: [len(x.books) for x in s.scalars(select(w.Shelf).options(subqueryload(w.Shelf.books)))],
        [2],
    ),
    "lazy load": (lambda s, w: [len(x.books) for x in s.scalars(select(w.Shelf))], [2]),
    "lazy load of a parent": (lambda s, w: {x.shelf.id for x in s.scalars(select(w.Book))}, None),
    "streamed": (lambda s, w: len(s.scalars(select(w.Book).execution_options(yield_per=1)).all()), 2),
    "locked": (lambda s, w: len(s.scalars(select(w.Shelf).with_for_update()).all()), 1),
    "locked of": (lambda s, w: len(s.scalars(select(w.Shelf).with_for_update(of=w.Shelf)).all()), 1),
    "only other columns": (lambda s, w: s.scalar(select(w.Shelf).with_only_columns(func.count(w.Shelf.id))), 1),
    "bulk update": (lambda s, w: len(s.scalars(update(w.Book).values(title="x").returning(w.Book.id)).all()), 2),
    "bulk delete": (lambda s, w: len(s.scalars(delete(w.Book).returning(w.Book.id)).all()), 2),
    "bulk delete by foreign id": (
        lambda s, w: s.scalars(delete(w.Shelf).where(w.Shelf.id == w.their_shelf).returning(w.Shelf.id)).all(),
        [],
    ),
}


@pytest.mark.parametrize("name", READS)
def test_a_statement_finds_only_the_organisations_own_rows(world: Any, name: str) -> None:
    act, expected = READS[name]
    if name == "lazy load of a parent":
        expected = {world.our_shelf}
    with pytest.raises(ZeroDivisionError), world.database.session(world.ours) as session:  # noqa: PT012
        assert act(session, world) == expected
        raise ZeroDivisionError  # undo
    assert everything(world) == (2, 4)


def on_the_engine(session: Session, statement: Any) -> None:
    with session.get_bind().connect() as connection:  # type: ignore[union-attr]
        connection.execute(statement)


REFUSED: dict[str, Act] = {
    "core table": lambda s, w: s.execute(select(w.Shelf.__table__)),
    "core alias": lambda s, w: s.execute(select(w.Shelf.__table__.alias("anything"))),
    "core table inside an ORM statement": lambda s, w: s.execute(
        select(w.Shelf).where(w.Shelf.id.in_(select(w.Book.__table__.c.shelf_id)))
    ),
    "the same core table inside an ORM statement": lambda s, w: s.execute(
        select(w.Shelf.id, select(func.max(w.Shelf.__table__.alias().c.name)).scalar_subquery())
    ),
    "core column beside an entity": lambda s, w: s.execute(
        select(w.Shelf, w.Book.__table__.c.title).join(w.Book.__table__, w.Book.__table__.c.shelf_id == w.Shelf.id)
    ),
    "core update": lambda s, w: s.execute(update(w.Shelf.__table__).values(name="x")),
    "core delete": lambda s, w: s.execute(delete(w.Book.__table__)),
    "text": lambda s, w: s.execute(text("SELECT * FROM test_shelf")),
    "text in capitals": lambda s, w: s.execute(text("SELECT * FROM TEST_SHELF")),
    "text with a schema": lambda s, w: s.execute(text('SELECT * FROM public."test_shelf"')),
    "text with a comment": lambda s, w: s.execute(text("SELECT * FROM/**/test_shelf")),
    "text with escapes": lambda s, w: s.execute(text(r"SELECT E'\'' FROM test_shelf WHERE name <> ''")),
    "text of another statement": lambda s, w: s.execute(text("TABLE test_shelf")),
    "text in a fragment": lambda s, w: s.execute(
        select(w.Shelf.id, literal_column("(SELECT max(title) FROM test_book)"))
    ),
    "text in a qualified fragment": lambda s, w: s.execute(
        select(w.Shelf.id, literal_column("(SELECT max(title) FROM public.test_book)"))
    ),
    "from_statement": lambda s, w: s.scalars(select(w.Shelf).from_statement(text("SELECT * FROM test_shelf"))).all(),
    "driver SQL": lambda s, w: s.connection().exec_driver_sql("SELECT * FROM test_shelf"),
    "core on the connection": lambda s, w: s.connection().execute(select(w.Shelf.__table__)),
    "an ORM statement past the session": lambda s, w: s.connection().execute(select(w.Shelf)),
    "the engine": lambda s, w: on_the_engine(s, select(w.Shelf)),
    "exists without columns": lambda s, w: s.scalar(select(exists().where(w.Shelf.id == w.their_shelf))),
    "bulk update by primary key": lambda s, w: s.execute(update(w.Shelf), [{"id": w.their_shelf, "name": "x"}]),
    "insert for another": lambda s, w: s.execute(
        insert(w.Shelf).values(id=uuid4(), name="x", organisation_id=w.theirs, created_at=NOW, updated_at=NOW)
    ),
    "insert of several, one for another": lambda s, w: s.execute(
        insert(w.Shelf),
        [
            {"id": uuid4(), "name": "x", "organisation_id": owner, "created_at": NOW, "updated_at": NOW}
            for owner in (w.ours, w.theirs)
        ],
    ),
    "insert from a select": lambda s, w: s.execute(
        insert(w.Book).from_select(
            ["id", "shelf_id", "title", "organisation_id"],
            select(func.gen_random_uuid(), w.Book.shelf_id, w.Book.title, w.Book.organisation_id),
        )
    ),
    "core insert for another": lambda s, w: s.execute(
        insert(w.Book.__table__).values(id=uuid4(), title="x", shelf_id=w.their_shelf, organisation_id=w.theirs)
    ),
    "upsert on a foreign key": lambda s, w: s.execute(
        upsert(w.Book)
        .values(id=uuid4(), title="x", shelf_id=w.our_shelf, organisation_id=w.ours)
        .on_conflict_do_update(index_elements=["id"], set_={"title": "taken over"})
    ),
    "add for another": lambda s, w: s.add(w.Book(title="x", shelf_id=w.their_shelf, organisation_id=w.theirs)),
    "legacy bulk save": lambda s, w: s.bulk_save_objects([w.Book(title="x", shelf_id=w.our_shelf)]),
    "legacy bulk insert": lambda s, w: s.bulk_insert_mappings(w.Book, [{}]),
    "legacy bulk update": lambda s, w: s.bulk_update_mappings(w.Book, [{}]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_filtered_is_refused(world: Any, name: str) -> None:
    with pytest.raises(OrganisationBreach), world.database.session(world.ours) as session:
        REFUSED[name](session, world)
    assert everything(world) == (2, 4)


@pytest.mark.parametrize("name", [*READS, *REFUSED])
def test_a_session_without_an_organisation_touches_nothing(world: Any, name: str) -> None:
    act = READS[name][0] if name in READS else REFUSED[name]
    with pytest.raises(OrganisationBreach), world.database.session(None) as session:
        act(session, world)
    assert everything(world) == (2, 4)


def test_a_foreign_object_cannot_be_brought_into_the_session(world: Any) -> None:
    with world.database.session(world.theirs) as session:
        foreign = session.get(world.Shelf, world.their_shelf)
    with pytest.raises(OrganisationBreach), world.database.session(world.ours) as session:
        session.add(foreign)
    with pytest.raises(OrganisationBreach), world.database.session(world.ours) as session:
        session.delete(foreign)


def test_a_detached_object_cannot_lie_about_its_owner(world: Any) -> None:
    liar = world.Shelf(id=world.their_shelf, organisation_id=world.ours, name="x", created_at=NOW, updated_at=NOW)
    make_transient_to_detached(liar)
    with pytest.raises(OrganisationBreach), world.database.session(world.ours) as session:
        session.add(liar)


def test_merging_a_foreign_id_changes_nothing_of_the_foreign_row(world: Any) -> None:
    with pytest.raises(IntegrityError), world.database.session(world.ours) as session:
        session.merge(world.Shelf(id=world.their_shelf, organisation_id=world.ours, name="taken over"))
    with world.database.session(world.theirs) as session:
        assert session.get(world.Shelf, world.their_shelf).name == "shelf"


def test_a_row_cannot_be_given_away(world: Any) -> None:
    with pytest.raises(OrganisationBreach), world.database.session(world.ours) as session:
        session.get(world.Shelf, world.our_shelf).organisation_id = world.theirs


def test_a_new_object_belongs_to_the_session(world: Any) -> None:
    with pytest.raises(ZeroDivisionError), world.database.session(world.ours) as session:  # noqa: PT012
        book = world.Book(shelf_id=world.our_shelf, title="three")
        session.add(book)
        session.flush()
        assert book.organisation_id == world.ours
        session.refresh(book)
        assert book.title == "three"
        session.delete(book)
        session.flush()
        assert len(session.scalars(select(world.Book)).all()) == 2
        raise ZeroDivisionError


def test_an_object_deleted_in_a_savepoint_comes_back_with_it(world: Any) -> None:
    with world.database.session(world.ours) as session:
        book = session.scalars(select(world.Book)).first()
        savepoint = session.begin_nested()
        session.delete(book)
        session.flush()
        savepoint.rollback()
        assert book in session
    assert everything(world) == (2, 4)


def test_several_rows_go_as_a_list(world: Any) -> None:
    rows = [{"id": uuid4(), "shelf_id": world.our_shelf, "title": "x", "organisation_id": world.ours} for _ in range(3)]
    with pytest.raises(ZeroDivisionError), world.database.session(world.ours) as session:  # noqa: PT012
        session.execute(insert(world.Book), rows)
        session.execute(upsert(world.Book).on_conflict_do_nothing(), rows)
        assert session.scalar(select(func.count(world.Book.id))) == 5
        raise ZeroDivisionError


def test_the_same_statement_object_serves_two_organisations(world: Any) -> None:
    plain, rich = select(world.Shelf), select(world.Shelf).options(selectinload(world.Shelf.books))
    for _ in range(3):
        for organisation, shelf in ((world.ours, world.our_shelf), (world.theirs, world.their_shelf)):
            with world.database.session(organisation) as session:
                assert [row.id for row in session.scalars(plain)] == [shelf]
                assert [row.id for row in session.scalars(rich)] == [shelf]


def test_a_platform_session_sees_everything(world: Any) -> None:
    with world.database.session(None, platform=True) as session:
        assert len(session.scalars(select(world.Shelf)).all()) == 2
        assert len(session.execute(text("SELECT * FROM test_shelf")).all()) == 2


def test_a_platform_context_acts_for_one_organisation_only_within_it(world: Any) -> None:
    with world.database.context(SystemActor(), None, platform=True) as ctx:
        with acting_for(ctx, world.ours) as inside:
            assert inside.organisation == world.ours
            assert [shelf.id for shelf in inside.session.scalars(select(world.Shelf))] == [world.our_shelf]
        assert len(ctx.session.scalars(select(world.Shelf)).all()) == 2


def test_a_context_of_one_organisation_never_acts_for_another(world: Any) -> None:
    with (
        pytest.raises(OrganisationBreach),
        world.database.context(SystemActor(), world.ours) as ctx,
        acting_for(ctx, world.theirs),
    ):
        raise AssertionError("unreachable")


def test_the_organisation_row_itself_is_filtered(world: Any) -> None:
    from domain.identity.models import Organisation

    with world.database.session(world.ours) as session:
        assert [row.id for row in session.scalars(select(Organisation))] == [world.ours]
        assert session.get(Organisation, world.theirs) is None


@pytest.mark.parametrize(
    ("statement", "proved"),
    [
        ("INSERT INTO note (id, api_key, body) VALUES (%(a)s, %(b)s, %(c)s)", True),
        ("UPDATE note SET api_key=%(a)s WHERE note.id = %(b)s", True),
        ("UPDATE note SET api_key = %(a)s WHERE note.id = %(b)s", True),
        ("INSERT INTO note (id) SELECT api_key.id FROM api_key", False),
        ("UPDATE note SET body=%(a)s FROM api_key WHERE api_key.id = note.id", False),
        ("SELECT 1 FROM api_key", False),
    ],
)
def test_a_column_that_is_called_like_a_table_is_no_mention_of_it(statement: str, proved: bool) -> None:
    assert organisation_filter._read(statement).proved is proved
