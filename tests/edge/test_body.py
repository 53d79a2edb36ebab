"""Bodies: JSON, text, files and their limits. Forms have a module of their own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from thalweg.edge.body import Body, BodyReader, Payload, Upload
from thalweg.edge.problem import Disconnected, Problem
from thalweg.edge.schema import Compiler
from thalweg.edge.uploads import display_name, sweep

THING = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {"name": {"type": "string", "maxLength": 50}, "count": {"type": "integer"}, "free": {}},
}
JSON = [(b"content-type", b"application/json")]


def receive(*pieces: bytes, cut: bool = False) -> Any:
    """ASGI's receive: the pieces, one message each; `cut` ends with a disconnect instead of the last piece's end."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if cut:
        messages.append({"type": "http.disconnect"})
    elif messages:
        messages[-1]["more_body"] = False
    else:
        messages.append({"type": "http.request"})
    left: Iterable[Any] = iter(messages)

    async def call() -> Any:
        return next(left)  # type: ignore[call-overload]

    return call


def reader(content: dict[str, Any], tmp_path: Path, *, required: bool = True, limit: int = 1 << 20) -> BodyReader:
    body = {"required": required, "content": content}
    return Body.compile(body, Compiler({}), max_bytes=limit, spool_dir=str(tmp_path / "spool"))


@pytest.fixture
def things(tmp_path: Path) -> BodyReader:
    return reader({"application/json": {"schema": THING}}, tmp_path)


def read(body: BodyReader, raw: bytes, headers: list[tuple[bytes, bytes]] = JSON) -> Payload:
    return asyncio.run(body.read(headers, receive(raw)))


def refused(body: BodyReader, raw: bytes, headers: list[tuple[bytes, bytes]] = JSON) -> Problem:
    with pytest.raises(Problem) as caught:
        read(body, raw, headers)
    return caught.value


def broken(body: BodyReader, raw: bytes) -> tuple[str, str]:
    """Rule and message of the only violation."""
    problem = refused(body, raw)
    assert problem.code == "validation"
    (violation,) = problem.violations
    assert violation.path[0] == "body"
    return violation.rule, violation.message


# --- JSON ----------------------------------------------------------------------------------------------


def test_a_valid_json_body_is_its_value_and_its_bytes(things: BodyReader) -> None:
    payload = read(things, b'{"name": "a"}')
    assert payload.value == {"name": "a"}
    assert payload.raw == b'{"name": "a"}'
    assert payload.media_type == "application/json"
    assert not payload.absent


def test_a_body_in_pieces_is_put_together(things: BodyReader) -> None:
    payload = asyncio.run(things.read(JSON, receive(b"", b'{"na', b"", b'me": "a"}', b"")))
    assert payload.value == {"name": "a"}


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (b'{"name": "a", "name": "b"}', "duplicate"),
        (b'{"name": "a", "free": {"x": 1, "\\u0078": 2}}', "duplicate"),
        (b'{"name": "a", "free": [{"x": 1, "x": 1}]}', "duplicate"),
        (b'{"name": NaN}', "json"),
        (b'{"name": "a", "free": Infinity}', "json"),
        (b'{"name": "a", "free": -Infinity}', "json"),
        (b'{"name": "a", "free": 1e400}', "number"),
        (b'{"name": "a", "free": 1e99999999999999999999}', "number"),
        (b'{"name": "a", "count": ' + b"9" * 5000 + b"}", "number"),
        (b'{"name": "\\ud800"}', "encoding"),
        (b'{"name": "\\udc00\\ud800"}', "encoding"),
        (b'{"name": "a\\u0000b"}', "nul"),
        (b'{"name": "a", "free": {"\\u0000": 1}}', "nul"),
        (b'{"name": "\xff"}', "encoding"),
        (b'{"name": "\xed\xa0\x80"}', "encoding"),
        (b'\xef\xbb\xbf{"name": "a"}', "encoding"),
        ('{"name": "a"}'.encode("utf-16"), "encoding"),
        (b"[" * 100_000, "depth"),
        (b"[" * 100_000 + b"]" * 100_000, "depth"),
        (b'{"name": "a", "free": ' + b"[" * 300 + b"]" * 300 + b"}", "depth"),
        (b'{"a":' * 100_000, "depth"),
        (b'{"name": "a"', "json"),
        (b'{"name": "a"}}', "json"),
        (b'{"name": "a",}', "json"),
        (b"{'name': 'a'}", "json"),
        (b'{"name": "a\nb"}', "json"),
        (b'{"name": 01}', "json"),
        (b"/* x */{}", "json"),
        (b" ", "json"),
        (b"\x00", "json"),
    ],
)
def test_json_that_is_none_or_means_two_things_is_refused(things: BodyReader, raw: bytes, rule: str) -> None:
    assert broken(things, raw)[0] == rule


