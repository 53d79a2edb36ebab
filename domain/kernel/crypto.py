"""Secrets: hashed where a digest is enough, encrypted where the value must come back, masked everywhere else.

- `token()` and `digest()`: random credentials, stored as SHA-256. 256 random bits need no slow hash.
- `KeyRing`: AES-256-GCM with a fresh nonce, the key's id in the ciphertext, and the row it belongs to as associated
  data, so a ciphertext that is copied to another row or column does not open.
- `seal()` and `unseal()`: the only way a mapped attribute holds an encrypted value.
- `hash_password()`: Argon2id.

`use(ring)` is called once at start-up, by whoever reads the settings.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any, NoReturn

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import inspect

from domain.kernel.ids import new_id

MASK = "**********"


class Secret:
    """A string that shows itself only to `reveal()`: not in `str`, `repr`, formatting, JSON or a pickle.

    Deliberately no subclass of `str`: joining, concatenation and serialisers would see through it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __format__(self, specification: str) -> str:
        return MASK

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and same(self._value, other._value)

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")


class Undecipherable(Exception):
    """The ciphertext was damaged, belongs to another row, or its key is not on the ring. Says nothing more."""


# --- random credentials ------------------------------------------------------------------------------

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN_LENGTH = 43
"""Base62 digits of 256 bits."""


