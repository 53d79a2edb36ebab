"""Tables as files: RFC 4180, UTF-8, written to disk while they are read, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from thalweg.edge.application import File

PIECE = 64 * 1024
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection)."""


def csv_file(name: str, columns: Sequence[str], lines: Iterable[Sequence[str | int | float | None]]) -> File:
    """A download with a header line. `lines` are read at once, in the caller's transaction, and held on disk."""
    kept = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed by whoever sends it
    try:
        text = io.TextIOWrapper(kept, encoding="utf-8", newline="", write_through=False)
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows([harmless(cell) for cell in line] for line in lines)
        text.flush()
        text.detach()
    except BaseException:
        kept.close()
        raise
    kept.seek(0)
    return File("text/csv", name=name, chunks=_pieces(kept))


def harmless(cell: str | int | float | None) -> str | int | float:
    """Text that begins like a formula gets an apostrophe in front; nothing becomes an empty cell."""
    if cell is None:
        return ""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _pieces(kept: BinaryIO) -> Iterator[bytes]:
    with kept:
        while piece := kept.read(PIECE):
            yield piece
