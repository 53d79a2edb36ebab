"""The whole platform, running: API, worker and scheduler as processes of their own, on servers of this run.

Replies that break their contract are errors here (`response_mismatch=raise` answers 500 and says so in the log).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import recipes
from recipes import World, beeflow_transcriptions, federation, provoking
from recipes.attacks import Caller, another_process
from recipes.failures import FAILURES
from recipes.starter_identity import VAULT_SECRET
from sqlalchemy import and_, func, or_, select

from domain import brains, identity
from domain.identity import roles
from domain.kernel import crypto
from domain.kernel.context import Ctx, SystemActor
from domain.kernel.db import Database
from domain.kernel.outbox import Job
from domain.startup import load_tables
from thalweg.contract import handlers, project
from thalweg.edge.schema import Compiler
from thalweg.embedded.valkey import Valkey

ROOT = Path(__file__).resolve().parent.parent
KEYED = {"thalium"}
"""Surfaces whose credential `Tenant.headers` sends."""


@dataclass
class Tenant:
    """An organisation with a brain and keys."""

    organisation_id: UUID
    brain_id: UUID
    key: str
    keys: dict[str, str] = field(default_factory=dict)
    """Further keys by what they may: `invoke`, `memory:read`, ..."""
    owned: dict[str, UUID] = field(default_factory=dict)
    """One of its own of each type of `x-resource`."""

    def headers(self, scope: str | None = None) -> dict[str, str]:
        return {"X-API-Key": self.key if scope is None else self.keys[scope]}


@dataclass(frozen=True, repr=False)
class Operation:
    """An operation that is implemented, as the manifest has it."""

    surface: str
    base_path: str
    entry: Mapping[str, Any]
    document: Mapping[str, Any]
    """The bundle."""

    @property
    def declared(self) -> Mapping[str, Any]:
        """The operation object."""
        found: Mapping[str, Any] = self.document["paths"][self.entry["path"]][self.entry["method"].lower()]
        return found

    @property
    def id(self) -> str:
        return str(self.entry["operation_id"])

    @property
    def refused_role(self) -> str | None:
        """A role of members that lacks the permission it asks for. A key's scope (`mcp:*`) is no role's."""
        needed = self.entry["extensions"].get("x-permission")
        if needed is None or needed.startswith("mcp:"):
            return None
        lacking = (role for role in ("viewer", "member") if needed not in roles.permissions_of(self.surface, role))
        return next(lacking, None)

    def body(self) -> Any:
        """The first example of its JSON body, None where it takes none."""
        return next(iter(self.bodies().values()), None)

    def bodies(self) -> dict[str, Any]:
        """The examples of its JSON body by name."""
        media = self.declared.get("requestBody", {}).get("content", {}).get("application/json", {})
        examples = {name: example["value"] for name, example in media.get("examples", {}).items()}
        return examples or ({"example": media["example"]} if "example" in media else {})

    def parameters(self) -> list[Mapping[str, Any]]:
        """Its parameters, with those of its path."""
        item = self.document["paths"][self.entry["path"]]
        found = [self.resolved(p) for p in (*item.get("parameters", ()), *self.declared.get("parameters", ()))]
        return [{**parameter, "schema": self.resolved(parameter["schema"])} for parameter in found]

    def resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def path(self, owner: Tenant) -> str:
        """Its path with the id of what `owner` owns. A type that nobody owns yet is a KeyError: see Running.tenant."""
        resource = self.entry["extensions"].get("x-resource")
        filled = str(self.entry["path"])
        if resource is not None:
            filled = filled.replace(f"{{{resource['id']}}}", str(owner.owned[resource["type"]]))
        return f"{self.base_path}{filled}"


def _implemented() -> Iterator[Operation]:
    """Operations whose handlers do more than answer 501."""
    found = project.find(ROOT)
    for surface, base_path in found.surfaces.items():
        manifest = json.loads((found.generated / surface / "operations.json").read_bytes())
        document = json.loads((found.generated / surface / "bundle.json").read_bytes())
        modules, _ = handlers.read(found, surface)
        for entry in manifest["operations"]:
            module, name = entry["handler"].rsplit(".", 1)[1].split(":")
            if not modules[module][name].not_implemented:
                yield Operation(surface, base_path, entry, document)


BY_RECIPE: Mapping[str, Callable[[Operation], bool]] = {
    "recipe_operation": lambda o: True,
    "resource_operation": lambda o: "x-resource" in o.entry["extensions"],
    "permitted_operation": lambda o: o.refused_role is not None,
    "closed_operation": lambda o: bool(o.entry["security"]) and {} not in o.entry["security"],
    "repeatable_operation": lambda o: "x-idempotency" in o.entry["extensions"],
}
"""What a test may take of the surfaces whose operations have recipes: all; those on something of an organisation's own;
those that some member may not call; those that nobody may call without a credential; those that take an idempotency
key."""


def _failures(tags: Mapping[str, Collection[str]]) -> list[tuple[Operation, int]]:
    """What the implemented operations of these tags declare beside success, by surface."""
    found = [o for o in _implemented() if o.entry["tag"] in tags.get(o.surface, ())]
    return [(o, int(status)) for o in found for status in o.entry["statuses"] if status[0] in "45"]


@pytest.fixture(scope="session")
def declared_failures() -> frozenset[tuple[str, str, int]]:
    """(surface, operation, status) of every failure that an implemented operation declares."""
    return frozenset((o.surface, o.id, int(s)) for o in _implemented() for s in o.entry["statuses"] if s[0] in "45")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `operation` runs for each one that is implemented; `own_operation` for those on something of an
    organisation's own, `audited_operation` for those whose success leaves an audit entry, `keyed_operation` for those
    of surfaces that a tenant's key opens. `recipe_operation` is each one of the other surfaces; for the other names see
    `BY_RECIPE`. `declared_failure` is each failure that operations of the module's tags declare: see `failing`."""
    if "declared_failure" in metafunc.fixturenames:
        failures = [(o, s) for o, s in _failures(metafunc.module.DECLARED_FAILURES_OF) if s not in provoking.EVERYWHERE]
        metafunc.parametrize("declared_failure", failures, ids=[f"{o.surface}.{o.id}-{s}" for o, s in failures])
    for name, belongs in BY_RECIPE.items():
        if name in metafunc.fixturenames:
            found = [o for o in _implemented() if o.surface not in KEYED and belongs(o)]
            metafunc.parametrize(name, found, ids=[f"{o.surface}.{o.id}" for o in found])
    kinds = {"operation": None, "own_operation": "x-resource", "audited_operation": "x-audit", "keyed_operation": None}
    for name, extension in kinds.items():
        if name in metafunc.fixturenames:
            found = [o for o in _implemented() if extension is None or extension in o.entry["extensions"]]
            found = [o for o in found if o.surface in KEYED]
            metafunc.parametrize(name, found, ids=[f"{o.surface}.{o.id}" for o in found])


