"""Every failure that a contract of identity declares is reached: each operation, each 4xx and 5xx, one request that is
answered so, in the surface's own error body.

What fails alike everywhere is provoked here by what the contract says of the operation; what is particular stands in
`recipes/failures_*.py`. A status that is declared and cannot be reached fails this test, unless it has a reason below.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from recipes import RECIPES, Call, Person, World, federation, send
from recipes.failures import FAILURES
from recipes.world import OPERATORS
from redis import Redis
from sqlalchemy import text

from domain import identity
from domain.kernel import idempotency
from thalweg.edge.schema import Compiler
from thalweg.embedded.valkey import Valkey

ROOT = Path(__file__).resolve().parent.parent
DECLARED_FAILURES_OF = {
    "thallus": {"auth", "api-keys"},
    "thalian": {"api-keys"},
    "beeflow": {
        "auth",
        "account",
        "signup",
        "sso",
        "connector",
        "users",
        "api-keys",
        "organisation",
        "groups",
    },
    "starter": {"auth", "account", "sessions", "service-accounts", "signup", "invites", "tenants"},
}
"""The tags whose operations are asked; conftest makes a test of each status that they declare."""

EVERYWHERE = {
    408: "the edge waits half a minute for a body that does not come, whatever the operation: test_hostile has it",
    500: "only a defect makes it: tests/edge has what is answered then",
}
BROKEN = {"thallus": 422, "starter": 422, "beeflow": 400, "thalian": 400}
"""What a request that breaks the contract is answered with."""
NARROW = 3
"""Requests a minute, whatever the limit, on the platform `guarded`."""


# --- platforms -----------------------------------------------------------------------------------------------


@dataclass
class Platforms:
    """The platform of all tests, and those on which happens what cannot happen there: see `recipes.failures`."""

    running: World
    make: Callable[..., Any]
    folder: Path
    worlds: dict[str, World] = field(default_factory=dict)
    valkeys: dict[str, Valkey] = field(default_factory=dict)

    def at(self, name: str) -> World:
        """The world of a platform, which is started when it is first needed; verbs act as that platform from now on."""
        world = self.running if name == "running" else self.worlds.get(name) or self._start(name)
        identity.tokens.configure(world.url)
        return world

    def forget(self, name: str) -> None:
        """Nothing counts towards a limit any more."""
        Redis.from_url(self.valkeys[name].url).flushall()

    def lose_valkey(self, name: str) -> None:
        valkey = self.valkeys[name]
        assert valkey.process is not None
        valkey.process.kill()
        valkey.process.wait()
        valkey.stop()

    def stop(self) -> None:
        for valkey in self.valkeys.values():
            valkey.stop()

    def _start(self, name: str) -> World:
        valkey = self.valkeys[name] = Valkey(self.folder / f"failures-{name}", volatile=True)
        valkey.start()
        given = {k: v for k, v in federation.providers().settings().items() if not k.startswith("oauth_")}
        platform = self.make(name, valkey.url, **given, **OWN[name])
        self.worlds[name] = World(platform.url, platform.database, platform.logs / "data")
        return self.worlds[name]


def _limits(rate: str) -> str:
    names: list[str] = []
    for surface in DECLARED_FAILURES_OF:
        declared = tomllib.loads((ROOT / "openapi" / surface / "limits.toml").read_text())
        names += [name for name, limit in declared.items() if "rate" in limit]
    return ",".join(f"{name}={rate}" for name in names)


OWN: Mapping[str, Mapping[str, str]] = {
    "guarded": {
        "limits": _limits(f"{NARROW}/minute"),
        "captcha": "altcha",
        "guard_setup": "on",
        "service_account_vault": "",
        "oauth_google": "client:secret",
        "oauth_google_url": "http://127.0.0.1:9",
    },
    "lame": {
        "limits": _limits("100000/minute"),
        "oauth_microsoft": "client:secret",
        "oauth_microsoft_url": "http://127.0.0.1:9",
    },
}


@pytest.fixture(scope="module")
def platforms_of(world: World, platforms: Callable[..., Any], server_folder: Path) -> Iterator[Platforms]:
    made = Platforms(world, platforms, server_folder)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def compilers() -> dict[str, Compiler]:
    return {}


# --- what fails alike everywhere -----------------------------------------------------------------------------


def _prepared(operation: Any, world: World) -> tuple[Call, Person | None]:
    """The call that would succeed, and whose it is."""
    call = RECIPES[operation.surface, operation.id](world)
    return call, _caller(operation, call, world)


def _caller(operation: Any, call: Call, world: World) -> Person | None:
    if call.who is not None or call.public:
        return call.who
    needed = operation.entry["extensions"].get("x-permission")
    return world.person(operation.surface, platform_role="superadmin" if needed in OPERATORS else None)


def _perform(operation: Any, world: World, call: Call, who: Person | None, **headers: str) -> httpx.Response:
    given = {} if who is None or call.public else who.headers()
    return send(world, operation.base_path, operation.entry["method"], operation.entry["path"], call, given | headers)


def _broken(operation: Any, world: World) -> httpx.Response:
    """A parameter that the contract does not know."""
    call, who = _prepared(operation, world)
    call.query = {**call.query, "surplus": "1"}
    return _perform(operation, world, call, who)


def _nobody(operation: Any, world: World) -> httpx.Response:
    call, _ = _prepared(operation, world)
    call.headers, call.cookies, call.public = {}, {}, True
    return _perform(operation, world, call, None)


def _elsewhere(operation: Any, world: World) -> httpx.Response:
    """From an address that the organisation does not let in."""
    call, who = _prepared(operation, world)
    assert who is not None, "nobody's: this needs a recipe of its own"
    with world.platform(who.organisation_id) as ctx:
        identity.organisations.allow_networks(ctx, ["203.0.113.0/24"])
    return _perform(operation, world, call, who)


def _missing(operation: Any, world: World) -> httpx.Response:
    call, who = _prepared(operation, world)
    assert any(isinstance(value, UUID) for value in call.path.values()), "no id: this needs a recipe of its own"
    call.path = {name: uuid4() if isinstance(value, UUID) else value for name, value in call.path.items()}
    return _perform(operation, world, call, who)


def _unwritable(operation: Any, world: World) -> httpx.Response:
    """Asked for in a form that there is not."""
    call, who = _prepared(operation, world)
    return _perform(operation, world, call, who, Accept="application/x-nothing")


def _body(operation: Any, world: World, content: bytes, media_type: str | None) -> httpx.Response:
    call, who = _prepared(operation, world)
    kind = media_type or next(iter(operation.entry["request"]["content"]))
    call.json, call.form, call.content = None, None, content
    call.headers = {**call.headers, "Content-Type": kind}
    return _perform(operation, world, call, who)


def _large(operation: Any, world: World) -> httpx.Response:
    most = operation.entry["extensions"].get("x-max-bytes", 1 << 20)
    return _body(operation, world, b" " * (most + 1), None)


def _of_another_kind(operation: Any, world: World) -> httpx.Response:
    return _body(operation, world, b"something else", "text/plain")


def _twice(operation: Any, world: World) -> httpx.Response:
    """The key of a request that was answered, with another request."""
    assert "x-idempotency" in operation.entry["extensions"], "no key: this needs a recipe of its own"
    call, who = _prepared(operation, world)
    key = {"Idempotency-Key": str(uuid4())}
    assert _perform(operation, world, call, who, **key).is_success
    changed = {name: value for name, value in OTHERWISE.items() if name in call.json}
    assert changed, "which member to change is not known: this needs a recipe of its own"
    call.json = call.json | changed
    return _perform(operation, world, call, who, **key)


OTHERWISE = {
    "email": "somebody.else@example.org",
    "name": "Something else",
    "origin": "https://elsewhere.example",
    "userId": str(UUID(int=1)),
    "version": "2031-01",
}
"""Members of bodies, and values that make another request of one."""


def _at_once(operation: Any, world: World) -> httpx.Response:
    """The key of a request that is still under way."""
    assert "x-idempotency" in operation.entry["extensions"], "no key: this needs a recipe of its own"
    call, who = _prepared(operation, world)
    key = str(uuid4())
    organisation_id = None if who is None or call.public else who.organisation_id
    held = key if organisation_id is not None else f"127.0.0.1 {key}"
    number = idempotency._lock(organisation_id, f"{operation.surface}.{operation.id}", held)
    with world.database.session(None, platform=True) as session:
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
        return _perform(operation, world, call, who, **{"Idempotency-Key": key})


PROVOKED: Mapping[int, Callable[[Any, World], httpx.Response]] = {
    401: _nobody,
    403: _elsewhere,
    404: _missing,
    406: _unwritable,
    409: _at_once,
    413: _large,
    415: _of_another_kind,
}


def _too_many(operation: Any, platforms: Platforms) -> httpx.Response:
    world = platforms.at("guarded")
    platforms.forget("guarded")
    own = FAILURES.get((operation.surface, operation.id, 429))
    if own is None:
        call, who = _prepared(operation, world)
        call.query = {**call.query, "surplus": "1"}  # limits come first: nothing is done, however often it is asked
        platforms.forget("guarded")  # what was prepared may have counted, too
    else:
        call = own.make(world)
        who = _caller(operation, call, world)
    for _ in range(NARROW + 1):
        reply = _perform(operation, world, call, who)
        if reply.status_code == 429:
            break
    assert int(reply.headers["retry-after"]) >= 1, reply.text
    return reply


@pytest.fixture(scope="module")
def without_valkey(request: pytest.FixtureRequest, platforms_of: Platforms) -> dict[str, httpx.Response]:
    """What operations that change something answer while nothing can be counted: all are prepared, Valkey is killed,
    and all are sent. A platform is lamed once."""
    world = platforms_of.at("lame")
    asked = [
        item.callspec.params["declared_failure"]
        for item in request.session.items
        if hasattr(item, "callspec") and "declared_failure" in item.callspec.params
    ]
    wanted = [o for o, status in asked if status == 503 and (o.surface, o.id, 503) not in FAILURES]
    ready = [(operation, *_prepared(operation, world)) for operation in wanted]
    platforms_of.lose_valkey("lame")
    replies = {
        f"{operation.surface}.{operation.id}": _perform(operation, world, call, who) for operation, call, who in ready
    }
    world.tidy()
    return replies


# --- the test ------------------------------------------------------------------------------------------------


def test_a_declared_failure_is_reached(
    declared_failure: tuple[Any, int],
    platforms_of: Platforms,
    compilers: dict[str, Compiler],
    request: pytest.FixtureRequest,
) -> None:
    operation, status = declared_failure
    own = FAILURES.get((operation.surface, operation.id, status))
    try:
        if status == 429:
            reply = _too_many(operation, platforms_of)
        elif own is not None:
            world = platforms_of.at(own.on)
            if own.on == "guarded":
                platforms_of.forget("guarded")
            call = own.make(world)
            reply = _perform(operation, world, call, _caller(operation, call, world))
        elif status == 503:
            reply = request.getfixturevalue("without_valkey")[f"{operation.surface}.{operation.id}"]
        elif status == BROKEN[operation.surface]:
            reply = _broken(operation, platforms_of.at("running"))
        else:
            provoke = _twice if status == 422 else PROVOKED[status]
            reply = provoke(operation, platforms_of.at("running"))
    finally:
        for world in (platforms_of.running, *platforms_of.worlds.values()):
            world.tidy()
    assert reply.status_code == status, reply.text[:1000]
    declared = operation.resolved(operation.declared["responses"][str(status)])
    schema = declared["content"]["application/json"]["schema"]
    compiler = compilers.setdefault(operation.surface, Compiler(operation.document))
    assert compiler.compile(schema, "response").violations(reply.json()) == ()


def test_no_failure_is_described_that_no_contract_declares(declared_failures: frozenset[tuple[str, str, int]]) -> None:
    assert FAILURES.keys() - declared_failures == set()
