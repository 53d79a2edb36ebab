"""What holds for recordings and meetings. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

MEGABYTE = 1_000_000
MAX_BYTES = 500 * MEGABYTE
MAX_SECONDS = 6 * 3600
PIECE = 120.0
"""Seconds that are recognised at once: what a crash costs at most."""
MOST_SEGMENTS = 20_000
MOST_TEXT = 2_000_000
SEGMENT_TEXT = 10_000
AHEAD_DAYS = 30
LOBBY_SECONDS = 600
MEETING_SECONDS = 4 * 3600
UNANSWERED_SECONDS = 30
"""After this, a join whose answer was lost may be asked for again."""

FORMATS = {
    "audio/mpeg": "mp3",
    "audio/mp4": "mov",
    "video/mp4": "mov",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "video/webm": "matroska",
    "audio/flac": "flac",
}
"""Media types that are taken, by their bytes, and what the decoder calls them."""

RUNNING = ("scheduled", "joining", "waiting", "recording", "leaving")


class Span(Protocol):
    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


def settled(said: Sequence[Span], seconds: float, *, last: bool) -> tuple[int, float]:
    """How many of the things said in a piece of `seconds` stand, and up to where the piece is done.

    What reaches the end of a piece may have been cut off there: it is heard again at the beginning of the next one,
    unless this is the last piece or nothing else was said in it.
    """
    if last or not said:
        return len(said), seconds
    cut_off = said[-1].end > seconds - 1.0
    if not cut_off:
        return len(said), seconds
    if len(said) == 1:
        return 1, seconds
    done = max(said[-2].end, min(said[-1].start, seconds))
    # A piece that advances by hardly anything would go on for ever.
    return (len(said) - 1, done) if done > seconds / 4 else (len(said), seconds)


# --- meetings --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Meeting:
    platform: str
    name: str
    """The same for two links to one meeting."""

    @property
    def key(self) -> str:
        """A digest of the name: names are as long as addresses."""
        return sha256(self.name.encode()).hexdigest()


NAMES = {
    "google_meet": "Google Meet",
    "microsoft_teams": "Microsoft Teams",
    "zoom": "Zoom",
    "jitsi": "Jitsi",
    "nextcloud_talk": "Nextcloud Talk",
}


def meeting(url: str) -> Meeting | None:
    """Whose meeting an address is; None for that of no known service."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip(".").lower(), parts.port
    except ValueError:
        return None
    if parts.scheme != "https" or not host or parts.username is not None or port not in (None, 443):
        return None
    path = unquote(parts.path).rstrip("/")
    if host == "meet.google.com":
        code = re.fullmatch(r"/([a-z]{3}-?[a-z]{4}-?[a-z]{3})", path.lower())
        if code is not None:
            return Meeting("google_meet", f"google_meet:{code[1].replace('-', '')}")
        lookup = re.fullmatch(r"/lookup/([\w-]{1,200})", path)
        return None if lookup is None else Meeting("google_meet", f"google_meet:lookup:{lookup[1]}")
    if host in ("teams.microsoft.com", "teams.live.com", "teams.cloud.microsoft") or host.endswith(
        ".teams.microsoft.us"
    ):
        found = re.match(r"/(?:l/meetup-join|meet)/([^/]+)", path)
        return None if found is None else Meeting("microsoft_teams", f"microsoft_teams:{found[1].lower()}")
    if _of(host, "zoom.us") or _of(host, "zoom.com") or _of(host, "zoomgov.com"):
        found = re.fullmatch(r"/(?:j|w|s|my|wc(?:/join)?)/([\w.-]{1,100})(?:/join|/start)?", path)
        return None if found is None else Meeting("zoom", f"zoom:{found[1].lower()}")
    talk = re.fullmatch(r"(.*?)(?:/index\.php)?/call/([A-Za-z0-9]{4,64})", path)
    if talk is not None:
        return Meeting("nextcloud_talk", f"nextcloud_talk:{host}{talk[1]}:{talk[2]}")
    if (
        host in ("meet.jit.si", "8x8.vc", "beta.meet.jit.si") or _of(host, "jitsi.net") or "jitsi" in host.split(".")[0]
    ) and re.fullmatch(r"(?:/[\w.~%+-]{1,200}){1,3}", path):
        return Meeting("jitsi", f"jitsi:{host}{path.lower()}")
    return None


def _of(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def title_of(url: str, platform: str) -> str:
    """What a meeting is called that nobody has named."""
    said = dict(parse_qsl(urlsplit(url).query)).get("subject")
    return f"{NAMES[platform]}: {said}"[:300] if said else f"{NAMES[platform]} meeting"


def pause(state: str, misses: int) -> float:
    """Seconds until a bot is looked at again."""
    if misses:
        return min(300.0, float(10 << min(misses - 1, 6)))
    return 30.0 if state == "recording" else 10.0


def percent(state: str, position: float, duration: float | None, content: bool) -> float:
    """How much is done: recognition is nine tenths of it, the notes the rest."""
    if state == "completed":
        return 100.0
    if content:
        return 90.0
    if not duration or state == "recording":
        return 0.0
    return round(min(0.9, 0.9 * position / duration) * 100, 1)
