"""Collections, knowledge bases and vector stores: the same thing with three sets of rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from domain import audit
from domain.kernel import outbox
from domain.kernel.context import Ctx
from domain.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page
from domain.knowledge import access, deleting, embedding, quotas, rules
from domain.knowledge.models import Collection, CollectionEntry, Document, PassageIndex
from domain.knowledge.rules import Settings

GENERAL = "General"
"""The default collection, of a person and of the organisation: made when first needed."""
MOST = {"collection": 200, "vector_store": 10}
"""Of one owner (Thallus), of one tenant (Starter)."""


class _Unset:
    """Left as it is."""


UNSET = _Unset()


@dataclass(frozen=True, slots=True)
class Holding:
    """A collection, and what it holds in numbers. `bytes` are the files', `usage_bytes` what the passages take."""

    collection: Collection
    documents: int = 0
    bytes: int = 0
    chunks: int = 0
    usage_bytes: int = 0
    waiting: int = 0
    """Documents that are being read, or wait for it."""
    failed: int = 0
    may_edit: bool = False
    expired: bool = False
    """Its time is over: it holds nothing any more, whatever is not erased yet."""

    @property
    def settings(self) -> Settings:
        return Settings.of(self.collection.settings)

    @property
    def indexing(self) -> tuple[int, int, datetime] | None:
        """Documents done, documents in all, and since when; None while nothing is being read."""
        if not self.waiting:
            return None
        collection = self.collection
        total = max(collection.reindex_total or self.documents, self.waiting)
        return total - self.waiting, total, collection.reindex_started_at or collection.updated_at

    @property
    def state(self) -> str:
        """`ready`, `indexing` or `degraded` (a Bee Flow word: some documents failed)."""
        return "indexing" if self.waiting else "degraded" if self.failed else "ready"


def create(
    ctx: Ctx,
    kind: str,
    name: str,
    *,
    personal: bool = True,
    description: str | None = None,
    visibility: str | None = None,
    group_ids: Sequence[UUID] = (),
    settings: Settings | None = None,
    language: str | None = None,
    include_in_research: bool = True,
    notes: Mapping[str, Any] | None = None,
    expires_after_days: int | None = None,
    model: str | None = None,
) -> Holding:
    """Make one. `personal`: it belongs to the caller; else to the organisation. Without `visibility`, a personal one is
    private and one of the organisation is for everybody in it.

    Raises `Conflict` (the name is taken, or there are too many), `Forbidden`, `PaymentRequired`, `Unprocessable`.
    """
    made = _insert(
        ctx,
        kind,
        name,
        owner_id=access.user(ctx) if personal else None,
        visibility=_visibility(visibility, personal, group_ids),
        group_ids=access.known_groups(ctx, group_ids),
        description=description,
        settings=replace(settings or Settings(), model=model).stored(),
        language=language,
        include_in_research=include_in_research,
        notes=dict(notes or {}),
        expires_after_days=expires_after_days,
        model=model,
    )
    if not personal and not access.may_edit(ctx, made):
        raise Forbidden(required_scope=access.MANAGE[kind])
    return Holding(made, may_edit=True)


def _blank() -> Invalid:
    """Separators alone are no name; a contract's pattern knows fewer of them."""
    return Invalid("name: something has to stand in it.", field="name")


def _insert(ctx: Ctx, kind: str, name: str, *, quiet: bool = False, **values: Any) -> Collection:
    if kind not in rules.KINDS:
        raise ValueError(f"there is no collection of kind {kind!r}")
    name = " ".join(name.split())
    if not name:
        raise _blank()
    model = values.pop("model", None) or embedding.default_model()
    if model != embedding.default_model():
        embedding.embedder(model)
    owner_id = values["owner_id"]
    if not quiet:
        _room(ctx, kind, owner_id)
    now = ctx.now()
    days = values.get("expires_after_days")
    row = {
        "id": new_id(),
        "organisation_id": ctx.organisation,
        "kind": kind,
        "name": name[:128],
        "name_key": rules.name_key(name),
        "created_by": getattr(ctx.actor, "user_id", None),
        "model": model,
        "last_active_at": now,
        "expires_at": None if days is None else now + timedelta(days=days),
        "created_at": now,
        "updated_at": now,
        **values,
    }
    made = ctx.session.scalars(insert(Collection).on_conflict_do_nothing().returning(Collection), [row]).one_or_none()
    if made is None:
        if quiet:
            return default(ctx, personal=owner_id is not None)
        raise Conflict(f"There is one called {name!r} already.", reason="name_taken")
    if not quiet:
        audit.record(ctx, f"{kind}.create", resource_type=kind, resource_id=made.id, details={"name": made.name})
    return made


