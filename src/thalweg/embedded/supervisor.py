"""What runs behind `thalweg up`: databases, API, workers and scheduler, one supervisor over all of them.

    Supervisor(Plan(...)).run()     # blocks until Ctrl-C or SIGTERM; answers the exit status

One process without threads. It owns the listening socket, so an API process that ends loses no connection that has not
been accepted; whatever ends is started again; when the supervisor itself ends, however that happens, nothing stays.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import psutil

from thalweg.embedded.children import Child, RotatingFile
from thalweg.embedded.postgres import Postgres
from thalweg.embedded.process import EmbeddedError, FolderInUseError, FolderLock
from thalweg.embedded.valkey import Valkey

__all__ = ["Part", "Plan", "Supervisor", "UpError", "listen", "noted"]

READY_SECONDS = 90.0
NOTE = "running.json"
GIVE_UP_AFTER = 5  # failed starts of the API before it has ever answered


class UpError(RuntimeError):
    """It cannot be started; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the platform: its name, the arguments after `python -m thalweg`, whether it serves the socket."""

    name: str
    arguments: Sequence[str]
    serves: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `environment` is what the children see; the supervisor adds the URLs of what it has started itself.

    `data`: the folder of the stores and logs, taken for this supervisor alone; None: nothing of ours is on the disk,
    and the children write where we do. `host` and `port` matter when a part serves. `prepare`: the arguments of the
    command that migrates, which gets the URL as its last; what it writes is shown to the user at the end.
    """

    root: Path
    parts: Sequence[Part]
    environment: Mapping[str, str]
    data: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    prepare: Sequence[str] = ()
    start_postgres: bool = False
    start_valkey: bool = False
    api_seconds: float = 10.0
    """How long the API may take to stop before it is killed; `work_seconds` the same for the rest."""
    work_seconds: float = 10.0
    verbose: bool = False
    command: Sequence[str] = field(default_factory=lambda: (sys.executable, "-P", "-m", "thalweg"))
    probe: str = "/"
    """A path that the API answers with anything at all once it is ready."""


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises UpError that names who has the port, when that can be seen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            other = port + 1 if port < 65535 else 8080
            raise UpError(
                f"Port {port} is taken{_by_whom(port)}. Choose another with --port {other}, "
                "or let --port 0 pick a free one."
            ) from None
        if error.errno == errno.EACCES:
            raise UpError(
                f"Port {port} is for the superuser alone. Choose one above 1023, such as --port 8080."
            ) from None
        raise UpError(f"Cannot listen on {host} port {port}: {error.strerror or error}.") from None
    return listener


