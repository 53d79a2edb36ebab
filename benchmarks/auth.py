"""What credentials cost: the same GET with and without them, and signing in beside bare Argon2.

    python benchmarks/auth.py [--seconds 2] [--rounds 3]

One API process of the platform on a core of its own, on Postgres and Valkey. Three operations share a handler and a
reply: one is open, one wants an access token, one an API key; callers are verified as those of Thallus are. Signing in
is the platform's own `POST /thallus/api/v1/auth/login`, with its rate limit lifted; bare Argon2 checks the same
password in a single thread on the same core. Rounds take turns, figures are medians. Prints tables and writes
reports/auth.json.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "benchmarks")]

from peers import load, work  # noqa: E402
from peers.process import Server, cores, first_in_line  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from domain import identity, migrations, startup  # noqa: E402
from domain.kernel import crypto  # noqa: E402
from domain.kernel.context import SystemActor  # noqa: E402
from domain.kernel.db import Database  # noqa: E402
from thalweg.embedded.postgres import Postgres  # noqa: E402
from thalweg.embedded.valkey import Valkey  # noqa: E402

EMAIL = "ada@lovelace.example"
LOGIN = "/thallus/api/v1/auth/login"
QUERY = work.GET_PATH.partition("?")[2]
TARGETS = {"signed": 0.85, "keyed": 0.85}
LABELS = {"open": "no credentials", "signed": "access token", "keyed": "API key"}

ARGON = """
import json, sys, time
from domain.kernel import crypto
hashed, plain, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
assert crypto.verify_password(hashed, plain)
count, start, cpu = 0, time.perf_counter(), time.process_time()
while time.perf_counter() < start + seconds:
    crypto.verify_password(hashed, plain)
    count += 1
print(json.dumps({"per_second": count / (time.perf_counter() - start),
                  "cpu_us": (time.process_time() - cpu) / count * 1e6}))
