"""Crawling: politely, within bounds, resumable, never where it may not go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from domain import knowledge
from domain.kernel import outgoing
from domain.kernel.clock import FixedClock
from domain.kernel.context import SystemActor
from domain.kernel.errors import Conflict, NotFound, Unprocessable
from domain.kernel.pages import OffsetPage
from domain.knowledge import crawling
from domain.knowledge.models import Webpage
from domain.knowledge.webpages import normal
from workers.registry import load_jobs


class Site:
    """A host of pages: path -> (status, headers, body)."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, dict(self.headers)))
                status, headers, body = site.pages.get(self.path, (404, {}, b"nothing"))
                etag = headers.get("ETag")
                if etag and self.headers.get("If-None-Match") == etag:
                    status, body = 304, b""
                self.send_response(status)
                for name, value in ({"Content-Type": "text/html"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def page(self, path: str, words: str, *links: str, status: int = 200, head: str = "", **headers: str) -> None:
        anchors = "".join(f'<a href="{link}">more</a> ' for link in links)
        top = f"<html><head><title>Page {path}</title>{head}</head>"
        body = f"{top}<body><h1>{path}</h1><p>{words}</p>{anchors}</body></html>"
        self.pages[path] = (status, headers, body.encode())

    def seen(self, path: str) -> int:
        return sum(1 for asked, _ in self.asked if asked == path)


@pytest.fixture
def site(monkeypatch) -> Iterator[Site]:
    made = Site()
    monkeypatch.setattr(crawling, "PAUSE", 0.0)
    outgoing.use(outgoing.Client(allow=("127.0.0.0/8",)))
    yield made
    outgoing.use(None)
    made.server.shutdown()
    made.server.server_close()


def add(world, actor, url, **more):
    with world.ctx(actor) as ctx:
        return knowledge.webpages.add(ctx, url, **more).webpage.id


def get(world, actor, webpage_id):
    with world.ctx(actor) as ctx:
        return knowledge.webpages.get(ctx, webpage_id)


def test_a_page_is_crawled_searched_and_cited_by_its_address(world, site):
    site.page("/handbook/", "Whoever leaves gives notice three months ahead, in writing, to the office.")
    ada = world.person()
    base = world.collection(ada, "knowledge_base")
    webpage_id = add(world, ada, site.url + "/handbook/#top", collection_id=base, tags=["people"])
    assert get(world, ada, webpage_id).webpage.state == "pending"
    world.settle()
    found = get(world, ada, webpage_id)
    assert (found.webpage.state, found.page_count, found.webpage.title) == ("completed", 1, "Page /handbook/")
    assert "three months ahead" in found.text
    best = world.search(ada, "notice before leaving").passages[0]
    assert best.citation.url == site.url + "/handbook/"
    assert best.collection_id == base
    assert best.tags == ["people"]
    with world.ctx(ada) as ctx:
        listed = knowledge.list_documents(ctx, OffsetPage(), kind="knowledge_base").items
        assert [each.document.source for each in listed] == ["webpage"]
        assert [
            each.webpage.id for each in knowledge.webpages.list_webpages(ctx, OffsetPage(), search="handbook").items
        ]
        assert knowledge.webpages.list_webpages(ctx, OffsetPage(), search="elsewhere").total == 0


def test_what_waits_for_a_host_is_no_neighbour_of_what_reads_files(world, site):
    site.page("/", "A page that is slow to come keeps nobody's upload from being read.")
    ada = world.person()
    base = world.collection(ada, "knowledge_base")
    add(world, ada, site.url + "/", collection_id=base)
    world.upload(ada, b"A file that somebody waits for.", "waits.txt", collection_id=world.collection(ada))
    assert {job.name: job.queue for job in world.jobs()} == {
        "knowledge.crawl": "fetching",
        "knowledge.index": "untrusted",
    }
    crawl = load_jobs().find("knowledge.crawl")
    assert (crawl.queue, crawl.of_one) == ("fetching", 4)


def test_a_crawl_follows_links_below_its_path_as_deep_and_as_many_as_it_may(world, site):
    site.page("/docs/", "The first page of the documentation says this.", "a", "b#x", "/other", "https://example.org/x")
    site.page("/docs/a", "The second page says something else altogether.", "deep")
    site.page("/docs/b", "The third page has its own words to say.")
    site.page("/docs/deep", "This page is two links away from the first.")
    site.page("/other", "Not below the path.")
    ada = world.person()
    webpage_id = add(world, ada, site.url + "/docs/", depth=1, max_pages=10)
    world.settle()
    found = get(world, ada, webpage_id)
    assert [part.url.removeprefix(site.url) for part in found.parts] == ["/docs/", "/docs/a", "/docs/b"]
    assert site.seen("/other") == site.seen("/docs/deep") == 0
    few = add(world, world.person(), site.url + "/docs/", depth=2, max_pages=2)
    world.settle()
    assert get(world, SystemActor("test"), few).page_count == 2


def test_robots_txt_is_kept(world, site):
    site.pages["/robots.txt"] = (200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /private/\n")
    site.page("/", "The open page has words for everybody.", "/private/page", "/open")
    site.page("/open", "This page is open as well, as anybody can see.")
    site.page("/private/page", "This page is nobody's business.")
    ada = world.person()
    webpage_id = add(world, ada, site.url + "/", depth=1, max_pages=10)
    refused = add(world, ada, site.url + "/private/page")
    world.settle()
    assert site.seen("/private/page") == 0
    assert get(world, ada, webpage_id).page_count == 2
    assert get(world, ada, refused).webpage.failure_code == "robots_forbidden"


@pytest.mark.parametrize(
    ("status", "head", "headers", "code"),
    [
        (404, "", {}, "http_error"),
        (500, "", {}, "http_error"),
        (200, "<meta name=robots content='noindex'>", {}, "robots_forbidden"),
        (200, "", {"Content-Type": "image/png"}, "unreadable"),
        (302, "", {"Location": "/page"}, "http_error"),
        (302, "", {"Location": "http://169.254.169.254/latest/meta-data"}, "address_refused"),
        (302, "", {"Location": "http://[::ffff:10.0.0.1]/"}, "address_refused"),
        (302, "", {"Location": "file:///etc/passwd"}, "address_refused"),
    ],
)
def test_a_page_that_cannot_be_read_says_why(world, site, status, head, headers, code):
    site.page("/page", "Words of a page.", status=status, head=head, **headers)
    ada = world.person()
    webpage_id = add(world, ada, site.url + "/page")
    world.settle()
    found = get(world, ada, webpage_id).webpage
    assert (found.state, found.failure_code) == ("failed", code)
    assert found.failure


def test_a_host_that_is_not_there_is_said_to_be_unreachable(world, site):
    """And not that its robots.txt forbids: that is what was asked for first."""
    ada = world.person()
    for url in ("http://host.invalid/", "http://127.0.0.1:1/"):
        webpage_id = add(world, ada, url)
        world.settle()
        assert get(world, ada, webpage_id).webpage.failure_code == "unreachable"


def test_a_robots_txt_that_cannot_be_read_forbids(world, site):
    site.page("/page", "Words of a page.")
    site.page("/robots.txt", "", status=503)
    ada = world.person()
    webpage_id = add(world, ada, site.url + "/page")
    world.settle()
    assert get(world, ada, webpage_id).webpage.failure_code == "robots_forbidden"


def test_a_page_that_is_too_large_is_said_to_be_so(world, site):
    site.page("/page", "word " * 1_100_000)
    ada = world.person()
    webpage_id = add(world, ada, site.url + "/page")
    world.settle()
    found = get(world, ada, webpage_id).webpage
    assert (found.failure_code, found.failure) == ("unreadable", "The answer is larger than 5 MB.")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost:5432/",
        "http://10.1.2.3/",
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "http://[::ffff:192.168.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://db.internal/",
        "http://printer.local/",
        "http://intranet/",
        "ftp://example.org/",
        "http://user:secret@example.org/",
        "http://example.org:99999/",
        "javascript:alert(1)",
        "http:///nohost",
    ],
)
def test_addresses_that_are_not_of_the_public_internet_are_refused_at_once(world, url):
    outgoing.use(None)
    with pytest.raises(Unprocessable) as refused:
        add(world, world.person(), url)
    assert refused.value.facts["reason"] == "address_refused"


def test_a_name_that_resolves_to_a_private_address_is_refused_when_it_is_visited(world, monkeypatch):
    import socket

    outgoing.use(None)
    private = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.168.1.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: private)
    visitor = crawling.Visitor("http://rebinding.example/")
    task = crawling._Task(None, "http://rebinding.example/", 0, None, None, None, False)
    with pytest.raises(crawling.Failed) as failed:
        visitor.visit(task)
    assert failed.value.code == "address_refused"


