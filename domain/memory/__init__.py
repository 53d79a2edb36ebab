"""Memory rings: what is kept of a session, of an entity, and for good. Entries hang at four-level address keys.

Verbs: `prepare` (vectors, outside the transaction), `write`, `seed`, `recall`, `list_entries`, `get_entry`, `get_many`,
`contest`, `counts`, `coverage`, `forget`.
"""

from domain.memory.address import INTENTS, SCOPES, AddressKey, label
from domain.memory.baseline import BASELINE, Baseline
from domain.memory.entries import (
    Coverage,
    NewEntry,
    contest,
    counts,
    coverage,
    forget,
    get_entry,
    get_many,
    list_entries,
    prepare,
    seed,
    write,
)
from domain.memory.models import RingEntry
from domain.memory.recalling import Recall, Recalled, recall
from domain.memory.rules import RELEVANT, prediction_error, proximity

__all__ = [
    "BASELINE",
    "INTENTS",
    "RELEVANT",
    "SCOPES",
    "AddressKey",
    "Baseline",
    "Coverage",
    "NewEntry",
    "Recall",
    "Recalled",
    "RingEntry",
    "contest",
    "counts",
    "coverage",
    "forget",
    "get_entry",
    "get_many",
    "label",
    "list_entries",
    "prediction_error",
    "prepare",
    "proximity",
    "recall",
    "seed",
    "write",
]
