"""What the portal serves, over HTTP."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
import yaml

from thalweg.contract import project
from thalweg.portal.prose import beginning, inline, prose

PROJECT = project.find(Path(__file__).parent)
SURFACES = list(PROJECT.surfaces)
PAGES = [
    "/",
    "/health",
    "/changes",
    "/coverage",
    *(f"/{kind}/{key}" for key in SURFACES for kind in ("surfaces", "docs")),
]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Outline(HTMLParser):
    """Headings, ids, links and what a page loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.styled: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "a":
            self.links.append(str(found.get("href")))
        if tag in ("link", "script", "img"):
            address = found.get("href") or found.get("src")
            if address:
                self.loads.append(address)
        if tag == "script":
            self.scripts.append(found)
        self.styled += [tag for name in found if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_one_title_headings_in_order_and_unique_ids(portal, path):
    answer = portal.get(path, Accept=BROWSER)
    assert answer.headers["Content-Type"].startswith("text/html")
    outline = Outline(answer.text)
    assert outline.headings.count(1) == 1
    assert outline.headings[0] == 1
    assert all(after <= before + 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert len(outline.ids) == len(set(outline.ids))
    assert '<html lang="en">' in answer.text
    assert '<meta charset="utf-8">' in answer.text
    assert 'name="viewport"' in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_allows_no_script_or_style_of_its_own_and_no_other_host(portal, path):
    answer = portal.get(path, Accept=BROWSER)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert ("'unsafe-inline'" in policy["style-src"]) == path.startswith("/docs/")
    assert not any("http" in value or "*" in value for value in policy.values())
    outline = Outline(answer.text)
    assert all(address.startswith("/assets/") for address in outline.loads)
    assert all(script.get("src") or script.get("type") == "application/json" for script in outline.scripts)
    assert outline.styled == []
    for name in ("X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "X-Correlation-ID"):
        assert name in answer.headers


@pytest.mark.parametrize("path", [page for page in PAGES if not page.startswith("/docs/")])
def test_links_inside_the_portal_lead_somewhere(portal, path):
    outline = Outline(portal.get(path, Accept=BROWSER).text)
    pages: dict[str, httpx.Response] = {}
    for link in outline.links:
        assert link.startswith(("/", "#", "https://")), link
        page, _, anchor = link.partition("#")
        if page.startswith("https://"):
            continue
        if page and page not in pages:
            pages[page] = portal.get(page, Accept=BROWSER)
            assert pages[page].status_code == 200, link
        if anchor and not page.startswith("/docs/"):
            assert anchor in (Outline(pages[page].text).ids if page else outline.ids), link


@pytest.mark.parametrize("key", SURFACES)
def test_the_first_page_shows_each_surface_as_its_contract_has_it(portal, key):
    bundle = json.loads((PROJECT.generated / key / "bundle.json").read_text())
    text = portal.get("/", Accept=BROWSER).text
    assert bundle["info"]["title"] in text
    assert bundle["info"]["version"] in text
    assert PROJECT.base_path(key) in text
    count = sum(method in ("get", "put", "post", "delete", "patch") for i in bundle["paths"].values() for method in i)
    assert f"<dd>{count}</dd>" in text


@pytest.mark.parametrize("key", SURFACES)
def test_a_surface_s_page_has_every_operation_limit_and_error(portal, key):
    manifest = json.loads((PROJECT.generated / key / "operations.json").read_text())
    ids = set(Outline(portal.get(f"/surfaces/{key}", Accept=BROWSER).text).ids)
    for operation in manifest["operations"]:
        assert operation["operation_id"] in ids
        limits = operation["extensions"].get("x-limit", [])
        for name in [limits] if isinstance(limits, str) else limits:
            assert f"limit-{name}" in ids
    text = portal.get(f"/surfaces/{key}", Accept=BROWSER).text
    for status in {s for operation in manifest["operations"] for s in operation["statuses"] if s >= "400"}:
        assert f'<th scope="row">{status}</th>' in text


def test_limits_are_shown_with_the_numbers_that_are_kept(serve):
    url = serve(limits="thalium.invoke=7/minute", surfaces="thalium")
    text = httpx.get(f"{url}/surfaces/thalium").text
    assert "7 per minute" in text
    assert "300 per minute" in text


def test_a_surface_alone_is_shown_at_the_root_beside_the_pages(serve):
    url = serve(surfaces="thalium")
    assert "<code>/</code>" in httpx.get(f"{url}/").text
    assert httpx.get(f"{url}/v1/brain/01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21/status").status_code == 401
    configuration = re.search(r'id="reference-configuration">(.*?)</script>', httpx.get(f"{url}/docs/thalium").text)
    assert configuration is not None
    assert json.loads(configuration[1])["servers"][0]["url"] == "/"


# --- the contracts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", SURFACES)
@pytest.mark.parametrize(("suffix", "version"), [("", "3.0.3"), ("-3.1", "3.1.0")])
@pytest.mark.parametrize(
    ("form", "media_type"), [("json", "application/vnd.oai.openapi+json"), ("yaml", "application/vnd.oai.openapi")]
)
def test_a_contract_can_be_downloaded_in_every_form(portal, key, suffix, version, form, media_type):
    name = f"{key}{suffix}.{form}"
    answer = portal.get(f"/contracts/{name}")
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    document = json.loads(answer.content) if form == "json" else yaml.safe_load(answer.content)
    assert document["openapi"] == version
    source = json.loads((PROJECT.generated / key / "bundle.json").read_text())
    assert list(document["paths"]) == list(source["paths"])


def test_the_contract_is_the_committed_bundle_byte_for_byte(portal):
    assert portal.get("/contracts/thalium.json").content == (PROJECT.generated / "thalium/bundle.json").read_bytes()


@pytest.mark.parametrize("path", ["/contracts/thalium.json", "/contracts/thalium-3.1.yaml", "/assets/portal.css", "/"])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_what_a_client_has_is_not_sent_again(portal, path, encoding):
    first = portal.get(path, Accept_Encoding=encoding)
    again = portal.get(path, Accept_Encoding=encoding, If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = portal.get(path, Accept_Encoding=encoding, If_None_Match='"something-else"')
    assert other.status_code == 200


def test_compressed_and_plain_are_the_same_contract_under_different_tags(portal):
    packed = portal.get("/contracts/thalium.json", Accept_Encoding="gzip")
    plain = portal.get("/contracts/thalium.json", Accept_Encoding="identity")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.content == plain.content
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert "Accept-Encoding" in packed.headers["Vary"]


def test_an_asset_may_be_kept_for_good_under_the_name_that_pages_use(portal):
    outline = Outline(portal.get("/", Accept=BROWSER).text)
    for address in outline.loads:
        answer = portal.get(address)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert address.endswith(hashlib.sha256(answer.content).hexdigest()[:12])
    assert "immutable" not in portal.get("/assets/portal.css?v=old").headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/contracts/thalium.toml", "/contracts/..%2fpyproject.toml", "/assets/..%2fgate.py"])
def test_only_what_is_published_is_served(portal, path):
    assert portal.get(path).status_code == 404


def test_a_page_answers_head_without_a_body(portal):
    answer = httpx.head(portal.url + "/contracts/thalium.json")
    assert (answer.status_code, answer.content) == (200, b"")


# --- what is not there ------------------------------------------------------------------------------------


def test_an_unknown_page_is_a_page_for_people_and_json_for_programs(portal):
    page = portal.get("/nowhere", Accept=BROWSER)
    assert page.status_code == 404
    assert "There is no such page here." in page.text
    program = portal.get("/nowhere")
    assert program.status_code == 404
    assert program.json() == {"error": "Not Found", "message": "There is no such page here."}


@pytest.mark.parametrize("path", ["/surfaces/nowhere", "/docs/nowhere", "/limits/nowhere"])
def test_an_unknown_surface_is_not_found(portal, path):
    assert portal.get(path).status_code == 404


def test_a_method_that_a_page_does_not_take_says_which_it_does(portal):
    answer = httpx.post(portal.url + "/health")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_the_limits_of_a_surface_have_an_address_of_their_own(portal):
    answer = portal.get("/limits/thalium")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/surfaces/thalium#limits")


# --- metrics ----------------------------------------------------------------------------------------------


def test_metrics_are_shown_to_this_machine(portal):
    portal.get(f"/thalium/v1/brain/{portal.brain}/status", X_API_Key=portal.key)
    answer = portal.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'operation="getBrainStatus",status="200"' in answer.text


def test_metrics_tell_how_many_database_connections_are_in_use(portal):
    numbers = dict(
        line.rsplit(" ", 1) for line in portal.get("/metrics").text.splitlines() if line[:1] not in ("", "#")
    )
    in_use = float(numbers["thalweg_database_connections_in_use"])
    assert 0 <= in_use <= float(numbers["thalweg_database_connections_most"])
    assert float(numbers["thalweg_database_connections_most"]) >= 1


@pytest.mark.parametrize("header", ["X_Forwarded_For", "Forwarded", "X_Real_IP"])
def test_metrics_are_not_shown_to_whoever_comes_through_a_proxy(portal, header):
    assert portal.get("/metrics", **{header: "127.0.0.1"}).status_code == 403


def test_metrics_with_a_password_are_shown_to_whoever_knows_it(serve):
    url = serve(metrics_basic_auth="scraper:s3cret")
    refused = httpx.get(f"{url}/metrics")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert httpx.get(f"{url}/metrics", auth=("scraper", "wrong")).status_code == 401
    assert httpx.get(f"{url}/metrics", headers={"Authorization": "Basic not-base64"}).status_code == 401
    shown = httpx.get(f"{url}/metrics", auth=("scraper", "s3cret"), headers={"X-Forwarded-For": "203.0.113.9"})
    assert shown.status_code == 200


def test_metrics_that_are_switched_off_are_not_there(serve):
    assert httpx.get(f"{serve(metrics='false')}/metrics").status_code == 404


# --- prose ------------------------------------------------------------------------------------------------


def test_a_contract_s_text_cannot_bring_markup_or_scripts():
    shown = prose('Look: <script>alert(1)</script> [x](javascript:alert(1)) <img src=x onerror="y">')
    assert "<script" not in shown
    assert "<img" not in shown
    assert "href" not in shown
    assert "<b>" not in inline("a <b>c</b>")


def test_headings_of_a_text_begin_below_those_of_the_page():
    assert re.findall(r"<h(\d)", prose("# One\n\n## Two\n\n# Three")) == ["3", "4", "3"]
    assert re.findall(r"<h(\d)", prose("### One\n\n#### Two")) == ["3", "4"]


def test_a_beginning_ends_with_a_sentence():
    assert beginning("One two. Three four.", most=10) == "One two."
    assert beginning("# Title\n\nThe text.") == "The text."
    assert beginning("One.") == "One."
    assert beginning("") == ""


# --- hostile paths ----------------------------------------------------------------------------------------

HOSTILE = [
    b"//",
    b"/%ff%fe",
    b"/%00",
    b"/docs/%ed%a0%80",
    b"/contracts/" + b"a" * 8000,
    b"/surfaces/thalium/",
    b"/v1/brain//invoke",
    b"/v1/brain/a%2Fb/status",
    b"/v1/brain/01931c3e-7a10-7c2e-9b1f-5a9d3e0c4b21/status/",
    b"/assets/%2e%2e/gate.py",
]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("alone", [False, True])
def test_a_strange_path_is_never_an_error_of_ours(portal, serve, request, path, alone):
    if alone:
        if not hasattr(request.module, "alone"):
            request.module.alone = serve(surfaces="thalium")
        url = request.module.alone
    else:
        url = portal.url
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 10) as connection:
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
        status = int(connection.makefile("rb").readline().split()[1])
    assert status < 500
    assert status != 200 or path == b"//"
