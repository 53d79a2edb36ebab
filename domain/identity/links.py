"""Addresses of the pages that mails lead to. A token stands behind `#`: it reaches no server's log and no referrer."""

from __future__ import annotations

_base = "http://localhost:8080"


def configure(base: str) -> None:
    """Give this process the platform's public address."""
    global _base
    _base = base.rstrip("/")


def base() -> str:
    return _base


def page(name: str, surface: str, token: str | None = None) -> str:
    """A page of the account pages: `verify`, `reset`, `sign-in`, `invite`, `keep`, `claim`."""
    address = f"{_base}/account/{name}?surface={surface}"
    return address if token is None else f"{address}#{token}"
