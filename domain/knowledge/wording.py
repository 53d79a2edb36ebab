"""The words of a question: as PostgreSQL's dictionaries see them, and where they stand in a passage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Words:
    """The lexemes of a question in one configuration."""

    configuration: str
    lexemes: tuple[str, ...]

    @property
    def any(self) -> str:
        return " | ".join(map(_quoted, self.lexemes))

    @property
    def steps(self) -> list[str]:
        """Queries from narrow to wide: all words, some of them together, any of them."""
        count = len(self.lexemes)
        steps = [" & ".join(map(_quoted, self.lexemes))]
        if 2 < count <= 10:
            together = max(2, count // 2) if count > 4 else 2
            steps.append(" | ".join("(" + " & ".join(map(_quoted, some)) + ")" for some in _some(self, together)))
        if count > 1:
            steps.append(self.any)
        return steps


def _some(words: Words, together: int) -> list[tuple[str, ...]]:
    return list(combinations(words.lexemes, together))[:300]


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def of(ctx: Ctx, question: str, configuration: str) -> Words:
    """The lexemes of `question`; where stop words are all it has, those, for they are then what is looked for."""
    found = ctx.session.execute(_LEXEMES, {"configuration": configuration, "question": question}).scalar_one()
    return Words(configuration, tuple(sorted(found, key=lambda each: (-len(each), each))[:MOST]))


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
