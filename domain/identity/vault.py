"""Payloads that the operator's vault has signed: who may have a service account's token. Good once, for ten minutes.

`Authorization: Bearer vault:<signature>` goes with `X-Vault-Payload`; the signature is over the bytes of that header.
HashiCorp Vault's transit engine makes such signatures (`vault:v1:<base64>`), with an Ed25519 key or as an HMAC.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domain.identity import nonces
from domain.identity.policies import CLOCK_SKEW
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.errors import Unauthenticated, Unavailable

AUDIENCE = "auth-service"
OLDEST = timedelta(seconds=600)
"""After `iat`; a nonce is remembered for as long."""
LOCAL = "dev-local"
"""As a setting: there is no vault. As a credential: the caller knows."""

_PROOF = re.compile(r"vault:(?:v\d{1,9}:)?([A-Za-z0-9+/_-]{20,1024}={0,2})")
_PAYLOAD = re.compile(r"[A-Za-z0-9_-]{1,8192}={0,2}")
_STANDARD = str.maketrans("-_", "+/")


class VaultRefused(Unauthenticated):
    """The signature or the payload is missing, wrong, too old, or was used before."""

    reason = "vault_refused"
    default = "The vault's signature is missing or wrong."


@dataclass(frozen=True, slots=True)
class Grant:
    """What a good payload allows. `holder`: `<iss>:<sub>`."""

    account: str
    scopes: frozenset[str]
    holder: str


@dataclass(frozen=True, slots=True)
class _Keys:
    public: tuple[Ed25519PublicKey, ...] = ()
    secrets: tuple[bytes, ...] = ()
    local: bool = False


_keys = _Keys()


def configure(keys: Sequence[str], *, production: bool) -> None:
    """Bind what payloads are checked with: each `ed25519:<32 bytes in base64>` or `hmac:<secret>`, or `dev-local`.

    Raises `ValueError` that names the setting and never a key.
    """
    global _keys
    public, secrets, local = [], [], False
    for key in keys:
        kind, _, value = key.partition(":")
        if key == LOCAL:
            local = True
        elif kind == "ed25519":
            try:
                public.append(Ed25519PublicKey.from_public_bytes(_decoded(value)))
            except ValueError:
                raise ValueError("service_account_vault: an ed25519 key is 32 bytes in base64") from None
        elif kind == "hmac" and len(value) >= 32:
            secrets.append(value.encode())
        else:
            raise ValueError("service_account_vault: a key is ed25519:<base64>, or hmac:<32 characters or more>")
    if local and production:
        raise ValueError(f"service_account_vault: {LOCAL} is not for production")
    _keys = _Keys(tuple(public), tuple(secrets), local)


def verify(ctx: Ctx, proof: str, payload: str | None) -> Grant | None:
    """What the vault allows the caller; its nonce is spent with the transaction. None: checks are switched off.

    Raises `VaultRefused`, or `Unavailable` where no vault was set up.
    """
    if proof == LOCAL and _keys.local:
        return None
    found = _PROOF.fullmatch(proof)
    if found is None or payload is None or not _PAYLOAD.fullmatch(payload):
        raise VaultRefused
    if not _keys.public and not _keys.secrets:
        if _keys.local:
            raise VaultRefused
        raise Unavailable("No vault is set up here: the operator has to set `service_account_vault`.")
    if not _signed(found[1], payload.encode()):
        raise VaultRefused
    claims = _claims(payload)
    issued = _judge_times(ctx.now(), claims)
    grant = _grant(claims)
    if not nonces.spend(ctx, "vault", f"{claims['iss']}\x00{claims['nonce']}", issued + OLDEST + CLOCK_SKEW):
        raise VaultRefused("The vault payload was used before.")
    return grant


def _signed(signature: str, message: bytes) -> bool:
    try:
        given = _decoded(signature)
    except ValueError:
        return False
    if any(crypto.same(hmac.digest(secret, message, hashlib.sha256), given) for secret in _keys.secrets):
        return True
    for key in _keys.public:
        try:
            key.verify(given, message)
        except InvalidSignature:
            continue
        return True
    return False


def _claims(payload: str) -> dict[str, Any]:
    try:
        claims = orjson.loads(_decoded(payload))
    except ValueError:
        raise VaultRefused("The vault payload is not base64url JSON.") from None
    if not isinstance(claims, dict):
        raise VaultRefused("The vault payload is not an object.")
    for name in ("iss", "sub", "nonce", "account"):
        if not isinstance(claims.get(name), str) or not 1 <= len(claims[name]) <= 255:
            raise VaultRefused(f"The vault payload lacks `{name}`.")
    audience = claims.get("aud")
    if AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
        raise VaultRefused("The vault payload is for somebody else.")
    return claims


def _grant(claims: dict[str, Any]) -> Grant:
    scopes = claims.get("scopes")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise VaultRefused("The vault payload lacks `scopes`.")
    return Grant(claims["account"], frozenset(scopes), f"{claims['iss']}:{claims['sub']}"[:200])


def _judge_times(now: datetime, claims: dict[str, Any]) -> datetime:
    issued, expires = _moment(claims, "iat"), _moment(claims, "exp")
    if issued > now + CLOCK_SKEW or expires <= issued:
        raise VaultRefused("The times of the vault payload make no sense.")
    if expires <= now or issued + OLDEST <= now:
        raise VaultRefused("The vault payload is too old.")
    return issued


def _moment(claims: dict[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise VaultRefused(f"The vault payload lacks `{name}`.")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        raise VaultRefused("The times of the vault payload make no sense.") from None


def _decoded(text: str) -> bytes:
    """Standard or URL-safe base64, with or without padding. Raises `ValueError`."""
    plain = text.translate(_STANDARD).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None
