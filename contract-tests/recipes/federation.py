"""Providers on loopback for the running platform: an OAuth and OpenID Connect server, a Nextcloud, and a SAML identity
provider for one organisation. They run as threads of the tests, from when the platform's settings are asked for."""

from __future__ import annotations

import atexit
import importlib.util
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx

from domain import billing, identity
from domain.identity import federation
from domain.identity.connector import signature
from domain.identity.models import Organisation
from domain.kernel.context import SystemActor
from domain.kernel.crypto import Secret
from domain.kernel.db import Database
from domain.kernel.ids import new_id

SERVERS = Path(__file__).parents[2] / "tests" / "identity" / "federation"
ENROLMENT = "an-enrolment-key-for-the-contract-tests-0123"
NOTICE = "2026-05"
SAML_ORGANISATION = UUID("01931c3e-6b00-7d11-8c3e-4f5a6b7c8d9e")
UNSOLICITED = UUID("01931c3e-6b00-7d11-8c3e-4f5a6b7c8d9f")
COMMUNITY = UUID("01931c3e-6b00-7d11-8c3e-4f5a6b7c8da0")
BEEFLOW = "/beeflow"
PROVIDERS = ("google", "microsoft", "github", "nextcloud")


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"federation_{name}", SERVERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass
class Providers:
    """All of them. `server` is the OAuth one; `saml(organisation)` the identity provider of an organisation."""

    server: Any
    module: ModuleType
    saml_module: ModuleType
    folder: Path
    idps: dict[UUID, Any]

    def settings(self) -> dict[str, str]:
        """What the platform has to be started with."""
        client = f"{self.module.CLIENT}:{self.module.SECRET}"
        host = self.server.url.removeprefix("http://")
        places = ",".join(f"{organisation}={self.folder / str(organisation)}.xml" for organisation in self.idps)
        return {
            "outgoing_allow": "127.0.0.0/8",
            "oauth_google": client,
            "oauth_google_url": self.server.url,
            "oauth_microsoft": client,
            "oauth_microsoft_tenants": self.server.tenant,
            "oauth_microsoft_url": self.server.url,
            "oauth_github": client,
            "oauth_github_url": self.server.url,
            "oauth_nextcloud": f"http://{client}@{host}",
            "oauth_nextcloud_trust_email": "true",
            "saml_providers": places,
            "saml_unsolicited": str(UNSOLICITED),
            "connector_enrolment_key": ENROLMENT,
            "privacy_notice": NOTICE,
        }

    def person(self, provider: str, **about: Any) -> Any:
        """Somebody new sits at the browser."""
        number = str(time.monotonic_ns())
        person = self.module.Person(**{"subject": number, "email": f"sso-{number}@example.org", **about})
        if provider == "microsoft":
            person.claims.setdefault("tid", self.server.tenant)
        self.server.person = person
        return person


_running = ExitStack()
atexit.register(_running.close)  # while their threads still run: afterwards nobody answers


@cache
def providers() -> Providers:
    """Started once, and left to the end of the process."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # authlib's server refuses http otherwise
    module, saml_module = _load("identity_servers"), _load("saml_idp")
    server = module.IdentityServer()
    server.url = _running.enter_context(module.serving(server.app))
    folder = Path(tempfile.mkdtemp(prefix="thalweg-idp-"))
    idps = {}
    for organisation in (SAML_ORGANISATION, UNSOLICITED, COMMUNITY):
        own = folder / organisation.hex
        own.mkdir()
        idps[organisation] = saml_module.SamlIdp(own, f"http://idp-{organisation.hex}.example")
        (folder / f"{organisation}.xml").write_bytes(idps[organisation].metadata())
    return Providers(server, module, saml_module, folder, idps)


# --- OAuth -------------------------------------------------------------------------------------------------


@dataclass
class Browser:
    """One browser on its way: what it was sent with, and what it brings home."""

    url: str
    provider: str
    cookie: str
    back: dict[str, str]

    def finish(self, *, cookie: str | None = "own", **other: str) -> httpx.Response:
        given = {name: value for name, value in self.back.items() if not name.startswith("_")}
        sent = self.cookie if cookie == "own" else cookie
        headers = {} if sent is None else {"Cookie": f"{federation.flows.COOKIE}={sent}"}
        return httpx.get(
            f"{self.url}{BEEFLOW}/auth/{self.provider}/callback", params={**given, **other}, headers=headers, timeout=30
        )


def depart(url: str, provider: str, **query: str) -> Browser:
    """To the provider and back, as far as the callback."""
    known = providers()
    known.server.redirects = [f"{url}{BEEFLOW}/auth/{name}/callback" for name in PROVIDERS]
    reply = httpx.get(f"{url}{BEEFLOW}/auth/{provider}/login", params=query, timeout=30)
    assert reply.status_code == 302, reply.text
    cookie = reply.headers["set-cookie"].partition(";")[0].partition("=")[2]
    return Browser(url, provider, cookie, known.module.consent(reply.headers["location"]))


def code_of(reply: httpx.Response) -> str:
    """The pickup code in a redirect."""
    assert reply.status_code == 302, reply.text
    return parse_qs(urlsplit(reply.headers["location"]).query)["code"][0]


# --- SAML --------------------------------------------------------------------------------------------------


def saml_organisation(database: Database, organisation_id: UUID = SAML_ORGANISATION, plan: str = "enterprise") -> UUID:
    """The organisation that the settings name, made when it is first needed."""
    with database.session(None, platform=True) as session:
        known = session.get(Organisation, organisation_id) is not None
    if not known:
        with database.context(SystemActor("tests"), organisation_id) as ctx:
            ctx.session.add(Organisation(id=organisation_id, name="Lovelace", slug=f"saml-{organisation_id.hex[-6:]}"))
            ctx.session.flush()
            billing.subscribe(ctx, plan, "beeflow")
    return organisation_id


SAML_BROWSER = "a-browser-that-set-out"
"""What the cookie of the browser holds that `saml_response` answers."""


def saml_cookie(browser: str = SAML_BROWSER) -> dict[str, str]:
    """What that browser sends along."""
    return {federation.flows.COOKIE: browser}


def saml_response(
    url: str,
    organisation_id: UUID = SAML_ORGANISATION,
    *,
    solicited: bool = True,
    asked: str | None = None,
    **wishes: Any,
) -> str:
    """A response for somebody new, to a request of the platform's own unless told; `asked`: to this one."""
    known = providers()
    idp = known.idps[organisation_id]
    sp = federation.registry.service_provider(f"{url}{BEEFLOW}", organisation_id)
    document = federation.saml_flow.saml_metadata.write_service_provider(sp).decode()
    store = importlib.import_module("saml2.mdstore").InMemoryMetaData(None, document)
    store.load()
    idp.server.metadata = importlib.import_module("saml2.mdstore").MetadataStore(None, idp.server.config)
    idp.server.metadata.metadata["sp"] = store
    number = str(time.monotonic_ns())
    idp.attributes["mail"] = f"saml-{number}@example.org"
    if solicited and asked is None:
        asked = federation.saml_flow.saml_request.new_id(organisation_id, ctx_now(), SAML_BROWSER)
    wishes.setdefault("subject", number)
    return str(idp.respond(sp.entity_id, sp.consumer_url, asked, **wishes))


