"""Word 97 to 2003 (.doc): the text by the piece table, as [MS-DOC] 2.4.1 describes it. Macros are never run."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from domain.knowledge.extraction.blocks import Block, Extracted, Gathering, Unreadable, tidy

_DAMAGED = "The Word document is damaged and cannot be opened."
_MOST = 64 << 20


def doc(path: Path) -> Extracted:
    import olefile

    try:
        with olefile.OleFileIO(path) as container:
            if container.exists("EncryptedPackage"):
                raise Unreadable("encrypted", "The document is protected by a password.")
            if not container.exists("WordDocument"):
                raise Unreadable("unreadable", "The file is not a Word document.")
            if container.exists("Macros") or container.exists("_VBA_PROJECT_CUR"):
                raise Unreadable("unreadable", "The document contains macros and is not opened. Save it without them.")
            if container.get_size("WordDocument") > _MOST:
                raise Unreadable("too_long", "The document is larger than can be taken in.")
            main = container.openstream("WordDocument").read()
            if len(main) < 0x1AA or main[:2] != b"\xec\xa5":
                raise Unreadable("unreadable", _DAMAGED)
            flags = struct.unpack_from("<H", main, 0x0A)[0]
            if flags & 0x0100:
                raise Unreadable("encrypted", "The document is protected by a password.")
            name = "1Table" if flags & 0x0200 else "0Table"
            if not container.exists(name):
                raise Unreadable("unreadable", _DAMAGED)
            table = container.openstream(name).read()
    except (OSError, ValueError, IndexError, TypeError, AttributeError, struct.error):
        raise Unreadable("unreadable", _DAMAGED) from None
    try:
        words = _pieces(main, table)
    except (struct.error, IndexError, ValueError):
        raise Unreadable("unreadable", _DAMAGED) from None
    gathered = Gathering()
    for part in re.split(r"[\r\x0c\x07]+", _fields(words)):
        if said := tidy(part.replace("\x0b", "\n").replace("\x1e", "-").replace("\x1f", "")):
            gathered.add(Block(said))
    return Extracted(gathered.blocks)


def _pieces(main: bytes, table: bytes) -> str:
    length = struct.unpack_from("<i", main, 0x4C)[0]  # ccpText: the body, without notes and headers
    start, size = struct.unpack_from("<II", main, 0x01A2)  # fcClx, lcbClx
    clx = table[start : start + size]
    at = 0
    while at < len(clx) and clx[at] == 1:  # Prc: formatting
        at += 3 + struct.unpack_from("<H", clx, at + 1)[0]
    if at >= len(clx) or clx[at] != 2:
        raise ValueError("no piece table")
    plc = clx[at + 5 : at + 5 + struct.unpack_from("<I", clx, at + 1)[0]]
    count = (len(plc) - 4) // 12
    positions = struct.unpack_from(f"<{count + 1}I", plc, 0)
    parts: list[str] = []
    for number in range(count):
        left, right = positions[number], min(positions[number + 1], length)
        if right <= left:
            continue
        where = struct.unpack_from("<I", plc, 4 * (count + 1) + 8 * number + 2)[0]
        if where & 0x40000000:
            offset = (where & 0x3FFFFFFF) // 2
            parts.append(main[offset : offset + right - left].decode("cp1252", "replace"))
        else:
            parts.append(main[where : where + 2 * (right - left)].decode("utf-16-le", "replace"))
    return "".join(parts)


def _fields(words: str) -> str:
    """Fields (links, page numbers) as a reader sees them: what stands between 0x13 and 0x14 is their instruction."""
    kept: list[str] = []
    hidden = 0
    open_fields: list[bool] = []
    for part in re.split("([\x13\x14\x15])", words):
        if part == "\x13":
            open_fields.append(True)
            hidden += 1
        elif part == "\x14" and open_fields and open_fields[-1]:
            open_fields[-1] = False
            hidden -= 1
        elif part == "\x15" and open_fields:
            hidden -= open_fields.pop()
        elif hidden == 0:
            kept.append(part)
    return "".join(kept)
