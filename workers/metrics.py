"""What the workers count, for Prometheus. Labels are job and queue names: few, and never a caller's text."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# Outcomes of an attempt: done, retried, failed, lost (another worker had taken over), returned (at shutdown),
# postponed (enough of its organisation run already), killed.
ATTEMPTS = Counter("thalweg_jobs_attempts_total", "Attempts that ended, by outcome", ["job", "queue", "outcome"])
SECONDS = Histogram(
    "thalweg_jobs_seconds",
    "Duration of an attempt",
    ["job"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
WAIT = Histogram(
    "thalweg_jobs_wait_seconds",
    "From the moment a job could run to its start",
    ["queue"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300),
)
RELAYED = Counter("thalweg_jobs_relayed_total", "Outbox rows handed to a queue", ["queue"])
SWEPT = Counter("thalweg_jobs_swept_total", "Rows the sweeper put right", ["reason"])
PURGED = Counter("thalweg_jobs_purged_total", "Finished rows deleted after their retention", ["what"])
DEPTH = Gauge("thalweg_jobs_rows", "Rows in flight or failed", ["queue", "state"], multiprocess_mode="mostrecent")
OLDEST = Gauge(
    "thalweg_jobs_oldest_seconds",
    "Age of the row longest in a state",
    ["queue", "state"],
    multiprocess_mode="mostrecent",
)
TICKS = Counter("thalweg_jobs_cron_ticks_total", "Cron ticks that became jobs", ["entry"])
