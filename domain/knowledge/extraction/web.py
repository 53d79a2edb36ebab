"""HTML: the main text of a page in Markdown, and its blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin

from domain.knowledge.extraction.blocks import Block, Extracted, Gathering, Unreadable, tidy
from domain.knowledge.extraction.plain import decoded, markdown_blocks

MAX_LINKS = 2_000
SHORT = 600
"""Characters of main text below which a page's own marks of what is main are a better guide than its statistics."""
_SILENT = {"script", "style", "template", "noscript", "svg", "iframe", "object", "head", "canvas", "form", "button"}
_FURNITURE = {"nav", "footer", "aside", "menu"}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BREAKS = {
    "p",
    "div",
    "li",
    "tr",
    "section",
    "article",
    "blockquote",
    "pre",
    "dd",
    "dt",
    "table",
    "ul",
    "ol",
    "br",
    "hr",
}


@dataclass(slots=True)
class Page:
    """What a page says: its title, its main text in Markdown, where it leads and what it asks of robots."""

    title: str | None
    markdown: str
    links: list[str] = field(default_factory=list)
    robots: frozenset[str] = frozenset()


def html(path: Path) -> Extracted:
    read = page(decoded(path.read_bytes()))
    gathered = Gathering()
    gathered.extend(markdown_blocks(read.markdown))
    return Extracted(gathered.blocks, title=read.title)


def blocks_of(source: str) -> Iterator[Block]:
    yield from markdown_blocks(page(source).markdown)


def page(source: str, url: str | None = None) -> Page:
    """Raises `Unreadable`. `url` makes links absolute."""
    import lxml.html
    from lxml import etree

    cleaned = re.sub(r"^\s*<\?xml[^>]*\?>", "", source.replace("\x00", ""))
    if not cleaned.strip():
        return Page(None, "")
    try:
        parser = lxml.html.HTMLParser(huge_tree=False, remove_comments=True, remove_pis=True)
        root = lxml.html.document_fromstring(cleaned, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError, AssertionError):
        raise Unreadable("unreadable", "The HTML cannot be read.") from None
    found = root.find(".//title")
    title = tidy("".join(map(str, found.itertext())))[:300] if found is not None else ""
    whole = _everything(root)
    main = _main(cleaned)
    # The main text is a guess. Where it lost most of a page, the page without its scripts is the better answer.
    best = main if len(main) >= 0.25 * len(whole) or len(main) > 2_000 else whole
    if len(best) < SHORT and root.find(".//table") is None:  # which the other way keeps as tables
        best = _everything(_marked_main(root), furniture=False) or best
    robots: set[str] = set()
    for meta in root.iter("meta"):
        if (meta.get("name") or "").lower() == "robots":
            robots |= {word.strip().lower() for word in (meta.get("content") or "").split(",")}
    return Page(title or None, best, _links(root, url), robots=frozenset(robots))


def _main(source: str) -> str:
    import trafilatura

    try:
        said = trafilatura.extract(
            source, output_format="markdown", include_tables=True, include_comments=False, favor_recall=True
        )
    except (ValueError, TypeError, AttributeError, RecursionError, KeyError, IndexError):
        return ""  # a page that its heuristics stumble over is still read as a whole
    return said or ""


def _marked_main(root: Any) -> Any:
    """What the page itself says is main; the whole of it where it says nothing, or says so of several parts."""
    found = root.xpath("//main | //*[@role='main']") or root.xpath("//article")
    return found[0] if len(found) == 1 else root


def _everything(root: object, *, furniture: bool = True) -> str:
    """All words that a reader would see, headings marked; without `furniture` not those of menus, footers and asides.
    Without recursion: pages nest as deep as they like."""
    parts: list[str] = []
    stack: list[tuple[object, str]] = [(root, "in")]
    while stack:
        element, step = stack.pop()
        tag = getattr(element, "tag", None)
        if step == "tail":
            parts.append(getattr(element, "tail", None) or "")
            continue
        if step == "out":
            parts.append("\n\n")
            continue
        if not isinstance(tag, str) or tag in _SILENT or (not furniture and _is_furniture(element, tag)):
            continue
        if tag in _HEADINGS:
            words = tidy(element.text_content()).replace("\n", " ")  # type: ignore[attr-defined]
            parts.append(f"\n\n{'#' * _HEADINGS[tag]} {words}\n\n")
            continue
        breaks = tag in _BREAKS
        if breaks:
            parts.append("\n" if tag in ("br", "tr", "li") else "\n\n")
            stack.append((element, "out"))
        elif tag in ("td", "th"):
            parts.append(" ")
        parts.append(getattr(element, "text", None) or "")
        for child in reversed(element):  # type: ignore[call-overload]
            stack.append((child, "tail"))
            stack.append((child, "in"))
    return tidy("".join(parts))


def _is_furniture(element: Any, tag: str) -> bool:
    # The header of a page stands in its body; that of an article has the article's own heading.
    return tag in _FURNITURE or (
        tag == "header" and element.getparent() is not None and element.getparent().tag == "body"
    )


def _links(root: object, url: str | None) -> list[str]:
    if url is None:
        return []
    base = url
    found = root.find(".//base")  # type: ignore[attr-defined]
    if found is not None and found.get("href"):
        base = urljoin(url, found.get("href"))
    links: dict[str, None] = {}
    for anchor in root.iter("a"):  # type: ignore[attr-defined]
        reference = (anchor.get("href") or "").strip()
        if not reference or "nofollow" in (anchor.get("rel") or ""):
            continue
        try:
            address = urldefrag(urljoin(base, reference)).url
        except ValueError:
            continue
        if address.startswith(("http://", "https://")) and len(address) <= 2048:
            links.setdefault(address)
        if len(links) >= MAX_LINKS:
            break
    return list(links)
