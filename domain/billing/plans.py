"""Plans as data. A product (one surface, or several that are sold together) has its own plans.

Thalium's are its published price list: brain invocations a month, prices in pence.
"""

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


def default(product: str) -> Plan:
    """The plan of an organisation that has chosen none. Raises `UnknownPlan`."""
    return next(iter(catalogue(product).values()))


offer(
    Plan("thalium", name, rank, {"thalium.invocations": quota}, price)
    for rank, (name, quota, price) in enumerate(
        [
            ("spark", 500, 0),
            ("neuron", 3_500, 2_900),
            ("lobe", 30_000, 19_900),
            ("studio", 100_000, 59_900),
            ("enterprise", UNLIMITED, None),
        ]
    )
)
