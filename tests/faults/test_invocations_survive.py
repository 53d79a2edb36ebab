"""Invocations survive `kill -9` of everything that takes part in them: none lost, none doubled, no event missed.

The real platform (API, interactive worker, scheduler) on real servers, and clients that do what the contract advises:
one Idempotency-Key an invocation, and `Last-Event-ID` when a stream is torn off. `THALWEG_TEST_FAULT_INVOCATIONS` sets
how many (default 60; 1000 for the full run), `THALWEG_TEST_FAULT_SEED` repeats a run.
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import httpx
import pytest

from domain import audit, brains, identity
from domain.kernel.context import SystemActor
from tests.faults.house import House, kill

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]
INVOCATIONS = int(os.environ.get("THALWEG_TEST_FAULT_INVOCATIONS", "60"))
CLIENTS = 6
FAULTS = ("worker", "worker", "api", "scheduler", "valkey", "postgres")
TOPICS = ("audits of suppliers", "certificates of gaskets", "the move of the warehouse", "overtime in May", "a recall")


class Platform(House):
    """The API, an interactive worker and a scheduler."""

    PARTS: ClassVar = {
        "api": ("serve",),
        "worker": ("worker", "--queue", "interactive"),
        "scheduler": ("scheduler",),
    }

    def settings(self) -> Mapping[str, str]:
        return {"THALWEG_LIMITS": "thalium.invoke=1000000/minute", "THALWEG_STREAM_HEARTBEAT_SECONDS": "1"}

    def furnish(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with self.database.context(SystemActor("test"), None, platform=True) as ctx:
            self.organisation = identity.create_organisation(
                ctx, name="Survivors", slug="survivors", plan="enterprise"
            ).id
        with self.database.context(SystemActor("test"), self.organisation) as ctx:
            self.brain: UUID = brains.create_brain(ctx, name="Brain", slug="brain").id
            self.api_key = identity.issue_api_key(ctx, "test", ["invoke"], "thalium")[1]
        self.url = f"http://127.0.0.1:{self.port}/thalium/v1/brain/{self.brain}/invoke"
        self.heard, self.listening = 0, INVOCATIONS

    def command(self, name: str) -> list[str]:
        return super().command(name) + (["--port", str(self.port)] if name == "api" else [])

    def strike(self, fault: str, chance: random.Random) -> None:
        if fault in self.PARTS:
            kill(self.children[fault])
        else:
            self.strike_server(self.postgres if fault == "postgres" else self.valkey, chance)

    def work_goes_on(self, events: int) -> None:
        """Until clients have heard that many more events: killing what is only starting would prove nothing."""
        goal, end = self.heard + events, time.monotonic() + 30
        while self.heard < goal and time.monotonic() < end and self.listening:
            time.sleep(0.01)


class Client:
    """A partner's client. `events` are what it heard, in its order; it never asks for one twice."""

    def __init__(self, house: Platform, number: int) -> None:
        self.house, self.number = house, number
        self.key = str(uuid4())
        self.events: list[tuple[str, str, Any]] = []
        self.traces: set[str] = set()
        self.connections = 0
        self.refused: Counter[int] = Counter()
        self.body = {
            "session_id": f"session-{number}",
            "entity_id": f"topic:{number % len(TOPICS)}",
            "input": {
                "type": "text",
                "content": f"Note {number}: {TOPICS[number % len(TOPICS)]} cost {number * 17} euros. Who has to know?",
            },
        }

    def invoke(self) -> Client:
        """Until the full artifact has come."""
        end = time.monotonic() + 90 + INVOCATIONS
        while not self.done:
            assert time.monotonic() < end, f"invocation {self.number}: {self.traces} {self.refused} {self.events}"
            try:
                self._listen()
            except httpx.TransportError:
                time.sleep(0.2)
        self.house.listening -= 1
        return self

    @property
    def done(self) -> bool:
        return bool(self.events) and self.events[-1][1] == "full.artifact"

    def _listen(self) -> None:
        headers = {"X-API-Key": self.house.api_key, "Idempotency-Key": self.key}
        if self.events:
            headers["Last-Event-ID"] = self.events[-1][0]
        with httpx.stream("POST", self.house.url, json=self.body, headers=headers, timeout=5) as reply:
            if reply.status_code != 200:
                self.refused[reply.status_code] += 1
                assert reply.status_code in (409, 500, 503), reply.read()
                time.sleep(0.2)
                return
            self.connections += 1
            self.traces.add(reply.headers["x-trace-id"])
            rest = ""
            for piece in reply.iter_text():
                *blocks, rest = (rest + piece).split("\n\n")
                for block in blocks:
                    lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
                    if "data" in lines:
                        self.events.append((lines["id"], lines["event"], json.loads(lines["data"])))
                        self.house.heard += 1


@pytest.fixture
def house() -> Iterator[Platform]:
    with Platform.standing() as house:
        yield house


