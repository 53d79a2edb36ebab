"""Spreadsheets, new and old: XLSX, XLS, ODS. Values as they were last calculated, a block a row, with its cells."""

from __future__ import annotations

from pathlib import Path

from domain.knowledge.extraction import office
from domain.knowledge.extraction.blocks import Block, Extracted, Gathering, Unreadable, tidy
from domain.knowledge.extraction.plain import rows

MAX_SHEETS = 500


def workbook(path: Path) -> Extracted:
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"PK":
        office.opened(path).close()
    elif head == b"\xd0\xcf\x11\xe0":
        _old(path)
    import python_calamine as calamine

    gathered = Gathering()
    try:
        book = calamine.load_workbook(str(path))
        names = book.sheet_names
        if len(names) > MAX_SHEETS:
            raise Unreadable("too_long", f"The workbook has {len(names)} sheets; {MAX_SHEETS} are the most.")
        for name in names:
            if book.sheets_metadata[names.index(name)].typ != calamine.SheetTypeEnum.WorkSheet:
                continue
            sheet = book.get_sheet_by_name(name)
            if sheet.start is None:
                continue
            first, left = sheet.start
            gathered.add(Block(tidy(name), "heading", 1, sheet=name))
            gathered.extend(rows(sheet.to_python(skip_empty_area=True), name, first + 1, left))
        book.close()
    except calamine.PasswordError:
        raise Unreadable("encrypted", "The workbook is protected by a password.") from None
    except (calamine.CalamineError, OSError, ValueError, KeyError) as wrong:
        if "password" in str(wrong).lower() or "encrypt" in str(wrong).lower():
            raise Unreadable("encrypted", "The workbook is protected by a password.") from None
        raise Unreadable("unreadable", "The workbook is damaged and cannot be opened.") from None
    if not any(block.kind == "row" for block in gathered.blocks):
        raise Unreadable("empty", "There is nothing in the workbook.")
    return Extracted(gathered.blocks)


def _old(path: Path) -> None:
    import olefile

    try:
        with olefile.OleFileIO(path) as container:
            if container.exists("EncryptedPackage"):
                raise Unreadable("encrypted", "The workbook is protected by a password.")
            if container.exists("_VBA_PROJECT_CUR"):
                raise Unreadable("unreadable", office.MACROS)
            if not (container.exists("Workbook") or container.exists("Book")):
                raise Unreadable("unreadable", "The file is not a workbook.")
    except (OSError, ValueError, IndexError, TypeError, AttributeError):
        raise Unreadable("unreadable", "The workbook is damaged and cannot be opened.") from None
