"""Bee Flow's knowledge on the running platform: read in, searched, shared, crawled; what tiers and people may not."""

from __future__ import annotations

import html
import pydoc
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from recipes import Person, World
from sqlalchemy import update

from domain import knowledge
from domain.knowledge.models import Webpage

ROOT = Path(__file__).parents[1]
QUESTION = "Which PostgreSQL extensions are needed?"
MEBIBYTE = 1 << 20


def ask(world: World, who: Person, method: str, path: str, **more: Any) -> httpx.Response:
    return httpx.request(method, f"{world.url}/beeflow/api{path}", headers=who.headers(), timeout=60, **more)


def base(world: World, who: Person, name: str = "Manuals", **more: Any) -> str:
    made = ask(world, who, "POST", "/knowledge", json={"name": name, **more})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def upload(world: World, who: Person, base_id: str, name: str, content: bytes, **form: Any) -> httpx.Response:
    files = {"file": (name, content, "application/octet-stream")}
    return ask(world, who, "POST", f"/knowledge/{base_id}/documents", files=files, data=form)


def search(world: World, who: Person, base_id: str, query: str = QUESTION, **more: Any) -> dict[str, Any]:
    found = ask(world, who, "POST", f"/knowledge/{base_id}/search", json={"query": query, **more})
    assert found.status_code == 200, found.text
    told: dict[str, Any] = found.json()
    return told


