"""Identity under attack, over HTTP: tokens that are not what they say, cookies of other people's pages, fields that
nobody may set, guessing, and the second that a revocation has to reach every process.

What is forged and replayed in single verbs stands in tests/identity; sign-in through others in test_beeflow_sso, the
connector's signatures in test_beeflow_connector.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey
from recipes import RECIPES, Person, World, send, starter_identity

from domain import identity
from domain.identity import keys, members, operators, organisations, sessions, tokens
from domain.identity.models import Account
from domain.kernel import crypto
from domain.kernel.errors import Conflict
from thalweg.contract import project

ROOT = project.find().root
ME = {"thallus": "/thallus/api/v1/auth/me", "starter": "/starter/api/v1/auth/me", "beeflow": "/beeflow/auth/user"}
"""Where each surface says who somebody is, for anybody who is signed in."""
SIGN_IN = {
    "thallus": "/thallus/api/v1/auth/login",
    "starter": "/starter/api/v1/auth/token",
    "beeflow": "/beeflow/auth/admin-login",
}
REFRESH = "/thallus/api/v1/auth/refresh"
KEYS = "/thallus/api/v1/auth/api-keys"
SETTINGS = "/starter/api/v1/tenants/settings"
WORKSPACE_KEYS = "/thalian/api/api-keys"
FINDINGS = "/thalian/api/mcp/findings"
ATTACKER = "https://attacker.example"
AT_ONCE = 1.0
"""Seconds within which a revocation is known to every process."""


@dataclasses.dataclass
class Caller:
    """An HTTP client of one API process that follows nothing and keeps no cookies."""

    url: str

    def __call__(self, method: str, path: str, **given: Any) -> httpx.Response:
        return httpx.request(method, f"{self.url}{path}", timeout=30, **given)

    def me(self, surface: str, token: str) -> httpx.Response:
        return self("GET", ME[surface], headers=bearer(token))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def welcome(reply: httpx.Response) -> bool:
    """Whether somebody came in, whatever became of the request then."""
    return reply.status_code not in (401, 403)


@pytest.fixture(scope="module")
def call(running: Any) -> Caller:
    return Caller(running.url)


@pytest.fixture(scope="module")
def second(running: Any) -> Iterator[Caller]:
    """Another API process on the same servers, with the limits of a fresh installation, behind a proxy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "THALWEG_PUBLIC_URL": running.url,  # the issuer of the tokens
        "THALWEG_TRUSTED_PROXIES": "127.0.0.1",
        "THALWEG_FAILED_SIGN_INS_PER_ADDRESS": "8",
    }
    inherited = {name: value for name, value in running.environment.items() if name != "THALWEG_LIMITS"}
    folder = running.logs / "second"
    folder.mkdir(exist_ok=True)
    other = type(running)(
        f"http://127.0.0.1:{port}", running.database, running.redis_url, folder, {**inherited, **settings}
    )
    other.start("api", "serve", "--port", str(port))
    try:
        other.wait()
        yield Caller(other.url)
    finally:
        other.stop()


# --- tokens ------------------------------------------------------------------------------------------------


def encoded(value: Any) -> str:
    raw: bytes = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, body = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, body


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
    for credential in (str(person.refresh_token), key, service, person.email, str(person.session_id), "null", "{}"):
        for surface in ME:
            assert call.me(surface, credential).status_code == 401, (surface, credential)
    for credential in (person.token, str(person.refresh_token), workspace, key[:-1], key.upper(), f"{key[:-1]}x"):
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


# --- cookies -----------------------------------------------------------------------------------------------


def test_signing_in_never_goes_on_with_a_session_that_was_there_before(world: World, call: Caller) -> None:
    """Fixation: what an attacker planted in a browser stays the attacker's."""
    planted, victim = world.person("thallus"), world.person("thallus")
    reply = call(
        "POST",
        SIGN_IN["thallus"],
        json={"email": victim.email, "password": victim.password},
        headers={"Cookie": f"refresh_token={planted.refresh_token}; bf_session={planted.token}", **planted.headers()},
    )
    assert reply.status_code == 200, reply.text
    cookie = reply.headers["set-cookie"]
    assert str(planted.refresh_token) not in cookie
    assert {"HttpOnly", "Secure", "SameSite=Strict", "Path=/thallus/api/v1/auth"} <= {
        part.strip() for part in cookie.split(";")
    }
    assert reply.json()["user"]["email"] == victim.email
    assert read(reply.json()["access_token"])[1]["sid"] not in (str(planted.session_id), str(victim.session_id))
    assert call.me("thallus", planted.token).json()["email"] == planted.email


