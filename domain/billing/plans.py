"""What a plan is, and the catalogue that `domain.billing.catalogue` fills."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

UNLIMITED = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`quotas`: metric -> units a calendar month (UTC), None for unlimited. A metric that is absent is not for sale."""

    product: str
    name: str
    rank: int
    quotas: Mapping[str, int | None]
    price: int | None = None
    """Minor units a month; None when it is agreed with sales."""
    currency: str = "GBP"
    features: frozenset[str] = field(default_factory=frozenset)
    limits: Mapping[str, int | None] = field(default_factory=dict)
    """Standing amounts: metric -> how many there may be at once, None for any number. Absent is any number too."""


class UnknownPlan(LookupError):
    """No such product or plan."""


_plans: dict[str, dict[str, Plan]] = {}


def offer(plans: Iterable[Plan]) -> None:
    """Add plans to the catalogue. The first plan of a product is what an organisation without a subscription has."""
    for plan in plans:
        _plans.setdefault(plan.product, {})[plan.name] = plan


def plan(product: str, name: str) -> Plan:
    """One plan. Raises `UnknownPlan`."""
    try:
        return _plans[product][name]
    except KeyError:
        raise UnknownPlan(f"{product}: {name}") from None


def catalogue(product: str) -> Mapping[str, Plan]:
    """The plans of a product by name, in the order they were offered. Raises `UnknownPlan`."""
    try:
        return MappingProxyType(_plans[product])
    except KeyError:
        raise UnknownPlan(product) from None


def products() -> tuple[str, ...]:
    """All products that have plans, in the order they were offered."""
    return tuple(_plans)


def default(product: str) -> Plan:
    """The plan of an organisation that has chosen none. Raises `UnknownPlan`."""
    return next(iter(catalogue(product).values()))
