"""What a sign-in came from, so that people recognise their own: browser, system and device, and roughly where.

The place is looked up in a MaxMind database when the operator has set one (`geoip_database`); without it no place is
shown. Nothing is asked of a service on the net.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

_places: Any = None


def configure(database: Path | None) -> None:
    """Raises `ValueError` that names the setting when the file is not a MaxMind database."""
    global _places
    _places = None
    if database is not None:
        import maxminddb

        try:
            _places = maxminddb.open_database(str(database))
        except (OSError, maxminddb.InvalidDatabaseError) as wrong:
            raise ValueError(f"geoip_database: {wrong}") from None


@lru_cache(maxsize=1024)
def described(user_agent: str | None) -> dict[str, str | None]:
    """`{platform, browser, device}` of a `User-Agent`; None for what it does not say."""
    if not user_agent:
        return {"platform": None, "browser": None, "device": None}
    from ua_parser import parse  # its rules take megabytes: read at the first sign-in

    # The header is the caller's: longer ones than browsers send only cost time.
    found = parse(user_agent[:512])
    browser = found.user_agent
    return {
        "platform": None if found.os is None else found.os.family[:64],
        "browser": None if browser is None else " ".join(filter(None, (browser.family, browser.major)))[:64],
        "device": None if found.device is None else found.device.family[:64],
    }


def located(address: str | None) -> dict[str, str | None] | None:
    """`{city, region, country}` of an IP address, or None when it is not known."""
    if _places is None or address is None:
        return None
    try:
        found = _places.get(address)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    regions = found.get("subdivisions") or [{}]
    return {
        "city": _name(found.get("city")),
        "region": _name(regions[0]),
        "country": _name(found.get("country")),
    }


def _name(place: Any) -> str | None:
    names = place.get("names", {}) if isinstance(place, dict) else {}
    name = names.get("en") if isinstance(names, dict) else None
    return name[:128] if isinstance(name, str) else None
