"""Attendee (https://docs.attendee.dev), hosted or one's own: bots for Meet, Teams, Zoom and Jitsi."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from marshmallow import EXCLUDE, Schema, fields, validate

from domain.transcriptions.drivers.calls import calls
from domain.transcriptions.services import Declined, Gone, Order, Seen, Turn

STATES = {
    "ready": "joining",
    "scheduled": "scheduled",
    "staged": "scheduled",
    "joining": "joining",
    "waiting_room": "waiting",
    "joined_not_recording": "recording",
    "joined_recording": "recording",
    "joined_recording_paused": "recording",
    "joined_recording_permission_denied": "recording",
    "joining_breakout_room": "recording",
    "leaving_breakout_room": "recording",
    "leaving": "leaving",
    "post_processing": "leaving",
    "ended": "ended",
    "data_deleted": "ended",
    "fatal_error": "failed",
}
NOT_ADMITTED = frozenset({"request_to_join_denied", "waiting_room_timeout_exceeded", "login_required"})
OVER = frozenset({"meeting_not_found", "not_started_waiting_for_host", "unable_to_connect_to_meeting"})


class _Event(Schema):
    class Meta:
        unknown = EXCLUDE

    type = fields.String(required=True, validate=validate.Length(max=100))
    sub_type = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=200))
    created_at = fields.AwareDateTime(required=True)


class _Bot(Schema):
    class Meta:
        unknown = EXCLUDE

    id = fields.String(required=True, validate=validate.Length(min=1, max=200))
    state = fields.String(required=True, validate=validate.Length(max=100))
    events = fields.List(fields.Nested(_Event), load_default=list)


class _Bots(Schema):
    class Meta:
        unknown = EXCLUDE

    results = fields.List(fields.Nested(_Bot), required=True)


class _Recording(Schema):
    class Meta:
        unknown = EXCLUDE

    url = fields.Url(required=True, schemes={"http", "https"}, require_tld=False)
    start_timestamp_ms = fields.Integer(load_default=None, allow_none=True)


class _Words(Schema):
    class Meta:
        unknown = EXCLUDE

    speaker_name = fields.String(load_default=None, allow_none=True)
    timestamp_ms = fields.Integer(required=True)
    duration_ms = fields.Integer(load_default=0)


class Attendee:
    name = "attendee"
    platforms = frozenset({"google_meet", "microsoft_teams", "zoom", "jitsi"})

    def __init__(self, base: str, key: str) -> None:
        self._calls = calls(base, key)

    def send(self, order: Order) -> str:
        body: dict[str, Any] = {
            "meeting_url": order.meeting_url,
            "bot_name": order.bot_name,
            "deduplication_key": order.key,
            "recording_settings": {"format": "mp3"},
            "automatic_leave_settings": {
                "waiting_room_timeout_seconds": order.lobby_seconds,
                "max_uptime_seconds": order.meeting_seconds + order.lobby_seconds,
            },
        }
        if order.join_at is not None:
            body["join_at"] = order.join_at.isoformat()
        if order.announcement is not None:
            body["bot_chat_message"] = {"to": "everyone", "message": order.announcement}
        try:
            return str(self._calls.read(_Bot(), self._calls.ask("POST", "bots", body))["id"])
        except Declined:
            sent = self.find(order.key)  # its key is taken: an earlier attempt, whose answer was lost, has sent it
            if sent is None:
                raise
            return sent

    def find(self, key: str) -> str | None:
        told = self._calls.ask("GET", f"bots?{urlencode({'deduplication_key': key})}")
        known = self._calls.read(_Bots(), told)["results"]
        return str(known[-1]["id"]) if known else None

    def look(self, bot: str) -> Seen:
        told = self._calls.read(_Bot(), self._calls.ask("GET", f"bots/{_safe(bot)}"))
        state = STATES.get(told["state"], "joining")
        events = sorted(told["events"], key=lambda event: event["created_at"])
        joined = next((e["created_at"] for e in events if e["type"] in ("joined_meeting", "recording_started")), None)
        done = state in ("ended", "failed")
        left = events[-1]["created_at"] if done and events else None
        if state == "failed" and joined is not None:
            return Seen("ended", joined, left, "internal")  # it has heard something, most likely
        return Seen(state, joined, left, _reason(events) if done and joined is None else None)

    def leave(self, bot: str) -> None:
        # 400: it is on its way out already, or has never been in.
        self._calls.ask("POST", f"bots/{_safe(bot)}/leave", fine=(400,))

    def withdraw(self, bot: str) -> None:
        try:
            self._calls.ask("DELETE", f"bots/{_safe(bot)}", fine=(404,))
        except Declined:  # it set out meanwhile
            self.leave(bot)

    def recording(self, bot: str) -> str | None:
        told = self._calls.ask("GET", f"bots/{_safe(bot)}/recording", fine=(404,))
        return None if told is None else str(self._calls.read(_Recording(), told)["url"])

    def turns(self, bot: str) -> list[Turn]:
        told = self._calls.ask("GET", f"bots/{_safe(bot)}/recording", fine=(404,))
        begun = None if told is None else self._calls.read(_Recording(), told)["start_timestamp_ms"]
        said = self._calls.ask("GET", f"bots/{_safe(bot)}/transcript", fine=(404,))
        if begun is None or not isinstance(said, list):
            return []
        words = [self._calls.read(_Words(), each) for each in said]
        return [
            Turn(
                max(0.0, (each["timestamp_ms"] - begun) / 1000),
                max(0.0, (each["timestamp_ms"] + each["duration_ms"] - begun) / 1000),
                each["speaker_name"][:200],
            )
            for each in words
            if each["speaker_name"]
        ]

    def forget(self, bot: str) -> None:
        try:
            self._calls.ask("POST", f"bots/{_safe(bot)}/delete_data", fine=(404,))
        except Gone:
            return


def _reason(events: list[dict[str, Any]]) -> str:
    kinds = {event["sub_type"] for event in events}
    if kinds & NOT_ADMITTED:
        return "not_admitted"
    return "meeting_over" if kinds & OVER else "internal"


def _safe(bot: str) -> str:
    return quote(bot, safe="")
