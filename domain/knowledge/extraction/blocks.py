"""What reading a file gives: blocks of text in their order, each with its place. Stored compressed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

BlockKind = Literal["text", "heading", "row", "code"]
Code = Literal["unreadable", "encrypted", "empty", "too_long", "internal"]

MAX_CHARACTERS = 20_000_000
"""Text of one document: some 8,000 pages. What is longer is refused as `too_long`."""
SEPARATOR = "\n\n"
"""Between blocks in the full text, which offsets count in."""


class Unreadable(Exception):
    """Why a file cannot be read: `code` for machines, the message for the person who uploaded it."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message


@dataclass(slots=True)
class Block:
    """A paragraph, heading, table row or piece of code."""

    text: str
    kind: BlockKind = "text"
    level: int = 0
    """Of a heading, from 1."""
    page: int | None = None
    """From 1; a slide of a presentation counts as a page."""
    sheet: str | None = None
    cells: str | None = None
    """Such as `A5:D5`."""
    seconds: float | None = None
    """Where in a recording."""


@dataclass(slots=True)
class Extracted:
    """The text of a file. `page_count` is None where the format has no pages."""

    blocks: list[Block]
    page_count: int | None = None
    title: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def characters(self) -> int:
        return sum(len(block.text) for block in self.blocks)


_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
_SPACES = re.compile(r"[ \t\u00a0\u2000-\u200a\u202f\u3000]+")
_LINES = re.compile(r" *\n[ \n]*\n *| *\n *")


def tidy(text: str) -> str:
    """`text` without what no database or reader wants: control characters, lone surrogates, runs of blanks."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n").replace("\u00ad", "")
    text = _SPACES.sub(" ", _CONTROL.sub("", text))
    return _LINES.sub(lambda found: "\n\n" if found[0].count("\n") > 1 else "\n", text).strip()


def paragraphs(text: str, **place: Any) -> Iterator[Block]:
    """`text` cut at empty lines."""
    for part in tidy(text).split("\n\n"):
        if part.strip():
            yield Block(part.strip(), **place)


class Gathering:
    """Collects blocks and refuses more than `most` characters."""

    def __init__(self, most: int = MAX_CHARACTERS) -> None:
        self.blocks: list[Block] = []
        self._left = most

    def measure(self, characters: int) -> None:
        """Raises `Unreadable` (`too_long`) unless so many more fit."""
        if characters > self._left:
            raise Unreadable(
                "too_long", f"The document has more text than can be taken in ({MAX_CHARACTERS:,} characters)."
            )

    def add(self, block: Block) -> None:
        """Raises `Unreadable` (`too_long`)."""
        if not block.text:
            return
        self.measure(len(block.text) + len(SEPARATOR))
        self._left -= len(block.text) + len(SEPARATOR)
        self.blocks.append(block)

    def extend(self, blocks: Iterator[Block] | Sequence[Block]) -> None:
        for block in blocks:
            self.add(block)


_FIELDS = ("text", "kind", "level", "page", "sheet", "cells", "seconds")


def packed(blocks: Sequence[Block]) -> bytes:
    rows = [[getattr(block, name) for name in _FIELDS] for block in blocks]
    return zlib.compress(orjson.dumps(rows), 6)


def unpacked(content: bytes) -> list[Block]:
    return [Block(**dict(zip(_FIELDS, row, strict=True))) for row in orjson.loads(zlib.decompress(content))]
