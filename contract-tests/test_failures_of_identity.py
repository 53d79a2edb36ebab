"""Every failure that a contract of identity declares is reached: each operation, each 4xx and 5xx, one request that is
answered so, in the surface's own error body.

What fails alike everywhere is provoked by what the contract says of the operation (`recipes/provoking.py`); what is
particular stands in `recipes/failures_*.py`. A status that is declared and cannot be reached fails this test, unless it
has a reason in `EVERYWHERE`.
"""

from __future__ import annotations

from typing import Any

from recipes.failures import FAILURES

DECLARED_FAILURES_OF = {
    "thallus": {"auth", "api-keys"},
    "thalian": {"api-keys"},
    "beeflow": {
        "auth",
        "account",
        "signup",
        "sso",
        "connector",
        "users",
        "api-keys",
        "organisation",
        "groups",
    },
    "starter": {"auth", "account", "sessions", "service-accounts", "signup", "invites", "tenants"},
}
"""The tags whose operations are asked; conftest makes a test of each status that they declare."""


def test_a_declared_failure_is_reached(declared_failure: tuple[Any, int], failing: Any) -> None:
    failing(*declared_failure)


def test_no_failure_is_described_that_no_contract_declares(declared_failures: frozenset[tuple[str, str, int]]) -> None:
    assert FAILURES.keys() - declared_failures == set()
