"""OpenID Connect as a relying party: discovery, keys, and what an ID token is worth.

Nothing here is taken on trust: the document has to name the issuer that was configured, the token has to be signed by
one of the issuer's public keys with an asymmetric algorithm, and issuer, audience, times and nonce have to fit (OpenID
Connect Core 3.1.3.7).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from domain.identity.federation import rules
from domain.kernel import crypto, outgoing
from domain.kernel.outgoing import UpstreamFailed

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric ones alone: with HS256 the public key would be the secret, `none` needs no key at all."""

KEEP = 3600.0
ASK_AGAIN = 30.0
"""Seconds for which an unknown key id does not make the keys be fetched once more."""

SECONDS = 8.0


class TokenRefused(UpstreamFailed):
    """The provider's answer is not to be trusted."""

    default = "The provider's answer could not be verified."


@dataclass(frozen=True, slots=True)
class Endpoints:
    issuer: str
    authorize: str
    token: str
    keys: str


class _Discovered(Schema):
    class Meta:
        unknown = EXCLUDE

    issuer = fields.String(required=True, validate=validate.Length(1, 500))
    authorization_endpoint = fields.Url(required=True, require_tld=False, schemes={"http", "https"})
    token_endpoint = fields.Url(required=True, require_tld=False, schemes={"http", "https"})
    jwks_uri = fields.Url(required=True, require_tld=False, schemes={"http", "https"})


class Issuer:
    """One provider's published facts, fetched when they are needed and kept for an hour.

    `issuer` is what its document has to call itself; None where that differs by tenant and the caller judges the
    token's issuer alone (Microsoft). Every method may call the provider: not inside an open transaction.
    """

    def __init__(self, base: str, issuer: str | None) -> None:
        self._base = base.rstrip("/")
        self._issuer = issuer
        self._lock = threading.Lock()
        self._endpoints: tuple[float, Endpoints] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def endpoints(self) -> Endpoints:
        """Raises `UpstreamFailed` when the document is not there, or is another issuer's."""
        with self._lock:
            known = self._endpoints
            if known is not None and time.monotonic() - known[0] < KEEP:
                return known[1]
            try:
                found = self._discover()
            except UpstreamFailed:
                if known is None:
                    raise
                found = known[1]  # a provider that is away for a moment has not moved
                self._endpoints = time.monotonic() - KEEP + ASK_AGAIN, found
            else:
                self._endpoints = time.monotonic(), found
            return found

    def _discover(self) -> Endpoints:
        told = _fetched(f"{self._base}/.well-known/openid-configuration")
        try:
            document: dict[str, Any] = _Discovered().load(told)
        except ValidationError:
            raise UpstreamFailed("The provider's configuration cannot be read.") from None
        if self._issuer is not None and document["issuer"] != self._issuer:
            raise UpstreamFailed("The provider's configuration names another issuer.")
        urls = [document[name] for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        if urlsplit(self._base).scheme == "https" and any(urlsplit(url).scheme != "https" for url in urls):
            raise UpstreamFailed("The provider's configuration leads away from https.")
        return Endpoints(document["issuer"], *urls)

    def keys(self, fresh: bool = False) -> KeySet:
        """The issuer's public keys; with `fresh` fetched once more, unless that was done a moment ago."""
        from joserfc.errors import JoseError  # late: see `domain.identity.tokens`
        from joserfc.jwk import JWKRegistry, KeySet

        url = self.endpoints().keys
        with self._lock:
            known = self._keys
            if known is not None and time.monotonic() - known[0] < (ASK_AGAIN if fresh else KEEP):
                return known[1]
            told = _fetched(url)
            listed = told.get("keys") if isinstance(told, Mapping) else None
            found = []
            for entry in (listed if isinstance(listed, list) else [])[:50]:
                # A symmetric key in a public document is nobody's secret.
                if isinstance(entry, dict) and entry.get("kty") in ("RSA", "EC", "OKP") and entry.get("use") != "enc":
                    public = {name: value for name, value in entry.items() if name not in _PRIVATE}
                    try:
                        found.append(JWKRegistry.import_key(public))
                    except (JoseError, ValueError, TypeError):
                        continue
            if not found:
                raise UpstreamFailed("The provider publishes no usable keys.")
            self._keys = time.monotonic(), KeySet(found)
            return self._keys[1]

    def claims(
        self,
        token: object,
        *,
        client_id: str,
        nonce: str,
        accepts: Callable[[str, Mapping[str, Any]], bool],
        now: float,
    ) -> dict[str, Any]:
        """The claims of an ID token that is good now (seconds since the epoch). Raises `TokenRefused`.

        `accepts(issuer, claims)` says whether that issuer may speak; it is asked before anything else of the claims is
        believed.
        """
        claims = self._verified(token)
        issuer = claims.get("iss")
        if not isinstance(issuer, str) or not accepts(issuer, claims):
            raise TokenRefused
        audience = claims.get("aud")
        meant = [audience] if isinstance(audience, str) else audience
        if not isinstance(meant, list) or client_id not in meant:
            raise TokenRefused
        if (len(meant) > 1 or "azp" in claims) and claims.get("azp") != client_id:
            raise TokenRefused
        skew = rules.SKEW.total_seconds()
        expires, issued, begins = claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)
        if not all(isinstance(at, int | float) and not isinstance(at, bool) for at in (expires, issued, begins)):
            raise TokenRefused
        if now >= expires + skew or max(issued, begins) > now + skew:  # type: ignore[operator]
            raise TokenRefused
        given = claims.get("nonce")
        if not isinstance(given, str) or not crypto.same(given, nonce):
            raise TokenRefused
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 1 <= len(subject) <= 255:
            raise TokenRefused
        return claims

    def _verified(self, token: object) -> dict[str, Any]:
        from joserfc import jwt  # late: see `domain.identity.tokens`
        from joserfc.errors import JoseError

        if not isinstance(token, str) or len(token) > 16_384:
            raise TokenRefused
        for fresh in (False, True):
            try:
                return dict(jwt.decode(token, self.keys(fresh), algorithms=list(ALGORITHMS)).claims)
            except (JoseError, ValueError, TypeError, KeyError):
                continue  # the provider may have a new key since
        raise TokenRefused


_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))


def _fetched(url: str) -> Any:
    answer = outgoing.client().get(url, headers={"Accept": "application/json"}, seconds=SECONDS, max_bytes=256 * 1024)
    if not answer.ok:
        raise UpstreamFailed("The provider does not answer as it should.")
    return answer.json()
