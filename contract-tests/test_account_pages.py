"""The account pages over HTTP, as their script works: the page's form, the mail, the page that the mail leads to."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urlsplit

import httpx
import pytest

from domain.identity import captcha

PASSWORD = "Staple-orbit-lantern-42"
FRESH = "Velvet-comet-harbour-77"


@dataclass
class Sent:
    """A form of a page: where it goes, and the names of what it takes."""

    method: str
    url: str
    names: list[str] = field(default_factory=list)
    token: str | None = None
    """The name of the field for what stands behind `#`."""
    captcha: str | None = None


class Page(HTMLParser):
    """The forms of a page by operation, and what its script is told."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: dict[str, Sent] = {}
        self.facts: dict[str, Any] = {}
        self._form: Sent | None = None
        self._data = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._form = Sent(str(given["data-method"]), str(given["data-url"]))
            self.forms[str(given["id"])] = self._form
        elif tag in ("input", "textarea") and self._form is not None:
            name = str(given["name"])
            self._form.names.append(name)
            if "data-token" in given:
                self._form.token = name
            if "data-captcha" in given:
                self._form.captcha = name
        self._data = given.get("id") == "site"

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        self._data = False

    def handle_data(self, data: str) -> None:
        if self._data:
            self.facts = json.loads(data)


class Visitor:
    """Somebody with a browser."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=20)

    def open(self, name: str, surface: str) -> Page:
        page = self.client.get(f"/account/{name}", params={"surface": surface})
        assert page.status_code == 200
        return Page(page.text)

    def send(self, form: Sent, token: str | None = None, **values: Any) -> httpx.Response:
        assert values.keys() <= set(form.names)
        if form.token is not None and token is not None:
            values[form.token] = token
        if form.captcha is not None:
            challenge = self.client.get("/captcha/challenge").json()
            values[form.captcha] = "off" if challenge.get("provider") == "off" else captcha.solve(challenge)
        return self.client.request(form.method, form.url, json=values)

    def link(self, address: str, page: str, seconds: float = 30.0) -> tuple[str, str]:
        """The surface and the token of the link to a page in the newest mail to an address that has one."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for mail in self.client.get("/mailbox").json()["mails"]:
                if mail["to"] != address:
                    continue
                for link in self.client.get(f"/mailbox/{mail['id']}").json()["links"]:
                    where, token = urldefrag(link)
                    if urlsplit(where).path == f"/account/{page}":
                        return str(re.search(r"surface=(\w+)$", where).group(1)), token  # type: ignore[union-attr]
            time.sleep(0.3)
        raise AssertionError(f"no mail to {address} with a link to {page}")

    def call(self, page: Page, name: str, bearer: str | None, **more: Any) -> httpx.Response:
        where = page.facts["calls"][name]
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return self.client.request(where["method"], where["url"], headers=headers, **more)


@pytest.fixture
def visitor(world):
    return Visitor(world.url)


def reach(tokens: Any, path: str) -> Any:
    for name in path.split("."):
        tokens = tokens[name]
    return tokens


def test_thallus_sign_up_mail_verify_sign_in_me(visitor, world):
    email = world.email()
    page = visitor.open("sign-up", "thallus")
    made = visitor.send(page.forms["register"], email=email, name="Ada Lovelace", password=PASSWORD)
    assert made.status_code == 201

    page = visitor.open("sign-in", "thallus")
    assert visitor.send(page.forms["login"], email=email, password=PASSWORD).status_code == 403  # not verified
    surface, token = visitor.link(email, "verify")
    verified = visitor.send(visitor.open("verify", surface).forms["verifyEmail"], token)
    assert verified.status_code == 200
    assert visitor.send(visitor.open("verify", surface).forms["verifyEmail"], token).status_code == 400  # once

    signed = visitor.send(page.forms["login"], email=email, password=PASSWORD)
    access = reach(signed.json(), page.facts["tokens"]["access"])
    me = visitor.call(page, "me", access)
    assert me.status_code == 200
    assert {label: reach(me.json(), path) for label, path in page.facts["shown"]}["Mail address"] == email
    assert visitor.call(page, "out", access).status_code == 200
    assert visitor.call(page, "me", access).status_code == 401


