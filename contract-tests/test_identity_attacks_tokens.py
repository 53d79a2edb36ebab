"""Identity under attack, over HTTP: tokens that are not what they say, and credentials in places where none belong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey
from recipes import Person, World, starter_identity
from recipes.attacks import (
    ATTACKER,
    FINDINGS,
    KEYS,
    ME,
    REFRESH,
    SETTINGS,
    WORKSPACE_KEYS,
    Caller,
    bearer,
    gone_soon,
    read,
    welcome,
)

from domain import identity
from domain.identity import tokens

# --- tokens ------------------------------------------------------------------------------------------------


def encoded(value: Any) -> str:
    raw: bytes = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def minted(world: World, person: Person, surface: str, **changes: Any) -> str:
    """A token that the platform's own key has signed, with other claims than the platform would write."""
    _, claims = read(person.token)
    kept = {name: claims[name] for name in ("sid", "tenant_id")} | changes
    with world.anyone(surface) as ctx:
        return tokens.mint(
            ctx,
            str(kept.pop("sub", claims["sub"])),
            kept.pop("aud", [surface]),
            datetime.now(UTC) + timedelta(minutes=kept.pop("minutes", 5)),
            kept,
        )[0]


@pytest.mark.parametrize("surface", ["thallus", "starter", "beeflow"])
def test_a_token_that_was_not_signed_by_the_platform_opens_nothing(surface: str, world: World, call: Caller) -> None:
    person = world.person(surface)
    assert welcome(call.me(surface, person.token))
    header, body = read(person.token)
    published = call("GET", "/.well-known/jwks.json").json()["keys"]
    public = OKPKey.import_key(next(key for key in published if key["kid"] == header["kid"]))
    own = OKPKey.generate_key("Ed25519", {"kid": header["kid"]})
    forged: list[str] = [f"{encoded({**header, 'alg': alg})}.{encoded(body)}." for alg in ("none", "None", "nOnE", "")]
    forged.append(f"{encoded(header)}.{encoded(body)}.")
    for secret in (public.as_pem(private=False), base64.urlsafe_b64decode(f"{public.as_dict(private=False)['x']}=")):
        signing_input: str = f"{encoded({**header, 'alg': 'HS256'})}.{encoded(body)}"
        forged.append(f"{signing_input}.{encoded(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}")
    extras: tuple[dict[str, Any], ...] = (
        {},
        {"jwk": own.as_dict(private=False)},
        {"jku": f"{ATTACKER}/keys"},
        {"kid": "../../dev/null"},
    )
    forged += [jwt.encode({**header, **extra}, body, own, algorithms=["EdDSA"]) for extra in extras]
    symmetric = OctKey.import_key(header["kid"])
    forged.append(jwt.encode({**header, "alg": "HS256"}, body, symmetric, algorithms=["HS256"]))
    signature = person.token.rpartition(".")[2]
    forged.append(f"{encoded(header)}.{encoded({**body, 'tenant_id': str(uuid4())})}.{signature}")
    for token in forged:
        reply = call.me(surface, token)
        assert reply.status_code == 401, (token, reply.text)


@pytest.mark.parametrize("surface", ["thallus", "starter", "beeflow"])
def test_even_a_signed_token_has_to_fit_its_session_in_every_claim(surface: str, world: World, call: Caller) -> None:
    person, other = world.person(surface), world.person(surface)
    assert welcome(call.me(surface, minted(world, person, surface)))
    elsewhere = next(name for name in ME if name != surface)
    changes: list[dict[str, Any]] = [
        {"tenant_id": str(other.organisation_id)},
        {"tenant_id": None},
        {"sid": str(other.session_id)},
        {"sid": None},
        {"sub": f"user:{other.account_id}"},
        {"sub": f"service-account:{person.account_id}"},
        {"aud": [elsewhere]},
        {"aud": []},
        {"token_use": "refresh"},
        {"minutes": -1},
    ]
    for change in changes:
        reply = call.me(surface, minted(world, person, surface, **dict(change)))
        assert reply.status_code == 401, (change, reply.text)


def test_a_token_is_good_on_its_own_surface_and_on_thalian_alone(world: World, call: Caller) -> None:
    for surface in ME:
        person = world.person(surface)
        for other in ME:
            assert welcome(call.me(other, person.token)) is (other == surface), (surface, other)
        mine = {"workspaceId": str(person.organisation_id)}
        reply = call("GET", WORKSPACE_KEYS, params=mine, headers=person.headers())
        assert reply.status_code == 200, (surface, reply.text)


