"""Running a stranger's program where it can do nothing but compute: `run`, `support`.

A fresh process is started for each run (`inside`), so that nothing of this one, which may have threads, keys and
connections, goes along: no environment, no file that is open, no memory. It gets the program and the files of a folder
through a pipe, and what the program left comes back through another and is written to a new folder by this process. The
program itself meets the machine's kernel, and no file of it but an interpreter's.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from domain.kernel.confine import frames, seccomp
from domain.kernel.confine.frames import frame
from domain.kernel.errors import Unavailable

KERNEL = (5, 14)
"""From here on threads are counted by namespace, and what is mounted in what is shown can be made read-only with it."""
SETTING_UP, HANDING_OUT = 15.0, 60.0
"""Seconds beside the program's own."""
PROBING = 10.0
"""Seconds that the probe may take."""
AGAIN = 300.0
"""Seconds after which a refusal is looked into again: somebody may have changed what the machine allows."""
ROOT = Path(__file__).resolve().parents[3]


class Unconfined(Unavailable):
    """There is no sandbox here; the message says why. Nothing was run."""

    reason = "no_sandbox"
    default = "Code cannot be run on this server: it has no sandbox."


class Broken(Unavailable):
    """The sandbox fell over: the machine is out of memory, or it was ended from outside. Nothing was kept."""

    reason = "sandbox_failed"
    default = "The code could not be run: its sandbox ended. Nothing that it did was kept."


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of memory, seconds by the clock, bytes and number of files in the workspace, bytes of each output kept."""

    memory: int = 1 << 30
    seconds: float = 30.0
    disk: int = 256 << 20
    files: int = 2_000
    output: int = 64 << 10
    scratch: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Support:
    """Whether programs can be confined here. `why` not, in words for whoever runs the machine."""

    possible: bool
    why: str = ""


@dataclass(slots=True)
class Ran:
    """How a program ended. `reason`: `ended`, `time` (it was stopped) or `output` (it wrote without end). `kept`: what
    it left fits into the workspace; `changed` are the files that it made or changed, `removed` those it took away."""

    reason: str
    status: int | None
    signal: int | None
    seconds: float
    cut: bool
    kept: bool
    stdout: str = ""
    stderr: str = ""
    changed: list[tuple[str, int]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        return self.reason == "ended" and self.status == 0


# --- whether -------------------------------------------------------------------------------------------------

PROBE = """
import os, socket
wrong = []
try:
    socket.socket()
    wrong.append("a socket could be made")
except OSError:
    pass
try:
    os.fork()
    wrong.append("a process could be started")
except OSError:
    pass
for path in ("/etc/passwd", "/proc/self", "/sys/kernel", "/home", "/root"):
    if os.path.exists(path):
        wrong.append("files of the machine could be seen")
        break
for folder in ("/", "/lib", "/python/bin", "/code"):
    try:
        open(folder + "/probe", "w")
        wrong.append("its own ground could be changed")
    except OSError:
        pass
