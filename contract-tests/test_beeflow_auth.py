"""Bee Flow's accounts as browsers and programs meet them: cookies, frames, invitations, the waiting list, refusals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest
from recipes import Person, World
from recipes.beeflow_identity import DOT, ORIGIN, forget_setup, home
from recipes.world import PASSWORD

BASE = "/beeflow"
SURFACE = "beeflow"


def call(world: World, method: str, path: str, who: Person | str | None = None, **given: Any) -> httpx.Response:
    headers = dict(given.pop("headers", {}))
    if who is not None:
        headers["Authorization"] = f"Bearer {who if isinstance(who, str) else who.token}"
    return httpx.request(method, f"{world.url}{BASE}{path}", headers=headers, timeout=30, **given)


def login(world: World, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
    return call(world, "POST", "/auth/admin-login", json={"email": email, "password": password, **more})


def cookie_of(reply: httpx.Response) -> str:
    return reply.headers["set-cookie"].partition(";")[0]


def error(reply: httpx.Response, status: int) -> str:
    assert reply.status_code == status, f"{reply.status_code} {reply.text[:500]}"
    return str(reply.json()["error"])


# --- setting up --------------------------------------------------------------------------------


@pytest.fixture
def unset(world: World) -> Any:
    forget_setup(world)
    world.afterwards.append(lambda: forget_setup(world))


def set_up(world: World, **wishes: Any) -> httpx.Response:
    return call(world, "POST", "/auth/setup", json={"email": world.email(), "password": PASSWORD, **wishes})


def test_a_server_is_set_up_once(world: World, unset: None) -> None:
    assert call(world, "GET", "/auth/setup-status").json()["bootstrapped"] is False
    made = set_up(world, displayName="Ada", organizationName="Lovelace Engines", locale="en")
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"{BASE}/api/organisation"
    me = call(world, "GET", "/auth/user", made.json()["token"]).json()
    assert (me["role"], me["organizationName"], me["tier"]) == ("admin", "Lovelace Engines", "community")
    status = call(world, "GET", "/auth/setup-status").json()
    assert (status["bootstrapped"], status["signup"]) == (True, "invite_only")
    assert error(set_up(world), 400) == "already_set_up"


def test_of_several_setups_at_once_one_wins(world: World, unset: None) -> None:
    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(reply.status_code for reply in pool.map(lambda _: set_up(world), range(4)))
    assert statuses == [201, 400, 400, 400]


def test_a_weak_password_is_a_broken_contract(world: World, unset: None) -> None:
    refused = call(world, "POST", "/auth/setup", json={"email": world.email(), "password": "alllowercase1"})
    assert error(refused, 400) == "validation_failed"
    assert refused.json()["details"][0]["path"] == "body.password"


# --- sessions --------------------------------------------------------------------------------


def test_the_cookie_is_the_session(world: World) -> None:
    person = world.person(SURFACE)
    signed_in = login(world, person.email)
    attributes = {part.strip() for part in signed_in.headers["set-cookie"].split(";")}
    assert {"HttpOnly", "Secure", "SameSite=Lax"} <= attributes
    assert signed_in.headers["cache-control"] == "no-store"
    me = call(world, "GET", "/auth/user", headers={"Cookie": cookie_of(signed_in)})
    assert (me.json()["email"], me.json()["authMethod"]) == (person.email, "password")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://attacker.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 200),
    ],
)
def test_other_sites_cannot_use_the_cookie_to_change_something(
    world: World, headers: dict[str, str], status: int
) -> None:
    cookie = cookie_of(login(world, world.person(SURFACE).email))
    reply = call(
        world, "POST", "/auth/update-profile", headers={"Cookie": cookie, **headers}, json={"displayName": "Ada King"}
    )
    assert reply.status_code == status, reply.text


def test_signing_out_ends_the_session_its_frames_and_the_cookie(world: World) -> None:
    person = world.person(SURFACE)
    call(world, "PATCH", "/api/organisation", person, json={"embedOrigins": [ORIGIN]})
    frame = call(world, "POST", "/api/session-token", person, json={"origin": ORIGIN}).json()["token"]
    assert call(world, "GET", "/auth/user", frame).status_code == 200
    gone = call(world, "POST", "/auth/logout", person)
    assert gone.status_code == 204
    assert "Max-Age=0" in gone.headers["set-cookie"]
    for token in (person.token, frame):
        assert error(call(world, "GET", "/auth/user", token), 401) == "invalid_token"


def test_address_and_password_are_wrong_in_one_way(world: World) -> None:
    person = world.person(SURFACE)
    known, unknown = login(world, person.email, "Wrong-password-1"), login(world, world.email(), "Wrong-password-1")
    assert error(known, 401) == error(unknown, 401) == "invalid_credentials"
    assert known.json()["message"] == unknown.json()["message"]


def test_ten_failures_lock(world: World) -> None:
    person = world.person(SURFACE)
    for _ in range(10):
        login(world, person.email, "Wrong-password-1")
    locked = login(world, person.email)
    assert error(locked, 423) == "account_locked"
    assert int(locked.headers["retry-after"]) > 0


def test_tokens_that_are_missing_wrong_or_made_up_are_told_apart(world: World) -> None:
    assert error(call(world, "GET", "/auth/user"), 401) == "missing_token"
    assert error(call(world, "GET", "/auth/user", "nonsense"), 401) == "invalid_token"
    assert error(call(world, "GET", "/auth/user", f"bfk_{'0' * 43}"), 401) == "invalid_token"


# --- frames --------------------------------------------------------------------------------


def test_a_frames_token_is_bound_to_its_origin(world: World) -> None:
    person = world.person(SURFACE)
    assert (
        error(call(world, "POST", "/api/session-token", person, json={"origin": ORIGIN}), 403) == "origin_not_allowed"
    )
    call(world, "PATCH", "/api/organisation", person, json={"embedOrigins": [ORIGIN]})
    made = call(world, "POST", "/api/session-token", person, json={"origin": ORIGIN}).json()
    assert made["origin"] == ORIGIN
    for origin in (ORIGIN, world.url):
        assert call(world, "GET", "/auth/user", made["token"], headers={"Origin": origin}).status_code == 200
    refused = call(world, "GET", "/auth/user", made["token"], headers={"Origin": "https://attacker.example"})
    assert error(refused, 401) == "invalid_token"


def test_neither_a_key_nor_a_frame_makes_something_that_outlives_it(world: World) -> None:
    person = world.person(SURFACE)
    key = call(world, "POST", "/api/api-keys", person, json={"name": "Script"}).json()["key"]
    call(world, "PATCH", "/api/organisation", person, json={"embedOrigins": [ORIGIN]})
    frame = call(world, "POST", "/api/session-token", person, json={"origin": ORIGIN}).json()["token"]
    for token in (key, frame):
        assert error(call(world, "POST", "/api/session-token", token, json={"origin": ORIGIN}), 403) == "no_session"
        assert error(call(world, "POST", "/api/api-keys", token, json={"name": "Copy"}), 403) == "no_session"
    assert error(call(world, "POST", "/auth/logout", key), 403) == "no_session"
    assert call(world, "GET", "/auth/user", key).json()["authMethod"] == "api_key"


# --- coming in --------------------------------------------------------------------------------


def sign_up(world: World, email: str, **more: Any) -> httpx.Response:
    body = {"email": email, "password": PASSWORD, "displayName": "Grace Hopper", **more}
    return call(world, "POST", "/auth/signup", json=body)


def test_from_the_invitation_to_the_first_session(world: World) -> None:
    person = world.person(SURFACE)
    invited = call(world, "POST", "/api/users", person, json={"email": world.email(), "role": "user"}).json()
    email, token = invited["user"]["email"], invited["inviteUrl"].partition("#")[2]
    shown = call(world, "GET", f"/auth/invite/{token}").json()
    assert (shown["email"], shown["accountExists"], shown["role"]) == (email, False, "user")
    assert error(sign_up(world, world.email(), inviteToken=token), 422) == "invite_mismatch"
    made = sign_up(world, email, inviteToken=token)
    assert (made.status_code, made.json()["status"]) == (201, "active")
    session = made.json()["session"]
    assert call(world, "GET", "/auth/user", session["token"]).json()["organizationId"] == str(person.organisation_id)
    assert call(world, "GET", f"/auth/invite/{token}").status_code == 410
    assert error(sign_up(world, email, inviteToken=token), 410) == "invite_exhausted"
    assert call(world, "GET", f"/auth/invite/inv_{'0' * 43}").status_code == 404
    assert call(world, "GET", "/api/users", session["token"]).status_code == 403


def test_who_has_an_account_takes_the_invitation_up_by_signing_in(world: World) -> None:
    person, guest = world.person(SURFACE), world.person(SURFACE)
    invited = call(world, "POST", "/api/users", person, json={"email": guest.email}).json()
    token = invited["inviteUrl"].partition("#")[2]
    assert error(sign_up(world, guest.email, inviteToken=token), 409) == "email_taken"
    assert error(login(world, person.email, inviteToken=token), 422) == "invite_mismatch"
    session = login(world, guest.email, inviteToken=token).json()
    me = call(world, "GET", "/auth/user", session["token"]).json()
    assert me["organizationId"] == str(person.organisation_id)
    assert error(login(world, guest.email, inviteToken=token), 410) == "invite_exhausted"


def test_seats_that_are_taken_are_a_402(world: World) -> None:
    person = world.person(SURFACE, plan="community")
    full = call(world, "POST", "/api/users", person, json={"email": world.email()})
    assert error(full, 402) == "tier_limit"
    assert full.json()["details"] == {"limit": "users", "allowed": "1", "used": "1"}


def test_the_waiting_list_says_the_same_to_everybody(world: World) -> None:
    person = world.person(SURFACE)
    home(world, person)
    new, waiting = world.email(), world.email()
    replies = [
        call(world, "POST", "/auth/pending-signup", json={"email": email, "displayName": "Grace"})
        for email in (new, waiting, waiting, person.email)
    ]
    assert {(reply.status_code, reply.text) for reply in replies} == {(201, replies[0].text)}
    page = call(world, "GET", "/auth/admin/waitlist", person).json()
    assert [entry["email"] for entry in page["items"]] == [new, waiting]


def test_an_account_that_waits_is_told_so_until_it_is_let_in(world: World) -> None:
    person = world.person(SURFACE)
    home(world, person)
    email = world.email()
    made = sign_up(world, email)
    assert (made.status_code, made.json()["status"], made.json()["session"]) == (201, "pending", None)
    assert "set-cookie" not in made.headers
    assert error(login(world, email), 403) == "pending_approval"
    path = f"/auth/admin/waitlist/{made.json()['userId']}"
    assert call(world, "POST", f"{path}/approve", person).json()["status"] == "approved"  # no body: the defaults
    assert call(world, "POST", f"{path}/approve", person, json={}).status_code == 200
    assert error(call(world, "POST", f"{path}/reject", person), 409) == "already_approved"
    assert login(world, email).status_code == 200


def test_closed_doors_are_a_403(world: World) -> None:
    person = world.person(SURFACE)
    home(world, person, "invite_only")
    assert error(sign_up(world, world.email()), 403) == "signup_disabled"
    joined = call(world, "POST", "/auth/pending-signup", json={"email": world.email(), "displayName": "Grace"})
    assert error(joined, 403) == "signup_disabled"
    home(world, person, "open", allowed_domains=["lovelace.example"])
    assert error(sign_up(world, world.email()), 403) == "domain_not_allowed"


# --- people, groups, settings --------------------------------------------------------------------------------


def test_locking_out_ends_what_processes_remember_at_once(world: World) -> None:
    person = world.person(SURFACE)
    member = world.person(SURFACE, organisation_id=person.organisation_id, role="member")
    key = call(world, "POST", "/api/api-keys", member, json={"name": "Script"}).json()["key"]
    for token in (member.token, key):
        assert call(world, "GET", "/auth/user", token).status_code == 200
    locked = call(world, "PATCH", f"/api/users/{member.account_id}", person, json={"status": "disabled"})
    assert locked.json()["status"] == "disabled"
    for token in (member.token, key):
        _soon(world, token)
    assert error(login(world, member.email), 403) == "account_disabled"


def _soon(world: World, token: str) -> None:
    for _ in range(40):
        if call(world, "GET", "/auth/user", token).status_code == 401:
            return
    raise AssertionError("the credential is still believed")


def test_the_refusals_of_people(world: World) -> None:
    owner = world.person(SURFACE)
    admin = world.person(SURFACE, organisation_id=owner.organisation_id, role="admin")
    own = f"/api/users/{owner.account_id}"
    assert error(call(world, "PATCH", own, owner, json={"status": "disabled"}), 409) == "own_account"
    assert error(call(world, "DELETE", own, owner), 409) == "own_account"
    assert call(world, "DELETE", own, admin).status_code == 403
    assert call(world, "POST", "/api/users", admin, json={"email": world.email(), "role": "admin"}).status_code == 403
    assert error(call(world, "POST", "/api/users", owner, json={"email": admin.email}), 409) == "already_active"
    unknown = {"email": world.email(), "groupIds": [str(uuid4())]}
    assert error(call(world, "POST", "/api/users", owner, json=unknown), 422) == "unknown_group"
    spoken = call(world, "PATCH", own, owner, json={"language": "xx"})
    assert error(spoken, 422) == "unknown_language"


def test_a_deleted_user_is_brought_back(world: World) -> None:
    person = world.person(SURFACE)
    member = world.person(SURFACE, organisation_id=person.organisation_id, role="member")
    path = f"/api/users/{member.account_id}"
    assert call(world, "DELETE", path, person).status_code == 204
    assert call(world, "DELETE", path, person).status_code == 404
    gone = call(world, "GET", "/api/users", person, params={"status": "deleted"}).json()
    assert [user["id"] for user in gone["items"]] == [str(member.account_id)]
    assert call(world, "PATCH", path, person, json={"status": "active"}).json()["status"] == "active"


def test_the_refusals_of_groups(world: World) -> None:
    person = world.person(SURFACE)
    groups = "/api/organisation/groups"
    made = call(world, "POST", groups, person, json={"name": "Legal"})
    path = f"{groups}/{made.json()['id']}"
    assert made.headers["location"] == f"{BASE}{path}"
    assert error(call(world, "POST", groups, person, json={"name": " legal "}), 409) == "name_taken"
    assert error(call(world, "PATCH", path, person, json={"name": "   "}), 422) == "name_empty"
    stranger = {"userId": str(world.person(SURFACE).account_id)}
    assert error(call(world, "POST", f"{path}/members", person, json=stranger), 422) == "unknown_user"
    assert error(call(world, "POST", groups, person, json={"name": "X", "memberIds": [str(uuid4())]}), 422)
    own = {"userId": str(person.account_id)}
    first, again = (call(world, "POST", f"{path}/members", person, json=own) for _ in range(2))
    assert first.json() == again.json()
    assert call(world, "DELETE", f"{path}/members/{uuid4()}", person).status_code == 404
    assert call(world, "DELETE", path, person).status_code == 204
    assert call(world, "DELETE", path, person).status_code == 404


@pytest.mark.parametrize(
    ("wish", "plan", "status", "word"),
    [
        ({"guardrails": {"dlpMode": "block"}}, "pro", 403, "license_feature_required"),
        ({"primaryColor": "#1A2B3C"}, "enterprise", 403, "license_feature_required"),
        ({"logoUrl": "https://lovelace.example/logo.png"}, "community", 403, "license_feature_required"),
        ({"auditRetentionDays": 365}, "pro", 403, "license_feature_required"),
        ({"timezone": "Mars/Olympus"}, "full", 422, "unknown_timezone"),
        ({"defaultLanguage": "xx"}, "full", 422, "unknown_language"),
        ({"logoUrl": "javascript:alert(1)"}, "full", 422, "not_an_address"),
        ({"name": "   "}, "full", 422, "name_empty"),
    ],
)
def test_the_refusals_of_settings(world: World, wish: dict[str, Any], plan: str, status: int, word: str) -> None:
    person = world.person(SURFACE, plan=plan)
    before = call(world, "GET", "/api/organisation", person).json()
    assert error(call(world, "PATCH", "/api/organisation", person, json=wish), status) == word
    assert call(world, "GET", "/api/organisation", person).json() == before


def test_settings_hold_for_as_long_as_the_tier_covers_them(world: World) -> None:
    person = world.person(SURFACE, plan="full")
    wish = {"primaryColor": "#1A2B3C", "auditRetentionDays": 365, "guardrails": {"dlpMode": "block"}}
    changed = call(world, "PATCH", "/api/organisation", person, json=wish).json()
    assert (changed["primaryColor"], changed["auditRetentionDays"]) == ("#1A2B3C", 365)
    assert (changed["guardrails"]["dlpMode"], changed["guardrails"]["dlpFailureMode"]) == ("block", "fail_closed")
    world.subscribe(person.organisation_id, SURFACE, "pro")
    now = call(world, "GET", "/api/organisation", person).json()
    assert (now["primaryColor"], now["auditRetentionDays"], now["guardrails"]["dlpMode"]) == (None, 90, "ask")


def test_a_slug_that_is_taken_is_a_409(world: World) -> None:
    person, other = world.person(SURFACE), world.person(SURFACE)
    slug = call(world, "GET", "/api/organisation", other).json()["slug"]
    assert error(call(world, "PATCH", "/api/organisation", person, json={"slug": slug}), 409) == "slug_taken"


# --- keys and pictures --------------------------------------------------------------------------------


def test_a_read_only_key_reads_and_changes_nothing(world: World) -> None:
    person = world.person(SURFACE)
    made = call(world, "POST", "/api/api-keys", person, json={"name": "Reader", "scope": "read-only"}).json()
    mine = call(world, "GET", "/auth/my-permissions", made["key"]).json()
    assert mine["permissions"]
    assert all(name.endswith(":read") for name in mine["permissions"])
    assert call(world, "GET", "/api/users", made["key"]).status_code == 200
    assert call(world, "POST", "/api/users", made["key"], json={"email": world.email()}).status_code == 403
    assert call(world, "PATCH", "/api/organisation", made["key"], json={"name": "Mine"}).status_code == 403


def test_keys_have_names_of_their_own_and_are_twenty_five(world: World) -> None:
    person = world.person(SURFACE)
    keys = "/api/api-keys"
    for number in range(25):
        made = call(world, "POST", keys, person, json={"name": f"Key {number}"})
        assert made.status_code == 201
    assert error(call(world, "POST", keys, person, json={"name": "One more"}), 409) == "too_many_keys"
    path = made.headers["location"].removeprefix(BASE)
    for _ in range(2):
        assert call(world, "DELETE", path, person).status_code == 204
    assert error(call(world, "POST", keys, person, json={"name": "Key 1"}), 409) == "name_taken"
    assert call(world, "POST", keys, person, json={"name": "Key 24"}).status_code == 201
    colleague = world.person(SURFACE, organisation_id=person.organisation_id, role="member")
    assert call(world, "POST", keys, colleague, json={"name": "Key 1"}).status_code == 201
    assert call(world, "DELETE", path, colleague).status_code == 404


def test_a_picture_is_shown_at_its_address_until_it_changes(world: World) -> None:
    person = world.person(SURFACE)
    first = call(world, "POST", "/auth/update-profile", person, json={"avatar": DOT}).json()["avatarUrl"]
    path = httpx.URL(first).path
    shown = httpx.get(f"{world.url}{path}", timeout=30)
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/webp")
    assert call(world, "POST", "/auth/update-profile", person, json={"avatar": None}).json()["avatarUrl"] is None
    assert httpx.get(f"{world.url}{path}", timeout=30).status_code == 404
    fake = DOT.replace("image/png", "image/jpeg")
    assert error(call(world, "POST", "/auth/update-profile", person, json={"avatar": fake}), 422) == "not_a_picture"
