"""A service outside that takes a key of this server's and speaks JSON: its calls, through the guarded client
(`outgoing`), and its faults told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from marshmallow import Schema, ValidationError

from domain.kernel import outgoing
from domain.kernel.errors import DomainError, Unavailable

JSON = "application/json"
AGAIN, LATEST = 30, 600
"""Seconds after which to ask again: where the service does not say, and at the latest."""


def not_found(answer: outgoing.Answer) -> bool:
    """What most paths mean by `gone`."""
    return answer.status == 404


@dataclass(frozen=True, slots=True)
class Service:
    """`base`: the address, without a slash at the end; `authorization`: what the header says; `name` begins sentences;
    `setting`: where the key comes from. Nothing that the service says is repeated: it may hold the key, or what it was
    asked with."""

    base: str
    authorization: str = field(repr=False)
    name: str
    setting: str
    gone: type[DomainError]
    """Raised for what the service does not have (any more)."""
    declined: type[DomainError]
    """Raised for what it understood and will not do: a repeat would end the same way."""
    seconds: float
    max_bytes: int

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        kind: str = JSON,
        seconds: float | None = None,
        fine: tuple[int, ...] = (),
        gone: Callable[[outgoing.Answer], bool] = not_found,
        effect: bool = False,
    ) -> Any:
        """The JSON that came back; None for an answer without any, or with a status in `fine`. `body`: JSON, or bytes
        of media type `kind`. `effect`: the call does something that is not to be done twice; a server that fails at it
        may have done it, which `Unavailable` would deny.

        Raises `gone`, `declined`, `Unavailable` (fact `retry_after`, or reason `key_refused`), `UpstreamFailed`.
        """
        headers = {"Authorization": self.authorization, "Accept": JSON}
        if body is not None:
            headers["Content-Type"] = kind
        answer = outgoing.client().request(
            method,
            f"{self.base}/{path}",
            headers=headers,
            content=body if body is None or isinstance(body, bytes) else orjson.dumps(dict(body)),
            seconds=seconds or self.seconds,
            max_bytes=self.max_bytes,
        )
        if answer.status in fine:
            return None
        if answer.ok:
            return answer.json() if answer.content.strip() else None
        raise self._fault(answer, gone, effect)

    def read(self, schema: Schema, told: Any) -> dict[str, Any]:
        """What the service told, checked. Raises `UpstreamFailed`."""
        try:
            loaded: dict[str, Any] = schema.load(told)
        except (ValidationError, TypeError, AttributeError):
            raise outgoing.UpstreamFailed(f"{self.name} did not answer as its protocol says.") from None
        return loaded

    def _fault(self, answer: outgoing.Answer, gone: Callable[[outgoing.Answer], bool], effect: bool) -> DomainError:
        if answer.status in (401, 402, 403):
            return Unavailable(
                f"{self.name} refuses this server's key (setting `{self.setting}`).", reason="key_refused"
            )
        if gone(answer):
            return self.gone()
        if effect and answer.status >= 500:
            return outgoing.UpstreamFailed(f"{self.name} failed, and does not say how far it came.")
        if answer.status == 429 or answer.status >= 500:
            said = answer.retry_after
            after = AGAIN if said is None else min(LATEST, max(1, said))
            return Unavailable(f"{self.name} is not available right now.", retry_after=after)
        return self.declined() if 400 <= answer.status < 500 else outgoing.UpstreamFailed()
