"""Talking to a provider's model, against a server on loopback that speaks OpenAI's protocol and misbehaves on request:
it drops, delays, garbles and limits."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from domain import inference
from domain.inference import ChatRequest, Deadline, Message, Refused, TimedOut, ToolSpec
from domain.inference import chat as chatting
from domain.inference.chat import Passing
from domain.inference.drivers import guarded_http
from domain.inference.drivers.chat_extractive import UNKNOWN, ExtractiveChat
from domain.inference.drivers.chat_provider import ProviderChat
from domain.kernel import outgoing
from domain.kernel.errors import LimitExceeded, Unavailable


@pytest.fixture
def server(monkeypatch, fault_server):
    monkeypatch.setattr(chatting, "BACKOFF", 0.02)
    return fault_server()


@pytest.fixture
def model(server):
    return ProviderChat("openai", "stub", "sk-test-0000000000", server.url)


TEXT = "The depot opens at six in the morning."


def request(**more):
    return ChatRequest(
        "Be brief.", (Message("user", "When does the depot open?"),), "When does the depot open?", **more
    )


def talk(model, seconds=20.0, **more):
    words = []
    end = inference.generate(model, request(**more), Deadline(seconds), lambda kind, text: words.append(text))
    return "".join(words), end, words


def test_words_come_as_they_are_made(model, server):
    text, end, words = talk(model)
    assert text == TEXT
    assert len(words) > 4
    assert (end.usage.input_tokens, end.usage.output_tokens, end.stop) == (21, 9, "end")
    assert server.seen[0]["stream"] is True
    assert server.seen[0]["messages"][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize("fault", ["status:500", "status:503", "drop:0", "garble", "empty"])
def test_a_fault_that_passes_is_tried_again(model, server, fault):
    server.behave = [fault, fault, "answer"]
    text, _, _ = talk(model)
    assert text == TEXT
    assert len(server.seen) == 3


def test_after_a_break_in_the_middle_the_answer_goes_on_without_a_repetition(model, server):
    server.behave = ["drop:18", "answer"]
    text, _, _ = talk(model)
    assert text == TEXT
    assert server.seen[1]["messages"][-2]["content"] == TEXT[:18]


def test_after_three_retries_the_model_is_away(model, server):
    server.behave = ["status:503"]
    with pytest.raises(Unavailable) as away:
        talk(model)
    assert len(server.seen) == 4
    assert "sk-" not in away.value.message


def test_the_providers_limit_is_passed_on_and_not_tried_again(model, server):
    server.behave = ["limit:17"]
    with pytest.raises(LimitExceeded) as limited:
        talk(model)
    assert limited.value.facts["retry_after"] == 17
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "invalid_key"), (403, None), (404, "unknown_model"), (400, "refused")]
)
def test_a_refusal_is_final_and_says_why(model, server, status, reason):
    server.behave = [f"status:{status}"]
    with pytest.raises(Refused) as refused:
        talk(model)
    assert reason is None or refused.value.facts["reason"] == reason
    assert "secret" not in refused.value.message
    assert len(server.seen) == 1


def test_a_model_that_hangs_is_left_in_time(model, server):
    server.behave = ["hang"]
    started = time.monotonic()
    with pytest.raises(TimedOut):
        talk(model, seconds=0.6)
    assert time.monotonic() - started < 4.5  # it hangs for 5


def test_a_cancelled_deadline_stops_the_words(model, server):
    server.behave = ["slow"]
    deadline = Deadline(30)
    words = []

    def take(kind, text):
        words.append(text)
        if len(words) == 3:
            deadline.cancel()

    with pytest.raises(TimedOut):
        inference.generate(model, request(), deadline, take)
    assert len(words) < 12  # of some 130, one every 0.1 s


def test_tools_are_called_with_arguments_that_came_in_pieces(model, server):
    server.behave = ["tool"]
    tools = (ToolSpec("calculator", "computes", {"type": "object", "properties": {"expression": {"type": "string"}}}),)
    _, end, _ = talk(model, tools=tools)
    assert [(c.id, c.name, c.arguments) for c in end.calls] == [("call_a", "calculator", {"expression": "12*7"})]
    messages = (
        Message("user", "12*7?"),
        Message("assistant", calls=end.calls),
        Message("tool", "84", call_id="call_a", tool="calculator"),
    )
    words = []
    again = inference.generate(
        model, ChatRequest("", messages, "12*7?", tools), Deadline(10), lambda kind, text: words.append(text)
    )
    assert "".join(words) == "It is 84."
    assert again.stop == "end"
    assert server.seen[1]["messages"][-1]["tool_call_id"] == "call_a"


def test_an_address_of_a_stranger_is_judged_before_it_is_called(server):
    guarded = ProviderChat("openai", "stub", "sk-test-0000000000", server.url, guarded=True)
    with pytest.raises(outgoing.Refused):
        talk(guarded)
    assert server.seen == []
    outgoing.use(outgoing.Client(("127.0.0.0/8",)))
    try:
        assert talk(guarded)[0] == TEXT
    finally:
        outgoing.use(None)


def test_many_ask_at_once_each_with_a_client_of_their_own_that_is_closed_behind_them(model, server, monkeypatch):
    """Turns run beside each other in threads; a connection that is left to the collector belongs to a loop that has
    ended."""
    made = []
    opened = guarded_http.open_client
    monkeypatch.setattr(guarded_http, "open_client", lambda seconds: made.append(opened(seconds)) or made[-1])
    server.behave = ["answer"]
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda _: talk(model)[0], range(24)))
    server.behave = ["status:400"]
    with pytest.raises(Refused):
        talk(model)
    server.behave = ["hang"]
    with pytest.raises(TimedOut):
        talk(model, seconds=0.4)
    assert said == [TEXT] * 24
    assert len(set(map(id, made))) == 26
    assert all(each.is_closed for each in made)


def test_a_worker_that_is_warm_imports_nothing_with_its_first_turn(server):
    """The library takes seconds to import; a person would wait for it."""
    code = f"""
