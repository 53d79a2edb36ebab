"""Chat and documents in a real browser, over a model whose words the test says one by one."""

from __future__ import annotations

import json
import os
import queue
import re
import threading
import time
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import openpyxl
import pytest
from sqlalchemy import text

PASSWORD = "Staple-orbit-lantern-42"
PICTURES = os.environ.get("THALWEG_TEST_PICTURES")
BASE = "/thallus/api/v1"
TRAP = "<img src=x onerror=\"window.trapped='yes'\"><script>window.trapped='yes'</script>"
HANDBOOK = """# Leave

Whoever leaves the company gives notice three months ahead, in writing.

# Travel

A hotel costs at most 140 euros a night.
"""
PATIENCE = 90.0
"""Seconds."""
_numbers = count(1)


# --- a model that says what the test tells it ------------------------------------------------------------------------


class Speaker(ThreadingHTTPServer):
    """Speaks OpenAI's protocol. `say` gives the next words, `use` calls a tool, `stop` ends the answer."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Speaking)
        self.acts = queue.Queue()
        self.round = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def say(self, *words):
        for each in words:
            self.acts.put(("say", each))

    def use(self, tool, **arguments):
        self.acts.put(("use", {"name": tool, "arguments": json.dumps(arguments)}))

    def stop(self):
        self.acts.put(("stop", None))

    def anew(self):
        """What is being said ends, and nothing is left of it."""
        self.round += 1
        time.sleep(0.3)
        self.acts.queue.clear()


class _Speaking(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            if body.get("stream"):
                self.stream()
            else:
                self.at_once()
        except OSError:
            pass  # the platform went away

    def at_once(self):
        message = {"role": "assistant", "content": "{}"}
        data = json.dumps(
            {
                "id": "c1",
                "object": "chat.completion",
                "created": 1_700_000_000,
                "model": "stub",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        while True:
            act, given = self.next(self.server.round)
            if act == "say":
                self.chunk({"role": "assistant", "content": given})
            elif act == "use":
                number = f"call_{next(_numbers)}"
                self.chunk({"tool_calls": [{"index": 0, "id": number, "type": "function", "function": given}]})
                self.chunk({}, "tool_calls")
                break
            else:
                self.chunk({}, "stop")
                break
        self.wfile.write(b"data: [DONE]\n\n")

    def next(self, begun):
        while self.server.round == begun:
            try:
                return self.server.acts.get(timeout=0.1)
            except queue.Empty:
                continue
        return "stop", None

    def chunk(self, delta, finished=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finished}
        frame = {
            "id": "c1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "stub",
            "choices": [choice],
        }
        self.wfile.write(f"data: {json.dumps(frame)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def mouth():
    server = Speaker()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def speaker(mouth):
    """Says nothing of what another test had it say."""
    mouth.anew()
    yield mouth
    mouth.anew()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def workspace(consoles, mouth):
    workers = [("worker", "--queue", name) for name in ("default", "interactive", "untrusted")]
    return consoles(
        "workspace",
        *workers,
        ("scheduler",),
        model="openai:stub",
        openai_api_key="sk-test",
        openai_base_url=mouth.url,
    )


@pytest.fixture
def tab(tab):
    """The browser's page, with patience for a machine that has much else to do."""
    tab.until = partial(tab.until, seconds=PATIENCE)
    tab.show(1280, 860, "light")
    return tab


# --- people and what they do -----------------------------------------------------------------------------------------


@pytest.fixture
def email(workspace):
    address = f"ada{next(_numbers)}@workspace.example"
    workspace.person(address)
    return address


