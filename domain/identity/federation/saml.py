"""SAML responses: what an identity provider posts through a browser, and whether any of it may be believed.

The way: read strictly; find the one assertion; check the signature over the response or over that assertion with the
keys of the metadata; then read only what the signature covers, in the form in which it was signed. Everything that a
wrapping attack needs (a second assertion, a repeated ID, a signature elsewhere or over something else) is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from domain.identity.federation import rules, xml
from domain.identity.federation.saml_metadata import EMAIL, TRANSIENT, IdentityProvider, ServiceProvider, moment
from domain.identity.federation.xml import DS, SAML, SAMLP, children, named, text
from domain.kernel.errors import Forbidden, Invalid

if TYPE_CHECKING:
    from cryptography import x509

    from domain.identity.federation.xml import Element

SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"

_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"

_EMAIL_NAMES = frozenset(
    (
        "email",
        "mail",
        "emailaddress",
        "urn:oid:0.9.2342.19200300.100.1.3",
        "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
    )
)
_DISPLAY_NAMES = (
    "displayname",
    "urn:oid:2.16.840.1.113730.3.1.241",
    "http://schemas.microsoft.com/identity/claims/displayname",
    "name",
    "cn",
    "urn:oid:2.5.4.3",
)
_GIVEN = ("givenname", "urn:oid:2.5.4.42", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname")
_FAMILY = ("sn", "surname", "urn:oid:2.5.4.4", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname")


class Untrusted(Forbidden):
    """Nothing of the response may be believed. What exactly was amiss is for the log, not for whoever sent it."""

    default = "The identity provider's answer could not be verified."

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__()


class Unreadable(Invalid):
    default = "This is not a SAML response."


class Denied(Exception):
    """The identity provider says that it signed nobody in."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response as it was read, none of which is believed yet."""

    root: Element
    issuer: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an identity provider vouches for, now."""

    id: str
    issuer: str
    subject: str
    """A persistent name identifier, or the address where there is none that lasts."""
    email: str | None
    display_name: str | None
    in_response_to: str | None
    not_on_or_after: datetime
    """Until then the assertion has to be remembered."""
    session_ends_at: datetime | None


def read(encoded: str) -> Response:
    """A posted `SAMLResponse`. Raises `Unreadable`."""
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
        root = xml.parse(data)
    except (binascii.Error, ValueError):
        raise Unreadable from None
    if root.tag != named(SAMLP, "Response") or root.get("Version") != "2.0":
        raise Unreadable
    assertion = next(iter(children(root, SAML, "Assertion")), root)
    issuer = _issuer(root) or _issuer(assertion)
    if issuer is None:
        raise Unreadable
    return Response(root, issuer)


def verify(response: Response, idp: IdentityProvider, sp: ServiceProvider, now: datetime) -> Assertion:
    """What the response says, when it is to be believed. Raises `Untrusted`, or `Denied` for a refusal.

    Whether it answers a request of ours, and was not seen before, is for the caller to judge.
    """
    if idp.valid_until is not None and now >= idp.valid_until:
        raise Untrusted("the metadata is out of date")
    root = response.root
    _refuse_wrapping(root)
    if root.get("Destination") not in (None, sp.consumer_url):
        raise Untrusted("another destination")
    if _issuer(root) not in (None, idp.entity_id):
        raise Untrusted("another issuer of the response")
    _refuse_failure(root)
    inside = children(root, SAML, "Assertion")
    if len(inside) != 1:
        raise Untrusted("there is not one assertion")
    assertion = _signed(root, inside[0], idp.certificates, now, sp)
    return _read_assertion(assertion, root, idp, sp, now)


# --- structure ------------------------------------------------------------------------------------------


def _refuse_wrapping(root: Element) -> None:
    from lxml import etree  # late: see `_verified`

    every = [node for node in root.iter() if isinstance(node.tag, str)]
    if sum(etree.QName(node).localname == "Assertion" for node in every) != 1:
        raise Untrusted("there is not one assertion")
    if any(etree.QName(node).localname == "EncryptedAssertion" for node in every):
        raise Untrusted("encrypted assertions are not taken")
    ids = [value for node in every for name, value in node.attrib.items() if name in _IDS]
    if len(set(ids)) != len(ids):
        raise Untrusted("an ID is repeated")
    for node in every:
        if etree.QName(node).localname == "Signature":
            parent = node.getparent()
            if node.tag != named(DS, "Signature") or parent is None or parent.tag not in _SIGNED:
                raise Untrusted("a signature where none belongs")
    if any(etree.QName(node).localname == "Object" for node in every):
        raise Untrusted("a signature with something in it")


_SIGNED = (named(SAMLP, "Response"), named(SAML, "Assertion"))
_IDS = ("ID", "Id", "id", "{http://www.w3.org/XML/1998/namespace}id")


def _refuse_failure(root: Element) -> None:
    status = root.find(f"{named(SAMLP, 'Status')}/{named(SAMLP, 'StatusCode')}")
    if status is None:
        raise Untrusted("no status")
    if status.get("Value") != SUCCESS:
        raise Denied


def _issuer(element: Element) -> str | None:
    found = children(element, SAML, "Issuer")
    return text(found[0]) if len(found) == 1 else None


# --- signatures -------------------------------------------------------------------------------------------


def _signed(
    root: Element, assertion: Element, certificates: Sequence[x509.Certificate], now: datetime, sp: ServiceProvider
) -> Element:
    """The assertion as a signature covers it. Every signature that is there has to be good."""
    covered: Element | None = None
    if children(root, DS, "Signature"):
        whole = _verified(root, certificates, now)
        if whole.get("Destination") != sp.consumer_url:  # bindings 3.5.5.2: a signed message names it
            raise Untrusted("a signed response without its destination")
        found = children(whole, SAML, "Assertion")
        if len(found) != 1:
            raise Untrusted("the signed response has no assertion")
        covered = found[0]
    if children(assertion, DS, "Signature"):
        alone = _verified(assertion, certificates, now)
        covered = alone if covered is None else covered
    if covered is None:
        raise Untrusted("nothing is signed")
    return covered


@cache
def _configuration() -> dict[str, Any]:
    """What of XML signatures is taken."""
    from signxml.algorithms import DigestAlgorithm, SignatureMethod  # late: see `_verified`

    return {
        "location": "./",
        "expect_references": 1,
        "signature_methods": frozenset(
            {
                SignatureMethod.RSA_SHA256,
                SignatureMethod.RSA_SHA384,
                SignatureMethod.RSA_SHA512,
                SignatureMethod.SHA256_RSA_MGF1,
                SignatureMethod.SHA384_RSA_MGF1,
                SignatureMethod.SHA512_RSA_MGF1,
                SignatureMethod.ECDSA_SHA256,
                SignatureMethod.ECDSA_SHA384,
                SignatureMethod.ECDSA_SHA512,
            }
        ),
        "digest_algorithms": frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512}),
    }


def _verified(element: Element, certificates: Sequence[x509.Certificate], now: datetime) -> Element:
    # The libraries of XML signatures weigh 6 MiB, and only SAML needs them.
    from lxml import etree
    from signxml.exceptions import SignXMLException
    from signxml.verifier import SignatureConfiguration, XMLVerifier

    signatures = children(element, DS, "Signature")
    own = element.get("ID")
    if len(signatures) != 1 or not own:
        raise Untrusted("more than one signature, or nothing that it could name")
    signature = signatures[0]
    references = list(signature.iter(named(DS, "Reference")))
    if len(references) != 1 or references[0].get("URI") != f"#{own}":
        raise Untrusted("the signature is over something else")
    transforms = [node.get("Algorithm") for node in references[0].iter(named(DS, "Transform"))]
    method = signature.find(f"{named(DS, 'SignedInfo')}/{named(DS, 'CanonicalizationMethod')}")
    if sorted(map(str, transforms)) != sorted((_ENVELOPED, _EXCLUSIVE)) or method is None:
        raise Untrusted("unusual transforms")
    if method.get("Algorithm") != _EXCLUSIVE:
        raise Untrusted("an unusual canonical form")
    data = etree.tostring(element, with_tail=False)
    why = "no certificate"
    for certificate in certificates:
        # A certificate is no more than a key here (SAML metadata interoperability profile 2.6.1): no dates count.
        at = min(max(now, certificate.not_valid_before_utc), certificate.not_valid_after_utc)
        try:
            result = XMLVerifier().verify(
                data,
                x509_cert=certificate,
                parser=xml.parser(),
                id_attribute="ID",
                expect_config=SignatureConfiguration(verification_time=at, **_configuration()),
            )
        except (SignXMLException, etree.LxmlError, ValueError, TypeError, KeyError, NotImplementedError) as error:
            why = type(error).__name__
            continue
        if isinstance(result, list) or result.signed_xml is None:
            raise Untrusted("nothing is covered")
        covered: Element = result.signed_xml
        if covered.tag != element.tag or covered.get("ID") != own:
            raise Untrusted("the signature covers something else")
        return covered
    raise Untrusted(f"the signature is not good: {why}")


# --- what the assertion says ------------------------------------------------------------------------------


def _read_assertion(
    assertion: Element, root: Element, idp: IdentityProvider, sp: ServiceProvider, now: datetime
) -> Assertion:
    own = assertion.get("ID")
    if not own or assertion.get("Version") != "2.0" or _issuer(assertion) != idp.entity_id:
        raise Untrusted("another issuer of the assertion")
    issued = moment(assertion.get("IssueInstant"))
    if issued is None or issued > now + rules.SKEW:
        raise Untrusted("issued in the future")
    subjects = children(assertion, SAML, "Subject")
    if len(subjects) != 1:
        raise Untrusted("there is not one subject")
    confirmed_until, answers = _confirmation(subjects[0], sp, now)
    if root.get("InResponseTo") not in (None, answers):
        raise Untrusted("response and assertion answer different requests")
    usable_until = _conditions(assertion, sp, now)
    ends = _session(assertion, now)
    attributes = _attributes(assertion)
    names = children(subjects[0], SAML, "NameID")
    name_id = text(names[0]) if len(names) == 1 else None
    if name_id is None or len(name_id) > 1024:
        raise Untrusted("there is not one name")
    form = names[0].get("Format")
    email = rules.address_of(name_id) if form == EMAIL else None
    email = email or next((found for name in _EMAIL_NAMES if (found := rules.address_of(attributes.get(name)))), None)
    if form == TRANSIENT:
        if email is None:
            raise Untrusted("neither a lasting name nor an address")
        subject = f"email:{email}"
    else:
        qualifier = names[0].get("NameQualifier")
        subject = name_id if qualifier in (None, idp.entity_id) else f"{qualifier}!{name_id}"
    until = min(confirmed_until, usable_until or confirmed_until)
    return Assertion(
        own, idp.entity_id, subject, email, _display_name(attributes, email), answers, until + rules.SKEW, ends
    )


def _confirmation(subject: Element, sp: ServiceProvider, now: datetime) -> tuple[datetime, str | None]:
    """Of the bearer confirmation that is good now: until when, and which request it answers (profiles 4.1.4.3)."""
    for confirmation in children(subject, SAML, "SubjectConfirmation"):
        data = confirmation.find(named(SAML, "SubjectConfirmationData"))
        if confirmation.get("Method") != BEARER or data is None:
            continue
        ends = moment(data.get("NotOnOrAfter"))
        begins = moment(data.get("NotBefore")) if "NotBefore" in data.attrib else now
        if ends is None or begins is None or data.get("Recipient") != sp.consumer_url:
            continue
        if begins <= now + rules.SKEW and now < ends + rules.SKEW:
            return ends, data.get("InResponseTo")
    raise Untrusted("the subject is not confirmed for this server and time")


def _conditions(assertion: Element, sp: ServiceProvider, now: datetime) -> datetime | None:
    found = children(assertion, SAML, "Conditions")
    if len(found) != 1:
        raise Untrusted("there are no conditions")
    conditions = found[0]
    begins, ends = moment(conditions.get("NotBefore")), moment(conditions.get("NotOnOrAfter"))
    if (begins is None) != ("NotBefore" not in conditions.attrib) or (ends is None) != (
        "NotOnOrAfter" not in conditions.attrib
    ):
        raise Untrusted("a condition's time cannot be read")
    if (begins is not None and begins > now + rules.SKEW) or (ends is not None and now >= ends + rules.SKEW):
        raise Untrusted("not now")
    audiences = children(conditions, SAML, "AudienceRestriction")
    for restriction in audiences:
        if sp.entity_id not in [text(audience) for audience in children(restriction, SAML, "Audience")]:
            raise Untrusted("for another audience")
    known = ("AudienceRestriction", "OneTimeUse", "ProxyRestriction")
    if not audiences or any(
        node.tag not in [named(SAML, name) for name in known] for node in conditions if isinstance(node.tag, str)
    ):
        raise Untrusted("no audience, or a condition that is not known")
    return ends


def _session(assertion: Element, now: datetime) -> datetime | None:
    statements = children(assertion, SAML, "AuthnStatement")
    if not statements:
        raise Untrusted("nobody signed in")
    ends: list[datetime] = []
    for statement in statements:
        at = moment(statement.get("AuthnInstant"))
        if at is None or at > now + rules.SKEW:
            raise Untrusted("signed in in the future")
        if "SessionNotOnOrAfter" in statement.attrib:
            end = moment(statement.get("SessionNotOnOrAfter"))
            if end is None or now >= end + rules.SKEW:
                raise Untrusted("the session there is over")
            ends.append(end)
    return min(ends, default=None)


def _attributes(assertion: Element) -> dict[str, str]:
    """The first value of each attribute, by its name in lower case (and by its friendly name)."""
    found: dict[str, str] = {}
    for attribute in assertion.iterfind(f"{named(SAML, 'AttributeStatement')}/{named(SAML, 'Attribute')}"):
        values = children(attribute, SAML, "AttributeValue")
        value = text(values[0]) if values else None
        for name in (attribute.get("Name"), attribute.get("FriendlyName")):
            if value is not None and name:
                found.setdefault(name.lower(), value)
    return found


def _display_name(attributes: dict[str, str], email: str | None) -> str | None:
    given = next((attributes[name] for name in _GIVEN if name in attributes), "")
    family = next((attributes[name] for name in _FAMILY if name in attributes), "")
    whole = next((attributes[name] for name in _DISPLAY_NAMES if name in attributes), None)
    return rules.name_of(whole, f"{given} {family}", email)
