"""Containers at OpenAI, or at a server that speaks its containers and responses API.

The API has no call that runs given code in a container: a model with the tool `code_interpreter` is told to, and what
it ran is held against what it was given. Code that differs is a failure, not an answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import orjson
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from domain.containers.ports import Declined, Gone, Outcome, Wanted
from domain.kernel import outgoing
from domain.kernel.errors import Unavailable

SECONDS = 20.0
MAX_BYTES = 4 << 20
LARGEST = 64 << 20
"""Bytes of a file that is put in: it is sent from memory."""
LOOKED_AT = 100
"""Containers, the latest first, among which one of an attempt before is looked for."""
TOLD = (
    "You run programs for another system. Call the tool python exactly once, with the program that the user gives, "
    "unchanged to the letter. Answer nothing else."
)


class _Made(Schema):
    class Meta:
        unknown = EXCLUDE

    id = fields.String(required=True, validate=validate.Regexp(r"\A[A-Za-z0-9_-]{1,128}\Z"))
    name = fields.String(load_default=None, allow_none=True)


class _Listed(Schema):
    class Meta:
        unknown = EXCLUDE

    data = fields.List(fields.Nested(_Made), required=True)


class _Answered(Schema):
    class Meta:
        unknown = EXCLUDE

    output = fields.List(fields.Dict(), required=True)


class _Call(Schema):
    class Meta:
        unknown = EXCLUDE

    code = fields.String(required=True, allow_none=True)
    status = fields.String(load_default="completed")
    outputs = fields.List(fields.Dict(), load_default=None, allow_none=True)


class OpenAI:
    """`base`: the address up to the version, without a slash at the end; `model`: who runs what it is told to."""

    name = "openai"

    def __init__(self, base: str, key: str, model: str) -> None:
        self._base, self._key, self._model = base, key, model

    # --- the port ----------------------------------------------------------------------------------------------

    def known_as(self, wanted: Wanted) -> None:
        return None

    def make(self, wanted: Wanted) -> str:
        name = f"thalweg-{wanted.id.hex}"
        listed = _read(_Listed(), self._ask("GET", f"containers?limit={LOOKED_AT}&order=desc"))
        for each in listed["data"]:
            if each["name"] == name:
                return str(each["id"])
        body = {
            "name": name,
            "memory_limit": wanted.memory,
            "expires_after": {"anchor": "last_active_at", "minutes": wanted.rest_minutes},
        }
        return str(_read(_Made(), self._ask("POST", "containers", orjson.dumps(body)))["id"])

    def put(self, external_id: str, name: str, source: BinaryIO, size: int) -> None:
        if size > LARGEST:
            raise Declined(f"A file of a container has {LARGEST >> 20} MiB at most.")
        mark = secrets.token_hex(16)
        shown = "".join("_" if each in '"\\/' or not each.isprintable() else each for each in name)
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{shown}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        content = head.encode() + source.read(LARGEST + 1) + f"\r\n--{mark}--\r\n".encode()
        self._ask(
            "POST",
            f"containers/{external_id}/files",
            content,
            kind=f"multipart/form-data; boundary={mark}",
            seconds=120.0,
        )

    def run(
        self, external_id: str | None, code: str, *, memory: str, seconds: float, beat: Callable[[], None]
    ) -> Outcome:
        beat()
        body = {
            "model": self._model,
            "instructions": TOLD,
            "input": code,
            "tools": [
                {
                    "type": "code_interpreter",
                    "container": external_id or {"type": "auto", "memory_limit": memory},
                }
            ],
            "tool_choice": "required",
            "max_tool_calls": 1,
            "include": ["code_interpreter_call.outputs"],
            "store": False,
        }
        answer = _read(_Answered(), self._ask("POST", "responses", orjson.dumps(body), seconds=seconds))
        calls = [each for each in answer["output"] if each.get("type") == "code_interpreter_call"]
        if len(calls) != 1:
            raise outgoing.UpstreamFailed("The service of the containers did not run the code.")
        call = _read(_Call(), calls[0])
        if (call["code"] or "").strip() != code.strip():
            raise outgoing.UpstreamFailed("The service of the containers ran other code than it was given.")
        logs = "".join(str(each.get("logs", "")) for each in call["outputs"] or () if each.get("type") == "logs")
        wrong = call["status"] == "failed" or "Traceback (most recent call last)" in logs
        return Outcome("failed" if wrong else "done", "" if wrong else logs, logs if wrong else "", 0.0)

    def discard(self, external_id: str) -> None:
        self._ask("DELETE", f"containers/{external_id}", fine=(404,))

    def check(self) -> str:
        self._ask("GET", "containers?limit=1")
        return "reached, and takes this server's key"

    # --- below -------------------------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        kind: str = "application/json",
        seconds: float = SECONDS,
        fine: tuple[int, ...] = (),
    ) -> Any:
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = kind
        answer = outgoing.client().request(
            method, f"{self._base}/{path}", headers=headers, content=content, seconds=seconds, max_bytes=MAX_BYTES
        )
        if answer.status in fine:
            return None
        if answer.ok:
            return answer.json() if answer.content.strip() else None
        raise _fault(answer)


def _fault(answer: outgoing.Answer) -> Exception:
    """What the service said is not repeated: it may hold a part of the key."""
    if answer.status in (401, 403):
        return Unavailable(
            "The service of the containers refuses this server's key (setting `openai_api_key`).", reason="key_refused"
        )
    if answer.status == 404 or (answer.status == 400 and _says_expired(answer)):
        return Gone()
    if answer.status == 429 or answer.status >= 500:
        said = {name.lower(): value for name, value in answer.headers.items()}.get("retry-after", "")
        after = min(600, int(said)) if said.isdigit() else 30
        return Unavailable("The service of the containers is not available right now.", retry_after=max(1, after))
    if 400 <= answer.status < 500:
        return Declined()
    return outgoing.UpstreamFailed()


def _says_expired(answer: outgoing.Answer) -> bool:
    said = answer.content[:4096].decode("utf-8", "replace").lower()
    return "container" in said and "expired" in said


def _read(schema: Schema, told: Any) -> Mapping[str, Any]:
    """What the service told, checked. Raises `UpstreamFailed`."""
    try:
        loaded: Mapping[str, Any] = schema.load(told)
    except (ValidationError, TypeError, AttributeError):
        raise outgoing.UpstreamFailed("The service of the containers did not answer as its protocol says.") from None
    return loaded
