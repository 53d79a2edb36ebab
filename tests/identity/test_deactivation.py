"""An account that the platform's own people shut: nobody comes in with it, on any surface, until it is opened again."""

from __future__ import annotations

from typing import Any

import pytest

from domain import identity
from domain.identity import operators, sessions
from domain.identity.sessions import SignInRefused
from domain.kernel.context import SystemActor
from domain.kernel.errors import Unauthenticated


def change(people: Any, email: str, *, shut: bool) -> None:
    with people.database.context(SystemActor(), None, platform=True, clock=people.clock) as ctx:
        account = identity.accounts.find(ctx, email)
        if shut:
            operators.deactivate(ctx, account, "Ticket 4711: stolen laptop")
        else:
            operators.reactivate(ctx, account)


def test_a_shut_account_is_shut_for_sessions_keys_and_passwords_until_it_is_opened(people: Any) -> None:
    email = people.register()
    signed_in = people.sign_in(email)
    with people.as_person(signed_in) as ctx:
        _, key = identity.issue_api_key(ctx, "script", ["full"], "thallus", account_id=signed_in.account.id)
    for _ in range(2):
        change(people, email, shut=True)
    with pytest.raises(Unauthenticated):
        sessions.verify_access_token(people.database, signed_in.access_token, "thallus")
    with pytest.raises(Unauthenticated):
        identity.verify_api_key(people.database, key, "thallus")
    for surface in ("thallus", "beeflow", "starter"):
        with pytest.raises(SignInRefused) as refused:
            people.sign_in(email, surface)
        assert refused.value.facts["reason"] == "account_disabled"
    for _ in range(2):
        change(people, email, shut=False)
    assert people.sign_in(email).account.id == signed_in.account.id
    assert identity.verify_api_key(people.database, key, "thallus").account_id == signed_in.account.id
    with pytest.raises(Unauthenticated):  # sessions of before stay ended
        sessions.verify_access_token(people.database, signed_in.access_token, "thallus")
