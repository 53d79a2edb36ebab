"""Which function reads which kind. `warm` loads what they need, so that children of a forking worker need not."""

from __future__ import annotations

import codecs
import contextlib
import importlib
from collections.abc import Callable, Collection, Mapping
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


_LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "pdf": ("pypdfium2", "pypdf", "pypdf.filters", "encodings.utf_16_le"),
    "docx": ("docx",),
    "doc": ("olefile",),
    "xlsx": ("python_calamine", "olefile"),
    "pptx": ("pptx",),
    "html": ("trafilatura", "lxml.html"),
}


def warm(kinds: Collection[str] = READERS.keys()) -> None:
    """Import the libraries that these kinds are read with: about 0.7 s that each child would spend otherwise.

    A child of a process with threads needs them loaded: of a module that another thread is just importing it would wait
    for the end for ever.
    """
    for kind in kinds:
        for name in _LIBRARIES.get(kind, ()):
            importlib.import_module(name)
    from charset_normalizer.constant import IANA_SUPPORTED  # among which an encoding is guessed

    for encoding in IANA_SUPPORTED:
        with contextlib.suppress(LookupError):  # one of another system
            codecs.lookup(encoding)
