"""The languages that the platform speaks: in its mails, and on its pages."""

from __future__ import annotations

import re

from domain.kernel.errors import Unprocessable
from domain.notifications import LANGUAGES

SPOKEN = LANGUAGES
DEFAULT = SPOKEN[0]
_TAG = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")


class UnknownLanguage(Unprocessable):
    reason = "unknown_language"


def check(tag: str) -> str:
    """The tag, if the platform speaks it: `de`, or `de-AT`. Raises `UnknownLanguage`."""
    if tag.partition("-")[0] not in SPOKEN:
        raise UnknownLanguage(f"The languages are {', '.join(SPOKEN)}.")
    return tag


def shown(tag: str | None) -> str:
    """A stored tag as language and country alone: `zh-Hans-CN` is `zh`."""
    found = _TAG.match(tag or DEFAULT)
    return found[0] if found is not None else DEFAULT