def test_a_duplicate_key_is_named_and_nothing_else_of_the_parser_shows(things: BodyReader) -> None:
    assert broken(things, b'{"name": "a", "name": "b"}')[1] == "has the key 'name' twice in one object"
    assert broken(things, b'{"name" "a"}')[1] == "is not valid JSON (line 1, column 9)"


def test_an_escaped_backslash_before_u0000_is_not_a_nul(things: BodyReader) -> None:
    assert read(things, b'{"name": "\\\\u0000"}').value == {"name": "\\u0000"}


def test_nesting_within_the_limit_passes(things: BodyReader) -> None:
    assert read(things, b'{"name": "a", "free": ' + b"[" * 150 + b"]" * 150 + b"}").value["name"] == "a"


def test_an_integer_beyond_64_bits_is_no_integer_and_never_an_error_of_ours(things: BodyReader) -> None:
    problem = refused(things, b'{"name": "a", "count": 123456789012345678901234567890}')
    assert problem.violations[0].path == ("body", "count")


def test_all_violations_are_told_at_once(things: BodyReader) -> None:
    problem = refused(things, b'{"count": "x", "other": 1}')
    assert {(v.path, v.rule) for v in problem.violations} == {
        (("body", "name"), "required"),
        (("body", "count"), "type"),
        (("body", "other"), "additionalProperties"),
    }


def test_half_a_million_violations_are_told_as_twenty_and_in_no_time(tmp_path: Path) -> None:
    schema = {"type": "array", "items": {"type": "string"}}
    body = reader({"application/json": {"schema": schema}}, tmp_path, limit=1 << 21)
    started = time.perf_counter()
    problem = refused(body, b"[" + b"1," * 500_000 + b"1]")
    assert time.perf_counter() - started < 1.5
    assert len(problem.violations) == 20


# --- whether there is a body, and of what type -----------------------------------------------------------


def test_an_empty_body_is_a_violation_where_one_is_required(things: BodyReader) -> None:
    assert broken(things, b"") == ("required", "is required")


def test_an_empty_body_is_absent_where_none_is_required(tmp_path: Path) -> None:
    body = reader({"application/json": {"schema": THING}}, tmp_path, required=False)
    for headers in (JSON, [], [(b"content-length", b"0")], [(b"content-type", b"text/css")]):
        payload = read(body, b"", headers)
        assert payload.absent
        assert payload.value is None


def test_an_operation_without_a_body_reads_none() -> None:
    async def never() -> Any:
        raise AssertionError

    body = Body.compile(None, Compiler({}), max_bytes=10, spool_dir="")
    assert asyncio.run(body.read([(b"content-length", b"999999")], never)).absent


@pytest.mark.parametrize(
    "header",
    [
        b"text/plain",
        b"application/jsonx",
        b"application/vnd.api+json",
        b"application",
        b"",
        b"; charset=utf-8",
        b"application/json; charset=utf-16",
        b"application/json; charset=latin-1",
        b"\xff\xfe",
        b"application/json, application/json",
    ],
)
def test_a_type_that_is_not_declared_is_unsupported(things: BodyReader, header: bytes) -> None:
    assert refused(things, b'{"name": "a"}', [(b"content-type", header)]).status == 415


def test_a_body_without_a_type_is_unsupported_even_where_only_json_could_be_meant(things: BodyReader) -> None:
    problem = refused(things, b'{"name": "a"}', [])
    assert problem.status == 415
    assert "application/json" in problem.message


def test_two_different_types_are_unsupported(things: BodyReader) -> None:
    headers = [*JSON, (b"content-type", b"text/plain")]
    assert refused(things, b'{"name": "a"}', headers).status == 415


