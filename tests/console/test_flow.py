"""From signing up to a first call, in a real browser, over the mailbox."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx
import pytest

PASSWORD = "Staple-orbit-lantern-42"
FRESH = "Velvet-comet-harbour-77"
PICTURES = os.environ.get("THALWEG_TEST_PICTURES")
"""A folder for pictures of these pages, for whoever wants to look at them."""


def fill(tab, form, **values):
    """Write into a form as a person or a password manager does, and send it."""
    for name, value in values.items():
        field = f"document.querySelector('#{form} [name={name}]')"
        if isinstance(value, bool):
            tab.run(f"{field}.checked = {json.dumps(value)}")
            continue
        tab.run(f"{field}.focus()")
        tab.run(f"{field}.select()")
        tab.send("Input.insertText", text=value)
    tab.run(f"document.querySelector('#{form} button[type=submit]').click()")


def shown(tab, selector):
    return tab.until(
        f"(e => e && e.checkVisibility() && e.innerText.trim())(document.querySelector({json.dumps(selector)}))"
    )


def ready(tab, url, form):
    tab.open(url)
    tab.until(f"!document.querySelector('#{form} button[type=submit]').disabled")


def follow(tab, link, form=None):
    """Open a link of a mail. Its token is gone from the address when the page is ready."""
    tab.open("about:blank")
    tab.events.clear()
    tab.send("Page.navigate", url=link)
    tab.until("document.readyState === 'complete' && location.pathname.startsWith('/account/') && !location.hash")
    if form is not None:
        tab.until(f"!document.querySelector('#{form} button[type=submit]').disabled")


def picture(tab, name, hide=""):
    """A picture, of which no token can be read."""
    if PICTURES:
        if hide:
            text = "document.querySelector('#curl').textContent"
            tab.run(f"{text} = {text}.replace({json.dumps(hide)}, {json.dumps(hide[:24] + '…')})")
        tab.run("window.scrollTo(0, 0)")
        tab.picture(Path(PICTURES) / f"{name}.png")


def test_thallus_from_sign_up_over_the_mail_to_a_first_call_and_out(console, tab):
    email = "ada@flow.example"
    tab.show(1280, 900, "light")
    ready(tab, f"{console.url}/account/sign-up?surface=thallus", "register")
    fill(tab, "register", name="Ada Lovelace", email=email, password=PASSWORD)
    assert "mail" in shown(tab, "#said")
    assert tab.run("document.activeElement.id") == "said"

    (link,) = console.mailed(email, "verify|confirm|address")
    assert link.startswith(f"{console.url}/account/verify?surface=thallus#")
    follow(tab, link, "verifyEmail")
    assert tab.run("location.href") == f"{console.url}/account/verify?surface=thallus"
    tab.run("document.querySelector('#verifyEmail button').click()")
    assert shown(tab, "#said") == "Your address is verified. You can sign in now."

    ready(tab, f"{console.url}/account/sign-in?surface=thallus", "login")
    fill(tab, "login", email=email, password=PASSWORD)
    assert "Ada Lovelace" in shown(tab, "#me")
    assert "Ada Lovelace's Workspace" in tab.run("document.querySelector('#me').innerText")
    line = tab.run("document.querySelector('#curl').textContent")
    token = line.split("Bearer ")[1].rstrip("'")
    told = httpx.get(f"{console.url}/thallus/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert told.json()["email"] == email
    assert line.startswith(f"curl -s '{console.url}/thallus/api/v1/auth/me'")
    tab.show(1000, 760, "light")
    picture(tab, "signed-in", hide=token)
    kept = tab.run("JSON.stringify([...Object.entries(localStorage), ...Object.entries(sessionStorage)])")
    assert token not in kept
    assert "rt_" not in kept

    tab.reload()  # the session is in a cookie: it outlives the page
    assert "Ada Lovelace" in shown(tab, "#me")
    tab.run("document.querySelector('#renew').click()")
    tab.until("/fresh/.test(document.querySelector('#signed-in > .doing').textContent)")
    tab.run("document.querySelector('#out').click()")
    assert shown(tab, "#said") == "You are signed out."
    assert not tab.run("document.querySelector('#signed-in').checkVisibility()")
    assert tab.run("document.querySelector('#curl').textContent") == ""
    assert (
        httpx.get(f"{console.url}/thallus/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"}).status_code
        == 401
    )
    assert tab.addresses() == {console.url.removeprefix("http://")}


def test_thallus_a_forgotten_password_is_replaced_over_the_mail(console, tab):
    email = "grace@flow.example"
    console.person(email)
    ready(tab, f"{console.url}/account/forgot?surface=thallus", "forgotPassword")
    fill(tab, "forgotPassword", email=email)
    shown(tab, "#said")
    (link,) = console.mailed(email, "password")
    follow(tab, link, "resetPassword")
    assert "At least 12 characters" in shown(tab, "#resetPassword .hint")
    fill(tab, "resetPassword", new_password="too-short-1")
    assert "12" in shown(tab, "#resetPassword-new_password-wrong")
    assert tab.run("document.activeElement.name") == "new_password"
    fill(tab, "resetPassword", new_password="all-lower-case-letters")
    assert "an upper-case letter" in shown(tab, "#resetPassword-new_password-wrong")
    fill(tab, "resetPassword", new_password=FRESH)
    assert shown(tab, "#said") == "Your password is set. Sign in with it."
    ready(tab, f"{console.url}/account/sign-in?surface=thallus", "login")
    fill(tab, "login", email=email, password=PASSWORD)
    assert shown(tab, "#login .refusal") == "The address or the password is wrong."
    fill(tab, "login", password=FRESH)
    assert email in shown(tab, "#me")


@pytest.mark.parametrize("page", ["verify", "reset"])
def test_a_worn_link_is_answered_in_the_surface_s_own_words(console, tab, page):
    form = {"verify": "verifyEmail", "reset": "resetPassword"}[page]
    follow(tab, f"{console.url}/account/{page}?surface=thallus#evt_worn", form)
    fill(tab, form, **({"new_password": FRESH} if page == "reset" else {}))
    assert shown(tab, f"#{form} .refusal").startswith("This link is not valid any more.")


def test_starter_from_registering_over_the_mail_to_the_end_of_another_session(console, tab):
    email = "edsger@flow.example"
    ready(tab, f"{console.url}/account/sign-up?surface=starter", "registerTenant")
    tab.until("document.querySelector('#registerTenant [name=invite_token]').closest('[data-when]').hidden")
    assert not tab.run("document.querySelector('#requestAccess').checkVisibility()")
    fill(tab, "registerTenant", email=email, password="short-1", tenant_name="Shortest Path", accept_terms=True)
    assert "14" in shown(tab, "#registerTenant-password-wrong")
    fill(tab, "registerTenant", password=FRESH)
    me = shown(tab, "#me")
    assert email in me
    assert "no" in me
    assert tab.run("document.querySelector('#unverified').checkVisibility()")

    link = console.mailed(email, "verify|confirm|address")[0]
    assert "surface=starter" in link
    line = tab.run("document.querySelector('#curl').textContent")
    token = line.split("Bearer ")[1].rstrip("'")
    follow(tab, link, "verifyEmail")
    tab.run("document.querySelector('#verifyEmail button').click()")
    assert shown(tab, "#said") == "Email verified successfully."

    ready(tab, f"{console.url}/account/sign-in?surface=starter", "login")
    fill(tab, "login", email=email, password=FRESH)
    shown(tab, "#me")
    assert not tab.run("document.querySelector('#unverified').checkVisibility()")
    tab.until("document.querySelectorAll('#sessions tbody tr').length === 2")
    other = "[...document.querySelectorAll('#sessions tbody tr')].find(r => !/this one/.test(r.innerText))"
    tab.run(f"{other}.querySelector('button').click()")
    tab.until("document.querySelectorAll('#sessions tbody tr').length === 1")
    me = f"{console.url}/starter/api/v1/auth/me"
    assert httpx.get(me, headers={"Authorization": f"Bearer {token}"}).status_code == 401
    tab.run("document.querySelector('#renew').click()")
    tab.until("/fresh/.test(document.querySelector('#signed-in > .doing').textContent)")
    kept = tab.run("JSON.stringify([...Object.entries(localStorage), ...Object.entries(sessionStorage)])")
    assert "rt_" not in kept
    tab.run("document.querySelector('#out').click()")
    shown(tab, "#said")


def test_the_captcha_is_solved_in_the_browser_with_the_difficulty_of_production(consoles, tab):
    hard = consoles("hard", captcha_difficulty="5000")
    ready(tab, f"{hard.url}/account/forgot?surface=thallus", "forgotPassword")
    fill(tab, "forgotPassword", email="nobody@flow.example")
    assert "on its way" in shown(tab, "#said")


def test_where_access_is_asked_for_the_page_shows_that_form_and_an_invite_lets_in(consoles, tab):
    from domain.identity import invites

    closed = consoles("closed", signup_policy="approval")
    ready(tab, f"{closed.url}/account/sign-up?surface=starter", "requestAccess")
    shown(tab, "#requestAccess")
    assert shown(tab, "label[for=registerTenant-invite_token]") == "Invite"
    wish = {"full_name": "Alan", "email": "alan@flow.example", "organization": "Bombe", "accept_terms": True}
    fill(tab, "requestAccess", **wish)
    assert "noted" in shown(tab, "#said")

    with closed.context(platform=True) as ctx:
        from datetime import timedelta

        _, token = invites.issue(ctx, life=timedelta(hours=1), email="alan@flow.example", invited_by="The operator")
    follow(tab, f"{closed.url}/account/invite?surface=starter#{token}", "registerTenant")
    assert "The operator invites alan@flow.example to Starter" in shown(tab, "#invited")
    assert tab.run("document.querySelector('#registerTenant [name=email]').readOnly")
    fill(tab, "registerTenant", password=FRESH, tenant_name="Bombe", accept_terms=True)
    assert "alan@flow.example" in shown(tab, "#me")
    follow(tab, f"{closed.url}/account/invite?surface=starter#{token}")
    assert "not open any more" in shown(tab, "#cannot")
