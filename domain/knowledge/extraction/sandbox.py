"""Reading what a stranger sent: in a child process with limits on memory, time, files and output, never in this one.

Public: `read(path, kind)`, `read_page(source, url)`, `Limits`. Whatever the file does to its reader, the parent gets
text or an `Unreadable`. A reader that was killed from outside says nothing of the file: that is `Unavailable`, and the
job is tried again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from domain.kernel.confine import forked
from domain.kernel.confine.forked import Limits
from domain.kernel.errors import Unavailable
from domain.knowledge import languages
from domain.knowledge.extraction import plain, web
from domain.knowledge.extraction.blocks import Code, Extracted, Unreadable, packed
from domain.knowledge.extraction.readers import READERS

__all__ = ["Limits", "Read", "read", "read_page"]

MEMORY = "Reading the file takes more memory than it may have. It may be malformed; try to save it anew, or in parts."
TIME = "Reading the file takes longer than it may. It may be malformed; try to save it anew, or in parts."
DAMAGED = "The file is damaged and cannot be read."

DEATHS: Mapping[str, tuple[Code, str]] = {
    "late": ("too_long", TIME),
    "flood": ("too_long", "The document has more text than can be taken in."),
    "fault": ("unreadable", "The file is damaged, or reading it takes more memory than it may have."),
    "ended": ("unreadable", DAMAGED),
}


@dataclass(frozen=True, slots=True)
class Read:
    """What a child answered. `content` are the packed blocks, which the parent stores without looking into them."""

    content: bytes
    characters: int
    page_count: int | None
    title: str | None
    language: str | None
    details: dict[str, Any]


def read(path: Path, kind: str, limits: Limits | None = None, beat: Callable[[], None] = lambda: None) -> Read:
    """The text of `path`. `beat` is called about twice a second, and may raise to end it.

    Raises `Unreadable`. Safe in a process with threads: the child starts none and takes no lock of theirs.
    """
    head, content = _confined(lambda: _text_of(READERS[kind](path)), limits or Limits(), beat)
    return Read(content=content, **head)


def read_page(source: bytes, url: str, limits: Limits | None = None) -> web.Page:
    """A page of the web. Raises `Unreadable`."""

    def task() -> tuple[dict[str, Any], bytes]:
        page = web.page(plain.decoded(source), url)
        return {name: getattr(page, name) for name in ("title", "links", "robots")}, page.markdown.encode()

    head, content = _confined(task, limits or Limits(seconds=20), lambda: None)
    return web.Page(head["title"], content.decode(), head["links"], frozenset(head["robots"]))


def _confined(
    task: Callable[[], tuple[dict[str, Any], bytes]], limits: Limits, beat: Callable[[], None]
) -> tuple[dict[str, Any], bytes]:
    """What `task` answers in a child: JSON values and bytes. Raises `Unreadable`; `Unavailable` when it was killed."""
    try:
        answer = forked.answer(lambda: _said(*_attempt(task)), limits, beat)
    except forked.Died as died:
        if died.how == "killed":
            raise Unavailable("The process that read the file was ended by SIGKILL.") from None
        raise Unreadable(*DEATHS[died.how]) from None
    return _understood(answer)


def _said(head: dict[str, Any], content: bytes) -> tuple[bytes, bytes, bytes]:
    told = orjson.dumps(head, default=list)
    return struct.pack("<I", len(told)), told, content


def _understood(answer: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        length = struct.unpack_from("<I", answer)[0]
        head = orjson.loads(answer[4 : 4 + length])
    except (struct.error, orjson.JSONDecodeError):
        raise Unreadable("unreadable", DAMAGED) from None
    if "failure" in head:
        raise Unreadable(head["code"], head["failure"])
    return head, answer[4 + length :]


def _attempt(task: Callable[[], tuple[dict[str, Any], bytes]]) -> tuple[dict[str, Any], bytes]:
    try:
        return task()
    except Unreadable as wrong:
        return {"code": wrong.code, "failure": wrong.message}, b""
    except MemoryError:
        return {"code": "too_long", "failure": MEMORY}, b""
    except RecursionError:
        return {"code": "unreadable", "failure": "The file is nested too deeply to be read."}, b""
    except Exception:
        return {"code": "unreadable", "failure": DAMAGED}, b""  # a reader stumbled over what no reader foresaw


def _text_of(extracted: Extracted) -> tuple[dict[str, Any], bytes]:
    if not any(block.text.strip() for block in extracted.blocks):
        raise Unreadable("empty", "There is no text in the file.")
    sample = " ".join(block.text[:400] for block in extracted.blocks[:400])
    head = {
        "characters": extracted.characters(),
        "page_count": extracted.page_count,
        "title": extracted.title,
        "language": languages.detect(sample),
        "details": extracted.details,
    }
    return head, packed(extracted.blocks)
