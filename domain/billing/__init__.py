"""Plans, subscriptions and monthly quotas.

An organisation has one plan a product (`thalium`, ...), the product's first plan if it has chosen none. A metric is
named after its product (`thalium.invocations`); its counter belongs to a calendar month in UTC.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from domain import audit
from domain.billing import catalogue as catalogue  # fills the catalogue
from domain.billing import guardrails, plans
from domain.billing.models import Subscription, UsageCounter
from domain.billing.plans import Plan, UnknownPlan, products
from domain.billing.rules import month_of, next_month, product_of
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid, PaymentRequired

__all__ = [
    "Plan",
    "UnknownPlan",
    "Usage",
    "consume",
    "entitled",
    "guardrails",
    "plan_of",
    "plans_of",
    "products",
    "refund",
    "room_for",
    "subscribe",
    "usage",
]


@dataclass(frozen=True, slots=True)
class Usage:
    """`limit` is None where the plan has none. `resets_at` is when the next month's counter begins."""

    metric: str
    plan: str
    used: int
    limit: int | None
    overage: bool
    month: date
    resets_at: datetime


def plan_of(ctx: Ctx, product: str = "thalium") -> Plan:
    """The organisation's plan for a product. Raises `UnknownPlan` for a product that has none."""
    return _subscribed(ctx, product)[0]


def plans_of(ctx: Ctx, organisations: Collection[UUID], product: str) -> Mapping[UUID, Plan]:
    """The plan of each of several organisations. Needs a context of the platform."""
    found = {organisation: plans.default(product) for organisation in organisations}
    rows = ctx.session.execute(
        select(Subscription.organisation_id, Subscription.plan).where(
            Subscription.organisation_id.in_(list(found)), Subscription.product == product
        )
    )
    return found | {row.organisation_id: plans.plan(product, row.plan) for row in rows}


def subscribe(ctx: Ctx, plan: str, product: str = "thalium", *, overage: bool = False) -> Plan:
    """Put the organisation on a plan. With `overage`, use past the quota is counted and not refused.

    Raises `Invalid` for a plan that is not offered.
    """
    try:
        chosen = plans.plan(product, plan)
    except UnknownPlan:
        raise Invalid(f"There is no plan {plan!r} for {product}.") from None
    where = (Subscription.organisation_id == ctx.organisation, Subscription.product == product)
    before = ctx.session.scalar(select(Subscription.plan).where(*where).with_for_update())
    now = ctx.now()
    values = {"plan": chosen.name, "overage": overage, "updated_at": now}
    ctx.session.execute(
        insert(Subscription)
        .values(organisation_id=ctx.organisation, product=product, created_at=now, **values)
        .on_conflict_do_update(index_elements=["organisation_id", "product"], set_=values)
    )
    details = {"product": product, "from": before, "to": chosen.name, "overage": overage}
    audit.record(ctx, "subscription.set", resource_type="subscription", resource_id=product, details=details)
    return chosen


def consume(ctx: Ctx, metric: str, amount: int = 1) -> int:
    """Count `amount` units of `metric` against this month's quota; what is used by now.

    One atomic statement: however many transactions run at once, the quota is never passed. Raises `PaymentRequired`
    (facts `plan`, `metric`, `limit`, `used`, `resets_at`) and counts nothing when it would be. The counter stays locked
    until the transaction ends, so consume late in it.
    """
    if amount < 1:
        raise ValueError("amount must be positive")
    plan, overage = _subscribed(ctx, product_of(metric))
    limit = _quota(plan, metric)
    month = month_of(ctx.now())
    cap = None if overage else limit
    if cap is None or amount <= cap:
        statement = insert(UsageCounter).values(
            organisation_id=ctx.organisation, metric=metric, month=month, used=amount
        )
        sum_ = UsageCounter.used + amount
        used: int | None = ctx.session.scalar(
            statement.on_conflict_do_update(
                index_elements=["organisation_id", "metric", "month"],
                set_={"used": sum_},
                where=None if cap is None else sum_ <= cap,
            ).returning(UsageCounter.used)
        )
        if used is not None:
            return used
    raise PaymentRequired(
        f"The monthly quota of plan {plan.name} for {metric} is used up.",
        plan=plan.name,
        metric=metric,
        limit=limit,
        used=_used(ctx, metric, month),
        resets_at=next_month(month).isoformat().replace("+00:00", "Z"),
    )


