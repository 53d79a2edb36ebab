"""Jobs: how soon one starts after its commit, and how many a worker does beside a bare RQ SimpleWorker.

    python benchmarks/jobs.py [--jobs 1500] [--rounds 3] [--samples 200]

Both sides run in turn and insert the same one row in one durable transaction through the same `Database`; RQ runs with
`result_ttl=0`, the JSON serializer and its logging off. The worker has a core to itself; Postgres, Valkey, relay and
producer share the other. Prints a table and writes reports/jobs.json. Ratios count; bare times are this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "benchmarks")]

from redis import Redis  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from rq import Queue, SimpleWorker  # noqa: E402
from rq.serializers import JSONSerializer  # noqa: E402
from sqlalchemy import text  # noqa: E402

from domain import migrations  # noqa: E402
from domain.kernel.context import Ctx, SystemActor  # noqa: E402
from domain.kernel.db import Database  # noqa: E402
from domain.kernel.ledger import Ledger, Wakeups  # noqa: E402
from domain.kernel.outbox import enqueue  # noqa: E402
from thalweg.config import load  # noqa: E402
from thalweg.embedded.postgres import Postgres  # noqa: E402
from thalweg.embedded.valkey import Valkey  # noqa: E402
from workers.main import run_scheduler, run_worker  # noqa: E402
from workers.queues import connect  # noqa: E402
from workers.registry import job  # noqa: E402
from workers.relay import Relay  # noqa: E402

CORES = sorted(os.sched_getaffinity(0))
WORKER_CORE, OTHER_CORES = {CORES[0]}, set(CORES[1:]) or {CORES[0]}
INSERT = text("INSERT INTO bench_row (kind, number, at) VALUES (:kind, :number, :at)")
ENVIRONMENT = {"database_url": "THALWEG_DATABASE_URL", "redis_url": "THALWEG_REDIS_URL"}


# --- the work, the same on both sides ---


def insert_row(ctx: Ctx, kind: str, number: int) -> None:
    ctx.session.execute(INSERT, {"kind": kind, "number": number, "at": time.time()})


if __name__ == "jobs":  # as the job module of our worker

    @job("bench.insert", simple=True)
    def ours(ctx: Ctx, args: dict[str, Any]) -> None:
        insert_row(ctx, args["kind"], args["number"])

    @job("bench.insert_in_steps")
    def ours_in_steps(work: Any, args: dict[str, Any]) -> None:
        with work.transaction() as ctx:
            insert_row(ctx, args["kind"], args["number"])
            work.complete(ctx)


_database: Database | None = None


def bare(kind: str, number: int) -> None:
    """The same insert as a plain RQ job."""
    global _database
    if _database is None:
        _database = Database(os.environ[ENVIRONMENT["database_url"]], pool_size=2)
    with _database.context(SystemActor("bench"), None, platform=True) as ctx:
        insert_row(ctx, kind, number)


# --- measuring ---


class Bench:
    def __init__(self, folder: Path) -> None:
        os.sched_setaffinity(0, OTHER_CORES)  # inherited by the servers and by whatever is not a worker
        self.postgres = Postgres(folder / "postgres")
        self.valkey = Valkey(folder / "valkey")
        self.urls = {"database_url": self.postgres.start(), "redis_url": self.valkey.start()}
        migrations.upgrade(self.urls["database_url"])
        self.database = Database(self.urls["database_url"])
        self.connection: Redis = connect(self.urls["redis_url"])
        with self._ctx() as ctx:
            ctx.session.execute(text("CREATE TABLE bench_row (kind text, number int, at float8)"))

    def close(self) -> None:
        self.database.dispose()
        self.valkey.stop()
        self.postgres.stop()

    @contextmanager
    def process(self, role: str, cores: set[int]) -> Iterator[None]:
        environment = {**os.environ, **{ENVIRONMENT[name]: url for name, url in self.urls.items()}}
        child = subprocess.Popen(
            [sys.executable, __file__, "--role", role],
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        try:
            yield
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(timeout=20)

    def promise(self, name: str, kind: str, count: int) -> None:
        for start in range(0, count, 500):
            with self._ctx() as ctx:
                for number in range(start, min(start + 500, count)):
                    enqueue(ctx, name, {"kind": kind, "number": number})

    def ring(self) -> None:
        relay = Relay(Ledger(self.urls["database_url"]), Wakeups(self.urls["database_url"]), self.connection)
        while relay.step():
            pass

    def rate(self, kind: str, count: int) -> float:
        """Rows per second of `kind` once all `count` are there, the first 10 % (warming up) left out."""
        end = time.monotonic() + 120
        while True:
            with self._ctx() as ctx:
                times = ctx.session.execute(
                    text("SELECT at FROM bench_row WHERE kind = :kind ORDER BY at"), {"kind": kind}
                ).scalars()
                at = list(times)
            if len(at) >= count:
                break
            if time.monotonic() > end:
                raise SystemExit(f"{kind}: only {len(at)} of {count} jobs were done in time")
            time.sleep(0.3)
        skipped = count // 10
        return (count - skipped - 1) / max(at[-1] - at[skipped], 1e-6)

    def throughput_ours(self, name: str, kind: str, count: int) -> float:
        self.promise(name, kind, count)
        self.ring()
        with self.process("worker", WORKER_CORE):
            return self.rate(kind, count)

    def throughput_bare(self, kind: str, count: int) -> float:
        queue = Queue("bare", connection=self.connection, serializer=JSONSerializer)
        for number in range(count):
            queue.enqueue("jobs.bare", kind, number, result_ttl=0)
        with self.process("bare", WORKER_CORE):
            return self.rate(kind, count)

    def awake(self, kind: str) -> None:
        """Wait until relay and worker have started: a first job is done."""
        self.promise("bench.insert", kind, 2)
        self.rate(kind, 2)
        time.sleep(1.5)

    def flowing(self, kind: str, count: int) -> float:
        """Done per second while they are being promised, one transaction each, relayed and worked on."""
        with self.process("scheduler", OTHER_CORES), self.process("worker", WORKER_CORE):
            self.awake("awake for flowing")
            for number in range(count):
                with self._ctx() as ctx:
                    enqueue(ctx, "bench.insert", {"kind": kind, "number": number})
            return self.rate(kind, count)

    def latency(self, samples: int) -> list[float]:
        """Milliseconds from the commit of a promise to the first line of the job, an idle second apart or less."""
        with self.process("scheduler", OTHER_CORES), self.process("worker", WORKER_CORE):
            self.awake("awake for latency")
            committed: dict[int, float] = {}
            for number in range(samples):
                with self._ctx() as ctx:
                    enqueue(ctx, "bench.insert", {"kind": "latency", "number": number})
                committed[number] = time.time()
                time.sleep(0.1 + (number % 7) * 0.05)  # out of step with every loop
            self.rate("latency", samples)
        with self._ctx() as ctx:
            rows = ctx.session.execute(text("SELECT number, at FROM bench_row WHERE kind = 'latency'")).all()
        return sorted((at - committed[number]) * 1000 for number, at in rows)

    def _ctx(self) -> Any:
        return self.database.context(SystemActor("bench"), None, platform=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--role", choices=["worker", "scheduler", "bare"])
    given = parser.parse_args()
    if given.role:
        _serve(given.role)
        return
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # the database's system user passes through
        bench = Bench(Path(folder))
        try:
            report = _measure(bench, given.jobs, given.rounds, given.samples)
        finally:
            bench.close()
    _print(report)
    reports = ROOT / "reports"
    reports.mkdir(exist_ok=True)
    (reports / "jobs.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _measure(bench: Bench, count: int, rounds: int, samples: int) -> dict[str, Any]:
    rates: dict[str, list[float]] = {"simple": [], "steps": [], "bare_rq": []}
    for number in range(rounds):  # in turn, so that a noisy minute strikes all
        rates["bare_rq"].append(bench.throughput_bare(f"bare{number}", count))
        rates["simple"].append(bench.throughput_ours("bench.insert", f"simple{number}", count))
        rates["steps"].append(bench.throughput_ours("bench.insert_in_steps", f"steps{number}", count))
    flowing = bench.flowing("flowing", count)
    waits = bench.latency(samples)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "jobs": count,
        "rounds": rounds,
        "per_second": middle,
        "all_rounds": rates,
        "ratio_to_bare_rq": {name: middle[name] / middle["bare_rq"] for name in ("simple", "steps")},
        "flowing_per_second": flowing,
        "commit_to_start_ms": {
            "samples": len(waits),
            "p50": waits[len(waits) // 2],
            "p95": waits[int(len(waits) * 0.95)],
            "max": waits[-1],
        },
        "targets": {"ratio_to_bare_rq": 0.8, "commit_to_start_p95_ms": 100},
    }


def _print(report: dict[str, Any]) -> None:
    console = Console()
    table = Table("one worker, one-row insert", "jobs/s", "ratio", title=f"Throughput, {report['jobs']} jobs")
    per_second, ratio = report["per_second"], report["ratio_to_bare_rq"]
    table.add_row("bare RQ SimpleWorker", f"{per_second['bare_rq']:.0f}", "1")
    table.add_row("simple job", f"{per_second['simple']:.0f}", f"{ratio['simple']:.2f}")
    table.add_row("job in steps", f"{per_second['steps']:.0f}", f"{ratio['steps']:.2f}")
    table.add_row("simple job, promised and relayed meanwhile", f"{report['flowing_per_second']:.0f}", "-")
    console.print(table)
    wait = report["commit_to_start_ms"]
    table = Table("samples", "p50", "p95", "max", title="From commit to start when idle, ms")
    table.add_row(str(wait["samples"]), *(f"{wait[name]:.1f}" for name in ("p50", "p95", "max")))
    console.print(table)


def _serve(role: str) -> None:
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    logging.disable(logging.INFO)
    if role == "bare":
        connection = Redis.from_url(os.environ[ENVIRONMENT["redis_url"]])
        SimpleWorker(["bare"], connection=connection, serializer=JSONSerializer, log_job_description=False).work(
            logging_level="WARNING"
        )
    elif role == "worker":
        sys.exit(run_worker(load(), ["default"], jobs="jobs"))
    else:
        sys.exit(run_scheduler(load(), jobs="jobs"))


if __name__ == "__main__":
    main()
