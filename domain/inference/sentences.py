"""Text into sentences that can be quoted: offsets into the original, never a rewritten word. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LENGTH = 600
"""Characters of one sentence; a longer run of text is cut at a space."""

# An end is a stop followed by space and something that can begin a sentence, or a line break that stands for one.
_END = re.compile(
    r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9À-ÞА-ЯΑ-Ω])|(?<=[。！？])|\s*\n\s*\n\s*|"
    r"\n(?=\s*(?:[-*•#>]|\d+[.)])\s)|\n"
)
_ABBREVIATION = re.compile(
    r"^\s*\d{1,3}\.$|(?:^|[\s(])(?:e\.g|i\.e|etc|vs|cf|Dr|Mr|Mrs|Ms|Prof|St|No|Nr|Fig|Inc|"
    r"Ltd|Co|approx|ca|z\.B|bzw|[A-Z])\.$",
    re.MULTILINE,
)
_BULLET = re.compile(r"[-*•#>]+\s+|\d+[.)]\s+")
_WORD = re.compile(r"\w")
_ASKS = re.compile(
    r"^(?:who|whom|whose|what|which|when|where|why|how|can|could|should|shall|would|will|do|does|did|is|are|was|were|"
    r"has|have|may (?:we|i|they|he|she|you|it|our|the)|must (?:we|i|they|you)|please|tell|"
    r"show|explain|list|find|give|summari[sz]e|compare|check|verify|assess|plan|write|"
    r"draft|"
    r"describe|recommend|decide|help|analy[sz]e|review|investigate|diagnose|propose|create|define|confirm|validate|"
    r"schedule|prepare|organi[sz]e|add|remove|replace|rename|change|update|move|switch|"
    r"look up|rate|estimate|translate)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text == source[start:end]`."""

    start: int
    end: int
    text: str

    @property
    def asks(self) -> bool:
        """It puts a question or an order."""
        return self.text.rstrip("\"'”’)").endswith(("?", "？")) or _ASKS.match(self.text) is not None


def sentences(source: str, limit: int = 10_000) -> list[Sentence]:
    """The first `limit` sentences of `source`. Linear in its length."""
    found: list[Sentence] = []
    for start, end in _pieces(source):
        if len(found) >= limit:
            break
        found.append(Sentence(start, end, source[start:end]))
    return found


def _pieces(source: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _END.finditer(source):
        if match.start() < start or (
            "\n" not in match[0] and _ABBREVIATION.search(source, max(start, match.start() - 12), match.start())
        ):
            continue
        yield from _trimmed(source, start, match.start() + len(match[0]) - len(match[0].lstrip("\"'”’)]")))
        start = match.end()
    yield from _trimmed(source, start, len(source))


def _trimmed(source: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and source[start].isspace():
        start += 1
    if bullet := _BULLET.match(source, start, end):
        start = bullet.end()
    while end > start and source[end - 1].isspace():
        end -= 1
    while end - start > MAX_LENGTH:
        cut = source.rfind(" ", start + MAX_LENGTH // 2, start + MAX_LENGTH)
        cut = cut if cut > start else start + MAX_LENGTH
        yield start, cut
        start = cut + 1 if source[cut : cut + 1] == " " else cut
    if _WORD.search(source, start, end):
        yield start, end


def clean(text: str) -> tuple[str, int]:
    """`text` without what no store or reader can hold, and how many characters that cost.

    Control characters (but tab and line break) and lone surrogates go; CRLF becomes LF; bidirectional overrides, which
    make a text read as something it is not, go too.
    """
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    cleaned = _UNWANTED.sub("", unified)
    return cleaned, len(unified) - len(cleaned)


_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