def test_spellings_of_an_address_are_one(world, site):
    assert normal("HTTP://Example.ORG:80/a?b=1#c") == "http://example.org/a?b=1"
    assert normal("https://example.org.") == "https://example.org/"
    ada = world.person()
    add(world, ada, site.url + "/x")
    with pytest.raises(Conflict):
        add(world, ada, site.url + "/x#part")
    add(world, world.person(), site.url + "/x")


def again(world, actor, webpage_id, **more):
    """Let a day pass."""
    clock = FixedClock(datetime.now(UTC) + timedelta(days=1, minutes=1))
    with world.database.context(SystemActor("cron"), None, platform=True, clock=clock) as ctx:
        assert knowledge.webpages.due(ctx) >= 1
    world.settle()
    return get(world, actor, webpage_id)


def test_a_page_is_looked_at_again_and_read_anew_only_when_it_changed(world, site):
    site.page("/p", "The notice period is three months.", ETag='"one"')
    ada = world.person()
    base = world.collection(ada, "knowledge_base")
    webpage_id = add(world, ada, site.url + "/p", collection_id=base, refresh="daily")
    world.settle()
    first = world.search(ada, "notice period").passages[0]
    unchanged = again(world, ada, webpage_id)
    assert unchanged.webpage.state == "completed"
    assert site.asked[-1][1].get("If-None-Match") == '"one"'
    assert world.search(ada, "notice period").passages[0].citation.version == 1
    site.page("/p", "The notice period is four months.", ETag='"two"')
    again(world, ada, webpage_id)
    best = world.search(ada, "notice period").passages[0]
    assert "four months" in best.text
    assert (best.citation.version, best.document_id) == (2, first.document_id)
    assert len(world.search(ada, "notice period").passages) == 1, "the old version is still found"


