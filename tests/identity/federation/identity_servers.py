"""Identity providers on loopback, real enough to refuse: OAuth and OpenID Connect by authlib's server, with PKCE made
mandatory, codes of one use and an exact redirect address; GitHub's and Nextcloud's own ways around the same core."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import flask
import httpx
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server

CLIENT, SECRET = "thalweg-client", "a-secret-of-the-tests"


@dataclass
class Person:
    """Who sits at the browser."""

    subject: str = "1001"
    email: str = "ada@lovelace.example"
    email_verified: Any = True
    name: str = "Ada Lovelace"
    claims: dict[str, Any] = field(default_factory=dict)
    """Further claims of the ID token, or other values for those it has."""
    addresses: list[dict[str, Any]] | None = None
    """What GitHub lists; the one above as primary, if None."""


@dataclass
class _Code:
    code: str
    client_id: str
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str
    code_challenge_method: str
    person: Person
    auth_time: int = 0

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class _Client:
    client_id = CLIENT

    def __init__(self, redirects: list[str]) -> None:
        self.redirects = redirects

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return self.redirects[0]

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, uri: str) -> bool:
        return uri in self.redirects

    def check_client_secret(self, secret: str) -> bool:
        return secrets.compare_digest(secret, SECRET)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_post"

    def check_response_type(self, kind: str) -> bool:
        return kind == "code"

    def check_grant_type(self, kind: str) -> bool:
        return kind == "authorization_code"


class IdentityServer:
    """One server that speaks as any of the providers. `person` signs in; `agrees` False: they press Cancel."""

    def __init__(self) -> None:
        self.person = Person()
        self.agrees = True
        self.redirects: list[str] = []
        self.keys = [RSAKey.generate_key(2048, parameters={"kid": "first", "use": "sig", "alg": "RS256"})]
        self.tenant = "0d2f6c1e-8a77-4b21-9b1f-5a9d3e0c4b21"
        self.down = False
        self.forge: Any = None
        """`forge(claims, server)` answers an ID token of its own making."""
        self.calls: list[str] = []
        self._codes: dict[str, _Code] = {}
        self._tokens: dict[str, Person] = {}
        self.app = flask.Flask("identity-server")
        self.url = ""
        self._routes()

    # --- the server -------------------------------------------------------------------------------------

    def issuer(self, tenant: str | None = None) -> str:
        return self.url if tenant is None else f"{self.url}/{tenant}/v2.0"

    def _routes(self) -> None:
        app, server = self.app, AuthorizationServer()
        app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"authorization_code": 600}
        server.init_app(app, query_client=lambda _: _Client(self.redirects), save_token=self._save)
        outer = self

        class Grant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]  # noqa: RUF012

            def save_authorization_code(self, code: str, request: Any) -> None:
                data = request.payload.data
                outer._codes[code] = _Code(
                    code,
                    CLIENT,
                    request.payload.redirect_uri,
                    request.payload.scope or "",
                    data.get("nonce"),
                    data.get("code_challenge"),
                    data.get("code_challenge_method"),
                    request.user,
                )

            def query_authorization_code(self, code: str, client: Any) -> _Code | None:
                return outer._codes.get(code)

            def delete_authorization_code(self, code: _Code) -> None:
                outer._codes.pop(code.code, None)

            def authenticate_user(self, code: _Code) -> Person:
                return code.person

        class Open(OpenIDCode):  # type: ignore[misc]
            def exists_nonce(self, nonce: str, request: Any) -> bool:
                return False

            def generate_user_info(self, user: Person, scope: str) -> UserInfo:
                return UserInfo(sub=user.subject)

            def get_jwt_config(self, grant: Any, client: Any = None) -> dict[str, Any]:
                return {"key": "unused", "alg": "RS256", "iss": outer.issuer(), "exp": 600}

            def process_token(self, grant: Any, response: Any) -> Any:
                _, token, _ = response
                if "openid" in (token.get("scope") or ""):
                    code = grant.request.authorization_code
                    token["id_token"] = outer.id_token(code)
                return None

            def __call__(self, grant: Any) -> None:
                grant.register_hook("after_create_token_response", lambda g, r: self.process_token(g, r))

        server.register_grant(Grant, [CodeChallenge(required=True), Open(require_nonce=False)])

        @app.before_request
        def _away() -> Any:
            self.calls.append(flask.request.path)
            return ("away", 503) if self.down else None

        def authorize(**_: Any) -> Any:
            if not self.agrees:
                query = urlencode({"error": "access_denied", "state": flask.request.args["state"]})
                return flask.redirect(f"{flask.request.args['redirect_uri']}?{query}")
            grant = server.get_consent_grant(end_user=self.person)
            return server.create_authorization_response(grant=grant, grant_user=self.person)

        def token(**_: Any) -> Any:
            return server.create_token_response()

        for way in ("", "/<tenant>/v2.0", "/login/oauth", "/index.php/apps/oauth2"):
            app.add_url_rule(f"{way}/authorize", f"authorize {way.replace('.', '')}", authorize)
        for way in ("", "/<tenant>/v2.0", "/index.php/apps/oauth2/api/v1"):
            app.add_url_rule(f"{way}/token", f"token {way.replace('.', '')}", token, methods=["POST"])
        app.add_url_rule("/login/oauth/access_token", "github-token", token, methods=["POST"])
        app.add_url_rule("/.well-known/openid-configuration", "discovery", self._discovery)
        app.add_url_rule("/<tenant>/v2.0/.well-known/openid-configuration", "discovery-tenant", self._discovery)
        app.add_url_rule("/keys", "keys", lambda: KeySet(self.keys).as_dict(private=False))
        app.add_url_rule("/api/v3/user", "github-user", self._github_user)
        app.add_url_rule("/api/v3/user/emails", "github-emails", self._github_emails)
        app.add_url_rule("/ocs/v2.php/cloud/user", "nextcloud-user", self._nextcloud_user)
        app.add_url_rule("/ocs/v2.php/cloud/capabilities", "capabilities", self._capabilities)
        self.capabilities: dict[str, Any] = {
            "version": {"major": 32, "minor": 0, "micro": 1, "string": "32.0.1"},
            "capabilities": {"bee_flow": {"instanceId": "oc8f2k1q9x7z"}},
        }

    def _discovery(self, tenant: str | None = None) -> Any:
        return {
            "issuer": f"{self.url}/{{tenantid}}/v2.0" if tenant else self.url,
            "authorization_endpoint": f"{self.issuer(tenant)}/authorize",
            "token_endpoint": f"{self.issuer(tenant)}/token",
            "jwks_uri": f"{self.url}/keys",
        }

    def id_token(self, code: _Code) -> str:
        person, now = code.person, int(time.time())
        claims = {
            "iss": self.issuer(self.tenant) if "tid" in person.claims else self.issuer(),
            "aud": CLIENT,
            "sub": person.subject,
            "iat": now,
            "exp": now + 600,
            "nonce": code.nonce,
            "email": person.email,
            "email_verified": person.email_verified,
            "name": person.name,
            **person.claims,
        }
        if self.forge is not None:
            return str(self.forge(claims, self))
        return jwt.encode({"alg": "RS256", "kid": self.keys[0].kid}, claims, self.keys[0])

    def _save(self, token: dict[str, Any], request: Any) -> None:
        self._tokens[token["access_token"]] = request.user

    def _holder(self) -> Person:
        given = flask.request.headers.get("Authorization", "")
        person = self._tokens.get(given.removeprefix("Bearer "))
        if person is None:
            flask.abort(401)
        return person

    def _github_user(self) -> Any:
        person = self._holder()
        return {"id": int(person.subject), "login": "ada", "name": person.name, "email": "public@elsewhere.example"}

    def _github_emails(self) -> Any:
        person = self._holder()
        return flask.jsonify(
            person.addresses
            if person.addresses is not None
            else [{"email": person.email, "primary": True, "verified": person.email_verified, "visibility": None}]
        )

    def _nextcloud_user(self) -> Any:
        if flask.request.headers.get("OCS-APIRequest") != "true":
            flask.abort(412)
        person = self._holder()
        data = {"enabled": True, "id": person.subject, "email": person.email, "displayname": person.name}
        return {"ocs": {"meta": {"status": "ok", "statuscode": 200}, "data": {**data, **person.claims}}}

    def _capabilities(self) -> Any:
        return {"ocs": {"meta": {"status": "ok", "statuscode": 200}, "data": self.capabilities}}


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve a Flask application on loopback; its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def consent(location: str) -> dict[str, str]:
    """Follow a browser to the provider, and bring back what it is sent home with (its last address as `_to`)."""
    reply = httpx.get(location, timeout=10)
    assert reply.status_code in (302, 303), reply.text
    home = reply.headers["location"]
    return {"_to": home, **{name: values[0] for name, values in parse_qs(urlsplit(home).query).items()}}
