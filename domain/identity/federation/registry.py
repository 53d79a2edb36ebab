"""What this process signs people in with: the providers and identity providers that the settings name.

`bind(settings)` once at start-up. Metadata of a SAML identity provider is read when it is first needed and once an hour
after that; where it has gone meanwhile, the copy that is there goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit, urlunsplit
from uuid import UUID

from domain.identity.federation.providers import GitHub, Google, Microsoft, Nextcloud, Provider, Registration
from domain.identity.federation.saml_metadata import (
    MAX_METADATA,
    IdentityProvider,
    ServiceProvider,
    read_identity_provider,
    service_provider,
)
from domain.kernel import outgoing
from domain.kernel.crypto import Secret
from domain.kernel.errors import NotFound, Unavailable
from domain.kernel.settings import SecretSetting

FRESH = 3600.0
AGAIN = 60.0


class FederationSettings(Protocol):
    """What signing in through others reads of the settings (docs/configuration.md)."""

    @property
    def base_url(self) -> str: ...
    @property
    def beeflow_url(self) -> str | None: ...
    @property
    def outgoing_allow(self) -> Sequence[str]: ...
    @property
    def oauth_google(self) -> SecretSetting | None: ...
    @property
    def oauth_google_url(self) -> str | None: ...
    @property
    def oauth_microsoft(self) -> SecretSetting | None: ...
    @property
    def oauth_microsoft_tenants(self) -> Sequence[str]: ...
    @property
    def oauth_microsoft_url(self) -> str | None: ...
    @property
    def oauth_github(self) -> SecretSetting | None: ...
    @property
    def oauth_github_url(self) -> str | None: ...
    @property
    def oauth_nextcloud(self) -> Sequence[SecretSetting]: ...
    @property
    def oauth_nextcloud_trust_email(self) -> bool: ...
    @property
    def saml_providers(self) -> Sequence[str]: ...
    @property
    def saml_unsolicited(self) -> Sequence[str]: ...


@dataclass(slots=True)
class _Source:
    """Where an identity provider's metadata is, and what was read there."""

    organisation_id: UUID
    place: str
    unsolicited: bool
    lock: threading.Lock = field(default_factory=threading.Lock)
    known: IdentityProvider | None = None
    read_at: float = 0.0

    def current(self) -> IdentityProvider:
        with self.lock:
            if self.known is not None and time.monotonic() < self.read_at + FRESH:
                return self.known
            try:
                self.known = read_identity_provider(self._read(), self.organisation_id, unsolicited=self.unsolicited)
                self.read_at = time.monotonic()
            except (OSError, ValueError, outgoing.UpstreamFailed) as error:
                if self.known is None:
                    raise Unavailable("The identity provider's metadata cannot be read now.", retry_after=60) from error
                self.read_at = time.monotonic() - FRESH + AGAIN
            return self.known

    def _read(self) -> bytes:
        if not self.place.startswith(("http://", "https://")):
            with Path(self.place).open("rb") as file:
                return file.read(MAX_METADATA + 1)
        answer = outgoing.client().get(self.place, max_bytes=MAX_METADATA)
        if not answer.ok:
            raise outgoing.UpstreamFailed
        return answer.content


