"""Uploads: what a large one costs the API process and its other callers, a hundred at once, and how fast they are read.

    python benchmarks/uploads.py [--large 20] [--rounds 4] [--crowd 100] [--at-once 100] [--passages 4000]

The platform as it runs: API, scheduler and workers as processes of their own on Postgres and Valkey, asked over HTTP as
Thallus. (1) `--large` files of 50 MiB, one after the other, as fast as they are taken, while somebody else lists their
own documents at a steady rate: memory of the API process beside what it had before, and the reader's times beside those
without an upload. With and without alternate in `--rounds`, each as long as the other, and all rounds count together:
what else the machine does meets both. Then `--crowd` such files at the same moment, with nobody beside. (2) `--at-once`
small files at the same moment; counted is how many end `completed`. (3) Documents of about `--passages`
passages: from the first upload to the last `completed`, beside the bare embedder on a thousand of them, twice, in a
process of its own. Prints a table and writes reports/uploads.json.

No higher priority is asked for, unlike elsewhere here: each process of Postgres leads a session of its own, and
Linux shares the processor out by sessions. API, reader and sender together would leave Postgres a tenth of a busy one.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "benchmarks")]

import httpx  # noqa: E402
import psycopg  # noqa: E402
import uvloop  # noqa: E402
from peers.process import Server  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from domain import billing, identity, inference, knowledge, migrations, startup  # noqa: E402
from domain.kernel import crypto  # noqa: E402
from domain.kernel.context import AnonymousActor, SystemActor  # noqa: E402
from domain.kernel.db import Database  # noqa: E402
from domain.knowledge import embedding  # noqa: E402
from domain.knowledge.chunking import Passage  # noqa: E402
from thalweg.embedded.postgres import Postgres  # noqa: E402
from thalweg.embedded.valkey import Valkey  # noqa: E402

BASE = "/thallus/api/v1/documents"
TARGETS = {"api_mib": 10.0, "p99": 2.0, "at_once": "every upload", "of_bare_embedder": 0.9}
MIB = 1 << 20
LARGE = 50 * MIB
RATE = 100.0
"""Requests a second of the reader."""
LISTED = 5
"""Documents of the list that is read."""
SENDER = ROOT / "benchmarks" / "peers" / "sender.py"
A_PASSAGE = 570
"""Characters of a passage, about."""
BARE = 1_000
"""Passages that the bare embedder is timed with: taken evenly from those that were read."""
A_DOCUMENT = 250
"""Passages of one of the documents whose reading is timed, about."""


# --- the platform -------------------------------------------------------------------------------------------------


def environment_of(folder: Path, database_url: str, redis_url: str) -> dict[str, str]:
    wide = ("upload", "read", "write", "search", "download")
    return {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "THALWEG_ROOT": str(ROOT),
        "THALWEG_DATABASE_URL": database_url,
        "THALWEG_REDIS_URL": redis_url,
        "THALWEG_DATA_DIR": str(folder / "data"),
        "THALWEG_ENVIRONMENT": "test",
        "THALWEG_LOG_LEVEL": "warning",
        "THALWEG_CAPTCHA": "off",
        "THALWEG_PUBLIC_URL": "https://uploads.example",
        "THALWEG_SECRET_KEYS": f"1:{base64.urlsafe_b64encode(os.urandom(32)).decode()}",
        "THALWEG_LIMITS": ",".join(f"thallus.{name}=1000000/minute" for name in wide),
    }


@contextmanager
def workers(environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Scheduler and the two workers that read documents in."""
    command = [sys.executable, "-P", "-m", "thalweg"]
    parts = (["worker", "--queue", "untrusted"], ["worker", "--queue", "default"], ["scheduler"])
    with (folder / "parts.log").open("wb") as log:
        running = [
            subprocess.Popen([*command, *arguments], env={**os.environ, **environment}, stdout=log, stderr=log)
            for arguments in parts
        ]
        try:
            yield
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(30)


