"""Whose request this is: `X-Beeflow-Sig: <unix seconds>.<hex HMAC-SHA256>` over lines that each operation names.

    first contact     ts, POST, path, instance id, base URL, administrator's uid, their address
    handshake         ts, GET, path, uid
    change of users   ts, POST, path, the body as it was sent

The key is the tenant key; at the first contact the enrolment key will do. Clocks may differ by 300 seconds, and a
signature is taken once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy import select

from domain.identity import nonces
from domain.identity.models import ConnectorInstance, Organisation
from domain.kernel import crypto
from domain.kernel.clock import Clock, SystemClock
from domain.kernel.context import ConnectorActor, SystemActor
from domain.kernel.crypto import Secret
from domain.kernel.db import Database
from domain.kernel.errors import Unauthenticated

SKEW = timedelta(seconds=300)
HEADER = "X-Beeflow-Sig"
INSTANCE = "x-beeflow-nc-instance-id"

_SIGNATURE = re.compile(r"([0-9]{1,12})\.([0-9a-fA-F]{64})")
_INSTANCE_ID = re.compile(r"[A-Za-z0-9]{6,64}")


class SignatureRefused(Unauthenticated):
    """One and the same for an unknown instance, a wrong key, an old and a repeated signature."""

    default = "The signature does not fit the request, is too old, or was used before."

    def __init__(self) -> None:
        super().__init__(reason="invalid_signature")


class Request(Protocol):
    """What a signature is made over (`thalweg.edge.application.Facts` has it)."""

    @property
    def operation_id(self) -> str: ...
    @property
    def raw_path(self) -> str: ...
    @property
    def base_path(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class VerifiedConnector:
    """A request that its signature proves. `enrolling`: by the enrolment key, which proves no instance yet; then there
    is no organisation either."""

    instance_id: str
    organisation_id: UUID | None
    enrolling: bool

    @property
    def actor(self) -> ConnectorActor:
        return ConnectorActor(self.instance_id)


def sign(key: Secret, at: int, lines: Sequence[str | bytes]) -> str:
    """The header's value for a request that says `lines` at `at` (unix seconds)."""
    return f"{at}.{_mac(key, at, lines)}"


def verify(
    database: Database, given: str, request: Request, body: bytes, *, clock: Clock | None = None
) -> VerifiedConnector:
    """Whose request it is. Raises `SignatureRefused`. A good signature is spent, whatever comes of the request."""
    clock = clock or SystemClock()
    match = _SIGNATURE.fullmatch(given.strip())
    instance_id = request.headers.get(INSTANCE, "")
    lines = _LINES.get(request.operation_id)
    if match is None or lines is None or not _INSTANCE_ID.fullmatch(instance_id):
        raise SignatureRefused
    at, mac = int(match[1]), match[2].lower()
    if abs(clock.now().timestamp() - at) > SKEW.total_seconds():
        raise SignatureRefused
    told = lines(request.headers, body)
    with database.context(SystemActor("connector signature"), None, platform=True, clock=clock) as ctx:
        row = ctx.session.scalars(
            select(ConnectorInstance)
            .join(Organisation, Organisation.id == ConnectorInstance.organisation_id)
            .where(
                ConnectorInstance.instance_id == instance_id,
                ConnectorInstance.revoked_at.is_(None),
                Organisation.deleted_at.is_(None),
            )
        ).one_or_none()
        tenant_key = None if row is None else crypto.unseal(row, "tenant_key")
        enrolment = _enrolment if request.operation_id == BOOTSTRAP else None
        verified = None
        for path in _paths(request):
            said = [_METHODS[request.operation_id], path, *told]
            if row is not None and tenant_key is not None and crypto.same(_mac(tenant_key, at, said), mac):
                verified = VerifiedConnector(instance_id, row.organisation_id, enrolling=False)
            elif enrolment is not None and crypto.same(_mac(enrolment, at, said), mac):
                verified = VerifiedConnector(instance_id, None, enrolling=True)
        if verified is None:
            raise SignatureRefused
        expires_at = datetime.fromtimestamp(at, tz=clock.now().tzinfo) + SKEW + timedelta(seconds=1)
        spent = f"{instance_id}:{at}.{mac}"
        first = nonces.spend(ctx, "connector_signature", spent, expires_at)
        # A first contact may be repeated as it was under its idempotency key: its reply, with the key, may be lost.
        key = request.headers.get("idempotency-key") if request.operation_id == BOOTSTRAP else None
        other = key is None or nonces.spend(ctx, "connector_signature", f"{spent}:{key}", expires_at)
        if not first and other:
            raise SignatureRefused
        return verified


def _mac(key: Secret, at: int, lines: Sequence[str | bytes]) -> str:
    # Headers are octets: what was sent is what was signed.
    parts = [line if isinstance(line, bytes) else line.encode("latin-1", "replace") for line in (str(at), *lines)]
    return hmac.new(key.reveal().encode(), b"\n".join(parts), hashlib.sha256).hexdigest()


def _paths(request: Request) -> list[str]:
    """The path as it was sent, and as the contract has it: the same where the surface is served alone."""
    sent = request.raw_path
    return list(dict.fromkeys((sent, sent.removeprefix(request.base_path))))


BOOTSTRAP, HANDSHAKE, SYNC = "bootstrapConnector", "issueHandshakeToken", "syncNextcloudUser"
_METHODS = {BOOTSTRAP: "POST", HANDSHAKE: "GET", SYNC: "POST"}
_FIRST = ("x-beeflow-nc-instance-id", "x-beeflow-nc-base-url", "x-beeflow-nc-admin-uid", "x-beeflow-nc-admin-email")
_LINES = {
    BOOTSTRAP: lambda headers, body: [headers.get(name, "") for name in _FIRST],
    HANDSHAKE: lambda headers, body: [headers.get("x-beeflow-nc-uid", "")],
    SYNC: lambda headers, body: [body],
}

_enrolment: Secret | None = None


def enrol_with(key: str | None) -> None:
    """Give this process the enrolment key (setting `connector_enrolment_key`); None: nobody new is taken."""
    global _enrolment
    _enrolment = None if key is None else Secret(key)
