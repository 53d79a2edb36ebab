"""How operations fail: what test_failures_of_* have in common.

What fails alike everywhere (no credential, a body of another kind, too many requests, ...) is provoked here by what the
contract says of the operation; what is particular stands in `recipes/failures_*.py`.
"""

from __future__ import annotations

import http.client
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import psycopg
from psycopg import sql
from redis import Redis
from sqlalchemy import text

from domain import identity
from domain.kernel import idempotency
from recipes import RECIPES, Call, Person, World, beeflow_transcriptions, federation, send
from recipes.failures import FAILURES, STREAMS
from recipes.world import OPERATORS
from thalweg.contract import project
from thalweg.edge.security import SAFE
from thalweg.embedded.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]
EVERYWHERE = {
    408: "the edge waits half a minute for a body that does not come, whatever the operation: test_hostile has it",
    500: "only a defect makes it: tests/edge has what is answered then",
}
BROKEN = {"thallus": 422, "starter": 422, "thalium": 400, "beeflow": 400, "thalian": 400}
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
    started: list[Any] = field(default_factory=list)

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

    @contextmanager
    def without_database(self, name: str) -> Iterator[None]:
        """Meanwhile the platform's database takes no connection, and those that there were are gone."""
        url = self.at(name).database.url
        server = url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        held = sql.Identifier(str(url.database))
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(allow.format(held, sql.SQL("false")))
            try:
                ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
                connection.execute(ending, [url.database])
                yield
            finally:
                connection.execute(allow.format(held, sql.SQL("true")))

    def stop(self) -> None:
        """The platforms before the servers that they are on."""
        for platform in self.started:
            platform.stop()
        for valkey in self.valkeys.values():
            valkey.stop()

    def _start(self, name: str) -> World:
        valkey = self.valkeys[name] = Valkey(self.folder / name, volatile=True)
        valkey.start()
        given = {k: v for k, v in federation.providers().settings().items() if not k.startswith("oauth_")}
        given |= beeflow_transcriptions.settings()
        platform = self.make(f"{self.folder.name}-{name}", valkey.url, **given, **OWN[name])
        self.started.append(platform)
        self.worlds[name] = World(platform.url, platform.database, platform.logs / "data", platform.processes)
        return self.worlds[name]


def limits(rate: str) -> str:
    """The setting that makes `rate` of every rate limit of every contract."""
    names: list[str] = []
    for surface in project.find(ROOT).surfaces:
        declared = tomllib.loads((ROOT / "openapi" / surface / "limits.toml").read_text())
        names += [name for name, limit in declared.items() if "rate" in limit]
    return ",".join(f"{name}={rate}" for name in names)


OWN: Mapping[str, Mapping[str, str]] = {
    "guarded": {
        "limits": limits(f"{NARROW}/minute"),
        "stream_connections": str(STREAMS),
        "captcha": "altcha",
        "guard_setup": "on",
        "starter_usage_guardrails": "starter=2,enterprise=unlimited",
        "service_account_vault": "",
        "oauth_google": "client:secret",
        "oauth_google_url": "http://127.0.0.1:9",
    },
    "lame": {
        "limits": limits("100000/minute"),
        "oauth_microsoft": "client:secret",
        "oauth_microsoft_url": "http://127.0.0.1:9",
    },
}


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
    """Of what its path names, nothing is there."""
    call, who = _prepared(operation, world)
    assert any(_is_id(value) for value in call.path.values()), "no id: this needs a recipe of its own"
    call.path = {name: uuid4() if _is_id(value) else value for name, value in call.path.items()}
    return _perform(operation, world, call, who)


def _is_id(value: Any) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True


def _unwritable(operation: Any, world: World) -> httpx.Response:
    """Asked for in a form that there is not."""
    call, who = _prepared(operation, world)
    return _perform(operation, world, call, who, Accept="application/x-nothing")


