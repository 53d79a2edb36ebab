"""Accounts: signed up, verified, locked, changed, deleted and brought back; nobody learns who has one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain import audit, identity
from domain.identity import accounts, passwords, policies, sessions, signin
from domain.identity.accounts import InvalidPassword, InvalidToken
from domain.identity.passwords import WeakPassword
from domain.identity.sessions import SignInRefused
from domain.identity.signin import InvalidCredentials
from domain.kernel import crypto
from domain.kernel.context import SystemActor
from domain.kernel.errors import Conflict, Invalid, Locked, Unauthenticated

PASSWORD = "Staple-orbit-lantern-42"
FRESH = "Velvet-comet-harbour-77"


# --- signing up -----------------------------------------------------------------------------------


def test_a_new_account_has_an_organisation_of_its_own_and_signs_in_once_it_is_verified(people: Any) -> None:
    email = people.email()
    with people.context() as ctx:
        made = accounts.register(ctx, "thallus", email=email, password=PASSWORD, name="Ada  Lovelace")
    assert made.account is not None
    with pytest.raises(SignInRefused) as refused:
        people.sign_in(email)
    assert refused.value.facts["reason"] == "email_unverified"
    with people.context() as ctx:
        accounts.verify_email(ctx, people.token(email, "verify_email"))
    signed_in = people.sign_in(email)
    assert signed_in.belonging is not None
    assert (signed_in.belonging.name, signed_in.belonging.role) == ("Ada Lovelace's Workspace", "owner")
    with people.as_person(signed_in) as ctx:
        actions = [entry.action for entry in audit.find(ctx).items]
    assert {
        "organisation.create",
        "user.create",
        "user.verification_sent",
        "user.email_verified",
        "session.create",
    } <= {*actions}


def test_an_address_that_has_an_account_is_answered_the_same_and_its_owner_is_told(people: Any) -> None:
    email = people.register()
    with people.context() as ctx:
        first = accounts.register(ctx, "thallus", email=people.email(), password=PASSWORD, name="Somebody")
    with people.context() as ctx:
        again = accounts.register(ctx, "thallus", email=email.upper(), password=FRESH, name="Mallory")
    assert again.verification_expires_at == first.verification_expires_at
    assert people.mails(email)[-1][0] == "account_exists"
    people.sign_in(email)  # with the old password: nothing of the account has changed


def test_a_verification_token_works_once_and_for_its_time(people: Any) -> None:
    email = people.email()
    with people.context() as ctx:
        accounts.register(ctx, "thallus", email=email, password=PASSWORD, name="Ada")
    token = people.token(email, "verify_email")
    people.clock.advance(timedelta(hours=25))
    with pytest.raises(InvalidToken), people.context() as ctx:
        accounts.verify_email(ctx, token)
    with people.context() as ctx:
        accounts.mail_verification(ctx, "thallus", email)
    fresh = people.token(email, "verify_email")
    with people.context() as ctx:
        accounts.verify_email(ctx, fresh)
    with pytest.raises(InvalidToken), people.context() as ctx:
        accounts.verify_email(ctx, fresh)


def test_verification_mails_keep_a_pause_and_go_to_nobody_who_needs_none(people: Any) -> None:
    email = people.email()
    with people.context() as ctx:
        accounts.register(ctx, "thallus", email=email, password=PASSWORD, name="Ada")
    for _ in range(3):
        with people.context() as ctx:
            accounts.mail_verification(ctx, "thallus", email)
    assert [name for name, _ in people.mails(email)] == ["verify_email"]
    people.clock.advance(timedelta(minutes=6))
    with people.context() as ctx:
        accounts.mail_verification(ctx, "thallus", email)
        accounts.mail_verification(ctx, "thallus", "nobody@example.org")
    assert [name for name, _ in people.mails(email)] == ["verify_email"] * 2
    assert people.mails("nobody@example.org") == []


# --- passwords ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("surface", "weak"),
    [
        ("thallus", "Short-1a"),
        ("thallus", "all-lower-case-42"),
        ("thallus", "NoDigitsInThisOne!"),
        ("thallus", "NoSpecialCharacter42"),
        ("beeflow", "Short1a"),
        ("beeflow", "nouppercase42"),
        ("starter", "Thirteen-chrs"),
        ("starter", "onlylowercaseletters"),
        ("starter", "Password123456"),
        ("starter", "Qwertyuiop1234"),
    ],
)
def test_each_surface_refuses_what_its_rule_forbids(surface: str, weak: str) -> None:
    assert passwords.violations(policies.policy_of(surface).password, weak)


@pytest.mark.parametrize("surface", ["thallus", "beeflow", "starter"])
def test_each_surface_takes_a_good_password(surface: str) -> None:
    assert passwords.violations(policies.policy_of(surface).password, PASSWORD) == []


def test_a_changed_password_ends_every_session_and_tells_the_owner(people: Any) -> None:
    email = people.register()
    first, second = people.sign_in(email), people.sign_in(email)
    with people.as_person(first) as ctx:
        accounts.change_password(ctx, "thallus", PASSWORD, FRESH)
    for old in (first, second):
        with pytest.raises(Unauthenticated), people.context() as ctx:
            sessions.refresh_session(ctx, old.refresh_token, "thallus")
    assert people.mails(email)[-1][0] == "password_changed"
    with pytest.raises(InvalidCredentials):
        people.sign_in(email)
    people.sign_in(email, password=FRESH)


def test_the_old_password_is_not_taken_again_and_starter_remembers_five(people: Any) -> None:
    email = people.register("starter")
    signed_in = people.sign_in(email, "starter")
    former = [PASSWORD]
    for number in range(5):
        with pytest.raises(WeakPassword), people.as_person(signed_in) as ctx:
            accounts.change_password(ctx, "starter", former[-1], former[0])
        former.append(f"Velvet-comet-harbour-{number}-quartz")
        with people.as_person(signed_in) as ctx:
            accounts.change_password(ctx, "starter", former[-2], former[-1])
    with people.as_person(signed_in) as ctx:
        accounts.change_password(ctx, "starter", former[-1], former[0])  # the sixth last is free again


def test_a_reset_works_once_lifts_the_lock_and_a_weak_password_leaves_the_token_good(people: Any) -> None:
    email = people.register()
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            people.sign_in(email, password="wrong")
    with pytest.raises(Locked):
        people.sign_in(email)
    with people.context() as ctx:
        accounts.mail_password_reset(ctx, "thallus", email)
    token = people.token(email, "reset_password")
    with pytest.raises(WeakPassword), people.context() as ctx:
        accounts.reset_password(ctx, "thallus", token, "weak")
    with people.context() as ctx:
        accounts.reset_password(ctx, "thallus", token, FRESH)
    with pytest.raises(InvalidToken), people.context() as ctx:
        accounts.reset_password(ctx, "thallus", token, PASSWORD)
    people.sign_in(email, password=FRESH)


def test_asking_for_a_reset_tells_nothing_and_writes_to_nobody(people: Any) -> None:
    with people.context() as ctx:
        accounts.mail_password_reset(ctx, "thallus", "nobody@example.org")
    assert people.mails("nobody@example.org") == []


# --- locks ----------------------------------------------------------------------------------------


def test_five_failures_lock_an_address_whether_or_not_it_has_an_account(people: Any) -> None:
    for email in (people.register(), people.email()):
        for _ in range(5):
            with pytest.raises(InvalidCredentials):
                people.sign_in(email, password="wrong")
        with pytest.raises(Locked) as locked:
            people.sign_in(email)
        assert 0 < locked.value.facts["retry_after"] <= 15 * 60


def test_a_lock_ends_and_the_next_one_is_longer(people: Any) -> None:
    email = people.register()
    for minutes in (15, 30):
        for _ in range(5):
            with pytest.raises(InvalidCredentials):
                people.sign_in(email, password="wrong")
        with pytest.raises(Locked) as locked:
            people.sign_in(email)
        assert locked.value.facts["retry_after"] == minutes * 60
        people.clock.advance(timedelta(minutes=minutes, seconds=1))
    people.sign_in(email)


def test_success_forgets_failures(people: Any) -> None:
    email = people.register()
    for _ in range(2):
        for _ in range(4):
            with pytest.raises(InvalidCredentials):
                people.sign_in(email, password="wrong")
        people.sign_in(email)


def test_failures_are_in_the_audit_trail_and_the_owner_hears_of_a_lock(people: Any) -> None:
    email = people.register()
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            people.sign_in(email, password="wrong")
    assert people.mails(email)[-1][0] == "account_locked"
    people.clock.advance(timedelta(minutes=16))
    with people.as_person(people.sign_in(email)) as ctx:
        failed = [entry for entry in audit.find(ctx, actions=["session.create"]).items if entry.outcome == "failure"]
    assert len(failed) == 5


def test_starter_counts_failures_within_an_hour_only(people: Any) -> None:
    email = people.register("starter")
    for _ in range(4):
        with pytest.raises(InvalidCredentials):
            people.sign_in(email, "starter", "wrong")
    people.clock.advance(timedelta(minutes=61))
    with pytest.raises(InvalidCredentials):
        people.sign_in(email, "starter", "wrong")
    people.sign_in(email, "starter")


# --- deletion -------------------------------------------------------------------------------------


def test_a_deletion_ends_sessions_and_keys_and_signing_in_cancels_it(people: Any) -> None:
    email = people.register()
    signed_in = people.sign_in(email)
    with people.as_person(signed_in) as ctx:
        _, key = identity.issue_api_key(ctx, "mine", ["full"], "thallus", account_id=signed_in.account.id)
    with people.as_person(signed_in) as ctx:
        account = accounts.request_deletion(ctx, "thallus", password=PASSWORD, confirmed=False)
    assert account.deletion_due_at == people.clock.now() + timedelta(days=30)
    with pytest.raises(Unauthenticated):
        identity.verify_api_key(people.database, key, "thallus")
    with pytest.raises(Unauthenticated), people.context() as ctx:
        sessions.refresh_session(ctx, signed_in.refresh_token, "thallus")
    assert people.sign_in(email).account.deletion_due_at is None
    assert people.mails(email)[-1][0] == "account_recovered"


def test_a_deletion_needs_the_password(people: Any) -> None:
    signed_in = people.sign_in(people.register())
    for given in ({"password": None, "confirmed": True}, {"password": "wrong", "confirmed": True}):
        with pytest.raises(InvalidPassword), people.as_person(signed_in) as ctx:
            accounts.request_deletion(ctx, "thallus", **given)


def test_the_only_administrator_of_a_shared_organisation_cannot_leave(people: Any) -> None:
    signed_in = people.sign_in(people.register())
    with people.database.context(SystemActor(), signed_in.belonging.organisation_id) as ctx:
        identity.get_organisation(ctx).personal = False
    with pytest.raises(Conflict) as refused, people.as_person(signed_in) as ctx:
        accounts.request_deletion(ctx, "thallus", password=PASSWORD, confirmed=False)
    assert refused.value.facts["reason"] == "sole_admin"


# --- profile --------------------------------------------------------------------------------------


def test_preferences_that_are_not_named_stay(people: Any) -> None:
    signed_in = people.sign_in(people.register())
    with people.as_person(signed_in) as ctx:
        accounts.update_preferences(ctx, {"theme": "dark"})
    with people.as_person(signed_in) as ctx:
        changed = accounts.update_preferences(ctx, {"memory_enabled": False}, language="fr")
    assert (changed.preferences, changed.language) == ({"theme": "dark", "memory_enabled": False}, "fr")


def test_a_time_zone_that_there_is_not_is_invalid(people: Any) -> None:
    signed_in = people.sign_in(people.register())
    with pytest.raises(Invalid), people.as_person(signed_in) as ctx:
        accounts.update_profile(ctx, timezone="Europe/Atlantis")


# --- secrets --------------------------------------------------------------------------------------


def test_no_secret_is_stored_in_plain(people: Any) -> None:
    email = people.register()
    signed_in = people.sign_in(email)
    with people.database.session(None, platform=True) as session:
        connection = session.connection()
        for table in ("account", "refresh_token", "one_time_token", "signing_key", "user_session", "audit_entry"):
            rows = str(connection.exec_driver_sql(f"SELECT * FROM {table}").all())
            assert PASSWORD not in rows
            assert signed_in.refresh_token not in rows
            assert "PRIVATE KEY" not in rows
    assert crypto.digest(signed_in.refresh_token)


def test_signing_in_goes_to_the_organisation_that_was_used_last(people: Any, found: Any) -> None:
    email = people.register()
    other = found()
    with people.context() as ctx:
        account = accounts.find(ctx, email)
        accounts.join(ctx, account, other, "member", source="invite")
    own = people.sign_in(email)
    assert own.belonging.organisation_id != other
    with people.context() as ctx:
        signed_in = signin.sign_in(ctx, "thallus", email, PASSWORD, organisation_id=other)
    assert signed_in.belonging.organisation_id == other
    people.clock.advance(timedelta(seconds=1))
    assert people.sign_in(email).belonging.organisation_id == other
    with pytest.raises(signin.OrganisationNeeded):
        people.sign_in(email, choose=True)
