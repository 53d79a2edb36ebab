"""Which function reads which kind. `warm` loads what they need, so that children of a forking worker need not."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

from domain.knowledge.extraction import office, paged, plain, sheets, web, word97
from domain.knowledge.extraction.blocks import Extracted

READERS: Mapping[str, Callable[[Path], Extracted]] = {
    "pdf": paged.pdf,
    "docx": office.docx,
    "doc": word97.doc,
    "xlsx": sheets.workbook,
    "xls": sheets.workbook,
    "ods": sheets.workbook,
    "pptx": office.pptx,
    "odt": office.odt,
    "epub": office.epub,
    "rtf": plain.rich_text,
    "html": web.html,
    "md": plain.markdown,
    "csv": plain.table,
    "json": plain.json,
    "eml": plain.mail,
    "txt": plain.text,
}


def warm() -> None:
    """Import the libraries: about 0.7 s that each child would spend otherwise."""
    for name in ("pypdfium2", "docx", "pptx", "python_calamine", "trafilatura", "lxml.html", "olefile", "pypdf"):
        importlib.import_module(name)
