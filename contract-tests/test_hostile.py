"""Input that is meant to hurt, through raw sockets: never a 5xx, never a hang, and the server stays as it was."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

DEADLINE = 10.0
"""Seconds until the server has to have answered or hung up."""
GROWTH = 60 * 1024 * 1024
"""Bytes that the server's memory may have grown by after everything here."""
LIMIT = 10_485_760
GOOD = json.dumps({"session_id": "s", "input": {"type": "text", "content": "Why?"}}).encode()


class Wire:
    """One connection, byte by byte."""

    def __init__(self, running: Any) -> None:
        port = urlsplit(running.url).port
        assert port is not None
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.end = time.monotonic() + DEADLINE

    def send(self, data: bytes) -> bool:
        """False: the server has hung up, which is its right."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def finish(self) -> None:
        """Half-close: nothing more comes from us."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def read(self, enough: Any = None) -> bytes:
        """What the server says until it hangs up, or until there is `enough`. Raises when the deadline passes."""
        read = b""
        while True:
            self.socket.settimeout(max(self.end - time.monotonic(), 0.01))
            try:
                piece = self.socket.recv(65536)
            except TimeoutError:
                raise AssertionError(f"no answer in {DEADLINE} s; so far {read[:500]!r}") from None
            except ConnectionResetError:
                return read
            read += piece
            if not piece or (enough is not None and enough(read)):
                return read


def one_answer(read: bytes) -> bool:
    """Whether a whole reply with a Content-Length has come."""
    head, empty, body = read.partition(b"\r\n\r\n")
    if not empty:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return b" 304 " in head.split(b"\r\n")[0] or b" 204 " in head.split(b"\r\n")[0]


