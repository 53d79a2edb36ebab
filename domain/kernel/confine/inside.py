"""The jailer: makes namespaces, shows the interpreter and an empty workspace, runs a program in it and hands out what
it left. A program of its own (`python -S -m domain.kernel.confine.inside <pid of its parent>`), spoken to in frames.

Three processes: this one, which leaves the machine's namespaces; its child, the first of the new ones, which mounts,
watches and collects; and the stranger's interpreter, which has no capability, no way to either of them, and dies with
them. All of them die with the parent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from domain.kernel.confine import bounds, frames, seccomp, syscalls
from domain.kernel.confine.frames import frame

STRANGER, NOBODY = 1000, 65534
"""Who the program is inside; who that is outside, where the platform runs as root."""
STAGE = "/proc"
"""Where the new root is put together: a folder that every machine has, and that nothing shown lies in."""
HOME, PYTHON = "/workspace", "/python"
DEEPEST = 32
TICK = 0.1
"""Seconds by which the kernel's two counts of a program's processor time may differ."""
PIECE = 1 << 16
FLOOD = 16 << 20
"""Bytes of output after which a program is ended."""
START = "import sys\nsys.path += ['/workspace']\n"
"""What a program saved in its workspace can be imported, but stands behind everything else."""
ENVIRONMENT = {
    "HOME": HOME,
    "LANG": "C.UTF-8",
    "LD_LIBRARY_PATH": "/lib",
    "PATH": f"{PYTHON}/bin",
    "PYTHONHOME": PYTHON,
    "PYTHONPATH": "/code/start",
    "TMPDIR": "/tmp",  # noqa: S108 - the jail's own
    "MALLOC_ARENA_MAX": "2",  # each arena takes 64 MiB of the address space that is counted
    # Kernels of numeric libraries would start a thread for each processor.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Gone(Exception):
    """The parent is not there any more."""


def main() -> int:
    os.environ.clear()
    bounds.die_with_parent()
    if os.getppid() != int(sys.argv[1]):
        return 1
    try:
        _leave()
        bounds.die_with_parent()  # changing namespaces has taken the promise back
        first = os.fork()
        if first == 0:
            bounds.die_with_parent()
            os._exit(_first())
        os.waitpid(first, 0)
    except OSError as wrong:
        _refuse(wrong)
    return 0


# --- away from the machine -----------------------------------------------------------------------------------


def _leave() -> None:
    """New namespaces of every kind. Who is who in them a helper writes that stays behind: only it may, for root."""
    root = os.geteuid() == 0
    if root:
        os.setgroups([])
    inner = f"0 0 1\n{STRANGER} {NOBODY} 1\n" if root else None
    ready, go = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(go)
        os._exit(_name_people(os.getppid(), inner, ready))
    os.close(ready)
    flags = (
        syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET
        | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP
    )  # fmt: skip
    try:
        syscalls.unshare(flags, "make namespaces")
        os.write(go, b"1")
    finally:
        os.close(go)
        status = os.waitpid(helper, 0)[1]
    if status != 0:
        raise syscalls.Refusal("name the users of a namespace", os.waitstatus_to_exitcode(status) % 128)


def _name_people(pid: int, ids: str | None, ready: int) -> int:
    bounds.die_with_parent()
    if os.read(ready, 1) != b"1":
        return 1
    try:
        if ids is None:
            _write(f"/proc/{pid}/setgroups", "deny")
        _write(f"/proc/{pid}/uid_map", ids or f"{STRANGER} {os.geteuid()} 1\n")
        _write(f"/proc/{pid}/gid_map", ids or f"{STRANGER} {os.getegid()} 1\n")
    except OSError as wrong:
        return wrong.errno or 1
    return 0


def _write(path: str, content: str) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, content.encode())
    finally:
        os.close(file)


# --- the first process of the new namespaces -----------------------------------------------------------------


def _first() -> int:
    incoming = _frames()
    try:
        kind, content = next(incoming)
        if kind != frames.REQUEST:
            return 1
        request = json.loads(content)
        _modest()
        quiet = os.open(os.devnull, os.O_RDWR)
        _mount(request)
        known = _take_in(incoming)
        ended, streams = _run(request, quiet)
        _alone()
        _hand_out(ended, streams, known, request)
    except (Gone, StopIteration, BrokenPipeError):
        return 1
    except OSError as wrong:
        _refuse(wrong)
        return 1
    return 0


def _modest() -> None:
    """The last to get the processor, the first to go when memory runs out, and nothing for a collector of crashes,
    whom the kernel calls whatever the limit of core files says. Nobody learns the machine's name."""
    os.nice(5)
    for name, value in (("oom_score_adj", "1000"), ("coredump_filter", "0")):
        with contextlib.suppress(OSError):
            _write(f"/proc/self/{name}", value)
    syscalls.set_hostname("container")


