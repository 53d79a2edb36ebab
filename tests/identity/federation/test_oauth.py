"""Signing in through OAuth and OpenID Connect providers, against a server that keeps the protocol's rules."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from sqlalchemy import select

from domain import audit, billing
from domain.identity import accounts, federation, invites, memberships, sessions, signup
from domain.identity.models import ExternalIdentity, SignInFlow
from domain.kernel.clock import FixedClock
from domain.kernel.context import AnonymousActor, SystemActor
from domain.kernel.db import Database, across_organisations
from domain.kernel.errors import Gone, Invalid, Unavailable
from domain.kernel.outgoing import UpstreamFailed

flows = federation.flows
PROVIDERS = ("google", "microsoft", "github", "nextcloud")


class World:
    """One browser, one platform, one provider."""

    def __init__(self, database: Database, idp: Any, servers: Any) -> None:
        self.database, self.idp, self.servers = database, idp, servers
        self.clock = FixedClock(datetime.now(UTC))

    def ctx(self) -> Any:
        return self.database.context(AnonymousActor("192.0.2.1"), None, clock=self.clock, surface="beeflow")

    def person(self, provider: str, **about: Any) -> Any:
        number = str(time.monotonic_ns())
        person = self.servers.Person(**{"subject": number, "email": f"p{number}@lovelace.example", **about})
        if provider == "microsoft":
            person.claims.setdefault("tid", self.idp.tenant)
        self.idp.person = person
        return person

    def leave(self, provider: str, **wishes: Any) -> tuple[Any, dict[str, str]]:
        """To the provider and back: the departure, and what the browser brings home."""
        with self.ctx() as ctx:
            left = flows.depart(ctx, provider, **wishes)
        return left, self.servers.consent(left.location)

    def finish(self, provider: str, left: Any, back: dict[str, str], **other: Any) -> str:
        """Where the browser is sent after the callback."""
        given = {"state": back["state"], "browser": left.browser, **other}
        code = given.pop("code", back.get("code"))
        with self.ctx() as ctx:
            journey = flows.come_back(ctx, provider, **given)
        news = journey.ask(code)
        with self.ctx() as ctx:
            return str(flows.land(ctx, journey, news).location)

    def sign_in(self, provider: str, **wishes: Any) -> Any:
        left, back = self.leave(provider, **wishes)
        code = query(self.finish(provider, left, back))["code"]
        with self.ctx() as ctx:
            return flows.pick_up(ctx, code, browser=left.browser)

    def error(self, provider: str, **wishes: Any) -> str:
        left, back = self.leave(provider, **wishes)
        return query(self.finish(provider, left, back))["error"]

    def account(self, email: str, *, password: bool = True, verified: bool = True) -> Any:
        """An account with an organisation of its own."""
        with self.database.context(SystemActor("tests"), None, platform=True, clock=self.clock) as ctx:
            account = accounts.make(
                ctx,
                email=email,
                name="Known",
                source="signup",
                password="Staple-orbit-42" if password else None,
                verified=verified,
            )
            accounts.give_own_organisation(ctx, account)
            return account


def query(location: str) -> dict[str, str]:
    parts = urlsplit(location)
    return {name: values[0] for name, values in parse_qs(parts.query).items()}


@pytest.fixture
def world(database: Database, idp: Any, bound: Any, servers: Any) -> World:
    return World(database, idp, servers)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_somebody_new_signs_in_and_gets_an_organisation_of_their_own(world: World, provider: str) -> None:
    person = world.person(provider)
    arrival = world.sign_in(provider, redirect="/chat")
    signed_in = arrival.signed_in
    assert signed_in.account.email == person.email
    assert signed_in.account.email_verified_at is not None
    assert signed_in.belonging.role == "owner"
    assert (arrival.redirect, arrival.same_browser) == ("/chat", True)
    known = sessions.verify_access_token(world.database, signed_in.access_token, "beeflow")
    assert known.account_id == signed_in.account.id


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_same_person_comes_back_to_the_same_account_whatever_their_address_is_now(
    world: World, provider: str
) -> None:
    person = world.person(provider)
    first = world.sign_in(provider).signed_in
    person.email = f"moved-{person.email}"
    assert world.sign_in(provider).signed_in.account.id == first.account.id


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_verified_address_leads_to_the_account_that_has_proved_it(world: World, provider: str) -> None:
    person = world.person(provider)
    account = world.account(person.email.upper())
    signed_in = world.sign_in(provider).signed_in
    assert signed_in.account.id == account.id
    with world.database.context(SystemActor("tests"), None, platform=True) as ctx:
        link = ctx.session.scalars(select(ExternalIdentity).where(ExternalIdentity.account_id == account.id)).one()
    assert (link.provider, link.subject) == (provider, person.subject)


def test_an_unverified_address_of_the_provider_never_leads_to_an_account(world: World) -> None:
    person = world.person("google", email_verified=False)
    world.account(person.email)
    assert world.error("google") == "email_unverified"
    assert world.error("github") == "email_unverified"


def test_an_address_of_a_tenant_that_nobody_named_is_whatever_its_administrator_typed(
    world: World, settings_of: Any, servers: Any
) -> None:
    from domain.kernel.crypto import Secret

    secret = Secret(f"{servers.CLIENT}:{servers.SECRET}")
    settings = settings_of(oauth_microsoft=secret, oauth_microsoft_url=world.idp.url)
    federation.registry.bind(settings)
    person = world.person("microsoft")
    world.account(person.email)
    assert world.error("microsoft") == "email_unverified"
    person.claims["xms_edov"] = True
    assert world.sign_in("microsoft").signed_in.account.email == person.email
    person.claims["tid"] = "9188040d-6c67-4c5b-b112-36a304b66dad"
    world.idp.tenant = person.claims["tid"]
    with pytest.raises(UpstreamFailed):  # personal accounts were not let in
        world.error("microsoft")


def test_a_nextcloud_whose_users_type_their_own_address_makes_no_accounts(
    world: World, settings_of: Any, servers: Any
) -> None:
    from domain.kernel.crypto import Secret

    host = world.idp.url.removeprefix("http://")
    settings = settings_of(oauth_nextcloud=(Secret(f"http://{servers.CLIENT}:{servers.SECRET}@{host}"),))
    federation.registry.bind(settings)
    world.person("nextcloud")
    assert world.error("nextcloud") == "email_unverified"


def test_an_account_whose_address_was_never_proved_is_not_handed_over(world: World) -> None:
    person = world.person("google")
    world.account(person.email, verified=False)  # whoever made it knows the password
    assert world.error("google") == "email_unverified"


def test_github_counts_the_primary_verified_address_alone(world: World) -> None:
    person = world.person("github")
    other = f"other-{person.email}"
    person.addresses = [
        {"email": other, "primary": False, "verified": True},
        {"email": person.email, "primary": True, "verified": False},
    ]
    assert world.error("github") == "email_unverified"
    person.addresses[1]["verified"] = True
    assert world.sign_in("github").signed_in.account.email == person.email


def test_a_deactivated_account_is_told_so_on_the_sign_in_page(world: World) -> None:
    world.person("google")
    account = world.sign_in("google").signed_in.account
    with world.database.context(SystemActor("tests"), None, platform=True) as ctx:
        accounts.get(ctx, account.id).deactivated_at = world.clock.now()
    assert world.error("google") == "account_disabled"


def test_who_asked_for_deletion_and_comes_back_keeps_the_account(world: World) -> None:
    world.person("google")
    account = world.sign_in("google").signed_in.account
    with world.database.context(SystemActor("tests"), None, platform=True) as ctx:
        accounts.get(ctx, account.id).deletion_due_at = world.clock.now() + timedelta(days=3)
    assert world.sign_in("google").signed_in.account.deletion_due_at is None


def test_an_invitation_leads_into_the_organisation_that_invites(world: World) -> None:
    host = world.account(f"host{time.monotonic_ns()}@lovelace.example")
    with world.ctx() as ctx:
        organisation_id = memberships.organisations_of(ctx, host.id)[0].organisation_id
    person = world.person("google")
    with world.database.context(SystemActor("tests"), organisation_id, clock=world.clock) as ctx:
        billing.subscribe(ctx, "full", "beeflow")
        _, token = invites.issue(
            ctx, life=timedelta(days=1), email=person.email, organisation_id=organisation_id, role="member"
        )
    belonging = world.sign_in("google", invite_token=token).signed_in.belonging
    assert (belonging.organisation_id, belonging.role) == (organisation_id, "member")
    assert world.sign_in("google", invite_token=token).signed_in.belonging.organisation_id == organisation_id
    world.person("google")
    assert world.error("google", invite_token=token) == "access_denied"


def test_where_sign_up_is_not_public_a_provider_is_no_way_around_it(world: World) -> None:
    before = signup.policy()
    signup.configure("invite_only")
    try:
        world.person("google")
        assert world.error("google", surface="starter") == "signup_disabled"
        person = world.person("google")
        with world.database.context(SystemActor("tests"), None, platform=True, clock=world.clock) as ctx:
            _, token = invites.issue(ctx, life=timedelta(days=1), email=person.email)
        signed_in = world.sign_in("google", surface="starter", invite_token=token).signed_in
        assert (signed_in.belonging.role, signed_in.session.surface) == ("owner", "starter")
    finally:
        signup.configure(before)


def test_where_an_organisation_has_its_own_provider_others_are_no_way_around_it(world: World) -> None:
    world.person("google")
    belonging = world.sign_in("google").signed_in.belonging
    with world.database.context(SystemActor("tests"), belonging.organisation_id) as ctx:
        from domain.identity import get_organisation

        get_organisation(ctx).require_sso = True
    assert world.sign_in("google").signed_in.belonging.organisation_id == belonging.organisation_id
    known = federation.registry.current()
    object.__setattr__(known, "saml", {belonging.organisation_id: object()})
    assert world.error("google") == "sso_required"


# --- what an attacker may try ------------------------------------------------------------------------------


def test_who_says_no_at_the_provider_comes_to_the_sign_in_page(world: World) -> None:
    world.person("google")
    world.idp.agrees = False
    left, back = world.leave("google")
    assert back["error"] == "access_denied"
    with world.ctx() as ctx:
        way = flows.come_back(ctx, "google", state=back["state"], browser=left.browser)
        location = flows.refused(ctx, "google", "access_denied", surface=way.surface).location
    assert query(location)["error"] == "access_denied"


@pytest.mark.parametrize("browser", [None, "another-browser"])
def test_an_answer_counts_in_the_browser_that_asked_alone(world: World, browser: str | None) -> None:
    world.person("google")
    left, back = world.leave("google")
    with pytest.raises(Invalid):
        world.finish("google", left, back, browser=browser)
    assert "code" in query(world.finish("google", left, back))  # its owner was not robbed of it


def test_a_state_counts_once_for_ten_minutes_and_at_its_own_provider(world: World) -> None:
    world.person("google")
    left, back = world.leave("google")
    for provider, given in (("microsoft", back), ("google", {**back, "state": "made-up"})):
        with pytest.raises(Invalid):
            world.finish(provider, left, given)
    with pytest.raises(Invalid):
        world.finish("google", left, back, further={"iss": "https://accounts.attacker.example"})
    world.finish("google", left, back)
    with pytest.raises(Invalid):
        world.finish("google", left, back)
    left, back = world.leave("google")
    world.clock.advance(timedelta(minutes=10))
    with pytest.raises(Invalid):
        world.finish("google", left, back)


def test_a_code_that_was_swapped_is_worth_nothing(world: World) -> None:
    world.person("google")
    _, stolen = world.leave("google")
    victim = world.person("google")
    left, back = world.leave("google")
    # The attacker's code in the victim's answer: PKCE ties each code to the browser that began.
    location = world.finish("google", left, {**back, "code": stolen["code"]})
    assert query(location)["error"] == "access_denied"
    with world.ctx() as ctx:
        assert accounts.find(ctx, victim.email) is None


def _forged(change: Callable[[dict[str, Any], Any], dict[str, Any] | None]) -> Callable[[dict[str, Any], Any], str]:
    def forge(claims: dict[str, Any], server: Any) -> str:
        changed = change(claims, server) or claims
        return jwt.encode({"alg": "RS256", "kid": server.keys[0].kid}, changed, server.keys[0])

    return forge


def _none(claims: dict[str, Any], server: Any) -> str:
    import base64
    import json

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none', 'kid': 'first'})}.{part(claims)}."


def _swapped(claims: dict[str, Any], server: Any) -> str:
    """HS256 with the public key as the secret."""
    public = server.keys[0].as_pem(private=False)
    return jwt.encode({"alg": "HS256", "kid": "first"}, claims, OctKey.import_key(public), algorithms=["HS256"])


def _strange(claims: dict[str, Any], server: Any) -> str:
    other = RSAKey.generate_key(2048, parameters={"kid": "first"})
    return jwt.encode({"alg": "RS256", "kid": "first"}, claims, other)


FORGERIES = {
    "alg none": _none,
    "the public key as a secret": _swapped,
    "another key with the same name": _strange,
    "no token": lambda claims, server: "",
    "rubbish": lambda claims, server: "a.b.c",
    "another audience": _forged(lambda c, s: {**c, "aud": "another-client"}),
    "several audiences and another party": _forged(lambda c, s: {**c, "aud": [c["aud"], "x"], "azp": "x"}),
    "no audience": _forged(lambda c, s: {k: v for k, v in c.items() if k != "aud"}),
    "another issuer": _forged(lambda c, s: {**c, "iss": "https://accounts.attacker.example"}),
    "no issuer": _forged(lambda c, s: {k: v for k, v in c.items() if k != "iss"}),
    "expired": _forged(lambda c, s: {**c, "iat": c["iat"] - 7200, "exp": c["iat"] - 3600}),
    "no expiry": _forged(lambda c, s: {k: v for k, v in c.items() if k != "exp"}),
    "expiry that is a text": _forged(lambda c, s: {**c, "exp": "tomorrow"}),
    "from the future": _forged(lambda c, s: {**c, "iat": c["iat"] + 3600, "exp": c["exp"] + 7200}),
    "another nonce": _forged(lambda c, s: {**c, "nonce": "from-another-sign-in"}),
    "no nonce": _forged(lambda c, s: {k: v for k, v in c.items() if k != "nonce"}),
    "no subject": _forged(lambda c, s: {**c, "sub": ""}),
    "a subject that is a number": _forged(lambda c, s: {**c, "sub": 7}),
}


@pytest.mark.parametrize("provider", ["google", "microsoft"])
@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda name: name.replace(" ", "-"))
def test_a_forged_id_token_lets_nobody_in(world: World, provider: str, forgery: str) -> None:
    person = world.person(provider)
    world.idp.forge = FORGERIES[forgery]
    left, back = world.leave(provider)
    with pytest.raises(UpstreamFailed):
        world.finish(provider, left, back)
    with world.ctx() as ctx:
        assert accounts.find(ctx, person.email) is None
    with pytest.raises(Invalid):  # and the flow is used up
        world.finish(provider, left, back)


def test_a_failed_sign_in_stands_in_the_audit_trail(world: World) -> None:
    world.person("google")
    world.idp.forge = _none
    left, back = world.leave("google")
    with pytest.raises(UpstreamFailed):
        world.finish("google", left, back)
    with world.database.context(SystemActor("tests"), None, platform=True) as ctx, across_organisations(ctx) as wide:
        entry = wide.session.scalars(
            select(audit.AuditEntry)
            .where(audit.AuditEntry.action == "sso.sign_in")
            .order_by(audit.AuditEntry.created_at.desc())
        ).first()
    assert entry is not None
    assert (entry.outcome, entry.details["reason"]) == ("failure", "TokenRefused")


def test_a_key_that_the_provider_began_to_use_is_fetched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from domain.identity.federation import oidc

    world.person("google")
    world.sign_in("google")
    world.idp.keys.insert(0, RSAKey.generate_key(2048, parameters={"kid": "second", "use": "sig"}))
    monkeypatch.setattr(oidc, "ASK_AGAIN", 0.0)
    assert world.sign_in("google").signed_in


def test_a_provider_that_is_away_is_a_failure_of_the_provider(world: World) -> None:
    world.person("google")
    left, back = world.leave("google")
    world.idp.down = True
    with pytest.raises(UpstreamFailed):
        world.finish("google", left, back)


def test_a_provider_that_is_not_configured_is_unavailable(world: World, settings_of: Any) -> None:
    federation.registry.bind(settings_of())
    with world.ctx() as ctx, pytest.raises(Unavailable):
        flows.depart(ctx, "google")
    with world.ctx() as ctx, pytest.raises(Unavailable):
        flows.depart(ctx, "nextcloud", instance="unknown.example")


@pytest.mark.parametrize(
    "redirect", ["//attacker.example", "/\\attacker.example", "https://attacker.example", "/\t/x", "chat", "/a b"]
)
def test_a_sign_in_ends_on_this_server(world: World, redirect: str) -> None:
    world.person("google")
    assert world.sign_in("google", redirect=redirect).redirect == "/"


def test_the_pickup_counts_once_for_a_minute_and_in_its_own_browser(world: World) -> None:
    world.person("google")
    left, back = world.leave("google")
    code = query(world.finish("google", left, back))["code"]
    with world.ctx() as ctx:
        assert flows.pick_up(ctx, code, browser=left.browser).same_browser
    for browser in (left.browser, None):
        with pytest.raises(Gone), world.ctx() as ctx:
            flows.pick_up(ctx, code, browser=browser)
    left, back = world.leave("google")
    code = query(world.finish("google", left, back))["code"]
    # A link with an attacker's code must not sign a victim in as the attacker.
    with pytest.raises(Gone), world.ctx() as ctx:
        flows.pick_up(ctx, code, browser="another")
    with pytest.raises(Gone), world.ctx() as ctx:
        flows.pick_up(ctx, code, browser=left.browser)
    left, back = world.leave("google")
    code = query(world.finish("google", left, back))["code"]
    world.clock.advance(timedelta(seconds=60))
    with pytest.raises(Gone), world.ctx() as ctx:
        flows.pick_up(ctx, code, browser=left.browser)
    left, back = world.leave("google")
    code = query(world.finish("google", left, back))["code"]
    with world.ctx() as ctx:
        assert not flows.pick_up(ctx, code, browser=None, anywhere=True).same_browser


def test_what_is_kept_of_a_flow_is_useless_to_who_reads_the_database(world: World) -> None:
    world.person("google")
    left, back = world.leave("google")
    with world.database.context(SystemActor("tests"), None, platform=True) as ctx:
        flow = ctx.session.scalars(select(SignInFlow).order_by(SignInFlow.created_at.desc())).first()
        assert flow is not None
        stored = repr({column.name: getattr(flow, column.name) for column in SignInFlow.__table__.columns})
    assert back["state"] not in stored
    assert left.browser not in stored
    assert query(left.location)["nonce"] not in stored
