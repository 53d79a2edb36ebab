"""Access tokens: EdDSA JWTs with `kid`, the keys that sign them, and the key set that is published.

Keys live in the database, the private halves encrypted. A new key is published an hour before it signs, so whoever
keeps a copy of the key set knows it by then; an old one verifies until the last token it signed has ended: a rotation
signs nobody out. A token's signature says who it was made for; whether its session still lives is asked elsewhere.
"""

from __future__ import annotations

import base64
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session

from domain import audit
from domain.identity.models import SigningKey
from domain.identity.policies import CLOCK_SKEW, POLICIES
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations
from domain.kernel.errors import Unauthenticated
from domain.kernel.ids import new_id

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

# RFC 9864 would rather say `Ed25519`; the clients of these contracts expect `EdDSA`, and the key says which curve.
warnings.filterwarnings("ignore", message="EdDSA is deprecated")

ALGORITHM = "EdDSA"
TYPE = "at+jwt"
"""RFC 9068: nothing else that this platform signs is taken for an access token."""
ANNOUNCED = timedelta(hours=1)
"""How long a key is published before it signs."""
ROTATION = timedelta(days=30)
LONGEST = max(policy.access for policy in POLICIES.values()) + CLOCK_SKEW
REFRESHED = 60.0
"""Seconds that a process works with the keys it has read. An unknown `kid` makes it look at once, but not more often
than every `LOOK` seconds: anybody can send one."""
LOOK = 2.0
_LOCK = 0x7468616C6B6579  # "thalkey": one process at a time makes keys


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says, once its signature, issuer, audience and times were found good."""

    subject: str
    """`user:<id>` or `service-account:<name>`."""
    token_id: UUID
    session_id: UUID | None
    organisation_id: UUID | None
    use: str
    issued_at: datetime
    expires_at: datetime
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str
    private: OKPKey | None
    public: OKPKey
    signs_from: datetime
    retires_at: datetime | None


class _Keys:
    """The keys as this process knows them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_kid: dict[str, _Key] = {}
        self._read_at = float("-inf")
        self._looked_at = float("-inf")

    def find(self, session: Session, kid: str) -> _Key | None:
        now = monotonic()
        if now - self._read_at > REFRESHED or (kid not in self._by_kid and now - self._looked_at > LOOK):
            self.read(session)
        return self._by_kid.get(kid)

    def signing(self, session: Session, now: datetime) -> _Key | None:
        if monotonic() - self._read_at > REFRESHED:
            self.read(session)
        ready = [key for key in self._by_kid.values() if key.signs_from <= now and key.retires_at is None]
        return max(ready, key=lambda key: key.signs_from, default=None) or max(
            # Between two rotations the older key has its end already: it signs on until the newer one may.
            (key for key in self._by_kid.values() if key.signs_from <= now and key.retires_at and key.retires_at > now),
            key=lambda key: key.signs_from,
            default=None,
        )

    def read(self, session: Session) -> None:
        from joserfc.jwk import OKPKey  # 30 ms that start-up does without: needed with the first token

        rows = session.scalars(
            select(SigningKey).where(or_(SigningKey.retires_at.is_(None), SigningKey.retires_at > func.now()))
        ).all()
        known = {}
        for row in rows:
            kept = self._by_kid.get(row.kid)
            if kept is None:
                secret = crypto.unseal(row, "private")
                assert secret is not None
                private = OKPKey.import_key(secret.reveal())
                kept = _Key(row.kid, private, OKPKey.import_key(row.public), row.signs_from, row.retires_at)
            known[row.kid] = _Key(row.kid, kept.private, kept.public, row.signs_from, row.retires_at)
        with self._lock:
            self._by_kid = known
            self._read_at = self._looked_at = monotonic()

    def forget(self) -> None:
        self._read_at = self._looked_at = float("-inf")


_keys = _Keys()
_issuer = "thalweg"


def configure(issuer: str) -> None:
    """Give this process the `iss` of its tokens: the platform's public address."""
    global _issuer
    _issuer = issuer
    _keys.forget()


def issuer() -> str:
    return _issuer


def mint(
    ctx: Ctx,
    subject: str,
    audience: Sequence[str],
    expires_at: datetime,
    claims: Mapping[str, Any],
) -> tuple[str, str, UUID]:
    """A signed access token, the `kid` of its key, and its `jti`."""
    from joserfc import jwt  # late: see `_Keys.read`

    now = ctx.now()
    key = _keys.signing(ctx.session, now) or _first(ctx)
    assert key.private is not None
    token_id = new_id()
    content = {
        "iss": _issuer,
        "aud": list(audience),
        "sub": subject,
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
        "jti": str(token_id),
        "token_use": "access",
        **claims,
    }
    header = {"alg": ALGORITHM, "kid": key.kid, "typ": TYPE}
    return jwt.encode(header, content, key.private, algorithms=[ALGORITHM]), key.kid, token_id


def signing_kid(ctx: Ctx) -> str:
    """The `kid` of the key that signs now."""
    return (_keys.signing(ctx.session, ctx.now()) or _first(ctx)).kid


