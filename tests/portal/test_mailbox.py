"""The development mailbox: there for this machine while there is no mail server, and harmless whatever a mail holds."""

from __future__ import annotations

import os
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from domain.kernel.ids import new_id
from domain.notifications import addresses, catalogue, composing
from domain.notifications.drivers import Folder

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
LINK = "https://app.example/verify?token=abc&n=1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("installation")


@pytest.fixture(scope="module")
def url(serve, folder):
    return serve(data_dir=str(folder))


def put(folder: Path, subject: str, html: str = "<p>Hello</p>") -> str:
    """A mail as the platform writes it."""
    name = str(new_id())
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Thalweg <no-reply@localhost>", "ada@example.com", subject
    message["Date"] = "Sun, 01 Mar 2026 12:30:00 +0000"
    message.set_content(f"Hello,\n\n{LINK}\n\n<b>not bold</b>\n")
    message.add_alternative(html, subtype="html")
    (folder / "mail").mkdir(exist_ok=True)
    (folder / "mail" / f"{name}.eml").write_bytes(message.as_bytes())
    return name


def test_mails_are_listed_newest_first_and_can_be_read(url, folder):
    old, new = put(folder, "Old & first"), put(folder, "New")
    page = httpx.get(f"{url}/mailbox", headers=BROWSER)
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    assert page.text.index(new) < page.text.index(old)
    assert "Old &amp; first" in page.text
    read = httpx.get(f"{url}/mailbox/{new}", headers=BROWSER).text
    assert 'href="https://app.example/verify?token=abc&amp;n=1"' in read
    assert "&lt;b&gt;not bold&lt;/b&gt;" in read


def test_programs_get_the_links_of_a_mail(url, folder):
    name = put(folder, "For programs")
    listed = httpx.get(f"{url}/mailbox").json()
    assert listed["mails"][0] == {
        "id": name,
        "date": "2026-03-01T12:30:00Z",
        "from": "Thalweg <no-reply@localhost>",
        "to": "ada@example.com",
        "subject": "For programs",
    }
    assert httpx.get(f"{url}/mailbox/{name}").json()["links"] == [LINK]


def test_what_is_no_mail_is_not_found_and_a_broken_one_breaks_nothing(url, folder):
    put(folder, "Good")
    broken = new_id()
    (folder / "mail" / f"{broken}.eml").write_bytes(
        b"\xff\xfe\x00Subject: =?utf-8?b?////?=\r\nContent-Type: multipart/x\r\n\r\n"
    )
    (folder / "mail" / "secret.eml").write_text("Subject: secret\n\nnot ours")
    assert httpx.get(f"{url}/mailbox", headers=BROWSER).status_code == 200
    assert "secret" not in httpx.get(f"{url}/mailbox").text
    assert httpx.get(f"{url}/mailbox/{broken}").status_code in (200, 404)
    for name in (new_id(), "secret", "..%2f..%2fetc%2fpasswd", "%00", "x" * 300):
        assert httpx.get(f"{url}/mailbox/{name}").status_code == 404


@pytest.mark.parametrize(
    "headers", [{"X-Forwarded-For": "203.0.113.9"}, {"Host": "rebound.example"}, {"Host": "192.0.2.1:8080"}]
)
def test_the_mailbox_is_shown_to_this_machine_alone(url, folder, headers):
    name = put(folder, "Private")
    for path in ("/mailbox", f"/mailbox/{name}"):
        answer = httpx.get(url + path, headers=headers)
        assert answer.status_code == 403
        assert "Private" not in answer.text


def test_there_is_no_mailbox_beside_a_mail_server(serve, folder):
    beside = serve(data_dir=str(folder), mail_url="smtp://127.0.0.1:25")
    assert httpx.get(f"{beside}/mailbox").status_code == 404
    assert "/mailbox" not in httpx.get(beside, headers=BROWSER).text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_mail_runs_no_script_and_loads_nothing(url, folder, tab, theme):
    name = put(
        folder,
        "Hostile",
        "<script>parent.document.title='owned';top.location='https://evil.example/'</script>"
        "<img src='https://evil.example/pixel.gif'><link rel=stylesheet href='https://evil.example/x.css'>"
        "<iframe src='https://evil.example/'></iframe><form action='https://evil.example/'><input></form>"
        "<p style='color:red'>Hello <a id=go href='https://app.example/'>go</a></p>",
    )
    tab.show(1000, 900, theme)
    tab.open(f"{url}/mailbox/{name}")
    tab.settle(1)
    assert tab.addresses() == {url.removeprefix("http://")}
    assert "Hostile" in tab.run("document.title")
    assert tab.run("location.href") == f"{url}/mailbox/{name}"
    assert tab.run("document.documentElement.scrollWidth") <= 1000


PICTURES = os.environ.get("THALWEG_TEST_PICTURES")
"""A folder for pictures of these pages, for whoever wants to look at them."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_platforms_own_mails_fit_into_the_window_and_are_shown_without_a_complaint(url, folder, tab, theme):
    sample = {"text": "Ada Lovelace", "link": LINK, "moment": "2026-03-01T12:30:00Z", "count": 24}
    for template, kinds in catalogue.TEMPLATES.items():
        name = str(new_id())
        message = composing.compose(
            template=template,
            language="en",
            facts=catalogue.checked(template, {fact: sample[kind] for fact, kind in kinds.items()}),
            sender=addresses.sender_address("Thalweg <no-reply@localhost>"),
            recipient="ada@example.com",
            message_id=f"<{name}@localhost>",
            date=datetime.fromisoformat(sample["moment"]),
        )
        Folder(folder / "mail").deliver(message, sender="no-reply@localhost", recipient="ada@example.com")
        if template not in ("verify_email", "password_changed", "invite"):
            continue
        for width in (1100, 390):
            tab.show(width, 1000, theme)
            tab.open(f"{url}/mailbox/{name}")
            tab.settle(0.3)
            assert tab.complaints() == []
            assert tab.run("document.documentElement.scrollWidth") <= width
            assert tab.run("document.querySelector('iframe.mail').getBoundingClientRect().width") > width * 0.8
            if PICTURES:
                tab.picture(Path(PICTURES) / f"{template}-{theme}-{width}.png")
    for width in (1100, 390):
        tab.show(width, 900, theme)
        tab.open(f"{url}/mailbox")
        assert tab.run("document.documentElement.scrollWidth") <= width
        if PICTURES:
            tab.picture(Path(PICTURES) / f"list-{theme}-{width}.png")