@pytest.mark.timeout(300 + 4 * INVOCATIONS)
def test_no_invocation_is_lost_or_doubled_while_everything_is_killed(house: Platform) -> None:
    seed = int(os.environ.get("THALWEG_TEST_FAULT_SEED", time.time_ns() % 1_000_000))
    chance = random.Random(seed)
    print(f"seed {seed}, {INVOCATIONS} invocations")
    struck: Counter[str] = Counter()
    with ThreadPoolExecutor(CLIENTS) as threads:
        futures = [threads.submit(Client(house, number).invoke) for number in range(INVOCATIONS)]
        plan = chance.sample(sorted(set(FAULTS)), k=len(set(FAULTS)))  # each kind at least once
        end = time.monotonic() + 20 + INVOCATIONS * 0.3
        while plan or (time.monotonic() < end and not all(future.done() for future in futures)):
            fault = plan.pop(0) if plan else chance.choice(FAULTS)
            house.work_goes_on(chance.randint(1, 15))
            time.sleep(chance.uniform(0, 0.2))
            house.strike(fault, chance)
            struck[fault] += 1
        clients = [future.result() for future in futures]
    torn = sum(client.connections > 1 for client in clients)
    refused = sum((client.refused for client in clients), Counter())
    print(f"struck {dict(struck)}, {torn} streams torn off, refused {dict(refused)}")

    for client in clients:
        _heard_once(client, seed)
    assert len({trace for client in clients for trace in client.traces}) == INVOCATIONS, f"seed {seed}"
    _kept_once(house, clients, seed)
    assert set(struck) == set(FAULTS), f"seed {seed}"
    assert torn, f"seed {seed}: no kill fell into a stream, this run proves little"
    assert refused[500] == 0, f"seed {seed}: a server that is away is 503, not 500: {refused}"


def _heard_once(client: Client, seed: int) -> None:
    """One invocation a key; its events without gap and without repetition, over all connections together."""
    assert len(client.traces) == 1, f"seed {seed}: {client.traces}"
    (trace,) = client.traces
    ids = [event[0] for event in client.events]
    assert ids == [f"{trace}:{number}" for number in range(1, len(ids) + 1)], f"seed {seed}"
    names = [event[1] for event in client.events]
    assert names.count("full.artifact") == 1, f"seed {seed}"
    assert names.count("fast.triage") == 1, f"seed {seed}"
    if "chain.partial" in names:
        assert names.index("chain.partial") < names.index("full.artifact"), f"seed {seed}"


def _kept_once(house: Platform, clients: list[Client], seed: int) -> None:
    """What the database holds is what the clients heard, once."""
    end = time.monotonic() + 60
    # What the scheduler promises meanwhile to other queues waits for workers that are not here.
    while house.ask("SELECT 1 FROM job WHERE state <> 'done' AND queue = 'interactive'"):
        assert time.monotonic() < end, (
            f"seed {seed}: {house.ask('SELECT name, state, count(*) FROM job GROUP BY 1, 2')}"
        )
        time.sleep(0.2)
    accepted = house.ask("SELECT count(*) FROM invocation")[0][0]
    assert accepted == INVOCATIONS, f"seed {seed}"
    assert house.ask("SELECT sum(used) FROM usage_counter")[0][0] == accepted, f"seed {seed}: quota"
    assert house.ask("SELECT count(*) FROM audit_entry WHERE action = 'brain.invoke'")[0][0] == accepted, f"seed {seed}"
    assert not house.ask("SELECT 1 FROM invocation WHERE state NOT IN ('complete', 'partial')"), f"seed {seed}"
    with house.database.context(SystemActor("test"), house.organisation) as ctx:
        assert audit.verify(ctx).intact, f"seed {seed}"

    rows = house.ask("SELECT invocation_id, number, name FROM invocation_event ORDER BY 1, 2")
    events: dict[str, list[tuple[int, str]]] = {}
    for trace, number, name in rows:
        events.setdefault(str(trace), []).append((number, name))
    for client in clients:
        (trace,) = client.traces
        assert events.pop(trace) == [(n, event[1]) for n, event in enumerate(client.events, start=1)], f"seed {seed}"
    assert not events, f"seed {seed}: events of an invocation that nobody was told of"

    assert not house.ask("SELECT invocation_id, role FROM role_result GROUP BY 1, 2 HAVING count(*) > 1"), (
        f"seed {seed}: a role that played twice"
    )
    twice = house.ask(
        "SELECT trace_id, role, ring, level, kind, text FROM ring_entry WHERE trace_id IS NOT NULL "
        "GROUP BY 1, 2, 3, 4, 5, 6 HAVING count(*) > 1"
    )
    assert not twice, f"seed {seed}: written twice: {twice[:3]}"
    written: dict[str, set[str]] = {}
    for trace, entry in house.ask("SELECT trace_id, id FROM ring_entry WHERE trace_id IS NOT NULL"):
        written.setdefault(str(trace), set()).add(str(entry))
    for client in clients:
        (trace,) = client.traces
        told = client.events[-1][2]["memory"]["written"]
        assert len(told) == len(set(told)), f"seed {seed}"
        assert written.get(trace, set()) == set(told), f"seed {seed}: memory is not what the artifact says"
        assert told, f"seed {seed}: nothing learnt"
