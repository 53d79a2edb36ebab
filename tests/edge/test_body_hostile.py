"""Whatever comes over the wire, a body or a parameter ends as a value or as a `Problem`, and nothing stays on disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from thalweg.edge.body import Body, BodyReader, Upload
from thalweg.edge.parameters import Parameters
from thalweg.edge.problem import Problem
from thalweg.edge.schema import Compiler

EXAMPLES = os.environ.get("THALWEG_HOSTILE_EXAMPLES")
SETTINGS = settings(
    max_examples=int(EXAMPLES or 300),
    deadline=None,
    derandomize=EXAMPLES is None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
OPEN = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "o": {"type": "object"}, "f": {"type": "string", "format": "binary"}},
}
CONTENT = {
    "application/json": {"schema": {}},
    "application/*+json": {"schema": OPEN},
    "multipart/form-data": {"schema": OPEN},
    "application/x-www-form-urlencoded": {"schema": OPEN},
    "text/*": {"schema": {"type": "string"}},
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}
# pieces that parsers trip over, and plain noise
PIECES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            *(b"--b", b"--b\r\n", b"--b--", b"--b--\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"-", b"--", b"\0"),
            *(b'Content-Disposition: form-data; name="n"\r\n', b'Content-Disposition: form-data; name="f"; filename="'),
            *(b"Content-Type: application/json\r\n", b": ", b'"', b"\\", b"%", b"%00", b"%ff", b"&", b"=", b"+"),
            *(b"{", b"}", b"[", b"]", b'{"n":', b"1e999", b"-", b"NaN", b'"\\ud800"', b"\xff", b"\xef\xbb\xbf", b","),
        ]
    ),
)
BODIES = st.lists(PIECES, max_size=12)
TYPES = st.one_of(
    st.sampled_from(
        [
            *(b"application/json", b"application/x+json", b"multipart/form-data; boundary=b", b"text/plain"),
            *(b"application/x-www-form-urlencoded", b"application/octet-stream", b"multipart/form-data; boundary=\xff"),
        ]
    ),
    st.binary(max_size=30),
)


@pytest.fixture
def body(tmp_path: Path) -> BodyReader:
    declared = {"required": True, "content": CONTENT}
    return Body.compile(declared, Compiler({}), max_bytes=200, spool_dir=str(tmp_path / "spool"))


def outcome(act: Callable[[], Any]) -> tuple[Any, Problem | None]:
    try:
        return act(), None
    except Problem as problem:
        return None, problem


@SETTINGS
@given(BODIES, TYPES, st.booleans())
@example([b"--b\r\n", b'Content-Disposition: form-data; name="n"\r\n', b"\r\n", b"1", b"\r\n", b"--b--"], b"", True)
def test_any_bytes_under_any_type_end_as_a_value_or_a_problem(
    body: BodyReader, tmp_path: Path, pieces: list[bytes], kind: bytes, together: bool
) -> None:
    wire = [b"".join(pieces)] if together or not pieces else pieces
    left = list(wire)

    async def receive() -> Any:
        piece = left.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    payload, problem = outcome(lambda: asyncio.run(body.read([(b"content-type", kind)], receive)))
    if problem is not None:
        assert problem.status in (400, 413, 415)
        assert all(violation.path[0] == "body" for violation in problem.violations)
    else:
        assert payload.absent or payload.digest()
        assert all(isinstance(upload, Upload) for upload in payload.uploads)
        payload.close()
    assert not (tmp_path / "spool").exists() or not list((tmp_path / "spool").iterdir())


DECLARED = [
    {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
    {"name": "m", "in": "path", "required": True, "style": "matrix", "schema": {"type": "array", "items": {}}},
    {"name": "n", "in": "query", "schema": {"oneOf": [{"type": "number"}, {"type": "boolean"}], "nullable": True}},
    {"name": "a", "in": "query", "explode": False, "schema": {"type": "array", "items": {"type": "integer"}}},
    {"name": "d", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
    {"name": "j", "in": "query", "content": {"application/json": {"schema": {}}}},
    {"name": "when", "in": "query", "schema": {"type": "string", "format": "date-time"}},
    {"name": "X-H", "in": "header", "schema": {"type": "object"}},
    {"name": "c", "in": "cookie", "schema": {"type": "integer"}},
]
IDS = st.one_of(st.just("01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21"), st.text(max_size=40))
PARAMETERS = Parameters.compile(DECLARED, Compiler({}))
QUERY = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from([b"n=", b"a=", b"d[x]=", b"d[", b"]", b"j=", b"when=", b"&", b"=", b",", b"%", b"%ff", b"+"]),
        st.sampled_from([b"9" * 400, b"1e999", b"null", b"[" * 2000, b"2024-02-29T12:00:00Z", b"\0", b"%00", b"%2C"]),
    ),
    max_size=8,
).map(b"".join)


@SETTINGS
@given(IDS, st.text(max_size=20), QUERY, st.binary(max_size=40), st.binary(max_size=40))
@example("%", ";m=", b"a=%,%ff", b"\xff,", b"c=\xff")
def test_any_path_query_header_and_cookie_end_as_values_or_a_problem(
    id_: str, matrix: str, query: bytes, header: bytes, cookie: bytes
) -> None:
    headers = [(b"x-h", header), (b"cookie", cookie)]
    values, problem = outcome(lambda: PARAMETERS({"id": id_, "m": matrix}, query, headers))
    if problem is not None:
        assert problem.code == "validation"
        assert problem.violations
        assert all(v.path[0] in ("path", "query", "header", "cookie") for v in problem.violations)
    else:
        assert isinstance(values["id"], UUID)
        assert isinstance(values["m"], list)


def test_a_request_that_is_cancelled_while_a_thread_writes_leaves_nothing_on_disk(tmp_path: Path) -> None:
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    body = Body.compile({"content": content}, Compiler({}), max_bytes=1 << 30, spool_dir=str(tmp_path))

    async def receive() -> Any:
        return {"type": "http.request", "body": bytes(1 << 20), "more_body": True}

    async def go() -> None:
        for pause in (0.0005, 0.001, 0.002, 0.004, 0.008, 0.02, 0.05):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(pause):
                    await body.read([(b"content-type", b"application/octet-stream")], receive)

    asyncio.run(go())
    assert list(tmp_path.iterdir()) == []
