"""PDF: pdfium reads it, pypdf is asked where pdfium cannot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domain.knowledge.extraction.blocks import Block, Extracted, Gathering, Unreadable, tidy

MAX_PAGES = 10_000
_PROTECTED = "The PDF is protected by a password. Upload it without the protection."
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u2010\ufffe\x02]\n(?=[a-zà-öø-ÿ])")


def pdf(path: Path) -> Extracted:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as wrong:
        if "password" in str(wrong).lower() or "security" in str(wrong).lower():
            raise Unreadable("encrypted", _PROTECTED) from None
        return _second(path)
    count = len(document)
    if count > MAX_PAGES:
        raise Unreadable("too_long", f"The PDF has {count:,} pages; {MAX_PAGES:,} are the most that can be taken in.")
    if count == 0:
        return _second(path)
    headings = _outline(document)
    gathered = Gathering()
    for number in range(count):
        try:
            page = document[number]
            words = page.get_textpage().get_text_bounded()
            page.close()
        except pypdfium2.PdfiumError:
            continue  # a damaged page does not cost the others
        _add(gathered, words, number + 1, headings.get(number, ()))
    said = document.get_metadata_dict()
    return _whole(gathered, count, said.get("Title"), {"author": said.get("Author")})


def _outline(document: Any) -> dict[int, list[tuple[int, str]]]:
    """Bookmarks by page. A loop or nonsense in them is no reason to lose the text."""
    headings: dict[int, list[tuple[int, str]]] = {}
    try:
        for number, bookmark in enumerate(document.get_toc(max_depth=6)):
            if number > 5_000:
                break
            target = bookmark.get_dest()
            page = None if target is None else target.get_index()
            title = tidy(bookmark.get_title() or "").replace("\n", " ")[:300]
            if page is not None and title:
                headings.setdefault(page, []).append((bookmark.level + 1, title))
    except Exception:
        return headings
    return headings


def _add(gathered: Gathering, words: str, page: int, headings: Sequence[tuple[int, str]] = ()) -> None:
    """The words of a page, cut where its headings stand in them; one that is not found stands before what follows."""
    text = tidy(_HYPHEN.sub("", words.replace("\r\n", "\n").replace("\r", "\n")))
    at = 0
    for level, title in headings:
        line = re.compile(r"^[\d.A-Z ]{0,12}" + r"\s+".join(map(re.escape, title.split())) + r"\s*$", re.M)
        found = line.search(text, at)
        if found is not None:
            _add_text(gathered, text[at : found.start()], page)
            at = found.end()
        gathered.add(Block(title, "heading", level, page=page))
    _add_text(gathered, text[at:], page)


def _add_text(gathered: Gathering, text: str, page: int) -> None:
    for part in text.split("\n\n"):
        if part.strip():
            gathered.add(Block(part.strip(), page=page))


def _second(path: Path) -> Extracted:
    import pypdf
    from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError

    gathered = Gathering()
    try:
        reader = pypdf.PdfReader(path, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("encrypted", _PROTECTED)
        count = len(reader.pages)
        if count > MAX_PAGES:
            raise Unreadable("too_long", f"The PDF has {count:,} pages; {MAX_PAGES:,} are the most.")
        for number in range(count):
            _add(gathered, reader.pages[number].extract_text() or "", number + 1)
    except (DependencyError, FileNotDecryptedError):
        raise Unreadable("encrypted", _PROTECTED) from None
    except Unreadable:
        raise
    except (PyPdfError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise Unreadable("unreadable", "The PDF is damaged or cut off, and cannot be opened.") from None
    if count == 0:
        raise Unreadable("unreadable", "The PDF is damaged: it has no pages.")
    return _whole(gathered, count, None, {})


def _whole(gathered: Gathering, count: int, title: str | None, details: dict[str, Any]) -> Extracted:
    if not any(block.kind != "heading" for block in gathered.blocks):
        raise Unreadable("empty", "The PDF has no text in it. It may be scanned: pictures of text are not read.")
    kept = {name: tidy(value)[:300] for name, value in details.items() if value and tidy(value)}
    return Extracted(gathered.blocks, count, tidy(title or "")[:300] or None, kept)
