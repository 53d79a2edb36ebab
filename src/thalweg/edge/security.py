"""From what a request carries to a caller.

A contract's `security` is a list of alternatives, each a set of schemes that must all be there. The first alternative
whose credentials are present decides; an empty one (`{}`) lets anonymous callers in when no credential is given.
What a credential is worth is the platform's to say (`Application.authenticate`); the answer is remembered for as long
as the platform allows, under a digest, and dropped at once when a revocation is heard of. A cookie changes something
only from a page that may use it (`thalweg.edge.origins`).
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic
from typing import Any, cast
from urllib.parse import unquote_plus, unquote_to_bytes

from thalweg.edge.application import Application, Caller, Credential, Facts
from thalweg.edge.origins import Origins
from thalweg.edge.pool import Pool
from thalweg.edge.problem import Problem

Headers = Mapping[bytes, bytes]
Extract = Callable[[Headers, bytes], str | None]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One security scheme of a document, compiled."""

    name: str
    kind: str
    extract: Extract
    challenge: str
    signed: bool
    """The credential is a signature over the body: it is checked once the body is here."""
    query_key: str | None = None
    """The query parameter that it comes in."""

    @classmethod
    def compile(cls, name: str, declared: Mapping[str, Any]) -> Scheme:
        """Raises `ValueError` for a scheme type that the edge cannot keep."""
        signed = bool(declared.get("x-signed", False))
        if declared["type"] == "http" and declared["scheme"].lower() == "bearer":
            return cls(name, "bearer", _bearer, "Bearer", signed)
        if declared["type"] == "http" and declared["scheme"].lower() == "basic":
            return cls(name, "basic", _basic, 'Basic realm="thalweg", charset="UTF-8"', signed)
        if declared["type"] == "apiKey":
            where, key = declared["in"], declared["name"]
            kind = "signature" if signed else "cookie" if where == "cookie" else "api_key"
            if where == "header":
                return cls(name, kind, _header(key.lower().encode()), "ApiKey", signed)
            if where == "cookie":
                return cls(name, kind, _cookie(key), "Cookie", signed)
            if where == "query":
                return cls(name, kind, _query(key), "ApiKey", signed, query_key=key)
        raise ValueError(f"security scheme {name}: the edge knows http bearer, http basic, and apiKey")


@dataclass(frozen=True, slots=True)
class SecurityPlan:
    """What an operation asks of its caller."""

    alternatives: tuple[tuple[Scheme, ...], ...]
    optional: bool
    signed: bool
    challenge: str
    """`WWW-Authenticate` for a caller who sent nothing."""
    refusal: str
    """The same for one whose token was refused (RFC 6750 3.1)."""
    query_keys: tuple[str, ...]
    """Query parameters that carry credentials: no business of the operation's own parameters."""

    @classmethod
    def compile(
        cls, security: Sequence[Mapping[str, Sequence[str]]] | None, schemes: Mapping[str, Mapping[str, Any]]
    ) -> SecurityPlan | None:
        """None for a public operation."""
        if not security:
            return None
        alternatives = tuple(
            tuple(Scheme.compile(name, schemes[name]) for name in requirement)
            for requirement in security
            if requirement
        )
        if not alternatives:
            return None
        every = [scheme for option in alternatives for scheme in option]
        challenges = [c for c in dict.fromkeys(scheme.challenge for scheme in every) if c != "Cookie"] or ["Bearer"]
        return cls(
            alternatives,
            optional=any(not requirement for requirement in security),
            signed=any(scheme.signed for scheme in every),
            challenge=", ".join(challenges),
            refusal=", ".join('Bearer error="invalid_token"' if c == "Bearer" else c for c in challenges),
            query_keys=tuple(dict.fromkeys(scheme.query_key for scheme in every if scheme.query_key is not None)),
        )

    def present(self, headers: Headers, query: bytes, body: bytes) -> list[Credential] | None:
        """The credentials of the first alternative that is there whole; None when there is none."""
        for option in self.alternatives:
            found: list[Credential] = []
            for scheme in option:
                value = scheme.extract(headers, query)
                if value is None:
                    break
                found.append(Credential(scheme.name, scheme.kind, value, body if scheme.signed else b""))
            else:
                return found
        return None


