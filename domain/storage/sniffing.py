"""Which media type bytes have. Names and claims are not looked at here.

A table of our own: the general libraries call every OLE file a Word document, every ZIP a `.docx`, and a text that
begins with "BM" a picture, and their answer changes with their version. What is stored must be judged the same way
every time.
"""

from __future__ import annotations

import codecs
import zipfile
from typing import BinaryIO

HEAD = 8192
"""Bytes looked at. Only containers (ZIP, OLE) are looked into further, at their directory."""

_OPENXML = "application/vnd.openxmlformats-officedocument."

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"fLaC\x00", "audio/flac"),
    (0, b"OggS\x00", "audio/ogg"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"wOFF\x00", "font/woff"),
    (0, b"wOF2\x00", "font/woff2"),
    (0, b"%!PS-", "application/postscript"),
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"\xca\xfe\xba\xbe", "application/java-vm"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\x00asm", "application/wasm"),
)
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"avif": "image/avif",
}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS = (
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("EncryptedPackage", "application/x-ole-storage"),
    ("__properties_version1.0", "application/vnd.ms-outlook"),
)
_OFFICE_FOLDERS = (
    ("word/", "wordprocessingml.document", "word"),
    ("xl/", "spreadsheetml.sheet", "excel.sheet"),
    ("ppt/", "presentationml.presentation", "powerpoint.presentation"),
)
DIRECTORY = 4 * 1024 * 1024
"""Largest ZIP directory that is read: a container that needs more is a ZIP and nothing finer."""


def sniff(source: BinaryIO, size: int) -> str | None:
    """The media type of `size` bytes in the seekable `source`; `text/plain` for any text, None for nothing known.

    Leaves the position anywhere. Reads at most `HEAD` bytes and, of a container, its directory.
    """
    source.seek(0)
    head = _exactly(source, min(HEAD, size))
    if head[:8] == _OLE:
        return _ole(source, head)
    if is_container(head):
        return _zip(source, size, head)
    return of_head(head, whole=size <= len(head))


def is_container(head: bytes) -> bool:
    """Whether the type is told by a directory further inside, so that the head alone does not do."""
    return head[:4] in (b"PK\x03\x04", b"PK\x05\x06") or head[:8] == _OLE


def of_head(head: bytes, *, whole: bool) -> str | None:
    """The same by the first bytes alone; `whole` if there are no more. Not for containers."""
    for at, signature, media_type in _SIGNATURES:
        if head.startswith(signature, at):
            return media_type
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head[:1024].lstrip(b"\xef\xbb\xbf\x00\r\n\t ").startswith(b"%PDF-"):
        return "application/pdf"  # readers allow for what some programs put before it
    if head[:3] == b"ID3" and len(head) > 4 and head[3] < 0x10:
        return "audio/mpeg"
    if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
        return "application/x-bzip2"
    if head[:2] == b"MZ" and (len(head) < 64 or b"\x00" in head[:64]):
        return "application/vnd.microsoft.portable-executable"
    if head[:2] == b"BM" and head[6:10] == b"\x00\x00\x00\x00":
        return "image/bmp"
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[2] & 0xF0 not in (0xF0, 0):
        return "audio/mpeg"  # a frame of layer III without tags before it
    return _text(head, whole)


def _text(head: bytes, whole: bool) -> str | None:
    """Text has no NUL and decodes: UTF-8, UTF-16 with a mark, or a single-byte encoding without control characters."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if head.startswith(mark):
            try:
                codecs.getincrementaldecoder(encoding)().decode(head[2:], final=whole)
            except UnicodeDecodeError:
                return None
            return "text/plain"
    if b"\x00" in head:
        return None
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head.removeprefix(codecs.BOM_UTF8), final=whole)
    except UnicodeDecodeError:
        text = head.decode("latin-1")
        if sum(character < " " and character not in "\t\n\r\f\x1b" for character in text) * 100 > len(text):
            return None
        if sum("\x80" <= character < "\xa0" for character in text) * 10 > len(text):
            return None
    start = text.lstrip()[:512].lower()
    if start.startswith(("#!/", "#! /")):
        return "text/x-script"
    if start.startswith(("<!doctype html", "<html")):
        return "text/html"
    if "<svg" in start and start.startswith(("<svg", "<?xml", "<!doctype svg", "<!--")):
        return "image/svg+xml"
    if start.startswith("<?xml"):
        return "text/html" if "<html" in start else "application/xml"
    return "text/plain"


def _ole(source: BinaryIO, head: bytes) -> str:
    """By the names in the beginning of the container's directory, wherever it lies; its streams are not read."""
    if len(head) < 512:
        return "application/x-ole-storage"
    sector = 1 << min(int.from_bytes(head[30:32], "little"), 12)
    source.seek((int.from_bytes(head[48:52], "little") + 1) * max(sector, 512))
    directory = _exactly(source, 4096)
    for name, media_type in _OLE_STREAMS:
        if name.encode("utf-16-le") + b"\x00\x00" in directory:
            return media_type
    return "application/x-ole-storage"


def _zip(source: BinaryIO, size: int, head: bytes) -> str:
    if head[:2] == b"PK" and head[26:30] == b"\x08\x00\x00\x00" and head[30:38] == b"mimetype":
        # OpenDocument and EPUB say it in their first, uncompressed entry
        said = head[38 : 38 + min(int.from_bytes(head[18:22], "little"), 128)].decode("latin-1")
        if said.startswith("application/vnd.oasis.opendocument.") or said == "application/epub+zip":
            return said
    names = _zip_names(source, size)
    if "[Content_Types].xml" in names:
        macros = any(name.endswith("vbaProject.bin") for name in names)
        for folder, kind, macro in _OFFICE_FOLDERS:
            if any(name.startswith(folder) for name in names):
                return f"application/vnd.ms-{macro}.macroenabled.12" if macros else _OPENXML + kind
    if "META-INF/MANIFEST.MF" in names:
        return "application/java-archive"
    return "application/zip"


def _zip_names(source: BinaryIO, size: int) -> set[str]:
    """The names in the directory. Empty for a broken ZIP or one with an outsized directory."""
    tail = min(size, 22 + 65_535)
    source.seek(size - tail)
    end = _exactly(source, tail)
    at = end.rfind(b"PK\x05\x06")
    if at < 0 or int.from_bytes(end[at + 12 : at + 16], "little") > DIRECTORY:
        return set()
    try:
        with zipfile.ZipFile(source) as container:
            return set(container.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, OverflowError, EOFError):
        return set()


def _exactly(source: BinaryIO, count: int) -> bytes:
    parts, left = [], count
    while left > 0 and (piece := source.read(left)):
        parts.append(piece)
        left -= len(piece)
    return b"".join(parts)
