"""Quotas hold, to the unit, however many callers there are."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

import pytest

from domain import audit, billing
from domain.billing import plans, rules
from domain.kernel.clock import FixedClock
from domain.kernel.errors import Invalid, PaymentRequired

METRIC = "thalium.invocations"


@pytest.mark.parametrize(
    ("plan", "limit"), [("spark", 500), ("neuron", 3_500), ("lobe", 30_000), ("studio", 100_000), ("enterprise", None)]
)
def test_the_published_plans(context: Any, plan: str, limit: int | None) -> None:
    with context() as ctx:
        billing.subscribe(ctx, plan)
        assert billing.plan_of(ctx).name == plan
        assert [(use.metric, use.limit, use.used) for use in billing.usage(ctx)] == [(METRIC, limit, 0)]


def test_the_last_unit_is_given_and_the_next_is_refused_with_facts(context: Any) -> None:
    with context() as ctx:
        assert billing.consume(ctx, METRIC, 499) == 499
        assert billing.consume(ctx, METRIC) == 500
    with pytest.raises(PaymentRequired) as refused, context() as ctx:
        billing.consume(ctx, METRIC)
    facts = {"plan": "spark", "metric": METRIC, "limit": 500, "used": 500, "resets_at": "2026-04-01T00:00:00Z"}
    assert refused.value.facts == facts


def test_more_than_the_whole_quota_is_refused_and_counts_nothing(context: Any) -> None:
    with pytest.raises(PaymentRequired), context() as ctx:
        billing.consume(ctx, METRIC, 501)
    with context() as ctx:
        assert billing.usage(ctx)[0].used == 0


def test_a_rolled_back_transaction_has_used_nothing(context: Any) -> None:
    with pytest.raises(ZeroDivisionError), context() as ctx:  # noqa: PT012
        billing.consume(ctx, METRIC, 10)
        raise ZeroDivisionError
    with context() as ctx:
        assert billing.usage(ctx)[0].used == 0


def test_a_new_month_begins_at_zero_in_utc(context: Any, clock: FixedClock) -> None:
    clock.at = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)
    with context() as ctx:
        billing.consume(ctx, METRIC, 500)
    clock.at = datetime(2026, 4, 1, tzinfo=UTC)
    with context() as ctx:
        assert billing.consume(ctx, METRIC) == 1
        assert billing.usage(ctx, month=date(2026, 3, 15))[0].used == 500


def test_an_unlimited_plan_counts_and_never_refuses(context: Any) -> None:
    with context() as ctx:
        billing.subscribe(ctx, "enterprise")
        assert billing.consume(ctx, METRIC, 10_000_000) == 10_000_000


def test_overage_counts_past_the_quota_only_when_it_is_enabled(context: Any) -> None:
    with context() as ctx:
        billing.subscribe(ctx, "spark", overage=True)
        assert billing.consume(ctx, METRIC, 501) == 501
        billing.subscribe(ctx, "spark")
        with pytest.raises(PaymentRequired):
            billing.consume(ctx, METRIC)


def test_a_bigger_plan_helps_at_once_and_the_change_is_audited(context: Any) -> None:
    with context() as ctx:
        billing.consume(ctx, METRIC, 500)
        billing.subscribe(ctx, "neuron")
        assert billing.consume(ctx, METRIC) == 501
    with context() as ctx:
        details = audit.find(ctx, actions=["subscription.set"]).items[0].details
        assert details == {"product": "thalium", "from": "spark", "to": "neuron", "overage": False}


def test_a_refund_gives_back_and_never_below_zero(context: Any, clock: FixedClock) -> None:
    with context() as ctx:
        billing.consume(ctx, METRIC, 5)
        billing.refund(ctx, METRIC, 2)
        assert billing.usage(ctx)[0].used == 3
        billing.refund(ctx, METRIC, 99, consumed_at=clock.now())
        assert billing.usage(ctx)[0].used == 0


def test_entitlement_follows_the_rank_of_the_plan(context: Any) -> None:
    with context() as ctx:
        billing.subscribe(ctx, "lobe")
        billing.entitled(ctx, "neuron")
        with pytest.raises(PaymentRequired) as refused:
            billing.entitled(ctx, "studio")
        assert refused.value.facts == {"plan": "lobe", "needed": "studio"}


def test_an_unknown_plan_metric_or_amount_is_refused(context: Any) -> None:
    with context() as ctx:
        with pytest.raises(Invalid):
            billing.subscribe(ctx, "gold")
        with pytest.raises(PaymentRequired):
            billing.consume(ctx, "thalium.unheard_of")
        with pytest.raises(billing.UnknownPlan):
            billing.consume(ctx, "nothing.sold")
        for amount in (0, -1):
            with pytest.raises(ValueError):
                billing.consume(ctx, METRIC, amount)


def test_another_product_can_offer_plans_of_its_own(context: Any) -> None:
    plans.offer([plans.Plan("testware", "free", 0, {"testware.things": 1})])
    with context() as ctx:
        assert billing.plan_of(ctx, "testware").name == "free"
        billing.consume(ctx, "testware.things")
        with pytest.raises(PaymentRequired):
            billing.consume(ctx, "testware.things")
        assert billing.consume(ctx, METRIC) == 1


def test_one_organisations_use_is_not_anothers(context: Any, found: Any) -> None:
    other = found()
    with context() as ctx:
        billing.consume(ctx, METRIC, 500)
    with context(of=other) as ctx:
        assert billing.consume(ctx, METRIC) == 1


def test_ten_threads_never_pass_the_quota(context: Any) -> None:
    with context() as ctx:
        billing.consume(ctx, METRIC, 420)
    results: Counter[str] = Counter()

    def use() -> None:
        for _ in range(20):
            try:
                with context() as ctx:
                    billing.consume(ctx, METRIC)
                results["given"] += 1
            except PaymentRequired:
                results["refused"] += 1

    threads = [threading.Thread(target=use) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {"given": 80, "refused": 120}
    with context() as ctx:
        assert billing.usage(ctx)[0].used == 500


@pytest.mark.parametrize("name", ["x", "", ".x", "x."])
def test_a_metric_names_its_product(name: str) -> None:
    with pytest.raises(ValueError):
        rules.product_of(name)


def test_december_is_followed_by_january() -> None:
    assert rules.next_month(date(2026, 12, 1)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert rules.month_of(datetime.fromisoformat("2026-03-01T00:30:00+01:00")) == date(2026, 2, 1)