def test_what_is_no_access_token_is_not_taken_for_one(world: World, call: Caller) -> None:
    person, machine = world.person("thallus"), world.person("starter")
    with world.acting(person) as ctx:
        _, key = identity.issue_api_key(ctx, "key", ["full"], "thallus", account_id=person.account_id)
        _, workspace = identity.issue_api_key(ctx, "key", ["read"], "thalian")
    _, service = starter_identity.machine_token(world, machine)
    other = key[:-1] + ("y" if key.endswith("x") else "x")
    for credential in (str(person.refresh_token), key, service, person.email, str(person.session_id), "null", "{}"):
        for surface in ME:
            assert call.me(surface, credential).status_code == 401, (surface, credential)
    for credential in (person.token, str(person.refresh_token), workspace, key[:-1], key.upper(), other):
        assert call("GET", ME["thallus"], headers={"X-API-Key": credential}).status_code == 401, credential
    assert call("GET", ME["thallus"], headers={"X-API-Key": key}).status_code == 200
    assert welcome(call("GET", FINDINGS, headers=bearer(workspace)))
    assert call("GET", FINDINGS, headers=bearer(key)).status_code == 401
    for token in (person.token, machine.token, key):
        body = {"refresh_token": token}
        assert call("POST", "/starter/api/v1/auth/refresh", json=body).status_code in (401, 422)


def test_a_refresh_token_that_comes_twice_ends_the_session_and_takes_the_cookie_back(
    world: World, call: Caller, second: Caller
) -> None:
    person = world.person("thallus")
    stolen = {"Cookie": f"refresh_token={person.refresh_token}"}
    first = call("POST", REFRESH, headers=stolen)
    assert first.status_code == 200, first.text
    fresh = first.headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert second.me("thallus", first.json()["access_token"]).status_code == 200
    again = second("POST", REFRESH, headers=stolen)
    assert (again.status_code, again.json()["error"]) == (401, "session_expired")
    assert again.headers["set-cookie"].startswith("refresh_token=;")
    assert "Max-Age=0" in again.headers["set-cookie"]
    for token in (person.token, first.json()["access_token"]):
        gone_soon(call, "GET", ME["thallus"], bearer(token))
    assert call("POST", REFRESH, headers={"Cookie": f"refresh_token={fresh}"}).status_code == 401


def test_starters_refresh_token_that_comes_twice_ends_the_session(world: World, call: Caller) -> None:
    person = world.person("starter")
    body = {"refresh_token": person.refresh_token}
    first = call("POST", "/starter/api/v1/auth/refresh", json=body)
    assert first.status_code == 200, first.text
    assert call("POST", "/starter/api/v1/auth/refresh", json=body).status_code == 401
    gone_soon(call, "GET", ME["starter"], bearer(person.token))


# --- credentials in strange places -----------------------------------------------------------------------------


def test_two_authorization_headers_are_none(world: World, call: Caller) -> None:
    person, other = world.person("thallus"), world.person("thallus")
    good = ("Authorization", f"Bearer {person.token}")
    for further in (f"Bearer {other.token}", f"Bearer {person.token}", "Bearer x", "Basic YTpi", ""):
        for pair in ([good, ("Authorization", further)], [("authorization", further), good]):
            assert call("GET", ME["thallus"], headers=pair).status_code == 401, further
    with world.acting(person) as ctx:
        _, key = identity.issue_api_key(ctx, "key", ["full"], "thallus", account_id=person.account_id)
    assert call("GET", ME["thallus"], headers={**bearer("wrong"), "X-API-Key": key}).status_code == 401
    keys = [("X-API-Key", key), ("X-API-Key", key)]
    assert call("GET", ME["thallus"], headers=keys).status_code == 401


@pytest.mark.parametrize("name", ["access_token", "token", "Authorization", "api_key", "X-API-Key", "bf_session"])
def test_a_credential_in_the_query_is_refused(name: str, world: World, call: Caller) -> None:
    for surface, path in ME.items():
        person = world.person(surface)
        for value in (person.token, f"Bearer {person.token}"):
            reply = call("GET", path, params={name: value})
            assert reply.status_code in (400, 401, 422), (surface, reply.status_code)
            assert person.token not in reply.text


