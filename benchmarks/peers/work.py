"""What the handlers do, the same for everyone: an item out of a body, or the item of an id."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from peers.contract import MIDDLE

PROJECT = UUID("01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21")
ORGANISATION = UUID("01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b20")
MADE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

POST_PATH = f"/v1/{MIDDLE}"
GET_PATH = f"/v1/{MIDDLE}/{PROJECT}?expand=contact&revision=3"
BODY: dict[str, Any] = {
    "project_id": str(PROJECT),
    "name": "Quarterly figures of the northern region",
    "description": "Collected from the four branches, checked against the ledger and signed by both auditors.",
    "kind": f"{MIDDLE}-extended",
    "priority": 3,
    "amount_minor": 1_250_000,
    "tags": ["finance", "north", "2026-q1"],
    "contact": {"name": "Ingrid Solheim", "phone": "+47 555 01 23"},
}


def created(body: Any) -> dict[str, Any]:
    """The item that `body` (a model of anybody's kind) asks for, in Python's own types."""
    return {
        "id": uuid4(),
        "project_id": body.project_id,
        "name": body.name,
        "description": body.description,
        "kind": body.kind,
        "priority": body.priority,
        "amount_minor": body.amount_minor,
        "tags": body.tags,
        "contact": {"name": body.contact.name, "phone": body.contact.phone},
        "created_at": MADE,
    }


def shown(item_id: UUID, expand: str, revision: int | None) -> dict[str, Any]:
    return {
        "id": item_id,
        "project_id": PROJECT,
        "name": "Quarterly figures",
        "description": f"revision {revision}",
        "kind": "custom",
        "priority": 3,
        "amount_minor": 1_250_000,
        "tags": ["finance", "north"],
        "contact": {"name": "Ingrid Solheim", "phone": "+47 555 01 23" if expand == "contact" else None},
        "created_at": MADE,
    }
