"""What no contract has an operation for: joining with the account one has, and answering a Nextcloud."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest

from domain import billing
from domain.identity import invites, memberships
from domain.identity.connector import claims
from domain.kernel.ids import new_id

PASSWORD = "Staple-orbit-lantern-42"


def follow(tab, link):
    tab.open("about:blank")
    tab.events.clear()
    tab.send("Page.navigate", url=link)
    tab.until("document.readyState === 'complete' && location.pathname.startsWith('/account/') && !location.hash")


def shown(tab, selector):
    return tab.until(
        f"(e => e && e.checkVisibility() && e.innerText.trim())(document.querySelector({json.dumps(selector)}))"
    )


def ask(console, what, token, **more):
    return httpx.post(f"{console.url}/account/{what}", json={"token": token, **more}, timeout=20)


def invited(console, organisation_id, email, **more):
    with console.context(organisation_id) as ctx:
        return invites.issue(
            ctx,
            life=timedelta(days=7),
            email=email,
            organisation_id=organisation_id,
            role="member",
            invited_by="Ada Lovelace",
            **more,
        )[1]


@pytest.fixture(scope="module")
def organisation(console):
    return console.person("ada@invites.example")[1]


def write(tab, form, **values):
    for name, value in values.items():
        tab.run(f"document.querySelector('#{form} [name={name}]').focus()")
        tab.run(f"document.querySelector('#{form} [name={name}]').select()")
        tab.send("Input.insertText", text=value)
    tab.run(f"document.querySelector('#{form} button[type=submit]').click()")


def test_somebody_with_an_account_joins_with_its_password_and_once(console, tab, organisation):
    account, own = console.person("grace@invites.example")
    token = invited(console, organisation, "Grace@invites.example")
    follow(tab, f"{console.url}/account/invite?surface=thallus#{token}")
    text = shown(tab, "#invited")
    assert "Ada Lovelace invites Grace@invites.example to “Ada Lovelace's Workspace” (user)" in text
    assert not tab.run("document.querySelector('#register').checkVisibility()")
    shown(tab, "#join button")
    write(tab, "join", password="wrong-Password-1")
    assert "not right" in shown(tab, "#join .refusal")
    write(tab, "join", password=PASSWORD)
    assert shown(tab, "#said") == "You belong to “Ada Lovelace's Workspace” now. Sign in."
    with console.context() as ctx:
        assert {one.organisation_id for one in memberships.organisations_of(ctx, account)} == {own, organisation}
    assert ask(console, "invite/join?surface=thallus", token, password=PASSWORD).status_code == 410


def test_whoever_knows_the_link_alone_puts_nobody_into_an_organisation(console, organisation):
    email = "victim@invites.example"
    account, own = console.person(email)
    token = invited(console, organisation, email)
    answers = [ask(console, "invite/join?surface=thallus", token, password="guess") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 400, 400, 423]  # and the lock holds here, too
    assert int(answers[-1].headers["Retry-After"]) > 0
    with console.context() as ctx:
        assert [one.organisation_id for one in memberships.organisations_of(ctx, account)] == [own]


def test_somebody_who_was_disabled_since_does_not_come_back_by_an_old_invitation(console, organisation):
    email = "disabled@invites.example"
    account, _ = console.person(email)
    token = invited(console, organisation, email)
    with console.context(organisation) as ctx:
        memberships.add(ctx, account, "member", source="invite", status="disabled")
    refused = ask(console, "invite/join?surface=thallus", token, password=PASSWORD)
    assert (refused.status_code, refused.json()["reason"]) == (403, "invite_revoked")


def test_somebody_without_an_account_signs_up_into_the_organisation(console, tab, organisation):
    email = "alan@invites.example"
    token = invited(console, organisation, email)
    follow(tab, f"{console.url}/account/invite?surface=thallus#{token}")
    shown(tab, "#register")
    assert tab.run("document.querySelector('#register [name=email]').value") == email
    assert not tab.run("document.querySelector('#has-account').checkVisibility()")
    for name, value in {"name": "Alan Turing", "password": "Velvet-comet-harbour-77"}.items():
        tab.run(f"document.querySelector('#register [name={name}]').focus()")
        tab.send("Input.insertText", text=value)
    tab.run("document.querySelector('#register button[type=submit]').click()")
    shown(tab, "#said")
    with console.context(organisation) as ctx:
        from domain.identity import accounts

        account = accounts.find(ctx, email)
        assert account is not None
        assert memberships.get(ctx, account.id).role == "member"
    assert ask(console, "invite/look", token).status_code == 410


def test_bee_flow_takes_an_invitation_up_by_signing_in_and_by_signing_up(console, tab):
    organisation = console.person("ada@beeflow.example")[1]
    with console.context(organisation) as ctx:
        billing.subscribe(ctx, "full", product="beeflow")
    console.person("barbara@invites.example")
    token = invited(console, organisation, "barbara@invites.example")
    follow(tab, f"{console.url}/account/invite?surface=beeflow#{token}")
    shown(tab, "#login")
    write(tab, "login", password=PASSWORD)
    me = shown(tab, "#me")
    assert "Ada Lovelace's Workspace" in me
    assert "barbara@invites.example" in me
    tab.reload()  # the cookie keeps the session, and the invitation is not asked for again
    shown(tab, "[data-without-token]")

    tab.open(f"{console.url}/account/sign-in?surface=beeflow")
    assert "barbara@invites.example" in shown(tab, "#me")
    assert "no token to show" in shown(tab, "#kept")
    assert not tab.run("document.querySelector('#try').checkVisibility()")
    tab.run("document.querySelector('#out').click()")
    shown(tab, "#said")
    shown(tab, "#login")

    token = invited(console, organisation, "margaret@invites.example")
    follow(tab, f"{console.url}/account/invite?surface=beeflow#{token}")
    shown(tab, "#signUp")
    write(tab, "signUp", displayName="Margaret Hamilton", password="Velvet-comet-harbour-77")
    assert "Margaret Hamilton" in shown(tab, "#me")
    assert "beeflow" in tab.run("document.querySelector('#curl').textContent")


def test_without_an_account_there_is_nothing_to_join_with_and_the_invitation_stays_good(console, organisation):
    token = invited(console, organisation, "nobody@invites.example")
    refused = ask(console, "invite/join?surface=thallus", token, password=PASSWORD)
    assert (refused.status_code, refused.json()["reason"]) == (403, "sign_up_needed")
    assert ask(console, "invite/look", token).json()["has_account"] is False


def test_an_invitation_for_whoever_has_the_link_takes_nobody_s_account(console, organisation):
    token = invited(console, organisation, None, max_redemptions=5)
    assert ask(console, "invite/look", token).json()["email"] is None
    assert ask(console, "invite/join?surface=thallus", token, password=PASSWORD).status_code == 403


def test_an_invitation_that_was_taken_back_says_no_more_than_one_that_never_was(console, organisation):
    token = invited(console, organisation, "late@invites.example")
    with console.context(organisation) as ctx:
        invites.revoke(ctx, invites.find(ctx, token).id)
    answers = [ask(console, "invite/look", one) for one in (token, "inv_never", "clm_other", "x" * 500)]
    assert {answer.status_code for answer in answers} == {410}
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize(("button", "accepted"), [("accept", True), ("decline", False)])
def test_an_administrator_answers_a_nextcloud_from_the_mail(console, tab, button, accepted):
    email = f"{button}@claims.example"
    _, organisation = console.person(email)
    instance = f"oc{new_id().hex[:12]}"
    with console.context(organisation) as inside:
        claim = claims.open_claim(inside, instance, "https://cloud.example", {"name": "Root of the cloud"})
    link = next(link for link in console.mailed(email, "nextcloud|connect|cloud") if "/account/claim" in link)
    follow(tab, link)
    assert "https://cloud.example" in shown(tab, "#claimed")
    assert "Root of the cloud" in shown(tab, "#claim")
    tab.run(f"document.querySelector('[data-decide={button}]').click()")
    assert ("accepted" if accepted else "refused") in shown(tab, "#said")
    with console.context(organisation) as inside:
        assert claims.get(inside, claim.id).accepted is accepted
    follow(tab, link)  # a second time: it was decided
    shown(tab, "#said")
    assert not tab.run("document.querySelector('[data-decide=accept]').checkVisibility()")
    again = ask(console, f"claim/{button}", link.partition("#")[2])
    assert again.status_code == 410
    assert again.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "what", ["invite/look", "invite/join?surface=starter", "claim/look", "claim/accept", "claim/decline"]
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"token": 1}',
        b'{"token": ""}',
        b'{"token": "a\\u0000b"}',
        b'{"token": "' + b"x" * 600 + b'"}',
        b'{"token": "\xff"}',
        b"[" * 4000,
        b'{"token": "inv_x"' + b" " * 6000 + b"}",
    ],
)
def test_hostile_bodies_are_an_error_of_the_caller(console, what, body):
    answer = httpx.post(
        f"{console.url}/account/{what}", content=body, headers={"Content-Type": "application/json"}, timeout=20
    )
    assert answer.status_code == 400
    assert answer.json()["message"] == "The link is not complete. Open it in the mail again."


def test_a_form_of_another_site_cannot_answer_because_it_cannot_send_json(console):
    answer = httpx.post(f"{console.url}/account/claim/accept", data={"token": "clm_x"}, timeout=20)
    assert answer.status_code == 400
    plain = {"Content-Type": "text/plain"}
    answer = httpx.post(f"{console.url}/account/claim/accept", content=b'{"token": "clm_x"}', headers=plain, timeout=20)
    assert answer.status_code == 400