def statuses(read: bytes) -> list[int]:
    """The statuses of all final replies in what was read."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] ([2-9]\d\d)", read)]


def head(path: bytes, key: str, *lines: bytes, method: bytes = b"POST", version: bytes = b"HTTP/1.1") -> bytes:
    start = [method + b" " + path + b" " + version, b"Host: here", b"X-API-Key: " + key.encode(), *lines]
    return b"\r\n".join(start) + b"\r\n\r\n"


def posted(path: bytes, key: str, body: bytes, *lines: bytes, type_: bytes = b"application/json") -> bytes:
    return (
        head(path, key, b"Content-Type: " + type_, b"Content-Length: %d" % len(body), b"Connection: close", *lines)
        + body
    )


@pytest.fixture(scope="module")
def memory(running: Any) -> Iterator[psutil.Process]:
    """The API process; measured before and after everything in this module."""
    process = psutil.Process(running.processes["api"].pid)
    before = process.memory_info().rss
    files = process.num_fds()
    yield process
    time.sleep(1.0)
    assert process.memory_info().rss - before < GROWTH, (before, process.memory_info().rss)
    assert process.num_fds() - files < 20


@pytest.fixture(autouse=True)
def healthy(running: Any, tenant: Any, memory: psutil.Process) -> Iterator[None]:
    """After every case the same process still does its work, and nothing in it went wrong unseen."""
    spoken = len(running.log("api"))
    yield
    assert memory.is_running()
    reply = httpx.get(
        f"{running.url}/thalium/v1/brain/{tenant.brain_id}/memory?limit=1", headers=tenant.headers(), timeout=DEADLINE
    )
    assert reply.status_code == 200
    said = running.log("api")[spoken:]
    assert '"unhandled"' not in said, said[-3000:]
    assert "Traceback" not in said, said[-3000:]


@pytest.fixture
def invoke(tenant: Any) -> bytes:
    return f"/thalium/v1/brain/{tenant.brain_id}/invoke".encode()


@pytest.fixture
def recall(tenant: Any) -> bytes:
    return f"/thalium/v1/brain/{tenant.brain_id}/memory".encode()


def refused(read: bytes, *expected: int) -> None:
    found = statuses(read)
    assert found, f"hung up without a word: {read[:200]!r}"
    assert found[0] in (expected or (400,)), read[:600]
    assert all(status < 500 for status in found), read[:600]


# --- bodies ----------------------------------------------------------------------------------------


def _input(content: bytes) -> bytes:
    return b'{"session_id":"s","input":{"type":"text","content":' + content + b"}}"


BODIES = {
    "nothing": (b"", 400),
    "one brace": (b"{", 400),
    "bad UTF-8": (_input(b'"\xff\xfe"'), 400),
    "overlong UTF-8": (_input(b'"\xc0\xaf"'), 400),
    "UTF-8 of a surrogate": (_input(b'"\xed\xa0\x80"'), 400),
    "a lone surrogate": (_input(b'"\\ud800"'), 400),
    "a lone surrogate as a key": (b'{"\\udfff":1}', 400),
    "NUL": (_input(b'"\\u0000"'), 400),
    "a raw NUL": (_input(b'"\x00"'), 400),
    "UTF-16": (GOOD.decode().encode("utf-16"), 400),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, 400),
    "100,000 lists deep": (b"[" * 100_000 + b"]" * 100_000, 400),
    "100,000 lists deep inside": (_input(b"[" * 100_000 + b"]" * 100_000), 400),
    "100,000 objects deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
    "100,000 lists opened": (b"[" * 100_000, 400),
    "an integer of 5,000 digits": (_input(b"9" * 5_000), 400),
    "a timeout of 5,000 digits": (GOOD[:-1] + b',"role_config":{"timeouts":{"devil":' + b"9" * 5_000 + b"}}}", 400),
    "an exponent": (GOOD[:-1] + b',"role_config":{"timeouts":{"devil":1e999999}}}', 400),
    "NaN": (GOOD[:-1] + b',"role_config":{"timeouts":{"devil":NaN}}}', 400),
    "Infinity": (GOOD[:-1] + b',"role_config":{"timeouts":{"devil":-Infinity}}}', 400),
    "a duplicate key": (b'{"session_id":"a",' + GOOD[1:], 400),
    "two values": (GOOD + GOOD, 400),
    "a comment": (GOOD + b"// no", 400),
    "200,000 keys": (b"{" + b",".join(b'"k%d":1' % n for n in range(200_000)) + b"}", 400),
    "200,000 roles": (GOOD[:-1] + b',"role_config":{"roles":[' + b",".join([b'"devil"'] * 200_000) + b"]}}", 400),
    "a key of a million letters": (b'{"' + b"k" * 1_000_000 + b'":1}', 400),
    "__proto__": (GOOD[:-1] + b',"__proto__":{"admin":true}}', 400),
    "white space alone": (b" " * 1_000_000, 400),
    "past the limit": (b" " * (LIMIT + 1), 413),
    "direction marks and controls": (_input('"\u202e\u2066\u0007?"'.encode()), 400),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_is_no_good_is_refused(case: str, running: Any, tenant: Any, invoke: bytes) -> None:
    body, status = BODIES[case]
    wire = Wire(running)
    wire.send(posted(invoke, tenant.key, body))
    refused(wire.read(one_answer), status)


@pytest.mark.parametrize(
    ("type_", "status"),
    [
        (b"", 415),
        (b"text/plain", 415),
        (b"application/xml", 415),
        (b"application/x-www-form-urlencoded", 415),
        (b"multipart/form-data", 415),
        (b"multipart/form-data; boundary=" + b"x" * 5_000, 415),
        (b"application/json; charset=utf-16", 415),
        (b"application/json; charset=\xff", 415),
        (b"application/json, text/plain", 415),
        (b"application/jsonp", 415),
        (b"/", 415),
        (b"\xff\xfe/\xff", 415),
        (b";" * 5_000, 415),
    ],
)
def test_a_type_that_is_not_declared_is_refused(
    type_: bytes, status: int, running: Any, tenant: Any, invoke: bytes
) -> None:
    wire = Wire(running)
    wire.send(posted(invoke, tenant.key, GOOD, type_=type_))
    refused(wire.read(one_answer), status)


def test_a_body_without_a_type_is_refused(running: Any, tenant: Any, invoke: bytes) -> None:
    wire = Wire(running)
    wire.send(head(invoke, tenant.key, b"Content-Length: %d" % len(GOOD)) + GOOD)
    refused(wire.read(one_answer), 415)


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


CHUNKED = (b"Content-Type: application/json", b"Transfer-Encoding: chunked")


def test_a_chunked_body_without_a_length_is_taken(running: Any, tenant: Any, invoke: bytes) -> None:
    wire = Wire(running)
    wire.send(head(invoke, tenant.key, *CHUNKED) + chunked(*(GOOD[n : n + 1] for n in range(len(GOOD)))))
    assert statuses(wire.read(lambda read: b"full.artifact" in read)) == [200]


def test_a_chunked_body_past_the_limit_is_refused_before_it_has_come(running: Any, tenant: Any, invoke: bytes) -> None:
    """It would be 1 GiB; the answer comes after the tenth MiB."""
    wire = Wire(running)
    wire.send(head(invoke, tenant.key, *CHUNKED))
    piece, sent = b"%x\r\n%b\r\n" % (1 << 16, b" " * (1 << 16)), 0
    while sent < 1 << 30 and wire.send(piece):
        sent += 1 << 16
        if sent > LIMIT + (1 << 16):
            break
    refused(wire.read(one_answer), 413)
    assert sent < 64 << 20


def test_a_length_past_the_limit_is_refused_before_a_byte_has_come(running: Any, tenant: Any, invoke: bytes) -> None:
    wire = Wire(running)
    wire.send(head(invoke, tenant.key, b"Content-Type: application/json", b"Content-Length: 99999999999"))
    refused(wire.read(one_answer), 413)


def test_a_body_past_the_limit_that_comes_slowly_is_refused(running: Any, tenant: Any, invoke: bytes) -> None:
    wire = Wire(running)
    wire.send(head(invoke, tenant.key, *CHUNKED))
    for _ in range(11):
        wire.send(b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20)))
        time.sleep(0.02)
    refused(wire.read(one_answer), 413)


@pytest.mark.parametrize("how", ["half-closed", "gone", "reset"])
def test_a_body_that_breaks_off_does_nothing(how: str, running: Any, tenants: Any) -> None:
    one = tenants()
    wire = Wire(running)
    path = f"/thalium/v1/brain/{one.brain_id}/invoke".encode()
    wire.send(head(path, one.key, b"Content-Type: application/json", b"Content-Length: %d" % len(GOOD)) + GOOD[:-5])
    if how == "half-closed":
        wire.finish()
        assert all(status < 500 for status in statuses(wire.read(one_answer)))
    elif how == "reset":
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    wire.socket.close()
    time.sleep(0.3)
    status = httpx.get(f"{running.url}/thalium/v1/brain/{one.brain_id}/status", headers=one.headers()).json()
    assert status["rings"]["session"] == 0


def test_a_client_that_half_closes_after_its_request_is_answered_or_let_go(
    running: Any, tenant: Any, recall: bytes
) -> None:
    wire = Wire(running)
    wire.send(head(recall, tenant.key, method=b"GET"))
    wire.finish()
    assert all(status == 200 for status in statuses(wire.read()))


@pytest.mark.parametrize("size", [b"zz", b"-1", b"ffffffffffffffff", b"fffffffffffffffffffffff", b" 5", b"0x5"])
def test_a_chunk_of_an_impossible_size_is_refused(size: bytes, running: Any, tenant: Any, invoke: bytes) -> None:
    wire = Wire(running)
    wire.send(head(invoke, tenant.key, *CHUNKED) + size + b"\r\n" + GOOD + b"\r\n0\r\n\r\n")
    wire.finish()
    read = wire.read(one_answer)
    assert all(400 <= status < 500 for status in statuses(read)), read[:300]


# --- paths, queries, headers ----------------------------------------------------------------------------

QUERIES = [
    b"session_id=%ff",
    b"session_id=\xff\xfe",
    b"session_id=%ed%a0%80",
    b"session_id=%00",
    b"session_id=%",
    b"session_id=%zz",
    b"limit=" + b"9" * 5_000,
    b"limit=1e5",
    b"limit=%D9%A1",  # a digit, but not of ours
    b"limit=1_0",
    b"limit=+1",
    b"limit=NaN",
    b"limit=1&limit=2",
    b"limit[]=1",
    b"cursor=" + b"A" * 2_000,
    b"cursor=%00",
    b"address_key=" + b"a." * 2_000,
    b"address_key=" + b"(" * 100,
    b"address_key=*{99,1}",
    b"address_key=" + b"|".join([b"a"] * 8) + b"{99}",
    b"&".join(b"p%d=1" % n for n in range(5_000)),
    b"&" * 20_000,
    b"=" * 20_000,
    b"session_id='%3BDROP%20TABLE%20brain--",
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:24].decode("latin-1"))
def test_a_query_never_breaks_the_server(query: bytes, running: Any, tenant: Any, recall: bytes) -> None:
    wire = Wire(running)
    wire.send(head(recall + b"?" + query, tenant.key, method=b"GET"))
    refused(wire.read(one_answer), 200, 400, 414)


PATHS = [
    b"/thalium/v1/brain/%ff/status",
    b"/thalium/v1/brain/\xff/status",
    b"/thalium/v1/brain/%00/status",
    b"/thalium/v1/brain/%ed%a0%80/status",
    b"/thalium/v1/brain/..%2f..%2fetc%2fpasswd/status",
    b"/thalium/v1/brain/../../../../etc/passwd",
    b"/thalium/../thalium/v1/brain/x/status",
    b"/thalium/v1//brain/x/status",
    b"/thalium/v1/brain/a%2fb/status",
    b"/thalium%2fv1%2fbrain%2fx%2fstatus",
    b"/thalium/v1/brain/x/status/",
    b"/thalium/v1/brain/x/status;a=b",
    b"/thalium/v1/brain/%25%30%30/status",
    b"/thalium/v1/brain/" + b"x" * 20_000 + b"/status",
    b"/" * 20_000,
    b"/thalium",
    b"/thalium/",
    b"/%",
    b"//",
    b"/..",
    b"/static/..%2f..%2fpyproject.toml",
    b"/static/../../pyproject.toml",
    b"/\\..\\..\\windows",
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40].decode("latin-1"))
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_path_never_breaks_the_server(method: bytes, path: bytes, running: Any, tenant: Any) -> None:
    wire = Wire(running)
    wire.send(head(path, tenant.key, b"Content-Length: 0", b"Connection: close", method=method))
    read = wire.read(one_answer)
    refused(read, 200, 301, 302, 308, 400, 401, 404, 405, 414, 415)
    assert b"[project]" not in read
    assert b"root:" not in read


def test_an_absolute_form_is_answered_like_its_path(running: Any, tenant: Any, recall: bytes) -> None:
    """RFC 9112 3.2.2: a server has to take it."""
    wire = Wire(running)
    wire.send(head(b"http://elsewhere.example" + recall + b"?limit=1", tenant.key, method=b"GET"))
    refused(wire.read(one_answer), 200, 400, 404)


@pytest.mark.parametrize(
    "method", [b"TRACE", b"CONNECT", b"PROPFIND", b"PURGE", b"M-SEARCH", b"BREW", b"get", b"G\x00T", b"X" * 5_000]
)
def test_a_strange_method_is_refused(method: bytes, running: Any, tenant: Any, recall: bytes) -> None:
    wire = Wire(running)
    target = b"here:80" if method == b"CONNECT" else recall
    wire.send(head(target, tenant.key, b"Connection: close", method=method))
    refused(wire.read(one_answer), 400, 404, 405, 501 if method == b"BREW" else 405)


HEADERS = [
    b"X-Correlation-ID: \xff\xfe",
    b"X-Correlation-ID: " + b"x" * 10_000,
    b"Idempotency-Key: \xff",
    b"Idempotency-Key: " + b"k" * 10_000,
    b"Idempotency-Key: a\r\nIdempotency-Key: b",
    b"Last-Event-ID: 01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21:99999999999999999999999",
    b"Last-Event-ID: 01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21:-1",
    b"Last-Event-ID: " + b"9" * 5_000,
    b"Last-Event-ID: \xff:1",
    b"Accept: " + b"a/b," * 5_000,
    b"Accept: \xff",
    b"Accept: text/event-stream;q=" + b"9" * 5_000,
    b"Accept-Encoding: gzip;q=" + b"x" * 5_000,
    b"Authorization: Bearer \xff\xff",
    b"Authorization: Basic " + b"=" * 5_000,
    b"Cookie: " + b"a=b; " * 2_000,
    b"X-Forwarded-For: \xff, " + b"1.2.3.4, " * 2_000,
    b"Host: \xff\xff",
    b"Expect: 100-continue",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
    b"Range: bytes=0-" + b"9" * 5_000,
    b"traceparent: 00-" + b"f" * 5_000,
]


@pytest.mark.parametrize("line", HEADERS, ids=lambda line: line[:32].decode("latin-1"))
@pytest.mark.parametrize("what", ["memory", "invoke"])
def test_a_header_never_breaks_the_server(
    what: str, line: bytes, running: Any, tenant: Any, recall: bytes, invoke: bytes
) -> None:
    wire = Wire(running)
    if what == "memory":
        wire.send(head(recall + b"?limit=1", tenant.key, line, method=b"GET"))
    else:
        wire.send(posted(invoke, tenant.key, b"{}", line))
    refused(wire.read(one_answer), 200, 400, 401, 404, 406, 417, 422, 431)


@pytest.mark.parametrize(
    "event", ["99999999999", "999999999999999999", "99999999999999999999999999", "-5", "0", "1_0", " 1"]
)
def test_an_impossible_event_number_is_refused_or_harmless(event: str, running: Any, tenant: Any) -> None:
    """Of an invocation that is there."""
    told = running.invoke(tenant)
    again = running.invoke(
        tenant,
        headers={"Last-Event-ID": f"{told.headers['x-trace-id']}:{event}"},
        until=lambda read: bool(read.text),
        seconds=8,
    )
    assert again.status in (200, 400)
    if again.status == 200:
        assert (
            again.events
            == [e for e in told.events if int(e["id"].rpartition(":")[2]) > int(event)][: len(again.events)]
        )


def test_a_bomb_of_headers_is_refused_before_it_fills_the_memory(
    running: Any, tenant: Any, recall: bytes, memory: psutil.Process
) -> None:
    before = memory.memory_info().rss
    wire = Wire(running)
    wire.send(b"GET " + recall + b" HTTP/1.1\r\nHost: here\r\n")
    line, sent = b"X-Bomb: " + b"x" * 8_000 + b"\r\n", 0
    while sent < 64 << 20 and wire.send(line):
        sent += len(line)
    assert sent < 16 << 20, "it took everything"
    assert all(400 <= status < 500 for status in statuses(wire.read()))
    assert memory.memory_info().rss - before < 16 << 20


@pytest.mark.parametrize(
    "start", [b"GET /" + b"x" * 100_000, b"X" * 100_000, b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000]
)
def test_a_line_without_an_end_is_refused(start: bytes, running: Any) -> None:
    wire = Wire(running)
    piece = start[-50_000:]
    wire.send(start)
    sent = len(start)
    while sent < 32 << 20 and wire.send(piece):
        sent += len(piece)
    assert sent < 16 << 20, "it took everything"
    assert all(400 <= status < 500 for status in statuses(wire.read()))


def test_slow_headers_do_not_keep_others_waiting(running: Any, tenant: Any, recall: bytes) -> None:
    """200 callers that say a letter now and then; one that is quick is answered at once."""
    slow = [Wire(running) for _ in range(200)]
    start = head(recall, tenant.key, method=b"GET")[:-2]
    for one in slow:
        one.send(start[:20])
    for letter in range(20, 26):
        for one in slow:
            one.send(start[letter : letter + 1])
        began = time.monotonic()
        reply = httpx.get(f"{running.url}{recall.decode()}?limit=1", headers=tenant.headers(), timeout=DEADLINE)
        assert reply.status_code == 200
        assert time.monotonic() - began < 2.0
    for one in slow:
        one.socket.close()


@pytest.mark.slow
def test_a_head_that_never_ends_is_given_up(running: Any, recall: bytes) -> None:
    """After 20 s, also when a letter comes now and then, and when nothing comes at all."""
    silent, slow = Wire(running), Wire(running)
    silent.end = slow.end = time.monotonic() + 30
    for letter in b"GET " + recall[:9]:
        slow.send(bytes([letter]))
        time.sleep(1.0)
    assert statuses(silent.read()) == [408]
    assert statuses(slow.read()) == [408]


# --- messages within messages ---------------------------------------------------------------------------

SMUGGLED = [
    (b"Content-Length: 4", b"Transfer-Encoding: chunked"),
    (b"Transfer-Encoding: chunked", b"Content-Length: 4"),
    (b"Content-Length: 4", b"Content-Length: 90"),
    (b"Content-Length: 4, 90",),
    (b"Content-Length: +4",),
    (b"Content-Length: 4 4",),
    (b"Content-Length: 0x4",),
    (b"Content-Length : 4",),
    (b"Content-Length: -1",),
    (b"Content-Length: \xff",),
    (b"Content-Length: " + b"9" * 40,),
    (b"Transfer-Encoding: chunked, identity",),
    (b"Transfer-Encoding: identity",),
    (b"Transfer-Encoding: xchunked",),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",),
    (b"Transfer-Encoding : chunked",),
    (b"Transfer-Encoding:\x0bchunked", b"Content-Length: 4"),
    (b"Transfer-Encoding\xff: chunked", b"Content-Length: 4"),
    (b" Transfer-Encoding: chunked", b"Content-Length: 4"),
    (b"X: y\nTransfer-Encoding: chunked", b"Content-Length: 4"),
]


@pytest.mark.parametrize("lines", SMUGGLED, ids=lambda lines: b"+".join(lines)[:40].decode("latin-1"))
def test_a_smuggled_request_is_never_answered(
    lines: tuple[bytes, ...], running: Any, tenant: Any, invoke: bytes
) -> None:
    """Whatever the framing is taken for, the hidden second request must not be served."""
    hidden = head(b"/thalium/hidden-request", tenant.key, method=b"GET")
    wire = Wire(running)
    wire.send(head(invoke, tenant.key, b"Content-Type: application/json", *lines) + b"0\r\n\r\n" + hidden)
    wire.finish()
    read = wire.read()
    found = statuses(read)
    assert all(400 <= status < 500 for status in found), read[:600]
    ambiguous = sum(b"ontent-Length" in line or b"ransfer-Encoding" in line for line in lines) > 1
    if ambiguous:
        assert len(found) <= 1, read[:1500]


def test_pipelined_requests_are_answered_in_order(running: Any, tenant: Any, recall: bytes) -> None:
    wire = Wire(running)
    for number in range(20):
        wire.send(head(recall + b"?limit=1", tenant.key, b"X-Correlation-ID: p%d" % number, method=b"GET"))
    read = wire.read(lambda read: read.count(b"x-correlation-id:") == 20 and read.endswith(b"}"))
    assert statuses(read) == [200] * 20
    order = [line.partition(b": ")[2] for line in read.split(b"\r\n") if line.startswith(b"x-correlation-id:")]
    assert order == [b"p%d" % number for number in range(20)]


def test_a_flood_of_pipelined_requests_is_borne(running: Any, tenant: Any, recall: bytes) -> None:
    """2,000 requests by one who reads nothing before the last is sent."""
    wire = Wire(running)
    wire.end = time.monotonic() + 40
    request = head(recall + b"?limit=1", tenant.key, method=b"GET")
    wire.socket.settimeout(40)
    import threading

    writer = threading.Thread(target=lambda: wire.send(request * 2_000))
    writer.start()
    read = wire.read(lambda read: read.count(b"HTTP/1.1 200") >= 2_000)
    writer.join(5)
    assert set(statuses(read)) == {200}


def test_http_1_0_is_answered_and_closed(running: Any, tenant: Any, recall: bytes) -> None:
    wire = Wire(running)
    wire.send(head(recall + b"?limit=1", tenant.key, method=b"GET", version=b"HTTP/1.0"))
    assert statuses(wire.read()) == [200]


def test_a_stream_over_http_1_0_ends_with_the_connection(running: Any, tenant: Any, invoke: bytes) -> None:
    wire = Wire(running)
    lines = (b"Content-Type: application/json", b"Content-Length: %d" % len(GOOD))
    wire.send(head(invoke, tenant.key, *lines, version=b"HTTP/1.0") + GOOD)
    read = wire.read()
    assert b"event: full.artifact" in read


@pytest.mark.parametrize(
    "line",
    [b"GET / HTTP/9.9", b"GET /", b"GET", b"\r\n\r\n\r\n", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0", b"\x00" * 64],
)
def test_what_is_no_request_is_refused_or_hung_up_on(line: bytes, running: Any) -> None:
    wire = Wire(running)
    wire.send(line + b"\r\n\r\n")
    wire.finish()
    assert all(status < 500 for status in statuses(wire.read()))
