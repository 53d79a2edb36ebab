"""Containers as a tenant has them: made, listed, read, deleted; and what goes away by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from domain import audit, storage
from domain.containers import choice, rules
from domain.containers.models import Container, ContainerBinding
from domain.containers.ports import Declined, Gone, Wanted
from domain.kernel import outbox
from domain.kernel.context import Ctx, Work
from domain.kernel.db import acting_for
from domain.kernel.errors import Conflict, DomainError, Forbidden, Invalid, NotFound
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage, Page

_LOCK = 0x636F6E74


def create(
    ctx: Ctx,
    name: str,
    *,
    memory: str | None = None,
    rest_minutes: int | None = None,
    file_ids: Sequence[str] = (),
    notes: Mapping[str, Any] | None = None,
) -> Container:
    """Make a container. It is `running` at once where its driver has nothing to do for it, else `creating`, and a job
    makes it.

    Raises `Forbidden` (ten are there already, or no such tier), `Conflict` (the name is taken), `NotFound` (a file),
    `Invalid`, `Unavailable` (containers are switched off).
    """
    driver = choice.chosen()
    name = " ".join(name.split())
    if not name:
        raise Invalid("name: something has to stand in it.", field="name")
    memory = memory or rules.DEFAULT_MEMORY
    if memory not in choice.tiers():
        raise Forbidden(f"A container has one of {', '.join(choice.tiers())} of memory.", reason="memory_tier")
    objects = _objects(ctx, file_ids)
    _room(ctx)
    now, minutes = ctx.now(), rest_minutes or rules.REST
    wanted = Wanted(new_id(), memory, minutes)
    known = driver.known_as(wanted)
    ready = known is not None and not objects
    row = {
        "id": wanted.id,
        "organisation_id": ctx.organisation,
        "created_by": getattr(ctx.actor, "user_id", None),
        "name": name[:128],
        "name_key": rules.name_key(name),
        "driver": driver.name,
        "external_id": known,
        "memory": memory,
        "state": "running" if ready else "creating",
        "rest_minutes": minutes,
        "file_ids": [str(each) for each in objects],
        "notes": dict(notes or {}),
        "last_active_at": now,
        "expires_at": rules.over(now, minutes),
        "created_at": now,
        "updated_at": now,
    }
    made = ctx.session.scalars(insert(Container).on_conflict_do_nothing().returning(Container), [row]).one_or_none()
    if made is None:
        raise Conflict(f"A container named {name} exists.", reason="name_taken")
    if not ready:
        outbox.enqueue(ctx, "containers.prepare", {"container_id": str(made.id)})
    audit.record(
        ctx,
        "container.create",
        resource_type="container",
        resource_id=made.id,
        details={"name": made.name, "memory": memory, "driver": driver.name},
    )
    return made


def get(ctx: Ctx, container_id: UUID) -> Container:
    """Raises `NotFound`, also for one that was deleted."""
    found = ctx.session.scalars(
        select(Container).where(Container.id == container_id, Container.deleted_at.is_(None))
    ).one_or_none()
    if found is None:
        raise NotFound("There is no such container.")
    return found


def list_containers(ctx: Ctx, page: OffsetPage) -> Page[Container]:
    """The latest first, without deleted ones, with their `total`."""
    total = ctx.session.scalar(select(func.count(Container.id)).where(Container.deleted_at.is_(None))) or 0
    rows = ctx.session.scalars(
        select(Container)
        .where(Container.deleted_at.is_(None))
        .order_by(Container.id.desc())
        .offset(page.offset)
        .limit(page.limit)
    ).all()
    return Page(rows, total=total)


def delete_container(ctx: Ctx, container_id: UUID) -> None:
    """Take it away, from its agents too; its files go after the commit. Raises `NotFound`."""
    found = _locked(ctx, container_id)
    if found is None:
        raise NotFound("There is no such container.")
    _end(ctx, found, "deleted")
    found.deleted_at = ctx.now()
    ctx.session.execute(
        delete(ContainerBinding)
        .where(ContainerBinding.container_id == container_id)
        .execution_options(synchronize_session=False)
    )
    ctx.session.flush()
    audit.record(
        ctx, "container.delete", resource_type="container", resource_id=container_id, details={"name": found.name}
    )


# --- made by a job ---------------------------------------------------------------------------------------------------


def prepare(work: Work, container_id: UUID) -> None:
    """Have the driver make a container and put its files in. The job `containers.prepare`, which may run twice."""
    with work.transaction() as ctx:
        found = _locked(ctx, container_id)
        if found is None or found.state != "creating":
            work.complete(ctx)
            return
        wanted, name, known = Wanted(found.id, found.memory, found.rest_minutes), found.driver, found.external_id
        objects = storage.get_many(ctx, [UUID(each) for each in found.file_ids])
        missing = len(objects) < len(found.file_ids)
    try:
        driver = choice.driver(name)
        external_id = driver.make(wanted)
        if external_id != known and not _note(work, container_id, driver.name, external_id):
            return
        if missing:
            raise Declined("A file that was to be put in is not there any more.")
        for each in sorted(objects, key=lambda held: held.name):
            with storage.open(work, each) as source:
                driver.put(external_id, each.name, source, each.size)
            work.heartbeat()
    except (Declined, Gone) as refused:
        _fail(work, container_id, refused)
        return
    with work.transaction() as ctx:
        found = _locked(ctx, container_id)
        late = found is None or found.state != "creating"
        if found is not None and not late:
            now = ctx.now()
            found.state = "running"
            found.last_active_at, found.expires_at = now, rules.over(now, found.rest_minutes)
        if late:  # it was deleted or its time was over, and a file may have been put in after it was dropped
            _drop(ctx, driver.name, external_id)
        work.complete(ctx)


def _note(work: Work, container_id: UUID, driver: str, external_id: str) -> bool:
    """Keep what the driver calls a container as soon as it is made: whatever ends it from here on can drop it. False:
    nobody wants it any more, and the job is done."""
    with work.transaction() as ctx:
        found = _locked(ctx, container_id)
        if found is None or found.state != "creating":
            _drop(ctx, driver, external_id)
            work.complete(ctx)
            return False
        if found.external_id is not None:  # made by an attempt before, and not found again
            _drop(ctx, driver, found.external_id)
        found.external_id = external_id
        return True


def _fail(work: Work, container_id: UUID, refused: DomainError) -> None:
    with work.transaction() as ctx:
        give_up(ctx, container_id, refused.message)
        work.complete(ctx)


def give_up(ctx: Ctx, container_id: UUID, why: str = "The container could not be made.") -> None:
    """A container that cannot be made says so, and lets go of its name and place."""
    found = _locked(ctx, container_id)
    if found is not None and found.state == "creating":
        found.failure = why[:500]
        _end(ctx, found, "error")


# --- gone ------------------------------------------------------------------------------------------------------------


def discard(work: Work, driver: str, external_id: str) -> None:
    """Drop what a container held. The job `containers.discard`."""
    choice.driver(driver).discard(external_id)
    with work.transaction() as ctx:
        work.complete(ctx)


def expire(ctx: Ctx) -> int:
    """End the containers that rested too long. A cron, as the platform."""
    now = ctx.now()
    due = ctx.session.execute(
        select(Container.id, Container.organisation_id)
        .where(Container.expires_at <= now)
        .order_by(Container.expires_at)
        .limit(500)
    ).all()
    for container_id, organisation_id in due:
        with acting_for(ctx, organisation_id) as theirs:
            found = _locked(theirs, container_id)
            if found is None or found.expires_at is None or found.expires_at > now:
                continue
            _end(theirs, found, "expired")
            audit.record(theirs, "container.expire", resource_type="container", resource_id=container_id)
    return len(due)


def ended(ctx: Ctx, container_id: UUID) -> None:
    """Note that the driver does not have it any more."""
    found = _locked(ctx, container_id)
    if found is not None and found.state in rules.LIVE:
        _end(ctx, found, "expired")
        audit.record(ctx, "container.expire", resource_type="container", resource_id=container_id)


def living(ctx: Ctx, ids: Sequence[UUID]) -> set[UUID]:
    """Those of the ids that still have a workspace. For the platform's sweep."""
    return set(ctx.session.scalars(select(Container.id).where(Container.id.in_(ids), Container.state.in_(rules.LIVE))))