def test_a_changed_password_leaves_no_session_of_before(world: World, call: Caller) -> None:
    person = world.person("thallus")
    thief = world.again(person)
    body = {"current_password": person.password, "new_password": "Velvet-comet-harbour-77"}
    changed = call("POST", "/thallus/api/v1/auth/password", json=body, headers=person.headers())
    assert changed.status_code == 200, changed.text
    for former in (person, thief):
        gone_soon(call, "GET", ME["thallus"], former.headers())
        cookie = {"Cookie": f"refresh_token={former.refresh_token}"}
        assert call("POST", REFRESH, headers=cookie).status_code == 401
    assert call.me("thallus", changed.json()["access_token"]).status_code == 200


FOREIGN: tuple[Mapping[str, str], ...] = (
    {"Origin": ATTACKER},
    {"Origin": "null"},
    {"Origin": ATTACKER, "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Referer": f"{ATTACKER}/page"},
    {"Origin": f"{ATTACKER}, http://127.0.0.1"},
)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_no_other_site_refreshes_a_session(headers: Mapping[str, str], world: World, call: Caller) -> None:
    person = world.person("thallus")
    cookie = {"Cookie": f"refresh_token={person.refresh_token}"}
    reply = call("POST", REFRESH, headers={**cookie, **headers})
    assert (reply.status_code, reply.json()["error"]) == (403, "cross_origin")
    assert "set-cookie" not in reply.headers
    own = call("POST", REFRESH, headers={**cookie, "Origin": call.url, "Sec-Fetch-Site": "same-origin"})
    assert own.status_code == 200, own.text  # the token was not spent


def beeflow_operations() -> list[dict[str, Any]]:
    manifest = json.loads((ROOT / "generated" / "beeflow" / "operations.json").read_bytes())
    return [one for one in manifest["operations"] if {"sessionCookie": []} in one["security"]]


def test_signing_in_to_bee_flow_never_goes_on_with_a_cookie_that_was_there_before(world: World, call: Caller) -> None:
    planted, victim = world.person("beeflow"), world.person("beeflow")
    proof = {"email": victim.email, "password": victim.password}
    reply = call("POST", SIGN_IN["beeflow"], json=proof, headers={"Cookie": f"bf_session={planted.token}"})
    assert reply.status_code == 200, reply.text
    cookie = reply.headers["set-cookie"].partition(";")[0].partition("=")
    assert cookie[0] == "bf_session"
    assert {"HttpOnly", "Secure", "SameSite=Lax"} <= {part.strip() for part in reply.headers["set-cookie"].split(";")}
    assert read(cookie[2])[1]["sid"] not in (str(planted.session_id), str(victim.session_id))
    assert call("GET", ME["beeflow"], headers={"Cookie": f"bf_session={cookie[2]}"}).json()["email"] == victim.email
    left = call("POST", "/beeflow/auth/logout", headers={"Cookie": f"bf_session={cookie[2]}", "Origin": call.url})
    assert left.status_code == 204
    assert left.headers["set-cookie"].startswith("bf_session=;")
    gone_soon(call, "GET", ME["beeflow"], bearer(cookie[2]))
    assert call.me("beeflow", planted.token).json()["email"] == planted.email


def test_no_other_site_changes_anything_with_bee_flows_cookie(world: World, call: Caller) -> None:
    person = world.person("beeflow")
    changing = [one for one in beeflow_operations() if one["method"] != "GET"]
    assert len(changing) > 40
    client = httpx.Client(timeout=30)
    wrong = []
    for number, operation in enumerate(changing):
        path = "".join(
            part if not part.startswith("{") else str(uuid4()) + part.partition("}")[2]
            for part in operation["path"].replace("{", "\0{").split("\0")
        )
        headers = {"Cookie": f"bf_session={person.token}", **FOREIGN[number % len(FOREIGN)]}
        reply = client.request(operation["method"], f"{call.url}/beeflow{path}", headers=headers)
        if (reply.status_code, reply.json().get("error")) != (403, "cross_origin"):
            wrong.append((operation["operation_id"], reply.status_code, reply.text[:200]))
    client.close()
    assert not wrong