def _mount(request: Mapping[str, Any]) -> None:
    """The new root: the interpreter, read-only, and a workspace of a size. Nothing else of the machine is there."""
    shown = request["view"]
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    bare = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", STAGE, "tmpfs", syscalls.MS_NOSUID, "size=8m,nr_inodes=2048,mode=755")
    _show(shown["program"], f"{PYTHON}/bin/{shown['version']}")
    library = f"{PYTHON}/{shown['libdir']}/{shown['version']}"
    _show(shown["stdlib"], library)
    if shown["platform"]:
        _show(shown["platform"], f"{PYTHON}/lib64/{shown['version']}")
    for covered in shown["covered"]:  # what is installed beside it is not the interpreter
        syscalls.mount("tmpfs", f"{STAGE}{library}/{covered}", "tmpfs", bare | syscalls.MS_RDONLY, "size=4k,mode=755")
    if shown["loader"]:
        _show(os.path.realpath(shown["loader"]), shown["loader"])
    for name, source in shown["libraries"].items():
        _show(source, f"/lib/{name}")
    if shown["zones"]:
        _show(shown["zones"], shown["zones"])
    for device in ("null", "urandom", "zero"):
        if os.path.exists(f"/dev/{device}"):
            _show(f"/dev/{device}", f"/dev/{device}", writable=True)
    _file(f"{STAGE}/code/program.py", request["code"])
    _file(f"{STAGE}/code/start/sitecustomize.py", START)
    for folder, size, most in ((HOME, request["disk"], request["files"]), ("/tmp", request["scratch"], 1024)):  # noqa: S108
        os.makedirs(STAGE + folder, exist_ok=True)
        syscalls.mount("tmpfs", STAGE + folder, "tmpfs", bare, f"size={size},nr_inodes={most + 1},mode=700")
        os.chown(STAGE + folder, STRANGER, STRANGER)
    os.makedirs(f"{STAGE}/old")
    os.chdir(STAGE)
    syscalls.pivot_root(".", "old")
    os.chdir("/")
    syscalls.unmount("/old")
    os.rmdir("/old")
    syscalls.mount("none", "/", None, syscalls.MS_REMOUNT | syscalls.MS_RDONLY | syscalls.MS_NOSUID)


def _show(source: str, target: str, *, writable: bool = False) -> None:
    target = STAGE + target
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    if writable:
        syscalls.mount(source, target, None, syscalls.MS_BIND)
    else:
        syscalls.bind_read_only(source, target)


