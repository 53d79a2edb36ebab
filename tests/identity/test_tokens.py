"""Access tokens and refresh tokens under attack, and what the clock does to both."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey
from sqlalchemy import select

from domain import identity
from domain.identity import erasure, sessions, tokens, upkeep
from domain.identity.models import Account, RefreshToken, SigningKey, UserSession
from domain.kernel import crypto
from domain.kernel.context import SystemActor
from domain.kernel.errors import Unauthenticated


def verify(people: Any, token: str, surface: str = "thallus") -> Any:
    return sessions.verify_access_token(people.database, token, surface)


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, body, signature = token.split(".")
    return decoded(header), decoded(body), signature


def decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture
def signed_in(people: Any) -> Any:
    return people.sign_in(people.register())


def test_a_good_token_stands_for_its_person_organisation_and_permissions(people: Any, signed_in: Any) -> None:
    known = verify(people, signed_in.access_token)
    assert known.account_id == signed_in.account.id
    assert known.organisation_id == signed_in.belonging.organisation_id
    assert "documents:write" in known.permissions
    assert "platform:manage" not in known.permissions


# --- forged -----------------------------------------------------------------------------------------


def test_a_token_without_a_signature_is_worth_nothing(people: Any, signed_in: Any) -> None:
    header, body, _ = parts(signed_in.access_token)
    for algorithm in ("none", "None", "NONE", ""):
        for signature in ("", "AAAA"):
            forged = f"{encoded({**header, 'alg': algorithm})}.{encoded(body)}.{signature}"
            with pytest.raises(Unauthenticated):
                verify(people, forged)


def test_a_mac_made_with_the_public_key_is_worth_nothing(people: Any, signed_in: Any) -> None:
    header, body, _ = parts(signed_in.access_token)
    with people.context() as ctx:
        published = tokens.key_set(ctx)["keys"][0]
    key = OKPKey.import_key(published)
    for secret in (key.as_pem(private=False), base64.urlsafe_b64decode(published["x"] + "="), published["x"].encode()):
        signing_input = f"{encoded({**header, 'alg': 'HS256'})}.{encoded(body)}"
        mac = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
        with pytest.raises(Unauthenticated):
            verify(people, f"{signing_input}.{encoded(mac)}")


def test_a_token_of_a_key_that_came_along_is_worth_nothing(people: Any, signed_in: Any) -> None:
    header, body, _ = parts(signed_in.access_token)
    own = OKPKey.generate_key("Ed25519", {"kid": header["kid"]})
    for extra in ({}, {"jwk": own.as_dict(private=False)}, {"jku": "https://evil.example/keys"}, {"kid": "unknown"}):
        forged = jwt.encode({**header, **extra}, body, own, algorithms=["EdDSA"])
        with pytest.raises(Unauthenticated):
            verify(people, forged)


@pytest.mark.parametrize(
    "change",
    [
        {"aud": ["starter"]},
        {"aud": []},
        {"iss": "https://elsewhere.example"},
        {"exp": 1},
        {"exp": "never"},
        {"exp": True},
        {"exp": 10**400},
        {"nbf": 99999999999},
        {"iat": 99999999999},
        {"token_use": "refresh"},
        {"sub": "user:01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"},
        {"sub": "service-account:support-console"},
        {"tenant_id": "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"},
        {"tenant_id": None},
        {"sid": None},
        {"sid": "01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"},
        {"sid": 7},
        {"jti": "x"},
    ],
)
def test_even_signed_by_us_every_claim_has_to_be_right(people: Any, signed_in: Any, change: dict[str, Any]) -> None:
    header, body, _ = parts(signed_in.access_token)
    with people.database.session(None, platform=True) as session:
        row = session.scalars(select(SigningKey).where(SigningKey.kid == header["kid"])).one()
        own = OKPKey.import_key(crypto.unseal(row, "private").reveal())
    forged = jwt.encode(header, {**body, **change}, own, algorithms=["EdDSA"])
    with pytest.raises(Unauthenticated):
        verify(people, forged)


def test_what_we_sign_for_other_ends_is_no_access_token(people: Any, signed_in: Any) -> None:
    header, body, _ = parts(signed_in.access_token)
    with people.database.session(None, platform=True) as session:
        row = session.scalars(select(SigningKey).where(SigningKey.kid == header["kid"])).one()
        own = OKPKey.import_key(crypto.unseal(row, "private").reveal())
    for kind in ("JWT", "vault+jwt", ""):
        forged = jwt.encode({**header, "typ": kind}, body, own, algorithms=["EdDSA"])
        with pytest.raises(Unauthenticated):
            verify(people, forged)


@pytest.mark.parametrize(
    "junk", ["", ".", "..", "a.b.c", "é.é.é", "x" * 100_000, "eyJ.eyJ.", "null.null.null", "e30.e30."]
)
def test_junk_is_unauthenticated_and_nothing_worse(people: Any, junk: str) -> None:
    with pytest.raises(Unauthenticated):
        verify(people, junk)


def test_a_token_of_one_surface_opens_no_other_but_thalian(people: Any, signed_in: Any) -> None:
    assert verify(people, signed_in.access_token, "thalian").account_id == signed_in.account.id
    for surface in ("starter", "beeflow", "thalium"):
        with pytest.raises(Unauthenticated):
            verify(people, signed_in.access_token, surface)


# --- over -------------------------------------------------------------------------------------------


def test_signing_out_ends_the_access_token_at_once(people: Any, signed_in: Any) -> None:
    with people.as_person(signed_in) as ctx:
        sessions.sign_out(ctx)
    with pytest.raises(Unauthenticated):
        verify(people, signed_in.access_token)
    with pytest.raises(Unauthenticated), people.context() as ctx:
        sessions.refresh_session(ctx, signed_in.refresh_token, "thallus")


@pytest.mark.parametrize("what", ["deactivated", "membership", "organisation"])
def test_what_a_session_hangs_on_ends_it(people: Any, signed_in: Any, what: str) -> None:
    organisation = signed_in.belonging.organisation_id
    with people.database.context(SystemActor(), None, platform=True) as ctx:
        if what == "deactivated":
            ctx.session.get(Account, signed_in.account.id).deactivated_at = ctx.now()
    with people.database.context(SystemActor(), organisation) as ctx:
        if what == "membership":
            identity.memberships.get(ctx, signed_in.account.id).status = "disabled"
        if what == "organisation":
            identity.close_organisation(ctx)
    with pytest.raises(Unauthenticated):
        verify(people, signed_in.access_token)


def test_an_idle_session_ends_and_says_why(people: Any) -> None:
    email = people.register()
    with people.as_person(people.sign_in(email)) as ctx:
        identity.get_organisation(ctx).idle_minutes = 30
    signed_in = people.sign_in(email)
    people.clock.advance(timedelta(minutes=31))
    with pytest.raises(Unauthenticated) as refused, people.context() as ctx:
        sessions.refresh_session(ctx, signed_in.refresh_token, "thallus")
    assert refused.value.facts["reason"] == "inactive"


# --- refresh tokens -------------------------------------------------------------------------------------


def test_a_refresh_token_is_traded_once_and_trading_it_again_ends_the_session(people: Any, signed_in: Any) -> None:
    with people.context() as ctx:
        second = sessions.refresh_session(ctx, signed_in.refresh_token, "thallus")
    assert second.session.id == signed_in.session.id
    assert second.refresh_token != signed_in.refresh_token
    with pytest.raises(Unauthenticated) as refused, people.context() as ctx:
        sessions.refresh_session(ctx, signed_in.refresh_token, "thallus")
    assert refused.value.facts["reason"] == "refresh_reused"
    for token in (second.refresh_token, signed_in.refresh_token):
        with pytest.raises(Unauthenticated), people.context() as ctx:
            sessions.refresh_session(ctx, token, "thallus")
    with pytest.raises(Unauthenticated):
        verify(people, second.access_token)
    with people.database.session(None, platform=True) as session:
        assert session.get(UserSession, signed_in.session.id).revoked_reason == "refresh_reuse"


def test_of_two_who_trade_one_token_at_once_one_gets_the_pair_and_the_session_ends(people: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    signed_in = people.sign_in(people.register())

    def trade(_: int) -> bool:
        try:
            with people.context() as ctx:
                sessions.refresh_session(ctx, signed_in.refresh_token, "thallus")
        except Unauthenticated:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(trade, range(4))) == 1
    with people.database.session(None, platform=True) as session:
        assert session.get(UserSession, signed_in.session.id).revoked_at is not None


def test_a_refresh_token_of_one_surface_is_unknown_to_another(people: Any, signed_in: Any) -> None:
    with pytest.raises(Unauthenticated), people.context("starter") as ctx:
        sessions.refresh_session(ctx, signed_in.refresh_token, "starter")


def test_a_remembered_session_lives_longer_and_neither_lives_for_ever(people: Any) -> None:
    email = people.register()
    for remembered, life in ((False, timedelta(hours=24)), (True, timedelta(days=30))):
        signed_in = people.sign_in(email, remembered=remembered)
        assert signed_in.refresh_expires_at - people.clock.now() == life
        people.clock.advance(life)
        with pytest.raises(Unauthenticated), people.context() as ctx:
            sessions.refresh_session(ctx, signed_in.refresh_token, "thallus")


def test_a_sliding_session_is_prolonged_by_use(people: Any) -> None:
    signed_in = people.sign_in(people.register("beeflow"), "beeflow")
    assert signed_in.refresh_token is None
    later = datetime.now(UTC) - timedelta(days=3)
    with people.database.session(None, platform=True) as session:
        row = session.get(UserSession, signed_in.session.id)
        row.seen_at, row.expires_at = later, later + timedelta(days=14)
    known = verify(people, signed_in.access_token, "beeflow")
    assert known.expires_at > datetime.now(UTC) + timedelta(days=13)


# --- keys -------------------------------------------------------------------------------------------------


def test_a_rotation_signs_nobody_out_and_the_new_key_is_published_before_it_signs(people: Any, signed_in: Any) -> None:
    with people.database.context(SystemActor(), None, platform=True) as ctx:
        fresh = tokens.rotate(ctx, force=True)
    tokens._keys.forget()
    with people.context() as ctx:
        assert fresh in [key["kid"] for key in tokens.key_set(ctx)["keys"]]
    assert parts(people.sign_in(signed_in.account.email).access_token)[0]["kid"] != fresh
    assert verify(people, signed_in.access_token).session_id == signed_in.session.id
    people.clock.advance(timedelta(hours=2))
    later = people.sign_in(signed_in.account.email)
    assert parts(later.access_token)[0]["kid"] == fresh


def test_published_keys_hold_no_private_half(people: Any, signed_in: Any) -> None:
    with people.context() as ctx:
        published = tokens.key_set(ctx)
    assert all(set(key) == {"kty", "crv", "x", "kid", "use", "alg"} for key in published["keys"])


def test_processes_that_start_together_make_one_key(people: Any) -> None:
    with people.database.session(None, platform=True) as session:
        assert session.scalars(select(SigningKey.kid).where(SigningKey.retires_at.is_(None))).all()


# --- upkeep -------------------------------------------------------------------------------------------------


def test_a_due_account_is_erased_and_its_own_organisation_closed(people: Any) -> None:
    email = people.register()
    signed_in = people.sign_in(email)
    with people.as_person(signed_in) as ctx:
        identity.accounts.request_deletion(ctx, "thallus", password="Staple-orbit-lantern-42", confirmed=False)
    people.clock.advance(timedelta(days=31))
    with people.database.context(SystemActor(), None, platform=True, clock=people.clock) as ctx:
        assert signed_in.account.id in erasure.due_accounts(ctx)
        assert erasure.erase_account(ctx, signed_in.account.id) == [signed_in.belonging.organisation_id]
        assert erasure.erase_account(ctx, signed_in.account.id) is None
    with people.database.session(None, platform=True) as session:
        account = session.get(Account, signed_in.account.id)
        assert (account.name, account.password_hash) == ("Erased", None)
        assert email not in account.email
        assert session.get(identity.Organisation, signed_in.belonging.organisation_id).deleted_at is not None
    assert people.register(email=email)  # the address is free again


def test_what_has_expired_is_purged_and_what_lives_stays(people: Any, signed_in: Any) -> None:
    old = people.sign_in(signed_in.account.email)
    with people.database.session(None, platform=True) as session:
        row = session.get(UserSession, old.session.id)
        row.expires_at = datetime.now(UTC) - timedelta(days=100)
    with people.database.context(SystemActor(), None, platform=True) as ctx:
        assert upkeep.purge_expired(ctx) >= 1
    with people.database.session(None, platform=True) as session:
        assert session.get(UserSession, old.session.id) is None
        assert session.scalars(select(RefreshToken.id).where(RefreshToken.session_id == signed_in.session.id)).all()