@pytest.mark.parametrize(
    "header",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json;charset=utf-8",
        b'application/json; charset="UTF-8"',
        b"application/json; profile=x",
        b"application/json ;",
    ],
)
def test_case_and_parameters_of_a_type_do_not_matter(things: BodyReader, header: bytes) -> None:
    assert read(things, b'{"name": "a"}', [(b"content-type", header)]).media_type == "application/json"


def test_a_wrong_type_is_refused_before_the_body_is_waited_for(things: BodyReader) -> None:
    async def never() -> Any:
        raise AssertionError

    with pytest.raises(Problem) as caught:
        asyncio.run(things.read([(b"content-type", b"text/css"), (b"content-length", b"10")], never))
    assert caught.value.status == 415


def test_the_most_specific_declared_type_reads_the_body(tmp_path: Path) -> None:
    number, text = {"schema": {"type": "number"}}, {"schema": {"type": "string"}}
    body = reader({"application/*+json": number, "application/json": text, "text/*": text}, tmp_path)
    assert read(body, b"1", [(b"content-type", b"application/vnd.x+json")]).value == 1
    assert read(body, b'"a"').value == "a"
    assert read(body, b"hello", [(b"content-type", b"text/markdown")]).value == "hello"
    assert refused(body, b"1", [(b"content-type", b"image/png")]).status == 415


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate", b"identity, gzip"])
def test_a_compressed_body_is_unsupported(things: BodyReader, coding: bytes) -> None:
    assert refused(things, b'{"name": "a"}', [*JSON, (b"content-encoding", coding)]).status == 415


def test_the_identity_coding_is_none(things: BodyReader) -> None:
    assert read(things, b'{"name": "a"}', [*JSON, (b"content-encoding", b"Identity")]).value == {"name": "a"}


# --- size -------------------------------------------------------------------------------------------------


def test_a_declared_length_beyond_the_limit_is_refused_before_a_byte_is_read(tmp_path: Path) -> None:
    async def never() -> Any:
        raise AssertionError

    body = reader({"application/json": {"schema": {}}}, tmp_path, limit=100)
    with pytest.raises(Problem) as caught:
        asyncio.run(body.read([*JSON, (b"content-length", b"101")], never))
    assert caught.value.code == "too_large"
    assert caught.value.facts == {"max_bytes": 100}


def test_a_body_of_exactly_the_limit_passes(tmp_path: Path) -> None:
    body = reader({"application/json": {"schema": {}}}, tmp_path, limit=100)
    assert len(read(body, b'"' + b"a" * 98 + b'"').value) == 98


def test_a_chunked_body_is_counted_and_cut_off_at_the_limit(tmp_path: Path) -> None:
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b" " * 60, "more_body": True}

    body = reader({"application/json": {"schema": {}}}, tmp_path, limit=100)
    with pytest.raises(Problem) as caught:
        asyncio.run(body.read(JSON, endless))
    assert caught.value.code == "too_large"
    assert taken == 2


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"x", b"9" * 4000, b"+5", "٣".encode()])
def test_a_length_that_is_no_number_is_a_bad_request(things: BodyReader, length: bytes) -> None:
    assert refused(things, b"{}", [*JSON, (b"content-length", length)]).status == 400


def test_a_client_that_leaves_in_the_middle_is_not_an_error_of_the_request(things: BodyReader) -> None:
    for pieces in ([b'{"name'], []):
        with pytest.raises(Disconnected):
            asyncio.run(things.read(JSON, receive(*pieces, cut=True)))


# --- text and files ----------------------------------------------------------------------------------------


def test_text_is_utf8_without_nul_and_checked(tmp_path: Path) -> None:
    body = reader({"text/plain": {"schema": {"type": "string", "maxLength": 5}}}, tmp_path)
    plain = [(b"content-type", b"text/plain; charset=utf-8")]
    assert read(body, "grün".encode(), plain).value == "grün"
    assert refused(body, b"\xff", plain).violations[0].rule == "encoding"
    assert refused(body, b"a\0", plain).violations[0].rule == "nul"
    assert refused(body, b"123456", plain).violations[0].rule == "maxLength"
    assert refused(body, b"a", [(b"content-type", b"text/plain; charset=utf-16")]).status == 415


FILE = {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "maxLength": 60_000_000}}}
OCTETS = [(b"content-type", b"application/octet-stream")]


