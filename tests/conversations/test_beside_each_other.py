"""Turns of many people at once in one worker process, with a model of a provider: nothing of one gets into another, and
what happens to one (a cancel, a limit, the end of the process) happens to no other."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from domain import conversations
from domain.kernel import crypto
from domain.kernel.context import SystemActor

PROGRAM = Path(__file__).with_name("turns_under_test.py")
ROOT = PROGRAM.parents[2]
AT_ONCE = 12
WORDS = 40
Process = subprocess.Popen[bytes]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def words(name: str, most: int = WORDS) -> str:
    """What the model says to whoever asks as `name`."""
    return " ".join(f"{name}:{number}" for number in range(most))


class Crowd:
    """Speaks OpenAI's protocol, to nobody before `AT_ONCE` have asked. It counts for `person-n`, in their name; to whom
    asks for silence it says nothing. `heard` is who has asked, with the words that were out already. Before it has said
    more than five words to anybody it waits for `goes_on`."""

    def __init__(self) -> None:
        crowd = self
        self.heard: list[tuple[str, str]] = []
        self.together = threading.Barrier(AT_ONCE)
        self.begun = threading.Event()
        self.goes_on = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
                asked = " ".join(str(each["content"]) for each in messages if each["role"] == "user")
                named = re.findall(r"person-\d+", asked)
                said = [str(each["content"]) for each in messages if each["role"] == "assistant" and each["content"]]
                crowd.heard.append((named[0], said[-1] if said else ""))
                assert len(set(named)) == 1, f"several people in one question: {asked}"
                if not crowd.begun.is_set():
                    crowd.together.wait(90)
                    crowd.begun.set()
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                if "silence" in asked:
                    time.sleep(60)
                    return
                whole = words(named[0])
                rest = whole.removeprefix(said[-1]) if said else whole
                for number, piece in enumerate(re.findall(r"\s*\S+", rest)):
                    if number == 5:
                        crowd.goes_on.wait(200)
                    self.chunk({"role": "assistant", "content": piece})
                    time.sleep(0.08)
                self.chunk({}, "stop")
                self.wfile.write(b"data: [DONE]\n\n")

            def chunk(self, delta: dict[str, str], finish: str | None = None) -> None:
                made = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
                made["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish}]
                self.wfile.write(f"data: {json.dumps(made)}\n\n".encode())
                self.wfile.flush()

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: Any) -> None:
                pass  # a client that went away

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    made = Crowd()
    yield made
    made.goes_on.set()
    made.server.shutdown()


@pytest.fixture
def start(database: Any, database_url: str, valkey_url: str, crowd: Crowd) -> Iterator[Callable[..., Process]]:
    with database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
        ctx.session.execute(text("DELETE FROM job"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("THALWEG_")},
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        "THALWEG_ENVIRONMENT": "test",
        "THALWEG_DATABASE_URL": database_url,
        "THALWEG_REDIS_URL": valkey_url,
        "THALWEG_SECRET_KEYS": f"test:{crypto.KeyRing.new_key()}",
        "THALWEG_MODEL": "openai:stub",
        "THALWEG_OPENAI_BASE_URL": crowd.url,
        "THALWEG_INTERACTIVE_THREADS": "16",
    }
    started: list[Process] = []

    def act(*role: str) -> Process:
        started.append(subprocess.Popen([sys.executable, str(PROGRAM), *role], env=environment))
        return started[-1]

    act("scheduler")
    yield act
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def people(make_world: Callable[..., Any]) -> list[Any]:
    """A person each of many organisations."""
    return [make_world("thallus") for _ in range(AT_ONCE)]


def until(true: Callable[[], Any], seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def events(world: Any, turn_id: Any) -> list[tuple[int, str, dict[str, Any]]]:
    with world.ctx() as ctx:
        return [(each.number, each.name, dict(each.data)) for each in conversations.events_after(ctx, turn_id)]


def spoken(world: Any, turn_id: Any) -> str:
    return "".join(data["delta"] for _, name, data in events(world, turn_id) if name == "text_delta")


def over(world: Any, turn_id: Any) -> bool:
    return world.turn(turn_id).state in ("completed", "failed", "cancelled")


def whole(world: Any, turn_id: Any) -> str:
    """The words of a turn that has ended, held against what every stream promises. Its state is the last event's."""
    told = events(world, turn_id)
    assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
    assert [name in conversations.TERMINAL for _, name, _ in told] == [False] * (len(told) - 1) + [True]
    ends = {"complete": "completed", "error": "failed", "cancelled": "cancelled"}
    assert world.turn(turn_id).state == ends[told[-1][1]]
    return "".join(data["delta"] for _, name, data in told if name == "text_delta")