def arrive(tab, script, seconds=PATIENCE):
    """Wait for something on a page that is only being gone to."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if tab.run(f"!!({script})"):
                return
        except AssertionError:  # it went away under the question
            time.sleep(0.05)
        time.sleep(0.05)
    raise AssertionError(f"never came to {script}")


def press(tab, key, modifiers=0):
    number = {"Enter": 13, "Tab": 9, "Escape": 27}[key]
    for kind in ("keyDown", "keyUp"):
        more = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
        named = {"key": key, "code": key, "windowsVirtualKeyCode": number, "modifiers": modifiers}
        tab.send("Input.dispatchKeyEvent", type=kind, **named, **more)


def write(tab, selector, text):
    tab.run(f"document.querySelector({json.dumps(selector)}).focus()")
    tab.send("Input.insertText", text=text)


def enter(tab, workspace, email, page="chat", query=""):
    """To a page of the workspace over its way in and the sign-in page, as a new person goes."""
    tab.open(f"{workspace.url}/console/{page}{query}")
    tab.until("document.querySelector('#way-in').checkVisibility()")
    tab.run("document.querySelector('#way-in a.button').click()")
    arrive(tab, "document.querySelector('#login button[type=submit]')?.disabled === false")
    write(tab, "#login [name=email]", email)
    write(tab, "#login [name=password]", PASSWORD)
    press(tab, "Enter")
    arrive(tab, f"location.pathname === '/console/{page}' && document.querySelector('#desk').checkVisibility()")


def reload(tab):
    tab.reload()
    arrive(tab, "document.querySelector('#desk').checkVisibility()")


def ask(tab, text):
    write(tab, "#message", text)
    press(tab, "Enter")
    tab.until(f"[...document.querySelectorAll('.question .body')].some(e => e.textContent === {json.dumps(text)})")


def answer(tab):
    """The words of the last answer."""
    return tab.run("[...document.querySelectorAll('.answer > .body')].at(-1)?.innerText.trim() ?? ''")


def answers(tab, text):
    wanted = json.dumps(text)
    tab.until(f"[...document.querySelectorAll('.answer > .body')].at(-1)?.innerText.trim() === {wanted}")


def whole(tab):
    tab.until("!!document.querySelector('.answer') && !document.querySelector('.answer[aria-busy]')")


def upload(tab, *paths):
    root = tab.send("DOM.getDocument")["root"]["nodeId"]
    field = tab.send("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
    tab.send("DOM.setFileInputFiles", nodeId=field, files=[str(path) for path in paths])


def made(folder, name, text=HANDBOOK):
    path = folder / name
    path.write_text(text)
    return path


def read(tab, number=1):
    tab.until(f"document.querySelectorAll('#documents li.completed').length === {number}")


def called(tab, method, path):
    """A call beside the page, with a token of its own. Answers the JSON, or the status where there is none."""
    return tab.run(
        f"fetch('{BASE}/auth/refresh', {{method: 'POST'}}).then(a => a.json()).then(b => fetch('{BASE}{path}', "
        f"{{method: '{method}', headers: {{Authorization: 'Bearer ' + b.access_token}}}}))"
        ".then(a => a.status === 204 ? 204 : a.json())"
    )


def picture(tab, name):
    if PICTURES:
        tab.settle(0.3)
        tab.picture(Path(PICTURES) / f"{name}.png")


BREAKABLE = """
  const real = window.fetch;
  window.fetch = async (url, more) => {
    if (window.unreached) throw new TypeError('away');
    const reply = await real(url, more);
    if (!String(url).includes('/progress')) return reply;
    const pass = new TransformStream({ start(control) { window.cut = (why) => control.error(why); } });
    reply.body.pipeTo(pass.writable).catch(() => {});
    return new Response(pass.readable, { status: reply.status, headers: reply.headers });
  }; 0
