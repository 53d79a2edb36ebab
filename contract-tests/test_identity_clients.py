"""The whole life of a sign-in, by the clients that a partner would generate: sign up, prove the address, sign in,
refresh, make and revoke a key, sign out. What each call takes and answers are the client's own types.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from recipes import World, starter_identity
from recipes.partner import Partner, partners

from domain import identity
from domain.identity import members

PASSWORD = "Staple-orbit-lantern-42"
FRESH = "Velvet-comet-harbour-77"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Visitor(Partner):
    def __call__(self, operation: str, who: Any, *path: Any, body: tuple[str, dict[str, Any]] | None = None) -> Any:
        """Call `tag.operation`; `body` is the name of its model and the JSON."""
        return self.reply(operation, who, *path, **({} if body is None else {"body": self.body(*body)}))


@pytest.fixture(scope="module")
def partner(running: Any, made: Path) -> Callable[[str], Visitor]:
    return partners(Visitor, made, running.url)


def statuses(*replies: Any) -> list[int]:
    return [int(reply.status_code) for reply in replies]


def kind(reply: Any) -> str:
    """The type that the client made of an answer."""
    return type(reply.parsed).__name__


def cookie(reply: Any, name: str) -> str:
    """The value of a cookie that was set. The jars of programs keep `Secure` ones from plain HTTP, as here."""
    for line in reply.headers.get_list("set-cookie"):
        if line.startswith(f"{name}="):
            return str(line.partition(";")[0].partition("=")[2])
    raise AssertionError(f"no cookie {name}")


def test_thallus_from_signing_up_to_signing_out(partner: Callable[[str], Visitor], world: World) -> None:
    thallus = partner("thallus")
    email, anybody = world.email(), thallus.anybody()
    wish = {"email": email, "password": PASSWORD, "name": "Ada Lovelace", "captcha_token": "solved"}
    proof = ("LoginRequest", {"email": email, "password": PASSWORD})

    made = thallus("auth.register", anybody, body=("RegisterRequest", wish))
    assert (made.status_code, made.parsed.email) == (HTTPStatus.CREATED, email)
    early = thallus("auth.login", anybody, body=proof)
    assert (early.status_code, early.parsed.error) == (HTTPStatus.FORBIDDEN, "email_not_verified")
    token = world.mailed(email, "verify_email")
    verified = thallus("auth.verify_email", anybody, body=("VerifyEmailRequest", {"token": token}))
    assert (verified.status_code, kind(verified)) == (HTTPStatus.OK, "Message")

    signed_in = thallus("auth.login", anybody, body=proof)
    assert (signed_in.status_code, signed_in.parsed.user.email) == (HTTPStatus.OK, email)
    me = thallus("auth.get_current_user", thallus.holder(signed_in.parsed.access_token))
    assert (me.parsed.email, me.parsed.email_verified, me.parsed.name) == (email, True, "Ada Lovelace")

    kept = thallus.anybody().with_cookies({"refresh_token": cookie(signed_in, "refresh_token")})
    refreshed = thallus("auth.refresh_token", kept)
    assert (refreshed.status_code, kind(refreshed)) == (HTTPStatus.OK, "TokenResponse")
    holder = thallus.holder(refreshed.parsed.access_token)

    key = thallus("api_keys.create_api_key", holder, body=("ApiKeyCreate", {"name": "Nightly export"}))
    assert statuses(key) == [402], "the smallest plan has no keys"
    world.subscribe(organisation_of(world, email), "thallus")
    key = thallus("api_keys.create_api_key", holder, body=("ApiKeyCreate", {"name": "Nightly export"}))
    assert key.status_code == HTTPStatus.CREATED, key.content
    machine = thallus.holder(key.parsed.key, prefix="", auth_header_name="X-API-Key")
    assert thallus("auth.get_current_user", machine).parsed.email == email
    listed = thallus("api_keys.list_api_keys", holder)
    assert [one.name for one in listed.parsed.items] == ["Nightly export"]
    assert statuses(thallus("api_keys.revoke_api_key", holder, key.parsed.id)) == [204]
    assert statuses(thallus("auth.get_current_user", machine)) == [401]

    assert statuses(thallus("auth.logout", holder)) == [200]
    over = thallus("auth.get_current_user", holder)
    assert (over.status_code, kind(over)) == (HTTPStatus.UNAUTHORIZED, "Error")
    stale = thallus.anybody().with_cookies({"refresh_token": cookie(refreshed, "refresh_token")})
    assert thallus("auth.refresh_token", stale).parsed.error == "session_expired"


def organisation_of(world: World, email: str) -> Any:
    with world.anyone("thallus") as ctx:
        account = identity.accounts.find(ctx, email)
        assert account is not None
        return identity.memberships.organisations_of(ctx, account.id)[0].organisation_id


def test_thallus_forgotten_password(partner: Callable[[str], Visitor], world: World) -> None:
    thallus, person = partner("thallus"), world.person("thallus")
    asked = thallus(
        "auth.forgot_password",
        thallus.anybody(),
        body=("ForgotPasswordRequest", {"email": person.email, "captcha_token": "solved"}),
    )
    assert kind(asked) == "Message"
    reset = {"token": world.mailed(person.email, "reset_password"), "new_password": FRESH}
    assert statuses(
        thallus("auth.reset_password", thallus.anybody(), body=("ResetPasswordRequest", reset)),
        thallus("auth.get_current_user", thallus.holder(person.token)),
        thallus("auth.login", thallus.anybody(), body=("LoginRequest", {"email": person.email, "password": PASSWORD})),
        thallus("auth.login", thallus.anybody(), body=("LoginRequest", {"email": person.email, "password": FRESH})),
    ) == [200, 401, 401, 200]


def test_starter_from_an_invite_to_signing_out_everywhere(partner: Callable[[str], Visitor], world: World) -> None:
    starter = partner("starter")
    email, anybody = starter_identity.own_address(), starter.anybody()
    wish = {
        "email": email,
        "password": PASSWORD,
        "tenant_name": f"Analytics {email[4:16]}",
        "accept_terms": True,
        "invite_token": starter_identity.invite(world, email=email).token,
    }
    founded = starter("signup.register_tenant", anybody, body=("UserRegisterRequest", wish))
    assert (founded.status_code, founded.parsed.email_verified) == (HTTPStatus.CREATED, False), founded.content
    early = starter.holder(founded.parsed.access_token)
    assert statuses(starter("tenants.get_tenant_settings", early)) == [403]
    assert statuses(starter("account.send_verification_email", early)) == [202]
    token = world.mailed(email, "verify_email")
    confirm = ("EmailVerificationConfirmRequest", {"token": token})
    assert statuses(starter("account.verify_email", anybody, body=confirm)) == [200]
    assert statuses(starter("tenants.get_tenant_settings", early)) == [200]

    signed_in = starter("auth.login", anybody, body=("UserLoginRequest", {"email": email, "password": PASSWORD}))
    assert (signed_in.parsed.email_verified, signed_in.parsed.token_type) == (True, "bearer")
    trade = ("UserRefreshRequest", {"refresh_token": signed_in.parsed.refresh_token})
    refreshed = starter("auth.refresh_session", anybody, body=trade)
    assert refreshed.parsed.session_id == signed_in.parsed.session_id
    holder = starter.holder(refreshed.parsed.access_token)
    assert kind(starter("auth.get_current_user", holder)) == "CurrentUserResponse"

    other = starter("auth.login", anybody, body=("UserLoginRequest", {"email": email, "password": PASSWORD})).parsed
    listed = starter("sessions.list_sessions", holder)
    assert listed.parsed.total == 3
    assert statuses(
        starter("sessions.revoke_session", holder, other.session_id),
        starter("auth.get_current_user", starter.holder(other.access_token)),
        starter("auth.get_current_user", holder),
        starter("auth.refresh_session", anybody, body=trade),  # for the second time: the session ends
        starter("auth.get_current_user", holder),
        starter("auth.get_current_user", early),
        starter("auth.logout_everywhere", early),
        starter("auth.get_current_user", early),
    ) == [200, 401, 200, 401, 401, 200, 200, 401]


def test_bee_flow_from_an_invitation_to_signing_out(partner: Callable[[str], Visitor], world: World) -> None:
    beeflow = partner("beeflow")
    owner, email, anybody = world.person("beeflow"), world.email(), beeflow.anybody()
    with world.acting(owner) as ctx:
        link = members.invite(ctx, email).link
    wish = {"email": email, "password": PASSWORD, "displayName": "Grace Hopper", "inviteToken": link.partition("#")[2]}
    joined = beeflow("signup.sign_up", anybody, body=("SignupRequest", wish))
    assert joined.status_code == HTTPStatus.CREATED, joined.content
    proof = ("LoginRequest", {"email": email, "password": PASSWORD})
    signed_in = beeflow("auth.login", anybody, body=proof)
    assert signed_in.parsed.user.email == email
    holder = beeflow.holder(signed_in.parsed.token)
    in_browser = beeflow.anybody().with_cookies({"bf_session": cookie(signed_in, "bf_session")})
    for who in (holder, in_browser):
        me = beeflow("account.get_current_user", who)
        assert (me.status_code, me.parsed.email, str(me.parsed.organization_id)) == (
            HTTPStatus.OK,
            email,
            str(owner.organisation_id),
        )

    key = beeflow("api_keys.create_api_key", holder, body=("ApiKeyCreate", {"name": "Script", "scope": "read-only"}))
    assert key.status_code == HTTPStatus.CREATED, key.content
    machine = beeflow.holder(key.parsed.key)
    assert beeflow("account.get_current_user", machine).parsed.email == email
    assert statuses(
        beeflow("api_keys.revoke_api_key", holder, key.parsed.api_key.id),
        beeflow("account.get_current_user", machine),
        beeflow("auth.logout", in_browser),
        beeflow("account.get_current_user", in_browser),
        beeflow("account.get_current_user", holder),  # one session, by cookie and by header
    ) == [204, 401, 204, 401, 401]
