"""Providers on loopback, what this process knows of them, and somebody who sits at a browser."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from domain.identity import federation
from domain.kernel import outgoing
from domain.kernel.crypto import Secret

HERE = Path(__file__).parent


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"federation_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass
class FakeSettings:
    """The settings that this reads, with none of the others."""

    base_url: str = "http://127.0.0.1:9"
    beeflow_url: str | None = None
    outgoing_allow: tuple[str, ...] = ("127.0.0.0/8",)
    oauth_google: Any = None
    oauth_google_url: str | None = None
    oauth_microsoft: Any = None
    oauth_microsoft_tenants: tuple[str, ...] = ("organizations",)
    oauth_microsoft_url: str | None = None
    oauth_github: Any = None
    oauth_github_url: str | None = None
    oauth_nextcloud: tuple[Any, ...] = ()
    oauth_nextcloud_trust_email: bool = False
    saml_providers: tuple[str, ...] = ()
    saml_unsolicited: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="session")
def settings_of() -> type[FakeSettings]:
    return FakeSettings


@pytest.fixture(scope="session")
def servers() -> ModuleType:
    """`identity_servers`: OAuth and OpenID Connect."""
    return _load("identity_servers")


@pytest.fixture(scope="session")
def saml_idp() -> ModuleType:
    """`saml_idp`: a SAML identity provider."""
    return _load("saml_idp")


@pytest.fixture(autouse=True)
def _insecure(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """authlib's server refuses http unless told; what was bound for a test goes with it."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    yield
    outgoing.use(None)
    federation.registry.use(None)


@pytest.fixture
def idp(servers: ModuleType) -> Iterator[Any]:
    """A provider that is everything: Google, Microsoft, GitHub and Nextcloud."""
    server = servers.IdentityServer()
    with servers.serving(server.app) as url:
        server.url = url
        yield server


@pytest.fixture
def bound(idp: Any, servers: ModuleType) -> Any:
    """This process, set up for that provider; the registry."""
    secret = Secret(f"{servers.CLIENT}:{servers.SECRET}")
    host = idp.url.removeprefix("http://")
    settings = FakeSettings(
        oauth_google=secret,
        oauth_google_url=idp.url,
        oauth_microsoft=secret,
        oauth_microsoft_tenants=(idp.tenant,),
        oauth_microsoft_url=idp.url,
        oauth_github=secret,
        oauth_github_url=idp.url,
        oauth_nextcloud=(Secret(f"http://{servers.CLIENT}:{servers.SECRET}@{host}"),),
        oauth_nextcloud_trust_email=True,
    )
    federation.registry.bind(settings)
    known = federation.registry.current()
    idp.redirects = [
        f"{known.base_url}/auth/{name}/callback" for name in ("google", "microsoft", "github", "nextcloud")
    ]
    return known
