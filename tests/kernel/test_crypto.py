"""Secrets stay secret: masked, bound to their row, and openable after a rotation."""

from __future__ import annotations

import base64
import json
import pickle
import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from domain.kernel import crypto
from domain.kernel.crypto import KeyRing, Secret, Undecipherable
from domain.kernel.models import Base, Identified

OLD, NEW = KeyRing.new_key(), KeyRing.new_key()


class Vault(Identified, Base):
    __tablename__ = "test_vault"
    value: Mapped[bytes | None] = mapped_column(LargeBinary)
    other: Mapped[bytes | None] = mapped_column(LargeBinary)


Base.metadata.remove(Vault.__table__)  # type: ignore[arg-type]


def test_a_secret_shows_itself_to_reveal_only() -> None:
    secret = Secret("hunter2")
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret:>20}",
        f"{secret}",
        repr([secret]),
        repr({"a": secret}),
    ]
    assert not any("hunter2" in text for text in shown)
    assert secret.reveal() == "hunter2"
    for serialise in (json.dumps, orjson.dumps, pickle.dumps):
        with pytest.raises(TypeError):
            serialise(secret)


@given(st.text(max_size=200), st.text(max_size=50))
def test_what_was_encrypted_comes_back_in_its_place_only(plain: str, place: str) -> None:
    plain, place = (text.encode("utf-8", "replace").decode() for text in (plain, place))
    ring = KeyRing({"a": OLD})
    sealed = ring.encrypt(plain, "x" + place)
    assert ring.decrypt(sealed, "x" + place) == plain
    with pytest.raises(Undecipherable):
        ring.decrypt(sealed, "elsewhere")


def test_equal_texts_have_different_ciphertexts() -> None:
    ring = KeyRing({"a": OLD})
    assert ring.encrypt("same", "row") != ring.encrypt("same", "row")


def test_every_flipped_bit_is_noticed() -> None:
    ring = KeyRing({"a": OLD})
    sealed = ring.encrypt("value", "row")
    for place in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[place] ^= 1
        with pytest.raises(Undecipherable):
            ring.decrypt(bytes(damaged), "row")
    for length in range(len(sealed)):
        with pytest.raises(Undecipherable):
            ring.decrypt(sealed[:length], "row")


def test_a_rotated_ring_opens_the_old_and_seals_with_the_new() -> None:
    sealed = KeyRing({"old": OLD}).encrypt("value", "row")
    rotated = KeyRing({"new": NEW, "old": OLD})
    assert rotated.decrypt(sealed, "row") == "value"
    assert not rotated.is_current(sealed)
    assert rotated.is_current(rotated.encrypt("value", "row"))
    with pytest.raises(Undecipherable):
        KeyRing({"new": NEW}).decrypt(sealed, "row")


@pytest.mark.parametrize(
    "keys", [{}, {"a": "short"}, {"a": base64.b64encode(b"x" * 31).decode()}, {"a b": OLD}, {"": OLD}, {"a": "!" * 44}]
)
def test_a_bad_key_ring_is_refused_without_showing_a_key(keys: dict[str, str]) -> None:
    with pytest.raises(ValueError) as refused:
        KeyRing(keys)
    assert OLD not in str(refused.value)
    assert "!!" not in str(refused.value)


def test_a_sealed_attribute_opens_in_its_own_row_and_column_only() -> None:
    row, stranger = Vault(), Vault()
    crypto.seal(row, "value", Secret("hunter2"))
    assert b"hunter2" not in row.value  # type: ignore[operator]
    opened = crypto.unseal(row, "value")
    assert opened == Secret("hunter2")
    crypto.seal(stranger, "value", "x")
    stranger.value = row.value
    row.other = row.value
    for other, column in ((stranger, "value"), (row, "other")):
        with pytest.raises(Undecipherable):
            crypto.unseal(other, column)


def test_resealing_after_a_rotation_moves_to_the_current_key() -> None:
    before = crypto.ring()
    try:
        crypto.use(KeyRing({"old": OLD}))
        row = Vault()
        crypto.seal(row, "value", "hunter2")
        crypto.use(KeyRing({"new": NEW, "old": OLD}))
        assert crypto.reseal(row, "value")
        assert not crypto.reseal(row, "value")
        crypto.use(KeyRing({"new": NEW}))
        assert crypto.unseal(row, "value") == Secret("hunter2")
    finally:
        crypto.use(before)


def test_tokens_are_one_word_of_256_bits() -> None:
    tokens = {crypto.token("thm_") for _ in range(1_000)}
    assert len(tokens) == 1_000
    assert all(re.fullmatch(r"thm_[0-9A-Za-z]{43}", token) for token in tokens)
    assert len(crypto.digest(tokens.pop())) == 32


def test_hostile_text_is_compared_and_digested_without_an_error() -> None:
    assert not crypto.same("\ud800", "x")
    assert crypto.digest("\ud800\x00") != crypto.digest("x")


def test_passwords_are_hashed_with_argon2id_and_old_parameters_are_noticed() -> None:
    hashed = crypto.hash_password("correct horse")
    assert hashed.startswith("$argon2id$")
    assert crypto.verify_password(hashed, Secret("correct horse"))
    assert not crypto.verify_password(hashed, "wrong")
    assert not crypto.verify_password("no hash at all", "wrong")
    assert not crypto.needs_rehash(hashed)
    assert crypto.needs_rehash("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$ZGlnZXN0ZGlnZXN0")
