"""Hostile files on the running platform: none ends in a server error, a hang, or more than the memory limit.

The files are those of tests/knowledge/test_extraction.py, where each one's reason is checked. Here they go the way of a
stranger's file: over HTTP into a knowledge base or a vector store, and all at once to the worker that reads them.
"""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from recipes import Person, World

from domain.kernel.confine.forked import Limits

ROOT = Path(__file__).resolve().parents[1]
BASES = "/beeflow/api/knowledge"
STORAGE = "/starter/api/v1/storage/objects"
STORES = "/starter/api/v1/vector-stores"
TAKEN, REFUSED = {200, 201, 202}, {400, 413, 415, 422}
HANG = 400.0
"""Seconds for all of them, on a busy machine; one may take 120."""
INTERNALS = ("Traceback", "/tmp", "/home", "domain.", "site-packages", "errno", "root:", "Exception")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]


def _hostile() -> dict[str, tuple[str, Callable[[], bytes], str | None]]:
    found = importlib.util.spec_from_file_location("hostile", ROOT / "tests" / "knowledge" / "test_extraction.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    table: dict[str, tuple[str, Callable[[], bytes], str | None]] = module.HOSTILE
    return table


class Family(threading.Thread):
    """Looks after the processes that read files: the most memory that one of them asks for beyond what the process has
    that started it, bytes. Counted is address space, as the limit counts it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.worker, self.most = psutil.Process(pid), 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.01):  # those that have their answer sooner have not asked for much
            try:
                for job in self.worker.children():
                    for reader in job.children():
                        self.most = max(self.most, _peak(reader) - job.memory_info().vms)
            except psutil.NoSuchProcess:
                continue

    def stop(self) -> None:
        self._over.set()
        self.join()


def _peak(process: psutil.Process) -> int:
    """The most that it has asked for so far, where the kernel keeps it (Linux), or else what it has now, bytes. A look
    that comes late sees what was between two looks."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmPeak:"):
                return int(line.split()[1]) << 10
    return int(process.memory_info().vms)


@pytest.fixture
def family(reading: Any) -> Iterator[Family]:
    made = Family(reading.processes["worker-untrusted"].pid)
    made.start()
    yield made
    made.stop()


def ask(world: World, who: Person, method: str, path: str, **more: Any) -> httpx.Response:
    return httpx.request(method, f"{world.url}{path}", headers=who.headers(), timeout=120, **more)


def into_a_base(world: World, who: Person, base: str, name: str, content: bytes) -> httpx.Response:
    files = {"file": (name, content, "application/octet-stream")}
    return ask(world, who, "POST", f"{BASES}/{base}/documents", files=files)


def into_a_store(world: World, who: Person, store: str, name: str, content: bytes) -> httpx.Response:
    wish = {"filename": name, "mime_type": "application/json", "size_bytes": len(content)}
    link = ask(world, who, "POST", f"{STORAGE}/upload-url", json=wish)
    if link.status_code != 201:
        return link
    told = link.json()
    sent = httpx.put(told["upload_url"], content=content, headers=told["headers"], timeout=120)
    if sent.status_code != 200:
        return sent
    return ask(world, who, "POST", f"{STORES}/{store}/files", json={"file_id": told["object_id"], "poll": False})


def listed(world: World, who: Person, path: str) -> list[dict[str, Any]]:
    reply = ask(world, who, "GET", path, params={"limit": 100})
    assert reply.status_code == 200, reply.text
    items: list[dict[str, Any]] = reply.json()["items"]
    return items


def test_hostile_files_end_in_a_reason_or_in_text_and_harm_nobody(reading: Any, world: World, family: Family) -> None:
    hostile = _hostile()
    assert len(hostile) >= 30
    who, tenant = world.person("beeflow"), world.person("starter")
    base = ask(world, who, "POST", BASES, json={"name": "Hostile"}).json()["id"]
    store = ask(world, tenant, "POST", STORES, json={"name": "hostile"}).json()["id"]
    processes = {name: process.pid for name, process in reading.processes.items()}

    def send(what: str) -> tuple[str, httpx.Response]:
        kind, make, _ = hostile[what]
        name = f"{what}.{kind}"
        if kind == "json":
            return what, into_a_store(world, tenant, store, name, make())
        return what, into_a_base(world, who, base, name, make())

    with ThreadPoolExecutor(4) as pool:
        answers = dict(pool.map(send, hostile))
    wrong = {what: a.status_code for what, a in answers.items() if a.status_code not in TAKEN | REFUSED}
    assert not wrong
    taken = sum(answer.status_code in TAKEN for answer in answers.values())
    assert taken > 20, Counter(answer.status_code for answer in answers.values())

    started = time.monotonic()
    while True:
        read_in = listed(world, who, f"{BASES}/{base}/documents") + listed(world, tenant, f"{STORES}/{store}/files")
        waiting = [each for each in read_in if each["status"] not in ("completed", "failed")]
        if not waiting:
            break
        assert time.monotonic() - started < HANG, waiting
        time.sleep(0.5)
    family.stop()
    assert len(read_in) == taken
    print(
        f"{taken} of {len(hostile)} taken, {Counter(each['status'] for each in read_in)}, read in "
        f"{time.monotonic() - started:.0f} s, the largest reader {family.most >> 20} MiB"
    )
    for each in read_in:
        reason = each.get("error") or each.get("last_error")
        assert (reason is not None) == (each["status"] == "failed"), each
        if reason is not None:
            assert not any(word in json.dumps(reason) for word in INTERNALS), reason
            assert "on our side" not in json.dumps(reason), each
    assert family.most > Limits().memory // 2, "nobody saw the readers of those that ask for all they can get"
    assert family.most <= Limits().memory
    assert {name: process.pid for name, process in reading.processes.items()} == processes
    assert all(process.poll() is None for process in reading.processes.values())
    assert ask(world, who, "GET", f"{BASES}/{base}").status_code == 200
