"""How tenants come in: policy, invites, requests for access, quotas, and what a new tenant starts with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from domain import audit, billing, identity
from domain.identity import accounts, guard, invites, operators, rules, signup
from domain.identity.accounts import EmailTaken
from domain.identity.invites import InviteRefused
from domain.identity.passwords import WeakPassword
from domain.identity.signin import InvalidCredentials
from domain.identity.signup import InviteNeeded, Registration
from domain.kernel.context import SystemActor, UserActor
from domain.kernel.errors import Conflict, Invalid, LimitExceeded, NotFound
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage

PASSWORD = "Staple-orbit-lantern-42"


@pytest.fixture(autouse=True)
def by_invite() -> Iterator[None]:
    signup.configure("invite_only")
    guard.configure(None)
    yield
    signup.configure("invite_only")


@pytest.fixture
def operator(people: Any) -> Any:
    """Somebody who runs the platform, signed in."""
    email = people.register("starter")
    with people.database.context(SystemActor("tests"), None, platform=True, clock=people.clock) as ctx:
        found = accounts.find(ctx, email)
        assert found is not None
        operators.set_platform_role(ctx, found, "support")
    return people.sign_in(email, "starter")


def wish(people: Any, **changes: Any) -> Registration:
    given = {
        "email": f"ada@{new_id().hex}.example",
        "password": PASSWORD,
        "tenant_name": f"Analytics {new_id().hex[-12:]}",
        "accept_terms": True,
    }
    return Registration(**(given | changes))


def invited(people: Any, **wishes: Any) -> str:
    with people.database.context(SystemActor("tests"), None, platform=True, clock=people.clock) as ctx:
        return signup.issue_invite(ctx, **wishes).token


def register(people: Any, wanted: Registration) -> signup.Founded:
    with people.context("starter") as ctx:
        return signup.register(ctx, wanted)


# --- registration ------------------------------------------------------------------------------------------


def test_a_tenant_is_founded_with_its_owner_plan_session_and_verification_mail(people: Any) -> None:
    wanted = wish(people, invite_token=invited(people), tenant_name="Zürich Werke AG", display_name="Ada Lovelace")
    made = register(people, wanted)
    assert made.slug == "zurich-werke-ag"
    signed_in = made.signed_in
    assert (signed_in.belonging.role, signed_in.belonging.personal) == ("owner", False)
    assert signed_in.account.email_verified_at is None
    with people.as_person(signed_in) as ctx:
        assert billing.plan_of(ctx, "starter").name == "starter"
        assert {"organisation.create", "user.create", "subscription.set", "session.create"} <= {
            entry.action for entry in audit.find(ctx).items
        }
        trial = identity.get_organisation(ctx).settings["signup"]["trial_ends_at"]
        assert trial == (people.clock.now() + timedelta(days=14)).isoformat()
    with people.context("starter") as ctx:
        accounts.verify_email(ctx, people.token(wanted.email, "verify_email"))
    assert people.sign_in(wanted.email, "starter").belonging.organisation_id == signed_in.belonging.organisation_id


@pytest.mark.parametrize(("asked", "days"), [(None, 14), (0, 0), (7, 7), (365, 14)])
def test_a_trial_is_never_longer_than_the_plans_own(people: Any, asked: int | None, days: int) -> None:
    made = register(people, wish(people, invite_token=invited(people), trial_days=asked))
    with people.as_person(made.signed_in) as ctx:
        kept = identity.get_organisation(ctx).settings["signup"]["trial_ends_at"]
    assert kept == (people.clock.now() + timedelta(days=days)).isoformat()


def test_without_an_invite_nobody_registers_unless_the_policy_is_public(people: Any) -> None:
    for policy in ("invite_only", "approval"):
        signup.configure(policy)
        for token in (None, ""):
            with pytest.raises(InviteNeeded):
                register(people, wish(people, invite_token=token))
    signup.configure("public")
    register(people, wish(people))
    with pytest.raises(ValueError, match="signup_policy"):
        signup.configure("anything")


def test_an_invite_lets_in_as_often_as_it_says_and_only_whom_it_names(people: Any) -> None:
    twice = invited(people, uses=2)
    for _ in range(2):
        register(people, wish(people, invite_token=twice))
    for token, email, reason in (
        (twice, None, "invite_exhausted"),
        (invited(people, email="bob@bob.example"), "eve@bob.example", "invite_mismatch"),
        ("inv_unknown", None, "invite_unknown"),
    ):
        changes = {} if email is None else {"email": email}
        with pytest.raises(InviteRefused) as refused:
            register(people, wish(people, invite_token=token, **changes))
        assert refused.value.facts["reason"] == reason
    register(people, wish(people, invite_token=invited(people, email="Bob@bob.example"), email="bob@BOB.example"))


def test_an_invite_ends_with_its_time_and_with_its_revocation(people: Any, operator: Any) -> None:
    short = invited(people, life=timedelta(hours=1))
    with people.as_person(operator) as ctx:
        issued = signup.issue_invite(ctx)
    for _ in range(2):
        with people.as_person(operator) as ctx:
            assert invites.status_of(signup.revoke_invite(ctx, issued.invite.id), ctx.now()) == "revoked"
    people.clock.advance(timedelta(hours=1))
    for token, reason in ((short, "invite_expired"), (issued.token, "invite_revoked")):
        with pytest.raises(InviteRefused) as refused:
            register(people, wish(people, invite_token=token))
        assert refused.value.facts["reason"] == reason
    with people.as_person(operator) as ctx:
        actions = [entry.action for entry in audit.find(ctx).items]
        assert (actions.count("invite.create"), actions.count("invite.revoke")) == (1, 1)


def test_an_invite_into_an_organisation_founds_none(people: Any, organisation: Any) -> None:
    with people.database.context(SystemActor("tests"), None, platform=True, clock=people.clock) as ctx:
        _, token = invites.issue(ctx, life=timedelta(hours=1), organisation_id=organisation, role="admin")
    with pytest.raises(InviteRefused):
        register(people, wish(people, invite_token=token))
    with people.database.context(SystemActor("tests"), None, platform=True, clock=people.clock) as ctx:
        assert token not in {one.hint for one in signup.list_invites(ctx, OffsetPage(200)).items}
        assert all(one.organisation_id is None for one in signup.list_invites(ctx, OffsetPage(200)).items)


def test_a_refused_registration_leaves_nothing_behind_and_the_invite_good(people: Any) -> None:
    token, taken = invited(people), people.register("starter")
    for changes, error in (
        ({"email": taken}, EmailTaken),
        ({"password": "Password123456"}, WeakPassword),
        ({"plan": "nonesuch"}, NotFound),
        ({"plan": "enterprise"}, NotFound),
        ({"accept_terms": False}, Invalid),
    ):
        wanted = wish(people, invite_token=token, **changes)
        with pytest.raises(error):
            register(people, wanted)
        if "email" not in changes:
            with people.context("starter") as ctx:
                assert accounts.find(ctx, wanted.email) is None
    made = register(people, wish(people, invite_token=token))
    with pytest.raises(Conflict) as clash:
        register(people, wish(people, invite_token=invited(people), tenant_name=made.slug))
    assert clash.value.facts["slug"] == made.slug


def test_of_two_registrations_at_once_one_invite_lets_one_in(people: Any) -> None:
    token, outcomes = invited(people), []

    def attempt() -> None:
        try:
            outcomes.append(register(people, wish(people, invite_token=token)).slug)
        except InviteRefused as refused:
            outcomes.append(refused.facts["reason"])

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("invite_exhausted") == 3


# --- quotas ------------------------------------------------------------------------------------------------


def test_an_address_tries_three_times_a_day_whether_or_not_it_succeeds(people: Any) -> None:
    wanted = wish(people)
    for _ in range(3):
        with pytest.raises(InviteNeeded):
            register(people, wanted)
    with pytest.raises(LimitExceeded) as spent:
        register(people, Registration(**{**_fields(wanted), "email": wanted.email.upper(), "invite_token": "inv_x"}))
    assert 0 < spent.value.facts["retry_after"] <= 86_400
    people.clock.advance(timedelta(days=1))
    register(people, Registration(**{**_fields(wanted), "invite_token": invited(people)}))


def test_a_mail_domain_tries_twenty_times_a_day(people: Any) -> None:
    domain = f"{new_id().hex}.example"
    for number in range(20):
        with pytest.raises(InviteNeeded):
            register(people, wish(people, email=f"p{number}@{domain}"))
    with pytest.raises(LimitExceeded):
        register(people, wish(people, email=f"p20@{domain}"))
    with pytest.raises(InviteNeeded):
        register(people, wish(people))


def test_reset_mails_are_asked_for_five_times_an_hour_for_anybody(people: Any) -> None:
    for email in (people.register("starter"), f"nobody@{new_id().hex}.example"):
        for _ in range(5):
            with people.context("starter") as ctx:
                accounts.request_password_reset(ctx, "starter", email)
        with pytest.raises(LimitExceeded), people.context("starter") as ctx:
            accounts.request_password_reset(ctx, "starter", email)
        with people.context("thallus") as ctx:  # another surface, another rule
            accounts.request_password_reset(ctx, "thallus", email)
    people.clock.advance(timedelta(hours=1))
    with people.context("starter") as ctx:
        accounts.request_password_reset(ctx, "starter", email)


def test_fifty_failures_from_one_network_make_it_wait_whomever_they_name(people: Any) -> None:
    email = people.register("starter")
    people.address = "2001:db8:7::1"
    for number in range(50):
        people.address = f"2001:db8:7::{number + 1:x}"  # one caller owns all of a /64
        with pytest.raises(InvalidCredentials):
            people.sign_in(f"nobody-{number}@example.org", "starter", "wrong-password-1")
    with pytest.raises(LimitExceeded) as waiting:
        people.sign_in(email, "starter")
    assert 0 < waiting.value.facts["retry_after"] <= 600
    people.address = "2001:db8:8::1"
    people.sign_in(email, "starter")
    people.address = "2001:db8:7::1"
    people.clock.advance(timedelta(minutes=10))
    people.sign_in(email, "starter")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:7:1::5", "2001:db8:7:1::/64"),
        ("somewhere", None),
        (None, None),
    ],
)
def test_whom_an_address_is_counted_for(address: str | None, network: str | None) -> None:
    assert rules.network_of(address) == network


# --- requests for access -----------------------------------------------------------------------------------


def ask(people: Any, email: str, **changes: Any) -> None:
    given = {"organisation": "Lovelace Analytics", "name": "Ada", "message": None, "accept_terms": True}
    with people.context("starter") as ctx:
        signup.request_access(ctx, email=email, **(given | changes))


def waiting(people: Any, email: str) -> list[signup.Shown]:
    with people.database.context(SystemActor("tests"), None, platform=True, clock=people.clock) as ctx:
        return [one for one in signup.list_requests(ctx, OffsetPage(200)).items if one.request.email == email]


def test_a_request_is_listed_once_and_approved_with_an_invite_by_mail(people: Any, operator: Any) -> None:
    people.address, email = "198.51.100.1", f"ada@{new_id().hex}.example"
    for _ in range(2):
        ask(people, email)
    (shown,) = waiting(people, email)
    assert shown.hint is None
    with people.as_person(operator) as ctx:
        request, issued = signup.approve(ctx, shown.request.id, note="Beta", life=timedelta(hours=5))
        assert (request.status, issued.invite.email, issued.invite.note) == ("approved", email, "Beta")
        assert issued.invite.expires_at == ctx.now() + timedelta(hours=5)
    assert people.token(email, "signup_approved") == issued.token
    (shown,) = waiting(people, email)
    assert shown.hint == issued.invite.hint
    with pytest.raises(Conflict), people.as_person(operator) as ctx:
        signup.reject(ctx, shown.request.id, None)
    register(people, wish(people, email=email, invite_token=issued.token))
    with people.as_person(operator) as ctx:
        actions = [entry.action for entry in audit.find(ctx).items]
        assert actions.count("signup_request.approve") == 1


def test_a_rejected_person_hears_nothing_and_may_ask_again(people: Any, operator: Any) -> None:
    people.address, email = "198.51.100.2", f"ada@{new_id().hex}.example"
    ask(people, email)
    with people.as_person(operator) as ctx:
        rejected = signup.reject(ctx, waiting(people, email)[0].request.id, "Outside of the region")
        assert (rejected.status, rejected.reason) == ("rejected", "Outside of the region")
    assert people.mails(email) == []
    ask(people, email)
    assert [one.request.status for one in waiting(people, email)] == ["rejected", "pending"]


def test_what_fills_the_hidden_field_is_dropped_even_without_terms(people: Any) -> None:
    people.address, email = "198.51.100.3", f"bot@{new_id().hex}.example"
    ask(people, email, honeypot="http://spam.example", accept_terms=False)
    assert waiting(people, email) == []
    with pytest.raises(Invalid):
        ask(people, email, accept_terms=False)


def test_under_a_public_policy_nobody_has_to_ask(people: Any) -> None:
    signup.configure("public")
    email = f"ada@{new_id().hex}.example"
    ask(people, email)
    assert waiting(people, email) == []


def test_three_requests_wait_from_one_address_and_a_burst_does_not_pass(people: Any) -> None:
    people.address, refused = "198.51.100.4", []

    def attempt() -> None:
        try:
            ask(people, f"ada@{new_id().hex}.example")
        except LimitExceeded as limit:
            refused.append(limit.facts["retry_after"])

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [3600] * 3
    people.address = "198.51.100.5"
    ask(people, f"ada@{new_id().hex}.example")


def test_an_invite_can_answer_a_request_directly(people: Any, operator: Any) -> None:
    people.address, email = "198.51.100.6", f"ada@{new_id().hex}.example"
    ask(people, email)
    (shown,) = waiting(people, email)
    with people.as_person(operator) as ctx:
        issued = signup.issue_invite(ctx, request_id=shown.request.id)
    assert issued.invite.email == email
    assert waiting(people, email)[0].request.status == "approved"
    for request_id, error in ((shown.request.id, Conflict), (new_id(), NotFound)):
        with pytest.raises(error), people.as_person(operator) as ctx:
            signup.issue_invite(ctx, request_id=request_id)


def test_invites_are_listed_by_state_address_and_request(people: Any, operator: Any) -> None:
    email = f"ada@{new_id().hex}.example"
    made = {state: signup_in_state(people, operator, state, email) for state in ("active", "revoked", "exhausted")}
    with people.database.context(SystemActor("tests"), None, platform=True, clock=people.clock) as ctx:
        old = signup.issue_invite(ctx, email=email, life=timedelta(seconds=1)).invite.id
    people.clock.advance(timedelta(seconds=2))
    with people.as_person(operator) as ctx:
        for state, invite_id in {**made, "expired": old}.items():
            found = signup.list_invites(ctx, OffsetPage(50), status=state, email=email.upper())
            assert [one.id for one in found.items] == [invite_id], state
            assert {invites.status_of(one, ctx.now()) for one in found.items} == {state}
        assert signup.list_invites(ctx, OffsetPage(2), email=email).total == 4
        assert signup.list_invites(ctx, OffsetPage(50), request_id=new_id()).total == 0


def test_an_operator_without_an_organisation_acts_into_the_platforms_own_trail(people: Any, operator: Any) -> None:
    with people.context(
        "starter", actor=UserActor(operator.account.id), permissions=frozenset({"support:*", "auth:invites"})
    ) as ctx:
        issued = signup.issue_invite(ctx)
        signup.revoke_invite(ctx, issued.invite.id)
        signup.list_requests(ctx, OffsetPage(5))
    with people.database.context(SystemActor("tests"), None, platform=True, clock=people.clock) as ctx:
        told = [entry.action for entry in audit.find(ctx).items if entry.resource_id == str(issued.invite.id)]
    assert sorted(told) == ["invite.create", "invite.revoke"]


def signup_in_state(people: Any, operator: Any, state: str, email: str) -> Any:
    with people.as_person(operator) as ctx:
        issued = signup.issue_invite(ctx, email=email)
        if state == "revoked":
            signup.revoke_invite(ctx, issued.invite.id)
    if state == "exhausted":
        with people.context("starter") as ctx:
            invites.redeem(ctx, issued.token, email)
    return issued.invite.id


def _fields(wanted: Registration) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in Registration.__slots__}


def test_asking_for_a_reset_costs_as_much_for_nobody_and_once_too_often(people: Any) -> None:
    """Statements stand for time here: they are counted without noise."""
    email, costs = people.register("starter"), list[int]()
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(people.database.engine, "before_cursor_execute", note)
    try:
        # The first of all warms up what a process does once.
        for asked in (f"first@{new_id().hex}.example", email, email, f"nobody@{new_id().hex}.example"):
            statements.clear()
            with people.context("starter") as ctx:
                accounts.request_password_reset(ctx, "starter", asked)
            costs.append(len(statements))
    finally:
        event.remove(people.database.engine, "before_cursor_execute", note)
    assert len(set(costs[1:])) == 1, costs