def until(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `look` answers once it answers something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not come")


def read_in(world: World, who: Person, base_id: str) -> list[dict[str, Any]]:
    """The base's documents, once none of them is waiting any more."""

    def ended() -> list[dict[str, Any]] | None:
        items: list[dict[str, Any]] = ask(world, who, "GET", f"/knowledge/{base_id}/documents").json()["items"]
        return items if items and all(each["status"] in ("completed", "failed") for each in items) else None

    found: list[dict[str, Any]] = until(ended)
    return found


def test_what_is_added_is_found_where_it_stands_until_it_is_removed(reading: Any, world: World) -> None:
    who = world.person("beeflow")
    base_id = base(world, who)
    content = (ROOT / "docs" / "operations.md").read_bytes()
    made = upload(world, who, base_id, "operations.md", content, title="Running it", tags=["manual"])
    assert made.status_code == 202, made.text
    assert made.headers["location"].endswith(f"/knowledge/{base_id}/documents")
    assert upload(world, who, base_id, "licence.txt", (ROOT / "LICENSE").read_bytes()).status_code == 202
    documents = {each["filename"]: each for each in read_in(world, who, base_id)}
    assert {each["status"] for each in documents.values()} == {"completed"}
    known = documents["operations.md"]
    for mode in ("hybrid", "semantic", "keyword"):
        found = search(world, who, base_id, mode=mode)
        best = found["items"][0]
        assert (found["mode"], best["documentId"], best["title"]) == (mode, known["id"], "Running it")
        assert any("PostgreSQL" in each["text"] for each in found["items"][:3]), mode
        assert [each["score"] for each in found["items"]] == sorted((e["score"] for e in found["items"]), reverse=True)
    assert search(world, who, base_id, tags=["other"])["items"] == []
    only = search(world, who, base_id, documentIds=[documents["licence.txt"]["id"]])["items"]
    assert {each["documentId"] for each in only} <= {documents["licence.txt"]["id"]}
    told = ask(world, who, "GET", f"/knowledge/{base_id}").json()
    assert (told["status"], told["indexing"], told["documentCount"]) == ("ready", None, 2)
    assert told["chunkCount"] == sum(each["chunkCount"] for each in documents.values()) > 2
    again = upload(world, who, base_id, "again.md", content)
    assert (again.status_code, again.json()["error"]) == (409, "duplicate_document")
    assert ask(world, who, "DELETE", f"/knowledge/{base_id}/documents/{known['id']}").status_code == 204
    assert known["id"] not in [each["documentId"] for each in search(world, who, base_id)["items"]]
    assert ask(world, who, "DELETE", f"/knowledge/{base_id}").status_code == 204
    assert ask(world, who, "GET", f"/knowledge/{base_id}").status_code == 404


def test_a_base_searches_in_its_own_way_unless_told_and_is_read_anew_by_new_sizes(reading: Any, world: World) -> None:
    who = world.person("beeflow")
    base_id = base(world, who, settings={"searchMode": "keyword", "minScore": 0.99})
    upload(world, who, base_id, "operations.md", (ROOT / "docs" / "operations.md").read_bytes())
    [before] = read_in(world, who, base_id)
    found = search(world, who, base_id, "backup of the whole installation, kept elsewhere")
    assert (found["mode"], found["items"]) == ("keyword", [])
    assert search(world, who, base_id, minScore=0, mode="hybrid")["items"]
    changed = ask(world, who, "PATCH", f"/knowledge/{base_id}", json={"settings": {"chunkSize": 300}})
    assert changed.json()["settings"] == {
        "chunkSize": 300,
        "chunkOverlap": 200,
        "searchMode": "keyword",
        "minScore": 0.99,
    }
    queued = ask(world, who, "POST", f"/knowledge/{base_id}/reindex")
    assert (queued.status_code, queued.json()["documents"]) == (202, 1)
    assert search(world, who, base_id, minScore=0, mode="hybrid")["items"], "the old passages serve meanwhile"
    until(lambda: ask(world, who, "GET", f"/knowledge/{base_id}").json()["indexing"] is None)
    [after] = read_in(world, who, base_id)
    assert after["chunkCount"] > before["chunkCount"]


def test_a_file_that_cannot_be_read_says_why_and_one_that_lies_is_refused(reading: Any, world: World) -> None:
    who = world.person("beeflow")
    base_id = base(world, who)
    assert upload(world, who, base_id, "a.pdf", b"MZ\x90\x00\x03\x00\x00\x00").status_code == 415
    assert upload(world, who, base_id, "broken.pdf", b"%PDF-1.7\n1 0 obj\n<<").status_code == 202
    [broken] = read_in(world, who, base_id)
    assert (broken["status"], broken["error"]["code"]) == ("failed", "unreadable")
    assert ask(world, who, "GET", f"/knowledge/{base_id}").json()["status"] == "degraded"


def test_visibility_decides_who_finds_and_ownership_who_changes(reading: Any, world: World) -> None:
    owner = world.person("beeflow", role="owner")
    member = world.person("beeflow", organisation_id=owner.organisation_id, role="member")
    other = world.person("beeflow", organisation_id=owner.organisation_id, role="member")
    base_id = base(world, member)
    upload(world, member, base_id, "operations.md", (ROOT / "docs" / "operations.md").read_bytes())
    [document] = read_in(world, member, base_id)
    for stranger in (other, world.person("beeflow")):
        assert ask(world, stranger, "GET", f"/knowledge/{base_id}").status_code == 404
        assert ask(world, stranger, "POST", f"/knowledge/{base_id}/search", json={"query": QUESTION}).status_code == 404
        mine = base(world, stranger)
        assert search(world, stranger, mine)["items"] == []
        lent = ask(
            world,
            stranger,
            "POST",
            f"/knowledge/{mine}/search",
            json={"query": QUESTION, "documentIds": [document["id"]]},
        )
        assert lent.status_code == 404
    group = ask(world, owner, "POST", "/organisation/groups", json={"name": "Readers"}).json()["id"]
    ask(world, owner, "POST", f"/organisation/groups/{group}/members", json={"userId": str(other.account_id)})
    shared = {"visibility": "group", "groupIds": [group]}
    assert ask(world, member, "PATCH", f"/knowledge/{base_id}", json=shared).status_code == 200
    assert search(world, other, base_id)["items"][0]["documentId"] == document["id"]
    assert ask(world, other, "GET", f"/knowledge/{base_id}").json()["canEdit"] is False
    for method, path, more in (
        ("PATCH", "", {"json": {"name": "Mine"}}),
        ("DELETE", "", {}),
        ("POST", "/reindex", {}),
        ("DELETE", f"/documents/{document['id']}", {}),
    ):
        assert ask(world, other, method, f"/knowledge/{base_id}{path}", **more).status_code == 403, (method, path)
    assert upload(world, other, base_id, "a.txt", b"words").status_code == 403
    refused = ask(world, member, "PATCH", f"/knowledge/{base_id}", json={"visibility": "public"})
    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
    hidden = base(world, member, "Hidden")
    assert ask(world, owner, "GET", f"/knowledge/{hidden}").status_code == 404
    assert ask(world, owner, "PATCH", f"/knowledge/{hidden}", json={"visibility": "public"}).status_code == 200
    assert ask(world, owner, "DELETE", f"/knowledge/{hidden}").status_code == 204


def test_what_is_refused_and_how(running: Any, world: World) -> None:
    who = world.person("beeflow", plan="community")

    def made(**more: Any) -> tuple[int, str]:
        reply = ask(world, who, "POST", "/knowledge", json={"name": "Manuals", **more})
        return reply.status_code, reply.json().get("error", "")

    assert made(name="   ") == (400, "validation_failed")
    assert made(visibility="group") == (400, "validation_failed")
    assert made(visibility="group", groupIds=[str(UUID(int=7))]) == (422, "unprocessable")
    assert made(settings={"chunkSize": 200, "chunkOverlap": 200}) == (422, "unprocessable")
    assert made() == (201, "")
    assert made(name=" manuals ") == (409, "name_taken")
    assert made(name="Second") == (201, "")
    assert made(name="Third") == (201, "")
    full = ask(world, who, "POST", "/knowledge", json={"name": "Fourth"})
    assert (full.status_code, full.json()["error"]) == (402, "tier_limit")
    assert full.json()["details"] == {"limit": "knowledge_bases", "allowed": "3", "used": "3"}
    items = ask(world, who, "GET", "/knowledge").json()["items"]
    first = items[0]["id"]
    blank = ask(world, who, "PATCH", f"/knowledge/{first}", json={"name": "  "})
    assert blank.status_code == 400
    large = upload(world, who, first, "large.txt", b"words " * (11 * MEBIBYTE // 6))
    assert (large.status_code, large.json()["error"]) == (413, "payload_too_large")
    locked = ask(world, who, "POST", "/webpages", json={"url": "https://docs.lovelace.example/"})
    assert (locked.status_code, locked.json()["error"]) == (403, "license_feature_required")


# --- webpages ------------------------------------------------------------------------------------------------


class Site(ThreadingHTTPServer):
    """Python's own documentation of two modules, and a page that leads to them."""

    def __init__(self) -> None:
        self.pages = {
            "/docs/": '<a href="textwrap.html">one</a> <a href="gone.html">two</a> <a href="/secret.html">three</a>',
            "/docs/textwrap.html": f"<h1>textwrap</h1><pre>{html.escape(pydoc.plain(pydoc.render_doc('textwrap')))}",
            "/secret.html": "<p>Not below the path.</p>",
        }
        self.gate = threading.Event()
        """Until it is set, pages below /slow/ do not come."""
        self.kept = 0
        """Visitors that wait at it."""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/robots.txt":
                    status, body = 200, b"User-agent: *\nDisallow: /docs/forbidden"
                elif self.path.startswith("/slow/"):
                    site.kept += 1
                    site.gate.wait(30)
                    site.kept -= 1
                    status, body = 200, b"<html><body><main><p>It came in the end.</p></main></body></html>"
                elif words := site.pages.get(self.path):
                    main = f"<main><p>Documentation of modules of the standard library.</p>{words}</main>"
                    status, body = 200, f"<html><title>{self.path}</title><body>{main}</body></html>".encode()
                else:
                    status, body = 404, b""
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if self.path == "/robots.txt" else "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def crawled(world: World, who: Person, webpage_id: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        told: dict[str, Any] = ask(world, who, "GET", f"/webpages/{webpage_id}").json()
        return told if told["status"] in ("completed", "failed") else None

    found: dict[str, Any] = until(ended)
    return found


def test_a_crawled_site_is_searched_in_its_base_and_comes_back_with_the_next_crawl(
    reading: Any, world: World, site: Site
) -> None:
    who = world.person("beeflow")
    base_id = base(world, who, "Standard library")
    wanted = {"url": f"{site.url}/docs/", "knowledgeBaseId": base_id, "depth": 1, "maxPages": 5, "refresh": "weekly"}
    made = ask(world, who, "POST", "/webpages", json=wanted)
    assert made.status_code == 202, made.text
    assert (made.json()["status"], made.json()["text"]) == ("pending", None)
    webpage_id = made.json()["id"]
    assert ask(world, who, "POST", "/webpages", json=wanted).status_code == 409
    told = crawled(world, who, webpage_id)
    assert (told["status"], told["pageCount"], told["error"]) == ("completed", 2, None)
    assert {each["url"].rpartition("/")[2]: each["httpStatus"] for each in told["pages"]} == {
        "": 200,
        "textwrap.html": 200,
        "gone.html": 404,
    }
    assert "standard library" in told["text"]
    assert told["nextCrawlAt"] > told["lastCrawledAt"]
    documents = read_in(world, who, base_id)
    assert {each["source"] for each in documents} == {"webpage"}
    question = "How is a paragraph dedented so that common leading whitespace goes?"
    best = search(world, who, base_id, question)["items"][0]
    assert "whitespace" in best["text"]
    assert ask(world, who, "DELETE", f"/knowledge/{base_id}/documents/{best['documentId']}").status_code == 204
    left = [each["documentId"] for each in search(world, who, base_id, question)["items"]]
    assert best["documentId"] not in left
    with world.platform() as ctx:
        change = update(Webpage).where(Webpage.id == UUID(webpage_id)).values(next_crawl_at=ctx.now())
        ctx.session.execute(change)
        knowledge.webpages.due(ctx)
    until(lambda: ask(world, who, "GET", f"/webpages/{webpage_id}").json()["lastCrawledAt"] > told["lastCrawledAt"])
    read_in(world, who, base_id)
    assert "whitespace" in search(world, who, base_id, question)["items"][0]["text"]
    stranger = world.person("beeflow")
    assert ask(world, stranger, "GET", f"/webpages/{webpage_id}").status_code == 404
    assert ask(world, stranger, "GET", "/webpages").json()["items"] == []
    assert ask(world, who, "DELETE", f"/webpages/{webpage_id}").status_code == 204
    assert search(world, who, base_id, question)["items"] == []
    assert ask(world, who, "GET", f"/webpages/{webpage_id}").status_code == 404


def test_a_slow_site_keeps_neither_documents_nor_the_crawls_of_others_waiting(
    reading: Any, world: World, site: Site
) -> None:
    slow, other = world.person("beeflow"), world.person("beeflow")
    base_id = base(world, other)
    waiting = [
        ask(world, slow, "POST", "/webpages", json={"url": f"{site.url}/slow/{number}"}).json()["id"]
        for number in range(7)
    ]
    until(lambda: site.kept >= 4)
    began = time.monotonic()
    assert upload(world, other, base_id, "licence.txt", (ROOT / "LICENSE").read_bytes()).status_code == 202
    made = ask(world, other, "POST", "/webpages", json={"url": f"{site.url}/docs/textwrap.html"}).json()
    assert crawled(world, other, made["id"])["status"] == "completed"
    assert [each["status"] for each in read_in(world, other, base_id)] == ["completed"]
    took = time.monotonic() - began
    print(f"read in and crawled beside a slow site within {took:.1f} s")
    # One organisation has four crawls under way; the others of it wait, and are still promised.
    assert site.kept == 4
    site.gate.set()
    assert {crawled(world, slow, each)["status"] for each in waiting} == {"completed"}
    # It began before the slow pages were given up after 20 s each, so it cannot have waited for one of them.
    assert took < 15


def test_a_page_that_cannot_be_crawled_says_why(reading: Any, world: World, site: Site) -> None:
    who = world.person("beeflow")
    for path, code in (("/docs/forbidden", "robots_forbidden"), ("/docs/gone.html", "http_error")):
        made = ask(world, who, "POST", "/webpages", json={"url": f"{site.url}{path}"}).json()
        told = crawled(world, who, made["id"])
        assert (told["status"], told["error"]["code"], told["pageCount"]) == ("failed", code, 0)
    for address in ("http://10.0.0.1/", "http://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/", "http://nas/"):
        refused = ask(world, who, "POST", "/webpages", json={"url": address})
        assert (refused.status_code, refused.json()["error"]) == (422, "address_refused"), address