def test_bee_flows_cookie_counts_from_its_own_pages_and_a_header_before_it(world: World, call: Caller) -> None:
    person = world.person("beeflow")
    url, cookie = "/beeflow/auth/nc-consent", {"Cookie": f"bf_session={person.token}"}
    body = {"version": "2026-05", "accepted": True, "language": "nl"}
    assert welcome(call("POST", url, json=body, headers={**cookie, "Origin": call.url}))
    assert welcome(call("POST", url, json=body, headers={**cookie, "Sec-Fetch-Site": "same-origin"}))
    assert welcome(call("POST", url, json=body, headers={**cookie, **person.headers(), "Origin": ATTACKER}))
    refused = call("POST", url, json=body, headers={**cookie, **bearer("wrong"), "Origin": call.url})
    assert refused.status_code == 401  # a bad header is not made good by a cookie


def test_what_bee_flow_answers_to_get_changes_nothing(world: World) -> None:
    """A cookie is sent along with GET from anywhere: only reading may hang on it."""
    acts = {
        one["operation_id"]: one["extensions"]["x-audit"].rpartition(".")[2]
        for one in beeflow_operations()
        if one["method"] == "GET" and "x-audit" in one["extensions"]
    }
    assert set(acts.values()) <= {"list", "export", "download", "read"}, acts


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


# --- fields that nobody may set --------------------------------------------------------------------------------

HOSTILE: Mapping[str, Any] = {
    "role": "admin",
    "roles": ["owner"],
    "platform_role": "superadmin",
    "organisation_id": str(UUID(int=1)),
    "organization_id": str(UUID(int=1)),
    "account_id": str(UUID(int=1)),
    "email_verified": True,
    "email_verified_at": "2026-01-01T00:00:00Z",
    "is_admin": True,
    "permissions": ["platform:manage"],
    "password_hash": "x",
    "__proto__": {"role": "admin"},
}
GIVING = {
    ("beeflow", "approveWaitlistEntry", "role"),
    ("beeflow", "inviteUser", "role"),
    ("beeflow", "updateUser", "role"),
    ("beeflow", "installSkill", "permissions"),  # must be exactly those that the skill asks for
    ("thallus", "inviteTeamMember", "role"),
}
"""Bodies whose business is such a field; what may be given there is the rank's to say."""
IDENTITY_TAGS = {"auth", "account", "signup", "invites", "tenants", "api-keys", "service-accounts", "users", "team"}


def bodies() -> Iterator[tuple[str, dict[str, Any], Mapping[str, Any]]]:
    """Surface, operation and JSON schema of each operation that takes JSON."""
    found = project.find(ROOT)
    for surface in found.surfaces:
        document = json.loads((found.generated / surface / "bundle.json").read_bytes())
        manifest = json.loads((found.generated / surface / "operations.json").read_bytes())
        for operation in manifest["operations"]:
            name = ((operation["request"] or {}).get("content") or {}).get("application/json")
            if name is not None:
                yield surface, operation, document["components"]["schemas"].get(name, {})


def test_no_body_names_what_only_the_platform_decides() -> None:
    named = {
        (surface, operation["operation_id"], field)
        for surface, operation, schema in bodies()
        for field in schema.get("properties", {})
        if field in HOSTILE
    }
    assert named <= GIVING, named - GIVING


def mass_assigned() -> list[tuple[str, str, str, str]]:
    found = project.find(ROOT)
    return [
        (surface, operation["method"], f"{found.base_path(surface)}{operation['path']}", operation["operation_id"])
        for surface, operation, _ in bodies()
        if surface in ("thallus", "starter", "thalian", "beeflow") and operation["tag"] in IDENTITY_TAGS
    ]


