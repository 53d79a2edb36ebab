"""A server under test as a process of its own: started on a core, asked for its CPU time and memory, ended."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVE = Path(__file__).with_name("serve.py")
_TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """`command` gets `--fd N`, a listening socket. Ready once `path` has been answered. `core` -1: any."""

    def __init__(self, command: list[str], path: str, core: int, log: Path, environment: Mapping[str, str]) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        started = time.perf_counter()
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*command, "--fd", str(listener.fileno())],
                pass_fds=[listener.fileno()],
                env={**os.environ, **environment},
                stderr=stderr,
                preexec_fn=None if core < 0 else lambda: os.sched_setaffinity(0, {core}),
            )
        listener.close()
        self.log = log
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
            raise SystemExit(f"A server did not start: {self.log.read_text()[-2000:]}") from error
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
def running(
    commands: Mapping[str, list[str]], path: str, core: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[dict[str, Server]]:
    servers: dict[str, Server] = {}
    try:
        for name, command in commands.items():
            servers[name] = Server(command, path, core, folder / f"{name}.log", environment)
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def first_in_line() -> bool:
    """Ask for a higher priority, which everything started from here inherits. Whether it was granted.

    Without it a busy neighbour takes half of a core from a server of one thread and less from one of several, and the
    figures compare neighbours. Where Linux groups processes by session, the session's own niceness counts.
    """
    try:
        os.nice(-10)
        group = Path("/proc/self/autogroup")
        if group.exists():
            group.write_text("-10")
    except OSError:
        return False
    return True


def cores() -> tuple[int, int]:
    """One for the server, one for everything else. Raises `SystemExit` with a single one."""
    have: Any = sorted(os.sched_getaffinity(0))
    if len(have) < 2:
        raise SystemExit("This needs two cores: one for the server, one for the load.")
    return have[0], have[-1]
