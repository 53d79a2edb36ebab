"""A server under test as a process of its own: started on a core, asked for its CPU time and memory, ended."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVE = Path(__file__).with_name("serve.py")
_TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """`command` gets `--fd N`, a listening socket. Ready once `path` has been answered."""

    def __init__(self, command: list[str], path: str, core: int, environment: dict[str, str] | None = None) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, "--fd", str(listener.fileno())],
            pass_fds=[listener.fileno()],
            env={**os.environ, **(environment or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        listener.close()
        self.first_answer = 0.0
        try:
            self._wait(path)
        except BaseException:
            self.stop()
            raise
        self.first_answer = time.perf_counter() - started
        """Seconds from the start of the process to its first answer."""

    def _wait(self, path: str) -> None:
        # The socket listens already: one request, answered as soon as anybody is there to do so.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except OSError as error:
            raise SystemExit(f"{' '.join(self.process.args[1:3])} did not start") from error  # type: ignore[index]
        if status != 200:
            raise SystemExit(f"{path} was answered with {status}")

    @property
    def cpu(self) -> float:
        """Seconds of CPU of all its threads so far."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def memory(self) -> float:
        """Resident memory, MiB."""
        return int(self._stat()[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _stat(self) -> list[str]:
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def peer(name: str, *options: str) -> list[str]:
    return [sys.executable, str(SERVE), name, *options]


@contextmanager
def running(names: dict[str, list[str]], path: str, core: int, **environment: str) -> Iterator[dict[str, Server]]:
    servers: dict[str, Server] = {}
    try:
        for name, command in names.items():
            servers[name] = Server(command, path, core, environment)
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def cores() -> tuple[int, int]:
    """One for the server, one for everything else. Raises `SystemExit` with a single one."""
    have: Any = sorted(os.sched_getaffinity(0))
    if len(have) < 2:
        raise SystemExit("This needs two cores: one for the server, one for the load.")
    return have[0], have[-1]
