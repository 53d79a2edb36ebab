"""What `thalweg up` promises, with stand-ins for the platform's processes and real signals."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from thalweg.embedded.children import RotatingFile
from thalweg.embedded.supervisor import UpError, listen, noted

pytestmark = pytest.mark.faults

STAND_IN = """
    import os, signal, socket, sys, time
    what = sys.argv[1]
    def log(text): print(text, flush=True)
    if what == "prepare":
        if os.environ.get("STAND_IN_UNPREPARED"):
            sys.exit("the schema is broken")
        print("call " + sys.argv[2]); sys.exit()
    log(what + " begins with " + os.environ.get("THALWEG_PORT", "-"))
    if what == "crash" or (what == "serve" and os.environ.get("STAND_IN_BROKEN")):
        sys.exit("no such luck")
    def leave(*_):
        open(os.environ["STAND_IN_ORDER"], "a").write(what + " stopped\\n"); os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if what == "stubborn" else leave)
    if what == "parent":
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open(os.environ["STAND_IN_ORDER"] + ".child", "w").write(str(child.pid))
    if what == "chatty":
        while True: print("x" * 1000, flush=True)
    if what != "serve":
        while True: time.sleep(600)
    listener = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
    while True:
        line, _ = listener.accept()
        line.settimeout(5)
        try: line.recv(65536)
        except OSError: pass
        body = str(os.getpid()).encode()
        line.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
        line.close()
"""

RUNNER = """
    import json, os, sys
    from pathlib import Path
    from thalweg.embedded.process import EmbeddedError
    from thalweg.embedded.supervisor import Part, Plan, Supervisor, UpError
    given = json.loads(sys.argv[1])
    parts = [Part(name, [kind], serves=kind == "serve") for name, kind in given.pop("parts")]
    plan = Plan(root=Path(given.pop("root")), data=Path(given.pop("data")), parts=parts, environment=dict(os.environ),
                command=(sys.executable, given.pop("program")), **given)
    say = lambda who, text: print(f"{who}: {text}", file=sys.stderr, flush=True)
    try:
        sys.exit(Supervisor(plan, tell=say, ready=lambda url, said: print(url, said.strip(), flush=True)).run())
    except (UpError, EmbeddedError) as error:
        sys.exit(str(error))
