"""Addresses of the pages that mails lead to. A token stands behind `#`: it reaches no server's log and no referrer."""

from __future__ import annotations

from typing import Literal

PageName = Literal["sign-in", "sign-up", "verify", "forgot", "reset", "invite", "claim"]
"""Signing in is also how a deletion is cancelled, so that there is no page for that."""

_base = "http://localhost:8080"


def configure(base: str) -> None:
    """Give this process the platform's public address."""
    global _base
    _base = base.rstrip("/")


def base() -> str:
    return _base


def page(name: PageName, surface: str, token: str | None = None) -> str:
    """The address of an account page, for people who use `surface`."""
    address = f"{_base}/account/{name}?surface={surface}"
    return address if token is None else f"{address}#{token}"
