"""Memory rings: what is kept of a session, of an entity, and for good. Entries hang at four-level address keys.

Verbs: `prepare` (vectors, outside the transaction), `write`, `seed`, `recall`, `list_entries`, `get_entry`, `get_many`,
`contest`, `counts`, `coverage`, `forget`. What is remembered about a person: `remember`, `list_memories`, `get_memory`,
`update_memory`, `delete_memory`, `memory_stats`, `recall_personal`, `mark_used`, `draw`, `complete_vectors`,
`forget_person`, `meaning`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
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
    from domain.memory.personal import (
        CATEGORIES,
        CategoryCount,
        Drawn,
        Memory,
        MemoryStats,
        RecalledMemory,
        complete_vectors,
        delete_memory,
        draw,
        forget_person,
        get_memory,
        has_memories,
        list_memories,
        mark_used,
        meaning,
        memory_stats,
        recall_personal,
        remember,
        update_memory,
    )
    from domain.memory.recalling import Recall, Recalled, recall
    from domain.memory.rules import RELEVANT, prediction_error, proximity
else:
    __getattr__ = offers(__name__, __file__)

__all__ = [
    "BASELINE",
    "CATEGORIES",
    "INTENTS",
    "RELEVANT",
    "SCOPES",
    "AddressKey",
    "Baseline",
    "CategoryCount",
    "Coverage",
    "Drawn",
    "Memory",
    "MemoryStats",
    "NewEntry",
    "Recall",
    "Recalled",
    "RecalledMemory",
    "RingEntry",
    "complete_vectors",
    "contest",
    "counts",
    "coverage",
    "delete_memory",
    "draw",
    "forget",
    "forget_person",
    "get_entry",
    "get_many",
    "get_memory",
    "has_memories",
    "label",
    "list_entries",
    "list_memories",
    "mark_used",
    "meaning",
    "memory_stats",
    "prediction_error",
    "prepare",
    "proximity",
    "recall",
    "recall_personal",
    "remember",
    "seed",
    "update_memory",
    "write",
]
