"""A tenant's own settings, and who may set a password for whom."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from domain import audit, billing, identity
from domain.identity import accounts, guard, member_passwords, sessions, settings_tenant
from domain.identity.models import Organisation
from domain.identity.passwords import WeakPassword
from domain.identity.settings_tenant import Contact
from domain.identity.signin import InvalidCredentials
from domain.kernel.errors import Forbidden, Invalid, Locked, NotFound, Unauthenticated
from domain.kernel.ids import new_id

PASSWORD = "Staple-orbit-lantern-42"
FRESH = "Velvet-comet-harbour-77"
CHARLES = Contact("Charles Babbage", "charles@lovelace.example", "Finance", None, False)


@pytest.fixture
def owner(people: Any) -> Any:
    return people.sign_in(people.register("starter"), "starter")


def write(people: Any, who: Any, **changes: Any) -> settings_tenant.TenantSettings:
    given: dict[str, Any] = {"contacts": [], "webhook_url": None, "plan_metadata": {}, "flags": {}}
    with people.as_person(who) as ctx:
        return settings_tenant.write(ctx, **(given | changes))


def test_a_new_tenant_has_empty_settings(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        found = settings_tenant.read(ctx)
    assert (found.contacts, found.webhook_url, found.plan_metadata, found.flags) == ((), None, {}, {})
    assert found.updated_at is None


def test_settings_are_replaced_as_a_whole_and_the_trail_tells_what_changed(people: Any, owner: Any) -> None:
    write(people, owner, contacts=[CHARLES], flags={"beta": True}, plan_metadata={"purchase_order": "PO-1"})
    write(people, owner, webhook_url="https://hooks.lovelace.example/billing", flags={"beta": False})
    with people.as_person(owner) as ctx:
        found = settings_tenant.read(ctx)
        entries = [entry for entry in audit.find(ctx).items if entry.action == "organisation.settings_update"]
    assert (found.contacts, found.plan_metadata, found.flags) == ((), {}, {"beta": False})
    assert found.webhook_url == "https://hooks.lovelace.example/billing"
    assert found.updated_at == people.clock.now()
    assert entries[0].details["flags"] == {"from": {"beta": True}, "to": {"beta": False}}
    assert entries[0].details["billing_contacts"] == {"from": 1, "to": 0}
    assert "charles" not in repr([entry.details for entry in entries]).lower()


def test_other_sections_of_the_settings_stay_as_they_are(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        identity.get_organisation(ctx).settings = {"profile": {"colour": "green"}}
    threads = [
        threading.Thread(target=write, args=(people, owner), kwargs={"flags": {f"f{number}": True}})
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with people.as_person(owner) as ctx:
        kept = ctx.session.get(Organisation, ctx.organisation).settings
    assert kept["profile"] == {"colour": "green"}
    assert len(kept["tenant"]["flags"]) == 1


@pytest.mark.parametrize(
    "address",
    [
        "http://hooks.lovelace.example/billing",
        "ftp://hooks.lovelace.example",
        "https://localhost/hook",
        "https://LOCALHOST./hook",
        "https://intranet/hook",
        "https://127.0.0.1/hook",
        "https://10.1.2.3:8443/hook",
        "https://169.254.169.254/latest",
        "https://[::1]/hook",
        "https://[fd00::1]/hook",
        "https://[::ffff:10.0.0.1]/hook",
        "https://2130706433/hook",
        "https://0x7f.1/hook",
        "https://0177.0.0.1/hook",
        "https://printer.local/hook",
        "https://db.internal/hook",
        "https://user:secret@hooks.lovelace.example/hook",
        "https://hooks.lovelace.example:99999/hook",
        "https://",
        "https://[/hook",
    ],
)
def test_a_webhook_has_to_be_public_https(people: Any, owner: Any, address: str) -> None:
    with pytest.raises(Invalid):
        write(people, owner, webhook_url=address)


@pytest.mark.parametrize(
    "address", ["https://hooks.lovelace.example/billing?x=1", "https://8.8.8.8/hook", "https://[2606:4700::1]:8443/"]
)
def test_a_public_webhook_is_taken(people: Any, owner: Any, address: str) -> None:
    assert write(people, owner, webhook_url=address).webhook_url == address


def test_a_switch_for_what_the_plan_does_not_hold_stays_off(people: Any, owner: Any) -> None:
    with pytest.raises(Invalid) as refused:
        write(people, owner, flags={"sso": True})
    assert refused.value.facts["plan"] == "starter"
    write(people, owner, flags={"sso": False, "beta_workflows": True})
    with people.as_person(owner) as ctx:
        billing.subscribe(ctx, "enterprise", product="starter")
    write(people, owner, flags={"sso": True})


# --- passwords that administrators set -----------------------------------------------------------------------


def join(people: Any, owner: Any, role: str = "member", email: str | None = None) -> Any:
    """Somebody who belongs to the owner's tenant alone, signed in."""
    email = email or people.email()
    with people.context("starter") as ctx:
        account = accounts.find(ctx, email) or accounts.make(
            ctx, email=email, name="Bob", source="invite", password=PASSWORD, verified=True
        )
        accounts.join(ctx, account, owner.belonging.organisation_id, role, source="invite")
    return people.sign_in(email, "starter", organisation_id=owner.belonging.organisation_id)