@pytest.mark.parametrize(("surface", "method", "path", "operation_id"), mass_assigned())
def test_a_field_that_is_not_declared_is_refused_before_anything_happens(
    surface: str, method: str, path: str, operation_id: str, world: World
) -> None:
    recipe = RECIPES.get((surface, operation_id))
    if recipe is None:  # nobody has implemented it yet
        return
    made = recipe(world)
    who = made.who or (None if made.public else world.person(surface, platform_role="superadmin"))
    headers = {} if made.public or who is None else who.headers()
    before = standing(world, who)
    for field, value in HOSTILE.items():
        if (surface, operation_id, field) not in GIVING:
            hostile = dataclasses.replace(made, json={**(made.json or {}), field: value})
            reply = send(world, "", method, path, hostile, headers)
            assert reply.status_code in (400, 422), (field, reply.status_code, reply.text[:300])
    assert standing(world, who) == before


def standing(world: World, who: Person | None) -> Any:
    """What of somebody no request of their own may raise."""
    if who is None:
        return None
    with world.platform(who.organisation_id) as ctx:
        account = identity.accounts.get(ctx, who.account_id)
        membership = identity.memberships.get(ctx, who.account_id)
        return account.platform_role, account.email_verified_at, membership.role, membership.status


def test_who_signs_up_begins_unverified_and_as_nobody_in_particular(world: World, call: Caller) -> None:
    address = world.email()
    body = {"email": address, "password": "Staple-orbit-lantern-42", "name": "Ada", "captcha_token": "solved"}
    assert call("POST", "/thallus/api/v1/auth/register", json=body).status_code in (201, 202)
    refused = call("POST", SIGN_IN["thallus"], json={"email": address, "password": body["password"]})
    assert (refused.status_code, refused.json()["error"]) == (403, "email_not_verified")
    with world.anyone("thallus") as ctx:
        account = identity.accounts.find(ctx, address)
        assert account is not None
        assert (account.platform_role, account.email_verified_at) == (None, None)


@pytest.mark.parametrize("surface", ["starter", "thalian"])
def test_an_address_that_nobody_has_proved_opens_nothing_that_asks_for_a_permission(
    surface: str, world: World, call: Caller
) -> None:
    person = world.person("starter", verified=False)
    paths = {"starter": SETTINGS, "thalian": f"{WORKSPACE_KEYS}?workspaceId={person.organisation_id}"}
    assert call("GET", paths[surface], headers=person.headers()).status_code == 403


# --- raising oneself -----------------------------------------------------------------------------------------


def test_a_member_does_nothing_that_administrators_do(world: World, call: Caller) -> None:
    owner = world.person("starter")
    for role in ("member", "viewer", "auditor", "analyst", "agent"):
        person = starter_identity.member(world, owner, role)
        other = {"user_id": str(owner.account_id), "new_password": "Velvet-comet-harbour-77"}
        headers = person.headers()
        assert call("PUT", SETTINGS, json=starter_identity.settings(), headers=headers).status_code == 403
        assert call("POST", "/starter/api/v1/auth/password/reset", json=other, headers=headers).status_code == 403
        assert call("GET", "/starter/api/v1/auth/invites", headers=headers).status_code == 403
        assert call("GET", "/starter/api/v1/auth/service-accounts/tokens", headers=headers).status_code == 403


def test_an_administrator_takes_over_no_equal_no_owner_and_nobody_of_elsewhere(world: World, call: Caller) -> None:
    owner = world.person("starter")
    admin, equal = (starter_identity.member(world, owner, "admin") for _ in range(2))
    stranger = world.person("starter")
    operator = starter_identity.member(world, owner, "member", platform_role="support")
    for victim, status in ((owner, 403), (equal, 403), (admin, 403), (operator, 403), (stranger, 404)):
        body = {"user_id": str(victim.account_id), "new_password": "Velvet-comet-harbour-77"}
        reply = call("POST", "/starter/api/v1/auth/password/reset", json=body, headers=admin.headers())
        assert reply.status_code == status, (victim.role, reply.text)
        assert call.me("starter", victim.token).status_code == 200
    wide = {"X-Operator-Override": "true", "X-Operator-Reason": "Ticket 4711 of today"}
    issue = {"account": "support-console", "scopes": ["support:*"], "reason": "Nightly checks move"}
    url = "/starter/api/v1/auth/service-accounts/browser-issue"
    for headers in ({}, wide):
        assert call("POST", url, json=issue, headers={**admin.headers(), **headers}).status_code == 403