def test_what_a_site_no_longer_has_goes_with_the_next_crawl(world, site):
    site.page("/s/", "The root page of the site speaks of many things.", "gone")
    site.page("/s/gone", "A page about elephants that will be gone.")
    ada = world.person()
    base = world.collection(ada, "knowledge_base")
    webpage_id = add(world, ada, site.url + "/s/", collection_id=base, depth=1, max_pages=5, refresh="daily")
    world.settle()
    assert any("elephants" in each.text for each in world.search(ada, "elephants").passages)
    site.page("/s/", "The root page of the site speaks of fewer things.")
    del site.pages["/s/gone"]
    assert again(world, ada, webpage_id).page_count == 1
    assert not any("elephants" in each.text for each in world.search(ada, "elephants").passages)


def test_a_crawl_that_is_killed_goes_on_and_reads_each_page_once(world, site, killed):
    names = [f"p{number}" for number in range(4)]
    site.page("/k/", "The first page leads to all the others, which is why.", *names)
    for name in names:
        site.page(f"/k/{name}", f"The page {name} has words of its own to say to us.")
    ada = world.person()
    base = world.collection(ada, "knowledge_base")
    webpage_id = add(world, ada, site.url + "/k/", collection_id=base, depth=1, max_pages=10)
    lives = 0
    while [job for job in world.jobs() if job.name == "knowledge.crawl"]:
        steps = iter(range(1000))

        def die(point: str, steps=steps) -> None:
            if next(steps) == 9:
                raise killed

        lives += 1
        assert lives < 30
        try:
            world.run(next(job for job in world.jobs() if job.name == "knowledge.crawl"), world.work(die=die))
        except killed:
            continue
    assert lives > 2
    world.settle()
    found = get(world, ada, webpage_id)
    assert (found.webpage.state, found.page_count) == ("completed", 5)
    with world.ctx(ada) as ctx:
        documents = knowledge.list_documents(ctx, OffsetPage(), kind="knowledge_base").items
        assert len(documents) == len({each.document.url for each in documents}) == 5


def test_removing_a_webpage_removes_what_it_brought(world, site):
    site.page("/r", "Rhinoceroses are large and rather short of sight.")
    ada, bob = world.person(), world.person()
    base = world.collection(ada, "knowledge_base", visibility="organisation")
    webpage_id = add(world, ada, site.url + "/r", collection_id=base)
    world.settle()
    assert world.search(bob, "rhinoceroses").passages
    with world.ctx(ada) as ctx:
        knowledge.webpages.remove(ctx, webpage_id)
    assert world.search(bob, "rhinoceroses").passages == []
    world.settle()
    with pytest.raises(NotFound):
        get(world, ada, webpage_id)


def test_a_webpage_of_a_deleted_knowledge_base_is_not_crawled_and_goes_with_it(world, site):
    site.page("/d", "Words that nobody will read any more.")
    ada = world.person()
    base = world.collection(ada, "knowledge_base")
    webpage_id = add(world, ada, site.url + "/d", collection_id=base)
    with world.ctx(ada) as ctx:
        knowledge.delete_collection(ctx, base)
    world.settle()
    assert site.asked == []
    with world.ctx(ada) as ctx:
        assert ctx.session.get(Webpage, webpage_id) is None


def test_a_transcript_cites_the_second(world):
    from domain.knowledge.transcripts import Said

    ada = world.person()
    base = world.collection(ada, "knowledge_base")
    said = [
        Said(0.0, 4.0, "Good morning everybody.", "S1"),
        Said(4.5, 9.0, "The budget for the engine is approved.", "S2"),
    ]
    with world.ctx(ada) as ctx:
        knowledge.add_transcript(ctx, base, "Steering committee", said, language="en")
    world.settle()
    best = world.search(ada, "Was the budget approved?").passages[0]
    assert best.citation.position["seconds"] == 0.0
    assert best.title == "Steering committee"
    assert "S2: The budget" in best.text
