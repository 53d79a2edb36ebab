"""Pure rules of identity: slugs, scopes, and what a key of each kind looks like."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

PREFIXES = {"thalium": "thm_", "thallus": "thal_", "thalian": "thal_", "beeflow": "bfk_"}
"""Kind of key -> how it begins. Thallus and Thalian share theirs: their kinds are told apart by the row."""

SHOWN = 6
"""Characters after the prefix that a listing shows: 36 of 256 bits, enough to recognise and useless to guess with."""

SCOPES = {
    "thalium": frozenset(
        ("invoke", "memory:read", "memory:write", "memory:admin", "audit:read", "config:write", "admin")
    ),
}
"""The closed list of a kind. Kinds without one take any well-formed scope."""

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
