"""The providers that people sign in with: where the browser goes, and what a code is traded for.

A provider answers a `Profile`: who it says this is, and whether it vouches for the address. All that calls a provider
runs outside transactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from domain.identity.federation import oidc, rules
from domain.identity.federation.oidc import Issuer, TokenRefused
from domain.kernel import outgoing
from domain.kernel.crypto import Secret
from domain.kernel.outgoing import UpstreamFailed

SECONDS = 8.0

PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The Entra tenant that stands for personal Microsoft accounts."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What the provider knows this server by."""

    client_id: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class Trip:
    """One browser's way to a provider and back."""

    redirect_uri: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Profile:
    """Who the provider says this is. At one issuer a `subject` never changes and is never given to somebody else."""

    provider: str
    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    """The provider vouches that the address is this person's. Only then may it lead to an account."""
    display_name: str | None = None


class CodeRefused(UpstreamFailed):
    """The provider does not take the code: used before, stale, or given to another."""

    default = "The provider does not accept this sign-in any more. Start again."


class Provider(Protocol):
    name: str
    label: str

    def departure(self, trip: Trip) -> str:
        """Where to send the browser. May call the provider. Raises `UpstreamFailed`."""
        ...

    def arrival(self, trip: Trip, code: str, now: datetime) -> Profile:
        """Whom the code stands for. Calls the provider. Raises `UpstreamFailed` (`CodeRefused`, `TokenRefused`)."""
        ...

    def speaks_for(self, issuer: str) -> bool:
        """Whether `iss` in the address that the browser came back with is this provider (RFC 9207)."""
        ...


class Google:
    """Google, or another OpenID provider at `issuer`."""

    name, label, scope = "google", "Google", "openid email profile"

    def __init__(self, registration: Registration, issuer: str = "https://accounts.google.com") -> None:
        self._registration = registration
        self._name = issuer.rstrip("/")
        self._issuer = Issuer(issuer, issuer)

    def departure(self, trip: Trip) -> str:
        return _departure(self._issuer.endpoints().authorize, self._registration, self.scope, trip, nonce=trip.nonce)

    def arrival(self, trip: Trip, code: str, now: datetime) -> Profile:
        answer = _traded(self._issuer.endpoints().token, self._registration, trip, code)
        claims = self._issuer.claims(
            answer.get("id_token"),
            client_id=self._registration.client_id,
            nonce=trip.nonce,
            accepts=lambda issuer, _: self.speaks_for(issuer),
            now=now.timestamp(),
        )
        email = rules.address_of(claims.get("email"))
        verified = email is not None and claims.get("email_verified") in (True, "true")
        return Profile(self.name, self._name, claims["sub"], email, verified, rules.name_of(claims.get("name"), email))

    def speaks_for(self, issuer: str) -> bool:
        # Google's older tokens name themselves without the scheme.
        return issuer.rstrip("/") in (self._name, self._name.removeprefix("https://"))


class Microsoft:
    """Microsoft Entra ID. `tenants`: ids that may sign in, or one of `organizations`, `common`, `consumers`.

    An address in a token of another tenant is whatever that tenant's administrator typed. So it counts as verified only
    with the claim `xms_edov`, or where the operator has named the tenant and thereby trusts its administrators.
    """

    name, label, scope = "microsoft", "Microsoft", "openid email profile"

    def __init__(
        self,
        registration: Registration,
        tenants: tuple[str, ...] = ("organizations",),
        base: str = "https://login.microsoftonline.com",
    ) -> None:
        self._registration = registration
        self._tenants = frozenset(tenant.lower() for tenant in tenants)
        self._base = base.rstrip("/")
        door = tenants[0] if len(tenants) == 1 else "organizations"
        self._issuer = Issuer(f"{self._base}/{quote(door, safe='')}/v2.0", None)

    def departure(self, trip: Trip) -> str:
        return _departure(self._issuer.endpoints().authorize, self._registration, self.scope, trip, nonce=trip.nonce)

    def arrival(self, trip: Trip, code: str, now: datetime) -> Profile:
        answer = _traded(self._issuer.endpoints().token, self._registration, trip, code)
        claims = self._issuer.claims(
            answer.get("id_token"),
            client_id=self._registration.client_id,
            nonce=trip.nonce,
            accepts=self._accepts,
            now=now.timestamp(),
        )
        tenant = str(claims["tid"]).lower()
        email = rules.address_of(claims.get("email"))
        vouched = tenant in self._tenants or claims.get("xms_edov") in (True, 1, "1", "true")
        return Profile(
            self.name,
            claims["iss"],
            claims["sub"],
            email,
            email is not None and vouched,
            rules.name_of(claims.get("name"), claims.get("preferred_username"), email),
        )

    def speaks_for(self, issuer: str) -> bool:
        return issuer.startswith(f"{self._base}/") and issuer.endswith("/v2.0")

    def _accepts(self, issuer: str, claims: Mapping[str, Any]) -> bool:
        tenant = claims.get("tid")
        if not isinstance(tenant, str) or issuer != f"{self._base}/{tenant}/v2.0":
            return False
        tenant = tenant.lower()
        if tenant in self._tenants or "common" in self._tenants:
            return True
        return ("consumers" if tenant == PERSONAL else "organizations") in self._tenants