@dataclass
class Told:
    """What a stream said. `events` are `{id, event, data}`; `text` is everything, heartbeats too."""

    status: int
    headers: httpx.Headers
    text: str

    @property
    def events(self) -> list[dict[str, Any]]:
        found = []
        for block in self.text.split("\n\n")[:-1]:  # what follows the last empty line was torn off
            lines = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
            if "data" in lines:
                found.append({"id": lines["id"], "event": lines["event"], "data": json.loads(lines["data"])})
        return found


@dataclass
class Running:
    """The platform's address, its database, and its processes by name."""

    url: str
    database: Database
    redis_url: str
    logs: Path
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _arguments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _tenants: int = 0

    def start(self, name: str, *arguments: str) -> None:
        """Start a process, or start it again as it was."""
        arguments = self._arguments.setdefault(name, arguments)
        log = (self.logs / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "thalweg", *arguments, "--parent", str(os.getpid())],
            cwd=ROOT,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()

    def kill(self, name: str) -> None:
        """kill -9, and wait until it is gone."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    @contextmanager
    def resting(self, name: str = "worker") -> Iterator[None]:
        """The process, with what it has started, stands still meanwhile. What it works on is handed out again once its
        lease (10 s) is over."""
        group = self.processes[name].pid
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)

    def wait(self, seconds: float = 240.0) -> None:
        """Until the API answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.processes["api"].poll() is not None:
                break
            try:
                httpx.get(f"{self.url}/nowhere", timeout=2)
                return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError("the API did not start:\n" + (self.logs / "api.log").read_text()[-4000:])

    def stop(self, *names: str) -> None:
        """End these processes, or all: those that do not end when they are asked to are killed."""
        ending = [name for name in names or tuple(self.processes) if name in self.processes]
        for name in ending:
            self.processes[name].terminate()
        for name in ending:
            try:
                self.processes[name].wait(15)
            except subprocess.TimeoutExpired:
                self.processes[name].kill()
                self.processes[name].wait(15)
            self.processes.pop(name)

    def drained(self, queue: str, seconds: float = 240.0) -> None:
        """Wait until the queue's worker is up and has done what was due, so that a test waits for its own work only."""
        end = time.monotonic() + seconds
        waiting = None
        while time.monotonic() < end:
            with self.database.session(None, platform=True) as session:
                waiting = session.scalar(
                    select(func.count()).where(
                        Job.queue == queue,
                        or_(
                            Job.state.in_(("queued", "running")),
                            and_(Job.state == "pending", Job.available_at <= func.now()),
                        ),
                    )
                )
            if not waiting:
                return
            time.sleep(0.2)
        raise AssertionError(f"{waiting} jobs of {queue} were not done:\n{self.log('worker-' + queue)[-3000:]}")

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def invoke(
        self,
        tenant: Tenant,
        *,
        headers: Mapping[str, str] | None = None,
        until: Callable[[Told], bool] | None = None,
        seconds: float = 40.0,
        **body: Any,
    ) -> Told:
        """Invoke the tenant's brain and listen to the end, or `until` there has been enough."""
        payload = {"session_id": "s1", "input": {"type": "text", "content": "Who audits the suppliers?"}, **body}
        end = time.monotonic() + seconds
        with httpx.stream(
            "POST",
            f"{self.url}/thalium/v1/brain/{tenant.brain_id}/invoke",
            json=payload,
            headers={**tenant.headers(), **(headers or {})},
            timeout=20,
        ) as reply:
            told = Told(reply.status_code, reply.headers, "")
            for piece in reply.iter_text():  # heartbeats would keep a plain read waiting for ever
                told.text += piece
                if until is not None and until(told):
                    break
                assert time.monotonic() < end, f"no end: {told.text}\n{self.log('worker')[-2000:]}"
        return told

    def tenant(self, *, plan: str = "enterprise", rate: int | None = None) -> Tenant:
        """An organisation with a brain; `rate` is a limit of its keys' own, requests per minute."""
        self._tenants += 1
        number = self._tenants
        with self.database.context(SystemActor("tests"), None, platform=True) as ctx:
            organisation = identity.create_organisation(
                ctx, name=f"Tenant {number}", slug=f"tenant-{number}", plan=plan
            )
        with self.database.context(SystemActor("tests"), organisation.id) as ctx:
            brain = brains.create_brain(ctx, name="Test brain", slug="test")
            everything = _key(ctx, "admin", rate)
            keys = {scope: _key(ctx, scope, rate) for scope in ("invoke", "memory:read", "audit:read")}
        return Tenant(organisation.id, brain.id, everything, keys, {"brain": brain.id})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_SECRET_KEYS = f"test:{crypto.KeyRing.new_key()}"


