"""Recall (https://docs.recall.ai), API version 1.11: bots for Meet, Teams and Zoom."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from marshmallow import EXCLUDE, Schema, fields, validate

from domain.transcriptions.drivers.calls import calls
from domain.transcriptions.services import Declined, Order, Seen, Turn

STATES = {
    "ready": "joining",
    "joining_call": "joining",
    "in_waiting_room": "waiting",
    "in_call_not_recording": "recording",
    "recording_permission_allowed": "recording",
    "recording_permission_denied": "recording",
    "in_call_recording": "recording",
    "call_ended": "leaving",
    "recording_done": "leaving",
    "done": "ended",
    "analysis_done": "ended",
    "analysis_failed": "ended",
    "media_expired": "ended",
    "fatal": "failed",
}
IN_CALL = frozenset({"in_call_not_recording", "in_call_recording", "recording_permission_allowed"})
RETENTION_HOURS = 24
"""Recordings are fetched within minutes; what is left over goes by itself."""


class _Change(Schema):
    class Meta:
        unknown = EXCLUDE

    code = fields.String(required=True, validate=validate.Length(max=100))
    sub_code = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=200))
    created_at = fields.AwareDateTime(required=True)


class _Status(Schema):
    class Meta:
        unknown = EXCLUDE

    code = fields.String(load_default=None, allow_none=True)


class _Data(Schema):
    class Meta:
        unknown = EXCLUDE

    download_url = fields.Url(load_default=None, allow_none=True, schemes={"http", "https"}, require_tld=False)


class _Audio(Schema):
    class Meta:
        unknown = EXCLUDE

    data = fields.Nested(_Data, load_default=None, allow_none=True)
    status = fields.Nested(_Status, load_default=None, allow_none=True)


class _Shortcuts(Schema):
    class Meta:
        unknown = EXCLUDE

    audio_mixed = fields.Nested(_Audio, load_default=None, allow_none=True)


class _Recording(Schema):
    class Meta:
        unknown = EXCLUDE

    id = fields.String(required=True, validate=validate.Length(min=1, max=200))
    media_shortcuts = fields.Nested(_Shortcuts, load_default=None, allow_none=True)


class _Bot(Schema):
    class Meta:
        unknown = EXCLUDE

    id = fields.String(required=True, validate=validate.Length(min=1, max=200))
    join_at = fields.AwareDateTime(load_default=None, allow_none=True)
    status_changes = fields.List(fields.Nested(_Change), load_default=list)
    recordings = fields.List(fields.Nested(_Recording), load_default=list)


class _Page(Schema):
    class Meta:
        unknown = EXCLUDE

    results = fields.List(fields.Nested(_Audio), required=True)


class _Bots(Schema):
    class Meta:
        unknown = EXCLUDE

    results = fields.List(fields.Nested(_Bot), required=True)


class Recall:
    name = "recall"
    platforms = frozenset({"google_meet", "microsoft_teams", "zoom"})

    def __init__(self, base: str, key: str) -> None:
        self._calls = calls(base, key)

    def send(self, order: Order) -> str:
        sent = self.find(order.key)  # an earlier attempt whose answer was lost
        if sent is not None:
            return sent
        body: dict[str, Any] = {
            "meeting_url": order.meeting_url,
            "bot_name": order.bot_name,
            "metadata": {"order": order.key},
            "recording_config": {
                "audio_mixed_mp3": {},
                "video_mixed_mp4": None,
                "retention": {"type": "timed", "hours": RETENTION_HOURS},
            },
            "automatic_leave": {
                "waiting_room_timeout": order.lobby_seconds,
                "in_call_recording_timeout": order.meeting_seconds,
            },
        }
        if order.join_at is not None:
            body["join_at"] = order.join_at.isoformat()
        if order.announcement is not None:
            body["chat"] = {"on_bot_join": {"send_to": "everyone", "message": order.announcement}}
        return str(self._calls.read(_Bot(), self._calls.ask("POST", "bot/", body))["id"])

    def find(self, key: str) -> str | None:
        told = self._calls.ask("GET", f"bot/?{urlencode({'metadata__order': key})}")
        known = self._calls.read(_Bots(), told)["results"]
        return str(known[-1]["id"]) if known else None

    def look(self, bot: str) -> Seen:
        told = self._bot(bot)
        changes = sorted(told["status_changes"], key=lambda change: change["created_at"])
        if not changes:
            return Seen("scheduled" if told["join_at"] is not None else "joining")
        code = changes[-1]["code"]
        state = STATES.get(code, "recording" if any(c["code"] in IN_CALL for c in changes) else "joining")
        if code == "ready" and told["join_at"] is not None:
            state = "scheduled"
        joined = next((c["created_at"] for c in changes if c["code"] in IN_CALL), None)
        left = next((c["created_at"] for c in changes if c["code"] in ("call_ended", "fatal")), None)
        if state == "failed" and joined is not None:
            return Seen("ended", joined, left, "internal")
        done = state in ("ended", "failed")
        return Seen(state, joined, left, _reason(changes) if done and joined is None else None)

    def leave(self, bot: str) -> None:
        self._calls.ask("POST", f"bot/{_safe(bot)}/leave_call/", fine=(400, 409))

    def withdraw(self, bot: str) -> None:
        try:
            self._calls.ask("DELETE", f"bot/{_safe(bot)}/", fine=(404,))
        except Declined:  # it set out meanwhile
            self.leave(bot)

    def recording(self, bot: str) -> str | None:
        for recording in reversed(self._bot(bot)["recordings"]):
            shortcut = (recording["media_shortcuts"] or {}).get("audio_mixed")
            address = _address(shortcut) if shortcut else None
            if address is not None:
                return address
            told = self._calls.ask("GET", f"audio_mixed/?{urlencode({'recording_id': recording['id']})}", fine=(404,))
            if told is None:
                continue
            for audio in self._calls.read(_Page(), told)["results"]:
                if (address := _address(audio)) is not None:
                    return address
        return None

    def turns(self, bot: str) -> list[Turn]:
        return []

    def forget(self, bot: str) -> None:
        self._calls.ask("POST", f"bot/{_safe(bot)}/delete_media/", fine=(404,))

    def _bot(self, bot: str) -> dict[str, Any]:
        return self._calls.read(_Bot(), self._calls.ask("GET", f"bot/{_safe(bot)}/"))


def _address(audio: dict[str, Any]) -> str | None:
    status = (audio["status"] or {}).get("code")
    address: str | None = (audio["data"] or {}).get("download_url")
    return address if status in (None, "done") else None


def _reason(changes: list[dict[str, Any]]) -> str:
    kinds = " ".join(str(change["sub_code"]) for change in changes)
    if "waiting_room" in kinds or "denied" in kinds or "kicked" in kinds:
        return "not_admitted"
    return "meeting_over" if "meeting_" in kinds or "ended" in kinds or "noone" in kinds else "internal"


def _safe(bot: str) -> str:
    return quote(bot, safe="")