def refund(ctx: Ctx, metric: str, amount: int = 1, *, consumed_at: datetime | None = None) -> None:
    """Give back units of the month of `consumed_at` (default: this one), never below zero."""
    if amount < 1:
        raise ValueError("amount must be positive")
    ctx.session.execute(
        update(UsageCounter)
        .where(UsageCounter.organisation_id == ctx.organisation, UsageCounter.metric == metric)
        .where(UsageCounter.month == month_of(consumed_at or ctx.now()))
        .values(used=func.greatest(UsageCounter.used - amount, 0))
        .execution_options(synchronize_session=False)
    )


def usage(ctx: Ctx, product: str = "thalium", *, month: date | None = None) -> Sequence[Usage]:
    """Each metric of the organisation's plan: used and allowed, this month or the one of `month`."""
    plan, overage = _subscribed(ctx, product)
    month = (month or month_of(ctx.now())).replace(day=1)
    rows = ctx.session.execute(
        select(UsageCounter.metric, UsageCounter.used).where(
            UsageCounter.organisation_id == ctx.organisation,
            UsageCounter.month == month,
            UsageCounter.metric.startswith(f"{product}.", autoescape=True),
        )
    )
    counted = {metric: used for metric, used in rows}  # noqa: C416 - rows are no tuples to the type checker
    return [
        Usage(metric, plan.name, counted.get(metric, 0), limit, overage, month, next_month(month))
        for metric, limit in plan.quotas.items()
    ]


def entitled(ctx: Ctx, needed: str, product: str = "thalium") -> None:
    """Raise `PaymentRequired` (facts `plan`, `needed`) unless the plan is `needed` or above, or has it as a feature."""
    plan = plan_of(ctx, product)
    offered = plans.catalogue(product).get(needed)
    if needed in plan.features or (offered is not None and plan.rank >= offered.rank):
        return
    raise PaymentRequired(f"This needs {needed}; the organisation has plan {plan.name}.", plan=plan.name, needed=needed)


def room_for(ctx: Ctx, metric: str, standing: int, more: int = 1) -> None:
    """Raise `PaymentRequired` (facts `plan`, `metric`, `limit`, `used`) unless `more` fit beside the `standing`.

    For amounts that stand (members, agents, bytes), not for what is counted by month.
    """
    plan = plan_of(ctx, product_of(metric))
    limit = plan.limits.get(metric)
    if limit is not None and standing + more > limit:
        raise PaymentRequired(
            f"Plan {plan.name} has room for {limit} ({metric.partition('.')[2].replace('_', ' ')}).",
            plan=plan.name,
            metric=metric,
            limit=limit,
            used=standing,
        )


def _subscribed(ctx: Ctx, product: str) -> tuple[Plan, bool]:
    row = ctx.session.execute(
        select(Subscription.plan, Subscription.overage).where(
            Subscription.organisation_id == ctx.organisation, Subscription.product == product
        )
    ).one_or_none()
    return (plans.default(product), False) if row is None else (plans.plan(product, row.plan), row.overage)


def _quota(plan: Plan, metric: str) -> int | None:
    if metric not in plan.quotas:
        raise PaymentRequired(f"Plan {plan.name} does not include {metric}.", plan=plan.name, metric=metric)
    return plan.quotas[metric]


def _used(ctx: Ctx, metric: str, month: date) -> int:
    where = (UsageCounter.organisation_id == ctx.organisation, UsageCounter.metric == metric)
    return ctx.session.scalar(select(UsageCounter.used).where(*where, UsageCounter.month == month)) or 0
