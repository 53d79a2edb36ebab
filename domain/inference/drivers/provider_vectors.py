"""Vectors of a provider: whether its model answers, and how many numbers its vectors have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from domain.inference.chat import Passing, Refused
from domain.inference.drivers import addresses
from domain.inference.ports import Deadline
from domain.kernel import outgoing
from domain.kernel.errors import LimitExceeded

OPENAI = "https://api.openai.com/v1"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/openai"


def dimensions_of(given: Mapping[str, Any], deadline: Deadline) -> int:
    """Send one short text. `given`: provider, key, address, model. Raises `Refused`, `Passing`, `LimitExceeded`."""
    url, headers = _place(given)
    addresses.judge(url)
    answer = outgoing.client().post(
        url,
        headers=headers | {"Content-Type": "application/json"},
        content=json.dumps({"model": given["model"], "input": "ok"}).encode(),
        seconds=deadline.remaining(),
        max_bytes=1 << 20,
    )
    if answer.status == 401:
        raise Refused("The model's provider does not take the key.", reason="invalid_key")
    if answer.status == 403:
        raise Refused("The key has no access to the model.", reason="no_access")
    if answer.status == 404:
        raise Refused("The model's provider knows no such model.", reason="unknown_model")
    if answer.status == 429:
        raise LimitExceeded("The model's provider is limiting requests.", reason="quota_exceeded", retry_after=5)
    if not answer.ok:
        raise Passing if answer.status >= 500 else Refused(reason="refused")
    try:
        return len(answer.json()["data"][0]["embedding"])
    except (KeyError, IndexError, TypeError) as wrong:
        raise Passing from wrong


def _place(given: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    address = given["address"]
    if given["provider"] == "azure_openai":
        base = str(address["endpoint"]).rstrip("/")
        version = address.get("api_version") or "2024-10-21"
        return f"{base}/openai/deployments/{given['model']}/embeddings?api-version={version}", {"api-key": given["key"]}
    if given["provider"] == "vertex_ai":
        raise Refused("Embeddings of Vertex AI cannot be used with a key file here yet.", reason="no_access")
    base = GEMINI if given["provider"] == "gemini" else str(address.get("base_url") or OPENAI).rstrip("/")
    return f"{base}/embeddings", {"Authorization": f"Bearer {given['key']}"}
