"""Every failure that a contract of knowledge and storage declares is reached: each operation, each 4xx and 5xx, one
request that is answered so, in the surface's own error body.

What fails alike everywhere is provoked by what the contract says of the operation (`recipes/provoking.py`); what is
particular stands in `recipes/failures_*.py`. A status that is declared and cannot be reached fails this test, unless it
has a reason in `EVERYWHERE`.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from recipes import World
from recipes import thallus_documents as documents

DECLARED_FAILURES_OF = {
    "thallus": {"documents", "collections", "organization-documents"},
    "beeflow": {"knowledge", "webpages", "transcriptions", "meet-bot"},
    "starter": {"vector-stores", "storage", "containers"},
}
"""The tags whose operations are asked; conftest makes a test of each status that they declare."""


def test_a_declared_failure_is_reached(declared_failure: tuple[Any, int], failing: Any) -> None:
    failing(*declared_failure)


@pytest.mark.parametrize("name", ["\x1c", "\x1f", "\u2028", "\x85"])
def test_a_name_of_separators_alone_is_refused(name: str, world: World) -> None:
    """What counts as blank differs between regular expressions and Python: neither may take such a name, nor fall."""
    for surface, path in {
        "thallus": "/thallus/api/v1/documents/collections",
        "beeflow": "/beeflow/api/knowledge",
        "starter": "/starter/api/v1/vector-stores",
    }.items():
        headers = world.person(surface).headers()
        reply = httpx.post(f"{world.url}{path}", json={"name": name}, headers=headers, timeout=30)
        assert reply.status_code in (400, 422), (surface, reply.status_code, reply.text)
    who = world.person("thallus")
    path = f"/thallus/api/v1/documents/collections/{documents.collection(world, who)}"
    reply = httpx.put(f"{world.url}{path}", json={"name": name}, headers=who.headers(), timeout=30)
    assert reply.status_code == 422, reply.text
