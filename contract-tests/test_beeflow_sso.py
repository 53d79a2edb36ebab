"""Bee Flow's sign-in through others as a browser meets it: the redirects, the cookies, and what is refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest
from recipes import World, federation

BASE = "/beeflow"


def get(world: World, path: str, **given: Any) -> httpx.Response:
    return httpx.get(f"{world.url}{BASE}{path}", timeout=30, **given)


def query(reply: httpx.Response) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(reply.headers["location"]).query).items()}


def acs(
    world: World, response: str, relay: str | None = None, browser: str | None = federation.SAML_BROWSER
) -> httpx.Response:
    form = {"SAMLResponse": response, **({} if relay is None else {"RelayState": relay})}
    sent = {"Origin": "https://idp.example", "Sec-Fetch-Site": "cross-site"}  # as browsers post for another site
    if browser is not None:
        sent["Cookie"] = f"bf_oauth_state={browser}"
    return httpx.post(f"{world.url}{BASE}/auth/saml/acs", data=form, headers=sent, timeout=30)


def state_of(reply: httpx.Response) -> str:
    """What the browser keeps from now on."""
    return str(reply.headers["set-cookie"].partition(";")[0].removeprefix("bf_oauth_state="))


@pytest.mark.parametrize("provider", federation.PROVIDERS)
def test_a_browser_signs_in_and_may_use_its_session(world: World, provider: str) -> None:
    person = federation.providers().person(provider)
    browser = federation.depart(world.url, provider, redirect="/chat")
    back = browser.finish()
    assert urlsplit(back.headers["location"]).path == f"{BASE}/auth/login-pickup"
    picked = get(
        world,
        "/auth/login-pickup",
        params={"code": federation.code_of(back)},
        headers={"Cookie": f"bf_oauth_state={browser.cookie}"},
    )
    assert (picked.status_code, picked.headers["location"]) == (302, "/chat")
    cookie = picked.headers["set-cookie"]
    assert cookie.startswith("bf_session=")
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    again = federation.depart(world.url, provider)
    body = get(world, "/auth/login-pickup", params={"code": federation.code_of(again.finish()), "format": "json"})
    assert body.json()["user"]["email"] == person.email
    assert "set-cookie" not in body.headers  # not the browser that set out


def test_the_state_cookie_is_for_this_browser_and_this_path_alone(world: World) -> None:
    federation.providers().person("google")
    reply = get(world, "/auth/google/login")
    cookie = {part.strip() for part in reply.headers["set-cookie"].split(";")}
    assert {"HttpOnly", "Secure", "SameSite=None", f"Path={BASE}/auth", "Max-Age=600"} <= cookie
    sent = query(reply)
    assert (sent["code_challenge_method"], sent["response_type"]) == ("S256", "code")
    assert sent["redirect_uri"] == f"{world.url}{BASE}/auth/google/callback"
    assert "code_verifier" not in reply.headers["location"]


@pytest.mark.parametrize("cookie", [None, "another"])
def test_an_answer_without_the_cookie_is_a_400(world: World, cookie: str | None) -> None:
    federation.providers().person("google")
    browser = federation.depart(world.url, "google")
    assert browser.finish(cookie=cookie).status_code == 400
    assert browser.finish(state="made-up").status_code == 400
    assert browser.finish(iss="https://accounts.attacker.example").status_code == 400
    assert browser.finish().status_code == 302
    assert browser.finish().status_code == 400  # used


def test_an_answer_for_another_provider_is_a_400(world: World) -> None:
    federation.providers().person("google")
    browser = federation.depart(world.url, "google")
    browser.provider = "github"
    assert browser.finish().status_code == 400


@pytest.mark.parametrize("redirect", ["//attacker.example", "https://attacker.example", "/\\attacker.example", "chat"])
def test_a_redirect_to_elsewhere_breaks_the_contract(world: World, redirect: str) -> None:
    assert get(world, "/auth/google/login", params={"redirect": redirect}).status_code == 400


def test_a_code_that_was_never_given_comes_back_to_the_sign_in_page(world: World) -> None:
    federation.providers().person("google")
    browser = federation.depart(world.url, "google")
    browser.back["code"] = "made-up"
    reply = browser.finish()
    assert (reply.status_code, query(reply)["error"]) == (302, "access_denied")


def test_who_says_no_comes_back_to_the_sign_in_page(world: World) -> None:
    federation.providers().person("google")
    federation.providers().server.agrees = False
    try:
        reply = federation.depart(world.url, "google").finish()
    finally:
        federation.providers().server.agrees = True
    assert query(reply)["error"] == "access_denied"


def test_a_forged_token_is_a_502_and_a_provider_that_is_away_too(world: World) -> None:
    known = federation.providers()
    known.person("google")
    browser = federation.depart(world.url, "google")
    known.server.forge = lambda claims, server: "e30.e30."
    try:
        reply = browser.finish()
    finally:
        known.server.forge = None
    assert (reply.status_code, reply.json()["error"]) == (502, "upstream_failed")
    browser = federation.depart(world.url, "google")
    known.server.down = True
    try:
        assert browser.finish().status_code == 502
    finally:
        known.server.down = False


def test_an_unknown_nextcloud_is_a_503(world: World) -> None:
    assert get(world, "/auth/nextcloud/login", params={"instance": "unknown.example"}).status_code == 503


def test_a_pickup_is_good_once_and_in_its_own_browser(world: World) -> None:
    federation.providers().person("google")
    browser = federation.depart(world.url, "google")
    code = federation.code_of(browser.finish())
    assert get(world, "/auth/login-pickup", params={"code": code}).status_code == 410
    assert get(world, "/auth/login-pickup", params={"code": "lpc_" + "0" * 43}).status_code == 410
    assert get(world, "/auth/login-pickup", params={"code": "x"}).status_code == 400
    browser = federation.depart(world.url, "google")
    code = federation.code_of(browser.finish())
    first = get(world, "/auth/login-pickup", params={"code": code, "format": "json"})
    second = get(world, "/auth/login-pickup", params={"code": code, "format": "json"})
    assert (first.status_code, second.status_code) == (200, 410)
    assert first.headers["cache-control"] == "no-store"


# --- SAML --------------------------------------------------------------------------------------------------


def test_a_saml_response_signs_in(world: World) -> None:
    federation.saml_organisation(world.database)
    reply = acs(world, federation.saml_response(world.url), "/chat")
    sent = {"Cookie": f"bf_oauth_state={federation.SAML_BROWSER}"}
    picked = get(world, "/auth/login-pickup", params={"code": federation.code_of(reply)}, headers=sent)
    assert (picked.status_code, picked.headers["location"]) == (302, "/chat")
    assert picked.headers["set-cookie"].startswith("bf_session=")


@pytest.mark.parametrize("browser", [None, "another"])
def test_a_saml_session_cannot_be_slipped_into_another_browser(world: World, browser: str | None) -> None:
    """Login CSRF: neither by posting one's own response there, nor by sending a link to one's own pickup."""
    federation.saml_organisation(world.database)
    response = federation.saml_response(world.url)
    refused = acs(world, response, browser=browser)
    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
    code = federation.code_of(acs(world, response))
    sent = {} if browser is None else {"Cookie": f"bf_oauth_state={browser}"}
    picked = get(world, "/auth/login-pickup", params={"code": code}, headers=sent)
    assert (picked.status_code, "set-cookie" in picked.headers) == (410, False)


def test_the_page_that_the_setup_status_names_begins_a_saml_sign_in(world: World) -> None:
    organisation = federation.saml_organisation(world.database)
    federation.saml_organisation(world.database, federation.UNSOLICITED)
    listed = {one["id"]: one["loginUrl"] for one in get(world, "/auth/setup-status").json()["providers"]}
    page = f"{world.url}{listed['saml']}"
    asks = httpx.get(page, timeout=30)  # there are several: it wants to know which, and names none
    assert (asks.status_code, asks.text.count("<form")) == (200, 1)
    assert "Lovelace" not in asks.text
    slug = f"saml-{organisation.hex[-6:]}"
    away = httpx.get(page, params={"organization": slug, "redirect": "/chat"}, timeout=30)
    assert (away.status_code, query(away)["RelayState"]) == (302, "/chat")
    cookie = {part.strip() for part in away.headers["set-cookie"].split(";")}
    assert {"HttpOnly", "Secure", "SameSite=None", f"Path={BASE}/auth", "Max-Age=600"} <= cookie
    asked = federation.providers().saml_module.request_id(away.headers["location"])
    back = acs(world, federation.saml_response(world.url, asked=asked), query(away)["RelayState"], state_of(away))
    sent = {"Cookie": f"bf_oauth_state={state_of(away)}"}
    picked = get(world, "/auth/login-pickup", params={"code": federation.code_of(back)}, headers=sent)
    assert (picked.status_code, picked.headers["location"]) == (302, "/chat")
    for name, status in (("nobody-of-this-name", 404), (str(UUID(int=1)), 404), (slug.upper(), 302)):
        assert httpx.get(page, params={"organization": name}, timeout=30).status_code == status
    assert httpx.get(page, params={"organization": slug, "redirect": "//attacker.example"}, timeout=30).is_redirect
    poor = federation.saml_organisation(world.database, federation.COMMUNITY, "community")
    assert httpx.get(page, params={"organization": str(poor)}, timeout=30).status_code == 403
    window = httpx.get(page, params={"organization": slug, "mode": "popup"}, timeout=30)
    ends = httpx.get(f"{world.url}{query(window)['RelayState']}", timeout=30)
    assert (ends.status_code, "You are signed in" in ends.text) == (200, True)


def test_a_response_is_taken_once(world: World) -> None:
    federation.saml_organisation(world.database)
    response = federation.saml_response(world.url)
    assert acs(world, response).status_code == 302
    assert acs(world, response).status_code == 403


def test_what_nobody_asked_for_signs_in_by_a_second_answer_where_the_operator_allows_it_alone(world: World) -> None:
    federation.saml_organisation(world.database)
    assert acs(world, federation.saml_response(world.url, solicited=False)).status_code == 403
    federation.saml_organisation(world.database, federation.UNSOLICITED)
    unasked = federation.saml_response(world.url, federation.UNSOLICITED, solicited=False)
    reply = acs(world, unasked, "/chat", browser=None)
    assert reply.headers["location"].startswith(federation.providers().idps[federation.UNSOLICITED].url)
    assert "code" not in query(reply)
    asked = federation.providers().saml_module.request_id(reply.headers["location"])
    answer = federation.saml_response(world.url, federation.UNSOLICITED, asked=asked)
    back = acs(world, answer, query(reply)["RelayState"], state_of(reply))
    sent = {"Cookie": f"bf_oauth_state={state_of(back)}"}
    picked = get(world, "/auth/login-pickup", params={"code": federation.code_of(back)}, headers=sent)
    assert (picked.status_code, picked.headers["location"]) == (302, "/chat")
    circle = federation.saml_response(world.url, federation.UNSOLICITED, solicited=False)
    assert acs(world, circle, browser=state_of(reply)).status_code == 403


def test_a_response_that_is_not_signed_says_nothing_of_why_it_is_refused(world: World) -> None:
    federation.saml_organisation(world.database)
    reply = acs(world, federation.saml_response(world.url, signed=()))
    assert reply.status_code == 403
    assert "signed" not in reply.text


def test_a_response_that_cannot_be_read_is_a_400(world: World) -> None:
    assert acs(world, "bm90IHhtbCBhdCBhbGwsIG5vdCBldmVu").status_code == 400


def test_saml_needs_the_tier(world: World) -> None:
    organisation = federation.saml_organisation(world.database, federation.COMMUNITY, "community")
    reply = acs(world, federation.saml_response(world.url, organisation))
    assert reply.status_code == 403
    assert get(world, "/auth/saml/metadata", params={"organizationId": str(organisation)}).status_code == 403


def test_metadata_is_shown_for_organisations_with_a_provider(world: World) -> None:
    organisation = federation.saml_organisation(world.database)
    reply = get(world, "/auth/saml/metadata", params={"organizationId": str(organisation)})
    assert reply.headers["content-type"] == "application/samlmetadata+xml"
    assert f"{world.url}{BASE}/auth/saml/acs" in reply.text
    tag = {"If-None-Match": reply.headers["etag"]}
    unchanged = get(world, "/auth/saml/metadata", params={"organizationId": str(organisation)}, headers=tag)
    assert unchanged.status_code == 304
    assert get(world, "/auth/saml/metadata", params={"organizationId": str(UUID(int=1))}).status_code == 404
    assert get(world, "/auth/saml/metadata").status_code == 404  # there are several
    json = {"Accept": "application/json"}
    found = get(world, "/auth/saml/metadata", params={"organizationId": str(organisation)}, headers=json)
    assert found.status_code == 406