def test_a_small_file_stays_in_memory(tmp_path: Path) -> None:
    payload = read(reader(FILE, tmp_path), b"\0\xff", OCTETS)
    upload = payload.value
    assert isinstance(upload, Upload)
    assert upload.open().read() == b"\0\xff"
    assert (upload.size, upload.path, upload.name) == (2, None, "file")
    assert upload.sha256 == hashlib.sha256(b"\0\xff").hexdigest()
    assert payload.raw is None


def test_a_large_file_goes_to_disk_costs_little_memory_and_is_removed_on_close(tmp_path: Path) -> None:
    body = reader(FILE, tmp_path, limit=60_000_000)
    piece, count = bytes(64 * 1024), 800

    async def stream() -> Any:
        nonlocal count
        count -= 1
        return {"type": "http.request", "body": piece, "more_body": count > 0}

    async def go() -> Payload:
        return await body.read(OCTETS, stream)

    tracemalloc.start()
    payload = asyncio.run(go())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
    upload = payload.value
    assert upload.size == 800 * 64 * 1024
    assert Path(upload.path).stat().st_mode & 0o077 == 0
    with upload.open() as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == upload.sha256
    payload.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_spooled_file_is_handed_over_sealed(tmp_path: Path) -> None:
    payload = read(reader(FILE, tmp_path, limit=1_000_000), bytes(200_000), OCTETS)
    with payload.value.open() as source:
        assert (source.sealed_path, source.sealed_digest.hex()) == (payload.value.path, payload.value.sha256)
        assert source.tell() == 0
    payload.close()


def test_a_small_file_is_handed_over_as_bytes(tmp_path: Path) -> None:
    payload = read(reader(FILE, tmp_path, limit=1_000_000), b"small", OCTETS)
    assert not hasattr(payload.value.open(), "sealed_path")


@pytest.mark.parametrize("how", ["disconnect", "too_large", "cancel"])
def test_nothing_is_left_on_disk_of_a_file_that_never_arrived(tmp_path: Path, how: str) -> None:
    body = reader(FILE, tmp_path, limit=2_000_000 if how == "too_large" else 10_000_000)
    calls = 0

    async def stream() -> Any:
        nonlocal calls
        calls += 1
        if calls > 40:
            if how == "disconnect":
                return {"type": "http.disconnect"}
            if how == "cancel":
                raise asyncio.CancelledError
        return {"type": "http.request", "body": bytes(64 * 1024), "more_body": True}

    with pytest.raises((Disconnected, Problem, asyncio.CancelledError)):
        asyncio.run(body.read(OCTETS, stream))
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_file_beyond_its_schema_is_a_violation(tmp_path: Path) -> None:
    body = reader({"image/*": {"schema": {"type": "string", "format": "binary", "maxLength": 3}}}, tmp_path)
    problem = refused(body, b"1234", [(b"content-type", b"image/png")])
    assert problem.violations[0].rule == "maxLength"


def test_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "upload-old").write_bytes(b"x")
    (tmp_path / "other").write_bytes(b"x")
    assert sweep(str(tmp_path), older_than=-1) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert sweep(str(tmp_path / "absent")) == 0


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\a\\b.txt", "b.txt"),
        ("/etc/", "file"),
        ("..", "file"),
        ("", "file"),
        (None, "file"),
        ("a\0b\r\nc.txt", "abc.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        (" .hidden. ", "hidden"),
        ("e\u0301.txt", "é.txt"),
        ("x" * 400 + ".pdf", "x" * 251 + ".pdf"),
        ("\ud800a", "a"),
    ],
)
def test_a_file_name_is_made_fit_for_display(given: str | None, shown: str) -> None:
    assert display_name(given) == shown


# --- the fingerprint -----------------------------------------------------------------------------------------


def test_the_digest_tells_contents_and_types_apart(tmp_path: Path) -> None:
    body = reader({"application/json": {"schema": {}}, "text/plain": {"schema": {}}}, tmp_path)
    one, other = read(body, b"1"), read(body, b"2")
    assert one.digest() == read(body, b"1").digest()
    assert len({one.digest(), other.digest(), read(body, b"1", [(b"content-type", b"text/plain")]).digest()}) == 3
    assert json.loads(one.raw or b"") == 1
