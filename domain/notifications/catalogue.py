"""What mails there are, and the facts each of them takes. Their words stand in `templates/<language>.toml`.

Kinds of fact: `text` (one line; may come from a user, so it is tamed), `link` (an absolute http or https address),
`moment` (a `datetime`, or ISO 8601 text), `count` (a whole number).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

LANGUAGES = ("en", "de", "fr", "nl")
LONGEST_TEXT = 300
LONGEST_LINK = 2000

TEMPLATES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "verify_email": {"name": "text", "link": "link", "hours": "count"},
        "account_exists": {"name": "text", "sign_in_link": "link", "reset_link": "link"},
        "reset_password": {"name": "text", "link": "link", "minutes": "count"},
        "password_changed": {"name": "text", "when": "moment", "address": "text", "reset_link": "link"},
        "reset_sso": {"name": "text"},
        "account_locked": {"name": "text", "until": "moment"},
        "new_sign_in": {"name": "text", "when": "moment", "address": "text", "client": "text"},
        "invite": {"organisation": "text", "inviter": "text", "link": "link", "role": "text", "expires": "moment"},
        "member_invite": {
            "organisation": "text",
            "inviter": "text",
            "link": "link",
            "role": "text",
            "message": "text",
            "expires": "moment",
        },
        "waitlist_request": {"organisation": "text", "name": "text", "email": "text", "message": "text"},
        "waitlist_approved": {"organisation": "text", "sign_in_link": "link", "message": "text"},
        "signup_approved": {"link": "link", "expires": "moment"},
        "signup_rejected": {"reason": "text"},
        "waitlist_joined": {},
        "account_deletion": {"name": "text", "due": "moment", "cancel_link": "link"},
        "account_recovered": {"name": "text"},
        "api_key_created": {"name": "text", "key_name": "text", "prefix": "text"},
        "security_alert": {"name": "text", "what": "text"},
        "pending_claim": {"organisation": "text", "instance": "text", "link": "link"},
    }
)
"""Template name to its facts and their kinds. All facts are needed; a text may be empty or None."""


def checked(template: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a mail as JSON values. Raises ValueError, which names the fact and never its value."""
    kinds = TEMPLATES.get(template)
    if kinds is None:
        raise ValueError(f"there is no mail {template!r}: templates are {', '.join(TEMPLATES)}")
    if missing := sorted(kinds.keys() - facts.keys()):
        raise ValueError(f"mail {template!r} lacks the fact {', '.join(missing)}")
    if unknown := sorted(facts.keys() - kinds.keys()):
        raise ValueError(f"mail {template!r} has no fact {', '.join(unknown)}")
    return {name: _KINDS[kind](f"{template}.{name}", facts[name]) for name, kind in kinds.items()}


def language_of(wanted: str | None) -> str:
    """The language a mail is written in: `de-AT` is `de`; what is not spoken is `en`."""
    first = re.split(r"[-_]", (wanted or "").strip().lower(), maxsplit=1)[0]
    return first if first in LANGUAGES else LANGUAGES[0]


# Control characters, line and paragraph separators, and marks that turn the direction of what follows.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_INNER_DOT = re.compile(r"(?<=\w)\.(?=[^\W\d])")
_WORD_JOINER = "\u2060"


def _text(place: str, value: Any) -> str:
    """One line that no mail program makes a link of: names are typed by strangers, and mails go where they say.

    An invisible word joiner after a dot between letters, and none of `://`, is what keeps programs from seeing one.
    """
    if value is None:
        return ""
    if not isinstance(value, str | int):
        raise ValueError(f"{place} has to be a text")
    line = " ".join(_UNSEEN.sub(" ", str(value)).split())
    if len(line) > LONGEST_TEXT:
        line = line[: LONGEST_TEXT - 1].rstrip() + "\u2026"
    return _INNER_DOT.sub("." + _WORD_JOINER, line.replace("://", ": "))


def _link(place: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s\x00-\x20\"'<>\\^`{|}\x7f-\U0010ffff]+", value):
        raise ValueError(f"{place} has to be an absolute http or https address")
    if len(value) > LONGEST_LINK:
        raise ValueError(f"{place} is longer than {LONGEST_LINK} characters")
    return value


def _moment(place: str, value: Any) -> str:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{place} has to be a time in ISO 8601") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(f"{place} has to be a time with a timezone")
    return value.astimezone(UTC).isoformat(timespec="seconds")


def _count(place: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1_000_000:
        raise ValueError(f"{place} has to be a whole number")
    return value


_KINDS = {"text": _text, "link": _link, "moment": _moment, "count": _count}