def read(session: Session, token: str, audience: str, now: datetime | None = None) -> Claims:
    """What a token says. Raises `Unauthenticated`: fact `reason` is `expired_token` or `invalid_token`.

    Only EdDSA under a `kid` of ours is taken: neither `none` nor a MAC made with a public key gets as far as being
    checked. Issuer, audience, type and times must all be right.
    """
    from joserfc import jwt  # late: see `_Keys.read`
    from joserfc.errors import JoseError

    now = now or datetime.now(UTC)
    if len(token) > 8192 or token.count(".") != 2:
        raise _bad()
    try:
        header = _header(token)
        key = _keys.find(session, header)
        if key is None or (key.retires_at is not None and key.retires_at <= now):
            raise _bad()
        decoded = jwt.decode(token, key.public, algorithms=[ALGORITHM])
        claims = decoded.claims
        if decoded.header.get("alg") != ALGORITHM or decoded.header.get("typ") != TYPE:
            raise _bad()
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        issued, expires = _time(claims["iat"]), _time(claims["exp"])
        if claims["iss"] != _issuer or audience not in audiences or claims.get("token_use") != "access":
            raise _bad()
        if issued > now + CLOCK_SKEW or _time(claims["nbf"]) > now + CLOCK_SKEW:
            raise _bad()
        if expires <= now:
            raise Unauthenticated("The token has expired.", reason="expired_token")
        return Claims(
            subject=str(claims["sub"]),
            token_id=UUID(claims["jti"]),
            session_id=None if claims.get("sid") is None else UUID(claims["sid"]),
            organisation_id=None if claims.get("tenant_id") is None else UUID(claims["tenant_id"]),
            use=claims["token_use"],
            issued_at=issued,
            expires_at=expires,
            raw=claims,
        )
    except (JoseError, KeyError, TypeError, ValueError, AttributeError):
        raise _bad() from None


def key_set(ctx: Ctx) -> dict[str, Any]:
    """The published keys (RFC 7517): those that sign, will sign, or signed what may still be in use."""
    rows = ctx.session.scalars(
        select(SigningKey)
        .where(or_(SigningKey.retires_at.is_(None), SigningKey.retires_at > ctx.now()))
        .order_by(SigningKey.signs_from.desc())
    ).all()
    if not rows:
        _first(ctx)
        return key_set(ctx)
    return {"keys": [row.public for row in rows]}


def rotate(ctx: Ctx, *, force: bool = False) -> str | None:
    """Make the next key when the newest is `ROTATION` old (or `force`); its kid, or None. Needs a platform context.

    Run daily. The key that signs today goes on until the new one does, and verifies until its last token has ended.
    """
    ctx.session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    newest = ctx.session.scalars(select(SigningKey).order_by(SigningKey.signs_from.desc()).limit(1)).first()
    if newest is None:
        return _make(ctx, ctx.now()).kid
    if not force and newest.signs_from > ctx.now() - ROTATION:
        return None
    made = _make(ctx, ctx.now() + ANNOUNCED)
    for old in ctx.session.scalars(select(SigningKey).where(SigningKey.retires_at.is_(None))):
        if old.kid != made.kid:
            old.retires_at = made.signs_from + LONGEST
    audit.record(ctx, "signing_key.rotate", resource_type="signing_key", resource_id=made.kid)
    return made.kid


def _first(ctx: Ctx) -> _Key:
    """The very first key, made by whoever needs it first."""
    ctx.session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    _keys.read(ctx.session)
    found = _keys.signing(ctx.session, ctx.now())
    if found is None:
        with across_organisations(ctx) as platform:
            _make(platform, ctx.now())
        # Another process cannot see it before the commit; this one must not keep it if there is none.
        _keys.read(ctx.session)
        found = _keys.signing(ctx.session, ctx.now())
        _keys.forget()
    assert found is not None
    return found


def _make(ctx: Ctx, signs_from: datetime) -> SigningKey:
    from joserfc.jwk import OKPKey  # late: see `_Keys.read`

    kid = new_id().hex[-16:]
    pair = OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig", "alg": ALGORITHM})
    row = SigningKey(kid=kid, public=pair.as_dict(private=False), created_at=ctx.now(), signs_from=signs_from)
    crypto.seal(row, "private", pair.as_pem(private=True).decode())
    ctx.session.add(row)
    ctx.session.flush()
    return row


def _header(token: str) -> str:
    header = jwt_header(token)
    if header.get("alg") != ALGORITHM or header.get("typ") != TYPE or "crit" in header:
        raise _bad()
    return str(header["kid"])


def jwt_header(token: str) -> Mapping[str, Any]:
    """The header of a compact JWS, unverified: good for finding the key and nothing else. Raises `ValueError`."""
    first = token.partition(".")[0]
    found = orjson.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    if not isinstance(found, dict):
        raise ValueError("a header is an object")
    return found


def _time(value: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a time is a number")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError):
        raise ValueError("a time out of range") from None


def _bad() -> Unauthenticated:
    return Unauthenticated("The token is not valid.", reason="invalid_token")