def test_the_only_administrator_of_others_cannot_leave(world: World, call: Caller) -> None:
    owner = world.person("thallus")
    shared(world, owner)
    member = world.person("thallus", organisation_id=owner.organisation_id, role="member")
    leave = {"password": owner.password, "reason": "Trying out"}
    url = "/thallus/api/v1/auth/account/delete"
    refused = call("POST", url, json=leave, headers=owner.headers())
    assert (refused.status_code, refused.json()["error"]) == (409, "sole_admin")
    assert call("POST", url, json=leave, headers=member.headers()).status_code in (200, 202)
    assert call.me("thallus", owner.token).status_code == 200


def shared(world: World, owner: Person) -> None:
    with world.platform(owner.organisation_id) as ctx:
        organisations.get_organisation(ctx).personal = False


# --- guessing ------------------------------------------------------------------------------------------------


def address(number: int) -> str:
    return f"198.51.100.{number}"


def attempt(second: Caller, surface: str, email: str, password: str, came_from: str) -> httpx.Response:
    body = {"email": email, "password": password}
    return second("POST", SIGN_IN[surface], json=body, headers={"X-Forwarded-For": came_from})


def test_many_addresses_together_get_no_more_guesses_at_one_account(world: World, second: Caller) -> None:
    known, unknown = world.person("thallus").email, world.email()
    seen = []
    for email in (known, unknown):
        statuses = [attempt(second, "thallus", email, "wrong-guess-1X", address(n)).status_code for n in range(1, 7)]
        right = attempt(second, "thallus", email, "Staple-orbit-lantern-42", address(50))
        assert (right.status_code, int(right.headers["retry-after"]) > 800) == (423, True), right.text
        seen.append((statuses, right.json()["error"]))
    assert seen[0] == seen[1], "a lock tells whether there is an account"
    assert seen[0][0] == [401] * 5 + [423]


def test_one_address_gets_few_guesses_at_many_accounts(world: World, second: Caller) -> None:
    person = world.person("starter")
    place = address(77)
    statuses = [
        attempt(second, "starter", world.email(), "wrong-guess-1X", f"{address(n)}, {place}").status_code
        for n in range(100, 112)  # what the client itself writes into the header does not make another caller of it
    ]
    assert statuses == [401] * 8 + [429] * 4
    waits = attempt(second, "starter", person.email, person.password, place)
    assert waits.status_code == 429
    assert 0 < int(waits.headers["retry-after"]) <= 600
    assert attempt(second, "starter", person.email, person.password, address(78)).status_code == 200


def test_an_ipv6_network_is_one_caller(world: World, second: Caller) -> None:
    statuses = [
        attempt(second, "starter", world.email(), "wrong-guess-1X", f"2001:db8:7:7::{n:x}").status_code
        for n in range(1, 11)
    ]
    assert statuses == [401] * 8 + [429] * 2
    assert attempt(second, "starter", world.email(), "wrong-guess-1X", "2001:db8:7:8::1").status_code == 401


def test_sign_ups_and_mails_are_counted_by_address(world: World, second: Caller) -> None:
    for path in ("login", "forgot-password", "reset-password", "verify-email"):
        headers = {"X-Forwarded-For": address(120 + len(path))}
        statuses = [
            second("POST", f"/thallus/api/v1/auth/{path}", json={}, headers=headers).status_code for _ in range(14)
        ]
        assert statuses.count(429) >= 3, (path, statuses)


