"""The embedded servers: what they offer, and what they survive."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest
import redis

from thalweg.embedded.postgres import Postgres
from thalweg.embedded.process import EmbeddedError, FolderInUseError, FolderLock, socket_folder
from thalweg.embedded.valkey import Valkey


@pytest.fixture
def folder(server_folder, request) -> Path:
    path = server_folder / request.node.name.replace("[", "-").replace("]", "")[:60]
    path.mkdir()
    return path


@pytest.fixture
def cluster(folder):
    server = Postgres(folder / "postgres")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def queue_server(folder):
    server = Valkey(folder / "valkey")
    server.start()
    yield server
    server.stop()


def test_the_application_is_no_superuser_and_has_its_extensions(cluster):
    with psycopg.connect(cluster.url) as connection:
        row = connection.execute(
            "SELECT current_user, current_database(), rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == ("thalweg", "thalweg", False)
        for name in ("vector", "ltree", "pg_trgm"):
            connection.execute(f"CREATE EXTENSION IF NOT EXISTS {name}")
        assert connection.execute("SELECT '[1,2]'::vector <-> '[1,3]'::vector, 'a.b' <@ 'a'::ltree").fetchone() == (
            1.0,
            True,
        )


def test_a_new_database_has_the_extensions_too(cluster):
    with psycopg.connect(cluster.url_of("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE other")
    with psycopg.connect(cluster.url_of("other")) as connection:
        names = {name for (name,) in connection.execute("SELECT extname FROM pg_extension")}
    assert {"vector", "ltree", "pg_trgm"} <= names


def test_the_database_asks_for_the_password(cluster):
    wrong = cluster.url.replace(cluster.url.split(":")[2].split("@")[0], "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_the_database_cannot_be_reached_over_the_network(cluster):
    connections = psutil.Process(cluster.process.pid).net_connections("inet")
    assert [c for c in connections if c.status == psutil.CONN_LISTEN] == []


def test_what_was_committed_survives_kill_9_and_the_folder_is_usable_at_once(cluster):
    with psycopg.connect(cluster.url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (42)")
    busy = psycopg.connect(cluster.url, autocommit=True)  # its server process outlives the one that is killed
    os.kill(cluster.process.pid, signal.SIGKILL)
    cluster.process.wait()
    url = cluster.url
    assert cluster.start() == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)
    busy.close()


def test_a_stale_pid_file_that_names_a_living_stranger_does_not_prevent_a_start(folder):
    server = Postgres(folder / "postgres")
    server.start()
    server.stop()
    pid_file = (folder / "postgres" / "cluster").resolve() / "postmaster.pid"
    pid_file.write_text(f"{os.getppid()}\n{pid_file.parent}\n1\n5432\n\n\n  1 1\nready\n")
    server.start()
    assert server.running
    server.stop()


def test_an_interrupted_first_start_leaves_nothing_half_made(folder):
    draft = folder / "postgres" / "cluster.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    server = Postgres(folder / "postgres", volatile=True)
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.stop()


def test_two_do_not_run_on_one_folder_and_the_second_can_join(cluster, queue_server):
    second = Postgres(cluster.folder)
    with pytest.raises(FolderInUseError) as caught:
        second.start()
    assert caught.value.pid == os.getpid()
    with psycopg.connect(second.join()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(FolderInUseError):
        Valkey(queue_server.folder).start()


def test_a_failed_start_says_what_the_server_said(folder):
    server = Postgres(folder / "postgres", settings={"shared_buffers": "1TB"}, volatile=True)
    with pytest.raises(EmbeddedError, match=r"shared memory|shared_buffers"):
        server.start(timeout=30)
    assert not server.running
    FolderLock(server.folder / "lock").acquire("free again")


def test_a_path_too_long_for_a_socket_gets_a_short_one(folder):
    deep = folder / ("d" * 60) / ("e" * 60)
    server = Postgres(deep, volatile=True)
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    used = parse_qs(urlsplit(server.url).query)["host"][0]
    assert len(used) < 80
    assert Path(used).stat().st_mode & 0o777 == 0o700
    server.stop()


def test_a_socket_folder_that_is_a_link_is_refused(folder):
    (folder / "elsewhere").mkdir()
    (folder / "run").symlink_to(folder / "elsewhere")
    with pytest.raises(EmbeddedError, match="belongs to somebody else"):
        socket_folder(folder / "run")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the database as another user")
def test_below_a_private_home_root_still_gets_its_database_and_the_home_stays_private(tmp_path):
    tmp_path.chmod(0o700)
    server = Postgres(tmp_path / "data" / "postgres", volatile=True)
    try:
        with psycopg.connect(server.start()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert tmp_path.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()
        real = (tmp_path / "data" / "postgres" / "cluster").resolve()
        subprocess.run(["rm", "-rf", str(real.parent)], check=True)
    assert str(real).startswith("/var/lib/thalweg/")


# --- Valkey -----------------------------------------------------------------------------------------------------------


def test_valkey_keeps_what_it_was_told_for_a_second_through_kill_9_on_the_same_port(queue_server):
    client = redis.Redis.from_url(queue_server.url)
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    client.set("kept", "42")
    time.sleep(1.2)  # appendfsync everysec
    url = queue_server.url
    os.kill(queue_server.process.pid, signal.SIGKILL)
    queue_server.process.wait()
    assert queue_server.start() == url
    assert redis.Redis.from_url(url).get("kept") == b"42"


def test_valkey_asks_for_a_password_that_no_command_line_shows(queue_server):
    port = urlsplit(queue_server.url).port
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=port).ping()
    assert urlsplit(queue_server.url).password not in " ".join(psutil.Process(queue_server.process.pid).cmdline())


def test_valkey_listens_on_the_loopback_address_alone(queue_server):
    listening = psutil.Process(queue_server.process.pid).net_connections("inet")
    assert {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_a_data_file_that_a_crash_spoilt_is_put_aside(folder):
    server = Valkey(folder / "valkey")
    redis.Redis.from_url(server.start()).set("a", "b" * 1000)
    server.stop()
    [data] = (folder / "valkey" / "appendonlydir").glob("*.incr.aof")
    data.write_bytes(b"*9\r\n$3\r\nGARBAGE" * 40)
    redis.Redis.from_url(server.start()).ping()
    assert list((folder / "valkey").glob("appendonlydir.damaged-*"))
    server.stop()


def test_a_port_that_was_taken_meanwhile_is_exchanged(folder):
    import socket

    server = Valkey(folder / "valkey", volatile=True)
    before = urlsplit(server.start()).port
    server.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", before))
        squatter.listen()
        assert urlsplit(server.start()).port != before
        server.stop()


# --- together ---------------------------------------------------------------------------------------------------------


@pytest.mark.faults
def test_servers_do_not_outlive_the_process_that_started_them(folder):
    script = f"""
        import time
        from thalweg.embedded.postgres import Postgres
        from thalweg.embedded.valkey import Valkey
        postgres, valkey = Postgres({str(folder / "postgres")!r}), Valkey({str(folder / "valkey")!r})
        postgres.start(), valkey.start()
        print(postgres.process.pid, valkey.process.pid, flush=True)
        time.sleep(600)
    """
    starter = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    children = [psutil.Process(int(pid)) for pid in starter.stdout.readline().split()]
    family = [*children, *children[0].children(recursive=True)]
    starter.kill()
    starter.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    again = Postgres(folder / "postgres")
    with psycopg.connect(again.start()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    again.stop()


def test_the_lock_of_a_process_that_died_is_free(folder):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from thalweg.embedded.process import FolderLock\n"
            f"lock = FolderLock(Path({str(folder / 'lock')!r})); lock.acquire('x'); print(flush=True); time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    mine = FolderLock(folder / "lock")
    with pytest.raises(FolderInUseError) as caught:
        mine.acquire("The folder")
    assert caught.value.pid == holder.pid
    holder.kill()
    holder.wait()
    mine.acquire("The folder")
    mine.release()