def test_an_administrator_sets_a_members_password_and_their_sessions_and_lock_end(people: Any, owner: Any) -> None:
    member = join(people, owner)
    email = member.account.email
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            people.sign_in(email, "starter", "wrong-password-1")
    with pytest.raises(Locked):
        people.sign_in(email, "starter")
    with people.as_person(owner) as ctx:
        member_passwords.set_member_password(ctx, "starter", member.account.id, FRESH)
    with pytest.raises(Unauthenticated):
        sessions.verify_access_token(people.database, member.access_token, "starter")
    people.sign_in(email, "starter", FRESH)
    assert people.mails(email)[-1][0] == "password_changed"
    with people.as_person(owner) as ctx:
        told = [entry for entry in audit.find(ctx).items if entry.action == "user.password_set"]
    assert [(entry.actor_id, entry.resource_id) for entry in told] == [(str(owner.account.id), str(member.account.id))]


def test_nobody_sets_the_password_of_somebody_above_beside_or_outside(people: Any, owner: Any) -> None:
    admin, peer = join(people, owner, "admin"), join(people, owner, "admin")
    for target in (owner, peer):
        with pytest.raises(Forbidden), people.as_person(admin) as ctx:
            member_passwords.set_member_password(ctx, "starter", target.account.id, FRESH)
    with pytest.raises(Forbidden) as own, people.as_person(owner) as ctx:
        member_passwords.set_member_password(ctx, "starter", owner.account.id, FRESH)
    assert own.value.facts["reason"] == "own_password"
    stranger = people.sign_in(people.register("starter"), "starter")
    for account_id in (stranger.account.id, new_id()):
        with pytest.raises(NotFound), people.as_person(owner) as ctx:
            member_passwords.set_member_password(ctx, "starter", account_id, FRESH)


def test_a_person_of_two_organisations_is_not_taken_over_through_one(people: Any, owner: Any) -> None:
    email = people.register("thallus")  # who has a workspace of their own
    member = join(people, owner, email=email)
    with pytest.raises(Forbidden) as refused, people.as_person(owner) as ctx:
        member_passwords.set_member_password(ctx, "starter", member.account.id, FRESH)
    assert refused.value.facts["reason"] == "shared_account"


def test_a_set_password_keeps_the_rule(people: Any, owner: Any) -> None:
    member = join(people, owner)
    for weak in (PASSWORD, "onlylowercaseletters"):
        with pytest.raises(WeakPassword), people.as_person(owner) as ctx:
            member_passwords.set_member_password(ctx, "starter", member.account.id, weak)


# --- refreshing while locked ---------------------------------------------------------------------------------


def test_a_locked_account_does_not_refresh_on_starter_and_keeps_its_token(people: Any, owner: Any) -> None:
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            people.sign_in(owner.account.email, "starter", "wrong-password-1")
    with pytest.raises(Locked), people.context("starter") as ctx:
        sessions.refresh_session(ctx, owner.refresh_token, "starter")
    with people.context("starter") as ctx:
        guard.lift(ctx, owner.account.email_key)
    with people.context("starter") as ctx:
        assert sessions.refresh_session(ctx, owner.refresh_token, "starter").session.id == owner.session.id