"""
"""`cut` tears the stream of events off; while `unreached`, the server is not reached."""


# --- chat ------------------------------------------------------------------------------------------------------------


def test_a_new_person_signs_in_asks_and_watches_the_answer_come(workspace, speaker, tab, email):
    enter(tab, workspace, email)
    assert tab.run("document.querySelector('#who').textContent") == "Ada Lovelace"
    assert tab.run("document.activeElement.id") == "message"
    speaker.use("search_documents", query="notice")
    ask(tab, "How long is the notice?")
    tab.until("[...document.querySelectorAll('.steps li')].some(e => /Search documents/.test(e.textContent))")
    speaker.say("Three ", "**months**")
    answers(tab, "Three months")
    assert tab.run("document.querySelector('.answer').getAttribute('aria-busy')") == "true"
    assert tab.run("document.querySelector('#leave').checkVisibility()")
    speaker.say(" ahead.")
    speaker.stop()
    whole(tab)
    answers(tab, "Three months ahead.")
    assert tab.run("document.querySelector('.answer > .body strong').textContent") == "months"
    assert "1 agent" in tab.run("document.querySelector('.work summary').textContent")
    assert tab.run("document.querySelector('#says').textContent").strip() == "The answer is there."
    tab.until("document.querySelector('#title').textContent === 'How long is the notice?'")
    tab.until(
        "document.querySelector('#conversations [aria-current]')?.innerText.startsWith('How long is the notice?')"
    )
    assert tab.addresses() == {workspace.url.removeprefix("http://")}
    kept = tab.run("JSON.stringify([...Object.entries(localStorage), ...Object.entries(sessionStorage)])")
    assert "eyJ" not in kept, "no token is stored"
    assert "rt_" not in kept


def test_a_reload_in_the_middle_of_an_answer_loses_and_doubles_nothing(workspace, speaker, tab, email):
    enter(tab, workspace, email)
    speaker.use("search_documents", query="notice")
    ask(tab, "What is a thalweg?")
    speaker.say("The line ", "of deepest ")
    answers(tab, "The line of deepest")
    address = tab.run("location.href")
    assert "?conversation=" in address
    for words, so_far in (("flow ", "The line of deepest flow"), ("in a ", "The line of deepest flow in a")):
        reload(tab)
        assert tab.run("location.href") == address
        speaker.say(words)
        answers(tab, so_far)
        assert tab.run("document.querySelectorAll('.question').length") == 1
        assert tab.run("document.querySelectorAll('.answer').length") == 1
        assert tab.run("document.querySelectorAll('.steps li').length") > 0, "what happened before is shown again"
    speaker.say("valley.")
    speaker.stop()
    whole(tab)
    answers(tab, "The line of deepest flow in a valley.")
    steps = tab.run("[...document.querySelectorAll('.steps li')].map(e => e.textContent)")
    assert len([each for each in steps if "Search documents" in each]) == 1
    reload(tab)
    tab.until("document.querySelectorAll('.message').length === 2")
    assert answer(tab) == "The line of deepest flow in a valley."


def test_a_broken_connection_is_said_and_gone_on_with_behind_the_last_word(workspace, speaker, tab, email):
    enter(tab, workspace, email)
    tab.run(BREAKABLE)
    ask(tab, "Go on?")
    speaker.say("One ")
    answers(tab, "One")
    tab.run("window.unreached = true; window.cut(new TypeError('network'))")
    tab.until("/connection broke/.test(document.querySelector('.note')?.textContent)")
    speaker.say("two ", "three ")
    time.sleep(1)
    assert answer(tab) == "One"
    tab.run("window.unreached = false")
    answers(tab, "One two three")
    assert not tab.run("document.querySelector('.note')?.checkVisibility() ?? false")
    tab.run("window.cut(new TypeError('network'))")
    speaker.say("four.")
    speaker.stop()
    whole(tab)
    answers(tab, "One two three four.")


def test_who_stops_watching_comes_back_and_a_second_question_waits_its_turn(workspace, speaker, tab, email):
    enter(tab, workspace, email)
    ask(tab, "First?")
    speaker.say("Yes, ")
    answers(tab, "Yes,")
    write(tab, "#message", "And now?")
    press(tab, "Enter")
    tab.until("/still being worked on/.test(document.querySelector('#refusal').textContent)")
    assert tab.run("document.querySelector('#message').value") == "And now?"
    tab.run("document.querySelector('#leave').click()")
    tab.until("/do not watch this any more/.test(document.querySelector('#messages').textContent)")
    tab.run("document.querySelector('#new').click()")
    write(tab, "#message", "Second?")
    press(tab, "Enter")
    tab.until("/Another question of yours/.test(document.querySelector('#refusal').textContent)")
    assert tab.run("document.querySelector('#message').value") == "Second?"
    tab.run("[...document.querySelectorAll('#refusal button')].find(e => e.textContent === 'Go there').click()")
    answers(tab, "Yes,")
    assert tab.run("document.querySelector('#message').value") == "And now?", "each conversation keeps its draft"
    speaker.say("first.")
    speaker.stop()
    whole(tab)
    answers(tab, "Yes, first.")
    tab.run("document.querySelector('#new').click()")
    assert tab.run("document.querySelector('#message').value") == "Second?"


def test_shift_and_enter_begins_a_line_and_nothing_is_not_sent(workspace, speaker, tab, email):
    enter(tab, workspace, email)
    press(tab, "Enter")
    assert tab.run("document.querySelectorAll('.message').length") == 0
    write(tab, "#message", "one")
    press(tab, "Enter", modifiers=8)
    write(tab, "#message", "two")
    assert tab.run("document.querySelector('#message').value") == "one\ntwo"
    press(tab, "Enter")
    tab.until("document.querySelector('.question .body')?.textContent === 'one\\ntwo'")
    speaker.stop()
    whole(tab)


def test_earlier_conversations_are_found_opened_and_walked_through_with_the_browser(workspace, speaker, tab, email):
    enter(tab, workspace, email)
    for name in ("Harbours", "Mountains"):
        ask(tab, f"{name}?")
        speaker.say(f"Of {name}.")
        speaker.stop()
        answers(tab, f"Of {name}.")
        whole(tab)
        tab.run("document.querySelector('#new').click()")
        tab.until("document.querySelectorAll('.message').length === 0")
    write(tab, "#words", "harbours")
    tab.until("document.querySelectorAll('#conversations li').length === 1")
    tab.run("document.querySelector('#conversations button').click()")
    answers(tab, "Of Harbours.")
    assert tab.run("document.title") == "Harbours? · Thalweg"
    tab.run("history.back()")
    tab.until("document.querySelectorAll('.message').length === 0")
    tab.run("history.forward()")
    answers(tab, "Of Harbours.")
    tab.open(f"{workspace.url}/console/chat?conversation=01931c3e-8b20-7f3d-8a4e-6b0c1d2e3f40")
    tab.until("/no such conversation/.test(document.querySelector('#refusal').textContent)")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (429, {"detail": "Too many requests."}, "That was too much at once. Try again in 42 seconds."),
        (402, {"error": "tier_limit", "message": "Your plan has no more.", "details": None}, "Your plan has no more."),
        (403, {"error": "forbidden", "message": "Not for you.", "details": None}, "Not for you."),
        (500, {"error": "internal", "message": "x", "details": None}, "The server could not do it (500)."),
        (0, None, "The server cannot be reached."),
    ],
)
def test_refusals_are_told_in_plain_words_and_the_message_is_kept(workspace, tab, email, status, body, words):
    enter(tab, workspace, email)
    reply = json.dumps(json.dumps(body))
    tab.run(
        "window.real = window.fetch; window.fetch = (url, more) => !String(url).endsWith('/chat/stream') "
        "? window.real(url, more) : "
        + (
            "Promise.reject(new TypeError('away'))"
            if status == 0
            else f"Promise.resolve(new Response({reply}, {{status: {status}, headers: {{'Retry-After': '42'}}}}))"
        )
    )
    write(tab, "#message", "Hello?")
    press(tab, "Enter")
    tab.until("document.querySelector('#refusal').checkVisibility()")
    assert words in tab.run("document.querySelector('#refusal').innerText")
    assert tab.run("document.querySelector('#message').value") == "Hello?"
    assert tab.run("document.querySelectorAll('.message').length") == 0


def test_a_failed_answer_says_why_and_can_be_asked_again_also_after_a_reload(workspace, speaker, tab, email):
    enter(tab, workspace, email)
    ask(tab, "Will it work?")
    task = called(tab, "GET", "/chat/active")["tasks"][0]["task_id"]
    with workspace.context(platform=True) as ctx:  # as another surface of the platform does it
        ctx.session.execute(text("UPDATE turn SET cancel_requested_at = now() WHERE id = :id"), {"id": task})
    speaker.say("Some ")
    tab.until("/No answer. It was stopped/.test(document.querySelector('#messages').innerText)")
    reload(tab)
    tab.until("/No answer. It was stopped/.test(document.querySelector('#messages').innerText)")
    tab.run("[...document.querySelectorAll('.note button')].at(-1).click()")
    assert tab.run("document.querySelector('#message').value") == "Will it work?"


# --- getting in and out ----------------------------------------------------------------------------------------------


def test_a_page_that_is_reloaded_again_and_again_stays_signed_in(workspace, tab, email):
    """A refresh token is traded once, and a reload cuts the trade off: the next page waits for its cookie."""
    enter(tab, workspace, email)
    for pause in (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.0):
        with suppress(AssertionError):  # no page is there to be reloaded at the moment
            tab.send("Page.reload")
        time.sleep(pause)
    arrive(tab, "document.querySelector('#desk')?.checkVisibility()")
    reload(tab)
    assert tab.run("document.querySelector('#who').textContent") == "Ada Lovelace"


def test_an_ended_session_is_said_where_one_is_and_what_was_written_is_kept(workspace, tab, email):
    enter(tab, workspace, email)
    write(tab, "#message", "Half a thought")
    called(tab, "POST", "/auth/logout")
    press(tab, "Enter")
    tab.until("document.querySelector('#ended').checkVisibility()")
    assert tab.run("document.activeElement.closest('#ended') !== null")
    tab.run("document.querySelector('#ended a').click()")
    arrive(tab, "document.querySelector('#login button[type=submit]')?.disabled === false")
    write(tab, "#login [name=email]", email)
    write(tab, "#login [name=password]", PASSWORD)
    press(tab, "Enter")
    arrive(tab, "location.pathname === '/console/chat' && document.querySelector('#desk').checkVisibility()")
    tab.until("document.querySelector('#message').value === 'Half a thought'")


def test_signing_out_ends_the_session_and_leaves_nothing_behind(workspace, tab, email):
    enter(tab, workspace, email)
    write(tab, "#message", "A secret thought")
    tab.run("document.querySelector('#out').click()")
    arrive(tab, "location.pathname === '/account/sign-in'")
    assert "thought" not in tab.run("JSON.stringify(Object.entries(sessionStorage))")
    tab.open(f"{workspace.url}/console/chat")
    tab.until("document.querySelector('#way-in').checkVisibility()")


# --- documents -------------------------------------------------------------------------------------------------------


def test_files_are_uploaded_read_in_searched_opened_saved_and_deleted(workspace, tab, email, folder):
    enter(tab, workspace, email, "documents")
    target = folder / "saved"
    tab.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(target))
    upload(tab, made(folder, "handbook.md"), made(folder, "empty.txt", " \n \n"), made(folder, "picture.pdf", "no pdf"))
    tab.until("/bytes are not what/.test(document.querySelector('#uploads').innerText)")
    read(tab)
    tab.until("/Could not be read/.test(document.querySelector('#documents li.failed')?.innerText)")
    assert "no text" in tab.run("document.querySelector('#documents li.failed .state').innerText")
    tab.until("/General\\s*2/.test(document.querySelector('#collections').innerText)")

    write(tab, "#query", "How many months ahead is notice given?")
    press(tab, "Enter")
    tab.until("document.querySelectorAll('.match').length > 0")
    assert "notice" in tab.run("[...document.querySelectorAll('.match mark')].map(e => e.textContent)")
    assert tab.run("/\\d+ %/.test(document.querySelector('.score').innerText)")
    assert tab.run("document.activeElement.id") == "found-says"
    tab.run("document.querySelector('.match .name').focus()")
    press(tab, "Enter")
    tab.until("!!document.querySelector('dialog .passage.cited mark')")
    assert "Leave" in tab.run("document.querySelector('.passage.cited .where').innerText")
    picture(tab, "place")
    tab.run("[...document.querySelectorAll('dialog button')].find(e => /Download/.test(e.textContent)).click()")
    end = time.monotonic() + 20
    while not (target / "handbook.md").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert (target / "handbook.md").read_text() == HANDBOOK
    press(tab, "Escape")
    tab.until("!document.querySelector('dialog')")
    assert tab.run("document.activeElement.matches('.match .name')"), "the focus comes back to where it was"

    tab.run("document.querySelector('#back').click()")
    delete = "[...document.querySelectorAll('#documents li.completed .acts button')].at(-1).click()"
    tab.until("document.querySelector('#documents').checkVisibility()")
    read(tab)
    tab.run(delete)
    tab.until("!!document.querySelector('dialog.question')")
    assert tab.run("document.activeElement.textContent") == "No, keep it"
    press(tab, "Escape")
    tab.until("!document.querySelector('dialog')")
    assert tab.run("document.querySelectorAll('#documents li.completed').length") == 1
    tab.run(delete)
    tab.until("!!document.querySelector('dialog.question')")
    tab.run("document.querySelector('dialog .danger').click()")
    tab.until("document.querySelectorAll('#documents li.completed').length === 0")
    assert tab.addresses() == {workspace.url.removeprefix("http://")}


def test_files_are_dropped_into_the_collection_that_is_open(workspace, tab, email):
    enter(tab, workspace, email, "documents")
    write(tab, "#collection-name", "Rules")
    press(tab, "Enter")
    tab.until("document.querySelector('#files-says').textContent === 'Rules'")
    assert tab.run("document.querySelector('#into').textContent") == "Rules"
    tab.run(
        "(() => { const held = new DataTransfer(); for (const name of ['a.md', 'b.md']) held.items.add(new File(['# '"
        " + name + '\\n\\nWords of ' + name], name)); for (const kind of ['dragenter', 'drop']) document.querySelector"
        "('#drop').dispatchEvent(new DragEvent(kind, {dataTransfer: held, bubbles: true, cancelable: true})); })()"
    )
    read(tab, 2)
    tab.until("/Rules\\s*2/.test(document.querySelector('#collections').innerText)")
    reload(tab)
    tab.until("document.querySelector('#files-says').textContent === 'Rules'")
    read(tab, 2)
    tab.run("document.querySelector('#collections .remove').click()")
    tab.until("/2 documents move/.test(document.querySelector('dialog')?.innerText)")
    tab.run("document.querySelector('dialog .danger').click()")
    tab.until("/General\\s*2/.test(document.querySelector('#collections').innerText)")
    assert "Rules" not in tab.run("document.querySelector('#collections').innerText")


def test_the_same_file_twice_is_said_in_words(workspace, tab, email, folder):
    enter(tab, workspace, email, "documents")
    upload(tab, made(folder, "twice.md"))
    tab.until("document.querySelectorAll('#documents li').length === 1")
    upload(tab, folder / "twice.md")
    tab.until("/has the same file already/.test(document.querySelector('#uploads').innerText)")
    assert "could not be read" not in tab.run("document.querySelector('#uploads').innerText")
    assert tab.run("document.querySelectorAll('#documents li').length") == 1


def test_the_same_file_again_after_it_could_not_be_read_says_what_to_do(workspace, tab, email, folder):
    enter(tab, workspace, email, "documents")
    upload(tab, made(folder, "empty.txt", " \n \n"))
    tab.until("/Could not be read/.test(document.querySelector('#documents li.failed')?.innerText)")
    upload(tab, folder / "empty.txt")
    said = "document.querySelector('#uploads').innerText"
    tab.until(f"/has the same file already/.test({said})")
    assert "That one could not be read: delete it" in tab.run(said)


def test_a_number_in_an_answer_opens_the_cited_place_until_the_document_is_gone(workspace, speaker, tab, email, folder):
    enter(tab, workspace, email, "documents")
    upload(tab, made(folder, "leave.md"))
    read(tab)
    document = tab.run("document.querySelector('#documents li').dataset.id")
    tab.open(f"{workspace.url}/console/chat")
    arrive(tab, "document.querySelector('#desk').checkVisibility()")
    speaker.use("search_documents", query="notice months ahead")
    ask(tab, "How long is the notice?")
    speaker.say("Three months ahead [1].\n\n[1]: http://elsewhere.example/\n")
    speaker.stop()
    whole(tab)
    assert tab.run("document.querySelector('.answer .cite').textContent") == "1"
    assert tab.run("document.querySelectorAll('.answer a').length") == 0, "a definition leads no number elsewhere"
    for _ in range(2):  # once as it came, once as it is kept
        tab.run("document.querySelector('.answer .cite').focus()")
        press(tab, "Enter")
        tab.until("/three months ahead/.test(document.querySelector('dialog .passage.cited')?.innerText)")
        press(tab, "Escape")
        tab.until("!document.querySelector('dialog')")
        assert tab.run("document.activeElement.matches('.cite')")
        picture(tab, "chat")
        reload(tab)
        tab.until("!!document.querySelector('.answer .cite')")
    assert called(tab, "DELETE", f"/documents/{document}") == 204
    tab.run("document.querySelector('.answer .cite').click()")
    tab.until("/not there any more/.test(document.querySelector('dialog')?.innerText)")
    assert "three months ahead" in tab.run("document.querySelector('dialog .passage').innerText")


def test_a_place_in_a_workbook_is_named_by_sheet_and_cells_where_it_is_found_cited_and_opened(
    workspace, speaker, tab, email, folder
):
    book = openpyxl.Workbook()
    book.active.title = "Prices & terms"
    for row in (("Part", "Price"), ("Steam engine", 1200), ("Punched cards", 3)):
        book.active.append(row)
    book.save(folder / "parts.xlsx")
    place = "sheet “Prices & terms”, cells A1:B3"
    enter(tab, workspace, email, "documents")
    upload(tab, folder / "parts.xlsx")
    read(tab)
    document = tab.run("document.querySelector('#documents li').dataset.id")
    write(tab, "#query", "punched cards")
    press(tab, "Enter")
    tab.until("document.querySelectorAll('.match').length > 0")
    assert place in tab.run("document.querySelector('.match-head').innerText")
    tab.run("document.querySelector('.match .name').click()")
    tab.until("!!document.querySelector('dialog .passage.cited mark')")
    shown = tab.run("document.querySelector('.passage.cited .where').innerText")
    assert shown == f"The place S{place[1:]} · passage 1 of 1"

    tab.open(f"{workspace.url}/console/chat")
    arrive(tab, "document.querySelector('#desk').checkVisibility()")
    speaker.use("search_documents", query="price of the steam engine")
    ask(tab, "What does the engine cost?")
    speaker.say("1200 [1].")
    speaker.stop()
    whole(tab)
    for _ in range(2):  # once as it came, once as it is kept
        assert place in tab.run("document.querySelector('.answer .sources').textContent")
        named = tab.run("document.querySelector('.answer .cite').getAttribute('aria-label')")
        assert named == f"Source 1: parts.xlsx, {place}"
        tab.run("document.querySelector('.answer .cite').click()")
        tab.until("/Steam engine/.test(document.querySelector('dialog .passage.cited')?.innerText)")
        assert place[1:] in tab.run("document.querySelector('.passage.cited .where').innerText")
        reload(tab)
        tab.until("!!document.querySelector('.answer .cite')")
    assert called(tab, "DELETE", f"/documents/{document}") == 204
    tab.run("document.querySelector('.answer .cite').click()")
    tab.until("/not there any more/.test(document.querySelector('dialog')?.innerText)")
    assert place[1:] in tab.run("document.querySelector('dialog .passage .where').innerText")


# --- what strangers write --------------------------------------------------------------------------------------------


def test_markup_stays_text_in_messages_titles_answers_names_and_passages(workspace, speaker, tab, email, folder):
    enter(tab, workspace, email, "documents")
    name = "<img src=x onerror=window.trapped=1>.md"
    upload(tab, made(folder, name, f"# Trap {TRAP}\n\nThe trap says {TRAP} to everybody.\n"))
    read(tab)
    assert name in tab.run("document.querySelector('#documents').innerText")
    write(tab, "#query", "What does the trap say?")
    press(tab, "Enter")
    tab.until("document.querySelectorAll('.match').length > 0")
    assert "onerror" in tab.run("document.querySelector('.match').innerText")
    tab.run("document.querySelector('.match .name').click()")
    tab.until("!!document.querySelector('dialog .cited')")
    tab.run("document.querySelector('dialog').close()")
    tab.run("document.querySelector('#back').click()")
    tab.run("document.querySelector('#documents .acts button:last-child').click()")
    tab.until("!!document.querySelector('dialog.question')")
    assert name in tab.run("document.querySelector('dialog').innerText")
    press(tab, "Escape")

    tab.open(f"{workspace.url}/console/chat")
    arrive(tab, "document.querySelector('#desk').checkVisibility()")
    ask(tab, f"{TRAP} and [a](javascript:window.trapped=1)?")
    speaker.say(
        f"{TRAP}\n\n",
        f"{TRAP} inline <b>bold</b> and `{TRAP}`\n\n",
        "[run](javascript:window.trapped=1) [data](data:text/html,x) ![picture](http://elsewhere.example/p.png) ",
        "[fine](https://example.org/)\n\n<iframe srcdoc='x'></iframe>\n\n<a href='javascript:window.trapped=1'>x</a>",
    )
    speaker.stop()
    whole(tab)
    tab.until("/^<img/.test(document.querySelector('#title').textContent)")
    for _ in range(2):
        assert "<b>bold</b>" in answer(tab)
        assert tab.run("document.querySelectorAll('main :is(img, script:not(#facts), iframe, b, svg)').length") == 0
        links = tab.run("[...document.querySelectorAll('.message a')].map(e => [e.href, e.rel])")
        assert [href for href, _ in links] == ["http://elsewhere.example/p.png", "https://example.org/"]
        assert all("noopener" in rel and "noreferrer" in rel for _, rel in links)
        reload(tab)
        tab.until("document.querySelectorAll('.message').length === 2")
    assert tab.run("window.trapped") is None
    assert tab.addresses() == {workspace.url.removeprefix("http://")}


def test_a_script_that_writes_markup_fails_in_the_browser(workspace, tab):
    tab.open(f"{workspace.url}/console/chat")
    refused = (
        "(() => { try { document.body.innerHTML = '<p>x</p>'; return 'written'; } catch (e) { return e.name; } })()"
    )
    assert tab.run(refused) == "TypeError"


# --- for everybody ---------------------------------------------------------------------------------------------------

NAMELESS = """[...document.querySelectorAll('main :is(button, input, select, textarea, a, [role=region], progress)')]
  .filter(e => e.checkVisibility() && !e.getAttribute('aria-hidden'))
  .filter(e => !(e.getAttribute('aria-label') || (e.labels && e.labels.length) || e.textContent.trim()))
  .map(e => e.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_fit_into_the_window_can_be_read_and_name_their_parts(
    workspace, speaker, tab, email, contrast, folder, width, theme
):
    tab.show(width, 860, theme)
    enter(tab, workspace, email, "documents")
    upload(tab, made(folder, "handbook.md"))
    read(tab)

    def fits(name):
        tab.settle(0.3)
        assert tab.run("document.documentElement.scrollWidth") <= width, name
        assert tab.run(contrast) == [], name
        assert tab.run(NAMELESS) == [], name
        assert tab.run("[...document.querySelectorAll('h1')].filter(e => e.checkVisibility()).length") == 1, name
        picture(tab, f"{name}-{theme}-{width}")

    fits("documents")
    write(tab, "#query", "What may a hotel cost?")
    press(tab, "Enter")
    tab.until("document.querySelectorAll('.match').length > 0")
    fits("found")
    tab.run("document.querySelector('.match .name').click()")
    tab.until("!!document.querySelector('dialog .cited')")
    fits("place")
    assert [line for line in tab.complaints() if "401" not in line] == []

    tab.open(f"{workspace.url}/console/chat")
    arrive(tab, "document.querySelector('#desk').checkVisibility()")
    fits("chat-new")
    speaker.use("search_documents", query="hotel")
    ask(tab, "What may a hotel cost?")
    speaker.say(
        "## At most\n\n140 euros a night [1].\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\n" + "x" * 300 + "\n```\n"
    )
    tab.until("!!document.querySelector('.answer table')")
    fits("chat-working")
    speaker.stop()
    whole(tab)
    tab.run("document.querySelector('.work').open = true")
    fits("chat")
    if width < 500:
        assert not tab.run("document.querySelector('#shelf').checkVisibility()")
        tab.run("document.querySelector('#shelf-toggle').click()")
        assert tab.run("document.querySelector('#shelf').checkVisibility()")
        fits("shelf")
        press(tab, "Escape")
        assert tab.run("document.activeElement.id") == "shelf-toggle"
    assert tab.complaints() == []


def test_the_keyboard_alone_reaches_everything(workspace, tab, email):
    enter(tab, workspace, email)
    tab.run("document.querySelector('#shelf-says').closest('aside').querySelector('#new').focus()")
    reached = []
    for _ in range(12):
        reached.append(tab.run("document.activeElement.id"))
        press(tab, "Tab")
    for wanted in ("new", "words", "out", "thread", "message", "mode", "send"):
        assert wanted in reached, reached
    assert re.match("rgb", tab.run("getComputedStyle(document.querySelector('#message')).outlineColor"))