# --- below -----------------------------------------------------------------------------------------------------------


def _locked(ctx: Ctx, container_id: UUID) -> Container | None:
    return ctx.session.scalars(
        select(Container)
        .where(Container.id == container_id, Container.deleted_at.is_(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def _end(ctx: Ctx, found: Container, state: str) -> None:
    found.state, found.expires_at = state, None
    ctx.session.flush()
    if found.external_id is not None:
        _drop(ctx, found.driver, found.external_id)


def _drop(ctx: Ctx, driver: str, external_id: str) -> None:
    outbox.enqueue(ctx, "containers.discard", {"driver": driver, "external_id": external_id}, max_attempts=10)


def _room(ctx: Ctx) -> None:
    # Two that are made at once must not both take the last place.
    ctx.session.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(str(ctx.organisation)))))
    count = ctx.session.scalar(select(func.count(Container.id)).where(Container.state.in_(rules.LIVE))) or 0
    if count >= rules.MOST:
        raise Forbidden(f"A tenant has {rules.MOST} containers at most.", limit=rules.MOST, reason="quota")


def _objects(ctx: Ctx, file_ids: Sequence[str]) -> list[UUID]:
    """Files that can be put in, each once, in the order in which they are named. Raises `NotFound`."""
    try:
        wanted = list(dict.fromkeys(UUID(each) for each in file_ids))
    except ValueError:
        raise NotFound("There is no such file.") from None
    there = {each.id for each in storage.get_many(ctx, wanted) if each.is_ready} if wanted else set()
    if not there.issuperset(wanted):
        raise NotFound("There is no such file.")
    return wanted