@dataclass(frozen=True, slots=True)
class Registry:
    """`base_url`: where browsers reach Bee Flow's operations, without a slash at the end."""

    base_url: str
    providers: Mapping[str, Provider] = field(default_factory=dict)
    nextclouds: Mapping[str, Nextcloud] = field(default_factory=dict)
    """By host, in the order of the settings."""
    saml: Mapping[UUID, _Source] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path of `base_url`: what cookies are bound to."""
        return urlsplit(self.base_url).path

    def provider(self, name: str, instance: str | None = None) -> Provider:
        """Raises `Unavailable` where it is not configured."""
        found: Provider | None = self.providers.get(name)
        if name == "nextcloud":
            wanted = [one for host, one in self.nextclouds.items() if instance in (None, host, host.partition(":")[0])]
            found = wanted[0] if wanted else None
        if found is None:
            raise Unavailable("Signing in this way is not configured on this server.")
        return found

    def service_provider(self, organisation_id: UUID) -> ServiceProvider:
        return service_provider(self.base_url, organisation_id)

    def saml_organisation(self, organisation_id: UUID | None) -> UUID:
        """The organisation asked for, or the only one that has an identity provider. Raises `NotFound`."""
        if organisation_id is None and len(self.saml) == 1:
            return next(iter(self.saml))
        if organisation_id is None or organisation_id not in self.saml:
            raise NotFound("There is no SAML identity provider for this organisation.")
        return organisation_id

    def identity_provider(self, organisation_id: UUID) -> IdentityProvider:
        """May read a file or call a server. Raises `NotFound`, or `Unavailable` when there is no metadata."""
        return self.saml[self.saml_organisation(organisation_id)].current()

    def identity_providers(self, entity_id: str) -> list[IdentityProvider]:
        """Those that call themselves `entity_id`: one provider may serve several organisations."""
        found, away = [], None
        for source in self.saml.values():
            try:
                idp = source.current()
            except Unavailable as error:
                away = error
                continue
            if idp.entity_id == entity_id:
                found.append(idp)
        if not found and away is not None:
            raise away
        return found

    def ways(self) -> list[tuple[str, str]]:
        """What is configured, as (provider, what it is called), for sign-in pages."""
        ways = [(name, one.label) for name, one in self.providers.items()]
        if self.nextclouds:
            ways.append(("nextcloud", Nextcloud.label))
        return ways


def read(settings: FederationSettings) -> Registry:
    """The registry that the settings describe. Raises `ValueError` that names the setting that cannot be used."""
    base = (settings.beeflow_url or f"{settings.base_url}/beeflow").rstrip("/")
    providers: dict[str, Provider] = {}
    if settings.oauth_google is not None:
        issuer = settings.oauth_google_url or "https://accounts.google.com"
        providers["google"] = Google(_registration(settings.oauth_google, "oauth_google"), issuer.rstrip("/"))
    if settings.oauth_microsoft is not None:
        microsoft = settings.oauth_microsoft_url or "https://login.microsoftonline.com"
        tenants = tuple(settings.oauth_microsoft_tenants) or ("organizations",)
        providers["microsoft"] = Microsoft(
            _registration(settings.oauth_microsoft, "oauth_microsoft"), tenants, microsoft
        )
    if settings.oauth_github is not None:
        github = settings.oauth_github_url or "https://github.com"
        providers["github"] = GitHub(_registration(settings.oauth_github, "oauth_github"), github)
    nextclouds = {}
    for entry in settings.oauth_nextcloud:
        one = _nextcloud(entry.reveal(), settings.oauth_nextcloud_trust_email)
        nextclouds[one.host] = one
    return Registry(base, providers, nextclouds, _sources(settings))


def _registration(given: SecretSetting, setting: str) -> Registration:
    client_id, colon, secret = given.reveal().partition(":")
    if not client_id or not colon or not secret:
        raise ValueError(f"{setting}: has to be <client id>:<client secret>")
    return Registration(client_id, Secret(secret))


def _nextcloud(given: str, trusts: bool) -> Nextcloud:
    parts = urlsplit(given)
    if not parts.username or not parts.password or not parts.hostname:
        raise ValueError("oauth_nextcloud: each entry has to be https://<client id>:<client secret>@<host>")
    plain = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    registration = Registration(unquote(parts.username), Secret(unquote(parts.password)))
    return Nextcloud(registration, plain, trusts_addresses=trusts)


def _sources(settings: FederationSettings) -> dict[UUID, _Source]:
    unsolicited = {str(entry).lower() for entry in settings.saml_unsolicited}
    sources = {}
    for entry in settings.saml_providers:
        name, _, place = entry.partition("=")
        try:
            organisation_id = UUID(name.strip())
        except ValueError:
            raise ValueError("saml_providers: each entry has to be <organisation id>=<file or https URL>") from None
        sources[organisation_id] = _Source(organisation_id, place.strip(), str(organisation_id) in unsolicited)
    return sources


_registry: Registry | None = None


def bind(settings: FederationSettings) -> None:
    """Give this process its providers, and the client that calls them."""
    outgoing.use(outgoing.Client(settings.outgoing_allow))
    use(read(settings))


def use(new: Registry | None) -> None:
    """Give this process its registry."""
    global _registry
    _registry = new


def current() -> Registry:
    """The process's registry. Raises `Unavailable` where nothing was bound."""
    if _registry is None:
        raise Unavailable("Signing in through others is not configured on this server.")
    return _registry