"""

Figures = dict[str, float]


@dataclass(frozen=True)
class Person:
    """Who signs in, and what else proves who it is."""

    password: str
    hashed: str
    key: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of load in each round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # the database's system user passes through
        report = _measure(Path(folder), given.seconds, given.rounds)
    _print(report)
    reports = ROOT / "reports"
    reports.mkdir(exist_ok=True)
    (reports / "auth.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _measure(folder: Path, seconds: float, rounds: int) -> dict[str, Any]:
    server_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})  # inherited by Postgres and Valkey
    raised = first_in_line()
    postgres, valkey = Postgres(folder / "postgres"), Valkey(folder / "valkey")
    try:
        environment = _environment(folder, postgres.start(), valkey.start())
        migrations.upgrade(environment["THALWEG_DATABASE_URL"])
        person = _person(environment)
        command = [sys.executable, str(ROOT / "benchmarks" / "peers" / "signed.py")]
        server = Server(command, "/health", server_core, folder / "api.log", environment)
        try:
            return {
                "raised_priority": raised,
                "connections": load.CONNECTIONS,
                "generator": load.tool(),
                "seconds": seconds,
                "rounds": rounds,
                "targets": TARGETS,
                **_rounds(server, person, seconds, rounds, folder, server_core, load_core),
            }
        finally:
            server.stop()
    finally:
        valkey.stop()
        postgres.stop()


def _rounds(
    server: Server, person: Person, seconds: float, rounds: int, folder: Path, server_core: int, load_core: int
) -> dict[str, Any]:
    token = _token(server, person)
    headers = {"open": {}, "signed": {"Authorization": f"Bearer {token}"}, "keyed": {"X-API-Key": person.key}}
    body = json.dumps({"email": EMAIL, "password": person.password}).encode()
    taken: dict[str, list[Figures]] = {name: [] for name in (*headers, "sign_in", "argon2")}
    for number in range(rounds + 1):  # the first one warms up
        for case, sent in headers.items():
            url = f"{server.url}/bench/{case}/{work.PROJECT}?{QUERY}"
            taken[case].append(_load(server, url, None, seconds, folder, load_core, sent))
        taken["sign_in"].append(_load(server, server.url + LOGIN, body, seconds, folder, load_core, {}))
        taken["argon2"].append(_argon(person, seconds, server_core))
        if number == 0:
            for figures in taken.values():
                figures.clear()
    median = {name: {key: statistics.median(one[key] for one in f) for key in f[0]} for name, f in taken.items()}
    return {
        "median": median,
        "all_rounds": taken,
        "ratio": {
            **{case: median[case]["per_second"] / median["open"]["per_second"] for case in ("signed", "keyed")},
            "sign_in": median["sign_in"]["per_second"] / median["argon2"]["per_second"],
        },
    }


def _load(
    server: Server, url: str, body: bytes | None, seconds: float, folder: Path, core: int, headers: dict[str, str]
) -> Figures:
    before = server.cpu
    outcome = load.run(url, body, seconds, core, folder, headers)
    if outcome.errors:
        raise SystemExit(f"{outcome.errors} of {outcome.requests} requests to {url} were answered with an error")
    return {
        "per_second": outcome.requests / outcome.seconds,
        "cpu_us": (server.cpu - before) / outcome.requests * 1e6,
        "p50_ms": outcome.p50,
        "p99_ms": outcome.p99,
    }


def _argon(person: Person, seconds: float, core: int) -> Figures:
    done = subprocess.run(
        [sys.executable, "-c", ARGON, person.hashed, person.password, str(seconds)],
        cwd=ROOT,
        capture_output=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    figures: Figures = json.loads(done.stdout)
    return figures


def _person(environment: dict[str, str]) -> Person:
    """An account with an organisation of its own, and a key that acts as it."""
    startup.load_tables()
    crypto.use(crypto.KeyRing(dict([environment["THALWEG_SECRET_KEYS"].split(":", 1)])))
    password = f"Aa1-{crypto.token()[:24]}"
    database = Database(environment["THALWEG_DATABASE_URL"])
    try:
        with database.context(SystemActor(), None, platform=True) as ctx:
            account = identity.accounts.make(
                ctx, email=EMAIL, name="Ada Lovelace", source="signup", password=password, verified=True
            )
            organisation_id = identity.accounts.give_own_organisation(ctx, account)
            hashed, account_id = account.password_hash, account.id
        assert hashed is not None
        with database.context(SystemActor(), organisation_id) as ctx:
            _, key = identity.issue_api_key(ctx, "bench", ["full"], "thallus", account_id=account_id)
    finally:
        database.dispose()
    return Person(password, hashed, key)


def _token(server: Server, person: Person) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = json.dumps({"email": EMAIL, "password": person.password})
    connection.request("POST", LOGIN, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    told = answer.read()
    if answer.status != 200:
        raise SystemExit(f"signing in was answered with {answer.status}: {told.decode()}")
    token: str = json.loads(told)["access_token"]
    return token


def _environment(folder: Path, database_url: str, redis_url: str) -> dict[str, str]:
    metrics = folder / "metrics"
    metrics.mkdir()
    return {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "THALWEG_ROOT": str(ROOT),
        "THALWEG_DATABASE_URL": database_url,
        "THALWEG_REDIS_URL": redis_url,
        "THALWEG_DATA_DIR": str(folder / "data"),
        "THALWEG_ENVIRONMENT": "test",
        "THALWEG_LOG_LEVEL": "warning",
        "THALWEG_LIMITS": "thallus.auth=100000000/minute",
        "THALWEG_SECRET_KEYS": f"1:{base64.urlsafe_b64encode(os.urandom(32)).decode()}",
    }


def _print(report: dict[str, Any]) -> None:
    console = Console(width=max(100, Console().width))
    table = Table(title="GET, one handler, one reply", title_justify="left")
    table.add_column("")
    for column in ("requests/s", "CPU µs/request", "p50 ms", "p99 ms", "beside none", "aim"):
        table.add_column(column, justify="right")
    for case, label in LABELS.items():
        figures = report["median"][case]
        ratio = report["ratio"].get(case)
        table.add_row(
            label,
            f"{figures['per_second']:,.0f}",
            f"{figures['cpu_us']:.0f}",
            f"{figures['p50_ms']:.1f}",
            f"{figures['p99_ms']:.1f}",
            *(["-", "-"] if ratio is None else [f"{ratio:.2f}x", f"{TARGETS[case]}x"]),
        )
    console.print(table)
    table = Table(title="Signing in beside checking its password", title_justify="left")
    table.add_column("")
    for column in ("a second", "CPU µs each", "beside Argon2"):
        table.add_column(column, justify="right")
    for name, label in (("sign_in", "POST .../auth/login"), ("argon2", "bare Argon2, one thread")):
        figures = report["median"][name]
        ratio = f"{report['ratio']['sign_in']:.2f}x" if name == "sign_in" else "-"
        table.add_row(label, f"{figures['per_second']:,.0f}", f"{figures['cpu_us']:,.0f}", ratio)
    console.print(table)
    console.print(f"Load by {report['generator']}, {report['connections']} connections.")


if __name__ == "__main__":
    main()