class GitHub:
    """GitHub, or a GitHub Enterprise Server at `base`. It knows no ID tokens: its API says who holds the token."""

    name, label, scope = "github", "GitHub", "read:user user:email"

    def __init__(self, registration: Registration, base: str = "https://github.com") -> None:
        self._registration = registration
        self._base = base.rstrip("/")
        self._api = "https://api.github.com" if self._base == "https://github.com" else f"{self._base}/api/v3"

    def departure(self, trip: Trip) -> str:
        return _departure(f"{self._base}/login/oauth/authorize", self._registration, self.scope, trip)

    def arrival(self, trip: Trip, code: str, now: datetime) -> Profile:
        answer = _traded(f"{self._base}/login/oauth/access_token", self._registration, trip, code)
        headers = {**_bearer(answer), "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        user = _asked(f"{self._api}/user", headers, _GitHubUser())
        addresses = _asked(f"{self._api}/user/emails?per_page=100", headers, _GitHubEmail(many=True))
        primary = next((entry["email"] for entry in addresses if entry["primary"] and entry["verified"]), None)
        email = rules.address_of(primary)
        name = rules.name_of(user["name"], user["login"])
        return Profile(self.name, self._base, str(user["id"]), email, email is not None, name)

    def speaks_for(self, issuer: str) -> bool:
        return urlsplit(issuer).netloc == urlsplit(self._base).netloc


class Nextcloud:
    """One Nextcloud server. Its users may type any address into their profile: `trusts_addresses` is the operator's
    word that here they may not."""

    name, label, scope = "nextcloud", "Nextcloud", ""

    def __init__(self, registration: Registration, base: str, *, trusts_addresses: bool = False) -> None:
        self._registration = registration
        self._base = base.rstrip("/")
        self._trusts = trusts_addresses
        self.host = urlsplit(base).netloc.lower()

    def departure(self, trip: Trip) -> str:
        return _departure(f"{self._base}/index.php/apps/oauth2/authorize", self._registration, self.scope, trip)

    def arrival(self, trip: Trip, code: str, now: datetime) -> Profile:
        answer = _traded(f"{self._base}/index.php/apps/oauth2/api/v1/token", self._registration, trip, code)
        headers = {**_bearer(answer), "Accept": "application/json", "OCS-APIRequest": "true"}
        told = _asked(f"{self._base}/ocs/v2.php/cloud/user?format=json", headers, _NextcloudUser())
        user = told["ocs"]["data"]
        if not user["enabled"]:
            raise CodeRefused
        email = rules.address_of(user["email"])
        return Profile(
            self.name,
            self._base,
            user["id"],
            email,
            email is not None and self._trusts,
            rules.name_of(user["displayname"], user["display_name"], user["id"]),
        )

    def speaks_for(self, issuer: str) -> bool:
        return urlsplit(issuer).netloc.lower() == self.host


# --- what all of them share -----------------------------------------------------------------------------


def _departure(url: str, registration: Registration, scope: str, trip: Trip, **more: str) -> str:
    asked = {
        "response_type": "code",
        "client_id": registration.client_id,
        "redirect_uri": trip.redirect_uri,
        "state": trip.state,
        "code_challenge": rules.challenge(trip.verifier),
        "code_challenge_method": "S256",
        **more,
    }
    return rules.with_query(url, **({"scope": scope} if scope else {}), **asked)


def _traded(url: str, registration: Registration, trip: Trip, code: str) -> dict[str, Any]:
    answer = outgoing.client().post(
        url,
        data={
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": trip.redirect_uri,
            "code_verifier": trip.verifier,
            "client_id": registration.client_id,
            "client_secret": registration.secret.reveal(),
        },
        headers={"Accept": "application/json"},
        seconds=SECONDS,
        max_bytes=128 * 1024,
    )
    if answer.status in (400, 401, 403):
        raise CodeRefused
    told = answer.json() if answer.ok else None
    if not isinstance(told, dict):
        raise UpstreamFailed("The provider does not answer as it should.")
    if "error" in told:  # GitHub answers 200 with an error in it
        raise CodeRefused
    return told


def _bearer(answer: Mapping[str, Any]) -> dict[str, str]:
    token = answer.get("access_token")
    kind = answer.get("token_type")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not 1 <= len(token) <= 8192:
        raise TokenRefused
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenRefused
    return {"Authorization": f"Bearer {token}"}


def _asked(url: str, headers: Mapping[str, str], schema: Schema) -> Any:
    answer = outgoing.client().get(url, headers=headers, seconds=SECONDS, max_bytes=256 * 1024)
    if not answer.ok:
        raise UpstreamFailed("The provider does not answer as it should.")
    try:
        return schema.load(answer.json())
    except ValidationError:
        raise UpstreamFailed("The provider does not answer as it should.") from None


class _Told(Schema):
    class Meta:
        unknown = EXCLUDE


class _GitHubUser(_Told):
    id = fields.Integer(required=True, strict=True, validate=validate.Range(1))
    login = fields.String(required=True)
    name = fields.String(load_default=None, allow_none=True)


class _GitHubEmail(_Told):
    email = fields.String(required=True)
    primary = fields.Boolean(required=True, truthy={True}, falsy={False})
    verified = fields.Boolean(required=True, truthy={True}, falsy={False})


class _NextcloudData(_Told):
    id = fields.String(required=True, validate=validate.Length(1, 180))
    email = fields.String(load_default=None, allow_none=True)
    displayname = fields.String(load_default=None, allow_none=True)
    display_name = fields.String(load_default=None, allow_none=True, data_key="display-name")
    enabled = fields.Boolean(load_default=True)


class _Ocs(_Told):
    data = fields.Nested(_NextcloudData, required=True)


class _NextcloudUser(_Told):
    ocs = fields.Nested(_Ocs, required=True)


__all__ = [
    "CodeRefused",
    "GitHub",
    "Google",
    "Microsoft",
    "Nextcloud",
    "Profile",
    "Provider",
    "Registration",
    "TokenRefused",
    "Trip",
    "oidc",
]
