"""Markdown of the contracts as HTML. Raw HTML in it stays text, and links lead where links may lead."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["beginning", "inline", "prose"]


@lru_cache(maxsize=1024)
def prose(text: str) -> Markup:
    """A text of several paragraphs. Its headings begin at level 3: those above are the page's own."""
    markdown = _markdown()
    tokens = markdown.parse(text)
    highest = min((int(token.tag[1]) for token in tokens if token.type == "heading_open"), default=3)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 3 - highest, 6)}"
    return Markup(markdown.renderer.render(tokens, markdown.options, {}))  # noqa: S704 - raw HTML is switched off


@lru_cache(maxsize=4096)
def inline(text: str) -> Markup:
    """A line: emphasis, code and links, no blocks."""
    return Markup(_markdown().renderInline(" ".join(text.split())))  # noqa: S704 - raw HTML is switched off


def beginning(text: str, most: int = 200) -> str:
    """The first paragraph of a description, cut after a sentence when it is longer than `most` characters."""
    found = next((p for p in text.strip().split("\n\n") if not p.lstrip().startswith(("#", "|", "-", "```"))), "")
    line = " ".join(found.split())
    if len(line) <= most:
        return line
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s)", line)]
    return line[: max((end for end in ends if end <= most), default=ends[0] if ends else len(line))]


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt  # with the first page: an API process that shows none does without

    return MarkdownIt("commonmark", {"html": False}).enable("table")
