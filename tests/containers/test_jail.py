"""Code that means harm, in the jail: what it tries, and that it gets nowhere."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.kernel.confine import frames, jail
from domain.kernel.confine.jail import Limits, Ran

pytestmark = pytest.mark.usefixtures("confined")
ROOT = Path(__file__).resolve().parents[2]


def run(code: str, *, tree: Path | None = None, into: Path | None = None, **limits: float) -> Ran:
    given = {"memory": 512 << 20, "seconds": 5.0, "disk": 8 << 20, "files": 100} | limits
    return jail.run(textwrap.dedent(code), Limits(**given), tree=tree, into=into)  # type: ignore[arg-type]


ATTEMPT = """
import os, sys
def attempt(what, act):
    try:
        print(what, "WORKED", act())
    except BaseException as problem:
        print(what, "refused", type(problem).__name__)
"""


def tried(code: str) -> str:
    """What a program says that prints the outcome of each attempt."""
    ran = run(ATTEMPT + textwrap.dedent(code))
    assert ran.fine, ran.stderr
    return ran.stdout


# --- the machine's files ----------------------------------------------------------------------------------------


def test_no_file_of_the_machine_can_be_read_but_the_interpreters() -> None:
    ran = run(
        """
        import os
        for path in ("/etc", "/root", "/home", "/var", "/proc", "/sys", "/run", "/work", "/old", "/usr/bin", "/bin"):
            print(path, os.path.lexists(path))
        print(sorted(os.listdir("/")))
        """
    )
    assert "True" not in ran.stdout
    assert ran.stdout.splitlines()[-1] == str(
        sorted(name for name in ("code", "dev", "lib", "lib64", "python", "tmp", "usr", "workspace"))
    )


def test_a_file_of_the_platform_is_not_there_under_any_way(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    said = tried(
        f"""
        attempt("open", lambda: open({str(secret)!r}).read())
        attempt("up", lambda: open("../" * 40 + {str(secret)!r}.lstrip("/")).read())
        os.symlink({str(secret)!r}, "link")
        attempt("link", lambda: open("link").read())
        attempt("chroot", lambda: os.chroot("/workspace"))
        for number in range(3, 300):
            try:
                os.fstat(number)
            except OSError:
                continue
            attempt(f"descriptor {{number}}", lambda: os.listdir(number))
        """
    )
    assert "WORKED" not in said
    assert "descriptor" not in said


def test_nothing_of_the_platforms_environment_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THALWEG_DATABASE_URL", "postgresql://somebody:hunter2@localhost/x")
    ran = run("import os; print(dict(os.environ))")
    assert "hunter2" not in ran.stdout
    assert "THALWEG" not in ran.stdout


def test_the_interpreter_and_its_ground_cannot_be_changed() -> None:
    said = tried(
        """
        for path in (sys.executable, os.__file__, "/code/program.py", "/lib", "/dev", "/"):
            target = path if os.path.isfile(path) else os.path.join(path, "made")
            attempt(path, lambda: open(target, "ab").close())
            attempt("delete " + path, lambda: os.remove(target))
        attempt("chmod", lambda: os.chmod(os.__file__, 0o777))
        """
    )
    assert "WORKED" not in said


def test_what_is_installed_beside_the_interpreter_is_not_shown() -> None:
    ran = run("import site, os, glob; print([f for p in site.getsitepackages() for f in glob.glob(p + '/*')])")
    assert ran.stdout.strip() == "[]"


# --- other processes -----------------------------------------------------------------------------------------------


def test_no_other_process_can_be_made_seen_or_signalled() -> None:
    said = tried(
        f"""
        import subprocess, multiprocessing, ctypes, signal
        libc = ctypes.CDLL(None, use_errno=True)
        def call(number, *given):
            result = libc.syscall(number, *given)
            if result < 0:
                raise OSError(ctypes.get_errno(), "refused")
            return result
        attempt("fork", os.fork)
        attempt("subprocess", lambda: subprocess.run([sys.executable, "-c", "1"]))
        attempt("multiprocessing", lambda: multiprocessing.get_context("spawn").Process(target=print).start())
        attempt("clone", lambda: call(56 if os.uname().machine == "x86_64" else 220, 17, 0, 0, 0, 0))
        attempt("ptrace", lambda: call(101 if os.uname().machine == "x86_64" else 117, 16, 1, 0, 0))
        attempt("read memory", lambda: call(310 if os.uname().machine == "x86_64" else 270, 1, 0, 0, 0, 0, 0))
        attempt("the platform's process", lambda: os.kill({os.getpid()}, 0))
        attempt("the parent", lambda: os.kill(os.getppid(), 0) if os.getppid() != 1 else 1 / 0)
        attempt("limits of others", lambda: call(302 if os.uname().machine == "x86_64" else 261, 1, 7, 0, 0))
        attempt("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, 0) and 1 / 0)
        attempt("namespaces", lambda: libc.unshare(0x10000000) and 1 / 0)
        attempt("keys", lambda: call(250 if os.uname().machine == "x86_64" else 219, 0, 0, 0, 0, 0))
        attempt("memory that nobody counts", lambda: call(319 if os.uname().machine == "x86_64" else 279, b"x", 0))
        attempt("io_uring", lambda: call(425, 1, 0))
        attempt("bpf", lambda: call(321 if os.uname().machine == "x86_64" else 280, 0, 0, 0))
        """
    )
    assert "WORKED" not in said, said
    assert said.count("refused") == 15


def test_the_first_process_of_the_jail_cannot_be_killed_by_the_program() -> None:
    ran = run(
        """
        import os, signal
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGSEGV):
            try:
                os.kill(1, number)
            except PermissionError:
                pass
        open("left", "w").write("x")
        print("still here")
        """,
    )
    assert (ran.status, ran.stdout) == (0, "still here\n")


def test_the_program_has_no_capability_and_gains_none() -> None:
    said = tried(
        """
        import ctypes, struct
        libc = ctypes.CDLL(None, use_errno=True)
        head, sets = struct.pack("Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
        print("ids", os.getresuid(), os.getresgid())
        for what, act in (("setuid", lambda: os.setuid(0)), ("setgroups", lambda: os.setgroups([0])),
                          ("hostname", lambda: __import__("socket").sethostname("x")),
                          ("nice", lambda: os.nice(-5)), ("device", lambda: os.mknod("d", 0o60666, 0x801))):
            attempt(what, act)
        open("su", "w").close()
        os.chmod("su", 0o6755)
        """
    )
    assert "WORKED" not in said
    assert "ids (1000, 1000, 1000) (1000, 1000, 1000)" in said


def test_the_machines_name_is_not_told() -> None:
    assert run("import os; print(os.uname().nodename)").stdout == "container\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="without root every test here runs as such a user")
def test_it_holds_for_a_platform_that_runs_without_privileges() -> None:
    other = "/usr/bin/python3"
    able = subprocess.run([other, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False, cwd="/")
    if able.returncode != 0 or not os.access(other, os.X_OK):
        pytest.skip("there is no interpreter on this machine that others may start")
    attack = ATTEMPT + textwrap.dedent(
        """
        import socket
        attempt("socket", socket.socket)
        attempt("fork", os.fork)
        attempt("passwd", lambda: open("/etc/passwd"))
        attempt("proc", lambda: os.listdir("/proc"))
        attempt("setuid", lambda: os.setuid(0))
        attempt("lib", lambda: open(os.__file__, "a"))
        try:
            os.kill(1, 9)
        except OSError:
            pass
        print("ids", os.getresuid())
        """
    )
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from domain.kernel.confine import jail
able = jail.support()
print(able)
print(jail.run({attack!r}, jail.Limits()).stdout)
"""
    ran = subprocess.run(
        [other, "-S", "-B", "-c", code], user=1234, group=1234, extra_groups=[], capture_output=True, text=True,
        cwd="/", env={}, check=False,
    )  # fmt: skip
    if "Permission denied" in ran.stderr or "No module named 'domain'" in ran.stderr:
        pytest.skip("others may not read this checkout")
    if "possible=False" in ran.stdout:
        assert "refused" in ran.stdout  # what this machine does not allow such a user
        return
    assert "WORKED" not in ran.stdout
    assert ran.stdout.count("refused") == 6, ran.stdout + ran.stderr
    assert "ids (1000, 1000, 1000)" in ran.stdout


# --- the network --------------------------------------------------------------------------------------------------


def test_nothing_is_reached_over_the_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = tried(
            f"""
            import socket, urllib.request
            attempt("connect", lambda: socket.create_connection(("127.0.0.1", {port}), 1))
            attempt("resolve", lambda: socket.getaddrinfo("example.org", 80))
            attempt("fetch", lambda: urllib.request.urlopen("http://127.0.0.1:{port}", timeout=1))
            for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET, 40):
                attempt(f"family {{family}}", lambda: socket.socket(family))
                attempt(f"raw {{family}}", lambda: socket.socket(family, socket.SOCK_RAW))
            """
        )
        assert "WORKED" not in said
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


# --- what it may use --------------------------------------------------------------------------------------------


def test_memory_is_bounded() -> None:
    ran = run("held = []\nwhile True: held.append(bytearray(1 << 20))", memory=256 << 20)
    assert (ran.reason, ran.status) == ("ended", 1)
    assert "MemoryError" in ran.stderr


def test_memory_that_is_mapped_is_bounded_too() -> None:
    ran = run("import mmap\nm = mmap.mmap(-1, 1 << 30)", memory=256 << 20)
    assert ran.status == 1
    assert "Cannot allocate memory" in ran.stderr


@pytest.mark.parametrize("code", ["import time; time.sleep(100)", "while True: pass", "import signal; signal.pause()"])
def test_a_program_that_does_not_end_is_ended(code: str) -> None:
    started = time.monotonic()
    ran = run(code, seconds=1.0)
    assert ran.reason == "time"
    assert time.monotonic() - started < 50


def test_a_program_that_ignores_signals_is_ended_all_the_same() -> None:
    code = """
    import signal, time
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    while True:
        try: time.sleep(10)
        except BaseException: pass
    """
    assert run(code, seconds=1.0).reason == "time"


def test_output_without_end_ends_the_program_and_is_not_kept() -> None:
    ran = run("while True: print('x' * 100_000)", output=10_000)
    assert (ran.reason, ran.cut, len(ran.stdout)) == ("output", True, 10_000)


def test_threads_are_bounded_and_a_few_are_fine() -> None:
    ran = run(
        """
        import threading, time
        count = 0
        try:
            for count in range(10_000):
                threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        except RuntimeError:
            pass
        print(count)
        """,
        memory=4 << 30,
    )
    assert 4 < int(ran.stdout) < 70


def test_the_disk_of_the_workspace_is_bounded(tmp_path: Path) -> None:
    ran = run(
        """
        n = 0
        try:
            for n in range(100):
                open(f"part{n}", "wb").write(b"x" * (1 << 20))
        except OSError as problem:
            print(n, problem.errno)
        """,
        into=_new(tmp_path),
    )
    assert ran.stdout.split() == ["8", "28"]
    assert ran.kept
    assert sum(size for _, size in ran.changed) == 8 << 20


def test_the_number_of_files_is_bounded(tmp_path: Path) -> None:
    ran = run(
        """
        n = 0
        try:
            for n in range(10_000): open(f"{n}", "w").close()
        except OSError as problem:
            print(n, problem.errno)
        """,
        into=_new(tmp_path),
    )
    assert ran.stdout.split() == ["100", "28"]
    assert ran.kept


def test_files_that_are_larger_than_they_take_are_not_kept(tmp_path: Path) -> None:
    into = _new(tmp_path)
    ran = run(
        """
        import os
        with open("hole", "wb") as f: f.truncate(6 << 20)
        for n in range(20): os.link("hole", f"again{n}")
        """,
        into=into,
    )
    assert ran.fine
    assert not ran.kept
    assert list(into.iterdir()) == []


def test_the_scratch_folder_is_bounded_and_not_kept(tmp_path: Path) -> None:
    into = _new(tmp_path)
    ran = run(
        """
        import tempfile
        f = tempfile.NamedTemporaryFile(delete=False)
        try:
            while True: f.write(b"x" * (1 << 20)); f.flush()
        except OSError as problem:
            print(f.name.startswith("/tmp"), problem.errno)
        """,
        into=into,
        disk=64 << 20,
    )
    assert ran.stdout.split() == ["True", "28"]
    assert list(into.iterdir()) == []


def test_what_the_kernel_keeps_for_a_program_is_bounded() -> None:
    ran = run(
        """
        import ctypes, os, resource
        libc, timers = ctypes.CDLL(None, use_errno=True), 0
        held = ctypes.c_void_p()
        while libc.timer_create(0, None, ctypes.byref(held)) == 0: timers += 1
        files = 0
        try:
            while True: os.pipe(); files += 2
        except OSError: pass
        print(timers < 300, files < 64, libc.mlock(ctypes.create_string_buffer(1 << 20), 1 << 20))
        """
    )
    assert ran.stdout == "True True -1\n"


def test_a_full_disk_of_the_machine_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    into = _new(tmp_path)
    write = frames.write
    monkeypatch.setattr(
        frames, "write", lambda file, content: full(file, content) if content == b"left" else write(file, content)
    )
    with pytest.raises(jail.Broken):
        run("open('a', 'w').write('left')", into=into)


# --- what it leaves --------------------------------------------------------------------------------------------------


def _new(tmp_path: Path, name: str = "after") -> Path:
    made = tmp_path / name
    made.mkdir()
    return made


def test_files_come_in_and_go_out_and_unchanged_ones_are_linked(tmp_path: Path) -> None:
    before, after = _new(tmp_path, "before"), _new(tmp_path)
    (before / "data").mkdir()
    (before / "data" / "kept.txt").write_text("kept")
    (before / "changed.txt").write_text("old")
    (before / "gone.txt").write_text("gone")
    ran = run(
        """
        import os
        print(open("data/kept.txt").read(), open("changed.txt").read())
        open("changed.txt", "w").write("new")
        os.remove("gone.txt")
        os.makedirs("made/deep")
        open("made/deep/größe.txt", "w").write("ü")
        """,
        tree=before,
        into=after,
    )
    assert ran.stdout == "kept old\n"
    assert sorted(ran.changed) == [("changed.txt", 3), ("made/deep/größe.txt", 2)]
    assert ran.removed == ["gone.txt"]
    assert (after / "changed.txt").read_text() == "new"
    assert (before / "changed.txt").read_text() == "old"
    assert (after / "data/kept.txt").stat().st_ino == (before / "data/kept.txt").stat().st_ino


def test_a_change_that_leaves_no_trace_in_times_and_size_is_seen(tmp_path: Path) -> None:
    before, after = _new(tmp_path, "before"), _new(tmp_path)
    (before / "a").write_bytes(b"x" * 4096)
    ran = run(
        """
        import mmap, os
        looks = os.stat("a")
        with open("a", "r+b") as f, mmap.mmap(f.fileno(), 0) as m: m[:1] = b"y"
        os.utime("a", ns=(looks.st_atime_ns, looks.st_mtime_ns))
        """,
        tree=before,
        into=after,
    )
    assert ran.changed == [("a", 4096)]
    assert (after / "a").read_bytes()[:2] == b"yx"


def test_links_pipes_and_strange_names_stay_behind(tmp_path: Path) -> None:
    after = _new(tmp_path)
    ran = run(
        r"""
        import os
        os.symlink("/etc/passwd", "passwd")
        os.symlink("..", "up")
        os.symlink("/workspace", "loop")
        try: os.mkfifo("pipe")
        except OSError: pass
        for name in (b"\xff\xfe", b"new\nline", b"bell\x07", b"fine.txt", b"x" * 255):
            open(name, "w").write("x")
        os.mkdir("closed"); open("closed/in", "w").write("x"); os.chmod("closed/in", 0); os.chmod("closed", 0)
        deep = "d"
        for n in range(60):
            os.mkdir(deep); deep += "/d"
        """,
        into=after,
    )
    assert ran.fine, ran.stderr
    found = {path.relative_to(after).as_posix() for path in after.rglob("*") if path.is_file()}
    assert found == {"fine.txt", "x" * 255, "closed/in"}
    assert not any(path.is_symlink() for path in after.rglob("*"))
    assert max(len(path.parts) for path in after.rglob("*")) - len(after.parts) < 40


def test_what_a_program_leaves_cannot_be_run_by_what_reads_it(tmp_path: Path) -> None:
    after = _new(tmp_path)
    run("import os; open('tool', 'w').write('x'); os.chmod('tool', 0o6777)", into=after)
    assert (after / "tool").stat().st_mode & 0o7777 == 0o600


def test_saved_modules_can_be_imported_and_stand_behind_the_library(tmp_path: Path) -> None:
    before = _new(tmp_path, "before")
    (before / "mine.py").write_text("VALUE = 42")
    (before / "json.py").write_text("raise SystemExit('fooled')")
    ran = run("import mine, json; print(mine.VALUE, json.dumps({}))", tree=before)
    assert ran.stdout == "42 {}\n"


# --- how it ends ----------------------------------------------------------------------------------------------------


def test_the_ends_of_a_program_are_told_apart() -> None:
    assert run("raise SystemExit(3)").status == 3
    assert run("import os; os.abort()").signal == signal.SIGABRT
    assert run("import ctypes; ctypes.string_at(0)").signal == signal.SIGSEGV
    failed = run("1 / 0")
    assert (failed.status, failed.stderr.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")
    assert run("def (").stderr.endswith("SyntaxError: invalid syntax\n")


def test_the_program_is_taken_as_it_is() -> None:
    assert run("print('größer', chr(0x1F41D), '\\\\', \"'\")").stdout == "größer 🐝 \\ '\n"
    assert "surrogates not allowed" not in run("print('\ud800')").stderr


def test_a_run_can_be_ended_from_outside() -> None:
    class Enough(Exception):
        pass

    started = time.monotonic()

    def beat() -> None:
        if time.monotonic() - started > 0.5:
            raise Enough

    with pytest.raises(Enough):
        jail.run("while True: pass", Limits(seconds=30), beat=beat)
    assert time.monotonic() - started < 20


def test_runs_at_once_do_not_meet(tmp_path: Path) -> None:
    said: dict[int, str] = {}

    def one(number: int) -> None:
        said[number] = run(
            f"import os, time; open('x', 'w').write('{number}'); time.sleep(0.3); "
            "print(os.listdir(), open('x').read(), os.getpid())"
        ).stdout

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {number: f"['x'] {number} 2\n" for number in range(4)}


def test_nothing_lives_on_when_the_process_that_asked_is_killed(tmp_path: Path) -> None:
    """The worker is killed while code runs: the jail goes with it."""
    mark = f"mark-{os.getpid()}-{time.time_ns()}"
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from domain.kernel.confine import jail
jail.run("import time  # {mark}\\nopen('/tmp/on', 'w'); time.sleep(60)", jail.Limits(seconds=60))
"""
    worker = subprocess.Popen([sys.executable, "-c", code])
    inside = _wait_for(lambda: _descendants(worker.pid), 3, seconds=20)
    worker.kill()
    worker.wait()
    end = time.monotonic() + 30
    while time.monotonic() < end and any(_alive(pid) for pid in inside):
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in inside)


def _wait_for(look: Callable[[], list[int]], count: int, seconds: float) -> list[int]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if len(found) >= count:
            time.sleep(0.3)
            return look()
        time.sleep(0.05)
    raise AssertionError("the jail did not come up")


def _descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found, waiting = [], [pid]
    while waiting:
        above = waiting.pop()
        below = [child for child, parent in parents.items() if parent == above]
        found += below
        waiting += below
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_is_left_mounted_or_open_by_a_run() -> None:
    run("pass")
    mounts, files = Path("/proc/mounts").read_text(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        run("print(1)")
    assert Path("/proc/mounts").read_text() == mounts
    assert len(os.listdir("/proc/self/fd")) == files
