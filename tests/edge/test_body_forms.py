"""Form bodies: urlencoded pairs and multipart parts."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from thalweg.edge.body import Body, BodyReader, Payload
from thalweg.edge.problem import Disconnected, Problem
from thalweg.edge.schema import Compiler

BINARY = {"type": "string", "format": "binary", "maxLength": 60_000_000}
FORM = {
    "type": "object",
    "required": ["title"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "minLength": 1, "maxLength": 100},
        "count": {"type": "integer", "minimum": 1},
        "ready": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        "sizes": {"type": "array", "items": {"type": "integer"}},
        "meta": {"type": "object", "properties": {"a": {"type": "integer"}}},
        "notes": {"type": "array", "items": {"type": "object", "required": ["n"]}},
        "file": {**BINARY, "minLength": 1},
        "files": {"type": "array", "items": BINARY, "maxItems": 2},
        "image": BINARY,
        "either": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    },
}
BOUNDARY = b"frontier"
MULTIPART = [(b"content-type", b"multipart/form-data; boundary=frontier")]
URLENCODED = [(b"content-type", b"application/x-www-form-urlencoded")]


@pytest.fixture
def forms(tmp_path: Path) -> BodyReader:
    encoding = {
        "image": {"contentType": "image/png, image/jpeg"},
        "sizes": {"style": "pipeDelimited", "explode": False},
    }
    media = {"schema": FORM, "encoding": encoding}
    content = {"multipart/form-data": media, "application/x-www-form-urlencoded": media}
    body = {"required": True, "content": content}
    return Body.compile(body, Compiler({}), max_bytes=60_000_000, spool_dir=str(tmp_path / "spool"))


def part(name: str, data: bytes, *, filename: str | None = None, kind: str | None = None, extra: str = "") -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "") + extra
    head = f"Content-Disposition: {disposition}\r\n" + (f"Content-Type: {kind}\r\n" if kind else "")
    return b"--" + BOUNDARY + b"\r\n" + head.encode() + b"\r\n" + data + b"\r\n"


def whole(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def read(body: BodyReader, raw: bytes, headers: Any = MULTIPART, step: int | None = None) -> Payload:
    pieces = [raw] if step is None else [raw[i : i + step] for i in range(0, len(raw), step)]
    left = iter(pieces)
    count = len(pieces)

    async def receive() -> Any:
        nonlocal count
        count -= 1
        return {"type": "http.request", "body": next(left), "more_body": count > 0}

    return asyncio.run(body.read(headers, receive))


def refused(body: BodyReader, raw: bytes, headers: Any = MULTIPART) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(Problem) as caught:
        read(body, raw, headers)
    assert caught.value.status == 400
    return [(violation.path, violation.rule) for violation in caught.value.violations]


TITLE = part("title", b"Hello")


# --- multipart -------------------------------------------------------------------------------------------


def test_fields_are_typed_by_their_schemas(forms: BodyReader) -> None:
    raw = whole(
        part("title", "Grün".encode()),
        part("count", b"3"),
        part("ready", b"true"),
        part("tags", b"a"),
        part("tags", b"b"),
        part("meta", b'{"a": 1}', kind="application/json"),
        part("notes", b'{"n": 1}'),
        part("notes", b'{"n": 2}'),
        part("either", b"7"),
    )
    assert read(forms, raw).value == {
        "title": "Grün",
        "count": 3,
        "ready": True,
        "tags": ["a", "b"],
        "meta": {"a": 1},
        "notes": [{"n": 1}, {"n": 2}],
        "either": 7,
    }


def test_one_item_of_an_array_is_an_array(forms: BodyReader) -> None:
    assert read(forms, whole(TITLE, part("tags", b"a"))).value["tags"] == ["a"]
    assert read(forms, whole(TITLE, part("notes", b'[{"n": 1}, {"n": 2}]'))).value["notes"] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, None])
def test_parts_may_be_cut_anywhere_on_the_wire(forms: BodyReader, step: int | None) -> None:
    data = b"line\r\n--frontie\r\n--frontierX" + bytes(range(256))
    payload = read(forms, whole(TITLE, part("file", data, filename="a.bin", kind="image/png")), step=step)
    upload = payload.value["file"]
    assert upload.open().read() == data
    assert (upload.name, upload.media_type, upload.size) == ("a.bin", "image/png", len(data))
    assert upload.sha256 == hashlib.sha256(data).hexdigest()
    assert payload.uploads == (upload,)


def test_a_binary_property_is_a_file_even_without_a_file_name(forms: BodyReader) -> None:
    upload = read(forms, whole(TITLE, part("file", b"abc"))).value["file"]
    assert (upload.name, upload.media_type) == ("file", "application/octet-stream")


def test_a_text_property_stays_text_even_with_a_file_name(forms: BodyReader) -> None:
    assert read(forms, whole(part("title", b"Hello", filename="x.txt", kind="text/plain"))).value == {"title": "Hello"}


def test_a_large_upload_goes_to_disk_costs_little_memory_and_is_removed_on_close(
    forms: BodyReader, tmp_path: Path
) -> None:
    piece, count = bytes(64 * 1024), 800  # 50 MB
    head = TITLE + part("file", b"", filename="big.bin").removesuffix(b"\r\n")
    messages = iter([head] + [piece] * count + [b"\r\n--" + BOUNDARY + b"--\r\n"])
    last = count + 2

    async def receive() -> Any:
        nonlocal last
        last -= 1
        return {"type": "http.request", "body": next(messages), "more_body": last > 0}

    async def go() -> Payload:
        return await forms.read(MULTIPART, receive)

    tracemalloc.start()
    payload = asyncio.run(go())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
    assert payload.value["file"].size == 800 * 64 * 1024
    assert len(list((tmp_path / "spool").iterdir())) == 1
    payload.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_several_files_stay_in_order(forms: BodyReader, tmp_path: Path) -> None:
    big = bytes(200_000)
    payload = read(forms, whole(TITLE, part("files", big, filename="1"), part("files", b"x", filename="2")), step=65536)
    assert [(upload.name, upload.size) for upload in payload.value["files"]] == [("1", 200_000), ("2", 1)]
    payload.close()
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([part("count", b"3")], [(("body", "title"), "required")]),
        ([TITLE, part("count", b"x")], [(("body", "count"), "type")]),
        ([TITLE, part("count", b"0")], [(("body", "count"), "minimum")]),
        ([TITLE, part("count", b"9" * 5000)], [(("body", "count"), "type")]),
        ([TITLE, TITLE], [(("body", "title"), "type")]),
        ([TITLE, part("nope", b"1")], [(("body", "nope"), "additionalProperties")]),
        ([TITLE, part("nope", b"1", filename="x")], [(("body", "nope"), "additionalProperties")]),
        ([part("title", b"\xff")], [(("body", "title"), "encoding")]),
        ([part("title", b"a\0")], [(("body", "title"), "nul")]),
        ([part("title", b"a", kind="text/plain; charset=utf-16")], [(("body", "title"), "encoding")]),
        ([TITLE, part("meta", b"{")], [(("body", "meta"), "json")]),
        ([TITLE, part("meta", b'{"a":1,"a":2}')], [(("body", "meta"), "duplicate")]),
        ([TITLE, part("meta", b"[" * 100_000)], [(("body", "meta"), "depth")]),
        ([TITLE, part("meta", b'{"a": "x"}')], [(("body", "meta", "a"), "type")]),
        ([TITLE, part("file", b"", filename="x")], [(("body", "file"), "minLength")]),
        ([TITLE, part("image", b"x", filename="x", kind="text/html")], [(("body", "image"), "contentType")]),
        ([TITLE, *[part("files", b"x")] * 3], [(("body", "files"), "maxItems")]),
        ([TITLE, part("", b"x")], [(("body",), "multipart")]),
        ([TITLE, part("a\0", b"x")], [(("body",), "nul")]),
        ([part("title", b"x" * (1 << 20) + b"x")], [(("body",), "maxLength")]),
        ([TITLE] * 201, [(("body",), "maxProperties")]),
    ],
)
def test_a_wrong_form_is_a_violation(forms: BodyReader, tmp_path: Path, parts: list[bytes], expected: Any) -> None:
    assert refused(forms, whole(*parts)) == expected
    assert not (tmp_path / "spool").exists() or list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize(
    "raw",
    [
        TITLE,
        TITLE.removesuffix(b"o\r\n"),
        b"--frontier\r\n",
        b"--frontier\r\nContent-Disposition: form-data",
        b"garbage",
        b"--other\r\n\r\nx\r\n--other--\r\n",
        b"--frontier\r\n\r\nno headers\r\n--frontier--\r\n",
        b"--frontier\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\nContent-Disposition: form-data; filename=a\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\nContent-Disposition form-data\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\n" + b"X-A: b\r\n" * 50 + b"\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\nX-A: " + b"b" * 9000 + b"\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\n" + b"x" * 9000 + b": b\r\n\r\nx\r\n--frontier--\r\n",
        b'--frontier\r\nContent-Disposition: form-data; name="title"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--frontier--\r\n",
    ],
)
def test_a_body_that_is_no_multipart_is_a_violation(forms: BodyReader, raw: bytes) -> None:
    assert refused(forms, raw) == [(("body",), "multipart")]


@pytest.mark.parametrize("boundary", [b"", b"; boundary=", b'; boundary=""', b"; boundary=" + b"x" * 5000])
def test_a_missing_or_unusable_boundary_is_a_violation(forms: BodyReader, boundary: bytes) -> None:
    headers = [(b"content-type", b"multipart/form-data" + boundary)]
    assert refused(forms, whole(TITLE), headers) == [(("body",), "multipart")]


def test_a_client_that_leaves_in_the_middle_leaves_nothing_on_disk(forms: BodyReader, tmp_path: Path) -> None:
    messages = iter([TITLE + part("file", b"", filename="x").removesuffix(b"\r\n")] + [bytes(300_000)] * 5)

    async def receive() -> Any:
        body = next(messages, None)
        return (
            {"type": "http.disconnect"} if body is None else {"type": "http.request", "body": body, "more_body": True}
        )

    with pytest.raises(Disconnected):
        asyncio.run(forms.read(MULTIPART, receive))
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('; filename="a%22b.txt"', 'a"b.txt'),
        ('; filename="..\\\\..\\\\x.txt"', "x.txt"),
        ('; filename="../../x.txt"', "x.txt"),
        ("; filename=plain.txt", "plain.txt"),
        ("; filename*=UTF-8''gr%C3%BCn.txt", "grün.txt"),
        ("; filename*=iso-8859-1'en'gr%FCn.txt", "grün.txt"),
        ("; filename*=UTF-8''%ff", "file"),
        ("; filename*=nonsense", "file"),
        ("; filename=\"a.txt\"; filename*=UTF-8''b.txt", "a.txt"),  # RFC 7578, 4.2: filename* must not be used
    ],
)
def test_file_names_come_in_many_spellings(forms: BodyReader, disposition: str, name: str) -> None:
    payload = read(forms, whole(TITLE, part("file", b"x", extra=disposition)))
    assert payload.value["file"].name == name


def test_the_digest_of_a_form_does_not_depend_on_the_boundary_or_the_chunks(forms: BodyReader) -> None:
    raw = whole(TITLE, part("file", b"abc", filename="x"))
    other = raw.replace(b"frontier", b"elsewhere")
    one = read(forms, raw)
    again = read(forms, other, [(b"content-type", b"multipart/form-data; boundary=elsewhere")], step=5)
    assert one.digest() == again.digest()
    assert one.digest() != read(forms, raw.replace(b"abc", b"abd")).digest()
    assert one.digest() != read(forms, raw.replace(b'filename="x"', b'filename="y"')).digest()


# --- urlencoded ------------------------------------------------------------------------------------------


def test_urlencoded_fields_are_typed_by_their_schemas(forms: BodyReader) -> None:
    raw = b"title=a+b%26c&count=3&ready=false&tags=x&tags=y&sizes=1%7C2&meta=%7B%22a%22%3A1%7D&either=q"
    assert read(forms, raw, URLENCODED).value == {
        "title": "a b&c",
        "count": 3,
        "ready": False,
        "tags": ["x", "y"],
        "sizes": [1, 2],
        "meta": {"a": 1},
        "either": "q",
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"count=1", [(("body", "title"), "required")]),
        (b"title=a&title=b", [(("body", "title"), "type")]),
        (b"title=a&count=x", [(("body", "count"), "type")]),
        (b"title=a&count=1.0", [(("body", "count"), "type")]),
        (b"title=a&nope=1", [(("body", "nope"), "additionalProperties")]),
        (b"title=%00", [(("body",), "nul")]),
        (b"title=%ff", [(("body",), "encoding")]),
        (b"title=\xff", [(("body",), "encoding")]),
        (b"title=%ed%a0%80", [(("body",), "encoding")]),
        (b"title=a&meta=%7B", [(("body", "meta"), "type")]),
        (b"&".join([b"title=a"] * 1001), [(("body",), "maxProperties")]),
        (b"&&&", [(("body", "title"), "required")]),
        (b"=", [(("body", "title"), "required"), (("body", ""), "additionalProperties")]),
    ],
)
def test_a_wrong_urlencoded_form_is_a_violation(forms: BodyReader, raw: bytes, expected: Any) -> None:
    assert sorted(refused(forms, raw, URLENCODED)) == sorted(expected)


@pytest.mark.parametrize(
    ("name", "times", "says"),
    [
        ("file", 2, "must be one file, and 2 parts have this name"),
        ("count", 3, "must be sent once, and 3 parts have this name"),
    ],
)
def test_a_field_of_one_value_that_comes_several_times_is_said_to(
    forms: BodyReader, name: str, times: int, says: str
) -> None:
    filename = "a.txt" if name == "file" else None
    sent = [part(name, b"1", filename=filename) for _ in range(times)]
    assert refused(forms, whole(part("title", b"x"), *sent)) == [(("body", name), "type")]
    with pytest.raises(Problem) as caught:
        read(forms, whole(part("title", b"x"), *sent))
    assert [each.message for each in caught.value.violations] == [says]
