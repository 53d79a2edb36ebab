"""Calls to a service for meeting bots: JSON there and back, through the guarded client, faults told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from marshmallow import Schema, ValidationError

from domain.kernel import outgoing
from domain.kernel.errors import Unavailable
from domain.transcriptions.services import Declined, Gone

SECONDS = 15.0
MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Calls:
    base: str
    key: str = field(repr=False)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, fine: tuple[int, ...] = ()) -> Any:
        """The JSON that came back, None for an answer without any, or with a status in `fine`."""
        headers = {"Authorization": f"Token {self.key}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = outgoing.client().request(
            method,
            f"{self.base}/api/v1/{path}",
            headers=headers,
            content=None if body is None else orjson.dumps(dict(body)),
            seconds=SECONDS,
            max_bytes=MAX_BYTES,
        )
        if answer.status in fine:
            return None
        if answer.ok:
            return answer.json() if answer.content.strip() else None
        raise _fault(answer)


def _fault(answer: outgoing.Answer) -> Exception:
    """What the service said is not repeated: it may hold the key or the meeting's password."""
    if answer.status in (401, 402, 403):
        return Unavailable(
            "The meeting bot's service refuses this server's key (setting `meeting_bot_key`).", reason="key_refused"
        )
    if answer.status == 404:
        return Gone()
    if answer.status == 429 or answer.status >= 500:
        said = {name.lower(): value for name, value in answer.headers.items()}.get("retry-after", "")
        after = min(600, int(said)) if said.isdigit() else 30
        return Unavailable("The meeting bot's service is not available right now.", retry_after=max(1, after))
    if 400 <= answer.status < 500:
        return Declined()
    return outgoing.UpstreamFailed()


def read(schema: Schema, told: Any) -> dict[str, Any]:
    """What the service told, checked. Raises `UpstreamFailed`."""
    try:
        loaded: dict[str, Any] = schema.load(told)
    except (ValidationError, TypeError, AttributeError):
        raise outgoing.UpstreamFailed("The meeting bot's service did not answer as its protocol says.") from None
    return loaded
