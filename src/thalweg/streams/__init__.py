"""Numbered event streams: producers append, HTTP only tails.

`Publisher` is for jobs (synchronous), `Hub` for API processes (one connection, however many clients). Postgres holds
the truth; Valkey carries it quickly and may lose everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thalweg.streams.hub import Hub
from thalweg.streams.tail import Tail, TailOptions
from thalweg.streams.wire import Entry

if TYPE_CHECKING:
    from thalweg.streams.publisher import Publisher

__all__ = ["Entry", "Hub", "Publisher", "Tail", "TailOptions"]


def __getattr__(name: str) -> Any:
    if name == "Publisher":  # not with the package: it needs the client library, which an API process does without
        from thalweg.streams.publisher import Publisher

        return Publisher
    raise AttributeError(name)
