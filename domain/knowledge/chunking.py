"""Text into passages: whole sentences up to a size, never across a heading that begins something new. Pure.

The same blocks and sizes always give the same passages: a reading that was cut off goes on where it stopped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from domain.inference import count_tokens, sentences
from domain.knowledge.extraction.blocks import SEPARATOR, Block
from domain.knowledge.rules import Chunking

MAX_LENGTH = 20_000
"""Characters of a passage, whatever its size in tokens: the contracts' bound."""
MAX_PASSAGES = 200_000


@dataclass(frozen=True, slots=True)
class Passage:
    """`position` holds `start` and `end` in the extracted text, and what else the format knows of its place."""

    ordinal: int
    text: str
    heading: str | None
    page: int | None
    tokens: int
    position: dict[str, Any]

    @property
    def embedded(self) -> str:
        """What its vector is made of: a passage without its heading is often not to be understood."""
        if self.heading is None or self.heading in self.text:
            return self.text
        return f"{self.heading}\n{self.text}"


@dataclass(slots=True)
class _Piece:
    """A sentence, or a whole short block."""

    block: Block
    text: str
    start: int
    size: int
    gap: str
    """What joins it to the piece before it."""
    path: tuple[str, ...]
    """The headings it stands under; of a heading, with itself."""
    first: bool
    """It begins its block."""


def cut(blocks: Sequence[Block], chunking: Chunking) -> Iterator[Passage]:
    """The passages of a document, in its order."""
    waiting: list[_Piece] = []
    size = ordinal = fresh = 0
    for piece in _pieces(blocks, chunking):
        turns = piece.block.kind == "heading" and piece.first and size >= chunking.size // 4
        full = (
            size + piece.size + (chunking.unit == "characters") * len(piece.gap) > chunking.size
            or _length(waiting) + len(piece.text) + 2 > MAX_LENGTH
        )
        if fresh and (turns or full):
            loose = _loose(waiting)
            kept, rest = (waiting[:-loose], waiting[-loose:]) if 0 < loose < len(waiting) else (waiting, [])
            yield _passage(ordinal, kept, chunking)
            ordinal += 1
            waiting = rest if turns or rest else _overlap(kept, chunking.overlap, chunking.size - piece.size)
            size, fresh = sum(each.size for each in waiting), len(rest)
        waiting.append(piece)
        size += piece.size + (len(piece.gap) if chunking.unit == "characters" else 0)
        fresh += 1
    if fresh:
        yield _passage(ordinal, waiting, chunking)


def _length(pieces: Sequence[_Piece]) -> int:
    return sum(len(piece.text) + len(piece.gap) for piece in pieces)


def _loose(pieces: Sequence[_Piece]) -> int:
    """Headings at the end, which belong to what follows."""
    count = 0
    while count < len(pieces) and pieces[-1 - count].block.kind == "heading":
        count += 1
    return count


def _overlap(pieces: Sequence[_Piece], most: int, room: int) -> list[_Piece]:
    """The last pieces that fit into the overlap and leave room for what comes. Never all of them."""
    kept: list[_Piece] = []
    size = 0
    for piece in reversed(pieces[1:]):
        size += piece.size
        if size > min(most, room):
            break
        kept.insert(0, piece)
    return kept


def _passage(ordinal: int, pieces: Sequence[_Piece], chunking: Chunking) -> Passage:
    text = pieces[0].text + "".join(piece.gap + piece.text for piece in pieces[1:])
    first, last = pieces[0], pieces[-1]
    path = next((piece.path for piece in pieces if piece.block.kind != "heading"), first.path)
    position: dict[str, Any] = {"start": first.start, "end": last.start + len(last.text)}
    if path:
        position["headings"] = list(path)
    pages = [piece.block.page for piece in pieces if piece.block.page is not None]
    if pages:
        position |= {"page": pages[0], "last_page": pages[-1]}
    rows = [piece.block for piece in pieces if piece.block.cells]
    sheet = rows[0].sheet if rows else first.block.sheet
    if rows:
        position["cells"] = _range([str(row.cells) for row in rows if row.sheet == sheet])
    if sheet is not None:
        position["sheet"] = sheet
    if first.block.seconds is not None:
        position["seconds"] = first.block.seconds
    tokens = sum(piece.size for piece in pieces) if chunking.unit == "tokens" else count_tokens([text])[0]
    return Passage(ordinal, text, path[-1] if path else None, pages[0] if pages else None, tokens, position)


def _range(cells: Sequence[str]) -> str:
    """The smallest range that holds all of these: rows need not be equally long."""
    corners = [corner.groups() for each in cells for corner in _CELL.finditer(each)]
    columns = sorted((column for column, _ in corners), key=lambda column: (len(column), column))
    numbers = sorted(int(number) for _, number in corners)
    return f"{columns[0]}{numbers[0]}:{columns[-1]}{numbers[-1]}"


_CELL = re.compile("([A-Z]+)([0-9]+)")

BATCH = 256
"""Blocks that are measured together."""


def _pieces(blocks: Sequence[Block], chunking: Chunking) -> Iterator[_Piece]:
    measure = count_tokens if chunking.unit == "tokens" else _lengths
    at = 0
    path: list[Block] = []
    for number in range(0, len(blocks), BATCH):
        batch = blocks[number : number + BATCH]
        for block, size in zip(batch, measure([block.text for block in batch]), strict=True):
            if block.kind == "heading":
                path = [each for each in path if each.level < block.level] + [block]
            names = tuple(each.text[:300] for each in path[-6:])
            gap = "\n" if block.kind == "row" else SEPARATOR
            if size <= chunking.size and len(block.text) <= MAX_LENGTH:
                yield _Piece(block, block.text, at, size, gap, names, True)
            else:
                end: int | None = None
                for start, stop, part in _parts(block.text, chunking.size, measure):
                    between = gap if end is None else block.text[end:start]
                    yield _Piece(block, block.text[start:stop], at + start, part, between, names, end is None)
                    end = stop
            at += len(block.text) + len(SEPARATOR)


def _parts(text: str, most: int, measure: Callable[[Sequence[str]], list[int]]) -> Iterator[tuple[int, int, int]]:
    """Sentences (start, end, size) of a long block; a sentence beyond `most` is cut at blanks."""
    found = sentences(text, limit=len(text) + 1)
    for sentence, size in zip(found, measure([each.text for each in found]), strict=True):
        if size <= most:
            yield sentence.start, sentence.end, size
            continue
        step = max(1, len(sentence.text) * most // (size + 1) * 4 // 5)
        start = sentence.start
        while start < sentence.end:
            stop = min(start + step, sentence.end)
            blank = text.rfind(" ", start + step // 2, stop)
            if stop < sentence.end and blank > start:
                stop = blank
            yield start, stop, measure([text[start:stop]])[0]
            start = stop
            while start < sentence.end and text[start] == " ":
                start += 1


def _lengths(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]