def person(environment: dict[str, str]) -> dict[str, str]:
    """The headers of somebody on Thallus' largest plan."""
    startup.load_tables()
    crypto.use(crypto.KeyRing(dict([environment["THALWEG_SECRET_KEYS"].split(":", 1)])))
    identity.tokens.configure(environment["THALWEG_PUBLIC_URL"])
    database = Database(environment["THALWEG_DATABASE_URL"])
    try:
        with database.context(AnonymousActor("127.0.0.1"), None, platform=True, surface="thallus") as ctx:
            account = identity.accounts.make(
                ctx, email=f"p{os.urandom(6).hex()}@lovelace.example", name="Ada Lovelace", source="signup",
                password=None, verified=True,
            )  # fmt: skip
            organisation_id = identity.accounts.give_own_organisation(ctx, account)
            account_id = account.id
        with database.context(SystemActor(), organisation_id) as ctx:
            billing.subscribe(ctx, "enterprise", product="thallus")
        with database.context(AnonymousActor("127.0.0.1"), None, platform=True, surface="thallus") as ctx:
            account = identity.accounts.get(ctx, account_id)
            belonging = identity.signin.choose_organisation(ctx, account)
            signed = identity.sessions.open_session(ctx, account, belonging, surface="thallus", method="password")
            return {"Authorization": f"Bearer {signed.access_token}"}
    finally:
        database.dispose()


# --- one large file -----------------------------------------------------------------------------------------------


