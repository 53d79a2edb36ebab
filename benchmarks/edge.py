"""The edge beside FastAPI (`def` and `async`), Litestar and bare ASGI, in an application of 404 operations.

    python benchmarks/edge.py [--quick] [--seconds 2] [--rounds 5]

The same POST and the same GET in the middle of the table, requests and replies validated on every side (bare ASGI:
neither); then a POST with one read and one write in Postgres behind it. Each server is one process of uvicorn on a core
of its own, 32 connections from the other core, in rounds that take turns; figures are medians of the rounds. Prints
tables and writes reports/edge.json. Ratios count; bare times are this machine's. Two peers run a second time with the
garbage collector set as ours is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "benchmarks")]

import psycopg  # noqa: E402
from peers import contract, load, storage, work  # noqa: E402
from peers.process import Server, cores, first_in_line, peer, running  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from thalweg.embedded.postgres import Postgres  # noqa: E402

PEERS = ("thalweg", "fastapi-def", "fastapi-async", "litestar", "raw")
STORED = PEERS[:-1]
LOGGED = "thalweg, access log"
FROZEN = {"fastapi-async, frozen": "fastapi-async", "litestar, frozen": "litestar"}
"""Peers with the collector set as an API process of ours sets it: what of the difference is only that."""
BODY = json.dumps(work.BODY).encode()
CASES: dict[str, tuple[str, bytes | None]] = {
    "post": (work.POST_PATH, BODY),
    "get": (work.GET_PATH, None),
}
TARGETS = {"fastapi-def": 3.0, "fastapi-async": 1.5, "litestar": 1.2}
LABELS = {
    "thalweg": "this edge",
    LOGGED: "this edge, with its access log",
    "fastapi-def": "FastAPI def",
    "fastapi-async": "FastAPI async",
    "litestar": "Litestar",
    "fastapi-async, frozen": "FastAPI async, our collector settings",
    "litestar, frozen": "Litestar, our collector settings",
    "raw": "bare ASGI, no checks",
}

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of load in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one second, two rounds")
    given = parser.parse_args()
    if given.quick:
        given.seconds, given.rounds = 1.0, 2
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # the database's system user passes through
        report = _measure(Path(folder), given.seconds, given.rounds)
    _print(report)
    reports = ROOT / "reports"
    reports.mkdir(exist_ok=True)
    (reports / "edge.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _measure(folder: Path, seconds: float, rounds: int) -> dict[str, Any]:
    server_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})  # inherited by Postgres
    environment = _environment(folder)
    commands = {name: peer(name) for name in PEERS}
    commands[LOGGED] = peer("thalweg", "--access-log")
    commands |= {label: peer(name, "--freeze") for label, name in FROZEN.items()}
    report: dict[str, Any] = {
        "raised_priority": first_in_line(),
        "operations": contract.OPERATIONS,
        "connections": load.CONNECTIONS,
        "generator": load.tool(),
        "seconds": seconds,
        "rounds": rounds,
        "targets": TARGETS,
    }
    with running(commands, work.GET_PATH, server_core, folder, environment) as servers:
        for case, (path, body) in CASES.items():
            report[case] = _case(servers, path, body, seconds, rounds, folder, load_core)
    postgres = Postgres(folder / "postgres")
    try:
        url = postgres.start()
        _prepare(url)
        commands = {name: peer(name, "--database", url) for name in STORED}
        with running(commands, work.GET_PATH, server_core, folder, environment) as servers:
            report["stored"] = _case(servers, "/v1/stored", BODY, seconds, rounds, folder, load_core)
    finally:
        postgres.stop()
    return report


def _environment(folder: Path) -> dict[str, str]:
    """As `thalweg serve` starts its processes: metrics are counted in files."""
    metrics = folder / "metrics"
    metrics.mkdir()
    return {"PROMETHEUS_MULTIPROC_DIR": str(metrics)}


def _prepare(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(storage.TABLES)
        connection.execute(
            "INSERT INTO bench_project VALUES (%s, %s, 'North')", (str(work.PROJECT), str(work.ORGANISATION))
        )


def _case(
    servers: Mapping[str, Server],
    path: str,
    body: bytes | None,
    seconds: float,
    rounds: int,
    folder: Path,
    load_core: int,
) -> dict[str, Any]:
    taken: dict[str, list[Figures]] = {name: [] for name in servers}
    for server in servers.values():
        load.run(server.url + path, body, 1, load_core, folder)  # caches, pools, connections
    for _ in range(rounds):  # in turn, so that a noisy minute strikes all
        for name, server in servers.items():
            before = server.cpu
            outcome = load.run(server.url + path, body, seconds, load_core, folder)
            if outcome.errors:
                raise SystemExit(f"{name} answered {outcome.errors} of {outcome.requests} requests with an error")
            taken[name].append(
                {
                    "per_second": outcome.requests / outcome.seconds,
                    "cpu_us": (server.cpu - before) / outcome.requests * 1e6,
                    "p50_ms": outcome.p50,
                    "p99_ms": outcome.p99,
                }
            )
    middle = {name: _median(figures) for name, figures in taken.items()}
    return {
        "median": middle,
        "all_rounds": taken,
        "ratio": {
            name: {
                "per_second": middle["thalweg"]["per_second"] / middle[name]["per_second"],
                "cpu": middle[name]["cpu_us"] / middle["thalweg"]["cpu_us"],
                "p99": middle["thalweg"]["p99_ms"] / middle[name]["p99_ms"],
            }
            for name in servers
            if name != "thalweg"
        },
    }


def _median(figures: list[Figures]) -> Figures:
    return {key: statistics.median(one[key] for one in figures) for key in figures[0]}


def _print(report: dict[str, Any]) -> None:
    console = Console(width=max(110, Console().width))
    titles = {
        "post": f"POST {work.POST_PATH}, both directions validated",
        "get": f"GET {work.POST_PATH}/{{id}} with two query parameters",
        "stored": "POST with one read and one write in Postgres",
    }
    for case, title in titles.items():
        table = Table(title=title, title_justify="left")
        table.add_column("")
        for column in ("requests/s", "CPU µs/request", "p50 ms", "p99 ms", "our rate", "our CPU", "our p99"):
            table.add_column(column, justify="right")
        for name, figures in report[case]["median"].items():
            ratio = report[case]["ratio"].get(name)
            table.add_row(
                LABELS[name],
                f"{figures['per_second']:,.0f}",
                f"{figures['cpu_us']:.0f}",
                f"{figures['p50_ms']:.1f}",
                f"{figures['p99_ms']:.1f}",
                *(
                    ["-", "-", "-"]
                    if ratio is None
                    else [f"{ratio['per_second']:.2f}x", f"1/{ratio['cpu']:.2f}", f"{ratio['p99']:.2f}x"]
                ),
            )
        console.print(table)
    aims = ", ".join(f"{ratio}x {LABELS[name]}" for name, ratio in TARGETS.items())
    console.print(f"Aims: {aims}; p99 at most half of FastAPI async's. Load by {report['generator']}.")


if __name__ == "__main__":
    main()