def _as_the_platform(given: Mapping[str, str], url: str) -> None:
    """What tests prepare by calling verbs is signed, encrypted and linked as the running platform does it."""
    crypto.use(crypto.KeyRing(dict([_SECRET_KEYS.split(":", 1)])))
    identity.tokens.configure(given.get("public_url", url))
    identity.captcha.configure("off", production=False)


@pytest.fixture(scope="session")
def made() -> Iterator[Path]:
    """Where generated clients lie: a folder for each process of a run. One run at a time works on them."""
    folder = ROOT / ".thalweg" / "clients" / os.environ.get("PYTEST_XDIST_WORKER", ".")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


@pytest.fixture(scope="session")
def world(running: Running) -> World:
    """People and what happened to them, on the running platform."""
    recipes.load()
    _as_the_platform({}, running.url)
    return World(running.url, running.database, running.logs / "data", running.processes)


@pytest.fixture(autouse=True)
def tidied(request: pytest.FixtureRequest) -> Iterator[None]:
    """Verbs act as the platform that the test speaks to, whichever was started last. What a recipe changed for the
    whole server is put right after the test."""
    if {"world", "running"} & set(request.fixturenames):
        _as_the_platform({}, request.getfixturevalue("running").url)
    yield
    if "world" in request.fixturenames:
        request.getfixturevalue("world").tidy()


