"""The doorbell: an RQ queue in Valkey that carries row ids and nothing else. Losing it loses no work.

Public: `connect`, `queue`, `ring`, `missing` (rows whose doorbell is gone), `answer` (take a doorbell off), `Doorbell`.

What is put in is an ordinary RQ job with the JSON serializer and the row's id as its own, so RQ's tools see the queues
as they are. Our workers never read that job back: the id is all they need.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.serializers import JSONSerializer

from domain.kernel.ledger import Rung

DOORBELL_TTL = 24 * 3600
"""Seconds after which a doorbell nobody answered counts as lost."""


class Doorbell(Job):
    """An RQ job of which only the id is known."""

    @classmethod
    def fetch(cls, id: str, connection: Redis | None = None, serializer: Any = None) -> Doorbell:
        return cls(id, connection=connection, serializer=serializer)


def connect(url: str, *, timeout: float = 5.0) -> Redis:
    """A client that answers or fails within `timeout` seconds; who uses it decides whether to try again."""
    return Redis.from_url(
        url,
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        socket_keepalive=True,
        health_check_interval=30,
        retry=Retry(NoBackoff(), 1),
    )


def queue(name: str, connection: Redis) -> Queue:
    return Queue(name, connection=connection, serializer=JSONSerializer, default_timeout=-1)


def ring(connection: Redis, rows: Iterable[Rung]) -> int:
    """Put a doorbell for each row into its queue, one round trip a queue. Ringing twice is harmless."""
    by_queue: dict[str, list[Rung]] = defaultdict(list)
    for row in rows:
        by_queue[row.queue].append(row)
    for name, rung in by_queue.items():
        queue(name, connection).enqueue_many(
            Queue.prepare_data(
                "workers.queues.answered_elsewhere",
                job_id=str(row.id),
                description=row.name,
                result_ttl=0,
                failure_ttl=1,
                ttl=DOORBELL_TTL,
            )
            for row in rung
        )
    return sum(map(len, by_queue.values()))


def missing(connection: Redis, rows: Sequence[Rung]) -> list[Rung]:
    """Those of `rows` whose doorbell is in no queue any more: Valkey was emptied, or the worker that took it died.

    A doorbell's hash and its place in the list are made and removed together, so asking for the hash is enough; one
    that stopped between queue and worker stands in RQ's intermediate list.
    """
    if not rows:
        return []
    names = sorted({row.queue for row in rows})
    with connection.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.lrange(_intermediate(name), 0, -1)
        for row in rows:
            pipeline.exists(Job.key_for(str(row.id)))
        answers = pipeline.execute()
    stuck = {each.decode() for name in answers[: len(names)] for each in name}
    present = answers[len(names) :]
    return [row for row, there in zip(rows, present, strict=True) if not there or str(row.id) in stuck]


def answer(connection: Redis, name: str, ids: Iterable[str]) -> None:
    """Take doorbells off: from here on only the row knows of the job."""
    with connection.pipeline() as pipeline:
        for each in ids:
            pipeline.lrem(_intermediate(name), 0, each)
            pipeline.delete(Job.key_for(each))
        pipeline.execute()


def answered_elsewhere() -> None:
    """What a stock RQ worker would call."""
    raise RuntimeError("these queues are served by `thalweg worker`, not by a stock RQ worker")


def _intermediate(name: str) -> str:
    return IntermediateQueue.get_intermediate_queue_key(f"{Queue.redis_queue_namespace_prefix}{name}")
