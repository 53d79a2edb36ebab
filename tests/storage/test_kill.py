"""kill -9 while a file is on its way in."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from domain import storage

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID
from domain import identity, storage
from domain.kernel.context import SystemActor
from domain.startup import load_tables
from domain.kernel.db import Database

url, folder, organisation, stage = sys.argv[1:]
storage.bind(SimpleNamespace(blob_url=None, data_dir=Path(folder), base_url="http://x", storage_quota_bytes=0,
                             storage_file_bytes=1 << 30))

def wait(what):
    if what == stage:
        print(what, flush=True)
        time.sleep(60)

class Source:
    sent = 0
    def read(self, size):
        if self.sent == 4 << 20:
            wait("bytes")
            return b""
        self.sent += 1 << 18
        return os.urandom(1 << 18)

load_tables()
with Database(url).context(SystemActor("test"), UUID(organisation)) as ctx:
    storage.put(ctx, Source(), name="killed.bin", purpose="document")
    wait("row")
"""


def killed(world: Any, database_url: str, stage: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, database_url, str(world.root.parent), str(world.organisation_id), stage],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == stage.encode()
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()


def test_a_killed_put_leaves_nothing_visible_and_the_sweeper_clears_up(folder: Any, database_url: str) -> None:
    with folder.context() as ctx:
        kept = storage.put(ctx, io.BytesIO(b"kept"), name="kept.txt", purpose="document")
    killed(folder, database_url, "bytes")
    assert folder.blobs() == {kept.key}
    assert len(list((folder.root / ".incoming").iterdir())) == 1
    killed(folder, database_url, "row")
    assert len(folder.blobs()) == 2
    with folder.context() as ctx:
        assert storage.usage(ctx).objects == 1
    swept = storage.sweep(folder.platform_work(), age=timedelta(hours=-1))
    assert (swept.unfinished, swept.orphans) == (1, 1)
    assert folder.blobs() == {kept.key}
    with folder.context() as ctx, storage.open(ctx, kept.id) as reader:
        assert reader.read() == b"kept"
