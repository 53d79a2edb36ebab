"""What never gets into an entry's details."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit import rules
from domain.kernel import crypto
from domain.kernel.crypto import Secret


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "newPassword",
        "api_key",
        "apiKey",
        "X-API-Key",
        "client_secret",
        "clientSecret",
        "access_token",
        "refreshToken",
        "Authorization",
        "cookie",
        "Set-Cookie",
        "private_key",
        "credentials",
        "otp",
        "session_id",
        "passphrase",
        "APIKEY",
    ],
)
def test_a_key_that_names_a_credential_is_redacted(key: str) -> None:
    assert rules.clean({"outer": [{key: "value"}]}) == {"outer": [{key: rules.REDACTED}]}


@pytest.mark.parametrize(
    "key",
    [
        "token_count",
        "tokens_used",
        "secret_id",
        "api_key_name",
        "password_expires_at",
        "compass",
        "author",
        "monkey",
        "pinned",
    ],
)
def test_a_harmless_key_is_kept(key: str) -> None:
    assert rules.clean({key: "value"}) == {key: "value"}


def test_a_number_or_a_flag_is_no_credential() -> None:
    assert rules.clean({"tokens": 12, "password": True}) == {"tokens": 12, "password": True}


@pytest.mark.parametrize(
    "shape",
    [
        *(pytest.param(crypto.token(prefix), id=f"{prefix}key") for prefix in ("thm_", "thal_", "bfk_")),
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sflKxwRJSMeKKF2QT4fw",
        "sk-abcdefghijklmnopqrstuv",
        "ghp_abcdefghijklmnopqrstuvwxyz01",
        "AKIAABCDEFGHIJKLMNOP",
        "xoxb-1234567890-abc",
        "Bearer abcdefghijklmnop",
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
        pytest.param(crypto.hash_password("x"), id="password hash"),
    ],
)
def test_a_value_shaped_like_a_credential_is_redacted_wherever_it_stands(shape: str) -> None:
    text = json.dumps(rules.clean({"note": f"before {shape} after", "list": [{"deep": shape}]}))
    assert shape not in json.loads(text)["note"]
    assert "before" in text
    assert json.loads(text)["list"][0]["deep"] == rules.REDACTED


def test_the_password_in_a_url_is_redacted() -> None:
    assert rules.clean_text("postgresql://user:hunter2@host/db") == f"postgresql://{rules.REDACTED}@host/db"


def test_a_secret_object_stays_masked() -> None:
    assert "hunter2" not in json.dumps(rules.clean({"value": Secret("hunter2"), "list": [Secret("hunter2")]}))


def test_details_are_bounded() -> None:
    assert rules.clean({"a": "x" * 1_000_000})["a"].endswith("…")
    assert len(rules.clean({"a": list(range(1000))})["a"]) == rules.ITEMS + 1
    assert "omitted" in rules.clean({str(n): "x" * 1_500 for n in range(99)})
    deep: dict[str, object] = {}
    for _ in range(1_000):
        deep = {"d": deep}
    assert "[deeper]" in json.dumps(rules.clean(deep))


def test_python_values_become_json() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    identity = uuid4()
    assert rules.clean({"t": moment, "u": identity, "b": b"abc", "s": {2, 1}, "n": float("nan"), "i": 2**70}) == {
        "t": "2026-01-01T00:00:00+00:00",
        "u": str(identity),
        "b": "[3 bytes]",
        "s": [1, 2],
        "n": "nan",
        "i": str(2**70),
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_whatever_comes_is_kept_as_json_that_hashes_the_same_after_storage(details: dict[str, object]) -> None:
    cleaned = rules.clean(details)
    stored = orjson.dumps(cleaned, option=orjson.OPT_SORT_KEYS)
    assert b"\\u0000" not in stored
    assert rules.content({"details": orjson.loads(stored)}) == rules.content({"details": cleaned})