"""


class Running:
    """A supervisor in a process of its own."""

    def __init__(self, folder: Path, parts, environ=None, **plan):
        self.folder = folder
        self.order = folder / "order"
        (folder / "stand_in.py").write_text(textwrap.dedent(STAND_IN))
        given = {"root": str(folder), "data": str(folder / "data"), "program": str(folder / "stand_in.py"), **plan}
        self.errors = (folder / f"errors-{time.monotonic_ns()}").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RUNNER), json.dumps({**given, "parts": parts})],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "STAND_IN_ORDER": str(self.order), **(environ or {})},
        )

    def ready(self) -> str:
        line = self.process.stdout.readline()
        assert line, self.said()
        self.url = line.split()[0]
        return line

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read()

    def get(self) -> int:
        with urllib.request.urlopen(self.url, timeout=10) as reply:
            return int(reply.read())

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, word: str) -> psutil.Process:
        found = []
        for process in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):  # Postgres' children come and go
                if word in process.cmdline():
                    found.append(process)
        [only] = found
        return only

    def stop(self, number=signal.SIGTERM, seconds=30) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)


def until(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except (OSError, ValueError, psutil.Error):
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


@pytest.fixture
def folder(server_folder, request) -> Path:
    path = server_folder / request.node.name[:60]
    path.mkdir()
    return path


@pytest.fixture
def start(folder):
    started: list[Running] = []

    def begin(*kinds, **given) -> Running:
        started.append(Running(folder, [(f"{kind}", kind) for kind in kinds], **given))
        return started[-1]

    yield begin
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()
        running.process.stdout.close()
        running.errors.close()


def test_port_zero_takes_a_free_one_and_the_children_know_it(start):
    running = start("serve", prepare=["prepare"])
    url, *said = running.ready().split()
    assert said == ["call", url], "the command that prepares is told the address"
    assert running.get() == running.child("serve").pid
    port = url.rpartition(":")[2]
    assert f"serve begins with {port}" in (running.folder / "data/logs/serve.log").read_text()
    assert noted(running.folder / "data") == {"pid": running.process.pid, "url": url}


def test_a_dead_child_is_started_again_and_no_waiting_connection_is_lost(start):
    running = start("serve", "worker")
    running.ready()
    before = running.get()
    os.kill(before, signal.SIGSTOP)  # it cannot answer what comes now
    until(lambda: psutil.Process(before).status() == psutil.STATUS_STOPPED)
    with socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2]))) as waiting:
        waiting.sendall(b"GET / HTTP/1.1\r\n\r\n")
        os.kill(before, signal.SIGKILL)
        waiting.settimeout(10)
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")
    assert running.get() != before
    worker = running.child("worker")
    worker.kill()
    until(lambda: running.child("worker").pid != worker.pid)
    assert "serve: was ended by SIGKILL; starting it again" in running.said()


def test_what_a_dead_child_had_started_is_killed_with_it(start):
    running = start("serve", "parent")
    running.ready()
    grandchild = psutil.Process(int(until(lambda: Path(f"{running.order}.child").read_text())))
    running.child("parent").kill()
    grandchild.wait(10)


def test_a_child_that_always_dies_is_tried_ever_more_slowly_and_harms_nobody(start):
    running = start("serve", "crash")
    running.ready()
    until(lambda: "starting it again in" in running.said())  # pauses of a second and more are told
    starts = (running.folder / "data/logs/crash.log").read_text().count("begins")
    assert 3 <= starts <= 8
    assert running.get()
    assert running.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_is_clean_and_in_order(start, number):
    running = start("worker", "serve")
    running.ready()
    until(lambda: "begins" in (running.folder / "data/logs/worker.log").read_text())
    children = running.children()
    began = time.monotonic()
    assert running.stop(number) == 0
    assert time.monotonic() - began < 5
    assert running.order.read_text() == "serve stopped\nworker stopped\n", "the API first: its work may need the worker"
    assert not any(child.is_running() for child in children)
    assert noted(running.folder / "data") == {}


def test_a_child_that_does_not_listen_is_killed_at_the_deadline(start):
    running = start("serve", "stubborn", work_seconds=1.0)
    running.ready()
    until(lambda: "begins" in (running.folder / "data/logs/stubborn.log").read_text())
    children = running.children()
    assert running.stop() == 0
    assert "stubborn: did not stop in time and is killed" in running.said()
    assert not any(child.is_running() for child in children)


def test_a_second_ctrl_c_does_not_wait(start):
    running = start("serve", "stubborn", work_seconds=60.0)
    running.ready()
    until(lambda: "begins" in (running.folder / "data/logs/stubborn.log").read_text())
    running.process.send_signal(signal.SIGINT)
    until(lambda: "stopping" in running.said())
    began = time.monotonic()
    assert running.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 5


def test_nothing_outlives_a_supervisor_that_was_killed(start):
    running = start("serve", "stubborn", start_postgres=True, start_valkey=True)
    running.ready()
    family = running.children()
    assert {"postgres", "valkey-server"} <= {process.name() for process in family}
    running.process.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    again = start("serve", start_postgres=True, start_valkey=True)
    again.ready()  # and the folder is free, with its databases whole
    assert again.stop() == 0


def test_databases_that_die_are_back_on_the_same_address(start):
    running = start("serve", "worker", start_postgres=True, start_valkey=True)
    running.ready()
    environment = running.child("worker").environ()
    by_name = {process.name(): process for process in psutil.Process(running.process.pid).children()}
    for name in ("postgres", "valkey-server"):
        by_name[name].kill()
    until(lambda: "valkey: is back" in running.said() and "postgres: is back" in running.said())

    import psycopg
    import redis

    assert redis.Redis.from_url(environment["THALWEG_REDIS_URL"]).ping()
    psycopg.connect(environment["THALWEG_DATABASE_URL"]).close()
    assert running.child("worker").environ() == environment
    assert running.stop() == 0


def test_a_second_one_on_the_same_folder_says_who_runs_there(start):
    running = start("serve")
    running.ready()
    second = start("serve")
    assert second.process.wait(20) == 1
    assert f"already runs on {running.folder / 'data'} (process {running.process.pid})" in second.said()
    assert running.url in second.said()
    assert running.get()


def test_a_taken_port_is_said_with_who_has_it(start):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        running = start("serve", port=port)
        assert running.process.wait(20) == 1
    assert f"Port {port} is taken by " in running.said()
    assert f"(process {os.getpid()})" in running.said()
    assert "--port 0" in running.said()


def test_an_address_of_another_machine_is_refused_with_a_reason():
    with pytest.raises(UpError, match=r"Cannot listen on 192\.0\.2\.1"):
        listen("192.0.2.1", 0)


def test_an_api_that_never_starts_ends_the_attempt_with_its_last_words(start):
    running = start("serve", "worker", environ={"STAND_IN_BROKEN": "1"})
    assert running.process.wait(60) == 1
    assert "The API does not start" in running.said()
    assert "no such luck" in running.said()


def test_a_failed_migration_ends_the_attempt_and_shows_why(start):
    running = start("serve", prepare=["prepare"], environ={"STAND_IN_UNPREPARED": "1"})
    assert running.process.wait(30) == 1
    assert "the schema is broken" in running.said()


def test_a_chatty_child_neither_blocks_nor_fills_the_disk(start):
    running = start("serve", "chatty")
    running.ready()
    logs = running.folder / "data/logs"
    until(lambda: (logs / "chatty.log.2").exists(), 60)
    assert running.get()
    assert running.stop() == 0
    assert sum(path.stat().st_size for path in logs.glob("chatty.log*")) < 50 * 2**20


def test_a_log_keeps_so_many_files_and_no_more(tmp_path):
    log = RotatingFile(tmp_path / "a.log", limit=10, keep=2)
    for number in range(10):
        log.write(b"line %d......\n" % number)
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    assert (tmp_path / "a.log.1").read_bytes() == b"line 9......\n"
