"""Identity under attack, over HTTP: cookies of other people's pages, and sessions that were there before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import World
from recipes.attacks import ATTACKER, ME, REFRESH, ROOT, SIGN_IN, Caller, bearer, gone_soon, read, welcome

# --- cookies -----------------------------------------------------------------------------------------------


def test_signing_in_never_goes_on_with_a_session_that_was_there_before(world: World, call: Caller) -> None:
    """Fixation: what an attacker planted in a browser stays the attacker's."""
    planted, victim = world.person("thallus"), world.person("thallus")
    reply = call(
        "POST",
        SIGN_IN["thallus"],
        json={"email": victim.email, "password": victim.password},
        headers={"Cookie": f"refresh_token={planted.refresh_token}; bf_session={planted.token}", **planted.headers()},
    )
    assert reply.status_code == 200, reply.text
    cookie = reply.headers["set-cookie"]
    assert str(planted.refresh_token) not in cookie
    assert {"HttpOnly", "Secure", "SameSite=Strict", "Path=/thallus/api/v1/auth"} <= {
        part.strip() for part in cookie.split(";")
    }
    assert reply.json()["user"]["email"] == victim.email
    assert read(reply.json()["access_token"])[1]["sid"] not in (str(planted.session_id), str(victim.session_id))
    assert call.me("thallus", planted.token).json()["email"] == planted.email


def test_a_changed_password_leaves_no_session_of_before(world: World, call: Caller) -> None:
    person = world.person("thallus")
    thief = world.again(person)
    body = {"current_password": person.password, "new_password": "Velvet-comet-harbour-77"}
    changed = call("POST", "/thallus/api/v1/auth/password", json=body, headers=person.headers())
    assert changed.status_code == 200, changed.text
    for former in (person, thief):
        gone_soon(call, "GET", ME["thallus"], former.headers())
        cookie = {"Cookie": f"refresh_token={former.refresh_token}"}
        assert call("POST", REFRESH, headers=cookie).status_code == 401
    assert call.me("thallus", changed.json()["access_token"]).status_code == 200


FOREIGN: tuple[Mapping[str, str], ...] = (
    {"Origin": ATTACKER},
    {"Origin": "null"},
    {"Origin": ATTACKER, "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Referer": f"{ATTACKER}/page"},
    {"Origin": f"{ATTACKER}, http://127.0.0.1"},
)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_no_other_site_refreshes_a_session(headers: Mapping[str, str], world: World, call: Caller) -> None:
    person = world.person("thallus")
    cookie = {"Cookie": f"refresh_token={person.refresh_token}"}
    reply = call("POST", REFRESH, headers={**cookie, **headers})
    assert (reply.status_code, reply.json()["error"]) == (403, "cross_origin")
    assert "set-cookie" not in reply.headers
    own = call("POST", REFRESH, headers={**cookie, "Origin": call.url, "Sec-Fetch-Site": "same-origin"})
    assert own.status_code == 200, own.text  # the token was not spent


def beeflow_operations() -> list[dict[str, Any]]:
    manifest = json.loads((ROOT / "generated" / "beeflow" / "operations.json").read_bytes())
    return [one for one in manifest["operations"] if {"sessionCookie": []} in one["security"]]


def test_signing_in_to_bee_flow_never_goes_on_with_a_cookie_that_was_there_before(world: World, call: Caller) -> None:
    planted, victim = world.person("beeflow"), world.person("beeflow")
    proof = {"email": victim.email, "password": victim.password}
    reply = call("POST", SIGN_IN["beeflow"], json=proof, headers={"Cookie": f"bf_session={planted.token}"})
    assert reply.status_code == 200, reply.text
    cookie = reply.headers["set-cookie"].partition(";")[0].partition("=")
    assert cookie[0] == "bf_session"
    assert {"HttpOnly", "Secure", "SameSite=Lax"} <= {part.strip() for part in reply.headers["set-cookie"].split(";")}
    assert read(cookie[2])[1]["sid"] not in (str(planted.session_id), str(victim.session_id))
    assert call("GET", ME["beeflow"], headers={"Cookie": f"bf_session={cookie[2]}"}).json()["email"] == victim.email
    left = call("POST", "/beeflow/auth/logout", headers={"Cookie": f"bf_session={cookie[2]}", "Origin": call.url})
    assert left.status_code == 204
    assert left.headers["set-cookie"].startswith("bf_session=;")
    gone_soon(call, "GET", ME["beeflow"], bearer(cookie[2]))
    assert call.me("beeflow", planted.token).json()["email"] == planted.email


def test_no_other_site_changes_anything_with_bee_flows_cookie(world: World, call: Caller) -> None:
    person = world.person("beeflow")
    changing = [one for one in beeflow_operations() if one["method"] != "GET"]
    assert len(changing) > 40
    client = httpx.Client(timeout=30)
    wrong = []
    for number, operation in enumerate(changing):
        path = "".join(
            part if not part.startswith("{") else str(uuid4()) + part.partition("}")[2]
            for part in operation["path"].replace("{", "\0{").split("\0")
        )
        headers = {"Cookie": f"bf_session={person.token}", **FOREIGN[number % len(FOREIGN)]}
        reply = client.request(operation["method"], f"{call.url}/beeflow{path}", headers=headers)
        if (reply.status_code, reply.json().get("error")) != (403, "cross_origin"):
            wrong.append((operation["operation_id"], reply.status_code, reply.text[:200]))
    client.close()
    assert not wrong


def test_bee_flows_cookie_counts_from_its_own_pages_and_a_header_before_it(world: World, call: Caller) -> None:
    person = world.person("beeflow")
    url, cookie = "/beeflow/auth/nc-consent", {"Cookie": f"bf_session={person.token}"}
    body = {"version": "2026-05", "accepted": True, "language": "nl"}
    assert welcome(call("POST", url, json=body, headers={**cookie, "Origin": call.url}))
    assert welcome(call("POST", url, json=body, headers={**cookie, "Sec-Fetch-Site": "same-origin"}))
    assert welcome(call("POST", url, json=body, headers={**cookie, **person.headers(), "Origin": ATTACKER}))
    refused = call("POST", url, json=body, headers={**cookie, **bearer("wrong"), "Origin": call.url})
    assert refused.status_code == 401  # a bad header is not made good by a cookie


def test_what_bee_flow_answers_to_get_changes_nothing(world: World) -> None:
    """A cookie is sent along with GET from anywhere: only reading may hang on it."""
    acts = {
        one["operation_id"]: one["extensions"]["x-audit"].rpartition(".")[2]
        for one in beeflow_operations()
        if one["method"] == "GET" and "x-audit" in one["extensions"]
    }
    assert set(acts.values()) <= {"list", "export", "download", "read"}, acts
