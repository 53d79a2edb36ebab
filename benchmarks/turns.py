"""Turns: how soon one begins, how soon one ends that is cancelled, and a thousand that stream at once.

    python benchmarks/turns.py [--turns 1000] [--words 60] [--seconds 90] [--workers 2] [--starts 200] [--cancels 40]

The platform as it runs: API, scheduler and workers as processes of their own on Postgres and Valkey, asked over HTTP as
Thallus. (1) From the POST to the first event on the stream, one turn after the other, with the quoting assistant and
warm workers. (2) From a cancellation to the last event, while a model on loopback that speaks OpenAI's protocol says
`--words` words evenly over `--seconds`. (3) `--turns` people ask that model at once. Every client goes away in the
middle of its answer and comes back with the number of the last event that it saw. Counted is who got every event once,
in order, and the whole answer. Prints a table and writes reports/turns.json.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "benchmarks")]

import httpx  # noqa: E402
import uvloop  # noqa: E402
from peers.process import Server  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from domain import billing, conversations, identity, migrations, startup  # noqa: E402
from domain.kernel import crypto  # noqa: E402
from domain.kernel.context import AnonymousActor, SystemActor, UserActor  # noqa: E402
from domain.kernel.db import Database  # noqa: E402
from thalweg.embedded.postgres import Postgres  # noqa: E402
from thalweg.embedded.valkey import Valkey  # noqa: E402

BASE = "/thallus/api/v1/chat"
TARGETS = {"first_event_p95_ms": 150.0, "cancelled_p95_ms": 1000.0, "whole": "every turn"}
QUESTION = "When are invoices paid, and who signs them?"


@dataclass(frozen=True)
class Person:
    headers: dict[str, str]
    account_id: UUID
    organisation_id: UUID


@dataclass
class Turn:
    """What one client saw."""

    headers: dict[str, str]
    asked: float = 0.0
    first: float = 0.0
    spoke: float = 0.0
    ended: float = 0.0
    numbers: list[int] = field(default_factory=list)
    text: str = ""
    last_event: str = ""
    last_id: str = "0"
    refused: str = ""
    failed: str = ""

    def whole(self, words: int) -> bool:
        """Every event once, in order, and the answer that the model gave."""
        return (
            all(one < other for one, other in pairwise(self.numbers))
            and self.last_event == "complete"
            and self.text.split() == [f"w{number}" for number in range(words)]
        )


# --- the model: a process of its own ------------------------------------------------------------------------------


async def speak(words: int, seconds: float) -> None:
    """A server of OpenAI's chat completions that says `words` words in `seconds`. Prints its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                asked = json.loads(await reader.readexactly(int(length[1]))) if length else {}
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                start = asyncio.get_running_loop().time()
                for number in range(words):
                    await asyncio.sleep(max(0.0, start + seconds * number / words - asyncio.get_running_loop().time()))
                    _say(writer, asked, {"content": f"w{number} "})
                    await writer.drain()
                _say(writer, asked, {}, "stop")
                _chunk(writer, b"data: [DONE]\n\n")
                writer.write(b"0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _say(writer: asyncio.StreamWriter, asked: dict[str, Any], delta: dict[str, Any], end: str | None = None) -> None:
    told = {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": asked.get("model", "stub"),
        "choices": [{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": end}],
    }
    _chunk(writer, b"data: " + json.dumps(told).encode() + b"\n\n")


def _chunk(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")


# --- the platform -------------------------------------------------------------------------------------------------


def environment_of(folder: Path, database_url: str, redis_url: str) -> dict[str, str]:
    return {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "THALWEG_ROOT": str(ROOT),
        "THALWEG_DATABASE_URL": database_url,
        "THALWEG_REDIS_URL": redis_url,
        "THALWEG_DATA_DIR": str(folder / "data"),
        "THALWEG_ENVIRONMENT": "test",
        "THALWEG_LOG_LEVEL": "warning",
        "THALWEG_CAPTCHA": "off",
        "THALWEG_PUBLIC_URL": "https://turns.example",
        "THALWEG_SECRET_KEYS": f"1:{base64.urlsafe_b64encode(os.urandom(32)).decode()}",
    }


@contextmanager
def platform(
    environment: dict[str, str], folder: Path, name: str, workers: int = 1
) -> Iterator[tuple[Server, dict[str, int]]]:
    """API, scheduler and workers, so many for turns; ends with all of them. Answers the API and the processes' ids by
    name."""
    command = [sys.executable, "-P", "-m", "thalweg"]
    log = (folder / f"{name}-parts.log").open("wb")
    parts = {
        **{f"turns {number}": ["worker", "--queue", "interactive"] for number in range(1, workers + 1)},
        "default": ["worker", "--queue", "default"],
        "scheduler": ["scheduler"],
    }
    running = {
        part: subprocess.Popen([*command, *arguments], env={**os.environ, **environment}, stdout=log, stderr=log)
        for part, arguments in parts.items()
    }
    try:
        api = Server([*command, "serve"], "/health", -1, folder / f"{name}-api.log", environment)
        try:
            yield api, {part: process.pid for part, process in running.items()} | {"api": api.process.pid}
        finally:
            api.stop()
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait(30)
        log.close()


def people(environment: dict[str, str], number: int) -> list[Person]:
    """So many people of one organisation on Thallus' largest plan, signed in."""
    startup.load_tables()
    crypto.use(crypto.KeyRing(dict([environment["THALWEG_SECRET_KEYS"].split(":", 1)])))
    identity.tokens.configure(environment["THALWEG_PUBLIC_URL"])
    database = Database(environment["THALWEG_DATABASE_URL"])
    found = []
    try:
        organisation_id = None
        for index in range(number):
            with database.context(AnonymousActor("127.0.0.1"), None, platform=True, surface="thallus") as ctx:
                account = identity.accounts.make(
                    ctx, email=f"p{index}-{crypto.token()[:8].lower()}@lovelace.example".replace("_", "x"),
                    name="Ada Lovelace", source="signup", password=None, verified=True,
                )  # fmt: skip
                if organisation_id is None:
                    organisation_id = identity.accounts.give_own_organisation(ctx, account)
                else:
                    identity.accounts.join(ctx, account, organisation_id, "member", source="invite")
                account_id = account.id
            if index == 0:
                with database.context(SystemActor(), organisation_id) as ctx:
                    billing.subscribe(ctx, "enterprise", product="thallus")
            with database.context(AnonymousActor("127.0.0.1"), None, platform=True, surface="thallus") as ctx:
                account = identity.accounts.get(ctx, account_id)
                belonging = identity.signin.choose_organisation(ctx, account)
                signed = identity.sessions.open_session(ctx, account, belonging, surface="thallus", method="password")
                headers = {"Authorization": f"Bearer {signed.access_token}"}
                found.append(Person(headers, account_id, organisation_id))
    finally:
        database.dispose()
    return found


# --- the clients --------------------------------------------------------------------------------------------------


async def ask(client: httpx.AsyncClient, turn: Turn, *, leave_after: int | None) -> None:
    """One turn from its question to its end; the client leaves after so many events and comes back once."""
    turn.asked = time.monotonic()
    reply = await client.post(f"{BASE}/stream", json={"message": QUESTION, "mode": "ask"}, headers=turn.headers)
    if reply.status_code != 202:
        turn.refused = f"{reply.status_code} {reply.text[:200]}"
        return
    task = reply.json()["task_id"]
    while not turn.ended:
        query = {"last_id": turn.last_id}
        async with client.stream("GET", f"{BASE}/{task}/progress", params=query, headers=turn.headers) as stream:
            if stream.status_code != 200:
                turn.refused = f"{stream.status_code} {(await stream.aread())[:200].decode()}"
                return
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    _heard(turn, json.loads(line[6:]))
                elif not line and leave_after is not None and len(turn.numbers) >= leave_after:
                    leave_after = None
                    break


def _heard(turn: Turn, data: dict[str, Any]) -> None:
    kind = data["update_type"]
    if kind == "heartbeat":
        return
    turn.first = turn.first or time.monotonic()
    turn.last_id = data["event_id"]
    turn.numbers.append(int(turn.last_id.rpartition("-")[2]))
    turn.last_event = kind
    turn.text += data.get("delta", "")
    turn.spoke = turn.spoke or (time.monotonic() if turn.text else 0.0)
    if kind in ("complete", "error"):
        turn.ended = time.monotonic()
        turn.failed = json.dumps(data.get("error"))[:200] if kind == "error" else ""


async def one_after_the_other(url: str, asking: list[Person], starts: int) -> list[float]:
    """Seconds from POST to first event."""
    taken = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for number in range(starts + 10):
            turn = Turn(asking[number % len(asking)].headers)
            await ask(client, turn, leave_after=None)
            if turn.refused or not turn.first:
                raise SystemExit(f"a turn was not answered: {turn.refused}")
            if number >= 10:
                taken.append(turn.first - turn.asked)
    return taken


async def cancelled(url: str, asking: list[Person], database_url: str, number: int) -> list[float]:
    """Seconds from the commit of a cancellation to the event that ends the turn, while the model speaks."""
    database = Database(database_url)

    def cancel(person: Person, task: UUID) -> None:
        with database.context(UserActor(person.account_id), person.organisation_id, surface="thallus") as ctx:
            conversations.cancel(ctx, task)

    taken = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for at in range(number):
            person = asking[at % len(asking)]
            body = {"message": QUESTION, "mode": "ask"}
            reply = await client.post(f"{BASE}/stream", json=body, headers=person.headers)
            task = reply.raise_for_status().json()["task_id"]
            stopped, kind = 0.0, ""
            async with client.stream("GET", f"{BASE}/{task}/progress", headers=person.headers) as stream:
                async for line in stream.aiter_lines():
                    kind = json.loads(line[6:])["update_type"] if line.startswith("data: ") else kind
                    if kind == "text_delta" and not stopped:
                        await asyncio.to_thread(cancel, person, UUID(task))
                        stopped = time.monotonic()
            if kind != "error":
                raise SystemExit(f"a cancelled turn ended with {kind}")
            taken.append(time.monotonic() - stopped)
    database.dispose()
    return taken


async def all_at_once(url: str, asking: list[Person], words: int) -> list[Turn]:
    turns = [Turn(each.headers) for each in asking]
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        await asyncio.gather(*(ask(client, turn, leave_after=words // 2) for turn in turns))
    return turns


def most_at_once(turns: list[Turn]) -> int:
    """How many had begun to speak and not ended, at the fullest moment."""
    steps = sorted([(t.spoke, 1) for t in turns if t.spoke] + [(t.ended, -1) for t in turns if t.spoke and t.ended])
    return max(accumulate(step for _, step in steps), default=0)


def percentile(values: list[float], at: int) -> float:
    ordered = sorted(values)
    return round(ordered[min(int(len(ordered) * at / 100), len(ordered) - 1)] * 1000, 1)


def outcome(turn: Turn, words: int) -> str:
    """One word for how it ended."""
    if turn.whole(words):
        return "whole"
    if turn.refused:
        return f"refused: {turn.refused[:60]}"
    if turn.last_event == "error":
        return f"failed: {turn.failed[:60]}"
    return "said twice" if len(turn.text.split()) > words else f"not whole, last {turn.last_event or 'nothing'}"


def spent(pid: int) -> float:
    """Seconds of processor time of a process and what it has started."""
    total = 0.0
    for one in (pid, *_children(pid)):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(fields[at]) for at in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")
    return total


def _children(pid: int) -> Iterator[int]:
    if pid == os.getpid():
        return  # its children are the platform
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in tasks.read_text().split():
            yield int(child)
            yield from _children(int(child))


def memory_of(pid: int) -> float:
    """Resident, MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--words", type=int, default=60, help="that the model says to each")
    parser.add_argument("--seconds", type=float, default=90, help="that it takes for them")
    parser.add_argument("--workers", type=int, default=2, help="processes that run turns beside each other")
    parser.add_argument("--starts", type=int, default=200, help="turns whose first event is timed")
    parser.add_argument("--cancels", type=int, default=40, help="turns that are cancelled in the middle")
    parser.add_argument("--speak", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.speak:
        uvloop.run(speak(given.words, given.seconds))
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # the database's system user passes through
        report = _measure(Path(folder), given)
    _print(report)
    reports = ROOT / "reports"
    reports.mkdir(exist_ok=True)
    (reports / "turns.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _measure(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    postgres, valkey = Postgres(folder / "postgres"), Valkey(folder / "valkey")
    model = subprocess.Popen(
        [sys.executable, __file__, "--speak", "--words", str(given.words), "--seconds", str(given.seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert model.stdout is not None
        address = f"http://127.0.0.1:{int(model.stdout.readline())}/v1"
        environment = environment_of(folder, postgres.start(), valkey.start())
        migrations.upgrade(environment["THALWEG_DATABASE_URL"])
        report: dict[str, Any] = {
            "turns": given.turns,
            "workers": given.workers,
            "words": given.words,
            "seconds": given.seconds,
            "load": [round(value, 1) for value in os.getloadavg()],
            "targets": TARGETS,
        }
        environment["THALWEG_LIMITS"] = "thallus.chat=100000/minute"
        with platform(environment, folder, "quoting") as (api, _):
            taken = uvloop.run(one_after_the_other(api.url, people(environment, 5), given.starts))
            report["first_event_ms"] = {f"p{at}": percentile(taken, at) for at in (50, 95, 99)}
        streaming = environment | {
            "THALWEG_MODEL": "openai:stub",
            "THALWEG_OPENAI_BASE_URL": address,
            "THALWEG_OPENAI_API_KEY": "none",
            "THALWEG_INTERACTIVE_THREADS": str(-(-given.turns // given.workers) + given.workers),
        }
        with platform(streaming, folder, "streaming", given.workers) as (api, pids):
            asking = people(environment, given.turns)
            stopped = uvloop.run(cancelled(api.url, asking, environment["THALWEG_DATABASE_URL"], given.cancels))
            report["cancelled_ms"] = {f"p{at}": percentile(stopped, at) for at in (50, 95, 99)}
            before = {name: memory_of(pid) for name, pid in pids.items()}
            servers = {"model": model.pid, "client": os.getpid()} | {
                name: server.process.pid
                for name, server in (("postgres", postgres), ("valkey", valkey))
                if server.process is not None
            }
            used = {name: spent(pid) for name, pid in {**pids, **servers}.items()}
            began = time.monotonic()
            turns = uvloop.run(all_at_once(api.url, asking, given.words))
            report["all_at_once"] = {
                "seconds": round(time.monotonic() - began, 1),
                "refused": sum(bool(turn.refused) for turn in turns),
                "ended": dict(Counter(outcome(turn, given.words) for turn in turns)),
                "processor_seconds": {
                    name: round(spent(pid) - used[name]) for name, pid in {**pids, **servers}.items()
                },
                "whole": sum(turn.whole(given.words) for turn in turns),
                "streaming_at_the_same_moment": most_at_once(turns),
                "first_event_ms": {
                    f"p{at}": percentile([t.first - t.asked for t in turns if t.first], at) for at in (50, 95, 99)
                },
                "longest_s": round(max((t.ended - t.asked for t in turns if t.ended), default=0.0), 1),
                "worker_mib": round(
                    sum(memory_of(pid) - before[name] for name, pid in pids.items() if name.startswith("turns"))
                ),
                "api_mib": round(memory_of(pids["api"]) - before["api"]),
            }
            odd = next((turn for turn in turns if not turn.whole(given.words)), None)
            if odd is not None:
                report["all_at_once"]["first_that_was_not"] = {
                    "refused": odd.refused, "failed": odd.failed, "last_event": odd.last_event,
                    "events": len(odd.numbers), "words": len(odd.text.split()),
                }  # fmt: skip
        return report
    finally:
        model.kill()
        model.wait()
        valkey.stop()
        postgres.stop()


def _print(report: dict[str, Any]) -> None:
    console = Console()
    first, together = report["first_event_ms"], report["all_at_once"]
    table = Table(title=f"Turns, load {report['load'][0]} before")
    for column in ("", "measured", "aim"):
        table.add_column(column, justify="left" if not column else "right")
    for at in ("p50", "p95", "p99"):
        aim = "150" if at == "p95" else ""
        table.add_row(f"POST to first event, quoting assistant, {at} ms", f"{first[at]}", aim)
    for at in ("p50", "p95", "p99"):
        aim = "1000" if at == "p95" else ""
        table.add_row(f"cancellation to last event, {at} ms", f"{report['cancelled_ms'][at]}", aim)
    turns = report["turns"]
    table.add_row(f"{turns} at once: whole and in order, over a reconnect", f"{together['whole']}", f"{turns}")
    table.add_row("the same, at the fullest moment", f"{together['streaming_at_the_same_moment']}", f"{turns}")
    table.add_row("the same, refused", f"{together['refused']}", "0")
    table.add_row("the same, POST to first event, p95 ms", f"{together['first_event_ms']['p95']}", "")
    table.add_row(f"longest turn, s (the model speaks for {report['seconds']:g} s)", f"{together['longest_s']}", "")
    table.add_row("memory of the workers for it, MiB", f"{together['worker_mib']}", "")
    table.add_row("memory of the API process for it, MiB", f"{together['api_mib']}", "")
    console.print(table)
    console.print("How they ended:", together["ended"])
    console.print("Processor seconds:", together["processor_seconds"])
    if "first_that_was_not" in together:
        console.print("One that was not whole:", together["first_that_was_not"])


if __name__ == "__main__":
    main()
