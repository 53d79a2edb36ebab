"""How operations are made to fail: the counterpart of `recipe`, one entry an operation and status.

```python
@failure("thallus", "verifyEmail", 400)
def unknown_token(world: World) -> Call:
    return Call(json={"token": "evt_" + "x" * 40}, public=True)
```

The `Call` is sent as it stands, with the credentials of its `who` unless it is public. What fails alike everywhere (no
credential, a body of another kind, too many requests, ...) is provoked by test_identity_failures itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from domain.identity import guard, rules
from domain.identity.policies import policy_of
from recipes.world import Call, Recipe, World

Platform = Literal["running", "guarded", "lame"]
"""Which platform it happens on: the one of all tests; one with narrow limits, few streams, a CAPTCHA and a setup token,
without a vault and with Google out of reach; or one that has lost its Valkey, and Microsoft with it."""
STREAMS = 2
"""Open streams that the platform `guarded` takes."""


@dataclass(frozen=True, slots=True)
class Failure:
    make: Recipe
    on: Platform


FAILURES: dict[tuple[str, str, int], Failure] = {}
TOKEN = "x" * 43
"""The body of a token that nobody was given."""


def failure(surface: str, operation_id: str, status: int, on: Platform = "running") -> Callable[[Recipe], Recipe]:
    """Say how an operation is made to answer `status`."""

    def keep(make: Recipe) -> Recipe:
        assert (surface, operation_id, status) not in FAILURES, f"twice: {surface} {operation_id} {status}"
        FAILURES[surface, operation_id, status] = Failure(make, on)
        return make

    return keep


def locked(world: World, surface: str, email: str) -> None:
    """So many failed sign-ins that the address is locked."""
    with world.anyone(surface) as ctx:
        while not guard.failed(ctx, rules.email_key(email), policy_of(surface).lockout):
            pass


__all__ = ["FAILURES", "STREAMS", "TOKEN", "Call", "Failure", "failure", "locked"]