@pytest.fixture(scope="session")
def platforms(
    tmp_path_factory: pytest.TempPathFactory, postgres: Any, migrated_template: str
) -> Iterator[Callable[..., Running]]:
    """Start a whole platform on a fresh database: `make(name, redis_url, **settings)`. It ends with the run."""
    import psycopg

    load_tables()
    made: list[Running] = []

    def make(name: str, redis_url: str, **settings: str) -> Running:
        # Each has a database of its own there: workers would take each other's doorbells, which name rows of another
        # Postgres database, and jobs of both would wait until they are rung again.
        server = redis_url.rpartition("/")[0]
        redis_url = f"{server}/{sum(1 for each in made if each.redis_url.rpartition('/')[0] == server)}"
        folder = tmp_path_factory.mktemp(name)
        base = f"{name}_tests_{os.getpid()}_{len(made)}"
        with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{base}" TEMPLATE "{migrated_template}" STRATEGY file_copy')
        port = _free_port()
        given = {
            "environment": "test",
            "database_url": postgres.url_of(base),
            "redis_url": redis_url,
            "secret_keys": _SECRET_KEYS,
            "data_dir": str(folder / "data"),
            "response_mismatch": "raise",
            "stream_heartbeat_seconds": "1",
            "captcha": "off",
            "failed_sign_ins_per_address": "1000000",  # every test signs in from one address
            "service_account_vault": f"dev-local,hmac:{VAULT_SECRET}",
            **settings,
        }
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("THALWEG_")},
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
            **{f"THALWEG_{key.upper()}": value for key, value in given.items()},
        }
        platform = Running(f"http://127.0.0.1:{port}", Database(postgres.url_of(base)), redis_url, folder, environment)
        _as_the_platform(given, f"http://127.0.0.1:{port}")
        made.append(platform)
        platform.start("api", "serve", "--port", str(port))
        platform.start("worker", "worker", "--queue", "interactive")
        platform.start("worker-default", "worker", "--queue", "default")
        platform.start("scheduler", "scheduler")
        platform.wait()
        return platform

    yield make
    for platform in made:
        platform.stop()
        platform.database.dispose()


@pytest.fixture(scope="session")
def running(platforms: Callable[..., Running], valkey_url: str) -> Running:
    """The platform with everything it needs. Its limits are wide: tests of limits make their own."""
    wide = provoking.limits("100000/minute")
    return platforms(
        "contract", valkey_url, limits=wide, **federation.providers().settings(), **beeflow_transcriptions.settings()
    )