def test_starter_register_mail_verify_sign_in_me_and_sessions(visitor, world):
    person = world.person("starter", verified=False)
    page = visitor.open("sign-in", "starter")
    assert visitor.call(page, "send_verification", person.token).status_code == 202
    surface, token = visitor.link(person.email, "verify")
    assert visitor.send(visitor.open("verify", surface).forms["verifyEmail"], token).status_code == 200
    signed = visitor.send(page.forms["login"], email=person.email, password=person.password).json()
    access = reach(signed, page.facts["tokens"]["access"])
    me = visitor.call(page, "me", access).json()
    assert reach(me, page.facts["verified"]) is True
    listed = visitor.call(page, "sessions", access).json()["sessions"]
    assert [one["current"] for one in listed].count(True) == 1
    assert len(listed) == 2
    name = page.facts["tokens"]["refresh"]
    fresh = visitor.call(page, "renew", None, json={name: signed[name]}).json()
    out = visitor.call(page, "out", fresh["access_token"], json={name: fresh[name]})
    assert out.status_code == 200


@pytest.mark.parametrize(
    ("surface", "forgot", "reset"),
    [("thallus", "forgotPassword", "resetPassword"), ("starter", "requestPasswordReset", "confirmPasswordReset")],
)
def test_a_forgotten_password_is_replaced_by_the_page_that_the_mail_leads_to(visitor, world, surface, forgot, reset):
    person = world.person(surface)
    assert visitor.send(visitor.open("forgot", surface).forms[forgot], email=person.email).is_success
    named, token = visitor.link(person.email, "reset")
    assert named == surface
    form = visitor.open("reset", surface).forms[reset]
    weak = visitor.send(form, token, new_password="aaaaaaaaaaaaaaaaaaaa")
    assert weak.status_code in (400, 422)
    assert visitor.send(form, token, new_password=FRESH).status_code == 200
    page = visitor.open("sign-in", surface)
    assert visitor.send(page.forms["login"], email=person.email, password=FRESH).status_code == 200


def test_beeflow_borrows_what_it_has_no_operation_for(visitor):
    for name, operation in (("forgot", "forgotPassword"), ("reset", "resetPassword"), ("verify", "verifyEmail")):
        page = visitor.open(name, "beeflow")
        assert page.forms[operation].url.startswith("/thallus/")
        assert page.facts["key"] == "beeflow"


def test_beeflow_sign_in_me_and_out(visitor, world):
    person = world.person("beeflow")
    page = visitor.open("sign-in", "beeflow")
    signed = visitor.send(page.forms["login"], email=person.email, password=person.password)
    assert signed.status_code == 200
    access = reach(signed.json(), page.facts["tokens"]["access"])
    visitor.client.cookies.clear()
    me = visitor.call(page, "me", access)
    assert {label: reach(me.json(), path) for label, path in page.facts["shown"]}["Mail address"] == person.email
    assert visitor.call(page, "out", access).status_code == 204


def test_an_account_that_is_to_be_deleted_is_kept_by_the_page_that_the_mail_leads_to(visitor, world):
    person = world.person("thallus")
    asked = visitor.client.post(
        "/thallus/api/v1/auth/account/delete",
        json={"password": person.password, "confirmation": "DELETE"},
        headers=person.headers(),
    )
    assert asked.is_success, asked.text
    surface, token = visitor.link(person.email, "sign-in")
    assert (surface, token) == ("thallus", "")
    page = visitor.open("sign-in", surface)
    signed = visitor.send(page.forms["login"], email=person.email, password=person.password)
    me = visitor.call(page, "me", signed.json()["access_token"]).json()
    assert me["deletion_scheduled_at"] is None