def _visibility(wanted: str | None, personal: bool, group_ids: Sequence[UUID]) -> str:
    visibility = wanted or ("private" if personal else "organisation")
    if visibility not in rules.VISIBILITIES or (visibility == "private" and not personal):
        raise Invalid(f"visibility: one of {', '.join(rules.VISIBILITIES)}.")
    if visibility == "group" and not group_ids:
        raise Invalid("groupIds: visibility `group` needs at least one group.")
    return visibility


def _room(ctx: Ctx, kind: str, owner_id: UUID | None) -> None:
    quotas.room_for_collection(ctx, kind)
    most = MOST.get(kind)
    if most is None:
        return
    count = ctx.session.scalar(
        select(func.count(Collection.id)).where(
            Collection.kind == kind,
            Collection.deleted_at.is_(None),
            Collection.owner_id.is_not_distinct_from(owner_id),
        )
    )
    if (count or 0) >= most:
        if kind == "vector_store":
            raise Forbidden(f"A tenant has {most} vector stores at most.", limit=most)
        raise Conflict(f"There are {most} collections at most.", reason="too_many", limit=most)


def default(ctx: Ctx, *, personal: bool = True) -> Collection:
    """The collection "General" of the caller or of the organisation, made now if there is none yet."""
    owner_id = access.user(ctx) if personal else None
    found = ctx.session.scalars(
        select(Collection).where(
            Collection.kind == "collection",
            Collection.is_default,
            Collection.deleted_at.is_(None),
            Collection.owner_id.is_not_distinct_from(owner_id),
        )
    ).one_or_none()
    if found is not None:
        return found
    return _insert(
        ctx,
        "collection",
        GENERAL,
        quiet=True,
        owner_id=owner_id,
        visibility="private" if personal else "organisation",
        is_default=True,
        settings=Settings().stored(),
    )


def find(ctx: Ctx, collection_id: UUID, kind: str | None = None, *, edit: bool = False) -> Collection:
    """One that the caller can see, and with `edit` change. Raises `NotFound`, `Forbidden`."""
    query = select(Collection).where(Collection.id == collection_id, access.visible(access.viewer(ctx)))
    if kind is not None:
        query = query.where(Collection.kind == kind)
    found = ctx.session.scalars(query).one_or_none()
    if found is None and edit:  # administrators may change knowledge bases that they cannot look into
        hidden = ctx.session.get(Collection, collection_id)
        if hidden is not None and hidden.deleted_at is None and kind in (None, hidden.kind):
            found = hidden if access.may_edit(ctx, hidden) else None
    if found is None:
        raise NotFound(f"There is no such {(kind or 'collection').replace('_', ' ')}.")
    if edit:
        access.must_edit(ctx, found)
    return found


def get(ctx: Ctx, collection_id: UUID, kind: str | None = None) -> Holding:
    """Raises `NotFound`."""
    return holdings(ctx, [find(ctx, collection_id, kind)])[0]


def get_many(ctx: Ctx, ids: Sequence[UUID], eyes: access.Viewer | None = None) -> list[Collection]:
    """Those of the ids that the caller (or whose `eyes` they are) can see, in their order."""
    query = select(Collection).where(Collection.id.in_(ids), access.visible(eyes or access.viewer(ctx)))
    found = {each.id: each for each in ctx.session.scalars(query)}
    return [found[each] for each in ids if each in found]


