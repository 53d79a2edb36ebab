"""Logs of every process: structured, one JSON object a line, with nothing secret in it.

    configure(level="info", form="json")     # once, at the start of a process
    log = structlog.get_logger("thalweg.jobs")
    log.info("job.done", job=..., seconds=...)

What the standard library's loggers say (servers, drivers) goes the same way. Keys whose names say "secret" lose their
values, and texts lose what looks like a token or a password in a URL.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "[redacted]"

_SECRET_KEY = re.compile(
    r"(?i)(authori[sz]ation|cookie|passw(or)?d|passphrase|secret|credential|api[_-]?key|private[_-]?key|signature"
    r"|(^|[_-])(token|jwt|otp|pin)$|access[_-]?token|refresh[_-]?token)"
)
_SECRET_TEXT = re.compile(
    r"(?P<keep>(?i:\b(?:bearer|basic)\s+)|(?<=://)[^:@/\s]*:|(?i:\b(?:password|secret|token|api[_-]?key)\s*[=:]\s*))"
    r"(?:[^\s@,;\"'&]+)(?=@|\b|$)"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # a JWT
    r"|\b[a-z]{2,12}_(?:[a-z]{2,8}_)?(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{32,}"  # prefixed keys, ours and others'
    r"|\bsk-[A-Za-z0-9_-]{16,}"
    r"|\b(?=[A-Za-z]*\d)(?=[0-9a-z]*[A-Z])[A-Za-z0-9]{43}\b"  # 256 bits in base62
)
_DEEPEST = 6


def configure(level: str = "info", form: str = "json", stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's loggers to `stream` (default stderr), from `level` on.

    `form` is `json`, or `console` for people. May be called again.
    """
    out = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor]
    if form == "json":
        last = [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(serializer=_json)]
    else:
        last = [redact, structlog.dev.ConsoleRenderer(colors=out.isatty())]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for chatty in ("httpx", "httpcore", "opentelemetry", "asyncio", "rq"):
        logging.getLogger(chatty).setLevel(max(number, logging.WARNING))
    for server in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(server)
        logger.handlers.clear()
        logger.propagate = server != "uvicorn.access"  # the edge writes a better line


def redact(logger: WrappedLogger | None, method: str, event: EventDict) -> EventDict:
    """structlog processor: take secrets out of an event, wherever they lie in it."""
    for key, value in event.items():
        event[key] = _clean(key, value, 0)
    return event


def redacted_text(text: str) -> str:
    """`text` without what looks like a credential."""
    return _SECRET_TEXT.sub(lambda found: (found["keep"] or "") + HIDDEN, text)


def _clean(key: object, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(key, str) and _SECRET_KEY.search(key):
        return HIDDEN
    if isinstance(value, str):
        return redacted_text(value)
    if depth >= _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {name: _clean(name, item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(key, item, depth + 1) for item in value]
    return value


def _json(event: MutableMapping[str, Any], default: Any = None, **options: Any) -> str:
    """JSON whatever is in the event: a log line must not be what fails."""
    try:
        return orjson.dumps(event, default=_text, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return orjson.dumps({_sound(str(key)): _printable(value) for key, value in event.items()}).decode()


def _printable(value: Any) -> Any:
    """What JSON cannot hold (a lone surrogate, an integer past 64 bits) as a text that it can."""
    if isinstance(value, str):
        return _sound(value)
    try:
        return orjson.Fragment(orjson.dumps(value, default=_text, option=orjson.OPT_NON_STR_KEYS))
    except TypeError:
        return _sound(repr(value)[:2000])


def _sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _text(value: Any) -> str:
    return redacted_text(repr(value) if isinstance(value, bytes) else str(value))
