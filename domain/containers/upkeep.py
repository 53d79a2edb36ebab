"""Workspaces that no row speaks of any more: an organisation was erased, or a process died at a bad moment."""

from __future__ import annotations

from contextlib import suppress

from domain.containers import choice, holding
from domain.containers.drivers.local import Local
from domain.kernel.context import Work
from domain.kernel.errors import Unavailable

STEP = 500


def sweep(work: Work) -> int:
    """Drop local workspaces without a living container; how many. The job `containers.sweep`, as the platform.

    One in which code is still being run is left to the next night.
    """
    driver = choice.bound().drivers["local"]
    assert isinstance(driver, Local)
    there = driver.workspaces()
    dropped = 0
    for at in range(0, len(there), STEP):
        part = there[at : at + STEP]
        with work.transaction() as ctx:
            living = holding.living(ctx, part)
        for container_id in part:
            if container_id in living:
                continue
            work.heartbeat()
            with suppress(Unavailable):
                driver.discard(driver.name_of(container_id))
                dropped += 1
    with work.transaction() as ctx:
        work.complete(ctx)
    return dropped
