"""Files that clients send and fetch themselves, by signed addresses: announce, receive or settle, download.

With a store that has addresses of its own (S3), the client speaks to the store: what it put there is fetched, judged
and moved under its real key by the job `storage.settle`, which looks again until the address has expired. Otherwise the
platform serves the address (`receive`, `received`, `served`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from domain import audit
from domain.kernel.context import Ctx, Work
from domain.kernel.errors import Conflict, Invalid, NotFound, Unprocessable
from domain.kernel.ids import new_id
from domain.kernel.outbox import enqueue
from domain.storage import binding, incoming, links, objects, quota, rules
from domain.storage.incoming import PIECE, Incoming, Staged
from domain.storage.links import Claim
from domain.storage.models import StoredObject
from domain.storage.objects import Content
from domain.storage.ports import Link
from domain.storage.sniffing import sniff

SECONDS = 900
"""How long an address is good for."""

GRACE = timedelta(minutes=15)
"""How long after its address has expired a pending object waits for an upload that began in time."""

_LOOKS = (1, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90, 120)
"""Seconds between the looks for an upload; the last for all further ones."""


@dataclass(frozen=True, slots=True)
class Announced:
    stored: StoredObject
    link: Link


# --- up -----------------------------------------------------------------------------------------------


def announce(
    ctx: Ctx,
    *,
    name: str,
    media_type: str,
    size: int,
    sha256: bytes | None = None,
    purpose: str = rules.OBJECT,
    allowed: Collection[str] = rules.UPLOADABLE,
    conversation_id: UUID | None = None,
    agent_key: str | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Announced:
    """A pending object and the address that takes its bytes: exactly `size` of them, of what `media_type` says, once.

    They count from now on. Raises `Invalid` for more than the installation's largest file and for a type that is not
    `allowed`, `PaymentRequired` when the organisation's storage is full.
    """
    bound = binding.bound()
    said = rules.canonical(media_type)
    if said is None or said not in allowed:
        raise Invalid(f"Files of type {media_type} are not taken.", mime_type=media_type)
    if not 0 <= size <= bound.largest:
        raise Invalid(f"A file has at most {bound.largest} bytes.", max_bytes=bound.largest)
    now = ctx.now()
    object_id = new_id()
    stored = StoredObject(
        id=object_id,
        key=rules.key_of(ctx.organisation, object_id),
        name=rules.display_name(name),
        purpose=purpose,
        media_type=said,
        claimed_type=said,
        size=size,
        sha256=sha256,
        state=rules.PENDING,
        account_id=objects.account_of(ctx),
        conversation_id=conversation_id,
        agent_key=agent_key,
        notes=None if notes is None else dict(notes),
        expires_at=now + timedelta(seconds=SECONDS),
    )
    ctx.session.add(stored)
    ctx.session.flush()
    if bound.store.native_links:
        link = bound.store.upload_link(rules.INCOMING + stored.key, media_type, size, sha256, SECONDS)
        _look_again(ctx, object_id, 0)
    else:
        assert stored.expires_at is not None
        link = _own(links.UPLOAD, stored, stored.expires_at, "PUT", {"Content-Type": media_type})
    details = {"purpose": purpose, "media_type": said, "size": size}
    audit.record(ctx, "object.create", resource_type="object", resource_id=str(object_id), details=details)
    quota.take(ctx, size)
    return Announced(stored, link)


class Receiving(Incoming):
    """The bytes of an announced object as they come to the platform's own address."""

    def __init__(self, stored: StoredObject, sha256: bytes | None = None) -> None:
        super().__init__(stored.organisation_id, max_bytes=stored.size)
        self.object_id = stored.id
        self.media_type = stored.media_type
        self.expected = stored.size
        self._sha256 = stored.sha256 or sha256

    def whole(self) -> Staged:
        """Everything has come. Raises `Invalid` when it is not what was announced; call `abort` then."""
        if self.size != self.expected:
            raise Invalid(f"{self.size} bytes came, {self.expected} were announced.")
        if self._sha256 is not None and self.digest != self._sha256:
            raise Invalid("The content does not have the SHA-256 that was announced.")
        return self.finish()


def receive(
    ctx: Ctx, claim: Claim, *, media_type: str | None = None, size: int | None = None, sha256: bytes | None = None
) -> Receiving:
    """Begin to take an upload. What its sender says beforehand of type, size and sum must fit what was announced.

    Raises `NotFound`, `Conflict` when the bytes are there already, `Invalid`, `Unavailable`.
    """
    stored = objects.get(ctx, claim.object_id)
    _still_pending(stored)
    if media_type is not None and rules.canonical(media_type) not in (stored.media_type, rules.UNKNOWN):
        raise Invalid(f"The upload was announced as {stored.media_type}.")
    if size is not None and size != stored.size:
        raise Invalid(f"The upload was announced with {stored.size} bytes.")
    if sha256 is not None and stored.sha256 not in (None, sha256):
        raise Invalid("The upload was announced with another SHA-256.")
    return Receiving(stored, sha256)


def received(ctx: Ctx, receiving: Receiving, staged: Staged) -> StoredObject:
    """The upload is whole: make its object ready. Exactly one of several uploads for it gets this far; the bytes of
    the others are dropped. Raises `Conflict`, `NotFound`, `Unprocessable` for bytes that are not what was announced
    (the object then waits for better ones)."""
    incoming.look_after(ctx, staged.key)
    stored = _locked(ctx, receiving.object_id)
    if stored is None:
        raise NotFound("There is no such file.")
    _still_pending(stored)
    found = rules.judged(staged.found, stored.name, stored.claimed_type)
    incoming.accept(found, stored.claimed_type, None)
    _make_ready(ctx, stored, staged, found)
    details = {"media_type": found, "size": staged.size}
    audit.record(ctx, "object.upload", resource_type="object", resource_id=str(stored.id), details=details)
    return stored