def _by_whom(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


class Supervisor:
    """Runs a Plan. `tell(who, text)` gets short lines for people, `ready(url, text)` the address and what `prepare`
    said.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        tell: Callable[[str, str], None],
        ready: Callable[[str, str], None] = lambda url, text: None,
    ) -> None:
        self._plan = plan
        self._tell = tell
        self._ready = ready
        self._lock: FolderLock | None = None
        self._listener: socket.socket | None = None
        self._postgres: Postgres | None = None
        self._valkey: Valkey | None = None
        self._children: list[Child] = []
        self._stops = 0
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def run(self) -> int:
        """Starts everything, keeps it running, stops it. 0 after a clean stop, 1 when the platform never came up.

        Raises UpError or EmbeddedError when it cannot even begin; nothing is left running then.
        """
        if self._plan.data is not None:
            self._take_folder(self._plan.data)
        before = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the loop
        waker = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            if any(part.serves for part in self._plan.parts):
                self._listener = listen(self._plan.host, self._plan.port)
            self._start_stores()
            said = self._prepare() if self._plan.prepare and not self._stops else ""
            if not self._stops:
                self._start_children()
            answered = not self._stops and self._until_ready()
            if answered:
                url = self.url
                self._note(url)
                self._ready(url, said)
            while answered and not self._stops:
                self._tend()
            return 0 if answered or self._stops else 1
        finally:
            self._stop()
            signal.set_wakeup_fd(waker)
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._lock is not None:
                self._lock.release()

    @property
    def url(self) -> str:
        """Where the API is; empty when nothing here serves."""
        if self._listener is None:
            return ""
        host, port = self._listener.getsockname()[:2]
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"

    # --- coming up --------------------------------------------------------------------------------------------------

    def _take_folder(self, data: Path) -> None:
        lock = FolderLock(data / "lock")
        try:
            data.mkdir(parents=True, exist_ok=True)
            lock.acquire(f"The data folder {data}")
        except FolderInUseError as error:
            note = noted(data)
            where = f" It serves {note['url']}." if note.get("pid") == error.pid and note.get("url") else ""
            who = f" (process {error.pid})" if error.pid else ""
            raise UpError(
                f"Thalweg already runs on {data}{who}.{where} Stop it first, or choose another folder with --data."
            ) from None
        except OSError as error:
            raise UpError(
                f"The data folder {data} cannot be used: {error.strerror}. Choose another with --data."
            ) from None
        self._lock = lock
        (data / "logs").mkdir(exist_ok=True)

    def _start_stores(self) -> None:
        data = self._plan.data
        if data is not None and self._plan.start_postgres:
            self._postgres = Postgres(data / "postgres", log=_fresh(data / "logs" / "postgres.log"))
            first = not (self._postgres.folder / "cluster").exists()
            self._tell("postgres", "making the database" if first else "starting")
            self._postgres.start()
        if data is not None and self._plan.start_valkey:
            self._valkey = Valkey(data / "valkey", log=_fresh(data / "logs" / "valkey.log"))
            self._tell("valkey", "starting")
            self._valkey.start()

    def _environment(self) -> dict[str, str]:
        given = dict(self._plan.environment)
        if self._listener is not None:
            given["THALWEG_PORT"] = str(self._listener.getsockname()[1])
        if self._postgres is not None:
            given["THALWEG_DATABASE_URL"] = self._postgres.url
        if self._valkey is not None:
            given["THALWEG_REDIS_URL"] = self._valkey.url
        return given

    def _prepare(self) -> str:
        """Migrates. Its standard output is for the user, the rest for its log."""
        assert self._plan.data is not None
        self._tell("database", "migrating")
        log = self._plan.data / "logs" / "prepare.log"
        with (
            log.open("wb") as errors,
            subprocess.Popen(
                [*self._plan.command, *self._plan.prepare, self.url],
                env=self._environment(),
                cwd=self._plan.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            ) as process,
        ):
            try:
                while not self._stops:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        said = process.communicate(timeout=0.2)[0].decode("utf-8", "replace")
                        break
                else:
                    return ""
            finally:
                if process.poll() is None:
                    process.kill()
        if process.returncode:
            tail = "\n  ".join(log.read_text("utf-8", "replace").strip().splitlines()[-12:])
            raise UpError(f"The database could not be prepared. {log} ends with:\n  {tail}")
        return said

    def _start_children(self) -> None:
        environment = self._environment()
        logs = None if self._plan.data is None else self._plan.data / "logs"
        for part in self._plan.parts:
            arguments = list(part.arguments)
            fds: list[int] = []
            if part.serves:
                assert self._listener is not None
                fds = [self._listener.fileno()]
                arguments += ["--fd", str(fds[0])]
            child = Child(
                name=part.name,
                argv=[*self._plan.command, *arguments, "--parent", str(os.getpid())],
                env=environment,
                cwd=self._plan.root,
                log=None if logs is None else RotatingFile(logs / f"{part.name}.log"),
                tell=self._tell,
                verbose=self._plan.verbose,
                pass_fds=fds,
            )
            self._children.append(child)
            child.start()

    def _until_ready(self) -> bool:
        """True as soon as the API answers anything, or at once when nothing here serves."""
        if self._listener is None:
            return True
        self._tell("api", "starting")
        deadline = time.monotonic() + READY_SECONDS
        serving = [child for child, part in zip(self._children, self._plan.parts, strict=True) if part.serves]
        probe: socket.socket | None = None
        try:
            while not self._stops:
                self._tend(0.05)
                probe, answered = self._ask(probe)
                if answered:
                    return True
                if (bad := next((child for child in serving if child.failures >= GIVE_UP_AFTER), None)) is not None:
                    raise UpError("The API does not start. The last it said:\n  " + "\n  ".join(bad.last_words))
                if time.monotonic() > deadline:
                    raise UpError(f"The API did not answer within {READY_SECONDS:.0f} s. See its log, api.log.")
        finally:
            if probe is not None:
                probe.close()
        return False

    def _ask(self, probe: socket.socket | None) -> tuple[socket.socket | None, bool]:
        """One request on the listening socket's own address, never waited for: the loop goes on meanwhile."""
        assert self._listener is not None
        try:
            if probe is None:
                host, port = self._listener.getsockname()[:2]
                target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
                probe = socket.create_connection((target, port), timeout=1.0)
                probe.sendall(
                    f"GET {self._plan.probe} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
                )
                probe.setblocking(False)
            found = probe.recv(16)
        except BlockingIOError:
            return probe, False
        except OSError:
            found = b""
        if probe is not None:
            probe.close()
        return None, found.startswith(b"HTTP/")

    # --- running ----------------------------------------------------------------------------------------------------

    def _tend(self, longest: float = 1.0) -> None:
        """Waits for something to happen, at most `longest` seconds, and does what it asks for."""
        pause = min([longest, *(max(child.due, 0.01) for child in self._children if child.process is None)])
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            for child in self._children:
                if child.process is not None and child.process.stdout is not None:
                    selector.register(child.process.stdout, selectors.EVENT_READ, child)
            events = selector.select(pause)
        for key, _ in events:
            if isinstance(key.data, Child):
                key.data.read()
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        if self._stops:
            return
        self._revive_stores()
        for child in self._children:
            child.poll()

    def _revive_stores(self) -> None:
        for name, store in (("postgres", self._postgres), ("valkey", self._valkey)):
            if store is None or store.running:
                continue
            status = store.process.returncode if store.process is not None else None
            self._tell(name, f"ended (status {status}); starting it again")
            before = store.url
            try:
                store.start()
            except EmbeddedError as error:
                self._tell(name, str(error))
                time.sleep(1.0)
                continue
            self._tell(name, "is back")
            if store.url != before:  # somebody took the port meanwhile: everybody has to learn the new one
                environment = self._environment()
                for child in self._children:
                    child.env = environment
                    child.signal(signal.SIGTERM)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stops += 1

    # --- going down -------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """API first, so that what is in progress is still worked on; then workers and scheduler; then the stores."""
        if self._listener is not None:
            self._listener.close()  # the API's own copy goes with it; nobody waits in a queue that is not served
        if any(child.alive for child in self._children):
            self._tell("thalweg", "stopping (once more to stop at once)")
        pairs = list(zip(self._children, self._plan.parts, strict=False))
        self._wind_down([child for child, part in pairs if part.serves], self._plan.api_seconds)
        self._wind_down([child for child, part in pairs if not part.serves], self._plan.work_seconds)
        for child in self._children:
            child.end()
        self._children.clear()
        for store in (self._valkey, self._postgres):
            if store is not None:
                store.stop()
        if self._plan.data is not None:
            with contextlib.suppress(OSError):
                (self._plan.data / NOTE).unlink(missing_ok=True)

    def _wind_down(self, children: Sequence[Child], seconds: float) -> None:
        for child in children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while any(child.alive for child in children) and time.monotonic() < deadline and self._stops <= 1:
            for child in self._children:
                child.read()
            time.sleep(0.02)
        for child in children:
            if child.alive:
                self._tell(child.name, "did not stop in time and is killed")
            child.end()

    def _note(self, url: str) -> None:
        if self._plan.data is not None:
            with contextlib.suppress(OSError):
                (self._plan.data / NOTE).write_text(json.dumps({"pid": os.getpid(), "url": url}), encoding="ascii")


def noted(data: Path) -> dict[str, object]:
    """`{"pid", "url"}` of who runs on a data folder, once the API answers; empty when nobody does."""
    with contextlib.suppress(OSError, ValueError):
        note = json.loads((data / NOTE).read_text(encoding="ascii"))
        if isinstance(note, dict) and psutil.pid_exists(int(note["pid"])):
            return note
    return {}


def _fresh(path: Path, limit: int = 10 * 2**20) -> Path:
    """Servers write their own logs; those are put aside at the start when they have grown."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > limit:
            path.replace(path.with_name(f"{path.name}.1"))
    return path
