"""Word, PowerPoint, OpenDocument text and EPUB: ZIP containers of XML."""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from domain.knowledge.extraction.blocks import Block, Extracted, Gathering, Unreadable, tidy

MAX_UNPACKED = 256 << 20
MAX_MEMBERS = 20_000
MAX_RATIO = 200
"""Of a member of more than a megabyte. XML of real documents packs to a tenth; zeros pack to a thousandth."""
_BROKEN = (
    KeyError,
    ValueError,
    AttributeError,
    TypeError,
    IndexError,
    zipfile.BadZipFile,
    OSError,
    EOFError,
    zlib.error,
)
"""What libraries raise for a container that is one and whose parts are not."""
_ENCRYPTED = "The file is protected by a password. Upload it without the protection."
MACROS = "The file contains macros and is not opened. Save it without macros (as .docx, .xlsx or .pptx)."


def opened(path: Path) -> zipfile.ZipFile:
    """The container, after a look at its directory: bombs, encryption and macros are found before anything is unpacked.

    Raises `Unreadable`.
    """
    with path.open("rb") as file:
        if file.read(8) == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
            _say_what_ole(path)
    try:
        container = zipfile.ZipFile(path)
        members = container.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, OverflowError, EOFError, RuntimeError):
        raise Unreadable("unreadable", "The file is damaged or cut off: its container cannot be opened.") from None
    total = sum(member.file_size for member in members)
    bomb = any(m.file_size > 1 << 20 and m.file_size > MAX_RATIO * max(1, m.compress_size) for m in members)
    if len(members) > MAX_MEMBERS or total > MAX_UNPACKED or bomb:
        raise Unreadable("too_long", "The file unpacks to more than can be taken in.")
    if any(member.flag_bits & 0x1 for member in members):
        raise Unreadable("encrypted", _ENCRYPTED)
    if any(member.filename.lower().endswith("vbaproject.bin") for member in members):
        raise Unreadable("unreadable", MACROS)
    if len({member.filename for member in members}) != len(members):
        raise Unreadable("unreadable", "The file is malformed: its container holds the same part twice.")
    return container


def _say_what_ole(path: Path) -> None:
    import olefile

    try:
        with olefile.OleFileIO(path) as container:
            if container.exists("EncryptedPackage"):
                raise Unreadable("encrypted", _ENCRYPTED)
    except (OSError, ValueError, IndexError, TypeError):
        pass
    raise Unreadable("unreadable", "The file is not what its name says: it is of an older format, or damaged.")


def parsed(source: bytes) -> Any:
    """XML without entities, external parts or outsized trees. Raises `Unreadable`."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False)
    try:
        return etree.fromstring(source, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise Unreadable("unreadable", "The file is damaged: its content is not valid XML.") from None


def docx(path: Path) -> Extracted:
    import docx as library
    from docx.opc.exceptions import OpcError
    from docx.table import Table
    from docx.text.paragraph import Paragraph
    from lxml import etree

    opened(path).close()
    gathered = Gathering()
    page = 1
    try:
        document = library.Document(str(path))
        styles: dict[Any, int] = {}
        for item in document.iter_inner_content():
            if isinstance(item, Paragraph):
                style = item._p.style
                if style not in styles:
                    styles[style] = _level(item.style)
                words = tidy(item.text)
                if words:
                    level = styles[style]
                    gathered.add(Block(words, "heading" if level else "text", level, page=page))
                page += len(item.rendered_page_breaks)
            elif isinstance(item, Table):
                for row in _table_rows(item._tbl):
                    gathered.add(Block(row, "row", page=page))
        properties = document.core_properties
        title = tidy(properties.title or "")[:300] or None
    except (
        OpcError,
        KeyError,
        ValueError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        OSError,
        etree.XMLSyntaxError,
    ):
        raise Unreadable("unreadable", "The Word document is damaged and cannot be opened.") from None
    return Extracted(gathered.blocks, page if gathered.blocks else None, title)


def _level(style: Any) -> int:
    name = (getattr(style, "name", None) or "").lower()
    if name == "title":
        return 1
    found = re.fullmatch(r"(?:heading|überschrift|titre|título|kop|rubrik) (\d)", name)
    return int(found[1]) if found else 0


_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


def _table_rows(table: Any) -> Iterator[str]:
    """Rows straight from the XML: the library's cells cost a search each."""
    for row in table.iter(f"{_W}tr"):
        cells = ["".join(part.text or "" for part in cell.iter(f"{_W}t")) for cell in row.iter(f"{_W}tc")]
        said = tidy(" | ".join(tidy(cell).replace("\n", " ") for cell in cells if cell.strip()))
        if said:
            yield said


