"""Starter as a client sees it: requests, and what a refusal has to look like."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from recipes.starter_identity import own_address
from recipes.world import PASSWORD, Person


@dataclass(frozen=True)
class Api:
    """The surface, as a client sees it."""

    url: str

    def __call__(
        self, method: str, path: str, body: Any = None, who: Person | str | None = None, **headers: str
    ) -> httpx.Response:
        token = who.token if isinstance(who, Person) else who
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        return httpx.request(method, f"{self.url}/starter/api/v1{path}", json=body, headers=given, timeout=30)

    def login(self, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
        return self("POST", "/auth/token", {"email": email, "password": password, **more})

    def refresh(self, token: str | None) -> httpx.Response:
        return self("POST", "/auth/refresh", {"refresh_token": token})

    def register(self, **changes: Any) -> httpx.Response:
        body = {
            "email": own_address(),
            "password": PASSWORD,
            "tenant_name": f"Analytics {uuid4().hex[:12]}",
            "accept_terms": True,
        }
        return self("POST", "/auth/register", body | changes)


def refused(reply: httpx.Response, status: int, code: str | None = None) -> Mapping[str, str]:
    """The details of a refusal, which has to be in the surface's envelope."""
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert body["success"] is False
    assert body["error"] == body["message"] == body["detail"]
    details: Mapping[str, str] = body["details"]
    if code is not None:
        assert details["code"] == code, body
    if status == 401:
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert details["WWW-Authenticate"] == reply.headers["www-authenticate"]
    if status in (423, 429):
        assert int(reply.headers["retry-after"]) > 0
        assert details["Retry-After"] == reply.headers["retry-after"]
    return details


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found