def attempts(world: Any, turn_id: Any) -> tuple[str, int]:
    with world.database.context(SystemActor("test"), None, platform=True) as ctx:
        row = ctx.session.execute(
            text("SELECT state, attempts FROM job WHERE args->>'turn_id' = :id AND name LIKE 'conversations.answer%'"),
            {"id": str(turn_id)},
        ).one()
    return str(row[0]), int(row[1])


def test_a_dozen_people_are_answered_at_once_each_in_their_own_words(
    start: Callable[..., Process], people: list[Any], crowd: Crowd
) -> None:
    """The eleventh cancels, with a model that is silent; the twelfth's job comes to its limit in the same silence."""
    crowd.goes_on.set()
    asked = [f"Count for me, person-{n}." for n in range(10)]
    asked += ["Give person-10 some silence.", "Give person-11 some silence."]
    turns = [world.start(question, mode="ask") for world, question in zip(people, asked, strict=True)]
    with people[11].database.context(SystemActor("test"), None, platform=True) as ctx:
        ctx.session.execute(
            text("UPDATE job SET name = 'conversations.answer_briefly' WHERE args->>'turn_id' = :id"),
            {"id": str(turns[11])},
        )
    worker = start("worker", "8", "20")  # nobody dies here: a lease that ran out would be the machine's fault
    until(crowd.begun.is_set)
    assert sorted(name for name, _ in crowd.heard) == sorted(f"person-{n}" for n in range(AT_ONCE))
    with people[10].ctx() as ctx:
        conversations.cancel(ctx, turns[10])
    until(lambda: all(over(world, turn) for world, turn in zip(people, turns, strict=True)))
    for number in range(10):
        assert whole(people[number], turns[number]) == words(f"person-{number}")
        with people[number].ctx() as ctx:
            conversation = people[number].turn(turns[number]).conversation_id
            kept = conversations.list_messages(ctx, conversation).items
        assert [each.content for each in kept] == [asked[number], words(f"person-{number}")]
    assert whole(people[10], turns[10]) == whole(people[11], turns[11]) == ""
    cancelled, late = people[10].turn(turns[10]), people[11].turn(turns[11])
    assert (cancelled.ended_at - cancelled.cancel_requested_at).total_seconds() < 15  # of 60 of silence
    assert (late.state, late.error_code, late.error_message) == ("failed", "timed_out", "The answer took too long.")
    until(lambda: {attempts(w, t) for w, t in zip(people, turns, strict=True)} == {("done", 1)})
    assert len(crowd.heard) == AT_ONCE, "nobody was asked for twice"
    assert worker.poll() is None


@pytest.mark.faults
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_ends_in_the_middle_of_a_dozen_answers_loses_none(
    start: Callable[..., Process], people: list[Any], crowd: Crowd, end: signal.Signals
) -> None:
    """Asked to stop, it hands back what is not ready, without counting the attempt; killed, its leases run out. Either
    way the next worker goes on behind the last word."""
    turns = [world.start(f"Count for me, person-{n}.", mode="ask") for n, world in enumerate(people)]
    first = start("worker", "0.3", "20" if end is signal.SIGTERM else "6")
    until(crowd.begun.is_set)
    until(lambda: all(spoken(world, turn) for world, turn in zip(people, turns, strict=True)))
    first.send_signal(end)
    code = first.wait(60)
    assert code == (0 if end is signal.SIGTERM else -signal.SIGKILL)
    assert not any(over(world, turn) for world, turn in zip(people, turns, strict=True))
    before = [spoken(world, turn) for world, turn in zip(people, turns, strict=True)]
    crowd.goes_on.set()
    start("worker", "8", "20")
    until(lambda: all(over(world, turn) for world, turn in zip(people, turns, strict=True)))
    for number, (world, turn) in enumerate(zip(people, turns, strict=True)):
        assert whole(world, turn) == words(f"person-{number}")
        assert before[number]
        assert whole(world, turn).startswith(before[number])
    again = 1 if end is signal.SIGTERM else 2
    until(lambda: {attempts(w, t) for w, t in zip(people, turns, strict=True)} == {("done", again)})
    assert sorted(crowd.heard[AT_ONCE:]) == sorted((f"person-{n}", said) for n, said in enumerate(before))
