"""Forked children that read strangers' files: what they cannot do, and how they die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from domain.kernel.confine import forked
from domain.kernel.confine.forked import Died, Limits

LIMITS = Limits(memory=256 << 20, seconds=5, answer=1 << 20)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="these bounds are the Linux kernel's")


def outcome(act: Callable[[], object]) -> str:
    def task() -> list[bytes]:
        try:
            act()
        except BaseException as problem:
            return [type(problem).__name__.encode()]
        return [b"WORKED"]

    return forked.answer(task, LIMITS).decode()


@LINUX
def test_a_child_opens_no_connection_and_starts_no_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        attempts: dict[str, Callable[[], object]] = {
            "connect": lambda: socket.create_connection(address, 1),
            "socket": socket.socket,
            "fork": os.fork,
            "program": lambda: subprocess.run(["/bin/true"], check=True),
            "exec": lambda: os.execv("/bin/true", ["true"]),
            "kill": lambda: os.kill(os.getppid(), signal.SIGTERM),
        }
        assert {name: outcome(act) for name, act in attempts.items()} == dict.fromkeys(attempts, "PermissionError")


def test_a_child_has_none_of_the_parents_files_and_connections() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        number = theirs.fileno()
        assert outcome(lambda: os.write(number, b"x")) == "OSError"
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)


def test_a_child_may_read_files_and_write_none(tmp_path: Path) -> None:
    assert outcome(Path(__file__).read_bytes) == "WORKED"
    assert outcome(lambda: (tmp_path / "a").write_text("x")) == "OSError"


@LINUX
def test_threads_are_fine_in_a_child() -> None:
    def start() -> None:
        thread = threading.Thread(target=time.sleep, args=(0.01,))
        thread.start()
        thread.join()

    assert outcome(start) == "WORKED"


@pytest.mark.parametrize(
    ("act", "how"),
    [
        (lambda: time.sleep(60), "late"),
        (lambda: os.abort(), "fault"),
        (lambda: os._exit(0), "ended"),
        (lambda: os._exit(3), "ended"),
        (lambda: [b"x" * (2 << 20)], "flood"),
    ],
)
def test_a_child_dies_alone_and_its_end_is_told(act: Callable[[], list[bytes]], how: str) -> None:
    with pytest.raises(Died) as died:
        forked.answer(act, Limits(seconds=1 if how == "late" else 30, answer=1 << 20))
    assert died.value.how == how


def test_a_child_that_somebody_else_kills_is_told_apart() -> None:
    def patient() -> list[bytes]:
        time.sleep(60)
        return []

    before = psutil.Process().children()  # the servers of this run among them

    def kill() -> None:
        for child in psutil.Process().children():
            if child not in before:
                child.kill()

    with pytest.raises(Died) as died:
        forked.answer(patient, LIMITS, beat=kill)
    assert died.value.how == "killed"


def test_half_an_answer_is_none() -> None:
    def task() -> list[bytes]:
        class Half(list[bytes]):
            def __iter__(self):  # type: ignore[no-untyped-def]
                yield b"the first half"
                os.abort()

        return Half()

    with pytest.raises(Died) as died:
        forked.answer(task, LIMITS)
    assert died.value.how == "fault"
