"""How the pages look and behave, whatever the surface answers."""

from __future__ import annotations

import os
import re
from pathlib import Path

import httpx
import pytest

from handlers.console.forms import SITES

NAMES = ("sign-in", "sign-up", "verify", "forgot", "reset", "invite", "claim")
PICTURES = os.environ.get("THALWEG_TEST_PICTURES")
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize("surface", SITES)
@pytest.mark.parametrize("name", NAMES)
def test_every_page_is_there_for_every_surface_and_asks_nothing_of_another_host(console, surface, name):
    page = httpx.get(f"{console.url}/account/{name}?surface={surface}", headers=BROWSER)
    assert page.status_code == 200
    assert '<meta name="referrer" content="no-referrer">' in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert page.text.count("<h1>") == 1
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//", page.text) == []
    assert re.findall(r"<script(?! src=| type=\"application/json\")|\son\w+=|\sstyle=", page.text) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_that_names_no_surface_leads_to_the_choice_of_one_instead_of_nowhere_and_carries_nothing_on(
    console, name
):
    for query in ("", "?surface=", "?error=access_denied&token=secret"):
        page = httpx.get(f"{console.url}/account/{name}{query}", headers=BROWSER)
        assert page.status_code == 303
        # A fragment of its own: without one, browsers would keep that of the link, where tokens stand.
        assert page.headers["location"] == "/account#surfaces"
        assert "secret" not in page.text
    choice = httpx.get(f"{console.url}/account", headers=BROWSER)
    assert 'id="surfaces"' in choice.text


@pytest.mark.parametrize("query", ["?surface=thalium", "?surface=thalian", "?surface=%00", "?surface=x"])
def test_a_surface_that_signs_nobody_in_has_no_pages(console, query):
    page = httpx.get(f"{console.url}/account/sign-in{query}", headers=BROWSER)
    assert page.status_code == 404


def test_a_form_that_is_sent_without_a_script_puts_nothing_into_an_address_and_reaches_no_operation(console):
    for surface in SITES:
        text = httpx.get(f"{console.url}/account/sign-in?surface={surface}").text
        forms = re.findall(r"<form[^>]*>", text)
        assert forms
        assert all('method="post"' in form for form in forms)
        assert re.findall(r"<button type=\"submit\"[^>]*>", text) == re.findall(
            r"<button type=\"submit\"[^>]* disabled>", text
        )
    assert httpx.post(f"{console.url}/account/sign-in?surface=thallus", data={"password": "x"}).status_code == 405


def test_the_reason_of_another_provider_is_told_in_words_and_nothing_of_the_address_is_repeated(console):
    said = httpx.get(f"{console.url}/account/sign-in?surface=beeflow&error=sso_required").text
    assert "Your organisation asks for its own single sign-on." in said
    said = httpx.get(f"{console.url}/account/sign-in?surface=beeflow&error=<script>alert(1)</script>").text
    assert "alert(1)" not in said
    assert "The sign-in did not work." in said


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_fit_into_the_window_and_can_be_read(console, tab, contrast, width, theme):
    tab.show(width, 900, theme)
    pages = [f"{name}?surface=thallus" for name in NAMES] + ["sign-up?surface=starter", "sign-in?surface=starter"]
    for page in ["", *(f"/{page}" for page in pages)]:
        tab.open(f"{console.url}/account{page}")
        tab.settle(0.3)
        assert tab.addresses() == {console.url.removeprefix("http://")}
        assert tab.run("document.documentElement.scrollWidth") <= width, page
        assert tab.run(contrast) == [], page
        if "starter" not in page:
            assert tab.complaints() == [], page
        if PICTURES:
            name = page.strip("/").replace("?surface=", "-") or "account"
            tab.picture(Path(PICTURES) / f"{name}-{theme}-{width}.png")


def test_every_field_has_a_label_and_tells_password_managers_what_it_is(console, tab):
    for surface in SITES:
        for name in ("sign-in", "sign-up", "reset", "forgot"):
            tab.open(f"{console.url}/account/{name}?surface={surface}")
            nameless = tab.run(
                "[...document.querySelectorAll('form input:not([type=hidden]), form textarea')]"
                ".filter(e => !e.labels.length || !e.labels[0].textContent.trim()).map(e => e.id)"
            )
            assert nameless == []
            ids = tab.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
            assert len(ids) == len(set(ids))
            described = tab.run(
                "[...document.querySelectorAll('[aria-describedby]')]"
                ".flatMap(e => e.getAttribute('aria-describedby').split(' '))"
                ".filter(id => !document.getElementById(id))"
            )
            assert described == []
    tab.open(f"{console.url}/account/sign-in?surface=thallus")
    told = "[...document.querySelectorAll('#login input')].map(e => e.name + ':' + e.type + ':' + e.autocomplete)"
    assert tab.run(told)[:2] == ["email:email:username", "password:password:current-password"]
    tab.open(f"{console.url}/account/reset?surface=thallus")
    assert tab.run("document.querySelector('input[type=password]').autocomplete") == "new-password"


def test_the_keyboard_alone_signs_in_and_a_missing_field_is_pointed_at(console, tab):
    email = "keys@pages.example"
    console.person(email)
    tab.open(f"{console.url}/account/sign-in?surface=thallus")
    tab.until("!document.querySelector('#login button[type=submit]').disabled")

    def press(key, code, text=None):
        more = {"text": text} if text else {}
        for kind in ("keyDown", "keyUp"):
            tab.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    tab.run("document.querySelector('#login [name=email]').focus()")
    press("Enter", 13, "\r")
    assert tab.run("document.querySelector('#login [name=email]').getAttribute('aria-invalid')") == "true"
    assert tab.run("document.activeElement.name") == "email"
    tab.send("Input.insertText", text=email)
    press("Tab", 9)
    assert tab.run("document.activeElement.name") == "password"
    tab.send("Input.insertText", text="Staple-orbit-lantern-42")
    press("Tab", 9)
    assert tab.run("document.activeElement.className") == "show"
    press(" ", 32, " ")
    assert tab.run("document.querySelector('#login [name=password]').type") == "text"
    tab.run("document.querySelector('#login [name=password]').focus()")
    press("Enter", 13, "\r")
    tab.until("document.activeElement.id === 'signed-in'")
    tab.settle(0.2)
    assert tab.complaints() == []


def test_the_skip_link_is_no_token(console, tab):
    tab.open(f"{console.url}/account/verify?surface=thallus#main")
    tab.settle(0.3)
    assert tab.run("location.hash") == "#main"
    assert not tab.run("document.querySelector('#verifyEmail').checkVisibility()")
