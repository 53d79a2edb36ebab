"""Coming in without an invitation: the server's rules, the waiting list, and what administrators decide."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete

from domain import billing
from domain.identity import (
    accounts,
    federation,
    groups,
    memberships,
    newcomers,
    setup,
    signup_settings,
    upkeep,
    waitlist,
)
from domain.identity.federation.entrance import Vouched
from domain.identity.models import ServerSetup
from domain.identity.sessions import SignInRefused
from domain.identity.signup_settings import SignupRefused
from domain.kernel.context import SystemActor
from domain.kernel.errors import Conflict, Forbidden, NotFound, PaymentRequired
from domain.kernel.pages import OffsetPage

PASSWORD = "Staple-orbit-lantern-42"


@pytest.fixture
def owner(people: Any) -> Iterator[Any]:
    """The administrator of a server that was just set up."""
    forget(people)
    with people.context("beeflow") as ctx:
        signed_in = setup.set_up(ctx, email=people.email(), password=PASSWORD, name="Ada Lovelace")
    with people.as_person(signed_in) as ctx:
        billing.subscribe(ctx, "full", "beeflow")
    yield signed_in
    forget(people)


def forget(people: Any) -> None:
    with people.database.session(None, platform=True) as session:
        session.execute(delete(ServerSetup))


def rule(people: Any, owner: Any, mode: str = "waitlist", **wishes: Any) -> Any:
    given = {
        "allowed_domains": [],
        "default_role": "member",
        "default_group_ids": [],
        "provision_from_sso": True,
        "notify_email": None,
        **wishes,
    }
    with people.as_person(owner) as ctx:
        return signup_settings.update(ctx, mode=mode, **given)


def sign_up(people: Any, email: str | None = None, **wishes: Any) -> Any:
    with people.context("beeflow") as ctx:
        return newcomers.sign_up(ctx, email=email or people.email(), password=PASSWORD, name="Grace Hopper", **wishes)


def join(people: Any, email: str) -> None:
    with people.context("beeflow") as ctx:
        waitlist.join(ctx, email=email, name="Grace Hopper", company="Navy", message="For notes", language="nl")


def listed(people: Any, owner: Any, status: str = "pending", **wishes: Any) -> list[Any]:
    with people.as_person(owner) as ctx:
        return list(waitlist.listed(ctx, OffsetPage(), status=status, **wishes).items)


def approve(people: Any, owner: Any, person: Any, **wishes: Any) -> Any:
    with people.as_person(owner) as ctx:
        return waitlist.approve(ctx, person, **wishes)


# --- the server's rules ------------------------------------------------------------------------------------------


def test_a_server_that_was_not_set_up_lets_people_found_organisations(people: Any) -> None:
    forget(people)
    made = sign_up(people, organisation_name="Hopper Labs")
    assert made.signed_in is not None
    assert (made.signed_in.belonging.name, made.signed_in.belonging.role) == ("Hopper Labs", "owner")


def test_after_the_setup_only_the_invited_come_in_until_told_otherwise(people: Any, owner: Any) -> None:
    with pytest.raises(SignupRefused) as refused:
        sign_up(people)
    assert refused.value.facts["reason"] == "signup_disabled"
    rule(people, owner, "open")
    made = sign_up(people)
    assert made.signed_in.belonging.organisation_id != owner.belonging.organisation_id


@pytest.mark.parametrize("mode", ["open", "waitlist"])
def test_other_domains_than_the_allowed_stay_out(people: Any, owner: Any, mode: str) -> None:
    rule(people, owner, mode, allowed_domains=["lovelace.example"])
    with pytest.raises(SignupRefused) as refused:
        sign_up(people)
    assert refused.value.facts["reason"] == "domain_not_allowed"
    sign_up(people, f"grace-{uuid4().hex}@LOVELACE.example")


def test_other_organisations_rules_hold_for_nobody_else(people: Any, owner: Any) -> None:
    rule(people, owner, "open")
    other = sign_up(people)
    rule(people, other.signed_in, "invite_only")
    assert sign_up(people).signed_in is not None


def test_the_rules_know_who_changed_them_and_refuse_what_there_is_not(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        before = signup_settings.get(ctx)
    assert (before.mode, before.updated_by) == ("invite_only", None)
    with people.as_person(owner) as ctx:
        group = groups.create(ctx, f"Newcomers {uuid4().hex}").group
    after = rule(people, owner, default_group_ids=[group.id])
    assert (after.mode, after.updated_by, after.default_group_ids) == ("waitlist", owner.account.id, (group.id,))
    with pytest.raises(groups.UnknownGroup):
        rule(people, owner, default_group_ids=[uuid4()])


def test_only_the_owner_lets_newcomers_be_administrators(people: Any, owner: Any) -> None:
    rule(people, owner)
    made = sign_up(people)
    approve(people, owner, made.account.id, surface_role="admin")
    admin = people.sign_in(made.account.email, "beeflow")
    with pytest.raises(Forbidden):
        rule(people, admin, default_role="admin")
    another = sign_up(people)
    with pytest.raises(Forbidden):
        approve(people, admin, another.account.id, surface_role="admin")


# --- asking ------------------------------------------------------------------------------------------------------


def test_whoever_asks_is_noted_once_and_the_administrators_hear_of_it(people: Any, owner: Any) -> None:
    inbox = people.email()
    rule(people, owner, notify_email=inbox)
    email = people.email()
    join(people, email)
    join(people, email.upper())
    (entry,) = listed(people, owner)
    assert (entry.request.email, entry.source, entry.request.company) == (email, "form", "Navy")
    assert [name for name, _ in people.mails(email)] == ["waitlist_joined"]
    (mail,) = people.mails(inbox)
    assert (mail[0], mail[1]["name"], mail[1]["message"]) == ("waitlist_request", "Grace Hopper", "For notes")


def test_asking_with_the_address_of_a_member_changes_nothing_and_says_nothing(people: Any, owner: Any) -> None:
    rule(people, owner)
    join(people, owner.account.email)
    assert listed(people, owner) == []
    assert "waitlist_joined" not in [name for name, _ in people.mails(owner.account.email)]


def test_without_a_waiting_list_nobody_is_noted(people: Any, owner: Any) -> None:
    with pytest.raises(SignupRefused):
        join(people, people.email())
    rule(people, owner, "open")
    with pytest.raises(SignupRefused):
        join(people, people.email())


def test_the_list_shows_those_first_who_wait_longest_and_can_be_searched(people: Any, owner: Any) -> None:
    rule(people, owner)
    emails = [people.email() for _ in range(3)]
    for email in emails:
        join(people, email)
        people.clock.advance(timedelta(seconds=1))
    assert [entry.request.email for entry in listed(people, owner)] == emails
    assert [entry.request.email for entry in listed(people, owner, q=emails[1][:12].upper())] == [emails[1]]


# --- deciding ------------------------------------------------------------------------------------------------------


def test_an_account_that_waits_cannot_sign_in_until_it_is_approved(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        group = groups.create(ctx, f"Newcomers {uuid4().hex}").group
    rule(people, owner, default_group_ids=[group.id])
    made = sign_up(people)
    assert made.signed_in is None
    with pytest.raises(SignInRefused) as refused:
        people.sign_in(made.account.email, "beeflow")
    assert refused.value.facts["reason"] == "pending_approval"
    (entry,) = listed(people, owner)
    assert (entry.person_id, entry.source) == (made.account.id, "signup")
    approved = approve(people, owner, made.account.id, message="Welcome!")
    assert (approved.request.status, approved.decided_by.id) == ("approved", owner.account.id)
    signed_in = people.sign_in(made.account.email, "beeflow")
    assert (signed_in.belonging.organisation_id, signed_in.belonging.role) == (
        owner.belonging.organisation_id,
        "member",
    )
    with people.as_person(signed_in) as ctx:
        assert [g.id for g in memberships.groups_of(ctx, [made.account.id])[made.account.id]] == [group.id]
    assert people.mails(made.account.email)[-1][0] == "waitlist_approved"


def test_who_only_left_an_address_is_invited_and_keeps_the_id_of_the_entry(people: Any, owner: Any) -> None:
    rule(people, owner)
    email = people.email()
    join(people, email)
    (entry,) = listed(people, owner)
    approved = approve(people, owner, entry.person_id)
    assert approved.person_id == entry.person_id
    with people.as_person(owner) as ctx:
        assert memberships.get(ctx, entry.person_id).status == "invited"
    made = sign_up(people, email, invite_token=people.token(email, "member_invite"))
    assert made.account.id == entry.person_id
    assert made.signed_in.belonging.organisation_id == owner.belonging.organisation_id
    assert listed(people, owner, "approved")[0].source == "form"


def test_who_has_an_account_elsewhere_is_invited_with_it(people: Any, owner: Any) -> None:
    rule(people, owner)
    email = people.register("thallus")
    join(people, email)
    (entry,) = listed(people, owner)
    approved = approve(people, owner, entry.person_id)
    signed_in = people.sign_in(email, "beeflow", invite_token=people.token(email, "member_invite"))
    assert signed_in.account.id == approved.person_id
    assert approve(people, owner, entry.person_id).person_id == approved.person_id  # by either id, and again


def test_a_wish_that_becomes_a_sign_up_is_one_entry(people: Any, owner: Any) -> None:
    rule(people, owner)
    email = people.email()
    join(people, email)
    made = sign_up(people, email)
    (entry,) = listed(people, owner)
    assert entry.person_id == made.account.id


def test_a_decision_stands(people: Any, owner: Any) -> None:
    rule(people, owner)
    first, second = sign_up(people), sign_up(people)
    approve(people, owner, first.account.id)
    assert approve(people, owner, first.account.id).request.status == "approved"
    with pytest.raises(Conflict), people.as_person(owner) as ctx:
        waitlist.reject(ctx, first.account.id)
    for _ in range(2):
        with people.as_person(owner) as ctx:
            assert waitlist.reject(ctx, second.account.id, reason="Only staff.").request.status == "rejected"
    with pytest.raises(Conflict):
        approve(people, owner, second.account.id)


def test_who_was_turned_down_hears_of_it_only_if_wanted_and_may_ask_again_in_thirty_days(
    people: Any, owner: Any
) -> None:
    rule(people, owner)
    quiet, told = people.email(), people.email()
    for email, notify in ((quiet, False), (told, True)):
        join(people, email)
        (entry,) = listed(people, owner)
        with people.as_person(owner) as ctx:
            waitlist.reject(ctx, entry.person_id, reason="Only staff for now.", notify=notify)
    assert [name for name, _ in people.mails(quiet)] == ["waitlist_joined"]
    assert people.mails(told)[-1][1]["reason"] == "Only staff for now."
    join(people, quiet)
    assert listed(people, owner) == []
    with pytest.raises(SignupRefused):
        sign_up(people, quiet)
    people.clock.advance(timedelta(days=30, seconds=1))
    join(people, quiet)
    assert len(listed(people, owner)) == 1


def test_approving_needs_a_seat(people: Any, owner: Any) -> None:
    rule(people, owner)
    made = sign_up(people)
    with people.as_person(owner) as ctx:
        billing.subscribe(ctx, "community", "beeflow")
    with pytest.raises(PaymentRequired):
        approve(people, owner, made.account.id)
    assert len(listed(people, owner)) == 1


def test_decided_entries_go_after_ninety_days(people: Any, owner: Any) -> None:
    rule(people, owner)
    made = sign_up(people)
    approve(people, owner, made.account.id)
    people.clock.advance(timedelta(days=89))
    assert len(listed(people, owner, "approved")) == 1
    people.clock.advance(timedelta(days=2))
    assert listed(people, owner, "approved") == []
    with people.database.context(SystemActor(), None, platform=True, clock=people.clock) as ctx:
        upkeep.purge_expired(ctx)
    with pytest.raises(NotFound):
        approve(people, owner, made.account.id)


def test_another_organisation_neither_sees_nor_decides_who_waits(people: Any, owner: Any) -> None:
    rule(people, owner, "open")
    stranger = sign_up(people).signed_in
    rule(people, owner)
    made = sign_up(people)
    assert listed(people, stranger) == []
    with pytest.raises(NotFound):
        approve(people, stranger, made.account.id)


# --- through a provider ----------------------------------------------------------------------------------------


def through_a_provider(people: Any, email: str) -> str:
    vouched = Vouched("google", "https://accounts.google.com", uuid4().hex, email, True, "Grace Hopper")
    with people.context("beeflow") as ctx:
        landing = federation.flows.let_in(ctx, vouched, surface="beeflow", redirect="/", browser="b")
    return str(landing.location)


@pytest.mark.parametrize(
    ("mode", "wishes", "reason"),
    [
        ("invite_only", {}, "signup_disabled"),
        ("open", {"provision_from_sso": False}, "signup_disabled"),
        ("open", {"allowed_domains": ["lovelace.example"]}, "domain_not_allowed"),
    ],
)
def test_a_provider_is_no_way_around_the_rules(
    people: Any, owner: Any, mode: str, wishes: dict[str, Any], reason: str
) -> None:
    rule(people, owner, mode, **wishes)
    email = people.email()
    assert f"error={reason}" in through_a_provider(people, email)
    with people.context("beeflow") as ctx:
        assert accounts.find(ctx, email) is None


def test_who_comes_through_a_provider_waits_like_everybody(people: Any, owner: Any) -> None:
    rule(people, owner)
    email = people.email()
    assert "error=pending_approval" in through_a_provider(people, email)
    assert [entry.request.email for entry in listed(people, owner)] == [email]