import sys
from domain import inference
inference.configure({{"model": "extractive", "openai_api_key": "sk-0000000000", "openai_base_url": {server.url!r}}})
inference.drivers().chats["openai"].warm()
known = set(sys.modules)
request = inference.ChatRequest("Be brief.", (inference.Message("user", "When?"),), "When?")
inference.generate(inference.drivers().chat("openai"), request, inference.Deadline(20), lambda kind, words: None)
print(sorted(name for name in set(sys.modules) - known if name.split(".")[0] in ("pydantic_ai", "openai", "httpx2")))
"""
    server.behave = ["answer"]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    late = [name for name in json.loads(done.stdout.replace("'", '"')) if name.count(".") < 2]
    assert late == []


def test_every_configured_model_is_warmed_up(monkeypatch):
    warmed = []
    monkeypatch.setattr(ProviderChat, "warm", lambda self: warmed.append(self.vendor))
    made = inference.configure({"openai_api_key": "sk-0000000000", "anthropic_api_key": "sk-0000000000"})
    made.warm()
    assert sorted(warmed) == ["anthropic", "openai"]
    inference.configure({})


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini", "mistral", "xai", "openrouter", "azure_openai"])
def test_every_vendors_client_can_be_made(vendor):
    address = "https://x.openai.azure.com" if vendor == "azure_openai" else None
    model = ProviderChat(vendor, "made/name", "key-000000", address)
    assert model._model().model_name == "made/name"


def test_a_key_file_that_is_none_is_a_refusal():
    with pytest.raises(Refused):
        ProviderChat("vertex_ai", "gemini", "not json", project="p", location="europe-west4")._model()


def test_nothing_of_a_client_is_imported_before_it_is_used():
    code = (
        "import sys, domain.inference; domain.inference.configure({}); "
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('pydantic_ai', 'openai', 'anthropic', 'google', 'mistralai', 'onnxruntime', 'xllamacpp', 'stdnum')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# --- the extractive assistant -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def quoting(minilm):
    return ExtractiveChat(lambda: minilm)


SOURCES = (
    inference.Source(
        1, "Depot", "The depot opens at six in the morning. It is closed on Sundays. Forklifts need a licence."
    ),
    inference.Source(2, "Canteen", "Bread is baked daily. The canteen serves soup from noon."),
)


@pytest.mark.parametrize(
    ("question", "quoted"),
    [
        ("When does the depot open?", "opens at six in the morning.” [1]"),
        ("What does the canteen serve?", "serves soup from noon.” [2]"),
        ("Who won the world cup?", None),
        ("How do I request parental leave?", None),
    ],
)
def test_it_quotes_what_supports_an_answer_and_else_says_that_it_does_not_know(quoting, question, quoted):
    words = []
    asked = (Message("user", question), Message("tool", "", tool="search_documents", call_id="c"))
    request = ChatRequest("", asked, question, (ToolSpec("search_documents", "", {}),), SOURCES)
    quoting.generate(request, Deadline(10), lambda kind, text: words.append(text))
    text = "".join(words)
    assert (quoted in text) if quoted else text == UNKNOWN


def test_passing_faults_are_not_shown_as_what_they_were():
    assert "provider" in Passing().message
