"""Containers at OpenAI, or at a server that speaks its containers and responses API.

The API has no call that runs given code in a container: a model with the tool `code_interpreter` is told to, and what
it ran is held against what it was given. Code that differs is a failure, not an answer.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import BinaryIO

from marshmallow import EXCLUDE, Schema, fields, validate

from domain.containers.ports import Declined, Gone, Outcome, Wanted
from domain.kernel import outgoing
from domain.kernel.outgoing_json import Service

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
        self._model = model
        self._service = Service(
            base,
            f"Bearer {key}",
            name="The service of the containers",
            setting="openai_api_key",
            gone=Gone,
            declined=Declined,
            seconds=SECONDS,
            max_bytes=MAX_BYTES,
        )

    # --- the port ----------------------------------------------------------------------------------------------

    def known_as(self, wanted: Wanted) -> None:
        return None

    def make(self, wanted: Wanted) -> str:
        name = f"thalweg-{wanted.id.hex}"
        service = self._service
        listed = service.read(_Listed(), service.ask("GET", f"containers?limit={LOOKED_AT}&order=desc", gone=_never))
        for each in listed["data"]:
            if each["name"] == name:
                return str(each["id"])
        body = {
            "name": name,
            "memory_limit": wanted.memory,
            "expires_after": {"anchor": "last_active_at", "minutes": wanted.rest_minutes},
        }
        return str(service.read(_Made(), service.ask("POST", "containers", body, gone=_never))["id"])

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
        self._service.ask(
            "POST",
            f"containers/{external_id}/files",
            content,
            kind=f"multipart/form-data; boundary={mark}",
            seconds=120.0,
            gone=lambda answer: answer.status == 404 or _says_gone(answer),
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
        # A 404 here may as well mean the model, or that the server has no such API: then the container is still there.
        gone = _never if external_id is None else _says_gone
        started = time.monotonic()
        try:
            told = self._service.ask("POST", "responses", body, seconds=seconds, gone=gone, effect=True)
        except Declined:
            raise Declined("The service of the containers did not take the code.") from None
        took = time.monotonic() - started
        answer = self._service.read(_Answered(), told)
        calls = [each for each in answer["output"] if each.get("type") == "code_interpreter_call"]
        if len(calls) != 1:
            raise outgoing.UpstreamFailed("The service of the containers did not run the code.")
        call = self._service.read(_Call(), calls[0])
        if (call["code"] or "").strip() != code.strip():
            raise outgoing.UpstreamFailed("The service of the containers ran other code than it was given.")
        logs = "".join(str(each.get("logs", "")) for each in call["outputs"] or () if each.get("type") == "logs")
        wrong = call["status"] == "failed" or "Traceback (most recent call last)" in logs
        return Outcome("failed" if wrong else "done", "" if wrong else logs, logs if wrong else "", took)

    def discard(self, external_id: str) -> None:
        self._service.ask("DELETE", f"containers/{external_id}", fine=(404,))

    def check(self) -> str:
        self._service.ask("GET", "containers?limit=1", gone=_never)
        return "reached, and takes this server's key"


def _never(_: outgoing.Answer) -> bool:
    return False


def _says_gone(answer: outgoing.Answer) -> bool:
    """Whether an answer about something else speaks of the container: its words are all that tells."""
    said = answer.content[:4096].decode("utf-8", "replace").lower()
    return answer.status in (400, 404) and "container" in said and ("expired" in said or "not found" in said)
