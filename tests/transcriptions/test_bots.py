"""Bots in meetings, at a service that is a real server: sent, recalled, looked after, and every way it fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain import transcriptions
from domain.kernel.errors import Conflict, DomainError, NotFound, Unavailable, Unprocessable
from domain.kernel.outgoing import UpstreamFailed
from domain.transcriptions import bots, rules, services
from domain.transcriptions.drivers.attendee import Attendee
from domain.transcriptions.services import Declined

SAID = [
    (0.0, 5.0, "We agreed on three months of notice."),
    (6.0, 11.0, "I will send the contract to legal by Friday."),
]
FAULTS = [
    (500, {}, b"<h1>oops</h1>"),
    (429, {"Retry-After": "7"}, b"{}"),
    (200, {"Content-Type": "application/json"}, b"not json"),
    (200, {"Content-Type": "application/json"}, b'{"state": []}'),
    (200, {"Content-Type": "application/json"}, b"[1, 2]"),
]


def test_a_bot_joins_records_leaves_and_its_recording_becomes_notes_with_names(world, script, attendee):
    script.lines = SAID
    ada = world.person()
    base = world.base(ada)
    bot = world.join(ada, wishes=transcriptions.Wishes(knowledge_base_id=base))
    there = attendee.only()
    order = there["order"]
    assert order["meeting_url"] == "https://meet.google.com/abc-defg-hij"
    assert order["recording_settings"] == {"format": "mp3"}
    assert order["automatic_leave_settings"]["waiting_room_timeout_seconds"] == 600
    assert order["bot_chat_message"]["to"] == "everyone"
    assert bot.state == "joining"
    for state, event, expected in [
        ("waiting_room", "put_in_waiting_room", "waiting"),
        ("joined_recording", "joined_meeting", "recording"),
        ("post_processing", "post_processing", "leaving"),
    ]:
        attendee.happens(there, state, event, at=len(there["events"]))
        world.look()
        assert world.bot(bot.id).state == expected
    assert world.found(ada, bot.transcription_id).transcription.state == "recording"
    attendee.happens(there, "ended", "post_processing_completed", at=30)
    world.look()  # the recording is not there yet
    assert world.bot(bot.id).state == "leaving"
    there["recorded"] = True
    there["transcript"] = [
        {"speaker_name": "Grace", "timestamp_ms": 1_000_100, "duration_ms": 4500},
        {"speaker_name": "Ada", "timestamp_ms": 1_006_000, "duration_ms": 5000},
    ]
    world.settle()
    whole = world.found(ada, bot.transcription_id)
    assert whole.transcription.state == "completed"
    assert [(s.speaker, s.content) for s in whole.segments] == [("Grace", SAID[0][2]), ("Ada", SAID[1][2])]
    assert whole.transcription.notes["tasks"][0]["assignee"] == "Ada"
    assert whole.transcription.begun_at == datetime(2026, 11, 2, 9, 1, tzinfo=UTC)
    assert whole.transcription.document_id is not None
    done = world.bot(bot.id)
    assert (done.state, done.joined_at.minute, done.left_at.minute) == ("ended", 1, 30)
    assert there["forgotten"] is True


def test_the_same_with_recall(world, script, recall):
    script.lines = SAID
    ada = world.person()
    bot = world.join(ada, announce=False)
    there = recall.only()
    assert there["order"]["recording_config"]["audio_mixed_mp3"] == {}
    assert "chat" not in there["order"]
    for code, expected in [
        ("joining_call", "joining"),
        ("in_waiting_room", "waiting"),
        ("in_call_recording", "recording"),
        ("call_ended", "leaving"),
        ("done", "leaving"),
    ]:
        recall.changes(there, code, at=len(there["status_changes"]))
        world.look()
        assert world.bot(bot.id).state == expected
    there["recorded"] = True
    world.settle()
    assert world.found(ada, bot.transcription_id).transcription.state == "completed"
    assert there["forgotten"] is True


def test_a_recording_comes_in_pieces_and_whole_from_a_server_without_ranges(world, script, attendee, monkeypatch):
    monkeypatch.setattr("domain.transcriptions.attending.PIECE", 100_000)
    script.lines = SAID
    ada = world.person()
    for ranges in (True, False):
        attendee.ranges = ranges
        bot = world.join(ada)
        there = attendee.bots[bot.service_id]
        attendee.happens(there, "ended", "joined_meeting")
        there["recorded"] = True
        world.settle()
        row = world.found(ada, bot.transcription_id).transcription
        assert (row.state, row.size) == ("completed", len(attendee.sound))
    assert len([path for path in attendee.paths("GET") if path.startswith("/sound/")]) == 10 + 1


def test_what_is_fetched_is_judged_by_its_bytes(world, script, attendee):
    ada = world.person()
    bot = world.join(ada)
    attendee.happens(attendee.only(), "ended", "joined_meeting")
    attendee.only()["recorded"] = True
    attendee.sound = b"<Error>expired</Error>"
    world.settle()
    assert world.found(ada, bot.transcription_id).transcription.failure_code == "unreadable"
    assert world.bot(bot.id).state == "ended"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_look_that_brings_nothing_is_repeated_later(world, script, attendee, fault):
    script.lines = SAID
    ada = world.person()
    bot = world.join(ada)
    there = attendee.only()
    attendee.faults = [fault, fault]
    world.look()
    world.look()
    assert (world.bot(bot.id).state, world.bot(bot.id).misses) == ("joining", 2)
    attendee.happens(there, "ended", "joined_meeting")
    there["recorded"] = True
    world.settle()
    assert world.found(ada, bot.transcription_id).transcription.state == "completed"


def test_a_service_that_stays_away_is_given_up_in_the_end(world, script, attendee, monkeypatch):
    monkeypatch.setattr("domain.transcriptions.attending.MISSES", 3)
    ada = world.person()
    bot = world.join(ada)
    attendee.faults = [FAULTS[0]] * 20
    for _ in range(4):
        world.look()
    assert world.bot(bot.id).state == "failed"
    assert world.found(ada, bot.transcription_id).transcription.failure_code == "internal"
    assert world.jobs("transcriptions.attend") == []


def test_looks_become_rarer_while_the_service_is_away():
    pauses = [rules.pause("recording", misses) for misses in range(9)]
    assert pauses[0] == 30
    assert pauses[1:] == [10, 20, 40, 80, 160, 300, 300, 300]


@pytest.mark.parametrize(
    ("state", "sub_type", "code"),
    [
        ("fatal_error", "waiting_room_timeout_exceeded", "not_admitted"),
        ("fatal_error", "request_to_join_denied", "not_admitted"),
        ("fatal_error", "meeting_not_found", "meeting_over"),
        ("fatal_error", "process_terminated", "internal"),
        ("ended", None, "internal"),
    ],
)
def test_why_a_bot_heard_nothing_is_told(world, script, attendee, state, sub_type, code):
    ada = world.person()
    bot = world.join(ada)
    attendee.happens(attendee.only(), state, "could_not_join_meeting", sub_type)
    world.settle()
    row = world.found(ada, bot.transcription_id).transcription
    assert (row.state, row.failure_code, world.bot(bot.id).state) == ("failed", code, "failed")
    assert world.join(ada).state == "joining"  # the meeting is free again


@pytest.mark.parametrize(
    ("code", "sub_code", "reason"),
    [
        ("done", "timeout_exceeded_waiting_room", "not_admitted"),
        ("fatal", "meeting_not_found", "meeting_over"),
        ("fatal", "bot_errored", "internal"),
    ],
)
def test_and_recall_tells_it_too(world, script, recall, code, sub_code, reason):
    ada = world.person()
    bot = world.join(ada)
    recall.changes(recall.only(), "call_ended", sub_code)
    recall.changes(recall.only(), code, sub_code, at=1)
    world.settle()
    assert world.found(ada, bot.transcription_id).transcription.failure_code == reason


# --- sending ---------------------------------------------------------------------------------------------------


def test_without_a_service_the_refusal_names_the_setting(world, script):
    with pytest.raises(Unavailable, match="`meeting_bot`"):
        world.join(world.person())


def test_settings_that_cannot_be_used_are_named():
    with pytest.raises(ValueError, match="meeting_bot_key"):
        services.configure("recall", None, None)
    services.configure("attendee", None, "k")
    assert services.current().name == "attendee"
    services.configure(None, None, None)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ((500, {}, b""), Unavailable),
        ((507, {}, b""), Unavailable),
        ((429, {"Retry-After": "7"}, b""), Unavailable),
        ((503, {"Retry-After": "²"}, b""), Unavailable),
        ((403, {}, b"the key token-geheim is wrong"), Unavailable),
        ((200, {}, b"garbage"), UpstreamFailed),
        ((302, {"Location": "http://127.0.0.1/"}, b""), UpstreamFailed),
        ((404, {}, b""), UpstreamFailed),
    ],
)
def test_a_join_that_the_service_refuses_says_so_and_leaves_nothing(world, script, attendee, fault, error):
    ada = world.person()
    attendee.faults = [fault]
    with pytest.raises(DomainError) as refused:
        world.join(ada)
    assert isinstance(refused.value, error)
    assert refused.value.kept
    assert "geheim" not in refused.value.message
    if fault[0] == 429:
        assert refused.value.facts["retry_after"] == 7
    from domain.kernel.pages import OffsetPage

    with world.ctx(ada) as ctx:
        assert transcriptions.list_transcriptions(ctx, OffsetPage()).total == 0
    assert world.join(ada).state == "joining"


def test_a_meeting_that_the_service_does_not_take_is_a_422(world, script, attendee):
    attendee.faults = [(400, {}, b'{"meeting_url": ["no"]}')]
    with pytest.raises(Declined):
        world.join(world.person())


def test_a_bot_whose_sending_was_not_answered_is_called_back(world, script, attendee, monkeypatch):
    monkeypatch.setattr("domain.transcriptions.drivers.calls.SECONDS", 0.3)
    services.bind(Attendee(attendee.url, attendee.KEY))
    attendee.faults = [1.0]
    with pytest.raises(UpstreamFailed):
        world.join(world.person())
    import time

    time.sleep(1.0)
    assert attendee.only()["state"] == "joining"  # it was sent all the same
    world.settle()
    assert attendee.only()["state"] == "leaving"


def test_a_process_that_dies_between_asking_and_noting_leaves_no_bot_behind(world, script, attendee, monkeypatch):
    ada = world.person()
    with world.ctx(ada) as ctx:
        sending = bots.send(
            ctx,
            meeting_url="https://zoom.us/j/123",
            wishes=transcriptions.Wishes(),
            bot_name="N",
            announce=True,
            join_at=None,
        )
    sending.ask()
    with pytest.raises(Conflict):
        world.join(ada, "https://zoom.us/j/123?pwd=x")
    world.look()
    assert world.bot(sending.bot_id).state == "joining"
    monkeypatch.setattr("domain.transcriptions.attending.UNANSWERED", timedelta(0))
    world.settle()
    assert world.bot(sending.bot_id).state == "failed"
    assert attendee.only()["state"] == "leaving"


def test_asked_again_after_such_a_death_the_same_bot_is_taken_up(world, script, attendee, monkeypatch):
    ada = world.person()
    given = {"wishes": transcriptions.Wishes(), "bot_name": "N", "announce": True, "join_at": None}
    with world.ctx(ada) as ctx:
        sending = bots.send(ctx, meeting_url="https://zoom.us/j/123", **given)
    sending.ask()
    monkeypatch.setattr("domain.transcriptions.rules.UNANSWERED_SECONDS", 0)
    bot = world.join(ada, "https://zoom.us/j/123")
    assert bot.id == sending.bot_id
    assert bot.service_id == attendee.only()["id"]


def test_one_person_has_one_bot_in_a_meeting_and_two_links_to_it_are_the_same(world, script, attendee):
    ada, bob = world.person(), world.person()
    world.join(ada, "https://meet.google.com/abc-defg-hij")
    with pytest.raises(Conflict):
        world.join(ada, "https://meet.google.com/abc-defg-hij?authuser=1")
    assert world.join(bob, "https://meet.google.com/abc-defg-hij").state == "joining"


@pytest.mark.parametrize(
    ("url", "platform"),
    [
        ("https://meet.google.com/abc-defg-hij", "google_meet"),
        ("https://teams.microsoft.com/l/meetup-join/19%3ameeting_X%40thread.v2/0?context=1", "microsoft_teams"),
        ("https://teams.live.com/meet/9312?p=x", "microsoft_teams"),
        ("https://us02web.zoom.us/j/123456?pwd=abc", "zoom"),
        ("https://meet.jit.si/Steering", "jitsi"),
        ("https://cloud.example.org/index.php/call/abcd1234", "nextcloud_talk"),
        ("https://cloud.example.org/call/abcd1234", "nextcloud_talk"),
        ("https://evil.example/meet.google.com/abc-defg-hij", None),
        ("https://meet.google.com.evil.example/abc-defg-hij", None),
        ("https://zoom.us@evil.example/j/1", None),
        ("https://user:x@zoom.us/j/1", None),
        ("https://notzoom.us/j/1", None),
        ("http://zoom.us/j/1", None),
        ("https://zoom.us:22/j/1", None),
        ("https://[::1/j", None),
        ("https://meet.google.com/", None),
    ],
)
def test_whose_meeting_an_address_is(url, platform):
    found = rules.meeting(url)
    assert (found and found.platform) == platform


def test_meetings_that_no_bot_joins_are_refused_before_anybody_is_asked(world, script, recall):
    ada = world.person()
    for url in ("https://example.org/x", "https://cloud.example.org/call/abcd1234", "https://meet.jit.si/Steering"):
        with pytest.raises(Unprocessable):
            world.join(ada, url)
    with pytest.raises(Unprocessable):
        world.join(ada, join_at=datetime.now(UTC) + timedelta(days=31))
    assert recall.asked == []


# --- recalled --------------------------------------------------------------------------------------------------


def test_a_recalled_bot_leaves_and_what_it_heard_becomes_text(world, script, attendee, depart):
    script.lines = SAID
    ada = world.person()
    bot = world.join(ada)
    there = attendee.only()
    attendee.happens(there, "joined_recording", "joined_meeting")
    world.look()
    depart(world, ada, bot.id)
    assert there["state"] == "leaving"
    assert world.bot(bot.id).state == "leaving"
    attendee.happens(there, "ended", "post_processing_completed", at=9)
    there["recorded"] = True
    world.settle()
    assert world.found(ada, bot.transcription_id).transcription.state == "completed"
    with pytest.raises(Conflict):
        depart(world, ada, bot.id)


def test_a_recall_that_the_service_does_not_hear_is_repeated(world, script, attendee, depart):
    ada = world.person()
    bot = world.join(ada)
    attendee.happens(attendee.only(), "joined_recording", "joined_meeting")
    attendee.faults = [(500, {}, b"")]
    depart(world, ada, bot.id)
    assert attendee.only()["state"] == "joined_recording"
    world.look()
    assert attendee.only()["state"] == "leaving"


@pytest.mark.parametrize("which", ["attendee", "recall"])
def test_a_bot_that_is_recalled_before_its_meeting_does_not_join(world, script, depart, which, request):
    there = request.getfixturevalue(which)
    ada = world.person()
    bot = world.join(ada, join_at=datetime.now(UTC) + timedelta(hours=2))
    assert bot.state == "scheduled"
    assert "join_at" in there.only()["order"]
    world.look()
    assert world.bot(bot.id).state == "scheduled"
    depart(world, ada, bot.id)
    assert there.bots == {}
    world.settle()
    row = world.found(ada, bot.transcription_id).transcription
    assert (row.failure_code, world.bot(bot.id).state) == ("recalled", "ended")


def test_only_its_person_and_administrators_recall_a_bot(world, make_world, script, attendee, depart):
    ada, bob = world.person(), world.person()
    bot = world.join(ada)
    with pytest.raises(NotFound):
        depart(world, bob, bot.id)
    with pytest.raises(NotFound):
        depart(make_world(), ada, bot.id, {"organisation:manage"})
    depart(world, bob, bot.id, {"organisation:manage"})
    assert attendee.only()["state"] == "leaving"


def test_a_bot_of_a_service_that_is_set_up_no_more_is_told_so(world, script, attendee, depart):
    ada = world.person()
    bot = world.join(ada)
    services.configure("recall", attendee.url, "k")
    with pytest.raises(Unavailable, match="setting `meeting_bot`"):
        depart(world, ada, bot.id)
