"""The audit chain: who did what, to what, with which outcome. Append-only, and every entry seals the one before.

`record()` belongs into the verb that changes something. The entry is written in the same transaction, as its very last
statement (see `domain.audit.chain`): no change without its entry, no entry of a change that was rolled back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.audit.chain import Outcome, record
    from domain.audit.models import AuditEntry
    from domain.audit.reading import Verification, find, get, verify
    from domain.audit.retention import due, purge
else:
    __getattr__ = offers(__name__, __file__)

__all__ = ["AuditEntry", "Outcome", "Verification", "due", "find", "get", "purge", "record", "verify"]
