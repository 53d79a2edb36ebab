"""Pure rules of identity: slugs, scopes, and what a key of each kind looks like."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import unicodedata
import zoneinfo
from collections.abc import Iterable
from urllib.parse import urlsplit

from domain.kernel.errors import Invalid

PREFIXES = {"thalium": "thm_", "thallus": "thal_", "thalian": "thal_", "beeflow": "bfk_"}
"""Kind of key -> how it begins. Thallus and Thalian share theirs: their kinds are told apart by the row."""

SHOWN = 6
"""Characters after the prefix that a listing shows: 36 of 256 bits, enough to recognise and useless to guess with."""

SCOPES = {
    "thalium": frozenset(
        ("invoke", "memory:read", "memory:write", "memory:admin", "audit:read", "config:write", "admin")
    ),
    "thallus": frozenset(("full",)),
    "thalian": frozenset(("read", "write")),
    "beeflow": frozenset(("full", "read-only")),
}
"""The closed list of a kind. Kinds without one take any well-formed scope."""

DELEGATED = frozenset({"thalium"})
"""Kinds whose scopes are the permissions themselves: only who holds one can hand it out."""

_SCOPE = re.compile(r"[a-z][a-z0-9_.-]{0,62}(?::[a-z0-9_.*-]{1,62}){0,3}")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_KEY = re.compile(r"(?:thm|thal|bfk)_[0-9A-Za-z]{43}")


def slug_of(name: str) -> str:
    """A slug made of a name: `Zürich Werke AG` becomes `zurich-werke-ag`. Empty when nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].strip("-")


def is_slug(text: str) -> bool:
    return _SLUG.fullmatch(text) is not None


def granted(kind: str, scopes: Iterable[str]) -> frozenset[str]:
    """What a key may: its scopes, and with `admin` every scope of its kind (seed 003 lists it above the others)."""
    given = frozenset(scopes)
    return given | SCOPES.get(kind, frozenset()) if "admin" in given else given


def unknown_scopes(kind: str, scopes: list[str]) -> list[str]:
    """Those of `scopes` that a key of `kind` cannot have."""
    known = SCOPES.get(kind)
    return [scope for scope in scopes if not (_SCOPE.fullmatch(scope) if known is None else scope in known)]


def is_key(plain: str, kind: str) -> bool:
    """Whether `plain` could be a key of `kind` at all. Spares the database what was never issued."""
    return _KEY.fullmatch(plain) is not None and plain.startswith(PREFIXES[kind])


def email_key(address: str) -> str:
    """An address as it is compared: NFKC, lower case, the domain in its ASCII form. Dots and tags stay: they matter."""
    plain = unicodedata.normalize("NFKC", address.strip())
    local, _, domain = plain.rpartition("@")
    with contextlib.suppress(UnicodeError):  # not a name of the old rules: compared as it is written
        domain = domain.encode("idna").decode("ascii")
    return f"{local.lower()}@{domain.lower()}"


def masked_address(address: str | None) -> str | None:
    """An IP address without its last part, for showing: `203.0.113.x`, `2001:db8::x`."""
    if address is None:
        return None
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return ".".join([*str(parsed).split(".")[:3], "x"])
    return f"{ipaddress.IPv6Network((parsed, 48), strict=False).network_address}x"


def network_of(address: str | None) -> str | None:
    """Whom an IP address is counted for: itself, or an IPv6 address' /64, which one caller owns at least."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
    return str(parsed)


def inside(address: str | None, networks: Iterable[str]) -> bool:
    """Whether an address lies in one of `networks` (CIDR). Without networks every one does; an unknown one never."""
    allowed = list(networks)
    if not allowed:
        return True
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in ipaddress.ip_network(network, strict=False) for network in allowed)


def network(text: str) -> str:
    """An address or a network in its one written form. Raises `ValueError`."""
    return str(ipaddress.ip_network(text.strip(), strict=False))


def check_timezone(name: str) -> None:
    """Raise `Invalid` unless `name` is a time zone of the IANA database."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(f"There is no time zone {name[:64]!r}.", field="timezone") from None


def origin_of(address: str) -> str | None:
    """The origin of an address in its one written form (RFC 6454), or None: `https://Cloud.example:443/x` is
    `https://cloud.example`."""
    ports = {"http": 80, "https": 443}
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ports or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname.lower()
    return f"{parts.scheme}://{host}" if port in (None, ports[parts.scheme]) else f"{parts.scheme}://{host}:{port}"
