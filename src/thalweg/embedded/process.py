"""Server processes that never outlive the one who started them.

`spawn` starts a program in its own session, under another user if asked, and on a leash: when the starting process
dies, however it dies, the kernel signals the program. `stop` ends one politely, then less politely. `FolderLock` is the
sign on the door of a data folder. `socket_folder` finds a place for a Unix socket whose path is short enough.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psutil

__all__ = [
    "EmbeddedError",
    "FolderInUseError",
    "FolderLock",
    "leftovers",
    "socket_folder",
    "spawn",
    "stop",
    "stop_pids",
]

_SOCKET_PATH_LIMIT = 100  # sun_path is 108 bytes on Linux, 104 on macOS; Postgres appends `.s.PGSQL.5432`
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class EmbeddedError(RuntimeError):
    """An embedded server could not be started; the text says why and what to do."""


class FolderInUseError(EmbeddedError):
    """Another living process holds the data folder. `pid` is who, when it is known."""

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


def spawn(
    argv: Sequence[str | Path],
    *,
    output: int | IO[Any] | None = subprocess.DEVNULL,
    user: int | None = None,
    group: int | None = None,
    leash: signal.Signals = signal.SIGTERM,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts a program that gets the signal `leash` when the calling *thread* ends (Linux counts threads, so call this
    from one that lives as long as the process). Its own session keeps a terminal's Ctrl-C away from it: the one who
    started it decides the order in which things stop. Raises OSError as subprocess.Popen does.
    """
    parent = os.getpid()

    def prepare() -> None:  # between fork and exec, after the user was changed (changing it would undo the leash)
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(leash), 0, 0, 0)
            if os.getppid() != parent:  # it died before the leash was on
                os._exit(1)

    return subprocess.Popen(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=None if env is None else dict(env),
        cwd=cwd,
        user=user,
        group=group,
        extra_groups=None if user is None else [],
        start_new_session=True,
        preexec_fn=prepare,
        pass_fds=pass_fds,
    )


def stop(process: subprocess.Popen[bytes], steps: Iterable[tuple[signal.Signals, float]]) -> int:
    """Sends each signal in turn and waits its seconds, then SIGKILL. Returns the exit status (negative: the signal)."""
    for number, patience in steps:
        if process.poll() is not None:
            break
        process.send_signal(number)
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        process.kill()
    return process.wait()


def leftovers(name: str, folder: Path) -> list[psutil.Process]:
    """Living processes called `name` whose working directory is `folder`, oldest first: what a crash left behind."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["name", "pid", "create_time"]):
        if process.info["name"] != name or process.pid == os.getpid():
            continue
        try:
            if Path(process.cwd()) == folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return sorted(found, key=lambda process: (process.info["create_time"], process.pid))


def stop_pids(processes: Sequence[psutil.Process], steps: Iterable[tuple[signal.Signals, float]]) -> None:
    """Stops processes that are not our children: the oldest, parent of the rest, is asked; all are killed at last."""
    if not processes:
        return
    for number, patience in steps:
        try:
            processes[0].send_signal(number)
        except psutil.NoSuchProcess:
            break
        _, alive = psutil.wait_procs(processes, timeout=patience)
        if not alive:
            return
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=5)


class FolderLock:
    """An advisory lock on a file that holds the owner's pid. It is gone the moment the owner is, so never stale."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self, what: str) -> None:
        """Takes the lock or raises FolderInUseError; `what` begins the sentence that the user reads."""
        if self._file is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            text = file.read().strip()
            file.close()
            pid = int(text) if text.isdigit() else None
            raise FolderInUseError(f"{what} is in use{f' by process {pid}' if pid else ''}.", pid) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def socket_folder(wanted: Path, *, owner: tuple[int, int] | None = None) -> Path:
    """`wanted`, made private (0700), or a short private folder in the temporary directory when its path is too long for
    a socket. `owner` is the (uid, gid) that the folder is given to.
    """
    folder = socket_folder_of(wanted)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid not in {os.getuid(), owner[0] if owner else os.getuid()}:
        raise EmbeddedError(f"The folder {folder} belongs to somebody else; remove it and start again.")
    if owner is not None:
        os.chown(folder, *owner)
    folder.chmod(0o700)
    return folder


def socket_folder_of(wanted: Path) -> Path:
    """Where `socket_folder(wanted)` is, without making it."""
    if len(os.fsencode(wanted)) <= _SOCKET_PATH_LIMIT - len(".s.PGSQL.5432"):
        return wanted
    digest = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"thalweg-{os.getuid()}-{digest}"


def wait_for(condition: Any, process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Polls until `condition()` is true. False when the time is up or the process has ended."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while time.monotonic() < deadline:
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(pause)
        pause = min(pause * 1.3, 0.1)
    return False
