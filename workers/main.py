"""The processes of the workers, started by the launcher: `run_worker` serves one queue, `run_scheduler` is relay,
scheduler and sweeper in one. Both return when asked to stop by SIGTERM or SIGINT, and wait out Valkey and Postgres
being away.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from domain import startup
from domain.kernel import outgoing
from domain.kernel.db import Database
from domain.kernel.ledger import Ledger, Wakeups
from domain.kernel.outbox import QUEUES
from thalweg import heartbeats
from thalweg.config import Settings, need
from thalweg.streams import Publisher
from thalweg.traces import Traces
from workers.processes import GRACE, Concurrent, Crew, Forking, LongLived
from workers.purging import purges
from workers.queues import connect
from workers.registry import Registry, load_jobs
from workers.relay import Relay
from workers.runner import LEASE, Runner
from workers.scheduler import Scheduler
from workers.sweeper import Rhythm, Sweeper

log = structlog.get_logger("thalweg.jobs")

STALLED = 60.0
"""Seconds without a completed step after which a part of the scheduler process gives no more signs of life."""


class Part(Protocol):
    alive_at: float

    def run(self, stop: threading.Event) -> None: ...


def run_worker(
    settings: Settings,
    queues: Sequence[str],
    *,
    jobs: str = "workers.jobs",
    lease: float = LEASE,
    grace: float = GRACE,
) -> int:
    """Serve one queue until asked to stop; answers with the exit code.

    `jobs` is the package that declares the jobs; `lease` the seconds after which the job of a worker that died is
    handed out again; `grace` the seconds a running job has to finish after SIGTERM, before it is handed back.

    Raises ValueError for an unknown queue, or several: a worker process serves one.
    """
    if len(queues) != 1 or queues[0] not in QUEUES:
        raise ValueError(f"a worker process serves exactly one queue of {', '.join(QUEUES)}: start one for each")
    queue = queues[0]
    threads = {"interactive": settings.interactive_threads, "fetching": settings.fetching_threads}.get(queue, 1)
    database_url, redis_url = _stores(settings)
    startup.prepare(settings)
    if queue == "fetching":  # a call for each thread: one that finds no place says that the host cannot be reached
        outgoing.use(outgoing.client().wider(threads))
    registry = load_jobs(jobs)
    stop = _stop_on_signals()
    for warm in registry.warmers.get(queue, ()):
        warm()
    traces = Traces.open(settings.otel_endpoint, service="thalweg-worker")

    def runner() -> Runner:
        return Runner(
            # Transactions are short: a few connections serve many threads that wait for models. They stay open: what
            # overflows is connected anew for each transaction. A job rather waits for one than fails.
            Database(
                database_url,
                pool_size=min(threads + 1, 10),
                max_overflow=2,
                pool_timeout=60,
                application_name=f"thalweg worker {queue}",
            ),
            Ledger(database_url, name=f"worker {queue}"),
            registry,
            publisher=Publisher(redis_url, keep=settings.stream_length, expire=settings.stream_keep_seconds),
            lease=lease,
            worker=heartbeats.me(),
            traces=traces,
        )

    own = runner()
    crew = Crew(own, threads) if threads > 1 else None
    pause = 0.2
    while not stop.is_set():
        try:
            connection = connect(redis_url)
            if queue == "untrusted":
                Forking(queue, connection, own, stop=stop, grace=grace, fresh=runner).work(logging_level="WARNING")
            elif crew is not None:
                Concurrent(queue, connection, own, stop=stop, grace=grace, crew=crew).work(logging_level="WARNING")
            else:
                LongLived(queue, connection, own, stop=stop, grace=grace).work(logging_level="WARNING")
            pause = 0.2
        except (RedisError, OSError) as problem:
            log.warning("valkey is away", error=type(problem).__name__)
        stop.wait(pause)  # not stopped: RQ's loop ended by itself, which it does when Valkey goes at a bad moment
        pause = min(pause * 2, 5.0)
    if crew is not None:
        crew.part(grace)
    own.close()
    if traces is not None:
        traces.close()
    return 0


def run_scheduler(settings: Settings, *, jobs: str = "workers.jobs", rhythm: Rhythm | None = None) -> int:
    """Relay, scheduler and sweeper until asked to stop; answers with the exit code. Several may run at once."""
    database_url, redis_url = _stores(settings)
    startup.load_tables()
    registry = load_jobs(jobs)
    stop = _stop_on_signals()
    database = Database(database_url, pool_size=2, max_overflow=2, application_name="thalweg scheduler")
    parts = _parts(database_url, redis_url, registry, database, rhythm, settings.audit_days)
    threads = [_started(name, part, stop) for name, part in parts.items()]
    connection = connect(redis_url)
    while not stop.is_set():
        for name, part in parts.items():
            if time.monotonic() - part.alive_at < STALLED:
                _signal_life(lambda name=name: heartbeats.beat(connection, name))  # type: ignore[misc]
        stop.wait(heartbeats.RHYTHM)
    for thread in threads:
        thread.join(timeout=10.0)
    for name in parts:
        _signal_life(lambda name=name: heartbeats.leave(connection, name))  # type: ignore[misc]
    database.dispose()
    return 0


def _stores(settings: Settings) -> tuple[str, str]:
    need(settings, "database_url", "redis_url")
    assert settings.database_url is not None
    assert settings.redis_url is not None
    return settings.database_url.reveal(), settings.redis_url.reveal()


def _parts(
    url: str, redis_url: str, registry: Registry, database: Database, rhythm: Rhythm | None, audit_days: int
) -> dict[str, Part]:
    return {
        # Little patience: these loops try again by themselves and must notice a request to stop.
        "relay": Relay(Ledger(url, name="relay", patience=1.0), Wakeups(url), connect(redis_url)),
        "sweeper": Sweeper(
            Ledger(url, name="sweeper", patience=1.0),
            connect(redis_url),
            rhythm=rhythm,
            purges=purges(database, audit_days=audit_days),
        ),
        "scheduler": Scheduler(database, registry.crons),
    }


def _started(name: str, part: Part, stop: threading.Event) -> threading.Thread:
    def keep_running() -> None:
        while not stop.is_set():
            try:
                part.run(stop)
            except Exception:
                log.exception("restarting after a fault", part=name)
                stop.wait(1.0)

    thread = threading.Thread(target=keep_running, name=name, daemon=True)
    thread.start()
    return thread


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def ask(signum: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return stop


def _signal_life(act: Callable[[], None]) -> None:
    try:
        act()
    except (RedisError, OSError):
        log.debug("no sign of life: valkey is away")