class Sender:
    """Somebody who uploads large files, in a process of their own (`peers/sender.py`)."""

    def __init__(self, api: Server, headers: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(SENDER), str(api.port), f"{BASE}/upload"],
            env={**os.environ, "TOKEN": headers["Authorization"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, size: int, number: int) -> float:
        """Seconds that an upload took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(size, number, file=self._process.stdin, flush=True)
        told = self._process.stdout.readline()
        if not told:
            raise SystemExit("the sender has failed")
        return float(told)

    def close(self) -> None:
        self._process.communicate(timeout=30)


class Reader(threading.Thread):
    """Reads a list of documents at a steady rate, whatever it takes, and keeps the times. Late ones count from when
    they were due."""

    def __init__(self, url: str, headers: dict[str, str], seconds: float | None = None) -> None:
        super().__init__(daemon=True)
        self.times: list[float] = []
        self.wrong: Counter[int] = Counter()
        self._url, self._headers, self._seconds = url, headers, seconds
        self._over = threading.Event()

    def run(self) -> None:
        uvloop.run(self._read())

    def stop(self) -> list[float]:
        self._over.set()
        self.join()
        return self.times

    async def _read(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=60) as client:
            began = time.monotonic()
            pending: set[asyncio.Task[None]] = set()
            number = 0
            while not self._over.is_set() and (self._seconds is None or time.monotonic() - began < self._seconds):
                due = began + number / RATE
                number += 1
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                task = asyncio.create_task(self._ask(client, due))
                pending.add(task)
                task.add_done_callback(pending.discard)
            await asyncio.gather(*pending)

    async def _ask(self, client: httpx.AsyncClient, due: float) -> None:
        reply = await client.get(BASE, params={"limit": 5})
        self.times.append(time.monotonic() - due)
        if reply.status_code != 200:
            self.wrong[reply.status_code] += 1


class Watch(threading.Thread):
    """The most memory that a process has meanwhile, MiB."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server, self._over = server, threading.Event()
        self.most: float = server.memory

    def run(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, self._server.memory)

    def stop(self) -> float:
        self._over.set()
        self.join()
        return self.most


def large_ones(
    api: Server, headers: dict[str, str], other: dict[str, str], given: argparse.Namespace
) -> dict[str, Any]:
    """`other` reads what does not change meanwhile: a list that grows with each upload would be other work."""
    sender = Sender(api, headers)
    uvloop.run(upload_all(api.url, other, [words_of(number, 1) for number in range(LISTED)], "listed"))
    sender.send(MIB, 0)  # what is made once is made now
    warm = Reader(api.url, other, 2.0)
    warm.start()
    warm.join()
    before, most = api.memory, 0.0
    alone: list[float] = []
    beside: list[float] = []
    took: list[float] = []
    rounds: list[float] = []
    wrong: Counter[int] = Counter()
    for _ in range(given.rounds):
        watch, reader = Watch(api), Reader(api.url, other)
        watch.start()
        reader.start()
        began = time.monotonic()
        files = range(max(1, given.large // given.rounds))
        took += [sender.send(LARGE, len(took) + 1 + number) for number in files]
        seconds = time.monotonic() - began
        times, most = reader.stop(), max(most, watch.stop())
        quiet = Reader(api.url, other, seconds)
        quiet.start()
        quiet.join()
        wrong += reader.wrong + quiet.wrong
        rounds.append(round(percentile(times, 99) / percentile(quiet.times, 99), 2))
        alone, beside = alone + quiet.times, beside + times
        forget(api, headers)
    sender.close()
    return {
        "uploads": len(took),
        "seconds": round(sum(took) / len(took), 2),
        "api_mib_before": round(before, 1),
        "api_mib": round(most - before, 1),
        "alone_ms": spread(alone),
        "beside_ms": spread(beside),
        "p99": round(percentile(beside, 99) / percentile(alone, 99), 2),
        "p99_of_rounds": rounds,
        "refused": dict(wrong),
    }


def crowd(api: Server, headers: dict[str, str], number: int) -> dict[str, Any]:
    """So many files of 50 MiB at the same moment, each from a sender of its own."""
    before = api.memory
    watch, senders = Watch(api), [Sender(api, headers) for _ in range(number)]
    watch.start()
    began = time.monotonic()
    with ThreadPoolExecutor(number) as together:
        took = list(together.map(lambda at: senders[at].send(LARGE, at), range(number)))
    seconds, most = time.monotonic() - began, watch.stop()
    for each in senders:
        each.close()
    forget(api, headers)
    return {"taken": len(took), "seconds": round(seconds, 1), "api_mib": round(most - before, 1)}


def forget(api: Server, headers: dict[str, str]) -> None:
    """Delete what was uploaded: it is to be taken, not read."""
    with httpx.Client(base_url=api.url, headers=headers, timeout=60) as client:
        for document in client.get(BASE, params={"limit": 100}).json()["items"]:
            client.delete(f"{BASE}/{document['id']}").raise_for_status()


# --- many at once -------------------------------------------------------------------------------------------------


def words_of(number: int, passages: int) -> bytes:
    """A text of its own, of so many passages or thereabouts: sentences of this project's pages, shuffled."""
    chance = random.Random(number)
    pages = " ".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
    sentences = [each.strip() for each in pages.replace("\n", " ").split(". ") if 40 < len(each.strip()) < 300]
    lines, characters = [f"Document {number}."], 0
    while characters < passages * A_PASSAGE:
        taken = chance.sample(sentences, 5)
        lines.append(". ".join(taken) + ".")
        characters += len(lines[-1])
    return "\n\n".join(lines).encode()


async def upload_all(url: str, headers: dict[str, str], texts: Sequence[bytes], name: str) -> Counter[int]:
    """Send all of them at the same moment; how many answers there were of each status."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120, limits=limits) as client:

        async def one(number: int, text: bytes) -> int:
            files = {"file": (f"{name}-{number}.txt", text, "text/plain")}
            return (await client.post(f"{BASE}/upload", files=files)).status_code

        return Counter(await asyncio.gather(*(one(number, text) for number, text in enumerate(texts))))


class Documents:
    """How far the reading of documents is, asked of the database: asking the API would be load."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)

    def wait(self, name: str, count: int, seconds: float) -> Counter[str]:
        """States once none of the `count` documents is waiting any more, or when time is over."""
        end = time.monotonic() + seconds
        query = (
            "SELECT entry.state, count(*) FROM collection_entry entry JOIN document ON document.id = entry.document_id "
            "WHERE document.filename LIKE %s GROUP BY 1"
        )
        while True:
            states: Counter[str] = Counter(dict(self._connection.execute(query, [f"{name}-%"]).fetchall()))
            if states["completed"] + states["failed"] >= count or time.monotonic() > end:
                return states
            time.sleep(0.2)  # oftener, and it is this that is measured: 20 ms took an eighth of a core

    def passages(self, name: str) -> int:
        query = "SELECT count(*) FROM chunk JOIN document ON document.id = document_id WHERE filename LIKE %s"
        row = self._connection.execute(query, [f"{name}-%"]).fetchone()
        assert row is not None
        return int(row[0])

    def texts(self, name: str) -> list[tuple[str, int]]:
        """The passages as they were embedded, and their tokens."""
        query = (
            "SELECT text, tokens FROM chunk JOIN document ON document.id = document_id WHERE filename LIKE %s "
            "ORDER BY document_id, ordinal"
        )
        return [(text, tokens) for text, tokens in self._connection.execute(query, [f"{name}-%"]).fetchall()]

    def close(self) -> None:
        self._connection.close()


def at_once(api: Server, headers: dict[str, str], documents: Documents, number: int) -> dict[str, Any]:
    texts = [words_of(each, 4) for each in range(number)]
    began = time.monotonic()
    answers = uvloop.run(upload_all(api.url, headers, texts, "together"))
    sent_after = time.monotonic() - began
    states = documents.wait("together", number, 60 + number * 3)
    return {
        "answers": {str(status): count for status, count in answers.items()},
        "sent_s": round(sent_after, 2),
        "states": dict(states),
        "read_s": round(time.monotonic() - began, 1),
    }


# --- how fast they are read ---------------------------------------------------------------------------------------


def bare(passages: Path) -> None:
    """Embed passages with the platform's model and nothing beside it; prints how many a second. In its own process, as
    the worker is."""
    drivers = inference.configure({})
    inference.bind(drivers)
    model = embedding.embedder(embedding.default_model())
    made = [
        Passage(ordinal=number, text=text, heading=None, page=None, tokens=tokens, position={})
        for number, (text, tokens) in enumerate(json.loads(passages.read_text()))
    ]
    size = knowledge.ingestion.BATCH
    embedding.of_passages(model, made[:size])
    fresh = made[size:]  # what the model has embedded before, it remembers: that would be for nothing
    began = time.perf_counter()
    for at in range(0, len(fresh), size):
        embedding.of_passages(model, fresh[at : at + size])
    print(len(fresh) / (time.perf_counter() - began))


def bare_rate(passages: Path) -> float:
    told = subprocess.run([sys.executable, __file__, "--bare", str(passages)], stdout=subprocess.PIPE, check=True)
    return float(told.stdout)


def read_in(
    api: Server, headers: dict[str, str], documents: Documents, folder: Path, environment: dict[str, str], many: int
) -> dict[str, Any]:
    count = max(1, round(many / A_DOCUMENT))
    texts = [words_of(10_000 + number, A_DOCUMENT) for number in range(count)]
    with workers(environment, folder):
        uvloop.run(upload_all(api.url, headers, [words_of(9_999, 8)], "warming"))
        documents.wait("warming", 1, 120)
        began = time.monotonic()  # the first of them are being read before the last is here
        uvloop.run(upload_all(api.url, headers, texts, "timed"))
        states = documents.wait("timed", count, 120 + many / 2)
        seconds = time.monotonic() - began
    if states["completed"] != count:
        raise SystemExit(f"not all documents were read: {dict(states)}")
    passages = folder / "passages.json"
    texts_read = documents.texts("timed")
    passages.write_text(json.dumps(texts_read[:: max(1, len(texts_read) // BARE)]))
    rates = [bare_rate(passages) for _ in range(2)]
    made = documents.passages("timed")
    rate, beside = made / seconds, sum(rates) / len(rates)
    return {
        "documents": count,
        "passages": made,
        "seconds": round(seconds, 1),
        "a_second": round(rate, 1),
        "bare_a_second": [round(each, 1) for each in rates],
        "of_bare_embedder": round(rate / beside, 3),
    }


# --- the whole ----------------------------------------------------------------------------------------------------


def percentile(values: list[float], at: int) -> float:
    ordered = sorted(values)
    return round(ordered[min(int(len(ordered) * at / 100), len(ordered) - 1)] * 1000, 2)


def spread(values: list[float]) -> dict[str, float]:
    return {f"p{at}": percentile(values, at) for at in (50, 95, 99)} | {"requests": len(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=20, help="files of 50 MiB")
    parser.add_argument("--rounds", type=int, default=4, help="that they are sent in")
    parser.add_argument("--crowd", type=int, default=100, help="files of 50 MiB at the same moment")
    parser.add_argument("--at-once", type=int, default=100, help="uploads at the same moment")
    parser.add_argument("--passages", type=int, default=4000, help="whose reading is timed")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        bare(given.bare)
        return
    # The reader is in this process, which holds the whole platform: to collect its garbage takes 90 ms, in which no
    # request is sent, and then all of them at the same moment.
    gc.freeze()
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # the database's system user passes through
        report = _measure(Path(folder), given)
    _print(report)
    reports = ROOT / "reports"
    reports.mkdir(exist_ok=True)
    (reports / "uploads.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _measure(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    postgres, valkey = Postgres(folder / "postgres"), Valkey(folder / "valkey")
    try:
        environment = environment_of(folder, postgres.start(), valkey.start())
        migrations.upgrade(environment["THALWEG_DATABASE_URL"])
        documents = Documents(environment["THALWEG_DATABASE_URL"])
        report: dict[str, Any] = {"load": [round(value, 1) for value in os.getloadavg()], "targets": TARGETS}
        command = [sys.executable, "-P", "-m", "thalweg", "serve"]
        api = Server(command, "/health", -1, folder / "api.log", environment)
        try:
            # Nobody reads yet: the workers' own work on the same cores is not what an upload costs.
            report["large"] = large_ones(api, person(environment), person(environment), given)
            report["crowd"] = crowd(api, person(environment), given.crowd)
            with workers(environment, folder):
                report["at_once"] = at_once(api, person(environment), documents, given.at_once)
            report["reading"] = read_in(api, person(environment), documents, folder, environment, given.passages)
        finally:
            api.stop()
            documents.close()
        return report
    finally:
        valkey.stop()
        postgres.stop()


def _print(report: dict[str, Any]) -> None:
    large, together, reading = report["large"], report["at_once"], report["reading"]
    table = Table(title=f"Uploads, load {report['load'][0]} before")
    for column in ("", "measured", "aim"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row(f"{large['uploads']} files of 50 MiB, s each", f"{large['seconds']}", "")
    table.add_row("memory of the API process for them, MiB", f"{large['api_mib']}", "10")
    for at in ("p50", "p99"):
        times = f"{large['alone_ms'][at]} / {large['beside_ms'][at]}"
        table.add_row(f"other requests alone / beside them, {at} ms", times, "")
    table.add_row("p99 beside them, times that alone", f"{large['p99']}", "2")
    table.add_row("the same of each round", " ".join(map(str, large["p99_of_rounds"])), "")
    many = report["crowd"]
    table.add_row("files of 50 MiB at once: taken", f"{many['taken']}", "all")
    table.add_row("the same: s, and MiB of the API process", f"{many['seconds']} / {many['api_mib']}", "")
    every = sum(together["answers"].values())
    table.add_row(f"{every} at once: taken", f"{together['answers'].get('201', 0)}", f"{every}")
    table.add_row("the same: read to the end", f"{together['states'].get('completed', 0)}", f"{every}")
    table.add_row("the same: s until taken / until read", f"{together['sent_s']} / {together['read_s']}", "")
    table.add_row(
        f"reading {reading['passages']} passages, a second / bare embedder",
        f"{reading['a_second']} / {' '.join(map(str, reading['bare_a_second']))}",
        "",
    )
    table.add_row("of the bare embedder", f"{reading['of_bare_embedder']}", "0.9")
    Console().print(table)


if __name__ == "__main__":
    main()
