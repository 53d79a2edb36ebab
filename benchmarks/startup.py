"""Start-up: how soon an API process answers, and what it weighs, with all the operations of this repository.

    python benchmarks/startup.py [--rounds 5]

`thalweg serve` as a process of its own on one core, Postgres and Valkey running and migrated. Time runs from the start
of the process to its first answer (/health, which asks both); memory is what is resident then, and after each operation
has been called once. Byte code is compiled before, as it is at any second start. Peers: FastAPI and Litestar with as
many operations of benchmarks/peers and nothing behind them. Prints a table and writes reports/startup.json.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "benchmarks")]

from peers import contract, work  # noqa: E402
from peers.process import Server, cores, first_in_line, peer  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from domain import migrations  # noqa: E402
from thalweg.embedded.postgres import Postgres  # noqa: E402
from thalweg.embedded.valkey import Valkey  # noqa: E402

TARGETS = {"seconds": 1.0, "mib": 150}
LABELS = {
    "python": "a bare interpreter",
    "imports": "the same with the imports of the platform",
    "serve": "thalweg serve",
    "fastapi-async": "FastAPI, nothing behind",
    "litestar": "Litestar, nothing behind",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # the database's system user passes through
        report = _measure(Path(folder), given.rounds)
    _print(report)
    reports = ROOT / "reports"
    reports.mkdir(exist_ok=True)
    (reports / "startup.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _measure(folder: Path, rounds: int) -> dict[str, Any]:
    server_core, other_core = cores()
    os.sched_setaffinity(0, {other_core})
    raised = first_in_line()
    operations = _operations()
    postgres, valkey = Postgres(folder / "postgres"), Valkey(folder / "valkey")
    try:
        environment = _environment(folder, postgres.start(), valkey.start())
        migrations.upgrade(environment["THALWEG_DATABASE_URL"])
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in LABELS}
        for number in range(rounds + 1):
            for name, figures in taken.items():
                one = _once(name, operations, server_core, folder, environment)
                if number:  # the first compiled the byte code
                    figures.append(one)
    finally:
        valkey.stop()
        postgres.stop()
    return {
        "operations": len(operations),
        "operations_of_peers": contract.OPERATIONS,
        "rounds": rounds,
        "raised_priority": raised,
        "median": {
            name: {key: statistics.median(one[key] for one in figures) for key in figures[0]}
            for name, figures in taken.items()
        },
        "all_rounds": taken,
        "targets": TARGETS,
    }


def _once(
    name: str, operations: list[tuple[str, str]], core: int, folder: Path, environment: dict[str, str]
) -> dict[str, float]:
    if name in ("python", "imports"):
        return _interpreter(name == "imports", core, environment)
    if name == "serve":
        command, path = [sys.executable, "-P", "-m", "thalweg", "serve"], "/health"
    else:
        command, path = peer(name), work.GET_PATH
    server = Server(command, path, core, folder / f"{name}.log", environment)
    try:
        figures = {"seconds": server.first_answer, "cpu_seconds": server.cpu, "mib": server.memory}
        if name == "serve":
            _call_all(server.port, operations)
        return {**figures, "mib_after_use": server.memory}
    finally:
        server.stop()


def _interpreter(imports: bool, core: int, environment: dict[str, str]) -> dict[str, float]:
    """What no code of ours can get below, and what importing everything takes."""
    script = "import time, os, resource\n"
    if imports:
        script += "import thalweg.cli; from thalweg.sparing import spare; spare()\n"
        script += "import thalweg.server, thalweg.edge.serve, handlers.app, uvloop, httptools\n"
    script += (
        "pages = int(open('/proc/self/statm').read().split()[1])\n"
        "print(time.time(), time.process_time(), pages * os.sysconf('SC_PAGE_SIZE') / 2**20)\n"
    )
    started = time.time()
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    ended, cpu, mib = (float(word) for word in done.stdout.split())
    return {"seconds": ended - started, "cpu_seconds": cpu, "mib": mib, "mib_after_use": mib}


def _operations() -> list[tuple[str, str]]:
    """Method and path of everything that is served."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["thalweg"]
    found = []
    for key, base in project["surfaces"].items():
        bundle = json.loads((ROOT / project["generated"] / key / "bundle.json").read_bytes())
        for path, item in bundle["paths"].items():
            found += [(m.upper(), base + path) for m in ("get", "put", "post", "patch", "delete") if m in item]
    return found


def _call_all(port: int, operations: list[tuple[str, str]]) -> None:
    """Every operation once, anonymously and without a body: refused by most, and every one of them was there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for method, path in operations:
        connection.request(method, path.replace("{", "").replace("}", ""))
        answer = connection.getresponse()
        if answer.will_close or "event-stream" in (answer.getheader("content-type") or ""):
            connection.close()
        else:
            answer.read()


def _environment(folder: Path, database_url: str, redis_url: str) -> dict[str, str]:
    metrics = folder / "metrics"
    metrics.mkdir()
    return {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "PYTHONDONTWRITEBYTECODE": "",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "THALWEG_ROOT": str(ROOT),
        "THALWEG_DATABASE_URL": database_url,
        "THALWEG_REDIS_URL": redis_url,
        "THALWEG_DATA_DIR": str(folder / "data"),
        "THALWEG_ENVIRONMENT": "test",
        "THALWEG_LOG_LEVEL": "warning",
        "THALWEG_SECRET_KEYS": f"1:{base64.urlsafe_b64encode(os.urandom(32)).decode()}",
    }


def _print(report: dict[str, Any]) -> None:
    table = Table(title=f"Start-up, {report['operations']} operations (peers: {report['operations_of_peers']})")
    table.add_column("")
    for column in ("first answer s", "CPU s", "MiB", "MiB after use"):
        table.add_column(column, justify="right")
    for name, label in LABELS.items():
        figures = report["median"][name]
        table.add_row(
            label,
            f"{figures['seconds']:.2f}",
            f"{figures['cpu_seconds']:.2f}",
            f"{figures['mib']:.0f}",
            f"{figures['mib_after_use']:.0f}",
        )
    console = Console()
    console.print(table)
    console.print(f"Aims for thalweg serve: under {TARGETS['seconds']:.0f} s and under {TARGETS['mib']} MiB.")


if __name__ == "__main__":
    main()
