"""Puts an API process together: contracts, application, edge, Flask, and what they lean on."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from connexion import ConnexionMiddleware
from connexion.middleware.main import API
from connexion.resolver import Resolver

from thalweg.config import Settings, load
from thalweg.contract import project as projects
from thalweg.edge.application import Application
from thalweg.edge.body import sweep
from thalweg.edge.exchange import Services
from thalweg.edge.flaskhost import FlaskHost, HostFlask
from thalweg.edge.guard import Cors
from thalweg.edge.later import import_later
from thalweg.edge.limits import Limits
from thalweg.edge.middleware import Edge
from thalweg.edge.observe import Observer
from thalweg.edge.origins import Origins
from thalweg.edge.plan import Surface
from thalweg.edge.pool import Pool
from thalweg.edge.schema import Compiler
from thalweg.edge.security import Authenticator
from thalweg.edge.specification import BundledSpecification, HandlerResolver
from thalweg.edge.sse import StreamOptions
from thalweg.edge.tails import Tails
from thalweg.portal import pages
from thalweg.portal.health import Health

if TYPE_CHECKING:
    from pydantic import BaseModel  # weighs 6 MiB, and comes with the first request model

# With thousands of open streams a collection of everything stands for 50 to 160 ms, and at Python's own thresholds it
# comes several times while they are opened. The young generations still run often (3 to 5 ms).
GC_THRESHOLDS = (2_000, 10, 50)

PAGE_THREADS = 4


@dataclass(frozen=True, slots=True)
class Document:
    """A bundle, how it is served, and what finds its handlers."""

    bundle: dict[str, Any]
    surface: Surface
    resolver: Resolver


def assemble(services: Services, documents: Sequence[Document]) -> tuple[Edge, ConnexionMiddleware]:
    """The edge in front of Flask, as a Connexion application that knows every document.

    A plan is made with the first request of its operation: one process meets few of 404, and making them all was a
    quarter of its start. `Edge.plan_all` makes them at once.
    """
    edge = Edge(services.host, services)
    middleware = ConnexionMiddleware(services.host, import_name="thalweg", middlewares=[lambda app: edge])
    for document in documents:
        middleware.apis.append(
            API(
                BundledSpecification(document.bundle),
                base_path=document.surface.base_path,
                name=document.surface.key,
                surface=document.surface,
                resolver=document.resolver,
            )
        )
    middleware.app, middleware.middleware_stack = middleware._build_middleware_stack()
    return edge, middleware


class ApiProcess:
    """One API process as an ASGI application, with its parts in reach of tests and pages."""

    def __init__(self, settings: Settings, project: projects.Project) -> None:
        self.settings = settings
        self.project = project
        settings.need("database_url", "redis_url")
        assert settings.redis_url is not None
        redis_url = settings.redis_url.reveal()
        module = importlib.import_module(project.application)
        self.application: Application = module.platform(settings)
        self.pool = Pool(settings.api_threads)
        self.flask = HostFlask("thalweg.host")
        self.flask.config.update(PROPAGATE_EXCEPTIONS=True, TRAP_HTTP_EXCEPTIONS=False)
        # Pages have threads of their own: health is told even when every thread for requests waits for the database.
        self.page_pool = Pool(PAGE_THREADS)
        self.host = FlaskHost(self.flask, self.page_pool)
        self.observer = Observer(settings)
        self.limits = Limits(redis_url, _limits(project.limits, settings.limits))
        self.tails = Tails(
            redis_url,
            self.pool,
            StreamOptions(heartbeat=settings.stream_heartbeat_seconds, life=settings.stream_life_seconds),
            most=settings.stream_connections,
        )
        spool = settings.data_dir / "spool"
        spool.mkdir(parents=True, exist_ok=True)
        sweep(str(spool))
        self.services = Services(
            application=self.application,
            pool=self.pool,
            host=self.host,
            authenticator=Authenticator(self.application, self.pool, origins=_origins(settings)),
            limits=self.limits,
            streams=self.tails,
            observer=self.observer,
            cors=Cors(frozenset(settings.cors_origins)),
            spool_dir=str(spool),
            on_mismatch=settings.response_mismatch,
        )
        self.surfaces: dict[str, str] = {}
        """What is served, and where: empty for a surface that has the port to itself."""
        self.edge: Edge
        self._assemble()
        assert settings.database_url is not None
        self.health = Health(
            database_url=settings.database_url.reveal(),
            valkey=self.limits,
            limits=self.limits,
            streams=self.tails,
            queues=settings.queues,
        )
        self.flask.register_blueprint(pages(self))
        if hasattr(self.application, "mounts"):  # not every platform has raw paths of its own
            self.host.mounts.update(self.application.mounts(self.pool))
        for blueprint in getattr(self.application, "blueprints", tuple)():  # nor pages
            self.flask.register_blueprint(blueprint)

    def _assemble(self) -> None:
        chosen = self.project.chosen(list(self.settings.surfaces) or None)
        alone = len(chosen) == 1 and bool(self.settings.surfaces)
        documents: list[Document] = []
        for key in chosen:
            for name in ("requests", "responses"):
                import_later(f"{self.project.generated.name}.{key}.{name}")
            bundle = orjson.loads((self.project.generated / key / "edge.json").read_bytes())
            self.surfaces[key] = "" if alone else self.project.surfaces[key]
            envelope: Any = importlib.import_module(f"{self.project.handlers}.{key}.errors")
            surface = Surface(
                key=key,
                base_path=self.surfaces[key],
                envelope=envelope,
                compiler=Compiler(bundle, late=True),
                models=_models(self.project, key),
                cookies=getattr(envelope, "cookies", None),
            )
            documents.append(Document(bundle, surface, HandlerResolver(self.project.handlers, key)))
        self.edge, _ = assemble(self.services, documents)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self.edge(scope, receive, send)  # all that Connexion has put in front of Flask is the edge

    def closing(self) -> None:
        """The server has been told to stop: streams end now, so that it need not wait for them."""
        self.tails.drain()

    async def _lifespan(self, receive: Any, send: Any) -> None:
        async with self.running():
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ApiProcess]:
        """Everything up: connections, listeners; and down again in the right order."""
        loop = asyncio.get_running_loop()

        def forget(key: str | None) -> None:
            loop.call_soon_threadsafe(self.services.authenticator.forget, key)

        await self.tails.start()
        await self.limits.start()
        await self.pool.run(self.application.start, forget)
        self.observer.watch(limits=self.limits, hub=self.tails.hub, pool=self.pool)
        gauges = getattr(self.application, "gauges", None)
        for name, (told, look) in (gauges() if gauges is not None else {}).items():
            self.observer.gauge(name, told, look)
        self.observer.start()
        with quiet_heap():
            try:
                yield self
            finally:
                await self.tails.stop()
                await self.limits.stop()
                await self.pool.run(self.application.close)
                await self.pool.run(self.observer.stop)
                self.pool.close()


@contextmanager
def quiet_heap() -> Iterator[None]:
    """What start-up has made stays: collecting it again and again is what the slowest requests would wait for.

    It is not even collected once: that takes 0.2 s and finds 2 MiB. What start-up has freed goes back to the system.
    """
    with suppress(AttributeError, OSError):  # glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    gc.freeze()
    gc.enable()
    thresholds = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def create(settings: Settings | None = None, root: Path | None = None) -> ApiProcess:
    """The application that a server runs; `uvicorn --factory thalweg.edge.serve:create`."""
    settings = settings or load()
    project = projects.find(root)
    if str(project.root) not in sys.path:
        sys.path.insert(0, str(project.root))
    return ApiProcess(settings, project)


def _origins(settings: Settings) -> Origins:
    """The pages that may use cookies: the server's own by its public address, and those that CORS lets in by name."""
    own = (settings.public_url,) if settings.public_url else ()
    return Origins((*own, *settings.cors_origins))


def _limits(declared: Mapping[str, Any], changed: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The contract's limits with what the settings change of them."""
    return {name: {**rule, **changed.get(name, {})} for name, rule in declared.items()}


def _models(project: projects.Project, surface: str) -> Callable[[str], type[BaseModel] | None]:
    """From an operation to its request model, as the manifest names it. The module is imported once it is asked for."""
    manifest: Mapping[str, Any] = orjson.loads((project.generated / surface / "operations.json").read_bytes())
    names = {entry["operation_id"]: (entry["request"] or {}).get("model") for entry in manifest["operations"]}

    def find(operation_id: str) -> type[BaseModel] | None:
        name = names[operation_id]
        if name is None:
            return None
        module = importlib.import_module(f"{project.generated.name}.{surface}.requests")
        model: type[BaseModel] = getattr(module, name)
        return model

    return find