def _large(operation: Any, world: World) -> httpx.Response:
    """A length past the limit, which is refused before a byte has come."""
    call, who = _prepared(operation, world)
    kind = next(iter(operation.entry["request"]["content"]))
    path = f"{operation.base_path}{operation.entry['path']}"
    for name, value in call.path.items():
        path = path.replace(f"{{{name}}}", str(value))
    most = operation.entry["extensions"].get("x-max-bytes", 1 << 20)
    given = {} if who is None or call.public else who.headers()
    cookies = {"Cookie": "; ".join(f"{k}={v}" for k, v in call.cookies.items())} if call.cookies else {}
    length = {"Content-Type": f"{kind}; boundary=b", "Content-Length": str(most + 1)}
    address = urlsplit(world.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    try:
        connection.putrequest(operation.entry["method"], path)
        for name, value in {**given, **call.headers, **cookies, **length}.items():
            connection.putheader(name, value)
        connection.endheaders()
        reply = connection.getresponse()
        return httpx.Response(reply.status, content=reply.read(), headers=dict(reply.getheaders()))
    finally:
        connection.close()


def _of_another_kind(operation: Any, world: World) -> httpx.Response:
    call, who = _prepared(operation, world)
    call.json, call.form, call.files, call.content = None, None, None, b"something else"
    return _perform(operation, world, call, who, **{"Content-Type": "text/plain"})


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


AMBIENT = {
    *("connection", "content-length", "content-type", "date", "server", "transfer-encoding", "vary"),
    *("referrer-policy", "strict-transport-security", "x-content-type-options", "x-frame-options"),
    *("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "deprecation", "sunset"),
}
"""Headers of whatever answer, which no contract names for each status: what HTTP itself needs, what protects browsers,
and what is told of an operation (its limit, its end) whether it succeeds or not."""


def headers_as_declared(operation: Any, declared: Mapping[str, Any], reply: httpx.Response) -> None:
    """The answer has what the contract promises, and nothing that it does not know."""
    headers = {name.lower(): operation.resolved(header) for name, header in declared.get("headers", {}).items()}
    promised = {name for name, header in headers.items() if header.get("required")}
    assert promised <= reply.headers.keys(), "promised and not sent"
    assert reply.headers.keys() - headers.keys() <= AMBIENT, "sent and not declared"
    if "retry-after" in reply.headers:
        seconds = reply.headers["retry-after"]
        schema = headers["retry-after"]["schema"]
        assert seconds.isdecimal(), seconds
        assert schema["minimum"] <= int(seconds) <= schema["maximum"]


# --- a failure -----------------------------------------------------------------------------------------------


def reach(operation: Any, status: int, platforms: Platforms, unavailable: Callable[[], httpx.Response]) -> Any:
    """The answer to a request that is to fail with `status`; `unavailable` knows the one of `replies_when_lame`."""
    own = FAILURES.get((operation.surface, operation.id, status))
    try:
        if status == 429:
            return _too_many(operation, platforms)
        if own is not None:
            world = platforms.at(own.on)
            if own.on == "guarded":
                platforms.forget("guarded")
            call = own.make(world)
            return _perform(operation, world, call, _caller(operation, call, world))
        if status == 503:
            return unavailable()
        if status == BROKEN[operation.surface]:
            return _broken(operation, platforms.at("running"))
        provoke = _twice if status == 422 else PROVOKED[status]
        return provoke(operation, platforms.at("running"))
    finally:
        for world in (platforms.running, *platforms.worlds.values()):
            world.tidy()


def replies_when_lame(operations: list[Any], platforms: Platforms) -> dict[str, httpx.Response]:
    """What operations answer while what they need is away: nothing can be counted for those that change something, and
    there is no database for the others. All are prepared, then Valkey is killed, then the database is closed. A
    platform is lamed once."""
    world = platforms.at("lame")
    people: dict[str, Person] = {}
    writing = [(o, *_prepared(o, world)) for o in operations if o.entry["method"] not in SAFE]
    reading = [(o, *_pointed(o, world, people)) for o in operations if o.entry["method"] in SAFE]
    platforms.lose_valkey("lame")
    replies = {f"{o.surface}.{o.id}": _perform(o, world, call, who) for o, call, who in writing}
    with platforms.without_database("lame"):
        replies |= {f"{o.surface}.{o.id}": _perform(o, world, call, who) for o, call, who in reading}
    world.tidy()
    return replies


def _pointed(operation: Any, world: World, people: dict[str, Person]) -> tuple[Call, Person | None]:
    """A call that is well addressed, by somebody with a session where that opens the operation: nobody gets as far as
    to look for what it names, since whose the session is cannot be told without a database."""
    schemes = {scheme for option in operation.entry["security"] for scheme in option}
    if schemes.isdisjoint(SESSIONS):
        return _prepared(operation, world)
    who = people.get(operation.surface) or people.setdefault(operation.surface, world.person(operation.surface))
    named = [each["name"] for each in operation.entry["parameters"] if each["in"] == "path"]
    return Call(path={name: uuid4() for name in named}), who


SESSIONS = frozenset({"bearerAuth", "session"})
"""The security schemes, of whichever surface, that a `Person` signs in by."""
