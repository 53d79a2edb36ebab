"""The workspace pages over HTTP, as their scripts work: what the page names is all that they need."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import httpx
import pytest

WORDS = b"# Leave\n\nWhoever leaves gives notice three months ahead, in writing.\n"
PAGES = ("chat", "documents")
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Window:
    """A browser that has one page open: it knows the operations that the page names, and its cookies."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=30)
        self.facts: dict[str, Any] = {}
        self.bearer: str | None = None
        self.cookie: str | None = None
        """A browser sends a `Secure` cookie to its own machine over HTTP; this client does not: carried here."""

    def keep(self, reply: httpx.Response) -> httpx.Response:
        found = re.match(r"refresh_token=([^;]*)", reply.headers.get("set-cookie", ""))
        if found is not None:
            self.cookie = found[1] or None
        return reply

    def open(self, page: str) -> httpx.Response:
        reply = self.client.get(f"/console/{page}", headers=BROWSER)
        assert reply.status_code == 200
        found = re.search(r'id="facts">(.*?)</script>', reply.text)
        assert found is not None
        self.facts = json.loads(found[1])
        return reply

    def sign_in(self, email: str, password: str) -> httpx.Response:
        return self.keep(self.client.post("/thallus/api/v1/auth/login", json={"email": email, "password": password}))

    def renew(self) -> httpx.Response:
        """What a page does first."""
        where = self.facts["calls"]["refreshToken"]
        headers = {} if self.cookie is None else {"Cookie": f"refresh_token={self.cookie}"}
        reply = self.keep(self.client.request(where["method"], where["url"], headers=headers))
        if reply.is_success:
            self.bearer = reply.json()["access_token"]
        return reply

    def call(self, name: str, path: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        where = self.facts["calls"][name]
        url = re.sub(r"\{(\w+)\}", lambda found: (path or {})[found[1]], where["url"])
        headers = {"Authorization": f"Bearer {self.bearer}", **more.pop("headers", {})}
        return self.keep(self.client.request(where["method"], url, headers=headers, **more))


@pytest.fixture
def window(running: Any) -> Window:
    return Window(running.url)


@pytest.fixture
def signed_in(window: Window, world: Any) -> Window:
    person = world.person("thallus")
    assert window.sign_in(person.email, person.password).status_code == 200
    window.open("chat")
    assert window.renew().status_code == 200
    return window


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_the_same_for_everybody_and_lets_nothing_in_from_elsewhere(
    window: Window, signed_in: Window, page: str
) -> None:
    reply = window.open(page)
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "set-cookie" not in reply.headers
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//", reply.text) == []
    assert (
        re.findall(r"<script(?! (?:type=\"module\" )?src=| type=\"application/json\")|\son\w+=|\sstyle=", reply.text)
        == []
    )
    assert Window(str(window.client.base_url)).open(page).text == reply.text


def test_all_that_a_page_calls_is_in_the_published_contract(window: Window) -> None:
    contract = window.client.get("/contracts/thallus.json").json()
    known = {
        (method.upper(), f"/thallus{path}")
        for path, item in contract["paths"].items()
        for method in item
        if method != "parameters"
    }
    for page in PAGES:
        window.open(page)
        assert {(one["method"], one["url"]) for one in window.facts["calls"].values()} <= known


def test_nobody_is_let_in_without_the_cookie_and_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    window: Window, world: Any
) -> None:
    window.open("chat")
    assert window.renew().status_code == 401
    person = world.person("thallus")
    cookie = window.sign_in(person.email, person.password).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "Secure" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/thallus/api/v1/auth" in cookie
    assert window.renew().status_code == 200
    assert window.call("getCurrentUser").json()["email"] == person.email
    assert window.call("logout").status_code == 200
    assert window.call("getCurrentUser").status_code == 401
    assert window.renew().status_code == 401


def test_a_sign_in_leads_on_to_the_pages_of_the_workspace_and_nowhere_else(window: Window) -> None:
    for then, onward in (
        ("chat", "/console/chat"),
        ("documents", "/console/documents"),
        ("https://elsewhere.example/", None),
        ("//elsewhere.example", None),
        ("/console/chat", None),
        ("", None),
    ):
        page = window.client.get("/account/sign-in", params={"surface": "thallus", "then": then}).text
        found = re.search(r'id="site">(.*?)</script>', page)
        assert found is not None
        assert json.loads(found[1])["onward"] == onward
        assert "elsewhere" not in page
    page = window.client.get("/account/sign-in", params={"surface": "starter", "then": "chat"}).text
    assert '"onward": null' in page


def test_a_question_is_asked_once_watched_torn_off_and_gone_on_with(signed_in: Window) -> None:
    question, key = {"message": "What time is it?", "mode": "ask"}, {"Idempotency-Key": "one-and-the-same-question"}
    task = signed_in.call("startChat", json=question, headers=key).json()
    assert signed_in.call("startChat", json=question, headers=key).json() == task, "sent again for want of an answer"
    path = {"task_id": task["task_id"]}

    def events(last: str) -> list[dict[str, Any]]:
        told = signed_in.call("streamChatProgress", path, params={"last_id": last}).text
        return [json.loads(line[5:]) for line in told.splitlines() if line.startswith("data:")]

    whole = [event for event in events("0") if event["update_type"] != "heartbeat"]
    assert whole[-1]["update_type"] == "complete"
    words = "".join(event.get("delta", "") for event in whole)
    for place in range(len(whole) - 1):
        assert events(whole[place]["event_id"]) == whole[place + 1 :]
    state = signed_in.call("getChatState", path).json()
    assert "".join(event.get("delta", "") for event in state["events"]) == words
    messages = signed_in.call("listConversationMessages", {"conversation_id": task["conversation_id"]}).json()["items"]
    assert [(each["role"], each["content"]) for each in messages] == [
        ("user", question["message"]),
        ("assistant", words),
    ]
    assert messages[1]["task_id"] == task["task_id"]


def test_a_file_is_uploaded_read_found_and_opened_at_its_place(signed_in: Window, reading: Any) -> None:
    signed_in.open("documents")
    made = signed_in.call("uploadDocument", files={"file": ("leave.md", WORDS, "text/markdown")})
    assert made.status_code == 201, made.text
    path = {"document_id": made.json()["id"]}
    end = time.monotonic() + 60
    while (told := signed_in.call("getDocumentStatus", path).json())["status"] != "completed":
        assert time.monotonic() < end, told
        time.sleep(0.2)
    (match,) = signed_in.call("queryDocuments", json={"query": "How long is the notice?", "limit": 1}).json()["results"]
    marked = [match["text"][each["start"] : each["end"]] for each in match["highlights"]]
    assert "notice" in marked
    chunks = signed_in.call("listDocumentChunks", path, params={"limit": 100}).json()["items"]
    assert [each["heading"] for each in chunks if each["id"] == match["chunk_id"]] == ["Leave"]
    assert signed_in.call("downloadDocument", path).content == WORDS
    again = signed_in.call("uploadDocument", files={"file": ("leave.md", WORDS, "text/markdown")})
    assert (again.status_code, again.json()["error"]) == (409, "duplicate_document")
    assert signed_in.call("deleteDocument", path).status_code == 204
    assert signed_in.call("getDocument", path).status_code == 404
