"""What a caller sees of the edge: one test a rule, on the small contract of conftest.py."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import re
from typing import Any
from uuid import uuid4

import orjson
import pytest
import structlog

from thalweg.edge.application import Event
from thalweg.streams.publisher import Publisher

SECURITY = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
}


async def _make(edge: Any, name: str = "one") -> str:
    made = await edge.call("POST", "/things", json={"name": name})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def test_a_created_thing_can_be_read_back(edge: Any) -> None:
    key = await _make(edge)
    read = await edge.call("GET", f"/things/{key}")
    assert read.status_code == 200
    assert read.json() == {"id": key, "name": "one"}


async def test_a_reply_header_of_the_handler_reaches_the_caller(edge: Any) -> None:
    made = await edge.call("POST", "/things", json={"name": "one"})
    assert made.headers["location"] == f"/toys/things/{made.json()['id']}"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/public"), ("GET", "/nowhere"), ("PUT", "/things"), ("GET", "/boom"), ("GET", "/file")],
)
async def test_every_reply_carries_the_security_headers_and_a_correlation_id(edge: Any, method: str, path: str) -> None:
    reply = await edge.call(method, path)
    assert {name: reply.headers[name] for name in SECURITY} == SECURITY
    assert len(reply.headers["x-correlation-id"]) == 36


async def test_pages_carry_the_security_headers_too(edge: Any) -> None:
    reply = await edge.call("GET", "/../page")
    assert reply.text == "a page"
    assert reply.headers["x-frame-options"] == "DENY"


async def test_the_callers_correlation_id_comes_back_when_it_is_a_sane_token(edge: Any) -> None:
    sane = await edge.call("GET", "/public", headers={"X-Correlation-ID": "order-7.a:b_c"})
    assert sane.headers["x-correlation-id"] == "order-7.a:b_c"
    wild = await edge.call("GET", "/public", headers={"X-Correlation-ID": "<script>" + "x" * 200})
    assert len(wild.headers["x-correlation-id"]) == 36


async def test_a_literal_path_beats_a_parameter(edge: Any) -> None:
    assert (await edge.call("GET", "/things/special")).json() == {"n": 7}


async def test_an_unknown_path_is_404_in_the_surfaces_own_shape(edge: Any) -> None:
    reply = await edge.call("GET", "/nowhere")
    assert reply.status_code == 404
    assert reply.json() == {"code": "no_such_route", "message": "There is no such path."}


async def test_a_wrong_method_names_the_right_ones(edge: Any) -> None:
    reply = await edge.call("PATCH", "/things")
    assert reply.status_code == 405
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert reply.json()["code"] == "method_not_allowed"


async def test_options_names_the_methods(edge: Any) -> None:
    reply = await edge.call("OPTIONS", "/things/" + str(uuid4()), key=None)
    assert (reply.status_code, reply.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS")


async def test_head_is_get_without_the_body(edge: Any) -> None:
    full, head = await edge.call("GET", "/big"), await edge.call("HEAD", "/big")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == full.headers["content-length"]


async def test_a_browser_of_a_listed_origin_may_call(edge: Any) -> None:
    asked = await edge.call(
        "OPTIONS",
        "/things",
        key=None,
        headers={"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"},
    )
    assert asked.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert len(asked.headers.get_list("access-control-allow-origin")) == 1
    stranger = await edge.call("GET", "/public", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers


# --- who is calling -------------------------------------------------------------------------------


async def test_no_credential_is_401_with_a_challenge(edge: Any) -> None:
    reply = await edge.call("GET", "/things", key=None)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "ApiKey"


async def test_an_unknown_credential_is_401(edge: Any) -> None:
    assert (await edge.call("GET", "/things", key="nobody")).status_code == 401


async def test_a_missing_permission_is_403_and_named(edge: Any) -> None:
    reply = await edge.call("POST", "/things", key="reader", json={"name": "x"})
    assert reply.status_code == 403
    assert "things:write" in reply.json()["message"]


async def test_permission_is_asked_before_the_body_is_looked_at(edge: Any) -> None:
    reply = await edge.call("POST", "/things", key="reader", content=b"{not json")
    assert reply.status_code == 403


async def test_a_verified_credential_is_not_verified_again_until_it_is_revoked(edge: Any) -> None:
    for _ in range(3):
        await edge.call("GET", "/things", key="reader")
    assert edge.toys.asked == 1
    edge.services.authenticator.forget("key:reader")
    await edge.call("GET", "/things", key="reader")
    assert edge.toys.asked == 2


async def test_alternative_credentials_are_taken_in_the_contracts_order(edge: Any) -> None:
    assert (await edge.call("GET", "/either", key=None)).status_code == 200
    assert (await edge.call("GET", "/either", key="nobody")).status_code == 401
    bearer = await edge.call("GET", "/either", key="nobody", headers={"Authorization": "Bearer writer"})
    assert bearer.status_code == 200


async def test_a_cookie_can_be_the_credential_and_another_a_parameter(edge: Any) -> None:
    reply = await edge.call("GET", "/cookie", key=None, headers={"Cookie": "a=b; sid=reader; flavour=3"})
    assert reply.json() == {"flavour": 3}
    wrong = await edge.call("GET", "/cookie", key=None, headers={"Cookie": "sid=reader; flavour=mint"})
    assert (wrong.status_code, wrong.json()["where"]) == (400, ["cookie.flavour"])


async def test_a_signature_covers_the_very_bytes_of_the_body(edge: Any) -> None:
    body = b'{"n":1}'
    good = hmac.new(b"k", body, hashlib.sha256).hexdigest()
    sent = {"X-Signature": good, "Content-Type": "application/json"}
    assert (await edge.call("POST", "/signed", key=None, headers=sent, content=body)).status_code == 200
    forged = await edge.call("POST", "/signed", key=None, headers=sent, content=b'{"n":2}')
    assert forged.status_code == 401


# --- what is sent -----------------------------------------------------------------------------------


async def test_every_violation_is_told_with_its_place(edge: Any) -> None:
    reply = await edge.call("GET", "/things?limit=0&offset=x&what=1")
    assert reply.status_code == 400
    assert set(reply.json()["where"]) == {"query.limit", "query.offset", "query.what"}


async def test_a_page_is_handed_to_the_handler(edge: Any) -> None:
    for name in "abc":
        await _make(edge, name)
    reply = await edge.call("GET", "/things?limit=1&offset=1")
    assert [thing["name"] for thing in reply.json()] == ["b"]


async def test_an_encoded_slash_stays_inside_its_parameter(edge: Any) -> None:
    reply = await edge.call("GET", "/things/a%2Fb")
    assert (reply.status_code, reply.json()["where"]) == (400, ["path.thingId"])


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"name":"\\ud800"}', 400),
        (b'{"name":"a","name":"b"}', 400),
        (b'{"name":NaN}', 400),
        (b'{"name":"\\u0000"}', 400),
        (b'{"name":' + b"1" * 900 + b"}", 400),
        (b"[" * 900, 400),
        (b'{"name":"' + b"x" * 2000 + b'"}', 413),
    ],
)
async def test_hostile_json_is_refused_and_never_a_server_error(edge: Any, content: bytes, status: int) -> None:
    reply = await edge.call("POST", "/things", content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == status, reply.text
    assert edge.toys.rows == {}


async def test_another_content_type_is_415(edge: Any) -> None:
    reply = await edge.call("POST", "/things", content=b"name=x", headers={"Content-Type": "text/plain"})
    assert reply.status_code == 415


async def test_a_chunked_body_past_the_limit_is_413_before_it_is_read_whole(edge: Any) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 100

    reply = await edge.call("POST", "/things", content=endless(), headers={"Content-Type": "application/json"})
    assert reply.status_code == 413


async def test_a_body_that_does_not_arrive_is_408(edge: Any) -> None:
    async def stuck() -> Any:
        yield b'{"na'
        await asyncio.sleep(5)

    reply = await edge.call("POST", "/things", content=stuck(), headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.headers["connection"]) == (408, "close")


async def test_a_multipart_upload_reaches_the_handler_whole(edge: Any) -> None:
    data = b"\x00\x01" * 1_000_000
    reply = await edge.call(
        "POST", "/upload", files={"file": ("../../etc/passwd", data)}, data={"note": "hello", "count": "3"}
    )
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert (told["size"], told["read"]) == (len(data), len(data))
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert (told["note"], told["count"]) == ("hello", 3)
    assert "/" not in told["name"]


async def test_an_upload_leaves_nothing_behind(edge: Any, tmp_path: Any) -> None:
    before = sorted(tmp_path.iterdir())
    await edge.call("POST", "/upload", files={"file": ("a", b"x" * 1_000_000)})
    await edge.call("POST", "/upload", files={"nofile": ("a", b"x" * 1_000_000)})
    assert sorted(tmp_path.iterdir()) == before


async def test_a_form_is_coerced_to_its_schema(edge: Any) -> None:
    assert (await edge.call("POST", "/form", data={"n": "4"})).json() == {"n": 4}
    assert (await edge.call("POST", "/form", data={"n": "four"})).status_code == 400


async def test_a_binary_body_reaches_the_handler(edge: Any) -> None:
    reply = await edge.call(
        "PUT", "/blob", content=b"\xff" * 70_000, headers={"Content-Type": "application/octet-stream"}
    )
    assert reply.json() == {"n": 70_000}


# --- what comes back ----------------------------------------------------------------------------


async def test_nothing_internal_leaks_from_a_crash(edge: Any) -> None:
    reply = await edge.call("GET", "/boom")
    assert reply.status_code == 500
    assert reply.json() == {"code": "internal", "message": "Something went wrong."}


async def test_an_answer_that_breaks_its_contract_is_500_and_its_transaction_is_undone(edge: Any) -> None:
    reply = await edge.call("GET", "/mismatch")
    assert reply.status_code == 500
    assert "left" not in edge.toys.rows


async def test_a_domain_error_keeps_its_code_and_undoes_the_transaction(edge: Any) -> None:
    reply = await edge.call("POST", "/things", json={"name": "taken"})
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
    assert edge.toys.rows == {}


async def test_retry_after_is_told(edge: Any) -> None:
    reply = await edge.call("GET", "/later")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "7")


def _mismatches(edge: Any) -> float:
    """How often the metrics say that answers of the operation broke its contract."""
    text = edge.services.observer.render().decode()
    found = re.search(r'thalweg_response_mismatches_total\{operation="getRefused"\} (\S+)', text)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    ("code", "status", "wait"),
    [
        ("unavailable:3", 503, "3"),
        ("unavailable", 503, None),
        ("conflict", 409, None),
        ("idempotency_in_flight:1", 409, "1"),
        ("rate_limited:8", 429, "8"),
        ("rate_limited", 429, "5"),
    ],
)
async def test_retry_after_is_sent_where_it_is_known_or_promised(
    edge: Any, code: str, status: int, wait: str | None
) -> None:
    reply = await edge.call("GET", "/refused", params={"code": code})
    assert (reply.status_code, reply.headers.get("retry-after")) == (status, wait)


async def test_retry_after_is_never_sent_where_it_is_not_declared_and_the_gap_is_told(edge: Any) -> None:
    with structlog.testing.capture_logs() as told:
        reply = await edge.call("GET", "/refused", params={"code": "not_found:9"})
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert "retry-after" not in reply.headers
    (line,) = [one for one in told if one["event"] == "response_mismatch"]
    assert (line["status"], line["code"], line["violations"]) == (404, "not_found", "undeclared header Retry-After")


async def test_a_refusal_that_no_contract_declares_is_500_and_the_log_names_what_is_missing(edge: Any) -> None:
    before = _mismatches(edge)
    with structlog.testing.capture_logs() as told:
        reply = await edge.call("GET", "/refused", params={"code": "gone"}, headers={"X-Correlation-ID": "r-gone"})
    assert (reply.status_code, reply.json()) == (500, {"code": "internal", "message": "Something went wrong."})
    (line,) = [one for one in told if one["event"] == "response_mismatch"]
    assert line == {
        "event": "response_mismatch",
        "log_level": "error",
        "surface": "toys",
        "operation": "getRefused",
        "request_id": "r-gone",
        "status": 410,
        "code": "gone",
        "violations": "undeclared status",
    }
    assert _mismatches(edge) == before + 1


async def test_what_is_not_built_yet_says_so(edge: Any) -> None:
    assert (await edge.call("GET", "/unbuilt")).status_code == 501


async def test_nothing_is_204(edge: Any) -> None:
    reply = await edge.call("DELETE", f"/things/{await _make(edge)}")
    assert (reply.status_code, reply.content) == (204, b"")
    assert "content-length" not in reply.headers


async def test_a_deprecated_operation_says_so(edge: Any) -> None:
    reply = await edge.call("GET", "/old")
    assert reply.headers["deprecation"] == "true"
    assert reply.headers["sunset"] == "Wed, 01 Jan 2031 00:00:00 GMT"


async def test_an_accept_header_that_admits_nothing_declared_is_406(edge: Any) -> None:
    assert (await edge.call("GET", "/public", headers={"Accept": "text/html"})).status_code == 406
    for accept in ("*/*", "application/*", "text/html, application/json;q=0.1", "text/*, */*;q=0.1"):
        assert (await edge.call("GET", "/public", headers={"Accept": accept})).status_code == 200, accept
    refused = await edge.call("GET", "/public", headers={"Accept": "application/json;q=0, text/html"})
    assert refused.status_code == 406


async def test_an_unchanged_answer_is_304(edge: Any) -> None:
    path = f"/things/{await _make(edge)}"
    first = await edge.call("GET", path)
    again = await edge.call("GET", path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    edge.toys.rows[path.rsplit("/", 1)[1]] = "changed"
    changed = await edge.call("GET", path, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200


async def test_a_large_answer_is_compressed_for_those_who_take_it(edge: Any) -> None:
    packed = await edge.call("GET", "/big", headers={"Accept-Encoding": "gzip"})
    plain = await edge.call("GET", "/big", headers={"Accept-Encoding": "identity, gzip;q=0"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 10
    assert packed.json() == plain.json()
    assert "content-encoding" not in plain.headers
    assert gzip.compress(b"") is not None


async def test_a_download_can_be_read_in_parts(edge: Any) -> None:
    whole = await edge.call("GET", "/file")
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-disposition"] == (
        "attachment; filename=\"r_sum_.txt\"; filename*=UTF-8''r%C3%A9sum%C3%A9.txt"
    )
    for asked, span in (("0-4", (0, 5)), ("995-", (995, 1000)), ("-3", (997, 1000)), ("990-5000", (990, 1000))):
        part = await edge.call("GET", "/file", headers={"Range": f"bytes={asked}"})
        assert part.status_code == 206, asked
        assert part.content == whole.content[span[0] : span[1]]
        assert part.headers["content-range"] == f"bytes {span[0]}-{span[1] - 1}/1000"


async def test_a_range_outside_of_the_file_is_416_and_nonsense_is_the_whole(edge: Any) -> None:
    outside = await edge.call("GET", "/file", headers={"Range": "bytes=1000-"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, "bytes */1000")
    for nonsense in ("bytes=5-1", "bytes=-", "lines=1-2", "bytes=1-2,4-5", "bytes=a-b"):
        assert (await edge.call("GET", "/file", headers={"Range": nonsense})).status_code == 200, nonsense


async def test_a_range_of_another_version_is_the_whole(edge: Any) -> None:
    stale = await edge.call("GET", "/file", headers={"Range": "bytes=0-4", "If-Range": '"v0"'})
    fresh = await edge.call("GET", "/file", headers={"Range": "bytes=0-4", "If-Range": '"v1"'})
    assert (stale.status_code, fresh.status_code) == (200, 206)
    assert (await edge.call("GET", "/file", headers={"If-None-Match": '"v1"'})).status_code == 304


# --- idempotency --------------------------------------------------------------------------------


async def test_the_same_key_and_request_gets_the_first_reply_and_does_nothing_again(edge: Any) -> None:
    first = await edge.call("POST", "/things", json={"name": "a"}, headers={"Idempotency-Key": "k1"})
    again = await edge.call("POST", "/things", json={"name": "a"}, headers={"Idempotency-Key": "k1"})
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert edge.toys.calls == ["create"]


async def test_the_same_key_with_another_request_is_422(edge: Any) -> None:
    await edge.call("POST", "/things", json={"name": "a"}, headers={"Idempotency-Key": "k1"})
    other = await edge.call("POST", "/things", json={"name": "b"}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 422


# --- with Valkey --------------------------------------------------------------------------------


async def test_a_limit_counts_down_and_then_refuses(live_edge: Any) -> None:
    left = [(await live_edge.call("POST", "/limited")).headers["ratelimit-remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    refused = await live_edge.call("POST", "/limited")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert (await live_edge.call("POST", "/limited", key="other")).status_code == 200


async def test_without_valkey_reads_pass_and_writes_are_refused(edge: Any) -> None:
    assert (await edge.call("GET", "/limited")).status_code == 200
    assert (await edge.call("POST", "/limited")).status_code == 503


async def test_a_stream_tails_what_is_published(live_edge: Any, valkey_url: str) -> None:
    publisher = Publisher(valkey_url)
    reply = asyncio.create_task(live_edge.call("GET", "/events"))
    await asyncio.sleep(0.3)
    for number, name in ((1, "tick"), (2, "tick"), (3, "end")):
        publisher.publish("events:1", number, name, {"n": number})
    text = (await asyncio.wait_for(reply, 5)).text
    frames = [frame.splitlines() for frame in text.split("\n\n") if frame.startswith("id")]
    assert [(f[0], f[1], orjson.loads(f[2][6:])) for f in frames] == [
        ("id: s1:1", "event: tick", {"n": 1}),
        ("id: s1:2", "event: tick", {"n": 2}),
        ("id: s1:3", "event: end", {"n": 3}),
    ]


async def test_a_stream_is_told_from_the_database_when_valkey_has_it_no_more(live_edge: Any) -> None:
    live_edge.toys.events = [Event(1, "tick", {"n": 1}), Event(2, "end", {"n": 2})]
    whole = await live_edge.call("GET", "/events")
    rest = await live_edge.call("GET", "/events", headers={"Last-Event-ID": "s1:1"})
    assert whole.text.count("event:") == 2
    assert "id: s1:2" in rest.text
    assert "id: s1:1" not in rest.text


async def test_waiting_ends_when_the_work_is_done(live_edge: Any, valkey_url: str) -> None:
    reply = asyncio.create_task(live_edge.call("GET", "/wait?seconds=5"))
    await asyncio.sleep(0.2)
    live_edge.toys.done = True
    Publisher(valkey_url).publish("wait:1", 1, "end", {"n": 1})
    assert (await asyncio.wait_for(reply, 2)).json() == {"n": 1}


async def test_waiting_ends_when_the_time_is_up(live_edge: Any) -> None:
    assert (await live_edge.call("GET", "/wait?seconds=0.2")).json() == {"n": 0}
