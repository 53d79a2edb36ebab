"""The words of a question: as PostgreSQL's dictionaries see them, how rare they are, where they stand in a passage."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations

from sqlalchemy import text

from domain.kernel.context import Ctx

MOST = 16
"""Lexemes of a question that count; more make every passage fit a little."""

_MEANT = text(
    "SELECT word, tsvector_to_array(to_tsvector(CAST(:configuration AS regconfig), word)) AS lexemes "
    "FROM unnest(CAST(:words AS text[])) AS word"
)
_WORD = re.compile(r"\w+(?:['’\-]\w+)*")
SNIPPET = 320


_COMMON = text(
    "SELECT most_common_elems::text::text[], most_common_elem_freqs[1:array_length(most_common_elem_freqs, 1) - 3] "
    "FROM pg_stats WHERE schemaname = current_schema() AND tablename = :table AND attname = :column"
)
FRESH = 600.0
RARE = 0.0005
"""The share of passages that a lexeme is taken to be in when it is none of the common ones."""
SHARE = 0.03
"""Of all passages, at most so many are looked at because any of some lexemes is in them: the rarest ones."""
ALONE = 4
"""Of passages with a rare word, one in so many is taken to have a given other one of the question, too."""
ENOUGH = 200
"""Passages in reach that the first query is taken to match."""
WIDE = 3_000
"""Passages of all organisations that a query may be taken to match: each is read, and what of them is not in reach is
read for nothing."""
KNOWN = 20_000
"""Words of a configuration whose lexemes are kept: some 3 MiB."""
_known: dict[str, dict[str, Sequence[str]]] = {}
_common: dict[str, float] = {}
_common_at = -FRESH


@dataclass(frozen=True, slots=True)
class Words:
    """The lexemes of a question in one configuration, the rarest first."""

    configuration: str
    lexemes: tuple[str, ...]
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of passages that common lexemes are in."""

    @property
    def any(self) -> str:
        return " | ".join(self.quoted)

    @property
    def quoted(self) -> list[str]:
        """Each lexeme as a query."""
        return [_quoted(each) for each in self.lexemes]

    @property
    def rarest(self) -> tuple[str, ...]:
        """As many as keep the passages to look at few; one at least."""
        kept, share = self.lexemes[:1], self.shares.get(self.lexemes[0], RARE)
        for lexeme in self.lexemes[1:]:
            share += self.shares.get(lexeme, RARE)
            if share > SHARE:
                break
            kept += (lexeme,)
        return kept

    def steps(self, passages: int, of_all: int) -> list[str]:
        """Queries from narrow to wide, for so many passages in reach, of all that the index of words knows: several of
        the rarest words together, as many of them as `ENOUGH` in reach may have, then fewer; any of the rarest."""
        narrow = [each for each in self._together if each[0] * of_all <= WIDE] or self._together[:1]
        first = next((at for at, each in enumerate(narrow) if each[0] * passages >= ENOUGH), len(narrow) - 1)
        return [step for _, step in narrow[first:][:2]] + [" | ".join(map(_quoted, self.rarest))]

    @property
    def _together(self) -> list[tuple[float, str]]:
        """All four, any three, any two of the rarest words (five of them where it is less than all), each with the
        share of passages that is taken to match."""
        steps = []
        for size in range(min(len(self.lexemes), 4), 1, -1):
            found = list(combinations(self.lexemes[:5], size))
            share = sum(min(self.shares.get(lexeme, RARE) for lexeme in each) for each in found)
            query = " | ".join(f"({' & '.join(map(_quoted, each))})" for each in found)
            steps.append((share / ALONE ** (size - 1), query))
        return steps


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def of(ctx: Ctx, lexemes: Sequence[str], configuration: str) -> Words:
    """Of a question's lexemes those that count."""
    shares = _shares(ctx)
    ranked = sorted(lexemes, key=lambda each: (shares.get(each, RARE), -len(each), each))[:MOST]
    return Words(configuration, tuple(ranked), shares)


def _shares(ctx: Ctx) -> Mapping[str, float]:
    """How common lexemes are, from PostgreSQL's own statistics of the whole table."""
    global _common, _common_at
    if time.monotonic() - _common_at > FRESH:
        row = ctx.session.execute(_COMMON, {"table": "chunk", "column": "tsv"}).one_or_none()
        known = row is not None and row[0] is not None
        _common = dict(zip(row[0], map(float, row[1]), strict=False)) if known and row is not None else {}
        _common_at = time.monotonic()
    return _common


def marked(ctx: Ctx, words: Words, passages: Sequence[str]) -> list[list[tuple[int, int]]]:
    """Where words of the question stand in each passage, in characters: by PostgreSQL's own dictionaries, so that what
    was found by its stem is marked by its stem."""
    # In small letters there are fewer different words, where that keeps places as they are (not so of a Turkish İ).
    small = [each.lower() if len(each.lower()) == len(each) else each for each in passages]
    unique = {word for each in small for word in _WORD.findall(each) if len(word) <= 200}
    if not unique or not words.lexemes:
        return [[] for _ in passages]
    stems, looked_for = _stems(ctx, words.configuration, unique), set(words.lexemes)
    meant = {word for word in unique if not looked_for.isdisjoint(stems[word])}
    return [[found.span() for found in _WORD.finditer(each) if found[0] in meant] for each in small]


def _stems(ctx: Ctx, configuration: str, unique: Set[str]) -> Mapping[str, Sequence[str]]:
    """The lexemes of each word. Those of words that were met lately are known."""
    known = _known.setdefault(configuration, {})
    stems = {word: known[word] for word in unique if word in known}
    new = [word for word in unique if word not in stems]
    if new:
        rows = ctx.session.execute(_MEANT, {"configuration": configuration, "words": new})
        found: dict[str, Sequence[str]] = {row.word: row.lexemes for row in rows}
        if len(known) + len(found) > KNOWN:
            known.clear()
        known |= found
        stems |= found
    return stems


def snippet(passage: str, marks: Sequence[tuple[int, int]], most: int = SNIPPET) -> tuple[int, int]:
    """The stretch of at most `most` characters with most marks in it, cut at words."""
    if len(passage) <= most:
        return 0, len(passage)
    best, at = -1, 0
    for start, _ in marks or [(0, 0)]:
        count = sum(1 for left, right in marks if left >= start and right <= start + most - 40)
        if count > best:
            best, at = count, start
    begin = max(0, min(at - 40, len(passage) - most))
    if begin:
        blank = passage.find(" ", begin, begin + 40)
        begin = blank + 1 if blank >= 0 else begin
    end = min(len(passage), begin + most)
    if end < len(passage):
        blank = passage.rfind(" ", begin + most // 2, end)
        end = blank if blank > 0 else end
    return begin, end
