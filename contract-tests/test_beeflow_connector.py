"""Bee Flow's connector as a Nextcloud meets it: first contact, tokens, events, consent, and what is refused."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import World, federation

from domain.identity.connector import claims
from domain.identity.connector.signature import sign
from domain.kernel.crypto import Secret

BASE = "/beeflow"


def handshake(world: World, connector: federation.Connector, uid: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{world.url}{BASE}/auth/nc-handshake", headers=connector.handshake(uid, **headers), timeout=30)


def sync(world: World, connector: federation.Connector, body: Any, **headers: str) -> httpx.Response:
    raw = json.dumps(body).encode()
    return httpx.post(
        f"{world.url}{BASE}/auth/webhook/nc-user-sync",
        content=raw,
        headers={**connector.sync(raw), **headers},
        timeout=30,
    )


@pytest.fixture(scope="module")
def bound(world: World) -> federation.Connector:
    return federation.connector(world.url, world.database)


# --- first contact -----------------------------------------------------------------------------------------


def test_a_new_instance_gets_an_organisation_and_a_known_one_the_same_again(world: World) -> None:
    connector = federation.connector(world.url)
    first = connector.bootstrap()
    assert first.status_code == 201, first.text
    assert first.headers["location"] == f"{BASE}/api/organisation"
    connector.key = first.json()["tenantKey"]
    again = connector.bootstrap()
    assert (again.status_code, again.json()) == (200, {**first.json(), "isNew": False})


def test_an_administrator_decides_and_the_connector_asks_again(world: World) -> None:
    connector = federation.connector(world.url)
    organisation = federation.owner_of(world.database, connector.admin_email)
    waiting = connector.bootstrap()
    assert (waiting.status_code, waiting.json()["status"]) == (202, "pending_claim")
    poll = waiting.json()["pollUrl"]
    assert waiting.headers["location"] == poll
    assert poll == f"{BASE}/auth/connector/bootstrap?pendingId={waiting.json()['pendingId']}"
    assert connector.bootstrap(pendingId=waiting.json()["pendingId"]).status_code == 202
    token = world.mailed(connector.admin_email, "pending_claim")
    with world.anyone("beeflow") as ctx:
        claims.decide(ctx, token, accepted=True)
    done = connector.bootstrap(pendingId=waiting.json()["pendingId"])
    assert (done.status_code, done.json()["organizationId"]) == (200, str(organisation))
    assert connector.bootstrap(pendingId=str(uuid4())).status_code == 403


def test_an_instance_that_is_another_one_is_a_403_and_one_that_is_away_a_502(world: World) -> None:
    connector = federation.connector(world.url)
    headers = connector.first_contact()
    federation.providers().server.capabilities["capabilities"]["bee_flow"]["instanceId"] = "somebodyelse1"
    assert httpx.post(f"{world.url}{BASE}/auth/connector/bootstrap", headers=headers).status_code == 403
    federation.providers().server.down = True
    try:
        assert connector.bootstrap().status_code == 502
    finally:
        federation.providers().server.down = False


def test_an_address_of_an_organisation_with_another_instance_is_a_409(world: World) -> None:
    connector = federation.connector(world.url)
    federation.owner_of(world.database, connector.admin_email)
    waiting = connector.bootstrap().json()
    with world.anyone("beeflow") as ctx:
        claims.decide(ctx, world.mailed(connector.admin_email, "pending_claim"), accepted=True)
    assert connector.bootstrap(pendingId=waiting["pendingId"]).status_code == 200
    other = federation.connector(world.url)
    other.admin_email = connector.admin_email
    assert other.bootstrap().status_code == 409


def test_the_sixth_claim_is_a_429(world: World) -> None:
    email = federation.connector(world.url).admin_email
    federation.owner_of(world.database, email)
    statuses = []
    for _ in range(6):
        connector = federation.connector(world.url)
        connector.admin_email = email
        reply = connector.bootstrap()
        statuses.append(reply.status_code)
    assert statuses == [202] * 5 + [429]
    assert int(reply.headers["retry-after"]) > 0


# --- signatures --------------------------------------------------------------------------------------------


def test_a_request_without_a_good_signature_is_a_401(world: World, bound: federation.Connector) -> None:
    good = bound.handshake("ada")
    url = f"{world.url}{BASE}/auth/nc-handshake"
    missing = {name: value for name, value in good.items() if name != "X-Beeflow-Sig"}
    assert httpx.get(url, headers=missing).status_code == 401
    assert httpx.get(url, headers={**good, "X-Beeflow-NC-Uid": "eve"}).status_code == 401
    assert httpx.get(url, headers={**good, "X-Beeflow-NC-Instance-Id": "anotherone1"}).status_code == 401
    at = int(good["X-Beeflow-Sig"].partition(".")[0]) - 301
    old = sign(Secret(bound.key), at, ["GET", "/auth/nc-handshake", "ada"])
    assert httpx.get(url, headers={**good, "X-Beeflow-Sig": old}).status_code == 401
    assert httpx.get(url, headers=good).status_code == 200
    replayed = httpx.get(url, headers=good)
    assert replayed.status_code == 401
    assert replayed.json()["requestId"]


def test_the_body_of_an_event_is_signed(world: World, bound: federation.Connector) -> None:
    raw = b'{"event": "user.created", "ncUid": "mallory"}'
    headers = bound.sync(raw)
    url = f"{world.url}{BASE}/auth/webhook/nc-user-sync"
    assert httpx.post(url, content=raw.replace(b"mallory", b"eve"), headers=headers).status_code == 401
    assert httpx.post(url, content=raw, headers=headers).json()["status"] == "applied"
    assert httpx.post(url, content=raw, headers=headers).status_code == 401


# --- tokens ------------------------------------------------------------------------------------------------


def test_a_token_is_good_for_five_minutes_and_names_its_user(world: World, bound: federation.Connector) -> None:
    email = f"grace-{bound.instance_id}@example.org"
    reply = handshake(
        world, bound, "grace", **{"X-Beeflow-NC-Email": email, "X-Beeflow-NC-Display-Name": "Grace%20Hopper"}
    )
    body = reply.json()
    assert reply.status_code == 200, reply.text
    assert (body["user"]["email"], body["user"]["displayName"], body["user"]["role"]) == (email, "Grace Hopper", "user")
    assert 290 <= body["expiresIn"] <= 300
    assert body["consentRequired"] is True
    bearer = {"Authorization": f"Bearer {body['token']}"}
    agreed = {"version": federation.NOTICE, "accepted": True, "language": "nl"}
    first = httpx.post(f"{world.url}{BASE}/auth/nc-consent", json=agreed, headers=bearer, timeout=30)
    again = httpx.post(f"{world.url}{BASE}/auth/nc-consent", json=agreed, headers=bearer, timeout=30)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert handshake(world, bound, "grace").json()["consentRequired"] is False


def test_without_a_seat_it_is_a_402_and_for_the_removed_a_403(world: World) -> None:
    connector = federation.connector(world.url, world.database, "community")
    assert handshake(world, connector, "ada").status_code == 200
    assert handshake(world, connector, "second").status_code == 402
    with world.platform(connector.organisation_id) as ctx:
        from domain import billing

        billing.subscribe(ctx, "enterprise", "beeflow")
    assert handshake(world, connector, "second").status_code == 200
    assert sync(world, connector, {"event": "user.deleted", "ncUid": "second"}).json()["status"] == "applied"
    assert handshake(world, connector, "second").status_code == 403


# --- events ------------------------------------------------------------------------------------------------


def test_events_are_taken_or_ignored_and_never_repeated_for_that(world: World, bound: federation.Connector) -> None:
    created = {"event": "user.created", "ncUid": "linus", "displayName": "Linus", "occurredAt": "2026-01-01T00:00:00Z"}
    assert sync(world, bound, created).json() == {"status": "applied", "event": "user.created"}
    assert sync(world, bound, created).json() == {"status": "ignored", "event": "user.created"}
    joined = {"event": "group.member_added", "ncUid": "linus", "groupId": "kernel"}
    assert sync(world, bound, joined).json()["status"] == "applied"
    assert sync(world, bound, {"event": "calendar.shared", "ncUid": "linus"}).json()["status"] == "ignored"


@pytest.mark.parametrize(
    "body",
    [
        {"event": "group.member_added", "ncUid": "ada"},
        {"event": "user.created"},
        {"event": "user.created", "ncUid": "x", "role": "admin"},
        {"event": "not an event", "ncUid": "x"},
    ],
)
def test_an_event_that_breaks_the_contract_is_a_400(world: World, bound: federation.Connector, body: Any) -> None:
    assert sync(world, bound, body).status_code == 400


def test_an_event_is_json_of_a_bearable_size(world: World, bound: federation.Connector) -> None:
    raw = json.dumps({"event": "user.created", "ncUid": "x"}).encode()
    plain = {**bound.sync(raw), "Content-Type": "text/plain"}
    url = f"{world.url}{BASE}/auth/webhook/nc-user-sync"
    assert httpx.post(url, content=raw, headers=plain).status_code == 415
    large = b" " * 20_000
    assert httpx.post(url, content=large, headers=bound.sync(large)).status_code == 413
    json_only = {**bound.sync(raw), "Accept": "text/html"}
    assert httpx.post(url, content=raw, headers=json_only).status_code == 406


# --- consent -----------------------------------------------------------------------------------------------


def test_consent_is_given_by_people_with_a_session(world: World) -> None:
    url = f"{world.url}{BASE}/auth/nc-consent"
    agreed = {"version": "2026-05", "accepted": True}
    assert httpx.post(url, json=agreed, timeout=30).status_code == 401
    person = world.person("beeflow")
    assert httpx.post(url, json={**agreed, "accepted": False}, headers=person.headers()).status_code == 400
    key = {**person.headers(), "Idempotency-Key": str(uuid4())}
    first = httpx.post(url, json=agreed, headers=key, timeout=30)
    assert first.status_code == 201, first.text
    assert httpx.post(url, json=agreed, headers=key, timeout=30).json() == first.json()
    other = httpx.post(url, json={**agreed, "version": "2027"}, headers=key, timeout=30)
    assert other.status_code == 422
