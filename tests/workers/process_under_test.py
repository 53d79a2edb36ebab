"""A real worker or scheduler process for tests/workers/test_processes.py, and as a module its jobs.

`python process_under_test.py worker <queue> <grace> <lease>` or `python process_under_test.py scheduler`
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from typing import Any

from sqlalchemy import text

if __name__ == "process_under_test":
    from domain.kernel.context import Ctx, Work
    from workers.registry import job, warm

    def note(ctx: Ctx, what: str) -> None:
        ctx.session.execute(text("INSERT INTO noted VALUES (:what)"), {"what": what})

    def failed(ctx: Ctx, args: dict[str, Any], reason: str) -> None:
        note(ctx, f"failed: {reason}")

    @warm("default")
    def load_model() -> None:
        os.environ["MODEL"] = f"warm in {os.getpid()}"

    @job("pid", simple=True)
    def pid(ctx: Ctx, args: dict[str, Any]) -> None:
        note(ctx, f"{os.getpid()} {os.getsid(0)} {os.environ.get('MODEL', 'cold')}")

    @job("sleep", soft=60, hard=60)
    def sleep(work: Work, args: dict[str, Any]) -> None:
        with work.transaction() as ctx:
            note(ctx, "sleeping")
        time.sleep(args["seconds"])
        with work.transaction() as ctx:
            note(ctx, "slept")
            work.complete(ctx)

    @job("held", soft=200, hard=200)
    def held(work: Work, args: dict[str, Any]) -> None:
        """Sleeps until the test lets go."""
        with work.transaction() as ctx:
            note(ctx, "sleeping")
        while True:
            with work.transaction() as ctx:
                if ctx.session.scalar(text("SELECT count(*) FROM noted WHERE note = 'let go'")):
                    break
            time.sleep(0.05)
        with work.transaction() as ctx:
            note(ctx, "slept")
            work.complete(ctx)

    @job("stuck", soft=0.5, hard=1.0, on_failed=failed)
    def stuck(work: Work, args: dict[str, Any]) -> None:
        sum(range(10**13))  # holds the interpreter lock and looks at no signal

    @job("idle", soft=0.5, hard=30, on_failed=failed)
    def idle(work: Work, args: dict[str, Any]) -> None:
        while True:
            time.sleep(0.05)

    @job("deaf", soft=0.3, hard=0.8, on_failed=failed)
    def deaf(work: Work, args: dict[str, Any]) -> None:
        time.sleep(600)  # hears no exception meanwhile

    @job("hog", on_failed=failed)
    def hog(work: Work, args: dict[str, Any]) -> None:
        bytearray(4 << 30)

    @job("crash", on_failed=failed)
    def crash(work: Work, args: dict[str, Any]) -> None:
        ctypes.string_at(0)

    @job("litter", simple=True)
    def litter(ctx: Ctx, args: dict[str, Any]) -> None:
        note(ctx, str(subprocess.Popen(["sleep", "600"]).pid))


if __name__ == "__main__":
    from thalweg.config import load
    from workers.main import run_scheduler, run_worker
    from workers.sweeper import Rhythm

    if sys.argv[1] == "worker":
        queue, grace, lease = sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
        code = run_worker(load(), [queue], jobs="process_under_test", lease=lease, grace=grace)
    else:
        code = run_scheduler(load(), jobs="process_under_test", rhythm=Rhythm(sweep=0.3, lost_after=1.0))
    sys.exit(code)