def medians(make: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds by name, the ways taken in turn so that the machine's other work falls on all alike."""
    taken: dict[str, list[float]] = {name: [] for name in make}
    for turn in range(rounds + 2):
        for name, act in make.items():
            begun = time.perf_counter()
            act()
            if turn > 1:
                taken[name].append((time.perf_counter() - begun) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


def alike(found: Mapping[str, float], slack: float, ratio: float) -> bool:
    least, most = min(found.values()), max(found.values())
    return most - least <= slack or most / least <= ratio


def test_time_does_not_tell_how_much_of_a_key_is_right(world: World, call: Caller) -> None:
    person = world.person("thallus")
    with world.acting(person) as ctx:
        _, plain = identity.issue_api_key(ctx, "key", ["full"], "thallus", account_id=person.account_id)
    client = httpx.Client(base_url=call.url, timeout=30)

    def tried(kept: int) -> Callable[[], None]:
        def act() -> None:
            guess = plain[:kept] + crypto.token("")[: len(plain) - kept]
            assert client.get(ME["thallus"], headers={"X-API-Key": guess}).status_code == 401

        return act

    found = medians({"nothing": tried(5), "the shown part": tried(11), "all but two": tried(len(plain) - 2)}, 60)
    client.close()
    assert alike(found, 1.5, 1.35), found


@pytest.mark.parametrize("surface", SIGN_IN)
def test_time_does_not_tell_whether_an_address_has_an_account_to_sign_in_to(
    surface: str, world: World, call: Caller
) -> None:
    people = [world.person(surface).email for _ in range(8)]
    client = httpx.Client(base_url=call.url, timeout=30)

    def tried(emails: Callable[[], str]) -> Callable[[], None]:
        def act() -> None:
            reply = client.post(SIGN_IN[surface], json={"email": emails(), "password": "wrong-guess-1X"})
            assert reply.status_code == 401

        return act

    turns = iter(people * 3)
    found = medians({"known": tried(lambda: next(turns)), "unknown": tried(world.email)}, 22)
    client.close()
    assert alike(found, 8, 1.35), found


@pytest.mark.parametrize("surface", ["thallus", "starter"])
def test_time_does_not_tell_whether_an_address_has_an_account_to_reset(
    surface: str, world: World, call: Caller
) -> None:
    people = iter([world.person(surface).email for _ in range(24)])
    path = {"thallus": "/thallus/api/v1/auth/forgot-password", "starter": "/starter/api/v1/auth/password/forgot"}
    more = {"captcha_token": "solved"} if surface == "thallus" else {}
    client = httpx.Client(base_url=call.url, timeout=30)

    def tried(emails: Callable[[], str]) -> Callable[[], None]:
        def act() -> None:
            reply = client.post(path[surface], json={"email": emails(), **more})
            assert reply.status_code in (200, 202), reply.text

        return act

    found = medians({"known": tried(lambda: next(people)), "unknown": tried(world.email)}, 22)
    client.close()
    assert alike(found, 5, 1.5), found


def test_time_does_not_tell_whether_an_address_has_an_account_to_sign_up_with(world: World, call: Caller) -> None:
    people = iter([world.person("thallus").email for _ in range(24)])
    client = httpx.Client(base_url=call.url, timeout=30)

    def tried(emails: Callable[[], str]) -> Callable[[], None]:
        def act() -> None:
            body = {"email": emails(), "password": "Velvet-comet-harbour-77", "name": "Ada", "captcha_token": "solved"}
            reply = client.post("/thallus/api/v1/auth/register", json=body)
            assert reply.status_code == 201, reply.text

        return act

    found = medians({"known": tried(lambda: next(people)), "unknown": tried(world.email)}, 22)
    client.close()
    assert alike(found, 8, 1.35), found


# --- at once, everywhere ---------------------------------------------------------------------------------------


def gone_soon(call: Caller, method: str, path: str, headers: Mapping[str, str], *statuses: int) -> None:
    """A process that has just let somebody in refuses them within `AT_ONCE`."""
    begun = time.monotonic()
    while (reply := call(method, path, headers=headers)).status_code not in (statuses or (401,)):
        assert time.monotonic() - begun < AT_ONCE, f"{reply.status_code} after {AT_ONCE} s: {reply.text[:300]}"
        time.sleep(0.02)


End = Callable[[World, Caller, Person], Any]


def account_of(world: World, person: Person, **changes: Any) -> None:
    """What operators do to an account, as their command does it."""
    with world.platform() as ctx:
        account = ctx.session.get(Account, person.account_id)
        assert account is not None
        for field, value in changes.items():
            setattr(account, field, value)
        identity.revocations.announce(ctx, "user", person.account_id)


def by_administrator(world: World, person: Person, act: Callable[[Any, UUID], Any]) -> None:
    chief = world.person("beeflow", organisation_id=person.organisation_id, role="owner")
    with world.acting(chief) as ctx:
        act(ctx, person.account_id)


def closed(world: World, call: Caller, person: Person) -> None:
    with world.platform(person.organisation_id) as ctx:
        identity.close_organisation(ctx)


def confined(world: World, call: Caller, person: Person) -> None:
    with world.platform(person.organisation_id) as ctx:
        organisations.allow_networks(ctx, ["203.0.113.0/24"])


def ended(world: World, call: Caller, person: Person) -> None:
    with world.acting(person) as ctx:
        sessions.revoke_sessions(ctx, person.account_id, "signed_out")
        keys.revoke_keys_of(ctx, person.account_id)


def signed_out(world: World, call: Caller, person: Person) -> None:
    paths = {"thallus": "/thallus/api/v1/auth/logout", "starter": "/starter/api/v1/auth/logout/all"}
    assert call("POST", paths[person.surface], headers=person.headers()).status_code == 200


def leaves(world: World, call: Caller, person: Person) -> None:
    body = {"password": person.password}
    reply = call("POST", "/thallus/api/v1/auth/account/delete", json=body, headers=person.headers())
    assert reply.status_code in (200, 202), reply.text


BOTH: Mapping[str, tuple[End, int]] = {
    "everything of theirs was revoked": (ended, 401),
    "their account was deactivated": (
        lambda world, call, person: account_of(world, person, deactivated_at=datetime.now(UTC)),
        401,
    ),
    "they were disabled in the organisation": (
        lambda world, call, person: by_administrator(
            world, person, lambda ctx, who: members.change(ctx, who, status="disabled")
        ),
        401,
    ),
    "they were removed from the organisation": (
        lambda world, call, person: by_administrator(world, person, members.remove),
        401,
    ),
    "the organisation was closed": (closed, 401),
    "the organisation confined its addresses": (confined, 403),
    "they asked for deletion": (leaves, 401),
}


@pytest.mark.parametrize("why", BOTH)
def test_a_second_process_refuses_session_and_key_at_once_when(
    why: str, world: World, call: Caller, second: Caller
) -> None:
    end, status = BOTH[why]
    owner = world.person("thallus")
    person = world.person("thallus", organisation_id=owner.organisation_id, role="member")
    with world.acting(person) as ctx:
        _, key = identity.issue_api_key(ctx, "key", ["full"], "thallus", account_id=person.account_id)
    credentials = (person.headers(), {"X-API-Key": key})
    for headers in credentials * 2:  # known to the second process from here on
        assert second("GET", ME["thallus"], headers=headers).status_code == 200
    end(world, call, person)
    for headers in credentials:
        gone_soon(second, "GET", ME["thallus"], headers, status)


@pytest.mark.parametrize("surface", ["thallus", "starter"])
def test_a_second_process_knows_at_once_who_has_signed_out(
    surface: str, world: World, call: Caller, second: Caller
) -> None:
    person = world.person(surface)
    other = world.again(person)
    for who in (person, other):
        assert second.me(surface, who.token).status_code == 200
    signed_out(world, call, person)
    gone_soon(second, "GET", ME[surface], person.headers())
    # Starter's operation ends all sessions, Thallus' the one that asks.
    assert second.me(surface, other.token).status_code == (200 if surface == "thallus" else 401)


def test_a_second_process_knows_at_once_that_a_key_was_revoked(world: World, call: Caller, second: Caller) -> None:
    person = world.person("thallus")
    made = call("POST", KEYS, json={"name": "Nightly"}, headers=person.headers()).json()
    key = {"X-API-Key": made["key"]}
    assert second("GET", ME["thallus"], headers=key).status_code == 200
    assert call("DELETE", f"{KEYS}/{made['id']}", headers=person.headers()).status_code == 204
    gone_soon(second, "GET", ME["thallus"], key)
    assert second("GET", ME["thallus"], headers=person.headers()).status_code == 200


def test_a_second_process_knows_at_once_that_thaliums_key_was_revoked(
    world: World, running: Any, tenants: Any, second: Caller
) -> None:
    tenant = tenants()
    path = f"/thalium/v1/brain/{tenant.brain_id}/status"
    headers = tenant.headers()
    assert second("GET", path, headers=headers).status_code == 200
    with world.platform(tenant.organisation_id) as ctx:
        for key in identity.list_api_keys(ctx).items:
            identity.revoke_api_key(ctx, key.id)
    gone_soon(second, "GET", path, headers)


def test_a_second_process_knows_at_once_that_a_machines_token_was_revoked(
    world: World, call: Caller, second: Caller
) -> None:
    owner = world.person("starter")
    token_id, plain = starter_identity.machine_token(world, owner)
    access = call("POST", "/starter/api/v1/auth/refresh", json={"refresh_token": plain}).json()["access_token"]
    assert second.me("starter", access).status_code == 200
    url = f"/starter/api/v1/auth/service-accounts/tokens/{token_id}/revoke"
    assert call("POST", url, json={"reason": "Host retired"}, headers=owner.headers()).status_code == 200
    gone_soon(second, "GET", ME["starter"], bearer(access))


def test_a_second_process_knows_at_once_that_a_role_was_lowered(world: World, second: Caller) -> None:
    owner = world.person("starter")
    person = starter_identity.member(world, owner, "admin", platform_role="support")
    assert second("GET", "/starter/api/v1/auth/invites", headers=person.headers()).status_code == 200
    with world.platform() as ctx:
        operators.set_platform_role(ctx, identity.accounts.get(ctx, person.account_id), None)
    gone_soon(second, "GET", "/starter/api/v1/auth/invites", person.headers(), 403)
    assert second("GET", SETTINGS, headers=person.headers()).status_code == 200
    by_administrator(world, person, lambda ctx, who: members.change(ctx, who, surface_role="user"))
    gone_soon(second, "GET", SETTINGS, person.headers(), 403)


# --- the IP allowlist --------------------------------------------------------------------------------------------


def test_the_allowlist_is_asked_for_every_request_anew(world: World, call: Caller, second: Caller) -> None:
    person = world.person("thallus")
    with world.acting(person) as ctx:
        _, key = identity.issue_api_key(ctx, "key", ["full"], "thallus", account_id=person.account_id)
        _, workspace = identity.issue_api_key(ctx, "key", ["read"], "thalian")
    with world.platform(person.organisation_id) as ctx:
        organisations.allow_networks(ctx, ["203.0.113.0/24", "2001:db8:5::/48"])
    gone_soon(second, "GET", ME["thallus"], person.headers(), 403)
    inside = ("203.0.113.9", "2001:db8:5::9", "::ffff:203.0.113.9", "198.51.100.1, 203.0.113.9")
    outside = ("198.51.100.1", "203.0.114.1", "203.0.113.9, 198.51.100.1", "2001:db8:6::1", "nonsense")
    for headers in (person.headers(), {"X-API-Key": key}):
        for forwarded, status in [*((one, 200) for one in inside), *((one, 403) for one in outside)] * 2:
            reply = second("GET", ME["thallus"], headers={**headers, "X-Forwarded-For": forwarded})
            assert reply.status_code == status, (forwarded, reply.text)
    for forwarded, status in ((inside[0], False), (outside[0], True)):
        reply = second("GET", FINDINGS, headers={**bearer(workspace), "X-Forwarded-For": forwarded})
        assert (reply.status_code == 403, reply.status_code == 401) == (status, False), reply.text
    # A process that trusts no proxy hears the address from the connection alone.
    for name in ("X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "Forwarded", "X-Client-IP"):
        told = "for=203.0.113.9" if name == "Forwarded" else "203.0.113.9"
        assert call("GET", ME["thallus"], headers={**person.headers(), name: told}).status_code == 403, name


def test_nobody_sets_a_list_that_locks_them_out(world: World) -> None:
    person = world.person("thallus")
    with pytest.raises(Conflict), world.acting(person) as ctx:
        organisations.allow_networks(ctx, ["203.0.113.0/24"])
    with world.platform(person.organisation_id) as ctx:
        assert list(organisations.get_organisation(ctx).networks) == []
