"""What bytes are is told by the bytes; names and claims only choose among kinds of text."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from domain import storage
from domain.storage import rules, sniffing

OPENXML = "application/vnd.openxmlformats-officedocument."


def sniff(content: bytes) -> str | None:
    return storage.sniff(io.BytesIO(content), len(content))


def zipped(*names: str, first: tuple[str, bytes] | None = None) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as container:
        if first is not None:
            container.writestr(*first)
        for name in names:
            container.writestr(name, b"x")
    return made.getvalue()


def ole(*streams: str, at: int = 0) -> bytes:
    """A compound file whose directory is its sector `at`."""
    head = bytearray(512)
    head[:8] = bytes.fromhex("d0cf11e0a1b11ae1")
    head[30:32] = struct.pack("<H", 9)
    head[48:52] = struct.pack("<I", at)
    directory = b"".join(name.encode("utf-16-le").ljust(128, b"\x00") for name in ("Root Entry", *streams))
    return bytes(head) + b"\x00" * 512 * at + directory


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"%PDF-1.4\n", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"BM\x36\x00\x00\x00\x00\x00\x00\x00\x36\x00", "image/bmp"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
        (b"\x00\x00\x00\x18ftypM4A ", "audio/mp4"),
        (b"\x00\x00\x00\x14ftypqt  ", "video/quicktime"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b"\x1aE\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1fB\x82\x84webm", "video/webm"),
        (b"ID3\x03\x00\x00\x00\x00", "audio/mpeg"),
        (b"\xff\xfb\x90\x64" + b"\x00" * 20, "audio/mpeg"),
        (b"ID3 is how songs are named.", "text/plain"),
        (b"\xef\xbb\xbf\r\n%PDF-1.3\n", "application/pdf"),
        (b"BZh91AY&SY", "application/x-bzip2"),
        (b"BZh is short for something.", "text/plain"),
        (b"OggS\x00\x02", "audio/ogg"),
        (b"fLaC\x00\x00", "audio/flac"),
        (b"{\\rtf1\\ansi hello}", "application/rtf"),
        (b"\x1f\x8b\x08\x00", "application/gzip"),
        (b"\x7fELF\x02\x01\x01\x00", "application/x-elf"),
        (b"MZ\x90\x00\x03\x00", "application/vnd.microsoft.portable-executable"),
        (b"\xca\xfe\xba\xbe\x00\x00", "application/java-vm"),
        (b"#!/bin/sh\nrm -rf /\n", "text/x-script"),
        (b"<!DOCTYPE html><html></html>", "text/html"),
        (b"  <html>", "text/html"),
        (b'<?xml version="1.0"?><a/>', "application/xml"),
        (b'<?xml version="1.0"?><svg xmlns="x"/>', "image/svg+xml"),
        (b"<svg onload='alert(1)'>", "image/svg+xml"),
        (b"plain words\n", "text/plain"),
        ("größer\n".encode(), "text/plain"),
        ("größer\n".encode("latin-1"), "text/plain"),
        ("\ufeffwords".encode("utf-16"), "text/plain"),
        (b"", "text/plain"),
        (b"BM is a company\n", "text/plain"),
        (b"MZ is short for something, as everyone who reads on for a while will find out in the end.", "text/plain"),
        (b"\x00\x01\x02\x03", None),
        (bytes(range(256)), None),
        (zipped("a.txt"), "application/zip"),
        (zipped("[Content_Types].xml", "word/document.xml"), OPENXML + "wordprocessingml.document"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), OPENXML + "spreadsheetml.sheet"),
        (zipped("ppt/presentation.xml", "[Content_Types].xml"), OPENXML + "presentationml.presentation"),
        (
            zipped("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"),
            "application/vnd.ms-word.macroenabled.12",
        ),
        (zipped("META-INF/MANIFEST.MF", "A.class"), "application/java-archive"),
        (
            zipped("content.xml", first=("mimetype", b"application/vnd.oasis.opendocument.text")),
            "application/vnd.oasis.opendocument.text",
        ),
        (zipped("a", first=("mimetype", b"application/epub+zip")), "application/epub+zip"),
        (zipped("a", first=("mimetype", b"application/x-evil")), "application/zip"),
        (b"PK\x03\x04 and then nothing of a container", "application/zip"),
        (b"PK\x05\x06" + b"\x00" * 18, "application/zip"),
        (b"PK\x03\x04" + b"\xff" * 3000 + b"PK\x05\x06" + b"\xff" * 18, "application/zip"),
        (ole("WordDocument"), "application/msword"),
        (ole("Workbook"), "application/vnd.ms-excel"),
        (ole("PowerPoint Document"), "application/vnd.ms-powerpoint"),
        (ole("EncryptedPackage"), "application/x-ole-storage"),
        (ole("Workbook")[:60], "application/x-ole-storage"),
        (ole("Workbook")[:512], "application/x-ole-storage"),
        (ole("Workbook", at=40), "application/vnd.ms-excel"),
    ],
)
def test_bytes_say_what_they_are(content: bytes, media_type: str | None) -> None:
    assert sniff(content) == media_type


def test_text_that_is_cut_within_a_character_is_text() -> None:
    content = ("x" * (sniffing.HEAD - 1) + "ö" * 10).encode()
    assert sniff(content) == "text/plain"


def test_an_outsized_zip_directory_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    content = zipped("[Content_Types].xml", "word/document.xml")
    monkeypatch.setattr(sniffing, "DIRECTORY", 50)
    assert sniff(content) == "application/zip"


@pytest.mark.parametrize(
    ("found", "name", "claimed", "judged"),
    [
        ("text/plain", "a.csv", "text/plain", "text/csv"),
        ("text/plain", "a.MD", None, "text/markdown"),
        ("text/plain", "a", "text/csv", "text/csv"),
        ("text/plain", "a", "application/json; charset=utf-8", "application/json"),
        ("text/plain", "a.pdf", "application/pdf", "text/plain"),
        ("application/pdf", "a.txt", "text/plain", "application/pdf"),
        (None, "a.pdf", "application/pdf", "application/octet-stream"),
    ],
)
def test_name_and_claim_only_choose_among_kinds_of_text(
    found: str | None, name: str, claimed: str | None, judged: str
) -> None:
    assert rules.judged(found, name, claimed) == judged


@pytest.mark.parametrize(
    ("media_type", "claimed", "agree"),
    [
        ("application/pdf", "application/pdf", True),
        ("application/pdf", "application/x-pdf", True),
        ("application/pdf", None, True),
        ("application/pdf", "application/octet-stream", True),
        ("application/pdf", "no type at all", True),
        ("text/csv", "text/plain", True),
        ("text/plain", "application/json", True),
        ("text/plain", "text/x-python", True),
        ("text/plain", "application/pdf", False),
        ("application/x-elf", "application/pdf", False),
        ("text/x-script", "text/plain", False),
        ("text/x-script", "application/x-ndjson", False),
        ("text/x-script", "text/x-python", True),
        ("image/svg+xml", "application/xml", False),
        ("application/zip", OPENXML + "wordprocessingml.document", False),
        ("video/mp4", "audio/mp4", True),
        ("application/octet-stream", "application/pdf", False),
    ],
)
def test_what_may_pass_for_what(media_type: str, claimed: str | None, agree: bool) -> None:
    assert rules.agree(media_type, claimed) is agree


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Plan.pdf", "Plan.pdf"),
        (None, "file"),
        ("", "file"),
        ("..", "file"),
        ("a/b\\c.txt", "c.txt"),
        ("a\x00b\r\n.txt", "ab.txt"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("e\u0301.txt", "é.txt"),
        ("x" * 300 + ".docx", "x" * 251 + ".docx"),
        ("y" * 300, "y" * 256),
        ("\ud800.txt", ".txt"),
    ],
)
def test_a_name_is_made_fit_for_display(given: str | None, shown: str) -> None:
    assert storage.display_name(given) == shown