def list_collections(
    ctx: Ctx,
    kind: str,
    page: OffsetPage,
    *,
    scope: str | None = None,
    visibility: str | None = None,
    mine: bool | None = None,
    search: str | None = None,
    latest_first: bool = False,
) -> Page[Holding]:
    """Those that the caller can see: the default one first, the others by name (or `latest_first`).

    `scope`: `personal` or `organization`. Public ones of others stand in the marketplace and not here.
    """
    eyes = access.viewer(ctx)
    conditions: list[ColumnElement[bool]] = [Collection.kind == kind, access.visible(eyes)]
    if scope == "personal":
        if kind == "collection":
            default(ctx)
        conditions.append(Collection.owner_id == access.user(ctx))
    elif scope == "organization":
        if kind == "collection":
            default(ctx, personal=False)
        conditions.append(Collection.owner_id.is_(None))
    own = Collection.owner_id.is_not_distinct_from(eyes.user_id)
    if kind == "knowledge_base" and not eyes.everything:
        conditions.append(or_(Collection.visibility != "public", own))
    if mine is not None:
        conditions.append(own if mine else ~own)
    if visibility is not None:
        conditions.append(Collection.visibility == visibility)
    if search:
        for word in search.split()[:10]:
            either = or_(
                Collection.name.icontains(word, autoescape=True),
                func.coalesce(Collection.description, "").icontains(word, autoescape=True),
            )
            conditions.append(either)
    total = ctx.session.scalar(select(func.count(Collection.id)).where(*conditions)) or 0
    order: Any = (
        (Collection.id.desc(),) if latest_first else (Collection.is_default.desc(), Collection.name_key, Collection.id)
    )
    rows = ctx.session.scalars(
        select(Collection).where(*conditions).order_by(*order).offset(page.offset).limit(page.limit)
    ).all()
    return Page(holdings(ctx, rows), total=total)


def holdings(ctx: Ctx, collections: Sequence[Collection]) -> list[Holding]:
    """The collections with their numbers: one query, whatever their count."""
    now = ctx.now()
    entry = CollectionEntry
    waiting = or_(entry.state.in_(("pending", "processing")), entry.pending_index_id.is_not(None), entry.reindex)
    rows = ctx.session.execute(
        select(
            entry.collection_id,
            func.count(entry.id),
            func.coalesce(func.sum(Document.size), 0),
            func.coalesce(func.sum(PassageIndex.chunk_count), 0),
            func.coalesce(func.sum(PassageIndex.bytes), 0),
            func.count(case((waiting, 1))),
            func.count(case((entry.state == "failed", 1))),
        )
        .join(Document, Document.id == entry.document_id)
        .outerjoin(PassageIndex, PassageIndex.id == entry.index_id)
        .where(entry.collection_id.in_([each.id for each in collections if not each.over(now)]))
        .group_by(entry.collection_id)
    ).all()
    numbers = {row[0]: [int(value) for value in row[1:]] for row in rows}
    found = []
    for each in collections:
        documents, size, chunks, taken, pending, failed = numbers.get(each.id, [0] * 6)
        may_edit = access.may_edit(ctx, each)
        found.append(Holding(each, documents, size, chunks, taken, pending, failed, may_edit, each.over(now)))
    return found


def update_collection(
    ctx: Ctx,
    collection_id: UUID,
    kind: str | None = None,
    *,
    name: str | _Unset = UNSET,
    description: str | _Unset | None = UNSET,
    visibility: str | _Unset = UNSET,
    group_ids: Sequence[UUID] | _Unset = UNSET,
    settings: Mapping[str, Any] | _Unset = UNSET,
    language: str | _Unset | None = UNSET,
    include_in_research: bool | _Unset = UNSET,
    model: str | _Unset | None = UNSET,
) -> Holding:
    """Change what is given. `settings` are the parts of `Settings` to change; `model` None: that of new collections.
    New sizes and models hold for new documents until everything is indexed anew.

    Raises `NotFound`, `Forbidden`, `Conflict`, `Unprocessable`, and `Unavailable` for a model that is not set up.
    """
    found = find(ctx, collection_id, kind, edit=True)
    changed: dict[str, Any] = {}
    if not isinstance(name, _Unset) and not name.strip():
        raise _blank()
    if not isinstance(name, _Unset) and rules.name_key(name) != found.name_key:
        if found.is_default:
            raise Conflict("The default collection keeps its name.", reason="default_collection")
        _free(ctx, found, name)
        changed |= {"name": " ".join(name.split())[:128], "name_key": rules.name_key(name)}
    elif not isinstance(name, _Unset) and not found.is_default:
        changed["name"] = " ".join(name.split())[:128]
    if not isinstance(group_ids, _Unset):
        changed["group_ids"] = access.known_groups(ctx, group_ids)
    if not isinstance(visibility, _Unset):
        groups = changed.get("group_ids", found.group_ids)
        changed["visibility"] = _visibility(visibility, found.owner_id is not None, groups)
    if not isinstance(settings, _Unset):
        changed["settings"] = replace(Settings.of(found.settings), **settings).stored()
    if not isinstance(model, _Unset):
        changed["model"] = model or embedding.default_model()
        embedding.embedder(changed["model"])
        present = Settings.of(changed.get("settings", found.settings))
        changed["settings"] = replace(present, model=model).stored()
    for field, value in (
        ("description", description),
        ("language", language),
        ("include_in_research", include_in_research),
    ):
        if not isinstance(value, _Unset):
            changed[field] = value
    for field, value in changed.items():
        setattr(found, field, value)
    ctx.session.flush()
    audit.record(
        ctx,
        f"{found.kind}.update",
        resource_type=found.kind,
        resource_id=found.id,
        details={"changed": sorted(changed)},
    )
    return holdings(ctx, [found])[0]