def token(prefix: str = "") -> str:
    """`prefix` and 256 random bits in base62 (43 characters, one word for a double click)."""
    number = int.from_bytes(secrets.token_bytes(32), "big")
    digits = []
    for _ in range(TOKEN_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return prefix + "".join(reversed(digits))


def digest(value: str) -> bytes:
    """SHA-256 of a `token()`: what is stored and looked up. Not for passwords."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def same(one: str | bytes, other: str | bytes) -> bool:
    """Equality in constant time."""
    left = one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one
    right = other.encode("utf-8", "surrogatepass") if isinstance(other, str) else other
    return hmac.compare_digest(left, right)


# --- encryption --------------------------------------------------------------------------------------

_FORMAT = 1
_NONCE = 12
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class KeyRing:
    """AES-256 keys by id. The first encrypts, all decrypt: rotate by putting a new key in front.

    `keys` maps an id to 32 bytes in (standard or URL-safe) base64. Raises `ValueError`, which names the id and never
    the key.
    """

    __slots__ = ("_keys", "current")

    def __init__(self, keys: Mapping[str, str]) -> None:
        if not keys:
            raise ValueError("the key ring is empty: set at least one secret key")
        self._keys: dict[str, bytes] = {}
        for name, value in keys.items():
            if not _KEY_ID.fullmatch(name):
                raise ValueError(f"{name!r} is no key id: 1 to 64 letters, digits, '_', '.' or '-'")
            try:
                key = base64.b64decode(value.translate(_STANDARD), validate=True)
            except (binascii.Error, ValueError):
                raise ValueError(f"secret key {name!r} is not base64") from None
            if len(key) != 32:
                raise ValueError(f"secret key {name!r} has {len(key)} bytes, not 32")
            self._keys[name] = key
        self.current = next(iter(self._keys))

    @staticmethod
    def new_key() -> str:
        """A fresh key in base64, for a settings file."""
        return base64.b64encode(secrets.token_bytes(32)).decode()

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    def encrypt(self, plain: str, bound_to: str) -> bytes:
        """Encrypt `plain` for the place `bound_to` (which is authenticated and not stored)."""
        return self.encrypt_bytes(plain.encode(), bound_to)

    def encrypt_bytes(self, plain: bytes, bound_to: str) -> bytes:
        """The same for bytes."""
        name = self.current.encode()
        head = bytes((_FORMAT, len(name))) + name
        nonce = secrets.token_bytes(_NONCE)
        sealed = AESGCM(self._keys[self.current]).encrypt(nonce, plain, head + bound_to.encode())
        return head + nonce + sealed

    def decrypt(self, sealed: bytes, bound_to: str) -> str:
        """The plain text. Raises `Undecipherable`."""
        try:
            return self.decrypt_bytes(sealed, bound_to).decode()
        except UnicodeDecodeError:
            raise Undecipherable from None

    def decrypt_bytes(self, sealed: bytes, bound_to: str) -> bytes:
        """The plain bytes. Raises `Undecipherable`."""
        name, head = _head(sealed)
        key = self._keys.get(name)
        if key is None:
            raise Undecipherable
        body = sealed[len(head) :]
        try:
            return AESGCM(key).decrypt(body[:_NONCE], body[_NONCE:], head + bound_to.encode())
        except (InvalidTag, ValueError):
            raise Undecipherable from None

    def is_current(self, sealed: bytes) -> bool:
        """False when `sealed` was written with an older key and should be sealed anew."""
        return _head(sealed)[0] == self.current

    def derived(self, purpose: str) -> list[bytes]:
        """32-byte keys for one purpose (HKDF), the current one first. For signatures that need no storage."""
        return [
            HKDF(SHA256(), length=32, salt=None, info=b"thalweg:" + purpose.encode()).derive(key)
            for key in self._keys.values()
        ]


_STANDARD = str.maketrans("-_", "+/")


def _head(sealed: bytes) -> tuple[str, bytes]:
    if len(sealed) < 2 or sealed[0] != _FORMAT or len(sealed) < 2 + sealed[1] + _NONCE + 16:
        raise Undecipherable
    head = sealed[: 2 + sealed[1]]
    return head[2:].decode("ascii", "replace"), head


_ring: KeyRing | None = None


def use(new: KeyRing | None) -> None:
    """Give this process its keys."""
    global _ring
    _ring = new


def ring() -> KeyRing:
    """The process's keys. Raises `RuntimeError` when `use()` was not called."""
    if _ring is None:
        raise RuntimeError("no secret keys: call domain.kernel.crypto.use() at start-up (setting `secret_keys`)")
    return _ring


def seal(row: Any, attribute: str, plain: str | Secret) -> None:
    """Set `row.attribute` (a `LargeBinary` column) to the encrypted `plain`, bound to this row and column."""
    value = plain.reveal() if isinstance(plain, Secret) else plain
    setattr(row, attribute, ring().encrypt(value, _place(row, attribute)))


def unseal(row: Any, attribute: str) -> Secret | None:
    """The value that `seal()` put there, or None. Raises `Undecipherable`."""
    sealed = getattr(row, attribute)
    return None if sealed is None else Secret(ring().decrypt(sealed, _place(row, attribute)))


def reseal(row: Any, attribute: str) -> bool:
    """After a rotation: encrypt with the current key. True when something changed."""
    sealed = getattr(row, attribute)
    if sealed is None or ring().is_current(sealed):
        return False
    setattr(row, attribute, ring().encrypt(ring().decrypt(sealed, _place(row, attribute)), _place(row, attribute)))
    return True


def _place(row: Any, attribute: str) -> str:
    mapper = inspect(row).mapper
    keys = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    if keys == ["id"] and row.id is None:
        row.id = new_id()  # the default would come only with the flush
    identity = [getattr(row, key) for key in keys]
    if None in identity:
        raise ValueError(f"{mapper.local_table.name} needs its primary key before a value is sealed into it")
    return ":".join([mapper.local_table.name, attribute, *map(str, identity)])


# --- passwords -----------------------------------------------------------------------------------------

# OWASP's second profile (19 MiB, 2 passes, 1 lane): about 15 ms, and 40 request threads hashing at once stay small.
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def hash_password(plain: str | Secret) -> str:
    """Argon2id, with its parameters and salt in the result."""
    return _hasher.hash(plain.reveal() if isinstance(plain, Secret) else plain)


def verify_password(hashed: str, plain: str | Secret) -> bool:
    try:
        return _hasher.verify(hashed, plain.reveal() if isinstance(plain, Secret) else plain)
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(hashed: str) -> bool:
    """True when the parameters have moved on since: hash again at the next successful sign-in."""
    try:
        return _hasher.check_needs_rehash(hashed)
    except InvalidHashError:
        return True
