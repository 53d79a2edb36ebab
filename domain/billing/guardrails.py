"""Guardrails of usage: the operator's own bounds on a month of what plans leave open. Off unless they are set.

`configure` at start-up, `hold` after each use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domain.billing import plans
from domain.billing.plans import UNLIMITED, Plan
from domain.billing.rules import month_of, next_month, product_of
from domain.kernel.context import Ctx
from domain.kernel.errors import LimitExceeded, PaymentRequired

_bounds: dict[str, Mapping[str, int | None]] = {}


def configure(product: str, given: Sequence[str]) -> None:
    """Bound the months of a product by plan: `pro=20000` units, or `enterprise=unlimited`; nothing switches it off.

    Raises `ValueError` for a plan that is not offered, or one that stands there twice.
    """
    bounds: dict[str, int | None] = {}
    for each in given:
        name, _, amount = each.partition("=")
        if name not in plans.catalogue(product):
            raise ValueError(f"there is no plan {name!r} for {product}")
        if name in bounds:
            raise ValueError(f"plan {name} stands there twice")
        bounds[name] = UNLIMITED if amount == "unlimited" else int(amount)
    _bounds[product] = bounds


def hold(ctx: Ctx, plan: Plan, metric: str, used: int) -> None:
    """Let `used` units of this month pass, the present ones among them, or refuse them.

    Raises `LimitExceeded` (facts `reason` usage_limit_exceeded, `plan`, `metric`, `limit`, `retry_after`), and
    `PaymentRequired` (reason usage_policy_configuration_error) for a plan that the guardrails say nothing of.
    """
    bounds = _bounds.get(product_of(metric))
    if not bounds:
        return
    if plan.name not in bounds:
        raise PaymentRequired(
            f"The usage policy says nothing of plan {plan.name}.",
            reason="usage_policy_configuration_error",
            plan=plan.name,
            metric=metric,
        )
    limit = bounds[plan.name]
    if limit is None or used <= limit:
        return
    now = ctx.now()
    raise LimitExceeded(
        f"Plan {plan.name} may use {limit} of {metric} a month on this server.",
        reason="usage_limit_exceeded",
        plan=plan.name,
        metric=metric,
        limit=limit,
        retry_after=max(1, int((next_month(month_of(now)) - now).total_seconds())),
    )
