"""What tickets are like, and what of a mail its sender has written. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final

PRIORITIES: Final = ("low", "normal", "high", "urgent")
STATUSES: Final = ("open", "pending", "solved", "closed")
SUBJECT: Final = 998
ADDRESS: Final = 254
TEXT: Final = 200_000
WORDS: Final = 10
MOST_MESSAGES: Final = 100_000
"""Of one ticket."""


def message_key(message_id: str | None) -> str | None:
    """Two mails with the same key are the same mail; None for a mail without a `Message-ID`."""
    bare = "".join((message_id or "").split()).removeprefix("<").removesuffix(">")
    return hashlib.sha256(bare.encode("utf-8", "replace")).hexdigest() if bare else None


def plain(text: str) -> str:
    """Words and numbers alone, as a search looks at them: addresses, paths and marks fall into their words, and the
    longest mail into less than the megabyte that Postgres takes of a search vector."""
    return " ".join(re.findall(r"[^\W_]+", text))


def words(query: str) -> list[str]:
    """What a search looks for, word by word; parts that a sign joins (`e-mail`) stand beside each other."""
    return [word for each in query.split() if (word := plain(each))][:WORDS]


_QUOTED: Final = re.compile(r"^\s*>")
_ENDS: Final = re.compile(
    r"^\s*(?:-{2,}\s*$|_{5,}\s*$|-{3,} ?(?:original|ursprüngliche|oorspronkelijk|forwarded|weitergeleitete)\b.*|"
    r"(?:on|am|op|le)\b.{6,200}(?:wrote|schrieb|schreef|a écrit)\b.{0,120}:\s*$|"
    r"(?:(?:best|kind|warm|many) )?(?:regards|wishes|thanks)\b.{0,20}$|"
    r"(?:thanks|thank you|cheers|sincerely|yours \w+)[\s,.!]*$|"
    r"(?:mit )?(?:freundlichen?|besten?|vielen?|herzlichen?|liebe|viele|beste) (?:grüßen?|gruß|dank)\b.{0,20}$|"
    r"met vriendelijke groet(?:en)?\b.{0,20}$|(?:bien )?cordialement\b.{0,20}$)",
    re.IGNORECASE,
)
_GREETING: Final = re.compile(
    r"^\s*(?:(?:hello|hi|hey|hallo|moin|bonjour|beste|guten (?:tag|morgen|abend)|"
    r"good (?:morning|day|afternoon|evening)|goedemorgen|goedemiddag|goedendag)"
    r"(?:\s+(?:there|all|team|zusammen|everybody|everyone|support))?"
    r"|(?:dear|sehr geehrte[rs]?|liebe[rs]?|geachte)\s[^,\n]{1,60}(?=,))"
    r"(?:\s+(?!i\b)[\w.’'-]{1,30}){0,2}\s*[,!]\s*",
    re.IGNORECASE,
)


def own_words(text: str) -> str:
    """A mail without what it quotes, its greeting and its signature; the whole of it where nothing else is left."""
    kept: list[str] = []
    for line in text.split("\n"):
        if _QUOTED.match(line):
            continue
        if _ENDS.match(line) and any(each.strip() for each in kept):
            break
        kept.append(line)
    bare = _GREETING.sub("", "\n".join(kept).strip(), count=1).strip()
    return bare or text.strip()
