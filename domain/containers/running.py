"""Code of an agent, run in its container: `run`, `available`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID

from sqlalchemy import update

from domain.containers import bindings, choice, holding, rules
from domain.containers.models import Container
from domain.containers.ports import Gone, Outcome
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid, Unavailable

AT_ONCE = 2
"""Runs of one process that may be under way: each may take a container's memory."""
PATIENCE = 5.0
SHORTEST = 1.0

_places = threading.BoundedSemaphore(AT_ONCE)


def available() -> bool:
    """Whether there are containers on this server at all. Whether its kernel can confine code shows when it is run."""
    return choice.bound().chosen is not None


def run(
    transaction: Callable[[], AbstractContextManager[Ctx]],
    agent_key: str,
    code: str,
    *,
    seconds: float,
    beat: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run Python code in the container of an agent, or in a fresh one where it has none, for `seconds` at most.

    `transaction` opens a short one of the person who asked; none is open while the code runs. Raises `Unavailable`
    (also where code cannot be confined: nothing was run then), `Gone`, `Invalid`.
    """
    if len(code) > rules.CODE:
        raise Invalid(f"A program has {rules.CODE:,} characters at most.")
    with transaction() as ctx:
        found = bindings.of(ctx, agent_key)
        held = None if found is None else _entered(ctx, found)
    driver = choice.chosen() if held is None else choice.driver(held[1])
    external_id, memory = (None, rules.DEFAULT_MEMORY) if held is None else held[2:]
    limit = min(seconds, choice.bound().seconds)
    if limit < SHORTEST:
        raise Unavailable("There is no time left to run code.")
    if not _places.acquire(timeout=PATIENCE):
        raise Unavailable("Other code is being run. Try again shortly.", retry_after=5)
    try:
        outcome = driver.run(external_id, code, memory=memory, seconds=limit, beat=beat)
    except Gone:
        if held is not None:
            with transaction() as ctx:
                holding.ended(ctx, held[0])
        raise
    finally:
        _places.release()
    if held is not None and external_id is not None:
        with transaction() as ctx:
            still = _touch(ctx, held[0])
        if not still:  # it was deleted while the code ran, which has left files
            driver.discard(external_id)
            raise Gone
    return outcome


def _entered(ctx: Ctx, found: Container) -> tuple[UUID, str, str | None, str]:
    if found.state == "creating":
        raise Unavailable("The agent's container is still being made. Try again shortly.", retry_after=5)
    if found.state != "running" or not _touch(ctx, found.id):
        raise Gone
    return found.id, found.driver, found.external_id, found.memory


def _touch(ctx: Ctx, container_id: UUID) -> bool:
    """Begin its time of rest anew. False: it is gone."""
    found = holding._locked(ctx, container_id)
    if found is None or found.state != "running":
        return False
    now = ctx.now()
    ctx.session.execute(
        update(Container)
        .where(Container.id == container_id)
        .values(last_active_at=now, expires_at=rules.over(now, found.rest_minutes))
        .execution_options(synchronize_session=False)
    )
    return True
