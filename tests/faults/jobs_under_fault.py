"""The jobs and the processes that tests/faults/test_jobs_survive.py kills.

As a module: two jobs that write rows without any constraint, so that a second run would show. As a program:
`python jobs_under_fault.py worker|scheduler`, a real worker or scheduler process of those jobs.
"""

from __future__ import annotations

import random
import sys
import time
from datetime import timedelta
from typing import Any

from sqlalchemy import text

if __name__ == "jobs_under_fault":
    from domain.kernel.context import Ctx, Work
    from workers.registry import job

    ROW = text("INSERT INTO fault_row (number, step) VALUES (:number, :step)")
    SEEN = text("SELECT 1 FROM fault_row WHERE number = :number AND step = :step")

    @job("fault.one_row", simple=True)
    def one_row(ctx: Ctx, args: dict[str, Any]) -> None:
        ctx.session.execute(ROW, {"number": args["number"], "step": "only"})
        time.sleep(random.uniform(0, 0.05))  # kills fall into the open transaction, too

    @job("fault.two_steps", retry_base=0.2)
    def two_steps(work: Work, args: dict[str, Any]) -> None:
        """A step is done once because it looks first, in the transaction that holds the job's row."""
        number = args["number"]
        with work.transaction() as ctx:
            if ctx.session.execute(SEEN, {"number": number, "step": "first"}).first() is None:
                ctx.session.execute(ROW, {"number": number, "step": "first"})
        time.sleep(random.uniform(0, 0.15))
        with work.transaction() as ctx:
            ctx.session.execute(ROW, {"number": number, "step": "second"})
            work.complete(ctx, {"number": number})


if __name__ == "__main__":
    from thalweg.config import load
    from workers.main import run_scheduler, run_worker
    from workers.sweeper import Rhythm

    if sys.argv[1] == "worker":
        sys.exit(run_worker(load(), ["default"], jobs="jobs_under_fault", lease=2.0))
    quick = Rhythm(sweep=0.5, lost_after=1.5, purge=2.0, done=timedelta(hours=1))
    sys.exit(run_scheduler(load(), jobs="jobs_under_fault", rhythm=quick))
