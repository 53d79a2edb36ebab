"""SAML metadata: what an identity provider says of itself, and what this service provider does."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from domain.identity.federation.xml import DS, MD, SAMLP, Unreadable, children, named, parse

if TYPE_CHECKING:
    from cryptography import x509

    from domain.identity.federation.xml import Element

POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"

MAX_METADATA = 4 << 20
MEDIA_TYPE = "application/samlmetadata+xml"


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """An identity provider that an organisation trusts."""

    organisation_id: UUID
    entity_id: str
    certificates: tuple[x509.Certificate, ...]
    """Of the keys that it signs with. Their own dates say nothing: trust is in the metadata that names them."""
    sign_in_url: str | None
    """Where a request goes with the redirect binding."""
    valid_until: datetime | None = None
    unsolicited: bool = False
    """It may start a sign-in by itself."""


@dataclass(frozen=True, slots=True)
class ServiceProvider:
    """This server, as an organisation's identity provider knows it."""

    entity_id: str
    consumer_url: str


def service_provider(base_url: str, organisation_id: UUID) -> ServiceProvider:
    """`base_url` is where Bee Flow's operations are reached."""
    return ServiceProvider(
        f"{base_url}/auth/saml/metadata?organizationId={organisation_id}", f"{base_url}/auth/saml/acs"
    )


def read_identity_provider(data: bytes, organisation_id: UUID, *, unsolicited: bool = False) -> IdentityProvider:
    """The one identity provider that a metadata document describes. Raises `ValueError` that says what is amiss."""
    try:
        root = parse(data, MAX_METADATA)
    except Unreadable:
        raise ValueError("the SAML metadata is not XML that can be taken") from None
    entities = [root] if root.tag == named(MD, "EntityDescriptor") else list(root.iter(named(MD, "EntityDescriptor")))
    found = [(entity, role) for entity in entities for role in children(entity, MD, "IDPSSODescriptor")]
    if len(found) != 1:
        raise ValueError(f"the SAML metadata describes {len(found)} identity providers, not one")
    entity, role = found[0]
    entity_id = (entity.get("entityID") or "").strip()
    if not 1 <= len(entity_id) <= 1024:
        raise ValueError("the SAML metadata has no entityID")
    if SAMLP not in (role.get("protocolSupportEnumeration") or "").split():
        raise ValueError("the identity provider does not speak SAML 2.0")
    certificates = tuple(_certificates(role))
    if not certificates:
        raise ValueError("the SAML metadata has no certificate to check signatures with")
    return IdentityProvider(
        organisation_id, entity_id, certificates, _redirect(role), _valid_until(entity, role), unsolicited
    )


def write_service_provider(sp: ServiceProvider) -> bytes:
    """The metadata to hand to an identity provider. It has no secrets and no keys: nothing is encrypted to this server,
    and its requests are not signed."""
    from lxml import etree  # late: only SAML needs it

    root = etree.Element(named(MD, "EntityDescriptor"), {"entityID": sp.entity_id}, nsmap={"md": MD})
    role = etree.SubElement(
        root,
        named(MD, "SPSSODescriptor"),
        {
            "AuthnRequestsSigned": "false",
            "WantAssertionsSigned": "true",
            "protocolSupportEnumeration": SAMLP,
        },
    )
    for format_ in (PERSISTENT, EMAIL):
        etree.SubElement(role, named(MD, "NameIDFormat")).text = format_
    etree.SubElement(
        role,
        named(MD, "AssertionConsumerService"),
        {"Binding": POST, "Location": sp.consumer_url, "index": "0", "isDefault": "true"},
    )
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _certificates(role: Element) -> Iterable[x509.Certificate]:
    from cryptography import x509  # late: only SAML needs it

    for key in children(role, MD, "KeyDescriptor"):
        if key.get("use") in (None, "signing"):
            for given in key.iter(named(DS, "X509Certificate")):
                try:
                    yield x509.load_der_x509_certificate(base64.b64decode("".join((given.text or "").split())))
                except (ValueError, binascii.Error):
                    raise ValueError("a certificate in the SAML metadata cannot be read") from None


def _redirect(role: Element) -> str | None:
    for service in children(role, MD, "SingleSignOnService"):
        location = service.get("Location") or ""
        if service.get("Binding") == REDIRECT and urlsplit(location).scheme in ("http", "https"):
            return location
    return None


def _valid_until(*elements: Element) -> datetime | None:
    ends = [moment(given) for element in elements if (given := element.get("validUntil")) is not None]
    if None in ends:
        raise ValueError("the SAML metadata has a validUntil that is no time")
    return min((end for end in ends if end is not None), default=None)


def moment(given: str | None) -> datetime | None:
    """An xs:dateTime with its time zone (SAML core 1.3.3 has UTC); None for anything else."""
    if given is None or not 20 <= len(given) <= 40 or "T" not in given:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
