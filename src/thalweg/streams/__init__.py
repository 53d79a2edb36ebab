"""Numbered event streams: producers append, HTTP only tails.

`Publisher` is for jobs (synchronous), `Hub` for API processes (one connection, however many clients). Postgres holds
the truth; Valkey carries it quickly and may lose everything.
"""

from thalweg.streams.hub import Hub
from thalweg.streams.publisher import Publisher
from thalweg.streams.tail import Tail, TailOptions
from thalweg.streams.wire import Entry

__all__ = ["Entry", "Hub", "Publisher", "Tail", "TailOptions"]
