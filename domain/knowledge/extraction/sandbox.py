"""Reading what a stranger sent: in a child process with limits on memory, time, files and output, never in this one.

Public: `read(path, kind)`, `read_page(source, url)`, `Limits`. Whatever the file does to its reader, the parent gets
text or an `Unreadable`.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import orjson

from domain.knowledge import languages
from domain.knowledge.extraction import plain, web
from domain.knowledge.extraction.blocks import Extracted, Unreadable, packed
from domain.knowledge.extraction.readers import READERS

MEMORY = "Reading the file takes more memory than it may have. It may be malformed; try to save it anew, or in parts."
TIME = "Reading the file takes longer than it may. It may be malformed; try to save it anew, or in parts."
DAMAGED = "The file is damaged and cannot be read."


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of memory beyond what the parent has, seconds of work, bytes of the compressed answer."""

    memory: int = 640 << 20
    seconds: float = 120.0
    answer: int = 48 << 20


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
    """What `task` answers in a child: JSON values and bytes. Raises `Unreadable`."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        _be_child(task, limits, theirs)
    os.close(theirs)
    try:
        answer, outcome = _collect(ours, limits, beat)
    finally:
        os.close(ours)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    if outcome == "late":
        raise Unreadable("too_long", TIME)
    if outcome == "flood":
        raise Unreadable("too_long", "The document has more text than can be taken in.")
    if len(answer) < 4:
        raise _death(status)
    return _understood(answer)


def _collect(pipe: int, limits: Limits, beat: Callable[[], None]) -> tuple[bytes, str]:
    end = time.monotonic() + limits.seconds
    parts: list[bytes] = []
    size = 0
    while (left := end - time.monotonic()) > 0:
        if not select.select([pipe], [], [], min(0.5, left))[0]:
            beat()
            continue
        piece = os.read(pipe, 1 << 20)
        if not piece:
            return b"".join(parts), "whole"
        size += len(piece)
        if size > limits.answer:
            return b"", "flood"
        parts.append(piece)
    return b"", "late"


def _death(status: int) -> Unreadable:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return Unreadable("too_long", TIME)
    # An allocation that fails in native code ends in abort() or a fault, as do bugs that a broken file finds.
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS):
        return Unreadable("unreadable", "The file is damaged, or reading it takes more memory than it may have.")
    return Unreadable("unreadable", DAMAGED)


def _understood(answer: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        length = struct.unpack_from("<I", answer)[0]
        head = orjson.loads(answer[4 : 4 + length])
    except (struct.error, orjson.JSONDecodeError):
        raise Unreadable("unreadable", DAMAGED) from None
    if "failure" in head:
        raise Unreadable(head["code"], head["failure"])
    return head, answer[4 + length :]


def _be_child(task: Callable[[], tuple[dict[str, Any], bytes]], limits: Limits, pipe: int) -> NoReturn:
    try:
        faulthandler.disable()  # a hostile file that kills its reader is no news for the parent's log
        _confine(limits)
        head, content = _attempt(task)
        said = orjson.dumps(head, default=list)
        _write(pipe, struct.pack("<I", len(said)) + said)
        _write(pipe, content)
    except BaseException:
        os._exit(1)  # nothing of the parent's code may run in the child
    os._exit(0)


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


def _write(pipe: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(pipe, view) :]


def _confine(limits: Limits) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    sys.setrecursionlimit(2_000)
    caps = [(resource.RLIMIT_CPU, int(limits.seconds) + 1), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it does not outlive a killed parent
        with open("/proc/self/statm") as statm:
            mapped = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        caps.append((resource.RLIMIT_AS, mapped + limits.memory))
    for what, most in caps:
        hard = resource.getrlimit(what)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (limit, limit))