def ctx_now() -> Any:
    from domain.kernel.clock import SystemClock

    return SystemClock().now()


# --- the connector -----------------------------------------------------------------------------------------


@dataclass
class Connector:
    """A Nextcloud's connector. It signs with the tenant key once it has one, each time with another second."""

    url: str
    instance_id: str
    admin_email: str
    key: str = ENROLMENT
    organisation_id: UUID | None = None
    _at: int = 0

    def signed(self, *lines: str | bytes, key: str | None = None) -> str:
        self._at = max(int(time.time()), self._at + 1)
        return signature.sign(Secret(key or self.key), self._at, lines)

    def first_contact(self, **other: str) -> dict[str, str]:
        """The headers of the first contact."""
        headers = {
            "X-Beeflow-NC-Instance-Id": self.instance_id,
            "X-Beeflow-NC-Base-Url": providers().server.url,
            "X-Beeflow-NC-Admin-Uid": "ada",
            "X-Beeflow-NC-Admin-Email": self.admin_email,
            "X-Beeflow-NC-Admin-Display-Name": "Ada%20Lovelace",
            **other,
        }
        path = "/auth/connector/bootstrap"
        return {**headers, "X-Beeflow-Sig": self.signed("POST", path, *list(headers.values())[:4])}

    def bootstrap(self, **query: str) -> httpx.Response:
        providers().server.capabilities["capabilities"]["bee_flow"]["instanceId"] = self.instance_id
        return httpx.post(
            f"{self.url}{BEEFLOW}/auth/connector/bootstrap", headers=self.first_contact(), params=query, timeout=30
        )

    def handshake(self, uid: str, **other: str) -> dict[str, str]:
        """The headers of a handshake."""
        return {
            "X-Beeflow-NC-Instance-Id": self.instance_id,
            "X-Beeflow-NC-Uid": uid,
            **other,
            "X-Beeflow-Sig": self.signed("GET", "/auth/nc-handshake", uid),
        }

    def sync(self, body: bytes) -> dict[str, str]:
        """The headers of an event."""
        return {
            "X-Beeflow-NC-Instance-Id": self.instance_id,
            "Content-Type": "application/json",
            "X-Beeflow-Sig": self.signed("POST", "/auth/webhook/nc-user-sync", body),
        }


def connector(url: str, database: Database | None = None, plan: str = "enterprise") -> Connector:
    """A connector that has made no contact yet; with `database` one that is bound, on a plan with seats."""
    instance_id = f"oc{new_id().hex[-18:]}"
    made = Connector(url, instance_id, f"{instance_id}@example.org")
    if database is not None:
        bound = made.bootstrap().json()
        made.key, made.organisation_id = bound["tenantKey"], UUID(bound["organizationId"])
        with database.context(SystemActor("tests"), made.organisation_id) as ctx:
            billing.subscribe(ctx, plan, "beeflow")
    return made


def owner_of(database: Database, email: str) -> UUID:
    """Somebody who is here already and administers an organisation; the organisation's id."""
    with database.context(SystemActor("tests"), None, platform=True) as ctx:
        account = identity.accounts.make(ctx, email=email, name="Owner", source="signup", verified=True)
        return identity.accounts.give_own_organisation(ctx, account)