def settle(work: Work, object_id: UUID, look: int = 0) -> None:
    """Look whether the bytes of a pending object have come into the store, and make it ready or look again later."""
    with work.transaction() as ctx:
        pending = ctx.session.scalar(
            select(StoredObject).where(StoredObject.id == object_id, StoredObject.state == rules.PENDING)
        )
        if pending is None:
            work.complete(ctx)
            return
        now = ctx.now()
        organisation_id = ctx.organisation
    store = binding.bound().store
    sent = rules.INCOMING + pending.key
    size = store.size(sent)
    if size is None:
        with work.transaction() as ctx:
            if pending.expires_at is None or now > pending.expires_at + GRACE:
                expire(ctx, object_id)
            else:
                _look_again(ctx, object_id, look + 1)
            work.complete(ctx)
        return
    key = rules.key_of(organisation_id, new_id())
    store.copy(sent, key)  # first: what is judged is what no client can change any more
    settled = False
    try:
        staged = _judge(organisation_id, key)
        with work.transaction() as ctx:
            incoming.look_after(ctx, key)
            settled = True
            stored = _locked(ctx, object_id)
            if stored is not None and stored.state == rules.PENDING:
                _settled(ctx, stored, staged)
            else:
                incoming.drop(key)
            work.complete(ctx)
    except BaseException:
        if not settled:
            incoming.drop(key)
        raise
    incoming.drop(sent)  # last: until here, a run that dies is repeated from it


def expire(ctx: Ctx, object_id: UUID) -> bool:
    """Give up a pending object whose bytes have not come in time; whether it was one."""
    stored = _locked(ctx, object_id)
    if stored is None or stored.state != rules.PENDING:
        return False
    objects.forget(ctx, stored)
    return True


# --- down ---------------------------------------------------------------------------------------------


def download_link(ctx: Ctx, object_id: UUID, *, purpose: str | None = rules.OBJECT) -> tuple[StoredObject, Link]:
    """An address that answers the bytes of a ready object. Raises `NotFound`."""
    stored = objects.get(ctx, object_id, purpose=purpose, ready=True)
    store = binding.bound().store
    if store.native_links:
        link = store.download_link(stored.key, stored.name, stored.media_type, SECONDS)
    else:
        link = _own(links.DOWNLOAD, stored, ctx.now() + timedelta(seconds=SECONDS), "GET", {})
    audit.record(ctx, "object.download", resource_type="object", resource_id=str(stored.id))
    return stored, link


def served(ctx: Ctx, claim: Claim) -> Content:
    """What the platform's own download address answers. Raises `NotFound` for an object that is deleted by now."""
    return objects.content(objects.get(ctx, claim.object_id, ready=True))


def discard(ctx: Ctx, object_id: UUID, *, purpose: str | None = rules.OBJECT) -> None:
    """Delete an object at a client's request. Raises `NotFound`."""
    stored = objects.delete(ctx, object_id, purpose=purpose)
    audit.record(ctx, "object.delete", resource_type="object", resource_id=str(stored.id))


def _own(act: str, stored: StoredObject, expires_at: datetime, method: str, headers: Mapping[str, str]) -> Link:
    token = links.sign(act, stored.organisation_id, stored.id, expires_at)
    return Link(binding.bound().base_url + links.PATH + token, method, headers, SECONDS)


def _still_pending(stored: StoredObject) -> None:
    if stored.state == rules.DELETED:
        raise NotFound("There is no such file.")
    if stored.state != rules.PENDING:
        raise Conflict("The file is there already: an address takes one upload.")


def _locked(ctx: Ctx, object_id: UUID) -> StoredObject | None:
    return ctx.session.scalar(
        select(StoredObject)
        .where(StoredObject.id == object_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def _make_ready(ctx: Ctx, stored: StoredObject, staged: Staged, found: str) -> None:
    stored.key = staged.key
    stored.media_type = found
    stored.sha256 = staged.sha256
    stored.state = rules.READY
    stored.ready_at = ctx.now()
    stored.expires_at = None
    ctx.session.flush()


def _settled(ctx: Ctx, stored: StoredObject, staged: Staged) -> None:
    found = rules.judged(staged.found, stored.name, stored.claimed_type)
    reason: str | None = None
    if staged.size != stored.size:
        reason = f"{staged.size} bytes came, {stored.size} were announced."
    elif stored.sha256 is not None and stored.sha256 != staged.sha256:
        reason = "The content does not have the SHA-256 that was announced."
    else:
        try:
            incoming.accept(found, stored.claimed_type, None)
        except Unprocessable as refused:
            reason = refused.message
    if reason is None:
        _make_ready(ctx, stored, staged, found)
        return
    # The client has left by now and the store has said yes to it: all that is left is not to keep it.
    incoming.drop(staged.key)
    objects.forget(ctx, stored)
    audit.record(
        ctx,
        "object.reject",
        resource_type="object",
        resource_id=str(stored.id),
        outcome="denied",
        details={"reason": reason},
    )


def _judge(organisation_id: UUID, key: str) -> Staged:
    seal, size = hashlib.sha256(), 0
    with binding.bound().store.open(key) as source:
        while piece := source.read(PIECE):
            seal.update(piece)
            size += len(piece)
        found = sniff(source, size)
    return Staged(new_id(), organisation_id, key, size, seal.digest(), found)


def _look_again(ctx: Ctx, object_id: UUID, look: int) -> None:
    delay = timedelta(seconds=_LOOKS[min(look, len(_LOOKS) - 1)])
    enqueue(ctx, "storage.settle", {"object_id": str(object_id), "look": look}, delay=delay)