open("/workspace/probe", "w").close()
print("; ".join(wrong) or "confined")
"""

_lock = threading.Lock()
_found: tuple[Support, float] | None = None
_view: dict[str, Any] | None = None


def support() -> Support:
    """Whether programs can be confined here, found out by confining one. Asked once a process; blocks for a second."""
    global _found
    with _lock:
        if _found is not None and (_found[0].possible or time.monotonic() - _found[1] < AGAIN):
            return _found[0]
        answer = _probe()
        _found = (answer, time.monotonic())
        return answer


def _probe() -> Support:
    if sys.platform != "linux":
        return Support(False, "sandboxes are made of what the Linux kernel has, and this is another system.")
    if not seccomp.known():
        return Support(False, f"no filter of system calls is known for {os.uname().machine} processors.")
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2] if part.isdigit())
    if release < KERNEL:
        return Support(False, f"the kernel is older than Linux {'.'.join(map(str, KERNEL))}.")
    try:
        ran = _run(PROBE, Limits(memory=256 << 20, seconds=PROBING, disk=1 << 20), None, None, lambda: None)
    except Unconfined as refused:
        return Support(False, str(refused.facts.get("why", refused.message)))
    except (OSError, Broken, ValueError):
        return Support(False, "a program in the sandbox did not answer.")
    if ran.stdout.strip() != "confined":
        return Support(False, f"the sandbox does not hold: {(ran.stdout or ran.stderr).strip()[:300] or 'no answer'}.")
    return Support(True)


def _refused(said: dict[str, Any]) -> Unconfined:
    what, why = str(said.get("what", "set it up"))[:100], str(said.get("why", ""))[:100]
    advice = ""
    if what == "make namespaces" or what.startswith("name the users"):
        advice = (
            " Allow user namespaces: user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 where there "
            "is one, and in a container a seccomp profile that lets unshare pass."
        )
    elif said.get("errno") in (1, 13):
        advice = " A policy may stand against it, such as kernel.apparmor_restrict_unprivileged_userns=1."
    why = f"the kernel refused to {what} ({why}).{advice}"
    return Unconfined(f"Code cannot be run on this server: {why}", why=why)


# --- a run ---------------------------------------------------------------------------------------------------


def run(
    code: str,
    limits: Limits,
    *,
    tree: Path | None = None,
    into: Path | None = None,
    beat: Callable[[], None] = lambda: None,
) -> Ran:
    """Run `code` (Python) confined, in a workspace with the files of folder `tree`. What is there in the end is written
    to the new folder `into`; files that did not change are linked, not copied. `beat` is called about four times a
    second, and may raise to end the run.

    Raises `Unconfined` where there is no sandbox, `Broken` when it fell over.
    """
    able = support()
    if not able.possible:
        raise Unconfined(f"Code cannot be run on this server: {able.why}", why=able.why)
    try:
        return _run(code, limits, tree, into, beat)
    except OSError as wrong:  # no process could be started, or the disk of this machine is full
        raise Broken from wrong


def _run(code: str, limits: Limits, tree: Path | None, into: Path | None, beat: Callable[[], None]) -> Ran:
    request = {
        "code": code.encode("utf-8", "replace").decode(),
        "view": view(),
        "seconds": limits.seconds,
        "memory": limits.memory,
        "disk": limits.disk,
        "files": limits.files,
        "output": limits.output,
        "scratch": limits.scratch,
    }
    asked = json.dumps(request).encode()
    if len(asked) > frames.MOST:
        raise ValueError("the program is too long")
    child = subprocess.Popen(
        _jailer(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
        cwd="/",
        close_fds=True,
        start_new_session=True,
        bufsize=0,
    )
    end = time.monotonic() + SETTING_UP + limits.seconds + HANDING_OUT
    # Writing to the child cannot be cut short in any other way than by its end.
    watch = threading.Timer(end - time.monotonic(), child.kill)
    watch.daemon = True
    watch.start()
    try:
        with suppress(BrokenPipeError):  # it has refused; what it says is read below
            _hand_in(child, asked, tree)
        return _Answer(tree, into, limits).read(child, end, beat)
    finally:
        watch.cancel()
        child.kill()  # the kernel takes all that is in its namespaces along
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(OSError):
            child.stdin.close()
        child.stdout.close()
        child.wait()


def _hand_in(child: subprocess.Popen[bytes], asked: bytes, tree: Path | None) -> None:
    assert child.stdin is not None
    pipe = child.stdin.fileno()
    frames.write(pipe, frame(frames.REQUEST, asked))
    for path, folder in listing(tree) if tree is not None else ():
        name = path.relative_to(tree).as_posix().encode() if tree is not None else b""
        if folder:
            frames.write(pipe, frame(frames.FOLDER, name))
            continue
        frames.write(pipe, frame(frames.FILE, name))
        with path.open("rb", buffering=0) as file:
            while piece := file.read(frames.MOST):
                frames.write(pipe, frame(frames.DATA, piece))
    frames.write(pipe, frame(frames.END, b""))


def listing(tree: Path) -> list[tuple[Path, bool]]:
    """Folders (True) and files of a folder, each folder before what is in it. Only regular files are told of."""
    found: list[tuple[Path, bool]] = []
    waiting = [tree]
    while waiting:
        for entry in sorted(os.scandir(waiting.pop()), key=lambda each: each.name):
            if entry.is_dir(follow_symlinks=False):
                found.append((Path(entry.path), True))
                waiting.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                found.append((Path(entry.path), False))
    return found


class _Answer:
    """What comes out of the jail, taken apart as something that a stranger may have written."""

    def __init__(self, tree: Path | None, into: Path | None, limits: Limits) -> None:
        self._tree, self._into = tree, into
        self._limits = limits
        self._total = 0
        self._coming = frames.Frames()
        self._file = -1
        self._size = 0
        self._path = ""
        self._over = False
        self._outputs = {frames.STDOUT: bytearray(), frames.STDERR: bytearray()}
        self._seen: set[str] = set()
        self._ran: Ran | None = None

    def read(self, child: subprocess.Popen[bytes], end: float, beat: Callable[[], None]) -> Ran:
        assert child.stdout is not None
        pipe = child.stdout.fileno()
        last = time.monotonic()
        try:
            while not self._over:
                ready = select.select([pipe], [], [], 0.25)[0]
                now = time.monotonic()
                if now - last >= 0.25:
                    last = now
                    beat()
                if now > end:
                    raise Broken
                if not ready:
                    continue
                piece = os.read(pipe, frames.MOST)
                if not piece:
                    raise Broken
                for kind, content in self._coming.feed(piece):
                    self._take(kind, content)
        except ValueError:
            raise Broken from None
        finally:
            self._close()
        return self._finish()

    def _take(self, kind: bytes, content: bytes) -> None:
        if kind == frames.FAILED:
            raise _refused(json.loads(content))
        if kind == frames.ENDED:
            said = json.loads(content)
            self._ran = Ran(
                said["reason"], said["status"], said["signal"], float(said["seconds"]), bool(said["cut"]), said["fits"]
            )
        elif kind in self._outputs:
            self._outputs[kind] += content
            if len(self._outputs[kind]) > self._limits.output:
                raise ValueError("more output than is kept")
        elif kind == frames.END:
            self._over = True
        elif self._into is None:
            return
        elif kind == frames.DATA and self._file >= 0:
            self._size += len(content)
            self._total += len(content)
            if self._total > self._limits.disk:
                raise ValueError("more than the workspace holds")
            frames.write(self._file, content)
        else:
            self._close()
            self._begin(kind, content.decode())

    def _begin(self, kind: bytes, path: str) -> None:
        assert self._into is not None
        parts = PurePosixPath(path)
        if not path or parts.is_absolute() or ".." in parts.parts or "\0" in path:
            raise ValueError("a path that leads out of the workspace")
        target = self._into / parts
        self._seen.add(path)
        if len(self._seen) > self._limits.files:
            raise ValueError("more files than the workspace holds")
        if kind == frames.FOLDER:
            target.mkdir(mode=0o700)
        elif kind == frames.SAME and self._tree is not None:
            os.link(self._tree / parts, target, follow_symlinks=False)
        elif kind == frames.FILE:
            self._file = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
            self._path, self._size = path, 0
        else:
            raise ValueError("a frame that does not belong here")

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            if self._ran is not None:
                self._ran.changed.append((self._path, self._size))

    def _finish(self) -> Ran:
        if self._ran is None:
            raise Broken
        ran = self._ran
        ran.stdout, ran.stderr = (
            bytes(self._outputs[kind]).decode("utf-8", "replace") for kind in (frames.STDOUT, frames.STDERR)
        )
        if self._tree is not None and self._into is not None and ran.kept:
            before = [path.relative_to(self._tree).as_posix() for path, folder in listing(self._tree) if not folder]
            ran.removed = [path for path in before if path not in self._seen]
        return ran


def view() -> dict[str, Any]:
    """The interpreter's files, as `confine.view` found them: once a process. Raises `Unconfined`."""
    global _view
    if _view is None:
        try:
            told = subprocess.run(
                [_interpreter(), "-S", "-B", "-m", "domain.kernel.confine.view"],
                env={"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd="/",
                timeout=30,
                check=True,
            )
            _view = dict(json.loads(told.stdout))
        except (subprocess.SubprocessError, OSError, ValueError):
            why = "the files of the interpreter could not be found."
            raise Unconfined(f"Code cannot be run on this server: {why}", why=why) from None
    return _view


def _jailer() -> list[str]:
    return [_interpreter(), "-S", "-B", "-m", "domain.kernel.confine.inside", str(os.getpid())]


def _interpreter() -> str:
    """The interpreter itself, not a virtual environment's name for it."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
