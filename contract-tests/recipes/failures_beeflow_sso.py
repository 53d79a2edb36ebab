"""Bee Flow: how signing in through others and the Nextcloud connector fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from uuid import uuid4

import httpx

from domain.identity.connector import claims
from domain.identity.models import SignInFlow
from domain.kernel import crypto
from domain.kernel.ids import new_id
from recipes import federation
from recipes.failures import TOKEN, failure
from recipes.world import Call, Recipe, World

S = "beeflow"


# --- providers -----------------------------------------------------------------------------------------------


def _begin(world: World) -> Call:
    return Call(public=True)


for _name in ("Google", "Microsoft"):
    failure(S, f"start{_name}Login", 502, on="guarded" if _name == "Google" else "lame")(_begin)
    failure(S, f"start{_name}Login", 503, on="lame" if _name == "Google" else "guarded")(_begin)
for _name in ("Github", "Nextcloud"):
    failure(S, f"start{_name}Login", 503, on="guarded")(_begin)


def _stranger(world: World) -> Call:
    return Call(query={"state": TOKEN, "code": "made-up"}, cookies={"bf_oauth_state": TOKEN}, public=True)


def _gone(provider: str) -> Recipe:
    """The provider was taken out of the settings while somebody was on the way."""

    def make(world: World) -> Call:
        state, browser = uuid4().hex, uuid4().hex
        with world.anyone(S) as ctx:
            flow = SignInFlow(
                id=new_id(),
                provider=provider,
                state=crypto.digest(state),
                browser=crypto.digest(browser),
                surface=S,
                facts={},
                created_at=ctx.now(),
                expires_at=ctx.now() + timedelta(minutes=10),
            )
            ctx.session.add(flow)
        query = {"state": state, "code": "made-up"}
        return Call(query=query, cookies={"bf_oauth_state": browser}, public=True)

    return make


def _away(provider: str) -> Recipe:
    def make(world: World) -> Call:
        known = federation.providers()
        known.person(provider)
        browser = federation.depart(world.url, provider)
        sent = {name: value for name, value in browser.back.items() if not name.startswith("_")}
        known.server.down = True
        world.afterwards.append(lambda: setattr(known.server, "down", False))
        return Call(query=sent, cookies={"bf_oauth_state": browser.cookie}, public=True)

    return make


for _provider in federation.PROVIDERS:
    _operation = f"finish{_provider.capitalize()}Login"
    failure(S, _operation, 400)(_stranger)
    failure(S, _operation, 429, on="guarded")(_stranger)
    failure(S, _operation, 502)(_away(_provider))
    failure(S, _operation, 503, on="lame" if _provider == "google" else "guarded")(_gone(_provider))


@failure(S, "getSamlMetadata", 403)
def metadata_without_the_tier(world: World) -> Call:
    organisation = federation.saml_organisation(world.database, federation.COMMUNITY, "community")
    return Call(query={"organizationId": str(organisation)}, public=True)


@failure(S, "getSamlMetadata", 404)
def metadata_of_nobody(world: World) -> Call:
    return Call(query={"organizationId": str(uuid4())}, public=True)


@failure(S, "consumeSamlAssertion", 403)
def answer_for_another_browser(world: World) -> Call:
    federation.saml_organisation(world.database)
    form = {"SAMLResponse": federation.saml_response(world.url)}
    return Call(form=form, cookies=federation.saml_cookie("another"), public=True)


@failure(S, "pickUpLogin", 410)
@failure(S, "pickUpLogin", 429, on="guarded")
def unknown_code(world: World) -> Call:
    return Call(query={"code": f"lpc_{TOKEN}"}, public=True)


@failure(S, "pickUpLogin", 503)
def code_that_cannot_be_looked_up(world: World) -> Call:
    world.unreachable("one_time_token")  # nobody brings a code from Google to the platform that has lost its database
    return Call(query={"code": f"lpc_{TOKEN}"}, public=True)


# --- the connector -------------------------------------------------------------------------------------------


def from_nextcloud(world: World) -> Mapping[str, str]:
    """The credential of somebody whom a Nextcloud keeps."""
    connector = federation.connector(world.url, world.database)
    url = f"{world.url}{federation.BEEFLOW}/auth/nc-handshake"
    told = httpx.get(url, headers=connector.handshake("ada"), timeout=30).json()
    return {"Authorization": f"Bearer {told['token']}"}


@failure(S, "bootstrapConnector", 403)
def claim_of_nobody(world: World) -> Call:
    connector = federation.connector(world.url)
    return Call(headers=connector.first_contact(), query={"pendingId": str(uuid4())}, public=True)


@failure(S, "bootstrapConnector", 409)
def organisation_of_another_instance(world: World) -> Call:
    first = federation.connector(world.url)
    federation.owner_of(world.database, first.admin_email)
    waiting = first.bootstrap().json()
    with world.anyone(S) as ctx:
        claims.decide(ctx, world.mailed(first.admin_email, "pending_claim"), accepted=True)
    assert first.bootstrap(pendingId=waiting["pendingId"]).status_code == 200
    other = federation.connector(world.url)
    other.admin_email = first.admin_email
    federation.providers().server.capabilities["capabilities"]["bee_flow"]["instanceId"] = other.instance_id
    return Call(headers=other.first_contact(), public=True)


@failure(S, "bootstrapConnector", 502)
def instance_that_is_away(world: World) -> Call:
    known = federation.providers()
    known.server.down = True
    world.afterwards.append(lambda: setattr(known.server, "down", False))
    return Call(headers=federation.connector(world.url).first_contact(), public=True)


@failure(S, "bootstrapConnector", 422)
def another_request_under_the_same_key(world: World) -> Call:
    connector = federation.connector(world.url)
    federation.providers().server.capabilities["capabilities"]["bee_flow"]["instanceId"] = connector.instance_id
    headers = {**connector.first_contact(), "Idempotency-Key": uuid4().hex}
    url = f"{world.url}{federation.BEEFLOW}/auth/connector/bootstrap"
    assert httpx.post(url, headers=headers, timeout=30).status_code == 201
    return Call(headers=headers, query={"pendingId": str(uuid4())}, public=True)


@failure(S, "bootstrapConnector", 429, on="guarded")
def fourth_contact_in_a_minute(world: World) -> Call:
    for _ in range(3):  # each is signed anew: a signature is taken once
        federation.connector(world.url).bootstrap()
    return Call(headers=federation.connector(world.url).first_contact(), public=True)


@failure(S, "issueHandshakeToken", 429, on="guarded")
def fourth_token_in_a_minute(world: World) -> Call:
    connector = federation.connector(world.url, world.database)
    for _ in range(3):
        url = f"{world.url}{federation.BEEFLOW}/auth/nc-handshake"
        assert httpx.get(url, headers=connector.handshake("ada"), timeout=30).status_code == 200
    return Call(headers=connector.handshake("ada"), public=True)


@failure(S, "syncNextcloudUser", 429, on="guarded")
def fourth_event_in_a_minute(world: World) -> Call:
    connector = federation.connector(world.url, world.database)
    body = json.dumps({"event": "calendar.shared", "ncUid": "ada"}).encode()
    for _ in range(3):
        url = f"{world.url}{federation.BEEFLOW}/auth/webhook/nc-user-sync"
        assert httpx.post(url, content=body, headers=connector.sync(body), timeout=30).status_code == 200
    return Call(content=body, headers=connector.sync(body), public=True)


@failure(S, "issueHandshakeToken", 402)
def nobody_more(world: World) -> Call:
    connector = federation.connector(world.url, world.database, "community")
    url = f"{world.url}{federation.BEEFLOW}/auth/nc-handshake"
    assert httpx.get(url, headers=connector.handshake("ada"), timeout=30).status_code == 200
    return Call(headers=connector.handshake("grace"), public=True)


@failure(S, "issueHandshakeToken", 403)
def who_was_deleted(world: World) -> Call:
    connector = federation.connector(world.url, world.database)
    url = f"{world.url}{federation.BEEFLOW}/auth"
    assert httpx.get(f"{url}/nc-handshake", headers=connector.handshake("grace"), timeout=30).status_code == 200
    event = json.dumps({"event": "user.deleted", "ncUid": "grace"}).encode()
    told = httpx.post(f"{url}/webhook/nc-user-sync", content=event, headers=connector.sync(event), timeout=30)
    assert told.json()["status"] == "applied"
    return Call(headers=connector.handshake("grace"), public=True)


@failure(S, "syncNextcloudUser", 413)
def large_event(world: World) -> Call:
    connector = federation.connector(world.url, world.database)
    body = b" " * 20_000
    return Call(content=body, headers=connector.sync(body), public=True)


@failure(S, "syncNextcloudUser", 415)
def event_that_is_no_json(world: World) -> Call:
    connector = federation.connector(world.url, world.database)
    body = json.dumps({"event": "user.created", "ncUid": "grace"}).encode()
    return Call(content=body, headers={**connector.sync(body), "Content-Type": "text/plain"}, public=True)
