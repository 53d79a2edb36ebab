"""Turns that are spoken: what has to be there, what is said aloud, and what happens when it cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain import conversations, inference
from domain.conversations import voice
from domain.inference import Heard, Hearing
from domain.kernel.errors import Unavailable, Unprocessable

WAV = b"RIFF\x24\x08\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80>\x00\x00\x00}\x00\x00\x02\x00\x10\x00data" + (
    b"\x00\x08\x00\x00" + bytes(2048)
)


class Ear:
    def __init__(self, text="Where is the depot?", language="en"):
        self.text, self.language, self.asked = text, language, []

    def available(self):
        pass

    def hear(self, recording, deadline, *, language=None, vocabulary=()):
        self.asked.append(language)
        return Hearing((Heard(0.0, 1.0, self.text),) if self.text else (), self.language if self.text else None)


class Mouth:
    media_type = "audio/mpeg"

    def __init__(self, fails_at=None):
        self.said, self.fails_at = [], fails_at

    def available(self):
        pass

    def say(self, text, deadline, *, voice=None):
        if len(self.said) == self.fails_at:
            raise Unavailable("The provider that speaks is not available right now.")
        self.said.append((text, voice))
        return text.encode()


@pytest.fixture
def senses(bound, drivers, monkeypatch):
    """`senses(ear, mouth)`: hear and speak with these."""
    monkeypatch.setattr(voice.decoding, "possible", lambda: False)

    def use(model, ear=None, mouth=None):
        bound(model)
        given = {"transcriber": ear or Ear()} | ({"speaker": mouth} if mouth else {})
        inference.bind(replace(inference.drivers(), **given))

    return use


@pytest.mark.parametrize("setting", ["auto", "off"])
def test_where_nothing_hears_it_says_what_to_install_or_set(drivers, setting, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    inference.bind(inference.registry.build(inference.registry.checked({"speech": setting})))
    with pytest.raises(Unavailable, match="speech") as refused:
        voice.must_hear()
    assert "openai:whisper-1" in refused.value.message
    assert ("./thalweg --extra speech" in refused.value.message) == (setting == "auto")


def test_a_voice_by_name_needs_a_server_that_has_one(drivers):
    voice.must_speak(None)
    with pytest.raises(Unprocessable, match="openai:tts-1"):
        voice.must_speak("nova")


def test_what_is_heard_becomes_question_title_and_preview(make_world, script, senses):
    world, ear = make_world("beeflow"), Ear()
    model = script("At the harbour.")
    senses(model, ear)
    turn_id = world.start("", recording=WAV, source="voice", options={"spoken": "en-GB", "speak": True})
    events = world.run(turn_id)
    told = next(data for name, data in events if name == "transcript")
    assert (told["text"], told["language"], ear.asked) == ("Where is the depot?", "en", ["en-GB"])
    assert [name for name, _ in events if name == "audio"] == [], "no voice here: the text is the answer"
    with world.ctx() as ctx:
        [kept] = conversations.list_conversations(ctx, source="voice").items
        assert (kept.title, kept.message_count) == ("Where is the depot?", 2)
        assert [m.content for m in conversations.list_messages(ctx, kept.id).items] == [
            "Where is the depot?",
            "At the harbour.",
        ]


def test_where_nothing_is_said_the_turn_ends_and_says_so(make_world, script, senses):
    world = make_world("beeflow")
    senses(script("Never."), Ear(text=""))
    name, last = world.run(world.start("", recording=WAV, source="voice"))[-1]
    assert (name, last["code"]) == ("error", "refused")


def test_findings_in_what_was_said_aloud_wait_for_a_decision_too(make_world, script, senses):
    world = make_world("beeflow")
    model = script("Paid.")
    senses(model, Ear("Pay DE89 3704 0044 0532 0130 00 today."))
    turn_id = world.start("", recording=WAV, source="voice")
    assert world.run(turn_id)[-1][0] == "dlp_finding"
    with world.ctx() as ctx:
        conversations.decide(ctx, turn_id, "redact")
    assert world.run(turn_id)[-1][0] == "complete"
    assert [each.question for each in model.asked] == ["Pay [iban] today."]
    with world.ctx() as ctx:
        assert conversations.get_turn(ctx, turn_id).recording is None


def test_an_answer_is_spoken_piece_by_piece_and_not_twice_after_a_crash(make_world, script, senses, killed):
    world, mouth = make_world("beeflow"), Mouth()
    answer = " ".join(f"Sentence number {n} says that the depot opens at six." for n in range(12))
    senses(script(answer), Ear(), mouth)
    turn_id = world.start("", recording=WAV, options={"speak": True, "voice": "nova"})
    deaths = iter([True])

    def die(point):
        if point == "after a commit" and len(mouth.said) == 2 and next(deaths, False):
            raise killed

    work = world.work(die=die)
    with pytest.raises(killed):
        conversations.run(work, turn_id)
    conversations.run(work, turn_id)
    world.check(work)
    pieces = [data["index"] for name, data in work.stream.values() if name == "audio"]
    assert pieces == list(range(len(voice.aloud(answer))))
    assert [text for text, _ in mouth.said] == voice.aloud(answer)
    assert {chosen for _, chosen in mouth.said} == {"nova"}


def test_an_answer_that_cannot_be_spoken_is_still_an_answer(make_world, script, senses):
    world = make_world("beeflow")
    senses(script("At the harbour."), Ear(), Mouth(fails_at=0))
    events = world.run(world.start("", recording=WAV, options={"speak": True}))
    assert events[-1][0] == "complete"
    assert "cannot be spoken" in next(data["label"] for name, data in events if name == "progress")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("**Three** months [1], by `clause 12` [2, 3].", ["Three months, by clause 12."]),
        ("# Terms\n\n- One.\n- Two.", ["Terms - One. - Two."]),
        ("```python\nprint()\n```", []),
        ("", []),
        ("A. " + "b" * 299 + ".", ["A.", "b" * 299 + "."]),
    ],
)
def test_what_is_for_the_eye_is_not_spoken(text, pieces):
    assert voice.aloud(text) == pieces


@pytest.mark.parametrize("recording", [b"", b"%PDF-1.7", b"MZ" + bytes(100), b"Where is the depot?"])
def test_what_is_no_recording_is_refused(recording):
    with pytest.raises(Unprocessable) as refused:
        voice.measure(recording)
    assert refused.value.facts["reason"] == "unreadable"


def test_a_wav_whose_header_promises_more_than_there_is_counts_as_what_there_is():
    lying = bytearray(WAV)
    lying[40:44] = (2**31 - 2).to_bytes(4, "little")
    voice.measure(bytes(lying))
