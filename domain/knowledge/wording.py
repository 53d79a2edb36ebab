"""The words of a question: as PostgreSQL's dictionaries see them, how rare they are, where they stand in a passage."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from sqlalchemy import text

from domain.kernel.context import Ctx

MOST = 16
"""Lexemes of a question that count; more make every passage fit a little."""

_LEXEMES = text("SELECT tsvector_to_array(to_tsvector(CAST(:configuration AS regconfig), :question))")
_MEANT = text(
    "SELECT word FROM unnest(CAST(:words AS text[])) AS word "
    "WHERE to_tsvector(CAST(:configuration AS regconfig), word) @@ CAST(:query AS tsquery)"
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

    @property
    def steps(self) -> list[str]:
        """Queries from narrow to wide: all words, some of them together, any of them."""
        steps = [" & ".join(self.quoted), *self._together]
        if len(self.lexemes) > 1:
            steps.append(" | ".join(map(_quoted, self.rarest)))
        return steps

    @property
    def _together(self) -> list[str]:
        """Pairs of the rarest words; of everyday words, which many passages have two of, more at once."""
        for size in range(2, min(len(self.lexemes), 5)):
            found = list(combinations(self.lexemes[:5], size))
            share = sum(min(self.shares.get(lexeme, RARE) for lexeme in each) for each in found)
            if share / ALONE ** (size - 1) <= SHARE or size == 4:
                return [" | ".join(f"({' & '.join(map(_quoted, each))})" for each in found)]
        return []


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def of(ctx: Ctx, question: str, configuration: str) -> Words:
    """The lexemes of `question`; where stop words are all it has, those, for they are then what is looked for."""
    found = ctx.session.execute(_LEXEMES, {"configuration": configuration, "question": question}).scalar_one()
    shares = _shares(ctx)
    ranked = sorted(found, key=lambda each: (shares.get(each, RARE), -len(each), each))[:MOST]
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
    places = [[(found.start(), found.end(), found[0].lower()) for found in _WORD.finditer(each)] for each in passages]
    unique = list(dict.fromkeys(word for each in places for _, _, word in each if len(word) <= 200))
    if not unique or not words.lexemes:
        return [[] for _ in passages]
    meant = set(
        ctx.session.execute(
            _MEANT, {"configuration": words.configuration, "words": unique, "query": words.any}
        ).scalars()
    )
    return [[(start, end) for start, end, word in each if word in meant] for each in places]


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