def _free(ctx: Ctx, found: Collection, name: str) -> None:
    taken = ctx.session.scalar(
        select(Collection.id).where(
            Collection.kind == found.kind,
            Collection.owner_id.is_not_distinct_from(found.owner_id),
            Collection.name_key == rules.name_key(name),
            Collection.deleted_at.is_(None),
            Collection.id != found.id,
        )
    )
    if taken is not None:
        raise Conflict(f"There is one called {name!r} already.", reason="name_taken")


def of_scope(collection: Collection, personal: bool | None) -> None:
    """Raise unless the collection is a person's (True) or the organisation's (False): `Forbidden` (fact `reason`:
    `organisation_collection`) for one of the organisation, `NotFound` for a personal one."""
    if personal is None or personal == (collection.owner_id is not None):
        return
    if personal:
        raise Forbidden(
            "This is a collection of the organisation, and only what is the caller's own is changed here: the "
            "organisation's have operations of their own.",
            reason="organisation_collection",
        )
    raise NotFound("There is no such collection of the organisation.")


def delete_collection(ctx: Ctx, collection_id: UUID, kind: str | None = None, *, personal: bool | None = None) -> None:
    """Remove it, from every search at once. Documents of a personal collection move to the default one; those of any
    other go with it, and a vector store's files stay where they are stored.

    Raises `NotFound`, `Forbidden`, `Conflict` (the default collection).
    """
    found = find(ctx, collection_id, kind, edit=kind == "knowledge_base")
    of_scope(found, personal)
    access.must_edit(ctx, found)
    if found.is_default:
        raise Conflict("The default collection stays.", reason="default_collection")
    if found.kind == "collection" and found.owner_id is not None:
        _move_all(ctx, found, default(ctx))
    deleting.mark(ctx, Document.home_id == found.id)
    found.deleted_at = ctx.now()
    found.expires_at = None
    ctx.session.flush()
    outbox.enqueue(ctx, "knowledge.purge", {"collection_id": str(found.id)})
    audit.record(
        ctx,
        f"{found.kind}.delete",
        resource_type=found.kind,
        resource_id=found.id,
        details={"name": found.name},
    )


def _move_all(ctx: Ctx, source: Collection, target: Collection) -> None:
    """Everything that the target does not have yet; what it has stays once, and the second copy goes."""
    theirs = select(CollectionEntry.content_key).where(
        CollectionEntry.collection_id == target.id, CollectionEntry.content_key.is_not(None)
    )
    double = and_(CollectionEntry.collection_id == source.id, CollectionEntry.content_key.in_(theirs))
    gone = ctx.session.scalars(select(CollectionEntry.document_id).where(double)).all()
    ctx.session.execute(delete(CollectionEntry).where(double).execution_options(synchronize_session=False))
    if gone:
        deleting.mark(ctx, Document.id.in_(gone))
        for document_id in gone:
            outbox.enqueue(ctx, "knowledge.purge", {"document_id": str(document_id)})
    for statement in (
        update(CollectionEntry).where(CollectionEntry.collection_id == source.id).values(collection_id=target.id),
        update(Document).where(Document.home_id == source.id, Document.deleted_at.is_(None)).values(home_id=target.id),
    ):
        ctx.session.execute(statement.values(updated_at=ctx.now()).execution_options(synchronize_session=False))


def touch(ctx: Ctx, collection: Collection) -> None:
    """It was used: a vector store's time of rest begins anew, unless it is over."""
    now = ctx.now()
    if collection.over(now):
        return
    if collection.last_active_at is not None and now - collection.last_active_at < timedelta(minutes=1):
        return  # a row is not rewritten for every search
    collection.last_active_at = now
    if collection.expires_after_days is not None:
        collection.expires_at = now + timedelta(days=collection.expires_after_days)
