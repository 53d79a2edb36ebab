"""What a request carries to prove who sent it: signatures, keys in queries, cookies, and how a refusal says why."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from thalweg.edge.application import Facts
from thalweg.edge.cookies import cookie, expired
from thalweg.edge.origins import Origins
from thalweg.edge.security import Scheme

# --- signatures -----------------------------------------------------------------------------------


def _signed(body: bytes) -> dict[str, str]:
    seal = hmac.new(b"k", body, hashlib.sha256).hexdigest()
    return {"X-Signature": seal, "Content-Type": "application/json", "X-Sender": "ada"}


async def test_who_verifies_a_signature_sees_body_headers_method_and_the_path_as_sent(edge: Any) -> None:
    body = b'{"n":1}'
    assert (await edge.call("POST", "/signed?a=%20", key=None, headers=_signed(body), content=body)).status_code == 400
    assert (await edge.call("POST", "/signed", key=None, headers=_signed(body), content=body)).status_code == 200
    credential, facts = edge.toys.met[-1]
    assert (credential.kind, credential.body) == ("signature", body)
    assert (facts.method, facts.raw_path, facts.base_path) == ("POST", "/toys/signed", "/toys")
    assert facts.headers["x-sender"] == "ada"
    assert facts.headers.get("x-nobody") is None
    assert "x-signature" in set(facts.headers)
    assert edge.toys.met[0][1].query == "a=%20"


async def test_a_body_is_not_judged_before_its_signature(edge: Any) -> None:
    broken = b'{"n":'
    forged = {"X-Signature": "0" * 64, "Content-Type": "application/json"}
    assert (await edge.call("POST", "/signed", key=None, headers=forged, content=broken)).status_code == 401
    assert (await edge.call("POST", "/signed", key=None, headers=_signed(broken), content=broken)).status_code == 400


async def test_a_signed_body_has_a_limit_too(edge: Any) -> None:
    body = b'{"n":1' + b" " * (1 << 20) + b"}"

    async def pieces() -> Any:  # without a Content-Length
        yield body[: 1 << 19]
        yield body[1 << 19 :]

    sent = await edge.call("POST", "/signed", key=None, headers=_signed(body), content=pieces())
    assert sent.status_code == 413


async def test_a_signature_is_verified_every_time(edge: Any) -> None:
    body = b'{"n":1}'
    for _ in range(2):
        await edge.call("POST", "/signed", key=None, headers=_signed(body), content=body)
    assert edge.toys.asked == 2


async def test_a_verifier_sees_the_values_of_the_path(edge: Any) -> None:
    await edge.call("POST", "/hook/h%201?token=writer", key=None, json={"n": 1})
    assert edge.toys.met[-1][1].path_values == {"hookId": "h%201"}


# --- keys in the query --------------------------------------------------------------------------


async def test_a_key_may_come_in_the_query_where_the_contract_says_so(edge: Any) -> None:
    reply = await edge.call("POST", "/hook/1?token=writer", key=None, json={"n": 1})
    assert reply.status_code == 200
    assert (edge.toys.met[-1][0].scheme, edge.toys.met[-1][0].kind) == ("hookToken", "api_key")
    assert (await edge.call("POST", "/form?token=writer", json={"n": 1})).status_code in (400, 415)


async def test_a_key_in_the_header_counts_before_one_in_the_query(edge: Any) -> None:
    both = await edge.call(
        "POST", "/hook/1?token=nobody", key=None, json={"n": 1}, headers={"Authorization": "Bearer writer"}
    )
    assert both.status_code == 200
    assert edge.toys.met[-1][0].scheme == "bearer"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 401),
        ("?token=", 401),
        ("?token=nobody", 401),
        ("?token=writer&token=reader", 401),
        ("?%74oken=writer", 200),
    ],
)
async def test_a_key_in_the_query_is_missing_empty_doubled_or_encoded(edge: Any, query: str, status: int) -> None:
    assert (await edge.call("POST", "/hook/1" + query, key=None, json={"n": 1})).status_code == status


async def test_a_key_in_the_query_is_in_no_log_and_in_no_repr(edge: Any, capfd: pytest.CaptureFixture[str]) -> None:
    await edge.call("POST", "/hook/1?token=secret-of-the-hook", key=None, json={"n": 1})
    edge.services.observer._access.flush()
    told = capfd.readouterr()
    assert "secret-of-the-hook" not in told.out + told.err
    assert "secret-of-the-hook" not in repr(edge.toys.met[-1])


# --- cookies and other sites --------------------------------------------------------------------------

ALLOWED_PAGES = [
    {"Origin": "http://test"},
    {"Origin": "http://TEST:80"},
    {"Origin": "https://app.example.com"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example.com"},
    {"Referer": "http://test/some/page?x=1"},
    {"Referer": "https://app.example.com/"},
    {},
]
REFUSED_PAGES = [
    {"Origin": "https://evil.example"},
    {"Origin": "https://test"},
    {"Origin": "http://test:81"},
    {"Origin": "http://test.evil.example"},
    {"Origin": "https://app.example.com.evil.example"},
    {"Origin": "https://app.example.com, https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://[::1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://sub.test"},
    {"Referer": "https://evil.example/http://test/"},
    {"Origin": "https://evil.example", "Referer": "http://test/"},
]


@pytest.mark.parametrize("page", ALLOWED_PAGES)
async def test_a_cookie_changes_something_from_the_servers_own_pages_and_allowed_ones(
    edge: Any, page: dict[str, str]
) -> None:
    reply = await edge.call("POST", "/cookie", key=None, headers={"Cookie": "sid=reader", **page})
    assert (reply.status_code, edge.toys.calls) == (204, ["cookie"])


@pytest.mark.parametrize("page", REFUSED_PAGES)
async def test_a_cookie_changes_nothing_from_another_sites_page(edge: Any, page: dict[str, str]) -> None:
    reply = await edge.call("POST", "/cookie", key=None, headers={"Cookie": "sid=reader", **page})
    assert (reply.status_code, reply.json()["where"]) == (403, ["cross_origin"])
    assert (edge.toys.calls, edge.toys.asked) == ([], 0)


async def test_another_sites_page_may_read_with_a_cookie_and_write_with_a_token(edge: Any) -> None:
    other = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert (await edge.call("GET", "/cookie", key=None, headers={"Cookie": "sid=reader", **other})).status_code == 200
    token = {"Authorization": "Bearer writer", **other}
    assert (await edge.call("POST", "/cookie", key=None, headers=token)).status_code == 204


def test_any_origin_by_cors_is_none_for_cookies() -> None:
    facts = Facts("s", "o", "POST", "/", "r", headers={"origin": "https://evil.example", "host": "test"})
    assert not Origins(["*"]).trust(facts, "https")
    assert Origins(["https://evil.example:443"]).trust(facts, "https")


# --- why a caller is not let in -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "reason", "challenge"),
    [
        ({}, "missing_token", "Bearer, ApiKey"),
        ({"Authorization": "Basic eDp5"}, "missing_token", "Bearer, ApiKey"),
        ({"Authorization": "Bearer nobody"}, "invalid_token", 'Bearer error="invalid_token", ApiKey'),
        ({"Authorization": "Bearer old"}, "expired_token", 'Bearer error="invalid_token", ApiKey'),
    ],
)
async def test_a_refusal_tells_missing_from_wrong_from_expired(
    edge: Any, headers: dict[str, str], reason: str, challenge: str
) -> None:
    reply = await edge.call("POST", "/hook/1", key=None, json={"n": 1}, headers=headers)
    assert reply.status_code == 401
    assert reply.json()["where"] == [reason]
    assert reply.headers["www-authenticate"] == challenge


async def test_a_refused_cookie_is_taken_back(edge: Any) -> None:
    reply = await edge.call("GET", "/cookie", key=None, headers={"Cookie": "sid=nobody"})
    assert reply.status_code == 401
    assert reply.headers["set-cookie"] == expired("sid", path="/toys")
    missing = await edge.call("GET", "/cookie", key=None)
    assert "set-cookie" not in missing.headers


# --- cookies that are given -----------------------------------------------------------------------


async def test_each_cookie_has_a_header_of_its_own_with_204_too(edge: Any) -> None:
    reply = await edge.call("POST", "/session", key=None)
    assert reply.status_code == 204
    assert reply.headers.get_list("set-cookie") == [
        "sid=reader; Path=/toys; Max-Age=60; HttpOnly; Secure; SameSite=Lax",
        "seen=1; Path=/; HttpOnly; Secure; SameSite=Lax",
    ]


async def test_a_cookie_that_would_add_a_header_is_an_error_and_no_header(edge: Any) -> None:
    reply = await edge.call("POST", "/session?value=a%0D%0AX-Evil:%201", key=None)
    assert reply.status_code == 500
    assert "x-evil" not in reply.headers


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a b", "value": "x"},
        {"name": "a", "value": "x;y"},
        {"name": "a", "value": "x\r\ny"},
        {"name": "a", "value": "x", "path": "y"},
        {"name": "a", "value": "x", "path": "/;Domain=evil.example"},
        {"name": "a", "value": "x", "same_site": "None", "secure": False},
    ],
)
def test_a_cookie_is_refused_before_it_is_made_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cookie"):
        cookie(**wrong)


def test_of_two_cookies_of_one_name_neither_is_believed() -> None:
    read = Scheme.compile("session", {"type": "apiKey", "in": "cookie", "name": "sid"}).extract
    assert read({b"cookie": b"a=1; sid=mine; b=2"}, b"") == "mine"
    assert read({b"cookie": b"sid=theirs; sid=mine"}, b"") == ""
    assert read({b"cookie": b"side=1"}, b"") is None
