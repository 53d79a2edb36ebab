"""A real worker or scheduler process for tests/conversations/test_beside_each_other.py.

`python turns_under_test.py worker <grace> <lease>` or `python turns_under_test.py scheduler`. The worker knows one job
more than the platform's: `conversations.answer_briefly`, which has `BRIEFLY` seconds where the usual one has minutes.
"""

from __future__ import annotations

import sys

BRIEFLY = 20.0

if __name__ == "__main__":
    from domain import conversations
    from domain.conversations import engine
    from thalweg.config import load
    from workers.jobs.conversations import TurnArgs, give_up
    from workers.main import run_scheduler, run_worker
    from workers.registry import job
    from workers.sweeper import Rhythm

    job(
        "conversations.answer_briefly", queue="interactive", args=TurnArgs, soft=BRIEFLY, hard=60, max_attempts=3,
        on_failed=give_up,
    )(lambda work, args: conversations.run(work, args["turn_id"]))  # fmt: skip
    engine.RESERVE = -1000.0  # a turn's own deadline comes after the worker's limit, which is what is looked at here

    if sys.argv[1] == "worker":
        sys.exit(run_worker(load(), ["interactive"], grace=float(sys.argv[2]), lease=float(sys.argv[3])))
    sys.exit(run_scheduler(load(), rhythm=Rhythm(sweep=0.5, lost_after=1.5)))
