"""What attacks on identity lean on: where things are, a client that follows nothing, a second API process."""

from __future__ import annotations

import base64
import dataclasses
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
ME = {"thallus": "/thallus/api/v1/auth/me", "starter": "/starter/api/v1/auth/me", "beeflow": "/beeflow/auth/user"}
"""Where each surface says who somebody is, for anybody who is signed in."""
SIGN_IN = {
    "thallus": "/thallus/api/v1/auth/login",
    "starter": "/starter/api/v1/auth/token",
    "beeflow": "/beeflow/auth/admin-login",
}
REFRESH = "/thallus/api/v1/auth/refresh"
KEYS = "/thallus/api/v1/auth/api-keys"
SETTINGS = "/starter/api/v1/tenants/settings"
WORKSPACE_KEYS = "/thalian/api/api-keys"
FINDINGS = "/thalian/api/mcp/findings"
ATTACKER = "https://attacker.example"
AT_ONCE = 1.0
"""Seconds within which a revocation is known to every process."""


@dataclasses.dataclass
class Caller:
    """An HTTP client of one API process that follows nothing and keeps no cookies."""

    url: str

    def __call__(self, method: str, path: str, **given: Any) -> httpx.Response:
        return httpx.request(method, f"{self.url}{path}", timeout=30, **given)

    def me(self, surface: str, token: str) -> httpx.Response:
        return self("GET", ME[surface], headers=bearer(token))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def welcome(reply: httpx.Response) -> bool:
    """Whether somebody came in, whatever became of the request then."""
    return reply.status_code not in (401, 403)


@contextmanager
def another_process(running: Any) -> Iterator[Caller]:
    """Another API process on the same servers, with the limits of a fresh installation, behind a proxy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "THALWEG_PUBLIC_URL": running.url,  # the issuer of the tokens
        "THALWEG_TRUSTED_PROXIES": "127.0.0.1",
        "THALWEG_FAILED_SIGN_INS_PER_ADDRESS": "8",
    }
    inherited = {name: value for name, value in running.environment.items() if name != "THALWEG_LIMITS"}
    folder = running.logs / "second"
    folder.mkdir(exist_ok=True)
    other = type(running)(
        f"http://127.0.0.1:{port}", running.database, running.redis_url, folder, {**inherited, **settings}
    )
    other.start("api", "serve", "--port", str(port))
    try:
        other.wait()
        yield Caller(other.url)
    finally:
        other.stop()


def address(number: int) -> str:
    return f"198.51.100.{number}"


def gone_soon(call: Caller, method: str, path: str, headers: Mapping[str, str], *statuses: int) -> None:
    """A process that has just let somebody in refuses whatever they ask from `AT_ONCE` on, however long it replies."""
    begun = time.monotonic()
    while True:
        asked = time.monotonic() - begun
        reply = call(method, path, headers=headers)
        if reply.status_code in (statuses or (401,)):
            return
        assert asked < AT_ONCE, f"{reply.status_code} to what was asked after {asked:.2f} s: {reply.text[:300]}"
        time.sleep(0.02)


def read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, body = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, body