def test_a_header_that_a_proxy_might_set_makes_nobody(world: World, call: Caller) -> None:
    person = world.person("starter", platform_role="superadmin")
    claimed = {
        "X-Forwarded-User": person.email,
        "X-Remote-User": person.email,
        "X-User-Id": str(person.account_id),
        "X-Tenant-Id": str(person.organisation_id),
        "X-Tenant-Role": "owner",
        "X-Vault-Payload": "e30",
        "Cookie": f"access_token={person.token}; session={person.token}; refresh_token={person.refresh_token}",
    }
    for path in (*ME.values(), SETTINGS, WORKSPACE_KEYS):
        assert call("GET", path, headers=claimed).status_code == 401, path


def test_no_other_method_gets_around_the_credential(world: World, call: Caller) -> None:
    person = world.person("thallus")
    override = {"X-HTTP-Method-Override": "GET", "X-Method-Override": "DELETE", "X-HTTP-Method": "DELETE"}
    for method in ("HEAD", "get", "TRACE", "PROPFIND", "POST", "PATCH"):
        reply = call(method, ME["thallus"], headers=override)
        assert reply.status_code in (401, 404, 405, 501), (method, reply.status_code)
        assert reply.content == b"" or person.email not in reply.text
    head = call("HEAD", ME["thallus"], headers=person.headers())
    assert (head.status_code, head.content) == (200, b"")
    asked = call("OPTIONS", ME["thallus"], headers={"Origin": ATTACKER, "Access-Control-Request-Method": "PUT"})
    assert asked.status_code in (204, 405)
    assert "access-control-allow-origin" not in asked.headers
    with world.acting(person) as ctx:
        key, plain = identity.issue_api_key(ctx, "key", ["full"], "thallus", account_id=person.account_id)
    for params in ({}, {"_method": "DELETE"}):
        call("GET", f"{KEYS}/{key.id}", params=params, headers={**override, **person.headers()})
        call("POST", f"{KEYS}/{key.id}", params=params, headers={**override, **person.headers()})
    assert call("GET", ME["thallus"], headers={"X-API-Key": plain}).status_code == 200


@pytest.mark.parametrize(
    ("role", "headers", "allowed"),
    [
        ("owner", {}, True),
        ("owner", {"X-Tenant-Role": "owner"}, True),
        ("owner", {"X-Tenant-Role": "viewer"}, False),
        ("owner", {"X-Tenant-Role": "superadmin"}, False),
        ("owner", {"X-Tenant-Role": "member, owner"}, False),
        ("owner", {"X-Tenant-Role": ""}, False),
        ("owner", {"X-Tenant-Id": str(UUID(int=1))}, False),
        ("owner", {"X-Tenant-Id": ""}, False),
        ("owner", {"X-Tenant-Id": "OWN, OWN"}, False),
        ("owner", {"X-Tenant-Id": "OWN"}, True),
        ("viewer", {"X-Tenant-Role": "owner"}, False),
        ("viewer", {"X-Tenant-Id": "OWN", "X-Tenant-Role": "admin"}, False),
        (
            "viewer",
            {"X_Tenant_Role": "owner", "X-Operator-Override": "true", "X-Operator-Reason": "Ticket 4711 of today"},
            False,
        ),
    ],
)
def test_starters_tenant_headers_only_take_away(
    role: str, headers: Mapping[str, str], allowed: bool, world: World, call: Caller
) -> None:
    owner = world.person("starter")
    person = owner if role == "owner" else starter_identity.member(world, owner, role)
    given = {name: value.replace("OWN", str(person.organisation_id)) for name, value in headers.items()}
    reply = call("GET", SETTINGS, headers={**person.headers(), **given})
    assert reply.status_code == (200 if allowed else 403), reply.text


def test_links_in_mails_never_follow_the_request(world: World, call: Caller) -> None:
    person = world.person("thallus")
    poisoned = {"Host": "attacker.example", "X-Forwarded-Host": "attacker.example", "X-Forwarded-Proto": "gopher"}
    body = {"email": person.email, "captcha_token": "solved"}
    reply = call("POST", "/thallus/api/v1/auth/forgot-password", json=body, headers={**poisoned, "Origin": ATTACKER})
    assert reply.status_code in (200, 202), reply.text
    end = time.monotonic() + 15
    found: list[str] = []
    while not found and time.monotonic() < end:
        texts = (path.read_text(errors="replace") for path in (world.data_dir / "mail").rglob("*.eml"))
        found = [text for text in texts if person.email in text]
        time.sleep(0.2)
    assert found, "no mail came"
    assert "attacker.example" not in found[0]