class Authenticator:
    """Asks the platform who a credential belongs to, and remembers for as long as it may."""

    def __init__(
        self, application: Application, pool: Pool, remember: int = 50_000, origins: Origins | None = None
    ) -> None:
        """`origins`: whose pages may use cookies, besides the server's own."""
        self._application = application
        self._pool = pool
        self._remember = remember
        self._origins = origins or Origins()
        self._admit: Callable[[Caller, Facts], Caller] = getattr(application, "admit", lambda caller, facts: caller)
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._epoch = 0

    async def __call__(
        self, plan: SecurityPlan | None, facts: Facts, headers: Headers, query: bytes, body: bytes
    ) -> Caller:
        """Raises a `Problem`: `unauthenticated` with the fact `reason`, or `forbidden` for another site's cookie."""
        if plan is None:
            return self._application.anonymous(facts)
        credentials = plan.present(headers, query, body)
        if credentials is None:
            if plan.optional:
                return self._application.anonymous(facts)
            raise Problem("unauthenticated", "Credentials are missing.", facts={"reason": "missing_token"})
        if facts.method not in SAFE and any(c.kind == "cookie" for c in credentials):
            self._refuse_other_sites(facts)
        caller = await self._one(credentials[0], facts)
        for further in credentials[1:]:
            other = await self._one(further, facts)
            if other.organisation_id != caller.organisation_id:
                raise Problem(
                    "unauthenticated",
                    "The credentials do not belong together.",
                    facts={"reason": "invalid_token"},
                    scheme=further.scheme,
                )
        return self._admit(caller, facts)

    def _refuse_other_sites(self, facts: Facts) -> None:
        if not self._origins.trust(facts, facts.scheme):
            raise Problem(
                "forbidden",
                "A page of another site cannot use this cookie to change something.",
                facts={"reason": "cross_origin"},
            )

    async def _one(self, credential: Credential, facts: Facts) -> Caller:
        try:
            return await self._known_or_asked(credential, facts)
        except self._application.errors as error:
            refused = cast(Any, error)  # the platform's errors have these three
            if refused.code != "unauthenticated":
                raise
            raise Problem(
                refused.code,
                refused.message,
                facts={"reason": "invalid_token", **refused.facts},
                scheme=credential.scheme,
            ) from None

    async def _known_or_asked(self, credential: Credential, facts: Facts) -> Caller:
        if credential.kind == "signature":  # covers this very body: never remembered
            caller, _ = await self._pool.run(self._application.authenticate, credential, facts)
            return caller
        mark = _mark(facts.surface, credential)
        known = self._known.get(mark)
        if known is not None:
            if known[0] > monotonic():
                return known[1]
            self._known.pop(mark, None)
        epoch = self._epoch
        caller, seconds = await self._pool.run(self._application.authenticate, credential, facts)
        if seconds > 0 and epoch == self._epoch:  # else a revocation was heard of while the answer was on its way
            self._known[mark] = (monotonic() + seconds, caller)
            if len(self._known) > self._remember:
                self._known.popitem(last=False)
        return caller

    def forget(self, key: str | None) -> None:
        """Drop what is known of the holder `key` (`Caller.key` or `Caller.user_key`); None: of everybody."""
        self._epoch += 1
        if key is None:
            self._known.clear()
            return
        gone = [mark for mark, (_, caller) in self._known.items() if key in (caller.key, caller.user_key)]
        for mark in gone:
            del self._known[mark]


def _mark(surface: str, credential: Credential) -> bytes:
    seal = blake2b(digest_size=20)
    for part in (surface, credential.scheme, credential.value):
        raw = part.encode("utf-8", "surrogatepass")
        seal.update(len(raw).to_bytes(4, "big"))
        seal.update(raw)
    return seal.digest()


def _bearer(headers: Headers, _: bytes) -> str | None:
    value = headers.get(b"authorization")
    if value is None or value[:7].lower() != b"bearer ":
        return None
    return value[7:].strip().decode("latin-1")


def _basic(headers: Headers, _: bytes) -> str | None:
    value = headers.get(b"authorization")
    if value is None or value[:6].lower() != b"basic ":
        return None
    try:
        return base64.b64decode(value[6:].strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""  # present and worthless: refused by the platform like any wrong password


def _header(name: bytes) -> Extract:
    def extract(headers: Headers, _: bytes) -> str | None:
        value = headers.get(name)
        return None if value is None else value.decode("latin-1")

    return extract


def _query(name: str) -> Extract:
    wanted = name.encode()

    def extract(_: Headers, query: bytes) -> str | None:
        found: bytes | None = None
        for pair in query.split(b"&") if query else ():
            key, _separator, value = pair.partition(b"=")
            if key == wanted or (b"%" in key and unquote_to_bytes(key) == wanted):
                if found is not None:
                    return ""  # which of two is meant? Present and worthless
                found = value
        return None if not found else unquote_plus(found.decode("latin-1"))

    return extract


def _cookie(name: str) -> Extract:
    wanted = name.encode()

    def extract(headers: Headers, _: bytes) -> str | None:
        found: bytes | None = None
        for pair in headers.get(b"cookie", b"").split(b";"):
            key, separator, value = pair.strip().partition(b"=")
            if separator and key == wanted:
                if found is not None:
                    return ""  # a neighbour's page may have set one of two: which is ours cannot be told
                found = value
        return None if found is None else found.strip(b'"').decode("latin-1")

    return extract