def _file(path: str, content: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(content)


# --- files in ------------------------------------------------------------------------------------------------


def _take_in(incoming: Iterator[tuple[bytes, bytes]]) -> dict[str, bytes]:
    """Fill the workspace; what each file holds, by its sum."""
    known: dict[str, bytes] = {}
    path, file, total = "", -1, hashlib.blake2b()
    for kind, content in incoming:
        if kind == frames.DATA:
            total.update(content)
            frames.write(file, content)
            continue
        if file >= 0:
            known[path] = total.digest()
            os.close(file)
            file = -1
        if kind == frames.END:
            return known
        path = content.decode()
        if kind == frames.FOLDER:
            os.mkdir(f"{HOME}/{path}", 0o755)
            os.chown(f"{HOME}/{path}", STRANGER, STRANGER)
            continue
        total = hashlib.blake2b()
        file = os.open(f"{HOME}/{path}", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o644)
        os.fchown(file, STRANGER, STRANGER)
    raise Gone


# --- the program ---------------------------------------------------------------------------------------------


def _run(request: Mapping[str, Any], quiet: int) -> tuple[dict[str, Any], tuple[bytes, bytes]]:
    """Run the program until it ends, its time is over, or it floods its output. How it ended, and what it wrote."""
    out, err = os.pipe(), os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_stranger(request, quiet, out[1], err[1])
    os.close(out[1])
    os.close(err[1])
    kept = {out[0]: bytearray(), err[0]: bytearray()}
    reading = [0, *kept]
    written, reason, end = 0, "ended", started + request["seconds"]
    ended = None
    while len(reading) > 1 or ended is None:
        if time.monotonic() >= end:
            reason = "time"
            break
        for source in select.select(reading, [], [], 0.02 if len(reading) == 1 else 0.1)[0]:
            piece = os.read(source, PIECE)
            if source == 0:
                if not piece:
                    raise Gone
                continue
            written += len(piece)
            if not piece:
                reading.remove(source)
            kept[source] += piece[: max(0, request["output"] - len(kept[source]))]
        if written > FLOOD:
            reason = "output"
            break
        if ended is None:
            found, status, spent = os.wait4(child, os.WNOHANG)
            if found:
                ended = (status, spent)
    if ended is None:
        os.kill(child, signal.SIGKILL)
        _, status, spent = os.wait4(child, 0)
        ended = (status, spent)
    status, spent = ended
    processor = spent.ru_utime + spent.ru_stime
    if os.WIFSIGNALED(status) and processor >= _processor_seconds(request) - TICK:
        reason = "time"  # the kernel was quicker than the clock here, or the program had more than one thread
    said: dict[str, Any] = {
        "reason": reason,
        "status": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "seconds": time.monotonic() - started,
        "processor": processor,
        "cut": written > sum(len(each) for each in kept.values()),
    }
    return said, (bytes(kept[out[0]]), bytes(kept[err[0]]))


def _processor_seconds(request: Mapping[str, Any]) -> int:
    """What the kernel lets the program have of the processor, should the clock here be late."""
    return int(request["seconds"]) + 1


def _be_stranger(request: Mapping[str, Any], quiet: int, out: int, err: int) -> None:
    shown = request["view"]
    try:
        os.setsid()
        for number, source in enumerate((quiet, out, err)):
            os.dup2(source, number)
        os.closerange(3, 4096)
        os.chdir(HOME)
        os.umask(0o022)
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
                signal.signal(number, signal.SIG_DFL)
        bounds.bound(
            memory=request["memory"],
            seconds=_processor_seconds(request),
            file_bytes=request["disk"],
            files=64,
            processes=64,
        )
        syscalls.bound_capabilities()
        if os.geteuid() != STRANGER:
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
        syscalls.drop_capabilities()
        seccomp.apply()
        program = f"{PYTHON}/bin/{shown['version']}"
        os.execve(program, [program, "-s", "-B", "-X", "utf8", "/code/program.py"], ENVIRONMENT)  # noqa: S606
    except BaseException as wrong:
        os.write(2, f"The program could not be started: {type(wrong).__name__}: {wrong}\n".encode())
    finally:
        os._exit(126)


def _alone() -> None:
    """Kill and bury everything else in the namespace: from here on nothing changes under the hands."""
    while True:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


# --- files out -----------------------------------------------------------------------------------------------


def _hand_out(
    ended: dict[str, Any], streams: tuple[bytes, bytes], known: Mapping[str, bytes], request: Mapping[str, Any]
) -> None:
    left = _left()
    size = sum(frames.taken(size) for _, size in left if size >= 0)
    ended["fits"] = size <= request["disk"] and len(left) <= request["files"]
    _say(frames.ENDED, json.dumps(ended).encode())
    for kind, content in zip((frames.STDOUT, frames.STDERR), streams, strict=True):
        for at in range(0, len(content), PIECE):
            _say(kind, content[at : at + PIECE])
    if ended["fits"]:
        for path, size in left:
            if size < 0:
                _say(frames.FOLDER, path.encode())
            else:
                _give(path, known.get(path))
    _say(frames.END, b"")


def _left() -> list[tuple[str, int]]:
    """Folders (-1) and regular files (their size) of the workspace, each folder before what is in it. Links, pipes and
    names that another machine could not read stay behind."""
    found: list[tuple[str, int]] = []
    waiting = [("", 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            with os.scandir(f"{HOME}/{folder}") as entries:
                names = sorted(entry.name for entry in entries)
        except PermissionError:
            continue
        for name in names:
            path = f"{folder}/{name}" if folder else name
            if not _plain(name) or len(path) > 1000:
                continue
            looks = os.lstat(f"{HOME}/{path}")
            if stat.S_ISDIR(looks.st_mode) and depth < DEEPEST:
                found.append((path, -1))
                waiting.append((path, depth + 1))
            elif stat.S_ISREG(looks.st_mode):
                found.append((path, looks.st_size))
    return found


def _plain(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name.isprintable()


def _give(path: str, before: bytes | None) -> None:
    try:
        file = os.open(f"{HOME}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        if before is not None:
            total = hashlib.blake2b()
            while piece := os.read(file, frames.MOST):
                total.update(piece)
            if total.digest() == before:
                _say(frames.SAME, path.encode())
                return
            os.lseek(file, 0, os.SEEK_SET)
        _say(frames.FILE, path.encode())
        while piece := os.read(file, frames.MOST):
            _say(frames.DATA, piece)
    finally:
        os.close(file)


# --- the pipe ------------------------------------------------------------------------------------------------


def _frames() -> Iterator[tuple[bytes, bytes]]:
    coming = frames.Frames()
    while piece := os.read(0, frames.MOST):
        yield from coming.feed(piece)
    raise Gone


def _say(kind: bytes, content: bytes) -> None:
    frames.write(1, frame(kind, content))


def _refuse(wrong: OSError) -> None:
    """Say which step the kernel refused. Paths of the machine are not repeated."""
    what = wrong.what if isinstance(wrong, syscalls.Refusal) else "set up the workspace"
    said = json.dumps({"what": what, "errno": wrong.errno, "why": os.strerror(wrong.errno or 0)})
    try:
        _say(frames.FAILED, said.encode())
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main())
