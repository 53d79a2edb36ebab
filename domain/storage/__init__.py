"""Files: streamed in, judged by their bytes, kept in a folder or on S3, and really gone when they are deleted.

    stored = storage.put(ctx, source, name="Plan 2026.pdf", purpose="document", max_bytes=50 << 20)
    with storage.open(ctx, stored.id) as reader: ...          # seekable; a full read checks the SHA-256
    with storage.local_path(work, stored.id) as path: ...     # for tools that want a file name
    storage.delete(ctx, stored.id)                            # the bytes go after the commit, however often it takes

`put`, `open` and `local_path` take a `Ctx` or a job's `Work`; with a `Work` nothing slow runs inside a transaction.
With a `Ctx`, `put` writes the bytes before its first statement: call it first in a request. A verb that makes a row of
its own beside the object uses the two halves of `put`: `stage` (slow, no statement) and `keep` (in the transaction).

An object is one row and one blob, never shared: its key is made of ids, nothing of the caller's is in it. Sizes are
bytes. Who may see an object is its owner's rule: this context only keeps organisations apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.storage.binding import bind, bucket, check
    from domain.storage.incoming import Staged
    from domain.storage.links import DOWNLOAD, PATH, UPLOAD, Claim
    from domain.storage.links import read as claim
    from domain.storage.models import StoredObject
    from domain.storage.objects import (
        Content,
        content,
        delete,
        get,
        get_many,
        keep,
        list,
        local_path,
        open,
        purge,
        put,
        stage,
    )
    from domain.storage.ports import Link
    from domain.storage.quota import Usage, set_quota, usage
    from domain.storage.reading import Damaged, Missing, Reader
    from domain.storage.rules import DELETED, OBJECT, PENDING, READY, UPLOADABLE, display_name, shown_key
    from domain.storage.sniffing import sniff
    from domain.storage.sweeping import Swept, sweep
    from domain.storage.transfers import (
        Announced,
        Receiving,
        announce,
        discard,
        download_link,
        receive,
        received,
        served,
        settle,
    )
else:
    __getattr__ = offers(__name__, __file__)

__all__ = [
    "DELETED",
    "DOWNLOAD",
    "OBJECT",
    "PATH",
    "PENDING",
    "READY",
    "UPLOAD",
    "UPLOADABLE",
    "Announced",
    "Claim",
    "Content",
    "Damaged",
    "Link",
    "Missing",
    "Reader",
    "Receiving",
    "Staged",
    "StoredObject",
    "Swept",
    "Usage",
    "announce",
    "bind",
    "bucket",
    "check",
    "claim",
    "content",
    "delete",
    "discard",
    "display_name",
    "download_link",
    "get",
    "get_many",
    "keep",
    "list",
    "local_path",
    "open",
    "purge",
    "put",
    "receive",
    "received",
    "served",
    "set_quota",
    "settle",
    "shown_key",
    "sniff",
    "stage",
    "sweep",
    "usage",
]