@pytest.fixture(scope="module")
def reading(running: Running) -> Iterator[Running]:
    """The platform with workers of the queues in which strangers' files are read and strangers' hosts asked. What
    earlier tests left for the first one is done first."""
    running.start("worker-untrusted", "worker", "--queue", "untrusted")
    running.start("worker-fetching", "worker", "--queue", "fetching")
    try:
        running.drained("untrusted")
        yield running
    finally:
        running.stop("worker-untrusted")
        running.stop("worker-fetching")


@pytest.fixture(scope="session")
def call(running: Running) -> Caller:
    """What speaks to the platform and follows nothing."""
    return Caller(running.url)


@pytest.fixture(scope="session")
def second(running: Running) -> Iterator[Caller]:
    """As `call`, to another API process of the same platform: see `another_process`."""
    with another_process(running) as caller:
        yield caller


@pytest.fixture(scope="session")
def frail_valkey(server_folder: Path) -> Iterator[Valkey]:
    """A Valkey that tests may kill and empty."""
    server = Valkey(server_folder / "frail-valkey", volatile=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def frail(platforms: Callable[..., Running], frail_valkey: Valkey) -> Running:
    """A platform that tests may break (and put right again), with narrow limits, on a Valkey of its own."""
    return platforms("frail", frail_valkey.start(), limits="thalium.invoke=3/minute,thalium.read=5/minute")


@pytest.fixture(scope="session")
def tenants(running: Running) -> Callable[..., Tenant]:
    """Make an organisation with a brain, a key for everything and a key for each scope."""
    return running.tenant


def _key(ctx: Ctx, scope: str, rate: int | None) -> str:
    return identity.issue_api_key(ctx, f"test {scope}", [scope], "thalium", requests_per_minute=rate)[1]


@pytest.fixture(scope="session")
def tenant(tenants: Callable[..., Tenant]) -> Tenant:
    """An organisation on the largest plan."""
    return tenants()


@pytest.fixture(scope="session")
def stranger(tenants: Callable[..., Tenant]) -> Tenant:
    """Another organisation."""
    return tenants()


# --- failures ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def platforms_of(
    world: World, platforms: Callable[..., Running], server_folder: Path, request: pytest.FixtureRequest
) -> Iterator[provoking.Platforms]:
    """Platforms on which happens what cannot happen on the one of all tests: see `recipes.failures`."""
    made = provoking.Platforms(world, platforms, server_folder / str(request.module.__name__))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def when_lame(request: pytest.FixtureRequest, platforms_of: provoking.Platforms) -> dict[str, httpx.Response]:
    """What the module's operations answer on a platform that has lost its Valkey, or its database: see there."""
    asked = [
        item.callspec.params["declared_failure"]
        for item in request.session.items
        if item.module is request.module and hasattr(item, "callspec") and "declared_failure" in item.callspec.params
    ]
    wanted = [o for o, status in asked if status == 503 and (o.surface, o.id, 503) not in FAILURES]
    return provoking.replies_when_lame(wanted, platforms_of)


@pytest.fixture
def failing(
    platforms_of: provoking.Platforms, compilers: dict[str, Compiler], request: pytest.FixtureRequest
) -> Callable[[Operation, int], None]:
    """Bring about a failure that an operation declares: it is answered so, as the contract describes it."""

    def fail(operation: Operation, status: int) -> None:
        def unavailable() -> httpx.Response:
            reply: httpx.Response = request.getfixturevalue("when_lame")[f"{operation.surface}.{operation.id}"]
            assert int(reply.headers["retry-after"]) >= 1, "what is away comes back: when to ask again is told"
            return reply

        reply = provoking.reach(operation, status, platforms_of, unavailable)
        assert reply.status_code == status, reply.text[:1000]
        declared = operation.resolved(operation.declared["responses"][str(status)])
        schema = declared["content"]["application/json"]["schema"]
        compiler = compilers.setdefault(operation.surface, Compiler(operation.document))
        assert compiler.compile(schema, "response").violations(reply.json()) == ()
        provoking.headers_as_declared(operation, declared, reply)

    return fail


@pytest.fixture(scope="session")
def compilers() -> dict[str, Compiler]:
    return {}
