"""The tools that come with the platform. Importing this module declares them; `domain.agents.tools.working` gives those
their working part that lean on other contexts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

from domain.agents.tools.calculator import calculate
from domain.agents.tools.registry import Found, Tool, ToolProblem, ToolResult, ToolRun, register
from domain.kernel import outgoing
from domain.kernel.errors import DomainError

PAGE_BYTES = 2 << 20
PAGE_TEXT = 20_000
HOPS = 4
"""Redirects that are followed; each is judged anew."""


def _object(required: tuple[str, ...] = (), **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


QUERY = {"type": "string", "minLength": 1, "maxLength": 1000, "description": "What to look for, in words."}


def current_time(run: ToolRun, given: Mapping[str, Any]) -> ToolResult:
    name = given.get("timezone") or run.timezone
    try:
        zone = ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ToolProblem("There is no such time zone; name it as in Europe/Paris.") from None
    moment = run.now.astimezone(zone)
    return ToolResult(
        f"It is {moment:%A, %d %B %Y, %H:%M} ({name}).",
        {"time": moment.isoformat(timespec="seconds"), "timezone": name},
    )


def fetch_page(run: ToolRun, given: Mapping[str, Any]) -> ToolResult:
    url = given["url"]
    for _ in range(HOPS):
        seconds = min(10.0, run.deadline.remaining())
        try:
            answer = outgoing.client().get(url, seconds=max(0.1, seconds), max_bytes=PAGE_BYTES)
        except DomainError as problem:
            raise ToolProblem(f"The page could not be read: {problem.message}") from None
        headers = {name.lower(): value for name, value in answer.headers.items()}
        if answer.status in (301, 302, 303, 307, 308) and "location" in headers:
            from urllib.parse import urljoin

            url = urljoin(url, headers["location"])
            continue
        break
    else:
        raise ToolProblem("The page could not be read: it redirects too often.")
    if not answer.ok:
        raise ToolProblem(f"The page could not be read: its server answered {answer.status}.")
    title, text = readable(answer.content, headers.get("content-type", ""))
    if not text:
        raise ToolProblem("The page holds no text that can be read.")
    return ToolResult(
        text[:PAGE_TEXT],
        {"url": url, "title": title, "characters": len(text)},
        (Found("web", title or url, text[:PAGE_TEXT], None, url, url=url),),
    )


def readable(content: bytes, media_type: str) -> tuple[str, str]:
    """Title and text of a page."""
    kind, _, rest = media_type.partition(";")
    kind = kind.strip().lower()
    found = re.search(r"charset=[\"']?([\w-]+)", rest, re.I)
    try:
        text = content.decode(found[1] if found else "utf-8", "replace")
    except LookupError:
        text = content.decode("utf-8", "replace")
    if kind in ("text/plain", "text/markdown", "application/json", "text/csv"):
        return "", text.strip()
    if kind not in ("text/html", "application/xhtml+xml", ""):
        raise ToolProblem("The page could not be read: it is neither HTML nor text.")
    parser = _Text()
    parser.feed(text)
    return " ".join(parser.title.split())[:500], re.sub(r"\n{3,}", "\n\n", parser.text()).strip()


class _Text(HTMLParser):
    """What a reader of the page sees; scripts, styles and navigation are left out."""

    _SILENT = frozenset({"script", "style", "noscript", "nav", "footer", "svg", "template", "iframe"})
    _BREAKS = frozenset({"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "td"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self._parts: list[str] = []
        self._silent = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in self._SILENT:
            self._silent += 1
        elif tag in self._BREAKS:
            self._parts.append("\n")
        self._in_title = self._in_title or tag == "title"

    def handle_endtag(self, tag: str) -> None:
        if tag in self._SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in self._BREAKS:
            self._parts.append("\n")
        if tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._silent:
            self._parts.append(data)

    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._parts).split("\n"))
        return "\n".join(line for line in lines if line)


register(
    Tool(
        "search_documents",
        "Search documents",
        "Searches the documents and knowledge bases that the person may see, and brings the passages that fit best.",
        _object(("query",), query=QUERY, limit={"type": "integer", "minimum": 1, "maximum": 20}),
        category="documents",
    )
)
register(
    Tool(
        "search_memory",
        "Search memory",
        "Looks up what is remembered about the person: what happened, preferences, facts, patterns.",
        _object(("query",), query=QUERY, limit={"type": "integer", "minimum": 1, "maximum": 20}),
        category="memory",
    )
)
register(
    Tool(
        "query_data",
        "Query data",
        "Asks connected databases and uploaded tables with a read-only SQL query.",
        _object(
            ("sql",),
            sql={"type": "string", "minLength": 1, "maxLength": 20_000},
            connection_id={"type": "string", "format": "uuid"},
        ),
        permission="data:read",
        category="data",
        seconds=60.0,
    )
)
register(
    Tool(
        "calculator",
        "Calculator",
        "Evaluates an arithmetic expression exactly: + - * / % ^ and functions such as sqrt and round.",
        _object(("expression",), expression={"type": "string", "minLength": 1, "maxLength": 500}),
        seconds=5.0,
        reads=calculate,
    )
)
register(
    Tool(
        "current_time",
        "Current time",
        "Tells date and time, in the person's time zone or a named one.",
        _object((), timezone={"type": "string", "minLength": 1, "maxLength": 64}),
        seconds=5.0,
        reads=current_time,
    )
)
register(
    Tool(
        "fetch_page",
        "Read a web page",
        "Reads a public web page by its address.",
        _object(("url",), url={"type": "string", "format": "uri", "pattern": "^https?://", "maxLength": 2048}),
        category="web",
        seconds=20.0,
        reads=fetch_page,
    )
)
register(
    Tool(
        "create_ticket",
        "Create a ticket",
        "Opens a support ticket.",
        _object(
            ("title", "description"),
            title={"type": "string", "minLength": 1, "maxLength": 255},
            description={"type": "string", "minLength": 1, "maxLength": 10_000},
            priority={"type": "string", "enum": ["low", "medium", "high", "urgent"]},
            finding_id={"type": "string", "format": "uuid"},
        ),
        effect="write",
        category="support",
    )
)
