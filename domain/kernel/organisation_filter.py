"""The one place where rows are kept apart by organisation.

Three nets, each catching what the one before lets through:

1. every ORM statement gets the criterion `organisation_id = <the session's>` on every `Scoped` class in it;
2. attached objects and flushes are checked: no row of another organisation is added, changed or deleted;
3. the SQL about to be sent is proved: each mention of a scoped table carries the criterion of net 1, or it is refused.
   So Core tables, `text()`, driver SQL and any ORM construct that escaped net 1 fail closed. The proof is done once per
   SQL string; afterwards it costs a dictionary look-up and a comparison of the bound value.

A raw DBAPI cursor is out of reach; nothing in the platform takes one in an organisation's transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Uuid,
    bindparam,
    event,
)
from sqlalchemy.dialects.postgresql.dml import OnConflictDoUpdate
from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction, with_loader_criteria
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.interfaces import ORMOption

from domain.kernel.clock import Clock, SystemClock
from domain.kernel.models import Base, Scoped, Timestamped

if TYPE_CHECKING:
    from sqlalchemy import Engine


class OrganisationBreach(RuntimeError):
    """A statement or object reached beyond the session's organisation. Always a bug, never a caller's mistake."""


class OrganisationSession(Session):
    """A session that belongs to one organisation, to nobody (`organisation_id` None), or to the platform."""

    organisation_id: UUID | None
    platform: bool
    clock: Clock

    def __init__(self, *args: Any, organisation_id: UUID | None = None, platform: bool = False, **kw: Any) -> None:
        self.organisation_id = organisation_id
        self.platform = platform
        self.clock = SystemClock()
        super().__init__(*args, **kw)

    def _refuse_legacy(self, *_: Any, **__: Any) -> Any:
        raise OrganisationBreach("the legacy bulk methods skip the flush checks; use add_all() or insert()")

    bulk_save_objects = _refuse_legacy
    bulk_insert_mappings = _refuse_legacy
    bulk_update_mappings = _refuse_legacy


@contextmanager
def lent(session: OrganisationSession, organisation_id: UUID) -> Iterator[None]:
    """Make `session` one of `organisation_id` for a while."""
    before = session.organisation_id, session.platform
    session.organisation_id, session.platform = organisation_id, False
    try:
        yield
    finally:
        session.organisation_id, session.platform = before


# --- net 1: the criterion on every ORM statement --------------------------------------------------

MARK = "scope_organisation"
"""Begin of the bind names that net 1 makes (SQLAlchemy names a lambda's bind after the closure variable below)."""


@lru_cache(maxsize=4096)
def _criterion(scope_organisation: UUID) -> ORMOption:
    return with_loader_criteria(
        Scoped,
        lambda cls: cls.organisation_id == scope_organisation,
        include_aliases=True,
        propagate_to_loaders=True,  # joined loads need it; other loads get it below if they lack it
    )


@lru_cache(maxsize=512)
def _kept(statement: Any, organisation: UUID) -> Any:
    return statement.options(_criterion(organisation))


def kept(session: Session, statement: Any) -> Any:
    """A statement that is made once and executed often, narrowed to the session's organisation once and for all: what
    SQLAlchemy finds out about it is kept with it. Spares a fifth of a millisecond each time, for a large one."""
    assert isinstance(session, OrganisationSession)
    if session.platform or session.organisation_id is None:
        return statement
    return _kept(statement, session.organisation_id)


@event.listens_for(OrganisationSession, "do_orm_execute")
def _filter(state: ORMExecuteState) -> None:
    session: OrganisationSession = state.session  # type: ignore[assignment]
    organisation = session.organisation_id
    if session.platform or organisation is None or not state.is_orm_statement or state.is_insert:
        return
    statement: Any = state.statement
    if state.is_column_load:
        # SQLAlchemy leaves loader criteria out of refreshes: say it in the statement itself.
        mapper = state.bind_mapper
        if mapper is not None and issubclass(mapper.class_, Scoped):
            state.statement = statement.where(_condition(mapper, organisation))
        return
    mapper = None if state.is_relationship_load else _sole_entity(statement)
    if mapper is not None:
        state.statement = statement.where(_condition(mapper, organisation))
        return
    criterion = _criterion(organisation)
    if criterion not in statement._with_options:
        state.statement = statement.options(criterion)


def _sole_entity(statement: Any) -> Mapper[Any] | None:
    """The scoped class of a plain `select(Class).where(column <op> value, ...)`; None for anything richer.

    The commonest statement by far, and the criterion in its own WHERE is a third of the cost of a loader criterion
    (measured). A wrong guess here is harmless: net 3 would refuse the statement.
    """
    if type(statement) is not Select or statement._with_options or statement._setup_joins or statement._from_obj:
        return None
    columns = statement._raw_columns
    if len(columns) != 1 or not isinstance(columns[0], FromClause):
        return None
    for condition in statement._where_criteria:
        if type(condition) is not BinaryExpression or type(condition.right) is not BindParameter:
            return None
    entity = columns[0]._annotations.get("parententity")
    return entity if isinstance(entity, Mapper) and _plain_to_load(entity) else None


@lru_cache(maxsize=4096)
def _plain_to_load(mapper: Mapper[Any]) -> bool:
    """A scoped class without relationships that load with it."""
    return issubclass(mapper.class_, Scoped) and not any(
        relationship.lazy in ("joined", "subquery", False) for relationship in mapper.relationships
    )


@lru_cache(maxsize=4096)
def _condition(mapper: Mapper[Any], organisation: UUID) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = mapper.class_.organisation_id == bindparam(
        MARK, organisation, type_=Uuid(), unique=True
    )
    return condition


# --- net 2: objects ---------------------------------------------------------------------------------


@event.listens_for(OrganisationSession, "before_attach")
def _attach(session: OrganisationSession, instance: object) -> None:
    if session.platform or not isinstance(instance, Scoped):
        return
    if instance_state(instance).key is not None:
        # What a detached object says of its organisation is not proved by any filter.
        raise OrganisationBreach(f"{type(instance).__name__} of another session: load it in this one")
    _check_owner(session, instance)


@event.listens_for(OrganisationSession, "before_flush")
def _flush(session: OrganisationSession, *_: Any) -> None:
    now = None
    for instance in session.new:
        if isinstance(instance, Scoped):
            if session.organisation_id is not None and _given_owner(instance) is None:
                instance.organisation_id = session.organisation_id
            _check_owner(session, instance)
        if isinstance(instance, Timestamped):
            now = now or session.clock.now()
            given = instance_state(instance).dict
            if given.get("created_at") is None:
                instance.created_at = now
            if given.get("updated_at") is None:
                instance.updated_at = now
    for instance in session.dirty:
        if isinstance(instance, Scoped):
            _check_owner(session, instance)
        if isinstance(instance, Timestamped) and session.is_modified(instance, include_collections=False):
            instance.updated_at = now = now or session.clock.now()
    for instance in session.deleted:
        if isinstance(instance, Scoped):
            _check_owner(session, instance)


def _given_owner(instance: Scoped) -> Any:
    state = instance_state(instance)
    return state.dict.get(type(instance).__owner_attribute__)


def _check_owner(session: OrganisationSession, instance: Scoped) -> None:
    if session.platform:
        return
    state = instance_state(instance)
    attribute = type(instance).__owner_attribute__
    if session.organisation_id is None:
        raise OrganisationBreach(f"{type(instance).__name__} needs a session with an organisation")
    # `committed_state` holds the value before an unflushed change: moving a row away is refused as well.
    for owner in (state.dict.get(attribute), state.committed_state.get(attribute)):
        if isinstance(owner, UUID) and owner != session.organisation_id:
            raise OrganisationBreach(f"{type(instance).__name__} does not belong to the session's organisation")


# --- net 3: the SQL itself ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Proof:
    named: bool
    """Holds the name of a scoped table anywhere, be it in a comment."""
    proved: bool
    """Each mention carries the criterion."""
    marks: tuple[str, ...]
    """Bind names of the criteria."""
    target: str | None
    """The scoped table that an INSERT, UPDATE or DELETE writes."""


def guard(engine: Engine) -> None:
    """Put net 3 before every cursor of `engine`."""
    event.listen(engine, "before_cursor_execute", _prove)


@event.listens_for(OrganisationSession, "after_begin")
def _mark_connection(session: OrganisationSession, transaction: SessionTransaction, connection: Connection) -> None:
    connection.__dict__["organisation_session"] = session


BY_HAND = "organisation_by_hand"
"""Execution option for the rare SQL that no ORM construct can say: its author swears, by putting the session's
organisation here, that the statement keeps to it. Kernel and foundations only."""

_proofs: dict[str, _Proof] = {}


def _prove(
    connection: Connection,
    cursor: DBAPICursor,
    statement: str,
    parameters: Any,
    context: ExecutionContext | None,
    executemany: bool,
) -> None:
    session: OrganisationSession | None = connection.__dict__.get("organisation_session")
    if session is not None and session.platform:
        return
    proof = _proofs.get(statement)
    if proof is None:
        if len(_proofs) > 10_000:  # ad-hoc SQL must not grow it for ever
            _proofs.clear()
        proof = _proofs[statement] = _read(statement)
    if not proof.named:
        return
    organisation = None if session is None else session.organisation_id
    compiled: Any = getattr(context, "compiled", None)
    if organisation is None or session is None:
        raise OrganisationBreach(f"a session without an organisation touched a scoped table: {statement[:200]}")
    if context is not None and context.execution_options.get(BY_HAND) == organisation:
        return
    if compiled is None or compiled.statement is None or compiled.statement.__visit_name__ in _RAW:
        raise OrganisationBreach(f"raw SQL on a scoped table needs a platform session: {statement[:200]}")
    rows: list[Mapping[str, Any]] = context.compiled_parameters  # type: ignore[union-attr]
    if compiled.isinsert and proof.target is not None:
        owner = _scoped_tables()[proof.target]
        if not proof.proved or not rows or any(row.get(owner) != organisation for row in rows):
            raise OrganisationBreach(
                f"INSERT into {proof.target} without the session's organisation in every row"
                " (several rows go as a list into execute(), not into values())"
            )
        _check_upsert(compiled.statement, owner)
        return
    if proof.proved:
        if any(row.get(name) != organisation for row in rows for name in proof.marks):
            raise OrganisationBreach(f"the criterion holds another organisation: {statement[:200]}")
        return
    if session._flushing and (compiled.isupdate or compiled.isdelete):
        return  # by primary key, of an object that net 2 has checked
    raise OrganisationBreach(f"no organisation criterion in: {statement[:300]}")


_RAW = frozenset({"textclause", "tstring", "tstring_text"})


def _check_upsert(statement: Any, owner: str) -> None:
    """DO UPDATE changes the row that is in the way: its unique key must contain the organisation."""
    clause = getattr(statement, "_post_values_clause", None)
    if isinstance(clause, OnConflictDoUpdate):
        elements = {getattr(element, "key", element) for element in clause.inferred_target_elements or ()}
        if owner not in elements:
            raise OrganisationBreach("ON CONFLICT DO UPDATE needs the organisation among its index elements")


@lru_cache(maxsize=1)
def _scoped_tables() -> Mapping[str, str]:
    """Table name -> the column that holds the organisation. Read when all models are loaded."""
    return {
        mapper.local_table.name: mapper.class_.__owner_attribute__  # type: ignore[attr-defined]
        for mapper in Base.registry.mappers
        if issubclass(mapper.class_, Scoped)
    }


def forget_tables() -> None:
    """Read the scoped tables anew (after a model module was imported late)."""
    _scoped_tables.cache_clear()
    _proofs.clear()


@event.listens_for(Base, "mapper_configured", propagate=True)
def _another_model(*_: Any) -> None:
    forget_tables()


_WRITES = re.compile(r'\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?"?(\w+)"?', re.IGNORECASE)
_COLUMNS = re.compile(r'(\s*INSERT\s+INTO\s+"?\w+"?(?:\s+AS\s+"?\w+"?)?)\s*\((?:"?\w+"?(?:,\s*)?)+\)', re.IGNORECASE)
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_CRITERION = re.compile(rf'(\w+)"?\."?(\w+)"? = %\(({MARK}\w*)\)s')


def _read(statement: str) -> _Proof:
    """Weigh the mentions of each scoped table (or its alias) against the criteria that name it."""
    tables = _scoped_tables()
    if not tables:
        return _Proof(False, True, (), None)
    names = "|".join(map(re.escape, tables))
    named = re.search(rf"\b(?:{names})\b", statement, re.IGNORECASE) is not None
    # A table stands free of dots: `api_key.id` is a column. After AS it is a label, after OF a lock's target.
    mention = re.compile(
        rf'(?<![\w."$%(:])(?<!\bAS )(?<!\bAS ")(?<!\bOF )"?({names})"?(?![\w.])(?!\s*=[^=])(?:\s+AS\s+"?(\w+)"?)?',
        re.IGNORECASE,
    )
    qualified = re.compile(rf'(?:FROM|JOIN|USING|INTO|UPDATE|TABLE)\s*"?\w+"?\s*\.\s*"?(?:{names})"?(?![\w.])', re.I)
    # A literal with escapes in it cannot be told from its surroundings this way: then nothing is cut out.
    text = statement if "\\" in statement or "$$" in statement else _LITERAL.sub("''", statement)
    # A column may be called like a table (`signup_request.message`): the list of an INSERT names columns alone, and so
    # does what stands before `=` in a SET (left out by the expression above).
    text = _COLUMNS.sub(r"\1", text, count=1)
    seen: dict[str, tuple[str, int]] = {}
    for match in mention.finditer(text):
        table, alias = match[1].lower(), match[2] or match[1]
        seen[alias] = (table, seen.get(alias, ("", 0))[1] + 1)
    written = _WRITES.match(text)
    target = written[1] if written and written[1] in tables else None
    proofs: dict[tuple[str, str], int] = {}
    marks = []
    for match in _CRITERION.finditer(text):
        proofs[match[1], match[2]] = proofs.get((match[1], match[2]), 0) + 1
        marks.append(match[3])
    if target is not None and text.lstrip()[:6].upper() == "INSERT":
        # The written table itself is judged by the rows' values; whatever it reads from must be proved.
        own = seen.get(target, (target, 1))
        seen[target] = (own[0], own[1] - 1)
    proved = not qualified.search(text) and all(
        proofs.get((alias, tables[table]), 0) >= count for alias, (table, count) in seen.items()
    )
    return _Proof(named, proved, tuple(marks), target)
