"""Containers of this server: a folder each, and an interpreter that is confined by the kernel.

A run gets a copy of the folder's files and, when it has ended, its own files take their place in one step: a run that
is killed in the middle, with the worker or with the machine, leaves the container as it was. Runs of one container wait
for each other.

    <folder>/<id>.lock      held by a run
    <folder>/<id>/now       a link to the tree of files that counts
    <folder>/<id>/tree-*    that tree, and what a run that died has left
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from domain.containers import rules
from domain.containers.ports import Declined, Left, Outcome, Wanted
from domain.kernel.confine import frames, jail
from domain.kernel.confine.jail import Limits, Ran, Unconfined
from domain.kernel.errors import Unavailable

PREFIX = "cntr_"
PATIENCE = 10.0
"""Seconds that a run waits for another one in the same container."""
YOUNG = 3600.0
"""Seconds in which a workspace is no remainder: its row may not be there yet."""
FILES = 2_000
SHOWN = 50
"""Changed files that are told of."""


class Local:
    """`size`: bytes of a container's files."""

    name = "local"

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size

    # --- the port ----------------------------------------------------------------------------------------------

    def known_as(self, wanted: Wanted) -> str:
        return self.name_of(wanted.id)

    def make(self, wanted: Wanted) -> str:
        return self.name_of(wanted.id)

    def put(self, external_id: str, name: str, source: BinaryIO, size: int) -> None:
        """Raises `Declined` when it does not fit, or its name is none for a file here."""
        place = self._place(external_id)
        with self._alone(place, lambda: None):
            before = self._tree(place)
            held, count = _weight(before)
            if held + frames.taken(size) > self._size or count >= FILES:
                raise Declined(f"A container has room for {self._size >> 20} MiB, and the files are larger.")
            after = self._new(place)
            if before is not None:
                _copy(before, after)
            target = after / _plain(name)
            with suppress(FileNotFoundError):
                target.unlink()
            with target.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            self._swap(place, after)

    def run(
        self, external_id: str | None, code: str, *, memory: str, seconds: float, beat: Callable[[], None]
    ) -> Outcome:
        limits = Limits(memory=rules.MEMORY[memory], seconds=seconds, disk=self._size, files=FILES)
        if external_id is None:
            return _told(jail.run(code, limits, beat=beat), fresh=True)
        place = self._place(external_id)
        with self._alone(place, beat):
            before = self._tree(place)
            if _weight(before)[0] > self._size:
                raise Unavailable("The container's files are larger than they may be on this server by now.")
            after = self._new(place)
            try:
                ran = jail.run(code, limits, tree=before, into=after, beat=beat)
                if ran.kept:
                    self._swap(place, after)
            finally:
                self._tidy(place)
            return _told(ran)

    def discard(self, external_id: str) -> None:
        place = self._place(external_id)
        with self._alone(place, lambda: None):
            shutil.rmtree(place, ignore_errors=True)
        with suppress(FileNotFoundError):
            self._lock(place).unlink()

    def check(self) -> str:
        able = jail.support()
        if not able.possible:
            raise Unconfined(f"Code cannot be run on this server: {able.why}", why=able.why)
        return "confined by namespaces and a filter of system calls"

    # --- for the sweep -----------------------------------------------------------------------------------------

    def workspaces(self) -> list[UUID]:
        """Containers that have a folder here, but for the youngest."""
        found = []
        with suppress(FileNotFoundError):
            for entry in os.scandir(self._folder):
                with suppress(ValueError, FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False) and time.time() - entry.stat().st_mtime > YOUNG:
                        found.append(UUID(hex=entry.name))
        return sorted(found)

    def name_of(self, container_id: UUID) -> str:
        return PREFIX + container_id.hex

    # --- below -------------------------------------------------------------------------------------------------

    def _place(self, external_id: str) -> Path:
        return self._folder / UUID(hex=external_id.removeprefix(PREFIX)).hex

    def _lock(self, place: Path) -> Path:
        return place.with_name(place.name + ".lock")

    @contextmanager
    def _alone(self, place: Path, beat: Callable[[], None]) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(self._lock(place), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise Unavailable(
                            "Other code is being run in the container. Try again shortly.", retry_after=5
                        ) from None
                beat()
                time.sleep(0.05)
            yield
        finally:
            os.close(held)

    def _tree(self, place: Path) -> Path | None:
        now = place / "now"
        try:
            return place / os.readlink(now)
        except FileNotFoundError:
            return None

    def _new(self, place: Path) -> Path:
        place.mkdir(mode=0o700, exist_ok=True)
        made = place / f"tree-{secrets.token_hex(8)}"
        made.mkdir(mode=0o700)
        return made

    def _swap(self, place: Path, tree: Path) -> None:
        """Make `tree` the one that counts: a rename, which either happens or does not."""
        link = place / f"link-{secrets.token_hex(8)}"
        link.symlink_to(tree.name)
        link.replace(place / "now")

    def _tidy(self, place: Path) -> None:
        counts = self._tree(place)
        for entry in os.scandir(place):
            if entry.name == "now" or (counts is not None and entry.name == counts.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


def _weight(tree: Path | None) -> tuple[int, int]:
    """What the files of a tree take in a workspace, and how many entries it has."""
    entries = [] if tree is None else jail.listing(tree)
    return sum(frames.taken(path.stat().st_size) for path, folder in entries if not folder), len(entries)


def _copy(before: Path, after: Path) -> None:
    for path, folder in jail.listing(before):
        target = after / path.relative_to(before)
        if folder:
            target.mkdir(mode=0o700)
        else:
            os.link(path, target)


def _plain(name: str) -> str:
    """A file's name for people as one in a folder."""
    kept = "".join("_" if each == "/" or not each.isprintable() else each for each in name).strip(". ")
    while len(kept.encode()) > 200:
        kept = kept[1:]
    if not kept:
        raise Declined("A file has no name that it could have in a container.")
    return kept


def _told(ran: Ran, *, fresh: bool = False) -> Outcome:
    ending = {"time": "timeout", "output": "flood"}.get(ran.reason)
    if ending is None:
        ending = "killed" if ran.signal is not None else "done" if ran.status == 0 else "failed"
    return Outcome(
        ending,
        ran.stdout,
        ran.stderr,
        ran.seconds,
        cut=ran.cut,
        lost=not ran.kept and not fresh,
        changed=tuple(Left(path, size) for path, size in sorted(ran.changed)[:SHOWN]),
        removed=tuple(ran.removed[:SHOWN]),
    )
