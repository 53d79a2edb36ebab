"""Workspaces that no row speaks of any more: an organisation was erased, or a process died at a bad moment."""

from __future__ import annotations

from domain.containers import choice, holding
from domain.containers.drivers.local import Local
from domain.kernel.context import Ctx

STEP = 500


def sweep(ctx: Ctx) -> int:
    """Drop local workspaces without a living container. A cron, as the platform."""
    driver = choice.bound().drivers["local"]
    assert isinstance(driver, Local)
    there = driver.workspaces()
    dropped = 0
    for at in range(0, len(there), STEP):
        part = there[at : at + STEP]
        living = holding.living(ctx, list(part))
        for container_id in part:
            if container_id not in living:
                driver.discard(driver.name_of(container_id))
                dropped += 1
    return dropped
