"""How much an organisation may keep, counted in the transaction of each object.

What was agreed with the organisation itself comes first, then the largest allowance among its plans (their quota
`<product>.storage_bytes`), then the installation's.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from domain import audit, billing
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid, PaymentRequired
from domain.storage import binding
from domain.storage.models import StorageUsage

METRIC = "storage_bytes"


@dataclass(frozen=True, slots=True)
class Usage:
    """`bytes` includes what is announced and has not come yet. `quota` is None where there is no limit."""

    bytes: int
    objects: int
    quota: int | None


def usage(ctx: Ctx) -> Usage:
    """What the organisation keeps, and how much it may."""
    row = ctx.session.scalar(select(StorageUsage))
    if row is None:
        return Usage(0, 0, _allowance(ctx, None))
    return Usage(row.bytes, row.objects, _allowance(ctx, row.quota))


def set_quota(ctx: Ctx, quota: int | None) -> None:
    """Agree a quota with this organisation (an operator's act); None: what its plan says. Nothing is removed by it."""
    if quota is not None and quota < 0:
        raise Invalid("A quota is not negative.")
    statement = insert(StorageUsage).values(organisation_id=ctx.organisation, bytes=0, objects=0, quota=quota)
    ctx.session.execute(statement.on_conflict_do_update(index_elements=["organisation_id"], set_={"quota": quota}))
    audit.record(ctx, "storage.quota", resource_type="storage", details={"quota": quota})


def room(ctx: Ctx, size: int) -> None:
    """Raise `PaymentRequired` (fact `reason`: `storage_limit_reached`) when `size` more bytes would not fit just now.
    Counts nothing."""
    now = usage(ctx)
    if now.quota is not None and now.bytes + size > now.quota:
        raise _full(now, size)


def take(ctx: Ctx, size: int) -> None:
    """Count an object of `size` bytes. Raises `PaymentRequired` and counts nothing when they do not fit.

    One atomic statement: however many transactions run at once, the quota is never passed. The counter stays locked
    until the transaction ends, so take late in it.
    """
    quota = _allowance(ctx, ctx.session.scalar(select(StorageUsage.quota)))
    statement = insert(StorageUsage).values(organisation_id=ctx.organisation, bytes=size, objects=1)
    fits = None if quota is None else StorageUsage.bytes + size <= quota
    if quota is None or size <= quota:
        counted = ctx.session.scalar(
            statement.on_conflict_do_update(
                index_elements=["organisation_id"],
                set_={"bytes": StorageUsage.bytes + size, "objects": StorageUsage.objects + 1},
                where=fits,
            ).returning(StorageUsage.bytes)
        )
        if counted is not None:
            return
    raise _full(usage(ctx), size)


def give_back(ctx: Ctx, size: int) -> None:
    """Uncount an object."""
    ctx.session.execute(
        update(StorageUsage)
        .where(StorageUsage.organisation_id == ctx.organisation)
        .values(bytes=func.greatest(StorageUsage.bytes - size, 0), objects=func.greatest(StorageUsage.objects - 1, 0))
        .execution_options(synchronize_session=False)
    )


def _allowance(ctx: Ctx, agreed: int | None) -> int | None:
    if agreed is not None:
        return agreed
    planned = []
    for product in billing.plans.products():
        metric = f"{product}.{METRIC}"
        if any(metric in plan.quotas for plan in billing.plans.catalogue(product).values()):
            quotas = billing.plan_of(ctx, product).quotas
            if metric in quotas:
                planned.append(quotas[metric])
    if planned:
        return None if None in planned else max(quota for quota in planned if quota is not None)
    return binding.bound().quota


def _full(now: Usage, size: int) -> PaymentRequired:
    return PaymentRequired(
        f"The organisation may keep {now.quota or 0:,} bytes of files: {now.bytes:,} are taken, this needs {size:,}.",
        reason="storage_limit_reached",
        metric=f"storage.{METRIC}",
        limit=now.quota,
        used=now.bytes,
    )