def pptx(path: Path) -> Extracted:
    import pptx as library
    from lxml import etree
    from pptx.exc import PythonPptxError

    opened(path).close()
    gathered = Gathering()
    count = 0
    try:
        presentation = library.Presentation(str(path))
        for count, slide in enumerate(presentation.slides, 1):
            title = slide.shapes.title
            if title is not None and title.has_text_frame and (words := tidy(title.text_frame.text)):
                gathered.add(Block(words.replace("\n", " "), "heading", 1, page=count))
            for shape in slide.shapes:
                if title is not None and shape.shape_id == title.shape_id:
                    continue
                if shape.has_text_frame and (words := tidy(shape.text_frame.text)):
                    gathered.add(Block(words, page=count))
                if getattr(shape, "has_table", False):
                    for row in shape.table.rows:
                        said = " | ".join(tidy(cell.text).replace("\n", " ") for cell in row.cells)
                        gathered.add(Block(tidy(said), "row", page=count))
            if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
                notes = tidy(slide.notes_slide.notes_text_frame.text)
                if notes:
                    gathered.add(Block(f"Notes: {notes}", page=count))
        title_ = tidy(presentation.core_properties.title or "")[:300] or None
    except (
        PythonPptxError,
        KeyError,
        ValueError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        OSError,
        etree.LxmlError,
    ):
        raise Unreadable("unreadable", "The presentation is damaged and cannot be opened.") from None
    return Extracted(gathered.blocks, count, title_)


_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"


def odt(path: Path) -> Extracted:
    with opened(path) as container:
        _not_encrypted(container)
        root = parsed(_member(container, "content.xml"))
    gathered = Gathering()
    page = 1
    for element in root.iter(f"{_TEXT}h", f"{_TEXT}p", f"{_TEXT}soft-page-break"):
        if element.tag == f"{_TEXT}soft-page-break":
            page += 1
            continue
        words = tidy(_odf_words(element))
        if not words:
            continue
        if element.tag == f"{_TEXT}h":
            said = element.get(f"{_TEXT}outline-level") or "1"
            gathered.add(Block(words.replace("\n", " "), "heading", int(said) if said.isdigit() else 1, page=page))
        else:
            gathered.add(Block(words, page=page))
    return Extracted(gathered.blocks, page if gathered.blocks else None)


def _odf_words(element: Any) -> str:
    parts: list[str] = []
    for event in element.iter():
        if event.tag == f"{_TEXT}s":
            parts.append(" ")
        elif event.tag in (f"{_TEXT}line-break", f"{_TEXT}tab"):
            parts.append("\n" if event.tag.endswith("break") else " ")
        elif isinstance(event.tag, str):
            parts.append(event.text or "")
        if event is not element:
            parts.append(event.tail or "")
    return "".join(parts)


def _not_encrypted(container: zipfile.ZipFile) -> None:
    if "META-INF/manifest.xml" in container.namelist() and b"encryption-data" in _member(
        container, "META-INF/manifest.xml"
    ):
        raise Unreadable("encrypted", _ENCRYPTED)


def _member(container: zipfile.ZipFile, name: str) -> bytes:
    try:
        return container.read(name)
    except (*_BROKEN, NotImplementedError, RuntimeError):
        raise Unreadable("unreadable", "The file is damaged: a part of it is missing or broken.") from None


def epub(path: Path) -> Extracted:
    """A book: its chapters in the order of its spine."""
    from domain.knowledge.extraction import web
    from domain.knowledge.extraction.plain import decoded, markdown_blocks

    with opened(path) as container:
        if "META-INF/encryption.xml" in container.namelist() and b"rights" in container.read("META-INF/encryption.xml"):
            raise Unreadable("encrypted", "The book is protected against copying.")
        root = parsed(_member(container, "META-INF/container.xml"))
        file = next((e.get("full-path") for e in root.iter("{*}rootfile") if e.get("full-path")), None)
        if file is None:
            raise Unreadable("unreadable", "The book is damaged: it does not say where its content is.")
        package = parsed(_member(container, file))
        items = {e.get("id"): e.get("href") for e in package.iter("{*}item") if e.get("href")}
        gathered = Gathering()
        for reference in package.iter("{*}itemref"):
            href = items.get(reference.get("idref"))
            if not href:
                continue
            name = posixpath.normpath(posixpath.join(posixpath.dirname(file), unquote(href)))
            if name in container.namelist():
                gathered.extend(markdown_blocks(web.page(decoded(_member(container, name))).markdown))
        title = next((tidy(e.text or "") for e in package.iter("{*}title") if e.text), None)
    return Extracted(gathered.blocks, title=(title or "")[:300] or None)
